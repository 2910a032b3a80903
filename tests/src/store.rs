//! The store of a test, over an engine on this machine; and the engine past the store.

use std::net::SocketAddr;
use std::time::Duration;

use aft_store::dynamodb::{Config, Credentials, DynamoDb, ReadConsistency, TimeLimits};
use hyper::Request;
use serde_json::{Value, json};

use crate::emulator::send;

/// Tests are about what is kept, not how fast: a busy machine must not fail them, and no call is repeated.
const PATIENCE: Duration = Duration::from_secs(60);

/// These two tables at this endpoint. An engine on this machine takes any credentials.
///
/// # Panics
/// If the endpoint is none.
#[must_use]
pub fn config(endpoint: &str, data_table: &str, transaction_table: &str) -> Config {
    Config {
        data_table: data_table.to_owned(),
        transaction_table: transaction_table.to_owned(),
        region: "us-east-1".to_owned(),
        endpoint: Some(endpoint.parse().expect("an engine has an endpoint")),
        ca_bundle: None,
        credentials: Credentials::Keys {
            access_key_id: "local".to_owned(),
            secret_access_key: "local".to_owned(),
            session_token: None,
        },
        reads: ReadConsistency::Strong,
    }
}

/// A store that waits as long as it takes.
#[must_use]
pub fn patient(config: &Config) -> DynamoDb {
    DynamoDb::with_time_limits(config, &TimeLimits { connect: PATIENCE, answer: PATIENCE, request: PATIENCE })
}

/// Makes a table of another program's, with this string key.
///
/// # Panics
/// If it is there, or cannot be made.
pub async fn make_plain_table(endpoint: &str, name: &str, key: &str) {
    let table = json!({
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": key, "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": key, "KeyType": "HASH"}],
    });
    ask(endpoint, "DynamoDB_20120810.CreateTable", &table).await;
}

/// A request to an engine as another program would send it.
///
/// # Panics
/// If it is refused.
pub async fn ask(endpoint: &str, target: &str, query: &Value) -> Value {
    let address: SocketAddr = endpoint.trim_start_matches("http://").parse().expect("an engine has an address");
    let request = Request::post("/")
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amz-target", target)
        .header("x-amz-date", "20260101T000000Z")
        .header(
            "authorization",
            "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, \
             SignedHeaders=host;x-amz-date;x-amz-target, Signature=0",
        )
        .body(query.to_string())
        .expect("a method, a path, headers and a body");
    let (status, body) = send(address, request).await;
    assert_eq!(status, 200, "{target}: {}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).expect("DynamoDB answers in JSON")
}
