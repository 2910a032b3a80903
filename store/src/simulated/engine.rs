//! The crate dynoxide, called by name and JSON; and its answers to plain reads, which may be behind.
//!
//! Everything runs to its end within the call: no thread, no wait.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::past::Past;
use super::request::{self, Request};
use super::stream;
use super::transactions::{self, Tokens};
use crate::{ErrorKind, StoreError};

/// The tables, and what of them is not visible yet or was not a moment ago.
pub(super) struct Tables {
    database: Database,
    past: Mutex<Past>,
    stream: Mutex<Vec<Value>>,
    pub(super) tokens: Mutex<Tokens>,
}

/// What DynamoDB says to a request, and when.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
    /// Not before.
    pub(super) at: Instant,
}

impl Answer {
    pub(super) fn now(status: u16, body: impl ToString) -> Self {
        Self { status, body: body.to_string(), at: Instant::now() }
    }

    pub(super) fn refused(kind: &str, message: &str) -> Self {
        let kind = format!("com.amazonaws.dynamodb.v20120810#{kind}");
        Self::now(400, json!({"__type": kind, "message": message}))
    }

    /// A successful answer changed.
    fn map(mut self, change: impl FnOnce(&mut Value)) -> Self {
        if let (200, Ok(mut body)) = (self.status, serde_json::from_str(&self.body)) {
            change(&mut body);
            self.body = body.to_string();
        }
        self
    }
}

impl Tables {
    pub(super) fn new() -> Result<Self, StoreError> {
        let database = Database::memory().map_err(|error| failed("open", error))?;
        Ok(Self { database, past: Mutex::default(), stream: Mutex::default(), tokens: Mutex::default() })
    }

    /// Runs an operation for a test, not for a store.
    pub(super) fn run(&self, operation: &'static str, body: &Value) -> Result<Value, StoreError> {
        let answer = self.dispatch(operation, &body.to_string()).map_err(|error| failed(operation, error))?;
        serde_json::from_str(&answer).map_err(|error| StoreError::new(ErrorKind::Malformed, operation, error))
    }

    /// Lets a request take effect. An eventually consistent read sees what was there `age` ago; a transaction is in flight
    /// for as long as is said.
    pub(super) fn answer(&self, request: &Request, age: Duration, in_flight: Duration) -> Answer {
        let answer = self.effect(request, age, in_flight);
        if let (200, Some(record)) = (answer.status, stream::record(request)) {
            self.written().push(record.clone());
        }
        answer
    }

    fn effect(&self, request: &Request, age: Duration, in_flight: Duration) -> Answer {
        match request.operation.as_str() {
            "TransactWriteItems" => self.write_at_once(request, in_flight),
            "TransactGetItems" => self.read_at_once(request),
            "PutItem" | "UpdateItem" | "DeleteItem" => self.write(request),
            operation => {
                let answer = self.answer_to(operation, &request.text);
                self.as_of(age, answer, operation, &request.body)
            }
        }
    }

    /// The same, but reads see what has taken effect, whatever is in flight.
    pub(super) fn answer_truly(&self, request: &Request) -> Answer {
        match request.operation.as_str() {
            "TransactWriteItems" | "PutItem" | "UpdateItem" | "DeleteItem" => {
                self.answer(request, Duration::ZERO, Duration::ZERO)
            }
            operation => self.answer_to(operation, &request.text),
        }
    }

    pub(super) fn answer_to(&self, operation: &str, body: &str) -> Answer {
        match self.dispatch(operation, body) {
            Ok(answer) => Answer::now(200, answer),
            Err(error) => Answer::now(error.status_code(), error.to_json()),
        }
    }

    /// The same, but the keys of a batch whose bits are set come back unprocessed.
    pub(super) fn answer_partly(&self, request: &Request, unprocessed: u64, in_flight: Duration) -> Answer {
        if request.operation != "BatchGetItem" {
            return self.answer(request, Duration::ZERO, in_flight);
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
            return Answer::now(200, json!({"Responses": {}, "UnprocessedKeys": rest}));
        }
        let answer = self.answer_to(&request.operation, &asked.to_string());
        let answer = self.as_of(Duration::ZERO, answer, &request.operation, &asked);
        answer.map(|body| body["UnprocessedKeys"] = rest)
    }

    fn write(&self, request: &Request) -> Answer {
        for item in request::items(&request.operation, &request.body) {
            if self.past().is_in_flight(&item.0, &item.1) {
                return transactions::write_conflict();
            }
            let before = self.item(&item);
            self.past().remember(Instant::now(), item, before);
        }
        self.answer_to(&request.operation, &request.text)
    }

    /// A plain read's answer as it was `age` ago if it is eventually consistent, and without what is still in flight.
    fn as_of(&self, age: Duration, answer: Answer, operation: &str, asked: &Value) -> Answer {
        if self.past().is_quiet(age) {
            return answer;
        }
        let age = |asked: &Value| if asked["ConsistentRead"] == json!(true) { Duration::ZERO } else { age };
        let table = asked["TableName"].as_str().unwrap_or_default();
        answer.map(|body| match operation {
            "GetItem" => {
                if let Some(before) = self.past().of(table, &asked["Key"], age(asked)) {
                    *body = if before.is_null() { json!({}) } else { json!({"Item": before}) };
                }
            }
            "BatchGetItem" => {
                for (table, keys) in request::batch(asked) {
                    let age = age(&asked["RequestItems"][table]);
                    self.put_back(&mut body["Responses"][table], table, keys, age);
                }
            }
            "Query" | "Scan" => {
                // Of the items in flight, those that were found.
                let mut keys = self.past().in_flight(table);
                let found = body["Items"].as_array();
                keys.retain(|key| found.is_some_and(|items| items.iter().any(|item| request::key_of(item) == *key)));
                self.put_back(&mut body["Items"], table, &keys, Duration::ZERO);
                body["Count"] = json!(body["Items"].as_array().map_or(0, Vec::len));
            }
            _ => {}
        })
    }

    /// Puts into an answer what these keys' items were.
    fn put_back(&self, items: &mut Value, table: &str, keys: &[Value], age: Duration) {
        let mut list = items.as_array().cloned().unwrap_or_default();
        for key in keys {
            if let Some(before) = self.past().of(table, key, age) {
                list.retain(|item| request::key_of(item) != *key);
                list.extend((!before.is_null()).then_some(before));
            }
        }
        *items = Value::Array(list);
    }

    /// An item as it is (null: not there), whatever is in flight.
    pub(super) fn item(&self, (table, key): &(String, Value)) -> Value {
        let get = json!({"TableName": table, "Key": key, "ConsistentRead": true});
        self.run("GetItem", &get).map(|mut answer| answer["Item"].take()).unwrap_or_default()
    }

    pub(super) fn past(&self) -> MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The commit records that were written, in this order.
    pub(super) fn written(&self) -> MutexGuard<'_, Vec<Value>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
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
