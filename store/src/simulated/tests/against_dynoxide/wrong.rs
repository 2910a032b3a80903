//! Requests that are wrong in all the ways that are known, and what expressions come to.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::key;
use super::super::requests::{get, put, reads, transaction, update};
use super::Both;
use crate::Store;
use crate::simulated::{DATA_TABLE, Fault, TRANSACTION_TABLE};

/// An update of `a` with this expression and these values.
fn updating(expression: &str, values: Value) -> Value {
    let mut asked = json!({"TableName": DATA_TABLE, "Key": {"k": {"S": "a"}}, "UpdateExpression": expression});
    if !values.is_null() {
        asked["ExpressionAttributeValues"] = values;
    }
    asked
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_is_refused_alike() {
    let both = Both::new().await;
    assert_eq!(both.ask("PutItem", &put("a", "1")["Put"]).0, 200);
    let read = |table: &str, key: Value| json!({"TableName": table, "Key": key});
    let on_condition = |condition: &str, values: Value| {
        let mut put = put("a", "2")["Put"].clone();
        put["ConditionExpression"] = json!(condition);
        if !values.is_null() {
            put["ExpressionAttributeValues"] = values;
        }
        put
    };
    let large = "x".repeat(400 << 10);
    let batch = |keys: Vec<&str>| {
        let keys: Vec<_> = keys.iter().map(|key| json!({"k": {"S": key}})).collect();
        json!({"RequestItems": {DATA_TABLE: {"Keys": keys}}})
    };
    let many: Vec<_> = (0..101).map(|number| number.to_string()).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let one = json!({":x": {"S": "1"}});
    for (operation, body) in [
        ("GetItem", read("nothing", json!({"k": {"S": "a"}}))),
        ("GetItem", read(DATA_TABLE, json!({"id": {"S": "a"}}))),
        ("GetItem", read(DATA_TABLE, json!({"k": {"S": "a"}, "part": {"S": "a"}}))),
        ("GetItem", read(DATA_TABLE, json!({"k": {"N": "1"}}))),
        ("GetItem", read(DATA_TABLE, json!({"k": {"S": ""}}))),
        ("GetItem", read(DATA_TABLE, json!({"k": {"S": "x".repeat(2_049)}}))),
        ("GetItem", read(TRANSACTION_TABLE, json!({"id": {"S": "a"}}))),
        ("PutItem", json!({"TableName": DATA_TABLE, "Item": {"t": {"S": "1"}}})),
        ("PutItem", json!({"TableName": DATA_TABLE, "Item": {"k": {"N": "1"}}})),
        ("PutItem", json!({"TableName": DATA_TABLE, "Item": {"k": {"S": "a"}, "t": {"N": "one"}}})),
        ("PutItem", json!({"TableName": "nothing", "Item": {"k": {"S": "a"}}})),
        ("PutItem", put("a", &large)["Put"].clone()),
        ("PutItem", on_condition("t = :x", json!(null))),
        ("PutItem", on_condition("attribute_exists(k)", one.clone())),
        ("PutItem", on_condition("t = :x AND", one.clone())),
        ("PutItem", on_condition("t :x", one.clone())),
        ("PutItem", on_condition("t = #t", json!(null))),
        ("UpdateItem", updating("SET k = :x", one.clone())),
        ("UpdateItem", updating("SET t = :x, t = :x", one.clone())),
        ("UpdateItem", updating("SET t = :x REMOVE t", one.clone())),
        ("UpdateItem", updating("SET t = :x SET h1 = :x", one.clone())),
        ("UpdateItem", updating("SET t = h1", json!(null))),
        ("UpdateItem", updating("SET t = t + :x", json!({":x": {"N": "1"}}))),
        ("UpdateItem", updating("SET t = :x, ", one.clone())),
        ("UpdateItem", updating("t = :x", one.clone())),
        ("UpdateItem", updating("SET t = :x", json!({":x": {"S": large}}))),
        ("DeleteItem", read(DATA_TABLE, json!({"id": {"S": "a"}}))),
        ("BatchGetItem", batch(vec!["a", "a"])),
        ("BatchGetItem", batch(many.clone())),
        ("BatchGetItem", json!({"RequestItems": {"nothing": {"Keys": [{"k": {"S": "a"}}]}}})),
        ("BatchGetItem", json!({"RequestItems": {DATA_TABLE: {"Keys": [{"id": {"S": "a"}}]}}})),
        ("TransactWriteItems", transaction(many.iter().map(|name| put(name, "1")))),
        ("TransactWriteItems", transaction([])),
        ("TransactWriteItems", transaction([put("a", "1"), update("a", "1")])),
        ("TransactWriteItems", transaction([put("a", &large)])),
        ("TransactWriteItems", transaction([put("b", "1"), update("a", &large)])),
        ("TransactGetItems", reads(&many)),
        ("TransactGetItems", reads(&["a", "a"])),
        ("Scan", json!({"TableName": "nothing"})),
        ("Scan", json!({"TableName": DATA_TABLE, "Segment": 2, "TotalSegments": 2})),
        ("Scan", json!({"TableName": DATA_TABLE, "FilterExpression": "t = :x"})),
    ] {
        let (status, body) = both.ask(operation, &body);
        assert_eq!(status, 400, "{operation}: {body}");
    }
    let (status, unchanged) = both.ask("GetItem", &get("a")["Get"]);
    assert_eq!((status, &unchanged["Item"]["t"]["S"]), (200, &json!("1")));
}

#[tokio::test(start_paused = true)]
async fn expressions_come_to_the_same() {
    let both = Both::new().await;
    let mut held = [0, 0];
    let conditions = [
        "attribute_exists(t)",
        "attribute_not_exists(n)",
        "NOT attribute_exists(n)",
        "t = :x",
        "t <> :x",
        "t < :x",
        "t <= :x",
        "t > :x",
        "t >= :x",
        "n = :x",
        "n <> :x",
        "n < :x",
        "n >= :x",
        "t = n",
        "t <> n",
        "h <> n",
        "h = h",
        "t < :x OR n < :x AND t > :x",
        "(t < :x OR n < :x) AND NOT t > :x",
        "not t = :x and t = t",
    ];
    let kinds = |text: &str| {
        [json!({"S": text}), json!({"N": "10"}), json!({"N": "9"}), json!({"BOOL": true}), json!({"NULL": true})]
    };
    for found in kinds("1") {
        for with_number in [false, true] {
            let mut item = json!({"k": {"S": "a"}, "t": found});
            if with_number {
                item["n"] = json!({"N": "10"});
            }
            assert_eq!(both.ask("PutItem", &json!({"TableName": DATA_TABLE, "Item": item})).0, 200);
            for condition in conditions {
                for value in &kinds("0")[..3] {
                    let check = json!({"ConditionCheck": {
                        "TableName": DATA_TABLE, "Key": {"k": {"S": "a"}}, "ConditionExpression": condition,
                        "ExpressionAttributeValues": {":x": value}, "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                    }});
                    let mut check = transaction([check]);
                    if !condition.contains(":x") {
                        let check = check["TransactItems"][0]["ConditionCheck"].as_object_mut().unwrap();
                        check.remove("ExpressionAttributeValues");
                    }
                    let is_plain = matches!(found.as_object().unwrap().keys().next().unwrap().as_str(), "S" | "N");
                    if is_plain || !condition.contains(['<', '>']) || condition.contains("<>") {
                        held[usize::from(both.ask("TransactWriteItems", &check).0 == 200)] += 1;
                    }
                }
            }
        }
    }
    assert!(held[0] > 100 && held[1] > 100, "{held:?}");
    let one = json!({":x": {"N": "1"}});
    for (update, values) in [
        ("SET t = :x, h = t, #n = if_not_exists(nothing, t)", one.clone()),
        ("SET t = h, h = t", json!(null)),
        ("REMOVE nothing, #n SET n = t + :x, m = :x - t", one.clone()),
        ("ADD t :x, q :x", one.clone()),
        ("SET h = if_not_exists(h, if_not_exists(t, :x)) remove m", one),
    ] {
        both.ask(
            "PutItem",
            &json!({"TableName": DATA_TABLE, "Item": {"k": {"S": "a"}, "t": {"N": "5"}, "h": {"N": "-7"}}}),
        );
        let mut asked = updating(update, values);
        if update.contains("#n") {
            asked["ExpressionAttributeNames"] = json!({"#n": "name"});
        }
        assert_eq!(both.ask("UpdateItem", &asked).0, 200, "{update}");
        assert_eq!(both.ask("GetItem", &get("a")["Get"]).0, 200);
        asked["Key"]["k"]["S"] = json!(update);
        both.ask("UpdateItem", &asked);
        assert_eq!(both.ask("GetItem", &get(update)["Get"]).0, 200);
    }
    // Of the same engine through the connector, and not only past it.
    assert_eq!(both.engine.store(|_| Fault::None).heads(&BTreeSet::from([key("none")])).await.unwrap().len(), 1);
}
