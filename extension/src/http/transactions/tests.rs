//! Explicit transactions as clients meet them.

use aft_protocol::id::{Scope, TransactionId};
use aft_protocol::limits;
use aft_protocol::wire::{ErrorCode, route};
use serde_json::{Value, json};

use crate::http::tests::{Answer, World};

fn document(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
}

/// The transaction of a key in the world's own function.
fn id(key: &str) -> TransactionId {
    TransactionId::for_key(&Scope::new("test"), key)
}

fn path(key: &str, suffix: &str) -> String {
    format!("{}/{}{suffix}", route::TRANSACTIONS, id(key))
}

fn header(key: &str) -> String {
    format!("X-Aft-Transaction: {}\r\n", id(key))
}

impl World {
    async fn begin(&self, wanted: Value) -> Answer {
        self.send("POST", route::TRANSACTIONS, "", wanted.to_string().as_bytes()).await
    }

    async fn begin_open(&self, key: &str) {
        assert_eq!(self.begin(json!({"key": key})).await.status, 201, "{key}");
    }

    async fn commit(&self, key: &str, response: &[u8]) -> Answer {
        self.send("POST", &path(key, ":commit"), "Content-Type: text/plain\r\n", response).await
    }
}

#[tokio::test]
async fn a_key_is_worked_on_once_and_answered_from_its_record_afterwards() {
    let world = World::open().await;
    let message = json!({"key": "m-1", "payload": "{\"order\": 17}"});
    let begun = world.begin(message.clone()).await;
    assert_eq!(begun.status, 201);
    assert_eq!(document(&begun), json!({"transaction": id("m-1").to_string(), "state": "open", "attempt": 1}));
    assert_eq!(world.send("PUT", "/v1/kv/order", &header("m-1"), b"paid").await.status, 204);
    let status = document(&world.get(&path("m-1", "")).await);
    assert_eq!((&status["origin"], &status["writes"]), (&json!("test/m-1"), &json!(1)));

    let committed = world.commit("m-1", "caf\u{e9}".as_bytes()).await;
    assert_eq!(document(&committed), json!({"transaction": id("m-1").to_string(), "state": "committed"}));
    assert_eq!(world.get("/v1/kv/order").await.text(), "paid", "the invocation's own transaction sees it");

    let again = world.begin(message).await;
    assert_eq!(again.status, 200);
    let recorded = json!({"transaction": id("m-1").to_string(), "state": "committed",
        "response": "caf\u{e9}", "contentType": "text/plain"});
    assert_eq!(document(&again), recorded);
    world.get(&path("m-1", "")).await.problem(ErrorCode::OtherTransaction);
    world.begin(json!({"key": "m-1", "payload": "another"})).await.problem(ErrorCode::PayloadMismatch);
    world.begin(json!({"key": "m-1"})).await.problem(ErrorCode::PayloadMismatch);
    assert_eq!(world.begin(json!({"key": "m-1", "scope": "elsewhere"})).await.status, 201, "another scope's key");
}

#[tokio::test]
async fn a_recorded_response_comes_back_as_it_was_even_if_nothing_was_written() {
    let world = World::open().await;
    for (key, response, expected) in
        [("empty", &b""[..], json!({"response": ""})), ("bytes", &[0xff][..], json!({"responseBase64": "/w=="}))]
    {
        let payload = json!({"key": key, "payloadBase64": "AP8="});
        assert_eq!(world.begin(payload.clone()).await.status, 201);
        assert_eq!(world.send("POST", &path(key, ":commit"), "", response).await.status, 200);
        let mut recorded = document(&world.begin(payload).await);
        let fields = recorded.as_object_mut().unwrap();
        fields.retain(|name, _| name.starts_with("response") || name == "contentType");
        assert_eq!(recorded, expected);
    }
}

#[tokio::test]
async fn a_request_without_a_name_means_the_invocation_however_many_are_open() {
    let world = World::open().await;
    for key in ["m-1", "m-2"] {
        world.begin_open(key).await;
        assert_eq!(world.send("PUT", "/v1/kv/k", &header(key), key.as_bytes()).await.status, 204);
    }
    assert_eq!(world.send("PUT", "/v1/kv/k", "", b"own").await.status, 204);
    let own = document(&world.get(route::TRANSACTION).await);
    assert_eq!(own["transaction"], json!(TransactionId::from_bits(1).to_string()));
    assert_eq!(world.get("/v1/kv/k").await.text(), "own");
    for key in ["m-1", "m-2"] {
        assert_eq!(world.send("GET", "/v1/kv/k", &header(key), b"").await.text(), key, "each sees its own writes");
    }
    let batch = br#"{"keys":["k"]}"#;
    let seen = world.send("POST", route::BATCH_GET, &header("m-2"), batch).await;
    assert_eq!(document(&seen)["items"][0]["value"], json!("m-2"));

    assert_eq!(world.send("POST", &path("m-1", ":abort"), "", b"").await.status, 204);
    world.send("GET", "/v1/kv/k", &header("m-1"), b"").await.problem(ErrorCode::OtherTransaction);
    world.commit("m-1", b"late").await.problem(ErrorCode::OtherTransaction);
    assert_eq!(world.send("POST", route::ABORT, &header("m-2"), b"").await.status, 204, "the same by the other route");
    world.begin_open("m-1").await;
    world.send("GET", "/v1/kv/k", &header("m-1"), b"").await.problem(ErrorCode::KeyNotFound);
    assert_eq!(world.get("/v1/kv/k").await.text(), "own");
}

#[tokio::test]
async fn a_key_that_is_open_is_not_opened_twice_and_its_number_fences_what_came_before() {
    let world = World::open().await;
    world.begin_open("m-1").await;
    world.begin(json!({"key": "m-1"})).await.problem(ErrorCode::InProgress);
    world.send("POST", &path("m-1", ":abort"), "", b"").await;
    assert_eq!(document(&world.begin(json!({"key": "m-1"})).await)["attempt"], json!(2));
    let earlier = format!("{}X-Aft-Attempt: 1\r\n", header("m-1"));
    world.send("PUT", "/v1/kv/k", &earlier, b"late").await.problem(ErrorCode::OtherTransaction);
    world.send("POST", &path("m-1", ":commit"), "X-Aft-Attempt: 1\r\n", b"").await.problem(ErrorCode::OtherTransaction);
    assert_eq!(world.send("POST", &path("m-1", ":commit"), "X-Aft-Attempt: 2\r\n", b"").await.status, 200);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_a_reason() {
    let world = World::open().await;
    for (wanted, code) in [
        (json!({}), ErrorCode::MalformedBody),
        (json!({"key": ""}), ErrorCode::MalformedKey),
        (json!({"key": "k".repeat(limits::TRANSACTION_KEY_BYTES + 1)}), ErrorCode::MalformedKey),
        (json!({"key": "k", "scope": ""}), ErrorCode::MalformedBody),
        (json!({"key": "k", "scope": "s".repeat(limits::SCOPE_BYTES + 1)}), ErrorCode::MalformedBody),
        (json!({"key": "k", "payload": "x", "payloadBase64": "eA=="}), ErrorCode::MalformedBody),
        (json!({"key": "k", "payloadBase64": "?"}), ErrorCode::MalformedBody),
        (json!({"key": "k", "id": 1}), ErrorCode::MalformedBody),
    ] {
        world.begin(wanted).await.problem(code);
    }
    world.begin_open("m-1").await;
    let nested = world.send("POST", route::TRANSACTIONS, &header("m-1"), br#"{"key":"m-2"}"#).await;
    nested.problem(ErrorCode::OtherTransaction);
    let own = format!("{}/{}", route::TRANSACTIONS, TransactionId::from_bits(1));
    for suffix in [route::COMMIT_SUFFIX, route::ABORT_SUFFIX] {
        let answer = world.send("POST", &format!("{own}{suffix}"), "", b"").await;
        answer.problem(ErrorCode::OtherTransaction);
        let nonsense = format!("{}/nonsense{suffix}", route::TRANSACTIONS);
        world.send("POST", &nonsense, "", b"").await.problem(ErrorCode::MalformedRequest);
    }
    world.send("POST", &path("m-1", ":abort"), &header("m-2"), b"").await.problem(ErrorCode::MalformedRequest);
    let typed = world.send("POST", &path("m-1", ":commit"), "Content-Type: \u{e9}\r\n", b"").await;
    typed.problem(ErrorCode::InvalidContentType);
    let large = vec![b'x'; limits::TRANSACTION_RESPONSE_BYTES + 1];
    world.commit("m-1", &large).await.problem(ErrorCode::ResponseTooLarge);
    assert_eq!(world.commit("m-1", &large[1..]).await.status, 200, "it was still open");

    let outside = World::new().await;
    outside.begin(json!({"key": "m-1"})).await.problem(ErrorCode::NoTransaction);
    outside.commit("m-1", b"").await.problem(ErrorCode::NoTransaction);
    outside.get(&path("m-1", "")).await.problem(ErrorCode::NoTransaction);
}

#[tokio::test]
async fn a_limited_number_is_open_at_the_same_time() {
    let world = World::open().await;
    for n in 0..limits::OPEN_TRANSACTIONS {
        world.begin_open(&format!("m-{n}")).await;
    }
    world.begin(json!({"key": "one more"})).await.problem(ErrorCode::TooManyTransactions);
    assert_eq!(world.commit("m-0", b"").await.status, 200);
    world.begin_open("one more").await;
}

/// The memory of a sandbox is bounded, however many transactions are open.
#[tokio::test]
async fn what_all_open_transactions_buffer_is_limited_together() {
    let world = World::open().await;
    let largest = vec![b'x'; limits::VALUE_BYTES];
    let each = limits::TRANSACTION_BYTES / (limits::VALUE_BYTES + 64);
    for key in ["m-1", "m-2"] {
        world.begin_open(key).await;
        for n in 0..each {
            let put = world.send("PUT", &format!("/v1/kv/k{n}"), &header(key), &largest).await;
            assert_eq!(put.status, 204, "{key} {n}");
        }
    }
    world.begin_open("m-3").await;
    let left = (limits::SANDBOX_BYTES - 2 * each * limits::VALUE_BYTES) / limits::VALUE_BYTES;
    for n in 0..left {
        world.send("PUT", &format!("/v1/kv/k{n}"), &header("m-3"), &largest).await;
    }
    world.send("PUT", "/v1/kv/last", &header("m-3"), &largest).await.problem(ErrorCode::BuffersFull);
    world.send("PUT", "/v1/kv/last", "", &largest).await.problem(ErrorCode::BuffersFull);
    world.send("GET", "/v1/kv/last", &header("m-3"), b"").await.problem(ErrorCode::KeyNotFound);
    assert_eq!(world.send("POST", &path("m-1", ":abort"), "", b"").await.status, 204);
    assert_eq!(world.send("PUT", "/v1/kv/last", &header("m-3"), &largest).await.status, 204, "there is room again");
}

/// The header and the body say the same thing, or one of them says it.
#[tokio::test]
async fn an_explicit_transaction_has_the_isolation_that_it_asks_for() {
    let world = World::open().await;
    for (key, header, body, expected) in [
        ("m-1", "", json!({}), "read-atomic"),
        ("m-2", "X-Aft-Isolation: serializable\r\n", json!({}), "serializable"),
        ("m-3", "", json!({"isolation": "serializable"}), "serializable"),
        ("m-4", "X-Aft-Isolation: read-atomic\r\n", json!({"isolation": "read-atomic"}), "read-atomic"),
    ] {
        let mut wanted = body;
        wanted["key"] = json!(key);
        let begun = world.send("POST", route::TRANSACTIONS, header, wanted.to_string().as_bytes()).await;
        assert_eq!(begun.status, 201, "{key}: {}", begun.text());
        assert_eq!(document(&world.get(&path(key, "")).await)["isolation"], json!(expected), "{key}");
    }
    let contradiction = json!({"key": "m-5", "isolation": "read-atomic"}).to_string();
    let serializable = "X-Aft-Isolation: serializable\r\n";
    world
        .send("POST", route::TRANSACTIONS, serializable, contradiction.as_bytes())
        .await
        .problem(ErrorCode::MalformedBody);
    let unknown = world.begin(json!({"key": "m-5", "isolation": "snapshot"})).await;
    assert!(unknown.problem(ErrorCode::MalformedBody).contains("read-atomic or serializable"));
    let misspelt = "X-Aft-Isolation: Serializable\r\n";
    let wanted = json!({"key": "m-5"}).to_string();
    world.send("POST", route::TRANSACTIONS, misspelt, wanted.as_bytes()).await.problem(ErrorCode::MalformedRequest);
}

/// Of two that read the same, one commits; the other is told which key, and begins again.
#[tokio::test]
async fn a_serializable_transaction_that_lost_is_told_so_and_begins_again() {
    let world = World::open().await;
    let begin = async |key: &str| {
        assert_eq!(world.begin(json!({"key": key, "isolation": "serializable"})).await.status, 201);
        let seen = world.send("GET", "/v1/kv/stock", &header(key), b"").await;
        assert_eq!(world.send("PUT", "/v1/kv/stock", &header(key), key.as_bytes()).await.status, 204);
        seen
    };
    begin("m-1").await.problem(ErrorCode::KeyNotFound);
    begin("m-2").await.problem(ErrorCode::KeyNotFound);
    assert_eq!(world.commit("m-1", b"").await.status, 200);
    let detail = world.commit("m-2", b"").await.problem(ErrorCode::CommitConflict);
    assert!(detail.contains("\"stock\" was absent when it was read and is at "), "{detail}");
    assert_eq!(begin("m-2").await.text(), "m-1");
    assert_eq!(world.commit("m-2", b"").await.status, 200);
}

/// 413 at the read that is too much, which changes nothing.
#[tokio::test]
async fn a_serializable_transaction_that_would_not_fit_one_step_is_told_at_the_read() {
    let world = World::open().await;
    assert_eq!(world.begin(json!({"key": "m-1", "isolation": "serializable"})).await.status, 201);
    let keys = |many: usize| json!({"keys": (0..many).map(|n| n.to_string()).collect::<Vec<_>>()}).to_string();
    let most = limits::GUARDED_KEYS;
    let over = world.send("POST", route::BATCH_GET, &header("m-1"), keys(most + 1).as_bytes()).await;
    assert!(over.problem(ErrorCode::TransactionTooLarge).contains("at most 99"));
    assert_eq!(world.send("POST", route::BATCH_GET, &header("m-1"), keys(most).as_bytes()).await.status, 200);
    world.send("GET", "/v1/kv/one-more", &header("m-1"), b"").await.problem(ErrorCode::TransactionTooLarge);
    assert_eq!(world.commit("m-1", b"").await.status, 200);
}
