//! The crate dynoxide, called by name and JSON; and what items were a moment ago, for eventually consistent reads.
//!
//! Everything runs to its end within the call: no thread, no wait.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::request::{self, Request};
use crate::{ErrorKind, StoreError};

/// How far behind an eventually consistent read may be: "usually a second or less" (DynamoDB developer guide).
const STALENESS_LIMIT: Duration = Duration::from_secs(1);

/// The tables, and the changes of the last second.
pub(super) struct Tables {
    database: Database,
    past: Mutex<VecDeque<Change>>,
}

/// What an item was before it changed.
struct Change {
    at: Instant,
    table: String,
    key: Value,
    before: Value,
}

impl Tables {
    pub(super) fn new() -> Result<Self, StoreError> {
        let database = Database::memory().map_err(|error| failed("open", error))?;
        Ok(Self { database, past: Mutex::default() })
    }

    /// Runs an operation for a test, not for a store.
    pub(super) fn run(&self, operation: &'static str, body: &Value) -> Result<Value, StoreError> {
        let answer = self.dispatch(operation, &body.to_string()).map_err(|error| failed(operation, error))?;
        serde_json::from_str(&answer).map_err(|error| StoreError::new(ErrorKind::Malformed, operation, error))
    }

    /// DynamoDB's status and body.
    pub(super) fn answer(&self, request: &Request) -> (u16, String) {
        let changes = match request.operation.as_str() {
            "PutItem" | "UpdateItem" | "TransactWriteItems" => request::items(&request.operation, &request.body),
            _ => Vec::new(),
        };
        self.remember(&changes);
        self.answer_to(&request.operation, &request.text)
    }

    fn answer_to(&self, operation: &str, body: &str) -> (u16, String) {
        match self.dispatch(operation, body) {
            Ok(answer) => (200, answer),
            Err(error) => (error.status_code(), error.to_json()),
        }
    }

    /// The same, but the keys of a batch whose bits are set come back unprocessed.
    pub(super) fn answer_partly(&self, request: &Request, unprocessed: u64) -> (u16, String) {
        if request.operation != "BatchGetItem" {
            return self.answer(request);
        }
        let (mut asked, mut rest) = (request.body.clone(), json!({}));
        for (table, keys) in request::batch(&request.body) {
            let is_left = |index: &usize| unprocessed >> (index % 64) & 1 == 1;
            let (left, done): (Vec<usize>, Vec<usize>) = (0..keys.len()).partition(is_left);
            let pick = |indices: Vec<usize>| Value::from_iter(indices.into_iter().map(|index| keys[index].clone()));
            if !left.is_empty() {
                rest[table] = asked["RequestItems"][table].clone();
                rest[table]["Keys"] = pick(left);
            }
            asked["RequestItems"][table]["Keys"] = pick(done);
        }
        if request::batch(&asked).iter().all(|(_, keys)| keys.is_empty()) {
            return (200, json!({"Responses": {}, "UnprocessedKeys": rest}).to_string());
        }
        let (status, body) = self.answer_to(&request.operation, &asked.to_string());
        let Ok(mut answer) = serde_json::from_str::<Value>(&body) else { return (status, body) };
        answer["UnprocessedKeys"] = rest;
        (status, answer.to_string())
    }

    /// The same, but an eventually consistent read sees what was there `age` ago.
    pub(super) fn answer_late(&self, request: &Request, age: Duration) -> (u16, String) {
        let (status, body) = self.answer(request);
        let Ok(mut answer) = serde_json::from_str::<Value>(&body) else { return (status, body) };
        let is_eventual = |asked: &Value| asked["ConsistentRead"] != json!(true);
        let asked = &request.body;
        match request.operation.as_str() {
            "GetItem" if is_eventual(asked) => {
                let table = asked["TableName"].as_str().unwrap_or_default();
                if let Some(before) = self.past_of(table, &asked["Key"], age) {
                    answer = if before.is_null() { json!({}) } else { json!({"Item": before}) };
                }
            }
            "BatchGetItem" => {
                for (table, keys) in request::batch(asked) {
                    if is_eventual(&asked["RequestItems"][table]) {
                        self.put_back(&mut answer["Responses"][table], table, keys, age);
                    }
                }
            }
            _ => {}
        }
        (status, answer.to_string())
    }

    /// Puts into an answer what these keys' items were.
    fn put_back(&self, items: &mut Value, table: &str, keys: &[Value], age: Duration) {
        let mut list = items.as_array().cloned().unwrap_or_default();
        for key in keys {
            if let Some(before) = self.past_of(table, key, age) {
                list.retain(|item| request::key_of(item) != *key);
                list.extend((!before.is_null()).then_some(before));
            }
        }
        *items = Value::Array(list);
    }

    /// What an item was `age` ago (null: it was not there), if it has changed since.
    fn past_of(&self, table: &str, key: &Value, age: Duration) -> Option<Value> {
        let moment = Instant::now().checked_sub(age.min(STALENESS_LIMIT))?;
        let past = self.past();
        let first = past.iter().find(|change| change.at > moment && change.table == table && change.key == *key);
        first.map(|change| change.before.clone())
    }

    fn remember(&self, items: &[(String, Value)]) {
        for (table, key) in items {
            let get = json!({"TableName": table, "Key": key, "ConsistentRead": true});
            let Ok(mut answer) = self.run("GetItem", &get) else { continue };
            let at = Instant::now();
            let mut past = self.past();
            while past.front().is_some_and(|change| at.duration_since(change.at) > STALENESS_LIMIT) {
                past.pop_front();
            }
            past.push_back(Change { at, table: table.clone(), key: key.clone(), before: answer["Item"].take() });
        }
    }

    fn past(&self) -> MutexGuard<'_, VecDeque<Change>> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dispatch(&self, operation: &str, body: &str) -> Result<String, DynoxideError> {
        let database = &self.database;
        match operation {
            "GetItem" => said(database.get_item(asked(body)?)),
            "BatchGetItem" => said(database.batch_get_item(asked(body)?)),
            "PutItem" => said(database.put_item(asked(body)?)),
            "UpdateItem" => said(database.update_item(asked(body)?)),
            "DeleteItem" => said(database.delete_item(asked(body)?)),
            "TransactWriteItems" => said(database.transact_write_items(asked(body)?)),
            "TransactGetItems" => said(database.transact_get_items(asked(body)?)),
            "Query" => said(database.query(asked(body)?)),
            "Scan" => said(database.scan(asked(body)?)),
            "CreateTable" => said(database.create_table(asked(body)?)),
            "DescribeTable" => said(database.describe_table(asked(body)?)),
            "UpdateTimeToLive" => said(database.update_time_to_live(asked(body)?)),
            "DescribeTimeToLive" => said(database.describe_time_to_live(asked(body)?)),
            unknown => Err(DynoxideError::ValidationException(format!("{unknown} is not simulated"))),
        }
    }
}

fn asked<T: DeserializeOwned>(body: &str) -> Result<T, DynoxideError> {
    serde_json::from_str(body).map_err(|error| DynoxideError::SerializationException(error.to_string()))
}

fn said<T: Serialize>(answer: Result<T, DynoxideError>) -> Result<String, DynoxideError> {
    serde_json::to_string(&answer?).map_err(|error| DynoxideError::InternalServerError(error.to_string()))
}

fn failed(operation: &'static str, error: DynoxideError) -> StoreError {
    StoreError::new(ErrorKind::Unknown, operation, error)
}
