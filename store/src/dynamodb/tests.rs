//! What each failure of DynamoDB, and of the way to it, means to the caller; through the real client.

mod credentials;
mod fake;
mod steps;

use std::collections::BTreeSet;
use std::time::Duration;

use aft_protocol::claim::Claim;
use aft_protocol::head::{Entry, Keep};
use aft_protocol::id::{ClaimOwner, Fingerprint, Nonce, SandboxId, TransactionId};
use aft_protocol::key::Key;
use aft_protocol::limits;
use aft_protocol::record::{CommitRecord, Response, Writes};
use aft_protocol::version::{Timestamp, Version};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::Instant;

use super::{Config, Credentials, DynamoDb, ReadConsistency};
use crate::ErrorKind::{Malformed, Rejected, Unavailable, Unknown};
use crate::{ErrorKind, Store, StoreError, Terms};
use fake::{Answer, Fake};

fn store(endpoint: &str) -> DynamoDb {
    DynamoDb::new(&config(endpoint))
}

fn config(endpoint: &str) -> Config {
    Config {
        data_table: "orders".to_owned(),
        transaction_table: "orders-transactions".to_owned(),
        region: "eu-central-1".to_owned(),
        endpoint: Some(endpoint.parse().unwrap()),
        ca_bundle: None,
        credentials: Credentials::Keys {
            access_key_id: "id".to_owned(),
            secret_access_key: "secret".to_owned(),
            session_token: Some("token".to_owned()),
        },
        reads: ReadConsistency::Strong,
    }
}

fn transaction() -> TransactionId {
    TransactionId::from_bits(1)
}

fn record(response_bytes: usize) -> CommitRecord {
    CommitRecord {
        version: Version::new(Timestamp::from_micros(2), transaction()),
        nonce: Nonce::from_bits(3),
        writes: Writes::new(),
        response: Response { content_type: None, body: vec![b'r'; response_bytes].into() },
        fingerprint: Fingerprint::of(b"{}"),
        origin: "test".to_owned(),
        sandbox: SandboxId::from_bits(4),
        applied_through: Version::ZERO,
        expires_at_seconds: 4_102_444_800,
    }
}

/// How each of the calls fails at that endpoint.
async fn failures(endpoint: &str) -> [(&'static str, StoreError); 8] {
    let store = store(endpoint);
    let key = Key::new("k").unwrap();
    let entry = Entry { version: record(0).version, ..Entry::absent() };
    let claim = Claim::until(transaction(), ClaimOwner::new("r-1 sandbox"), 1);
    let terms = Terms { guards: [(key.clone(), Version::ZERO)].into(), ..Terms::default() };
    [
        ("heads", store.heads(&BTreeSet::from([key.clone()])).await.unwrap_err()),
        ("records", store.records(&BTreeSet::from([transaction()])).await.unwrap_err()),
        ("commit", store.commit(&record(0)).await.unwrap_err()),
        ("apply", store.apply(&key, &entry, Keep::Inline).await.unwrap_err()),
        ("claim", store.claim(&claim, 0).await.unwrap_err()),
        ("release", store.release(&claim).await.unwrap_err()),
        ("commit_if", store.commit_if(&record(0), &terms).await.unwrap_err()),
        ("validate", store.validate(&terms.guards).await.unwrap_err()),
    ]
}

fn check(case: &str, failures: [(&'static str, StoreError); 8], kind: ErrorKind, words: &[&str]) {
    for (call, error) in failures {
        assert_eq!(error.kind(), kind, "{case}: {call}: {error}");
        let text = error.to_string();
        assert!(!text.contains('\n'), "{case}: {call}: more than one line: {text}");
        for word in words.iter().chain(&["table \"orders", "AFT_", "at http"]) {
            assert!(text.contains(word), "{case}: {call}: no {word:?} in {text:?}");
        }
    }
}

/// R-COMMIT-4: "it did not happen" is said only where that is certain.
#[tokio::test]
async fn every_answer_has_its_meaning() {
    for (answer, kind, words) in [
        (Answer::error(400, "ProvisionedThroughputExceededException", ""), Unavailable, ["throttled", "because"]),
        (Answer::error(400, "ThrottlingException", ""), Unavailable, ["throttled", "ThrottlingException"]),
        (Answer::error(400, "RequestLimitExceeded", ""), Unavailable, ["throttled", "because"]),
        (Answer::error(400, "TransactionConflictException", ""), Unavailable, ["another transaction", "because"]),
        (Answer::error(500, "InternalServerError", ""), Unknown, ["store itself failed", "HTTP 500"]),
        (Answer::error(503, "ServiceUnavailable", ""), Unknown, ["store itself failed", "HTTP 503"]),
        (Answer::Reply(502, "<html>".to_owned()), Unknown, ["store itself failed", "HTTP 502"]),
        (Answer::Reply(404, "<html>".to_owned()), Unknown, ["not one of DynamoDB", "HTTP 404"]),
        (Answer::Reply(200, "<html>".to_owned()), Unknown, ["not one of DynamoDB", "endpoint"]),
        (Answer::Close, Unknown, ["connection was lost", "connection"]),
        (Answer::Cut, Unknown, ["cut off", "end of file"]),
        (Answer::error(400, "ResourceNotFoundException", ""), Rejected, ["no such table", "create it"]),
        (Answer::error(400, "AccessDeniedException", ""), Rejected, ["not permitted", "role"]),
        (Answer::error(400, "UnrecognizedClientException", ""), Rejected, ["credentials", "account"]),
        (Answer::error(400, "ExpiredTokenException", ""), Rejected, ["credentials", "replaces the sandbox"]),
        (Answer::error(400, "InvalidSignatureException", ""), Rejected, ["credentials", "because"]),
        (Answer::error(400, "ValidationException", ""), Rejected, ["not valid", "have this key"]),
        (Answer::error(400, "NeverHeardOfException", ""), Rejected, ["not valid", "NeverHeardOfException"]),
    ] {
        let case = format!("{answer:?}");
        let fake = Fake::start(move |_| answer.clone()).await;
        check(&case, failures(&fake.endpoint).await, kind, &words);
        assert_eq!(fake.requests(), 8, "{case}: no request is repeated");
    }
}

#[tokio::test]
async fn what_never_left_did_not_happen() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    check("refused", failures(&format!("http://{closed}")).await, Unavailable, &["no connection", "refused"]);
    check("no such host", failures("http://no-such-host.invalid").await, Unavailable, &["no connection"]);
    let fake = Fake::start(|_| Answer::empty()).await;
    let tls = fake.endpoint.replace("http:", "https:");
    check("no TLS there", failures(&tls).await, Unavailable, &["no connection"]);
    assert_eq!(fake.requests(), 0);
}

#[tokio::test]
async fn a_place_that_is_none_is_refused_without_showing_the_request() {
    let config = Config { endpoint: None, region: "not a region".to_owned(), ..config("http://unused") };
    let error = DynamoDb::new(&config).commit(&record(9)).await.unwrap_err();
    assert_eq!(error.kind(), Rejected, "{error}");
    let text = error.to_string();
    assert!(text.contains("could not be built") && text.contains("not a region"), "{text}");
    assert!(!text.contains("rrr") && !text.contains("SdkBody"), "{text}");
}

/// A connection that hangs in the handshake never carried the request; one that hangs later may have.
#[tokio::test]
async fn hanging_connections_end_at_their_limits() {
    let full = TcpSocket::new_v4().unwrap();
    full.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = full.listen(1).unwrap();
    let address = full.local_addr().unwrap();
    let queue: Vec<_> = (0..8).map(|_| tokio::spawn(TcpStream::connect(address))).collect();
    tokio::task::yield_now().await;
    let silent = Fake::start(|_| Answer::Hang).await;
    let started = Instant::now();
    let hanging = format!("http://{address}");
    let keys = BTreeSet::from([Key::new("k").unwrap()]);
    let (unconnected, unanswered) = (store(&hanging), store(&silent.endpoint));
    let (unconnected, unanswered) = tokio::join!(unconnected.heads(&keys), unanswered.heads(&keys));
    let (unconnected, unanswered) = (unconnected.unwrap_err(), unanswered.unwrap_err());
    assert_eq!((unconnected.kind(), unanswered.kind()), (Unavailable, Unknown), "{unconnected}; {unanswered}");
    assert!(unanswered.to_string().contains("no answer in time"), "{unanswered}");
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    drop(queue);
}

/// A chunk whose fate is unknown belongs to no transaction: the record was not tried.
#[tokio::test]
async fn a_chunk_that_fails_is_not_a_commit_that_may_have_happened() {
    let fake = Fake::start(|request| {
        assert!(request.body.contains("chunk#"), "the record was tried before its chunks were durable");
        Answer::Close
    })
    .await;
    let error = store(&fake.endpoint).commit(&record(2 * limits::RECORD_ITEM_BYTES)).await.unwrap_err();
    assert_eq!(error.kind(), Unavailable, "{error}");
}

const EXISTING: &str = r#","Item":{"id":{"S":"00000000000000000000000001"},"part":{"S":"commit"},"t":{"S":"0000000000002-00000000000000000000000001"},"n":{"S":"00000000000000000000000003"},"w":{"M":{}},"r":{"B":""},"fingerprint":{"S":"00000000000000000000000003"},"origin":{"S":""},"sandbox":{"S":"00000000000000000000000003"},"applied":{"S":""},"chunks":{"N":"2"},"x":{"N":"1"}}"#;

/// There is a record, perhaps one's own of an earlier try: until it is read, nobody may say that nothing was written.
#[tokio::test]
async fn an_existing_record_that_cannot_be_read_now_leaves_the_outcome_unknown() {
    for answer in [Answer::error(400, "ThrottlingException", ""), Answer::error(500, "InternalServerError", "")] {
        let fake = Fake::start(move |request| match request.operation.as_str() {
            "PutItem" => Answer::error(400, "ConditionalCheckFailedException", EXISTING),
            _ => answer.clone(),
        })
        .await;
        let error = store(&fake.endpoint).commit(&record(0)).await.unwrap_err();
        assert_eq!(error.kind(), Unknown, "{error}");
    }
}

#[tokio::test]
async fn a_record_without_its_chunks_is_malformed() {
    let fake = Fake::start(|request| match request.operation.as_str() {
        "PutItem" => Answer::error(400, "ConditionalCheckFailedException", EXISTING),
        _ => Answer::Reply(200, r#"{"Responses":{}}"#.to_owned()),
    })
    .await;
    let error = store(&fake.endpoint).commit(&record(0)).await.unwrap_err();
    assert_eq!(error.kind(), Malformed, "{error}");
    assert!(error.to_string().contains("2 of the 2 chunks"), "{error}");
}

/// What DynamoDB leaves unprocessed is asked for again, while that gets anywhere.
#[tokio::test]
async fn unprocessed_keys_are_asked_for_again() {
    let keys: BTreeSet<_> = ["a", "b"].into_iter().map(|key| Key::new(key).unwrap()).collect();
    let rest = r#"{"UnprocessedKeys":{"orders":{"Keys":[{"k":{"S":"b"}}]}}}"#;
    let fake = Fake::start(move |request| match request.body.contains(r#""a""#) {
        true => Answer::Reply(200, rest.to_owned()),
        false => Answer::Reply(200, r#"{"Responses":{}}"#.to_owned()),
    })
    .await;
    assert_eq!(store(&fake.endpoint).heads(&keys).await.unwrap().len(), 2);
    assert_eq!(fake.requests(), 2);

    let all = r#"{"UnprocessedKeys":{"orders":{"Keys":[{"k":{"S":"a"}},{"k":{"S":"b"}}]}}}"#;
    let stuck = Fake::start(move |_| Answer::Reply(200, all.to_owned())).await;
    let error = store(&stuck.endpoint).heads(&keys).await.unwrap_err();
    assert_eq!((error.kind(), stuck.requests()), (Unavailable, 1), "{error}");
}

#[tokio::test]
async fn the_probe_reports_both_tables_in_one_line() {
    let fake = Fake::start(|request| match request.body.contains("orders-transactions") {
        true => Answer::error(400, "AccessDeniedException", ""),
        false => Answer::error(400, "ThrottlingException", ""),
    })
    .await;
    let error = store(&fake.endpoint).probe().await.unwrap_err();
    assert_eq!(error.kind(), Rejected, "what somebody must act on outranks what may pass");
    let text = error.to_string();
    for word in ["AFT_DATA_TABLE", "throttled", "AFT_TRANSACTION_TABLE", "not permitted"] {
        assert!(text.contains(word), "{word:?} in {text:?}");
    }
}

/// R-READ-5: strong by default, eventual on request; commit records always strong, because a duplicate must be found, and
/// heads that are looked up for a write too (R-COMMIT-3).
#[tokio::test]
async fn heads_are_read_as_consistently_as_asked_and_records_always_strongly() {
    let strong = |request: &fake::Request| request.body.contains(r#""ConsistentRead":true"#);
    let heads = Fake::start(move |request| match request.operation.as_str() {
        "GetItem" if strong(request) => Answer::empty(),
        _ => Answer::Reply(400, "a read that is not strong".to_owned()),
    })
    .await;
    let (eventual, strong) =
        (Config { reads: ReadConsistency::Eventual, ..config(&heads.endpoint) }, config(&heads.endpoint));
    let keys = BTreeSet::from([Key::new("a").unwrap()]);
    assert!(DynamoDb::new(&strong).heads(&keys).await.is_ok());
    assert!(DynamoDb::new(&eventual).heads(&keys).await.is_err(), "an eventual read costs half");
    for config in [strong, eventual] {
        assert!(DynamoDb::new(&config).latest_heads(&keys).await.is_ok());
        assert!(DynamoDb::new(&config).records(&BTreeSet::from([transaction()])).await.is_ok());
    }
}
