//! The endpoint as clients meet it: raw bytes over a real connection, on a port of the test's own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aft_protocol::id::{AttemptNumber, Fingerprint, RequestId, Scope, TransactionId};
use aft_protocol::isolation::Isolation;
use aft_protocol::limits;
use aft_protocol::record::Response;
use aft_protocol::version::Timestamp;
use aft_protocol::wire::{Begin, ErrorCode, Problem, route};
use aft_store::memory::Memory;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Endpoint, Token, openapi};
use crate::session::{Ack, Behaviour, CommitResult, DuplicateCheck, Session};
use crate::sources::Sources;

pub(super) struct World {
    address: SocketAddr,
    session: Session<Memory>,
    token: String,
    /// The wall clock, in microseconds.
    pub(super) now: Arc<AtomicU64>,
}

pub(super) struct Answer {
    pub(super) status: u16,
    head: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// Asserts that this is a problem document of `code`, and returns its detail.
    #[track_caller]
    pub(super) fn problem(&self, code: ErrorCode) -> String {
        let problem: Problem =
            serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{} {}", self.head, self.text()));
        assert_eq!((self.status, problem.code.as_str()), (code.status(), code.as_str()), "{}", problem.detail);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert!(problem.detail.len() > 15, "a problem says what to do: {:?}", problem.detail);
        problem.detail
    }
}

impl World {
    pub(super) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let behaviour = Behaviour {
            duplicate_check: DuplicateCheck::CommitOnly,
            ack: Ack::Visible,
            memoize_always: false,
            retention_seconds: 3_600,
            reads_strongly: true,
            look_ups: 10,
            cache_bytes: 1_000_000,
            isolation: Isolation::ReadAtomic,
            refuse_in_progress: false,
        };
        let now = Arc::new(AtomicU64::new(1_000_000));
        let clock = Arc::clone(&now);
        let wall_clock = Arc::new(move || Timestamp::from_micros(clock.load(Ordering::Relaxed)));
        let sources = Sources { now: wall_clock, random: Arc::new(|| 7) };
        let session = Session::new(Memory::new(), behaviour, sources);
        let token = Token::from_random(42);
        let world = Self { address, session: session.clone(), token: token.reveal().to_owned(), now };
        tokio::spawn(Endpoint::new(session, address, Some(token), Scope::new("test")).serve(listener));
        world
    }

    /// With an open transaction.
    pub(super) async fn open() -> Self {
        let world = Self::new().await;
        world.deliver(1).await;
        world
    }

    async fn deliver(&self, transaction: u128) {
        let begin = Begin {
            request: RequestId::new(format!("r-{transaction}")),
            transaction: TransactionId::from_bits(transaction),
            attempt: AttemptNumber::FIRST,
            fingerprint: Fingerprint::of(b"{}"),
            origin: format!("test/r-{transaction}"),
            deadline_ms: 60_000,
        };
        self.session.begin(begin).await.unwrap();
    }

    /// Commits the open transaction, and the next one is delivered.
    pub(super) async fn next(&self, transaction: u128) {
        let open = self.session.open_transaction().unwrap();
        let response = Response { content_type: None, body: Bytes::new() };
        let result = self.session.commit(open, AttemptNumber::FIRST, response).await.unwrap();
        assert_eq!(result, CommitResult::Committed);
        self.deliver(transaction).await;
    }

    async fn raw(&self, request: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        let split = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("an HTTP answer");
        let head = String::from_utf8(bytes[..split].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body: bytes[split + 4..].to_vec() }
    }

    pub(super) async fn send(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nX-Aft-Token: {}\r\nContent-Length: {}\r\n{headers}\r\n",
            self.address,
            self.token,
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        self.raw(&request).await
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "", b"").await
    }
}

#[tokio::test]
async fn a_value_comes_back_byte_for_byte_with_its_type_and_an_etag() {
    let world = World::open().await;
    let bytes: Vec<u8> = (0..=255).collect();
    let put = world.send("PUT", "/v1/kv/a%2Fb%20%C3%A9%25", "Content-Type: image/x-y\r\n", &bytes).await;
    assert_eq!((put.status, put.body.len()), (204, 0));
    let get = world.get("/v1/kv/a%2Fb%20%C3%A9%25").await;
    assert_eq!((get.status, &get.body), (200, &bytes));
    assert_eq!(get.header("content-type"), Some("image/x-y"));
    assert_eq!(get.header("etag"), Some("\"uncommitted-1\""));
    assert_eq!(world.get("/v1/kv/a/b%20%c3%a9%25").await.status, 200, "an unescaped slash is part of the key");
    let head = world.send("HEAD", "/v1/kv/a%2Fb%20%C3%A9%25", "", b"").await;
    assert_eq!((head.status, head.body.len(), head.header("content-length")), (200, 0, Some("256")));
}

#[tokio::test]
async fn a_deleted_key_is_not_found_and_deleting_nothing_is_fine() {
    let world = World::open().await;
    world.send("PUT", "/v1/kv/k", "", b"v").await;
    assert_eq!(world.send("DELETE", "/v1/kv/k", "", b"").await.status, 204);
    world.get("/v1/kv/k").await.problem(ErrorCode::KeyNotFound);
    assert_eq!(world.send("DELETE", "/v1/kv/never", "", b"").await.status, 204);
}

#[tokio::test]
async fn batches_write_all_or_nothing_and_read_in_the_order_asked() {
    let world = World::open().await;
    let batch = br#"{"writes":[{"key":"a","value":"caf\u00e9","contentType":"text/plain"},{"key":"b","valueBase64":"/w=="},{"key":"c","delete":true}]}"#;
    assert_eq!(world.send("POST", route::BATCH_WRITE, "", batch).await.status, 204);
    let answer = world.send("POST", route::BATCH_GET, "", br#"{"keys":["b","nothing","a","b","c"]}"#).await;
    let document: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let expected = serde_json::json!({"items": [
        {"key": "b", "found": true, "etag": "uncommitted-2", "contentType": "application/octet-stream", "valueBase64": "/w=="},
        {"key": "nothing", "found": false},
        {"key": "a", "found": true, "etag": "uncommitted-1", "contentType": "text/plain", "value": "café"},
        {"key": "b", "found": true, "etag": "uncommitted-2", "contentType": "application/octet-stream", "valueBase64": "/w=="},
        {"key": "c", "found": false},
    ]});
    assert_eq!(document, expected);

    let half = br#"{"writes":[{"key":"d","value":"x"},{"key":"","value":"y"}]}"#;
    world.send("POST", route::BATCH_WRITE, "", half).await.problem(ErrorCode::MalformedKey);
    world.get("/v1/kv/d").await.problem(ErrorCode::KeyNotFound);
}

#[tokio::test]
async fn malformed_batches_say_what_is_wrong() {
    let world = World::open().await;
    let many: Vec<_> = (0..101).map(|n| format!("k{n}")).collect();
    let many = serde_json::json!({ "keys": many }).to_string();
    for (path, body, code) in [
        (route::BATCH_GET, "", ErrorCode::MalformedBody),
        (route::BATCH_GET, "{", ErrorCode::MalformedBody),
        (route::BATCH_GET, r#"{"keys":[]}"#, ErrorCode::MalformedBody),
        (route::BATCH_GET, r#"{"keys":["a"],"key":1}"#, ErrorCode::MalformedBody),
        (route::BATCH_GET, many.as_str(), ErrorCode::TooManyKeys),
        (route::BATCH_WRITE, r#"{"writes":[{"key":"a"}]}"#, ErrorCode::MalformedBody),
        (route::BATCH_WRITE, r#"{"writes":[{"key":"a","value":"x","delete":true}]}"#, ErrorCode::MalformedBody),
        (route::BATCH_WRITE, r#"{"writes":[{"key":"a","valueBase64":"?"}]}"#, ErrorCode::MalformedBody),
        (
            route::BATCH_WRITE,
            r#"{"writes":[{"key":"a","value":"x"},{"key":"a","value":"y"}]}"#,
            ErrorCode::MalformedBody,
        ),
        (
            route::BATCH_WRITE,
            r#"{"writes":[{"key":"a","value":"x","contentType":"a\nb"}]}"#,
            ErrorCode::InvalidContentType,
        ),
    ] {
        world.send("POST", path, "", body.as_bytes()).await.problem(code);
    }
}

#[tokio::test]
async fn preconditions_are_checked_against_what_the_transaction_sees() {
    let world = World::open().await;
    assert_eq!(world.send("PUT", "/v1/kv/k", "If-None-Match: *\r\n", b"1").await.status, 204);
    let again = world.send("PUT", "/v1/kv/k", "If-None-Match: *\r\n", b"2").await;
    again.problem(ErrorCode::PreconditionFailed);
    world.send("PUT", "/v1/kv/k", "If-Match: \"uncommitted-9\"\r\n", b"2").await.problem(ErrorCode::PreconditionFailed);
    world
        .send("PUT", "/v1/kv/k", "If-Match: W/\"uncommitted-1\"\r\n", b"2")
        .await
        .problem(ErrorCode::PreconditionFailed);
    assert_eq!(world.get("/v1/kv/k").await.text(), "1", "a refused write changes nothing");
    assert_eq!(world.send("PUT", "/v1/kv/k", "If-Match: \"x\", \"uncommitted-1\"\r\n", b"2").await.status, 204);
    assert_eq!(world.send("DELETE", "/v1/kv/k", "If-Match: *\r\n", b"").await.status, 204);
    world.send("PUT", "/v1/kv/k", "If-Match: *\r\n", b"3").await.problem(ErrorCode::PreconditionFailed);
    for headers in ["If-Match: x\r\n", "If-None-Match: \"x\"\r\n", "If-Match: *\r\nIf-None-Match: *\r\n"] {
        world.send("PUT", "/v1/kv/k", headers, b"3").await.problem(ErrorCode::MalformedRequest);
    }
}

#[tokio::test]
async fn the_transaction_can_be_looked_at_and_aborted() {
    let world = World::open().await;
    world.send("PUT", "/v1/kv/key", "Content-Type: a/b\r\n", b"value").await;
    world.get("/v1/kv/other").await;
    let document: serde_json::Value = serde_json::from_slice(&world.get(route::TRANSACTION).await.body).unwrap();
    assert_eq!(document["transaction"], TransactionId::from_bits(1).to_string());
    assert_eq!(document["isolation"], "read-atomic");
    let counts =
        ["attempt", "reads", "readBytes", "writes", "bufferedBytes"].map(|name| document[name].as_u64().unwrap());
    assert_eq!(counts, [1, 1, 0, 1, 11]);
    assert!((1..=60_000).contains(&document["remainingMs"].as_u64().unwrap()));

    assert_eq!(world.send("POST", route::ABORT, "", b"").await.status, 204);
    world.send("PUT", "/v1/kv/key", "", b"late").await.problem(ErrorCode::TransactionClosed);
}

#[tokio::test]
async fn outside_an_invocation_everything_transactional_is_refused_at_once() {
    let world = World::new().await;
    for (method, path) in [
        ("GET", "/v1/kv/k"),
        ("PUT", "/v1/kv/k"),
        ("DELETE", "/v1/kv/k"),
        ("GET", "/v1/transaction"),
        ("POST", route::ABORT),
    ] {
        world.send(method, path, "", b"").await.problem(ErrorCode::NoTransaction);
    }
    assert_eq!(world.get(route::HEALTH).await.status, 200);
}

#[tokio::test]
async fn a_request_that_names_another_transaction_or_attempt_is_refused() {
    let world = World::open().await;
    let own = format!("X-Aft-Transaction: {}\r\nX-Aft-Attempt: 1\r\n", TransactionId::from_bits(1));
    assert_eq!(world.send("PUT", "/v1/kv/k", &own, b"v").await.status, 204);
    let other = format!("X-Aft-Transaction: {}\r\n", TransactionId::from_bits(2));
    world.send("PUT", "/v1/kv/k", &other, b"v").await.problem(ErrorCode::OtherTransaction);
    world.send("PUT", "/v1/kv/k", "X-Aft-Attempt: 2\r\n", b"v").await.problem(ErrorCode::OtherTransaction);
    for header in ["X-Aft-Transaction: me\r\n", "X-Aft-Attempt: 0\r\n", "X-Aft-Attempt: one\r\n"] {
        world.send("PUT", "/v1/kv/k", header, b"v").await.problem(ErrorCode::MalformedRequest);
    }
}

#[tokio::test]
async fn malformed_keys_and_routes_say_what_is_wrong() {
    let world = World::open().await;
    for (path, part) in [
        ("/v1/kv/", "at least one byte"),
        ("/v1/kv/%", "\"%\" is not a percent-encoded byte"),
        ("/v1/kv/a%4", "\"%4\""),
        ("/v1/kv/a%zzb", "\"%zz\""),
        ("/v1/kv/%ff", "not UTF-8"),
        (&format!("/v1/kv/{}", "k".repeat(limits::KEY_BYTES + 1)), "1025 bytes"),
    ] {
        let detail = world.get(path).await.problem(ErrorCode::MalformedKey);
        assert!(detail.contains(part), "{path}: {detail}");
    }
    world.get(&format!("/v1/kv/{}", "k".repeat(limits::KEY_BYTES))).await.problem(ErrorCode::KeyNotFound);
    world.get("/v1/kv/a?b").await.problem(ErrorCode::MalformedRequest);
    for path in ["/", "/v1/kv", "/v1/transactionsx", "/v2/kv/a"] {
        world.get(path).await.problem(ErrorCode::UnknownRoute);
    }
    for (method, path, allow) in [
        ("POST", "/v1/kv/a", "GET, HEAD, PUT, DELETE"),
        ("GET", route::BATCH_GET, "POST"),
        ("DELETE", route::TRANSACTION, "GET, HEAD"),
        ("GET", route::TRANSACTIONS, "POST"),
        ("GET", "/v1/transactions/00000000000000000000000001:commit", "POST"),
        ("PUT", "/v1/transactions/00000000000000000000000001", "GET, HEAD"),
    ] {
        let answer = world.send(method, path, "", b"").await;
        answer.problem(ErrorCode::MethodNotAllowed);
        assert_eq!(answer.header("allow"), Some(allow));
    }
}

#[tokio::test]
async fn oversize_values_and_transactions_are_refused_at_the_put() {
    let world = World::open().await;
    let largest = vec![b'x'; limits::VALUE_BYTES];
    assert_eq!(world.send("PUT", "/v1/kv/k", "", &largest).await.status, 204);
    let announced = format!(
        "PUT /v1/kv/k HTTP/1.1\r\nHost: {}\r\nX-Aft-Token: {}\r\nConnection: close\r\nContent-Length: 999999999\r\n\r\n",
        world.address, world.token
    );
    world.raw(announced.as_bytes()).await.problem(ErrorCode::ValueTooLarge);
    let chunked = [
        format!(
            "PUT /v1/kv/k HTTP/1.1\r\nHost: {}\r\nX-Aft-Token: {}\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n",
            world.address,
            world.token,
            limits::VALUE_BYTES + 1
        )
        .into_bytes(),
        vec![b'x'; limits::VALUE_BYTES + 1],
        b"\r\n0\r\n\r\n".to_vec(),
    ]
    .concat();
    world.raw(&chunked).await.problem(ErrorCode::ValueTooLarge);

    let fits = limits::TRANSACTION_BYTES / (limits::VALUE_BYTES + 64);
    for n in 1..fits {
        assert_eq!(world.send("PUT", &format!("/v1/kv/k{n}"), "", &largest).await.status, 204, "{n}");
    }
    world.send("PUT", "/v1/kv/last", "", &largest).await.problem(ErrorCode::TransactionTooLarge);
    world.get("/v1/kv/last").await.problem(ErrorCode::KeyNotFound);
}

#[tokio::test]
async fn only_the_handler_may_ask() {
    let world = World::open().await;
    let (address, token) = (world.address, &world.token);
    for (request, code) in [
        (format!("GET /v1/kv/k HTTP/1.1\r\nHost: {address}\r\n"), ErrorCode::TokenMissing),
        (format!("GET /v1/kv/k HTTP/1.1\r\nHost: {address}\r\nX-Aft-Token: {token}0\r\n"), ErrorCode::TokenWrong),
        (format!("GET /v1/kv/k HTTP/1.1\r\nHost: evil.example\r\nX-Aft-Token: {token}\r\n"), ErrorCode::HostNotAllowed),
        (format!("GET /v1/kv/k HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Aft-Token: {token}\r\n"), ErrorCode::HostNotAllowed),
        (format!("GET /v1/kv/k HTTP/1.1\r\nX-Aft-Token: {token}\r\n"), ErrorCode::HostNotAllowed),
        (
            format!("GET /v1/kv/k HTTP/1.1\r\nHost: {address}\r\nHost: {address}\r\nX-Aft-Token: {token}\r\n"),
            ErrorCode::HostNotAllowed,
        ),
        (
            format!("GET http://evil.example/v1/kv/k HTTP/1.1\r\nHost: {address}\r\nX-Aft-Token: {token}\r\n"),
            ErrorCode::HostNotAllowed,
        ),
        (
            format!(
                "GET /v1/kv/k HTTP/1.1\r\nHost: {address}\r\nX-Aft-Token: {token}\r\nX-Forwarded-For: 10.0.0.1\r\n"
            ),
            ErrorCode::ForwardedRequest,
        ),
    ] {
        let answer = world.raw(format!("{request}Connection: close\r\n\r\n").as_bytes()).await;
        answer.problem(code);
    }
    let localhost =
        format!("GET /v1/health HTTP/1.1\r\nhost: LocalHost:{}\r\nx-aft-token: {token}\r\n", address.port());
    assert_eq!(world.raw(format!("{localhost}Connection: close\r\n\r\n").as_bytes()).await.status, 200);
}

#[tokio::test]
async fn of_two_lengths_only_the_transfer_encoding_counts() {
    let world = World::open().await;
    let request = format!(
        "PUT /v1/kv/k HTTP/1.1\r\nHost: {}\r\nX-Aft-Token: {}\r\nConnection: close\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        world.address, world.token
    );
    assert_eq!(world.raw(request.as_bytes()).await.status, 204);
    assert_eq!(world.get("/v1/kv/k").await.text(), "x", "as RFC 9112 section 6.3 says; nothing is left to smuggle");
}

#[tokio::test]
async fn garbage_and_a_hung_up_client_leave_the_endpoint_standing() {
    let world = World::open().await;
    assert_eq!(world.raw(b"\x16\x03\x01 hello\r\n\r\n").await.status, 400);
    let mut cut = TcpStream::connect(world.address).await.unwrap();
    let half = format!(
        "PUT /v1/kv/k HTTP/1.1\r\nHost: {}\r\nX-Aft-Token: {}\r\nContent-Length: 10\r\n\r\nhalf",
        world.address, world.token
    );
    cut.write_all(half.as_bytes()).await.unwrap();
    drop(cut);
    world.get("/v1/kv/k").await.problem(ErrorCode::KeyNotFound);
}

#[tokio::test]
async fn the_openapi_document_describes_every_route_and_error_code() {
    let world = World::new().await;
    let answer = world.get(route::OPENAPI).await;
    let document: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let mut paths: Vec<_> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    paths.sort_unstable();
    let mut routes = [
        route::BATCH_GET,
        route::BATCH_WRITE,
        route::TRANSACTION,
        route::ABORT,
        route::TRANSACTIONS,
        "/v1/transactions/{transaction}",
        "/v1/transactions/{transaction}:commit",
        "/v1/transactions/{transaction}:abort",
        route::HEALTH,
        route::OPENAPI,
        "/v1/kv/{key}",
    ];
    routes.sort_unstable();
    assert_eq!(paths, routes);
    // These never leave the endpoint: the router's own, and what only the shim meets.
    let elsewhere = [ErrorCode::UnknownRoute, ErrorCode::MethodNotAllowed, ErrorCode::MalformedIdempotencyKey];
    for code in ErrorCode::ALL.iter().filter(|code| !elsewhere.contains(code)) {
        assert!(openapi::DOCUMENT.contains(code.as_str()), "{code} is not described");
    }
}
