//! The simulated engine and dynoxide, another engine with the same behaviour, asked the same: what the production store asks
//! in random sequences of its calls, and requests that are wrong in all the ways that are known. The answers are compared
//! byte for byte but for the order of what has none, and for the words of refusals.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | both, asked the same |
//! | `calls` | random calls of the production store |
//! | `wrong` | requests that are wrong, and expressions |

mod calls;
mod wrong;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::dynamodb::{DynamoDb, ReadConsistency, TimeLimits};
use crate::simulated::{DATA_TABLE, Engine, Request, TRANSACTION_TABLE, fault};

/// A connector that asks both.
#[derive(Clone)]
struct Both {
    engine: Engine,
    other: Arc<Database>,
    /// How often each operation was answered in each way.
    seen: Arc<Mutex<BTreeMap<String, u32>>>,
}

impl std::fmt::Debug for Both {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Both")
    }
}

impl Both {
    async fn new() -> Self {
        let engine = Engine::new().await.unwrap();
        let other = Arc::new(Database::memory().unwrap());
        let both = Self { engine, other, seen: Arc::default() };
        for (table, names) in [(DATA_TABLE, &["k"][..]), (TRANSACTION_TABLE, &["id", "part"])] {
            let schema = names.iter().zip(["HASH", "RANGE"]);
            let schema: Vec<_> = schema.map(|(name, kind)| json!({"AttributeName": name, "KeyType": kind})).collect();
            let attributes = names.iter().map(|name| json!({"AttributeName": name, "AttributeType": "S"}));
            let create = json!({
                "TableName": table, "KeySchema": schema, "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": attributes.collect::<Vec<_>>(),
            });
            assert_eq!(both.other(&Request::new("CreateTable", create.to_string().as_bytes())).0, 200);
        }
        both
    }

    fn store(&self) -> DynamoDb {
        let both = self.clone();
        let http = http_client_fn(move |_, _| SharedHttpConnector::new(both.clone()));
        Engine::over(ReadConsistency::Strong, &TimeLimits::default(), http)
    }

    /// Asks both and compares; what both say.
    fn ask(&self, operation: &str, body: &Value) -> (u16, Value) {
        self.ask_bytes(operation, body.to_string().as_bytes())
    }

    fn ask_bytes(&self, operation: &str, body: &[u8]) -> (u16, Value) {
        let request = Request::new(operation, body);
        let ours = self.engine_says(&request);
        let theirs = self.other(&request);
        assert_eq!(comparable(&ours), comparable(&theirs), "{request}\nours {ours:?}\ntheirs {theirs:?}");
        let how = ours.1["__type"].as_str().and_then(|kind| kind.split('#').nth(1)).unwrap_or("answered");
        *self.seen.lock().unwrap().entry(format!("{operation} {how}")).or_default() += 1;
        ours
    }

    fn engine_says(&self, request: &Request) -> (u16, Value) {
        let answer = self.engine.shared.tables.answer(request, Duration::ZERO, Duration::ZERO);
        (answer.status, serde_json::from_str(&answer.body).unwrap())
    }

    fn other(&self, request: &Request) -> (u16, Value) {
        let mut body = request.body.clone();
        if let Some(members) = body.as_object_mut() {
            // Its tokens expire by the wall clock.
            members.remove("ClientRequestToken");
        }
        let (database, body) = (&self.other, body.to_string());
        let answer = match request.operation.as_str() {
            "GetItem" => asked(&body).and_then(|body| said(database.get_item(body))),
            "BatchGetItem" => asked(&body).and_then(|body| said(database.batch_get_item(body))),
            "PutItem" => asked(&body).and_then(|body| said(database.put_item(body))),
            "UpdateItem" => asked(&body).and_then(|body| said(database.update_item(body))),
            "DeleteItem" => asked(&body).and_then(|body| said(database.delete_item(body))),
            "TransactWriteItems" => asked(&body).and_then(|body| said(database.transact_write_items(body))),
            "TransactGetItems" => asked(&body).and_then(|body| said(database.transact_get_items(body))),
            "Query" => asked(&body).and_then(|body| said(database.query(body))),
            "Scan" => asked(&body).and_then(|body| said(database.scan(body))),
            "CreateTable" => asked(&body).and_then(|body| said(database.create_table(body))),
            unknown => panic!("{unknown}"),
        };
        match answer {
            Ok(answer) => (200, serde_json::from_str(&answer).unwrap()),
            Err(error) => (error.status_code(), serde_json::from_str(&error.to_json()).unwrap()),
        }
    }
}

fn asked<T: DeserializeOwned>(body: &str) -> Result<T, DynoxideError> {
    serde_json::from_str(body).map_err(|error| DynoxideError::ValidationException(error.to_string()))
}

fn said<T: Serialize>(answer: Result<T, DynoxideError>) -> Result<String, DynoxideError> {
    serde_json::to_string(&answer?).map_err(|error| DynoxideError::InternalServerError(error.to_string()))
}

impl HttpConnector for Both {
    fn call(&self, sent: HttpRequest) -> HttpConnectorFuture {
        let target = sent.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.split('.').nth(1).unwrap_or_default();
        let (status, body) = self.ask_bytes(operation, sent.body().bytes().unwrap_or_default());
        HttpConnectorFuture::ready(fault::answer(status, body.to_string()))
    }
}

/// The items of the transaction table, read in so many parts; or the commit records among them.
fn everything(only_records: bool, of: u64, ask: impl Fn(&Request) -> (u16, Value)) -> Vec<String> {
    let mut found = Vec::new();
    for segment in 0..of {
        let mut scan = json!({
            "TableName": TRANSACTION_TABLE, "Segment": segment, "TotalSegments": of,
            "ReturnConsumedCapacity": "TOTAL",
        });
        if only_records {
            scan["FilterExpression"] = json!("#part = :commit");
            scan["ExpressionAttributeNames"] = json!({"#part": "part"});
            scan["ExpressionAttributeValues"] = json!({":commit": {"S": "commit"}});
        }
        loop {
            let (status, mut page) = ask(&Request::new("Scan", scan.to_string().as_bytes()));
            assert_eq!(status, 200, "{page}");
            assert!(page["ConsumedCapacity"]["CapacityUnits"].as_f64().is_some(), "{page}");
            let items = page["Items"].as_array().unwrap();
            assert_eq!(page["Count"], items.len());
            found.extend(items.iter().map(ToString::to_string));
            // Dynoxide counts the first item of the next page to this one.
            assert!(page["ScannedCount"].as_u64().unwrap() >= items.len() as u64);
            match page["LastEvaluatedKey"].take() {
                Value::Null => break,
                last => scan["ExclusiveStartKey"] = last,
            }
        }
    }
    found.sort();
    found
}

/// What must be the same of an answer.
fn comparable((status, body): &(u16, Value)) -> (u16, Value) {
    let mut body = body.clone();
    let members = body.as_object_mut().unwrap();
    members.remove("message");
    members.remove("Message");
    members.remove("ConsumedCapacity");
    for reason in members.get_mut("CancellationReasons").and_then(Value::as_array_mut).into_iter().flatten() {
        reason.as_object_mut().unwrap().remove("Message");
    }
    if members.get("UnprocessedKeys") == Some(&json!({})) {
        members.remove("UnprocessedKeys");
    }
    let lists = members.get_mut("Responses").and_then(Value::as_object_mut).into_iter().flatten().map(|(_, list)| list);
    for list in lists.filter_map(Value::as_array_mut) {
        list.sort_by_key(ToString::to_string);
    }
    if let Some(list) = members.get_mut("Items").and_then(Value::as_array_mut) {
        list.sort_by_key(ToString::to_string);
    }
    (*status, body)
}
