//! A request, as plans and traces see it.

use std::fmt;

use serde_json::{Value, json};

/// What the store wants of DynamoDB, as far as plans tell requests apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A read of these keys' heads.
    Heads(Vec<String>),
    /// A read of so many commit records or chunks.
    Records(usize),
    /// A chunk is written.
    Chunk,
    /// A commit record is written, on its condition.
    Record,
    /// A claim is taken or given back.
    Claim,
    /// This key's head is moved.
    Head(String),
    /// All of a transaction takes effect at once or nothing does: its commit record, and these keys' heads, which it moves
    /// or only checks.
    Transaction(Vec<String>),
    /// A read of these keys' heads as they are at one instant.
    Versions(Vec<String>),
    /// Anything else: making tables.
    Other,
}

/// A request that a store sends.
#[derive(Debug, Clone)]
pub struct Request {
    /// What it is for.
    pub what: What,
    /// DynamoDB's name for it.
    pub operation: String,
    /// Its body, whose members may be in any order.
    pub body: Value,
}

impl Request {
    pub(super) fn new(operation: &str, body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let what = match operation {
            "GetItem" => reads([&body["Key"]]),
            "BatchGetItem" => reads(batch(&body).into_iter().flat_map(|(_, keys)| keys)),
            "TransactWriteItems" => What::Transaction(heads(&items(operation, &body))),
            "TransactGetItems" => What::Versions(heads(&items(operation, &body))),
            "PutItem" => match body["Item"]["part"]["S"].as_str() {
                Some("commit") => What::Record,
                Some("claim") => What::Claim,
                Some(_) => What::Chunk,
                None => What::Other,
            },
            "UpdateItem" => What::Head(body["Key"]["k"]["S"].as_str().unwrap_or_default().to_owned()),
            _ => What::Other,
        };
        Self { what, operation: operation.to_owned(), body }
    }

    /// Whether it is to change anything.
    #[must_use]
    pub fn writes(&self) -> bool {
        matches!(self.what, What::Chunk | What::Record | What::Claim | What::Head(_) | What::Transaction(_))
    }
}

/// The items that a request other than a batch names, in its order: each one's table and its key.
pub(super) fn items<'a>(operation: &str, body: &'a Value) -> Vec<(String, Value)> {
    let one = |asked: &Value| {
        let key = asked.get("Item").map_or_else(|| asked["Key"].clone(), key_of);
        (asked["TableName"].as_str().unwrap_or_default().to_owned(), key)
    };
    match operation {
        "TransactWriteItems" | "TransactGetItems" => {
            let actions = body["TransactItems"].as_array().into_iter().flatten();
            let inner = |action: &'a Value| action.as_object().and_then(|action| action.values().next());
            actions.map(|action| one(inner(action).unwrap_or(&Value::Null))).collect()
        }
        _ => vec![one(body)],
    }
}

/// The key of an item in either table.
pub(super) fn key_of(item: &Value) -> Value {
    match item.get("part") {
        Some(part) => json!({"id": item["id"], "part": part}),
        None => json!({"k": item["k"]}),
    }
}

/// The keys of those items that are heads.
fn heads(items: &[(String, Value)]) -> Vec<String> {
    items.iter().filter_map(|(_, key)| key["k"]["S"].as_str().map(str::to_owned)).collect()
}

/// The tables of a batch, each with the keys that are asked for.
pub(super) fn batch(body: &Value) -> Vec<(&String, &Vec<Value>)> {
    let tables = body["RequestItems"].as_object().into_iter().flatten();
    tables.filter_map(|(table, wanted)| Some((table, wanted["Keys"].as_array()?))).collect()
}

fn reads<'a>(keys: impl IntoIterator<Item = &'a Value>) -> What {
    let keys: Vec<_> = keys.into_iter().collect();
    if keys.iter().any(|key| key.get("part").is_some()) {
        return What::Records(keys.len());
    }
    What::Heads(keys.iter().map(|key| key["k"]["S"].as_str().unwrap_or_default().to_owned()).collect())
}

/// The operation and its body, whose members are in order.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.operation, canonical(&self.body))
    }
}

/// JSON with its members in order, whatever order the map has that holds them.
pub(super) fn canonical(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            let members = members.into_iter().map(|(name, value)| format!("{name:?}:{}", canonical(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}
