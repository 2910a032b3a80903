//! The transaction table's stream: the commit records in the order in which they were written, each as Lambda hands it to
//! the fault manager (DynamoDB Streams API, `Record` and `StreamRecord`; Lambda developer guide, "Using AWS Lambda with
//! Amazon DynamoDB").
//!
//! Of what a stream carries only this: no chunks, no claims and nothing that was deleted, which the fault manager's event
//! filter keeps away from it.

use serde_json::{Value, json};

use super::TRANSACTION_TABLE;
use super::request::{Request, key_of};

/// The commit record that a request writes if it takes effect.
pub(super) fn record(request: &Request) -> Option<&Value> {
    let is_record = |put: &&Value| put["TableName"] == TRANSACTION_TABLE && put["Item"]["part"]["S"] == "commit";
    match request.operation.as_str() {
        "PutItem" => Some(&request.body).filter(is_record),
        "TransactWriteItems" => {
            let actions = request.body["TransactItems"].as_array().into_iter().flatten();
            actions.filter_map(|action| action.get("Put")).find(is_record)
        }
        _ => None,
    }
    .map(|put| &put["Item"])
}

/// The stream's record of this new item, which is the `number`th, from 0.
pub(super) fn event(number: usize, image: &Value) -> Value {
    json!({"eventName": "INSERT", "dynamodb": {
        "Keys": key_of(image), "NewImage": image, "SequenceNumber": (number + 1).to_string(),
    }})
}
