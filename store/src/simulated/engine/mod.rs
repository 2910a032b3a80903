//! DynamoDB in this process, as far as a store needs it: items as JSON in memory, the documented rules, and DynamoDB's words
//! where it refuses. Everything runs to its end within the call: no thread, no wait.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | which operations there are |
//! | `table` | tables, items, and what they were a moment ago |
//! | `read`, `write`, `administer` | the operations, but for transactions |
//! | `known` | the members of requests |
//! | `expression`, `evaluate` | expressions: their grammar, and what they come to |
//! | `value` | attribute values: their types, sizes and order |
//! | `refusal` | why something is not done |
//!
//! The conformance suite runs on it, and `tests/against_dynoxide` compares it request by request with another engine. What
//! neither asks for is not simulated, and refused.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::request::Request;
use super::transactions::Tokens;

mod administer;
mod evaluate;
mod expression;
mod known;
mod read;
pub(super) mod refusal;
pub(super) mod table;
mod value;
pub(super) mod write;

use expression::{Condition, Name, Parsed, Update};
pub(super) use known::only;
use refusal::{Invalid, Refusal};
use table::{Stored, Table, View};
pub(super) use value::Item;

/// The tables of an [`Engine`](super::Engine).
#[derive(Default)]
pub(super) struct Tables {
    state: Mutex<State>,
}

/// All that there is.
#[derive(Default)]
pub(super) struct State {
    pub(super) tables: HashMap<String, Table>,
    pub(super) tokens: Tokens,
    /// The commit records, in the order in which they were written.
    pub(super) written: Vec<Arc<Stored>>,
    expressions: Expressions,
}

/// Expressions that were met before.
#[derive(Default)]
struct Expressions {
    conditions: HashMap<String, Arc<Parsed<Condition>>>,
    updates: HashMap<String, Arc<Parsed<Update>>>,
    projections: HashMap<String, Arc<Parsed<Vec<Name>>>>,
}

impl Expressions {
    fn condition(&mut self, text: &str) -> Result<Arc<Parsed<Condition>>, Invalid> {
        parsed(&mut self.conditions, text, expression::condition)
    }

    fn update(&mut self, text: &str) -> Result<Arc<Parsed<Update>>, Invalid> {
        parsed(&mut self.updates, text, expression::update)
    }

    fn projection(&mut self, text: &str) -> Result<Arc<Parsed<Vec<Name>>>, Invalid> {
        parsed(&mut self.projections, text, expression::projection)
    }
}

fn parsed<T>(
    known: &mut HashMap<String, Arc<Parsed<T>>>,
    text: &str,
    parse: impl FnOnce(&str) -> Result<Parsed<T>, Invalid>,
) -> Result<Arc<Parsed<T>>, Invalid> {
    if let Some(parsed) = known.get(text) {
        return Ok(Arc::clone(parsed));
    }
    let parsed = Arc::new(parse(text)?);
    known.insert(text.to_owned(), Arc::clone(&parsed));
    Ok(parsed)
}

/// What DynamoDB says to a request, and when.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
    /// Not before.
    pub(super) at: Instant,
}

impl Answer {
    pub(super) fn now(status: u16, body: impl Into<String>) -> Self {
        Self { status, body: body.into(), at: Instant::now() }
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Self::now(400, refusal.body().to_string())
    }
}

impl Tables {
    /// Lets a request take effect. An eventually consistent read sees what was there `age` ago; a transaction is in flight
    /// for as long as is said.
    pub(super) fn answer(&self, request: &Request, age: Duration, in_flight: Duration) -> Answer {
        self.state().answer(request, View::Ago(age), in_flight, 0)
    }

    /// The same, but reads see what has taken effect, whatever is in flight.
    pub(super) fn answer_truly(&self, request: &Request) -> Answer {
        self.state().answer(request, View::Truth, Duration::ZERO, 0)
    }

    /// The same, but the keys of a batch whose bits are set come back unprocessed.
    pub(super) fn answer_partly(&self, request: &Request, unprocessed: u64, in_flight: Duration) -> Answer {
        self.state().answer(request, View::Ago(Duration::ZERO), in_flight, unprocessed)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn answer(&mut self, request: &Request, view: View, in_flight: Duration, unprocessed: u64) -> Answer {
        let body = &request.body;
        let answer = match request.operation.as_str() {
            "TransactWriteItems" => return self.write_at_once(body, in_flight).unwrap_or_else(Answer::from),
            "TransactGetItems" => return self.read_at_once(body, view).unwrap_or_else(Answer::from),
            "PutItem" => self.write("Put", body),
            "UpdateItem" => self.write("Update", body),
            "DeleteItem" => self.write("Delete", body),
            "GetItem" => self.get(body, view),
            "BatchGetItem" => self.get_batch(body, view, unprocessed),
            "Scan" => self.scan(body, view),
            "Query" => self.query(body, view),
            "CreateTable" => self.create_table(body),
            "DescribeTable" => self.describe_table(body),
            "UpdateTimeToLive" => self.update_ttl(body),
            "DescribeTimeToLive" => self.describe_ttl(body),
            unknown => Err(Invalid::not_simulated("an operation", unknown).into()),
        };
        answer.map_or_else(Answer::from, |body| Answer::now(200, body))
    }

    /// Deletes what TTL deletes, as far as it is due. How many items those were.
    pub(super) fn expire(&mut self, now_seconds: u64, is_due: &dyn Fn(&Item) -> bool) -> usize {
        let now = Instant::now();
        self.tables.values_mut().map(|table| table.expire(now_seconds, now, is_due)).sum()
    }

    /// The stream's record of the `number`th commit record, from 0.
    pub(super) fn event(&self, number: usize) -> Option<Value> {
        let image = &self.written.get(number)?.item;
        Some(json!({"eventName": "INSERT", "dynamodb": {
            "Keys": {"id": image["id"], "part": image["part"]}, "NewImage": image,
            "SequenceNumber": (number + 1).to_string(),
        }}))
    }
}
