//! The members of requests that are known, and how they are taken out. A request with any other is refused.

use serde_json::Value;

use super::refusal::Invalid;
use super::value::Item;

/// Of every write, alone or in a transaction.
pub(super) const WRITE: &[&str] = &[
    "TableName",
    "ConditionExpression",
    "ExpressionAttributeNames",
    "ExpressionAttributeValues",
    "ReturnValuesOnConditionCheckFailure",
];

/// Of a read of one item.
pub(super) const GET: &[&str] =
    &["TableName", "Key", "ConsistentRead", "ProjectionExpression", "ExpressionAttributeNames"];

/// The same in a transaction.
pub(super) const TRANSACTIONAL_GET: &[&str] = &["TableName", "Key", "ProjectionExpression", "ExpressionAttributeNames"];

/// Of a table's part in a batch.
pub(super) const BATCH: &[&str] = &["Keys", "ConsistentRead", "ProjectionExpression", "ExpressionAttributeNames"];

/// Of a read of many items.
pub(super) const SCAN: &[&str] = &[
    "TableName",
    "ConsistentRead",
    "ExclusiveStartKey",
    "FilterExpression",
    "ProjectionExpression",
    "ExpressionAttributeNames",
    "ExpressionAttributeValues",
    "ReturnConsumedCapacity",
];

/// An object's members, if all are known.
pub(in crate::simulated) fn only<'a>(asked: &'a Value, known: &[&str]) -> Result<&'a Item, Invalid> {
    let members = asked.as_object().ok_or_else(|| Invalid::not_simulated("a request", asked))?;
    match members.keys().find(|name| !known.contains(&name.as_str())) {
        Some(unknown) => Err(Invalid::not_simulated("a member", unknown)),
        None => Ok(members),
    }
}

pub(super) fn text<'a>(members: &'a Item, name: &'static str) -> Result<&'a str, Invalid> {
    members.get(name).and_then(Value::as_str).ok_or(Invalid::Member(name))
}

pub(super) fn map<'a>(members: &'a Item, name: &'static str) -> Result<&'a Item, Invalid> {
    members.get(name).and_then(Value::as_object).ok_or(Invalid::Member(name))
}

/// A list of at least one and at most so many.
pub(super) fn list<'a>(members: &'a Item, name: &'static str, limit: usize) -> Result<&'a [Value], Invalid> {
    let list = members.get(name).and_then(Value::as_array).ok_or(Invalid::Member(name))?;
    if (1..=limit).contains(&list.len()) { Ok(list) } else { Err(Invalid::Count { name, limit }) }
}

/// Off unless said otherwise.
pub(super) fn flag(members: &Item, name: &'static str) -> Result<bool, Invalid> {
    members.get(name).map_or(Ok(false), |flag| flag.as_bool().ok_or(Invalid::Member(name)))
}
