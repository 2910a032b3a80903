//! Requests written by hand, sent past the SDK, and what is said to them.

use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::simulated::connector::Connector;
use crate::simulated::{DATA_TABLE, Engine, Fate, Fault, Request};

/// A status and a body.
pub type Answer = (u16, Value);

/// Sends a request as the SDK does: the status and the body of the answer, or what broke.
pub async fn ask_with(fate: impl Into<Fate>, engine: &Engine, operation: &str, body: Value) -> Result<Answer, String> {
    let mut request = HttpRequest::new(SdkBody::from(body.to_string()));
    request.headers_mut().insert("x-amz-target", format!("DynamoDB_20120810.{operation}"));
    let fate = fate.into();
    let (plan, answer_limit) = (Arc::new(move |_: &Request| fate), Some(Duration::from_secs(2)));
    let answer = Connector { engine: engine.clone(), plan, answer_limit }.call(request).await;
    let answer = answer.map_err(|error| format!("{error:?}"))?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.map_err(|error| error.to_string())?;
    Ok((status, serde_json::from_slice(&body.to_bytes()).unwrap()))
}

/// The same without faults.
pub async fn ask(engine: &Engine, operation: &str, body: Value) -> Answer {
    ask_with(Fault::None, engine, operation, body).await.unwrap()
}

/// A head.
pub fn item(key: &str, value: &str) -> Value {
    json!({"k": {"S": key}, "t": {"S": value}})
}

pub fn put(key: &str, value: &str) -> Value {
    json!({"Put": {"TableName": DATA_TABLE, "Item": item(key, value)}})
}

/// The head gets this value; its other attributes stay.
pub fn update(key: &str, value: &str) -> Value {
    json!({"Update": {
        "TableName": DATA_TABLE, "Key": {"k": {"S": key}}, "UpdateExpression": "SET t = :t",
        "ExpressionAttributeValues": {":t": {"S": value}},
    }})
}

pub fn check(key: &str, condition: &str) -> Value {
    json!({"ConditionCheck": {"TableName": DATA_TABLE, "Key": {"k": {"S": key}}, "ConditionExpression": condition}})
}

/// The same action on a condition, whose failure shows the item.
pub fn provided(mut action: Value, condition: &str) -> Value {
    let name = action.as_object().unwrap().keys().next().unwrap().clone();
    action[&name]["ConditionExpression"] = json!(condition);
    action[&name]["ReturnValuesOnConditionCheckFailure"] = json!("ALL_OLD");
    action
}

pub fn transaction(actions: impl IntoIterator<Item = Value>) -> Value {
    json!({"TransactItems": actions.into_iter().collect::<Vec<_>>()})
}

pub fn with_token(token: &str, mut transaction: Value) -> Value {
    transaction["ClientRequestToken"] = json!(token);
    transaction
}

pub fn get(key: &str) -> Value {
    json!({"Get": {"TableName": DATA_TABLE, "Key": {"k": {"S": key}}}})
}

pub fn reads(keys: &[&str]) -> Value {
    json!({"TransactItems": keys.iter().map(|key| get(key)).collect::<Vec<_>>()})
}

/// What a strongly consistent read shows of a head.
pub async fn value(engine: &Engine, key: &str) -> Option<String> {
    let read = json!({"TableName": DATA_TABLE, "Key": {"k": {"S": key}}, "ConsistentRead": true});
    let (status, answer) = ask(engine, "GetItem", read).await;
    assert_eq!(status, 200, "{answer}");
    answer["Item"]["t"]["S"].as_str().map(str::to_owned)
}

/// The codes of the reasons for which a transaction was cancelled.
pub fn codes(answer: &Answer) -> Vec<&str> {
    assert_eq!(answer.0, 400, "{answer:?}");
    assert_eq!(answer.1["__type"], "com.amazonaws.dynamodb.v20120810#TransactionCanceledException", "{answer:?}");
    answer.1["CancellationReasons"].as_array().unwrap().iter().map(|reason| reason["Code"].as_str().unwrap()).collect()
}

/// Refused as a whole, not cancelled for a reason.
pub fn assert_refused(answer: &Answer, kind: &str, words: &str) {
    assert_eq!(answer.0, 400, "{answer:?}");
    assert!(answer.1["__type"].as_str().unwrap().ends_with(&format!("#{kind}")), "{answer:?}");
    assert!(answer.1["message"].as_str().unwrap().contains(words), "{answer:?}");
}
