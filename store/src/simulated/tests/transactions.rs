//! `TransactWriteItems` and `TransactGetItems` as DynamoDB documents them: what is refused, with which reasons, and when a
//! token means that nothing happens again.

use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::super::connector::Connector;
use super::super::{DATA_TABLE, TRANSACTION_TABLE};
use super::*;

/// Sends a request as the SDK does: the status and the body of the answer.
async fn ask(engine: &Engine, operation: &str, body: Value) -> (u16, Value) {
    let mut request = HttpRequest::new(SdkBody::from(body.to_string()));
    request.headers_mut().insert("x-amz-target", format!("DynamoDB_20120810.{operation}"));
    let plan = Arc::new(|_: &Request| Fault::None);
    let answer = Connector { engine: engine.clone(), plan, answer_limit: None }.call(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

/// A head.
fn item(key: &str, value: &str) -> Value {
    json!({"k": {"S": key}, "t": {"S": value}})
}

fn put(key: &str, value: &str) -> Value {
    json!({"Put": {"TableName": DATA_TABLE, "Item": item(key, value)}})
}

/// The head gets this value; its other attributes stay.
fn update(key: &str, value: &str) -> Value {
    json!({"Update": {
        "TableName": DATA_TABLE, "Key": {"k": {"S": key}}, "UpdateExpression": "SET t = :t",
        "ExpressionAttributeValues": {":t": {"S": value}},
    }})
}

fn check(key: &str, condition: &str) -> Value {
    json!({"ConditionCheck": {"TableName": DATA_TABLE, "Key": {"k": {"S": key}}, "ConditionExpression": condition}})
}

/// The same action on a condition, whose failure shows the item.
fn provided(mut action: Value, condition: &str) -> Value {
    let name = action.as_object().unwrap().keys().next().unwrap().clone();
    action[&name]["ConditionExpression"] = json!(condition);
    action[&name]["ReturnValuesOnConditionCheckFailure"] = json!("ALL_OLD");
    action
}

fn transaction(actions: impl IntoIterator<Item = Value>) -> Value {
    json!({"TransactItems": actions.into_iter().collect::<Vec<_>>()})
}

fn with_token(token: &str, mut transaction: Value) -> Value {
    transaction["ClientRequestToken"] = json!(token);
    transaction
}

fn get(key: &str) -> Value {
    json!({"Get": {"TableName": DATA_TABLE, "Key": {"k": {"S": key}}}})
}

fn reads(keys: &[&str]) -> Value {
    json!({"TransactItems": keys.iter().map(|key| get(key)).collect::<Vec<_>>()})
}

/// What a strongly consistent read shows of a head.
async fn value(engine: &Engine, key: &str) -> Option<String> {
    let read = json!({"TableName": DATA_TABLE, "Key": {"k": {"S": key}}, "ConsistentRead": true});
    let (status, answer) = ask(engine, "GetItem", read).await;
    assert_eq!(status, 200, "{answer}");
    answer["Item"]["t"]["S"].as_str().map(str::to_owned)
}

/// The codes of the reasons for which a transaction was cancelled.
fn codes(answer: &(u16, Value)) -> Vec<&str> {
    assert_eq!(answer.0, 400, "{answer:?}");
    assert_eq!(answer.1["__type"], "com.amazonaws.dynamodb.v20120810#TransactionCanceledException", "{answer:?}");
    answer.1["CancellationReasons"].as_array().unwrap().iter().map(|reason| reason["Code"].as_str().unwrap()).collect()
}

/// Refused as a whole, not cancelled for a reason.
fn assert_refused(answer: &(u16, Value), kind: &str, words: &str) {
    assert_eq!(answer.0, 400, "{answer:?}");
    assert!(answer.1["__type"].as_str().unwrap().ends_with(&format!("#{kind}")), "{answer:?}");
    assert!(answer.1["message"].as_str().unwrap().contains(words), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn a_transaction_is_all_or_nothing_and_names_a_reason_for_each_action() {
    let engine = Engine::new().await.unwrap();
    let record = json!({"id": {"S": "1"}, "part": {"S": "commit"}});
    let record = json!({"Put": {"TableName": TRANSACTION_TABLE, "Item": record}});
    let first = [provided(record.clone(), "attribute_not_exists(id)"), update("a", "1"), put("b", "1")];
    assert_eq!(ask(&engine, "TransactWriteItems", transaction(first)).await, (200, json!({})));
    let second = [
        provided(record, "attribute_not_exists(id)"),
        provided(update("a", "2"), "t = :t"),
        provided(check("b", ""), "t <> t"),
        provided(check("absent", ""), "attribute_exists(k)"),
        put("c", "2"),
    ];
    let answer = ask(&engine, "TransactWriteItems", transaction(second)).await;
    let failed = "ConditionalCheckFailed";
    assert_eq!(codes(&answer), [failed, failed, failed, failed, "None"]);
    let reasons = &answer.1["CancellationReasons"];
    assert_eq!(reasons[0]["Item"], json!({"id": {"S": "1"}, "part": {"S": "commit"}}), "Put");
    assert_eq!(reasons[1]["Item"], item("a", "1"), "Update");
    assert_eq!(reasons[2]["Item"], item("b", "1"), "ConditionCheck");
    assert_eq!(reasons[3].get("Item"), None, "there is none");
    assert_eq!(reasons[4], json!({"Code": "None"}));
    assert_eq!(value(&engine, "a").await.unwrap(), "1");
    assert_eq!(value(&engine, "c").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_token_means_once() {
    let engine = Engine::new().await.unwrap();
    let add = |n: u32| {
        let mut add = update("a", "");
        add["Update"]["UpdateExpression"] = json!("ADD n :n");
        add["Update"]["ExpressionAttributeValues"] = json!({":n": {"N": n.to_string()}});
        with_token("once", transaction([add]))
    };
    for _ in 0..2 {
        assert_eq!(ask(&engine, "TransactWriteItems", add(1)).await, (200, json!({})));
    }
    let (_, read) = ask(&engine, "TransactGetItems", reads(&["a"])).await;
    assert_eq!(read["Responses"][0]["Item"]["n"]["N"], "1", "once");
    assert_refused(&ask(&engine, "TransactWriteItems", add(2)).await, "IdempotentParameterMismatchException", "");
}

#[tokio::test(start_paused = true)]
async fn a_transaction_without_an_effect_may_be_tried_again_under_its_token() {
    let engine = Engine::new().await.unwrap();
    let moved = || with_token("again", transaction([provided(put("a", "2"), "attribute_exists(k)")]));
    assert_eq!(codes(&ask(&engine, "TransactWriteItems", moved()).await), ["ConditionalCheckFailed"]);
    ask(&engine, "PutItem", put("a", "1")["Put"].clone()).await;
    assert_eq!(ask(&engine, "TransactWriteItems", moved()).await.0, 200);
    assert_eq!(value(&engine, "a").await.unwrap(), "2");
}

#[tokio::test(start_paused = true)]
async fn too_much_is_refused() {
    let engine = Engine::new().await.unwrap();
    let names: Vec<_> = (0..101).map(|number| format!("{number:03}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let puts = |size: usize, count: usize| transaction(names[..count].iter().map(|name| put(name, &"x".repeat(size))));
    let refused = "ValidationException";

    assert_eq!(ask(&engine, "TransactWriteItems", puts(1, 100)).await.0, 200);
    assert_refused(&ask(&engine, "TransactWriteItems", puts(1, 101)).await, refused, "less than or equal to 100");
    assert_eq!(ask(&engine, "TransactGetItems", reads(&names[..100])).await.0, 200);
    assert_refused(&ask(&engine, "TransactGetItems", reads(&names)).await, refused, "less than or equal to 100");

    let twice = transaction([put("a", "1"), check("a", "attribute_exists(k)")]);
    assert_refused(&ask(&engine, "TransactWriteItems", twice).await, refused, "multiple operations on one item");
    assert_refused(&ask(&engine, "TransactGetItems", reads(&["a", "a"])).await, refused, "multiple operations");

    let long = with_token(&"x".repeat(37), puts(1, 1));
    assert_refused(&ask(&engine, "TransactWriteItems", long).await, refused, "less than or equal to 36");
}
