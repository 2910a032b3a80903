//! Transactions as DynamoDB runs them (Idziorek et al., Distributed Transactions at Scale in Amazon DynamoDB, USENIX ATC
//! 2023; API reference of `TransactWriteItems`), where dynoxide's take effect and are over.
//!
//! * A `TransactWriteItems` takes effect at one instant, and from then on its items become visible to plain reads one after
//!   the other. It is answered when all of them are.
//! * While an item is in flight, every other transaction on it is cancelled with `TransactionConflict`, and a plain write
//!   fails with `TransactionConflictException`. So a `TransactGetItems` never sees a part.
//! * A transaction that is cancelled has held its items for as long, as those that were prepared before the first refusal.
//! * A token means once, from the beginning of its transaction to ten minutes after its end; a cancelled one's means
//!   nothing. dynoxide's tokens expire by the wall clock, so it gets none.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use dynoxide::types::{Item, item_size};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::engine::{Answer, Tables};
use super::fault::Cancellation;
use super::request::{self, Request, canonical};

/// "A client request token is valid for 10 minutes after the first request that uses it is completed."
const TOKEN_VALIDITY: Duration = Duration::from_secs(600);

/// The longest token; a longer one is dynoxide's to refuse.
const TOKEN_LENGTH: usize = 36;

/// What a `TransactGetItems` may answer. DynamoDB Local counts what is answered, so that a projection makes it less; the API
/// reference says "the aggregate size of the items".
const READ_LIMIT_BYTES: usize = 4 << 20;

/// A condition that no item meets.
const NEVER: &str = "attribute_exists(#k) AND attribute_not_exists(#k)";

/// What became of the transactions that had a token.
pub(super) type Tokens = HashMap<String, Known>;

/// A transaction that had a token.
pub(super) struct Known {
    actions: String,
    until: Instant,
    took_effect: bool,
}

impl Tables {
    /// `TransactWriteItems`.
    pub(super) fn write_at_once(&self, request: &Request, in_flight: Duration) -> Answer {
        let token = request.body["ClientRequestToken"].as_str().filter(|token| token.len() <= TOKEN_LENGTH);
        let actions = canonical(&request.body["TransactItems"]);
        if let Some(answer) = token.and_then(|token| self.answer_again(token, &actions)) {
            return answer;
        }
        let items = request::items(&request.operation, &request.body);
        let is_held: Vec<_> = items.iter().map(|(table, key)| self.past().is_in_flight(table, key)).collect();
        let asked = without_effect_on(&is_held, &items, without_token(token, &request.body));
        let free = items.into_iter().zip(&is_held).filter(|(_, is_held)| !**is_held);
        let before: Vec<_> = free.map(|(item, _)| (self.item(&item), item)).collect();

        let mut answer = self.answer_to(&request.operation, &asked.to_string());
        let took_effect = answer.status == 200;
        if !took_effect {
            let Some(reasons) = reasons(&answer) else { return answer };
            let conflict = || reason(Cancellation::Conflict);
            let of = |(reason, is_held): (Value, &bool)| if *is_held { conflict() } else { reason };
            answer = cancelled(reasons.into_iter().zip(&is_held).map(of).collect());
        }
        let now = answer.at;
        for (before, item) in before {
            let until = now + share(in_flight, token, &item);
            self.past().remember(until, item, before);
            answer.at = answer.at.max(until);
        }
        if let Some(token) = token {
            self.tokens().insert(token.to_owned(), Known { actions, until: answer.at, took_effect });
        }
        answer
    }

    /// `TransactGetItems`.
    pub(super) fn read_at_once(&self, request: &Request) -> Answer {
        let answer = self.answer_to(&request.operation, &request.text);
        if answer.status != 200 {
            return answer;
        }
        let items = request::items(&request.operation, &request.body);
        let is_held: Vec<_> = items.iter().map(|(table, key)| self.past().is_in_flight(table, key)).collect();
        if is_held.contains(&true) {
            let of = |is_held| if is_held { reason(Cancellation::Conflict) } else { no_reason() };
            return cancelled(is_held.into_iter().map(of).collect());
        }
        let read = read_bytes(&answer);
        if read > READ_LIMIT_BYTES {
            return Answer::refused("ValidationException", &format!("Payload in response is too large.{read}"));
        }
        answer
    }

    /// What is said to a token that is known.
    fn answer_again(&self, token: &str, actions: &str) -> Option<Answer> {
        let tokens = self.tokens();
        let known = tokens.get(token)?;
        let now = Instant::now();
        let is_in_progress = known.until > now;
        let is_valid = known.took_effect && now.saturating_duration_since(known.until) < TOKEN_VALIDITY;
        if !is_in_progress && !is_valid {
            return None;
        }
        Some(if known.actions != actions {
            Answer::refused("IdempotentParameterMismatchException", "The token was used with other actions")
        } else if is_in_progress {
            Answer::refused("TransactionInProgressException", "Transaction from previous request is still in progress")
        } else {
            Answer::now(200, "{}")
        })
    }

    fn tokens(&self) -> MutexGuard<'_, Tokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a plain write on an item in flight is told.
pub(super) fn write_conflict() -> Answer {
    Answer::refused("TransactionConflictException", "Transaction is ongoing for the item")
}

/// What a transaction is told that nothing was wrong with; `None`: this is none, nor a plain write in conflict.
pub(super) fn cancelled_out_of_the_blue(request: &Request, why: Cancellation, position: usize) -> Option<Answer> {
    match request.operation.as_str() {
        "TransactWriteItems" | "TransactGetItems" => {
            let mut reasons = vec![no_reason(); request::items(&request.operation, &request.body).len()];
            let position = position.checked_rem(reasons.len())?;
            reasons[position] = reason(why);
            Some(cancelled(reasons))
        }
        "PutItem" | "UpdateItem" | "DeleteItem" if why == Cancellation::Conflict => Some(write_conflict()),
        _ => None,
    }
}

fn without_token(token: Option<&str>, body: &Value) -> Value {
    let mut asked = body.clone();
    if let (Some(_), Some(members)) = (token, asked.as_object_mut()) {
        members.remove("ClientRequestToken");
    }
    asked
}

/// The same transaction, but the items that are held make it fail; the others' reasons are found out all the same.
fn without_effect_on(is_held: &[bool], items: &[(String, Value)], mut asked: Value) -> Value {
    for (index, (table, key)) in items.iter().enumerate().filter(|(index, _)| is_held[*index]) {
        let attribute = key.as_object().and_then(|key| key.keys().next());
        asked["TransactItems"][index] = json!({"ConditionCheck": {
            "TableName": table, "Key": key, "ConditionExpression": NEVER, "ExpressionAttributeNames": {"#k": attribute},
        }});
    }
    asked
}

/// When within its transaction's time an item becomes visible: the same in every process.
fn share(in_flight: Duration, token: Option<&str>, (table, key): &(String, Value)) -> Duration {
    let mut hasher = DefaultHasher::new();
    (token, table, canonical(key)).hash(&mut hasher);
    let thousandths = u32::try_from(hasher.finish() % 1000).unwrap_or_default() + 1;
    in_flight * thousandths / 1000
}

fn no_reason() -> Value {
    json!({"Code": "None"})
}

fn reason(why: Cancellation) -> Value {
    let (code, message) = match why {
        Cancellation::Conflict => ("TransactionConflict", "Transaction is ongoing for the item"),
        Cancellation::Provisioned => (
            "ProvisionedThroughputExceeded",
            "The level of configured provisioned throughput for the table was exceeded",
        ),
        Cancellation::OnDemand => ("ThrottlingError", "Throughput exceeds the current capacity of your table or index"),
    };
    json!({"Code": code, "Message": message})
}

fn cancelled(reasons: Vec<Value>) -> Answer {
    let codes: Vec<_> = reasons.iter().map(|reason| reason["Code"].as_str().unwrap_or_default()).collect();
    let codes = codes.join(", ");
    let message = format!("Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]");
    let kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
    Answer::now(400, json!({"__type": kind, "Message": message, "CancellationReasons": reasons}))
}

/// Why a transaction was cancelled, if it was that.
fn reasons(answer: &Answer) -> Option<Vec<Value>> {
    let mut body: Value = serde_json::from_str(&answer.body).ok()?;
    match body["CancellationReasons"].take() {
        Value::Array(reasons) => Some(reasons),
        _ => None,
    }
}

/// The size of the items in an answer, as DynamoDB counts it.
fn read_bytes(answer: &Answer) -> usize {
    if answer.body.len() <= READ_LIMIT_BYTES {
        // JSON is never shorter than what it says.
        return answer.body.len();
    }
    let answer: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let items = answer["Responses"].as_array().into_iter().flatten();
    let items = items.filter_map(|read| serde_json::from_value::<Item>(read["Item"].clone()).ok());
    items.map(|item| item_size(&item)).sum()
}
