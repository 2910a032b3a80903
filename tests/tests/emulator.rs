//! The layer as it is shipped, under AWS's own Runtime Interface Emulator, with AWS's own Python runtime client, over AWS's
//! own DynamoDB Local: what callers get, and what the tables hold afterwards, when handlers succeed, fail and die.
//!
//! Every test has a sandbox and tables of its own. What the tables hold is counted by another program's request, so that
//! nothing that the store itself would not find is missed.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use aft_protocol::key::Key;
use aft_protocol::version::Version;
use aft_store::Store;
use aft_store::dynamodb::DynamoDb;
use aft_tests::dynamodb_local::DynamoDbLocal;
use aft_tests::emulator::{Answer, Emulator, send};
use aft_tests::store;
use hyper::Request;
use serde_json::{Value, json};

/// What a transfer writes, for the customer and the transfer that all tests use.
const KEYS: [&str; 3] = ["account/c1/checking", "account/c1/savings", "ledger/c1/t1"];

/// A sandbox and its tables.
struct World {
    emulator: Emulator,
    store: DynamoDb,
    database: SocketAddr,
    data_table: String,
    transaction_table: String,
}

/// How many items the tables hold.
#[derive(Debug, PartialEq, Eq)]
struct Items {
    heads: u64,
    /// Commit records, chunks and drafts.
    records: u64,
}

const NOTHING: Items = Items { heads: 0, records: 0 };
const ONE_TRANSFER: Items = Items { heads: 3, records: 1 };

impl World {
    async fn new(name: &str) -> Self {
        let endpoint = DynamoDbLocal::shared().await.endpoint();
        let (data_table, transaction_table) = (format!("{name}-data"), format!("{name}-transactions"));
        let store = store::patient(&store::config(&endpoint, &data_table, &transaction_table));
        store.create_tables().await.expect("DynamoDB Local makes tables");
        let emulator = Emulator::start(&[
            ("AFT_DATA_TABLE", &data_table),
            ("AFT_TRANSACTION_TABLE", &transaction_table),
            ("AFT_DYNAMODB_ENDPOINT", &endpoint),
        ])
        .await;
        let database = endpoint.trim_start_matches("http://").parse().expect("the endpoint is an address");
        Self { emulator, store, database, data_table, transaction_table }
    }

    /// Asks for the transfer; the first attempt fails by the first of `faults`, the second by the second, …
    async fn transfer(&mut self, faults: Value) -> Answer {
        let event = json!({"do": "transfer", "customer": "c1", "transfer": "t1", "amount": 100, "faults": faults});
        self.emulator.invoke(&event).await
    }

    /// What the function itself sees of the customer.
    async fn audit(&mut self) -> Value {
        let answer = self.emulator.invoke(&json!({"do": "audit", "customer": "c1", "transfers": ["t1"]})).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    /// The versions of the three keys' heads.
    async fn versions(&self) -> Vec<Version> {
        let keys = KEYS.map(|key| Key::new(key).expect("a short key"));
        let heads = self.store.heads(&BTreeSet::from(keys)).await.expect("the store answers");
        assert_eq!(heads.len(), KEYS.len());
        heads.into_values().map(|head| head.current.version).collect()
    }

    async fn items(&self) -> Items {
        Items { heads: self.count(&self.data_table).await, records: self.count(&self.transaction_table).await }
    }

    async fn count(&self, table: &str) -> u64 {
        let request = Request::post("/")
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-target", "DynamoDB_20120810.Scan")
            .header("x-amz-date", "20260101T000000Z")
            .header(
                "authorization",
                "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, \
                 SignedHeaders=host;x-amz-date;x-amz-target, Signature=0",
            )
            .body(json!({"TableName": table, "ConsistentRead": true, "Select": "COUNT"}).to_string())
            .expect("a method, a path, headers and a body");
        let (status, body) = send(self.database, request).await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        let answer: Value = serde_json::from_slice(&body).expect("DynamoDB answers in JSON");
        answer["Count"].as_u64().expect("a scan counts")
    }

    /// The transfer was acknowledged as if nothing had gone wrong, and it happened once, whole.
    async fn assert_booked_once(&mut self, answer: Answer) {
        let entry = json!({"transfer": "t1", "amount": 100, "checking": 900, "savings": 100});
        assert_eq!((answer.status, answer.body), (200, entry.clone()));
        let statement = json!({
            "checking": {"balance": 900, "transfers": ["t1"]},
            "savings": {"balance": 100, "transfers": ["t1"]},
            "last": entry,
            "ledger": ["t1"],
        });
        assert_eq!(self.audit().await, statement);

        assert_eq!(self.items().await, ONE_TRANSFER);
        let versions = self.versions().await;
        assert!(!versions[0].is_zero() && versions.iter().all(|version| *version == versions[0]), "{versions:?}");
    }

    /// The transfer did not happen, to whomever looks.
    async fn assert_nothing_visible(&mut self) {
        assert_eq!(self.items().await, NOTHING);
        assert!(self.versions().await.iter().all(Version::is_zero));
        let untouched = json!({
            "checking": {"balance": 1000, "transfers": []},
            "savings": {"balance": 0, "transfers": []},
            "last": null,
            "ledger": [],
        });
        assert_eq!(self.audit().await, untouched);
    }
}

/// So many times the same fault, at a different write each time.
fn every_attempt(how: &str) -> Value {
    json!([1, 2, 3, 1].map(|after| json!({"after": after, "how": how})))
}

#[tokio::test]
async fn a_transfer_is_acknowledged_and_whole() {
    let mut world = World::new("success").await;
    assert_eq!(world.items().await, NOTHING);
    let answer = world.transfer(json!([])).await;
    world.assert_booked_once(answer).await;
}

#[tokio::test]
async fn an_error_of_the_handler_is_retried_within_the_invocation() {
    let mut world = World::new("error").await;
    let answer = world.transfer(json!([{"after": 1, "how": "error"}])).await;
    world.assert_booked_once(answer).await;
}

#[tokio::test]
async fn a_killed_runtime_is_restarted_within_the_invocation() {
    let mut world = World::new("kill").await;
    let answer = world.transfer(json!([{"after": 2, "how": "kill"}])).await;
    world.assert_booked_once(answer).await;
}

#[tokio::test]
async fn a_runtime_that_exits_with_success_is_restarted_within_the_invocation() {
    let mut world = World::new("exit").await;
    let answer = world.transfer(json!([{"after": 3, "how": "exit"}])).await;
    world.assert_booked_once(answer).await;
}

#[tokio::test]
async fn when_all_attempts_fail_the_caller_gets_the_runtimes_own_error_and_nothing_is_visible() {
    let mut world = World::new("all-errors").await;
    let answer = world.transfer(every_attempt("error")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.body["errorMessage"], "failed on request after 3 writes", "the third attempt is the last");
    assert_eq!(answer.body["errorType"], "RuntimeError");
    assert!(answer.body["stackTrace"].is_array(), "{answer:?}");
    world.assert_nothing_visible().await;
}

#[tokio::test]
async fn when_all_attempts_are_killed_nothing_is_visible_and_the_sandbox_goes_on() {
    let mut world = World::new("all-kills").await;
    let answer = world.transfer(every_attempt("kill")).await;
    assert_eq!(answer.status, 200, "the shim reports it, the sandbox lives: {answer:?}");
    assert_eq!(answer.body["errorType"], "Runtime.ExitError", "{answer:?}");
    world.assert_nothing_visible().await;

    let answer = world.transfer(json!([])).await;
    world.assert_booked_once(answer).await;
}
