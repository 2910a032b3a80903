//! `TransactWriteItems` and `TransactGetItems` as DynamoDB documents them: what is refused, with which reasons, and when a
//! token means that nothing happens again.

use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Region;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, ReturnValuesOnConditionCheckFailure, TransactWriteItem};
use serde_json::{Value, json};
use tokio::time::advance;

use super::requests::*;
use crate::simulated::{DATA_TABLE, Engine, Fault, Request, TRANSACTION_TABLE, What, connector};

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

/// What has been added to a head.
async fn number(engine: &Engine) -> String {
    let (_, read) = ask(engine, "TransactGetItems", reads(&["a"])).await;
    read["Responses"][0]["Item"]["n"]["N"].as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_token_means_once_for_ten_minutes() {
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
    assert_eq!(number(&engine).await, "1", "once");
    assert_refused(&ask(&engine, "TransactWriteItems", add(2)).await, "IdempotentParameterMismatchException", "");

    advance(Duration::from_secs(599)).await;
    assert_eq!(ask(&engine, "TransactWriteItems", add(1)).await, (200, json!({})));
    assert_eq!(number(&engine).await, "1", "still once");
    advance(Duration::from_secs(1)).await;
    assert_eq!(ask(&engine, "TransactWriteItems", add(1)).await, (200, json!({})));
    assert_eq!(number(&engine).await, "2", "a new transaction");
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

/// The limit of 4 MB is on what is asked for: the items of `Put`s, and of the others the keys and the values. DynamoDB Local
/// 3.3.1 counts the same ("Transaction payload size", and names too); the API reference says "the items in the transaction".
#[tokio::test(start_paused = true)]
async fn the_limit_of_4_mb_is_on_what_is_asked_for() {
    let engine = Engine::new().await.unwrap();
    let large = "x".repeat(390_000);
    let names: Vec<_> = (0..20).map(|number| format!("{number:02}")).collect();
    let each =
        |count: usize, action: &dyn Fn(&str) -> Value| transaction(names[..count].iter().map(|name| action(name)));
    let all: &[fn(&str, &str) -> Value] = &[put, update];
    for action in all {
        assert_eq!(ask(&engine, "TransactWriteItems", each(10, &|name| action(name, &large))).await.0, 200);
        let more = ask(&engine, "TransactWriteItems", each(11, &|name| action(name, &large))).await;
        assert_refused(&more, "ValidationException", "exceeding the 4MB limit");
    }
    ask(&engine, "TransactWriteItems", transaction(names[10..].iter().map(|name| put(name, &large)))).await;
    // Large are the items that the others find and leave: not what is asked.
    let small = each(12, &|name| {
        let mut small = update(name, "small");
        small["Update"]["UpdateExpression"] = json!("SET h1 = :t");
        small
    });
    assert_eq!(ask(&engine, "TransactWriteItems", small).await.0, 200);
    let checks = each(12, &|name| check(name, "attribute_exists(k)"));
    assert_eq!(ask(&engine, "TransactWriteItems", checks).await.0, 200);
}

/// DynamoDB Local 3.3.1: a projection makes it less. The API reference says "the aggregate size of the items".
#[tokio::test(start_paused = true)]
async fn a_transaction_reads_4_mb_at_most() {
    let engine = Engine::new().await.unwrap();
    let names: Vec<_> = (0..11).map(|number| format!("{number:02}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    for name in &names {
        ask(&engine, "PutItem", put(name, &"x".repeat(390_000))["Put"].clone()).await;
    }
    assert_eq!(ask(&engine, "TransactGetItems", reads(&names[..10])).await.0, 200);
    let all = ask(&engine, "TransactGetItems", reads(&names)).await;
    assert_refused(&all, "ValidationException", "Payload in response is too large");
    let mut keys = reads(&names);
    for get in keys["TransactItems"].as_array_mut().unwrap() {
        get["Get"]["ProjectionExpression"] = json!("k");
    }
    assert_eq!(ask(&engine, "TransactGetItems", keys).await.0, 200);
}

/// A `Put` is refused at once, for its size is in the request; an `Update` is cancelled.
#[tokio::test(start_paused = true)]
async fn an_item_is_400_kb_at_most() {
    let engine = Engine::new().await.unwrap();
    let large = "x".repeat(400 << 10);
    let refused = ask(&engine, "TransactWriteItems", transaction([put("a", &large)])).await;
    assert_refused(&refused, "ValidationException", "Item size has exceeded");
    let cancelled = ask(&engine, "TransactWriteItems", transaction([put("b", "1"), update("a", &large)])).await;
    assert_eq!(codes(&cancelled), ["None", "ValidationError"]);
    assert_eq!(value(&engine, "b").await, None);
}

/// Plans tell by the heads what a transaction is about, and records are none.
#[test]
fn plans_know_transactions_by_their_heads() {
    let request = |operation, body: Value| Request::new(operation, body.to_string().as_bytes());
    let record = json!({"Put": {"TableName": TRANSACTION_TABLE, "Item": {"id": {"S": "1"}, "part": {"S": "commit"}}}});
    let commit =
        request("TransactWriteItems", transaction([record, update("b", "1"), check("a", "attribute_exists(k)")]));
    assert_eq!(commit.what, What::Transaction(vec!["b".to_owned(), "a".to_owned()]));
    assert!(commit.writes());
    let validation = request("TransactGetItems", reads(&["b", "a"]));
    assert_eq!(validation.what, What::Versions(vec!["b".to_owned(), "a".to_owned()]));
    assert!(!validation.writes());
}

/// The production client makes of an answer what it says.
#[tokio::test(start_paused = true)]
async fn the_sdk_understands_the_reasons() {
    let engine = Engine::new().await.unwrap();
    ask(&engine, "PutItem", put("a", "1")["Put"].clone()).await;
    let client = client(&engine);
    let check = ConditionCheck::builder()
        .table_name(DATA_TABLE)
        .key("k", AttributeValue::S("a".to_owned()))
        .condition_expression("attribute_not_exists(k)")
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    let check = TransactWriteItem::builder().condition_check(check.build().unwrap()).build();
    let error = client.transact_write_items().transact_items(check).send().await.unwrap_err().into_service_error();
    let TransactWriteItemsError::TransactionCanceledException(cancelled) = error else { panic!("{error:?}") };
    let reason = &cancelled.cancellation_reasons()[0];
    assert_eq!(reason.code(), Some("ConditionalCheckFailed"));
    assert_eq!(reason.item().unwrap()["t"], AttributeValue::S("1".to_owned()));
}

fn client(engine: &Engine) -> Client {
    let plan = Arc::new(|_: &Request| Fault::None.into());
    let settings = aws_sdk_dynamodb::Config::builder()
        .behavior_version_latest()
        .region(Region::from_static("eu-central-1"))
        .credentials_provider(Credentials::new("simulated", "simulated", None, None, "simulated"))
        .http_client(connector::http_client(engine.clone(), plan));
    Client::from_conf(settings.build())
}
