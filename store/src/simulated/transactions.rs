//! Transactions as DynamoDB runs them (Idziorek et al., Distributed Transactions at Scale in Amazon DynamoDB, USENIX ATC
//! 2023; API reference of `TransactWriteItems`).
//!
//! * A `TransactWriteItems` takes effect at one instant, and from then on its items become visible to plain reads one after
//!   the other. It is answered when all of them are.
//! * While an item is in flight, every other transaction on it is cancelled with `TransactionConflict`, and a plain write
//!   fails with `TransactionConflictException`. So a `TransactGetItems` never sees a part.
//! * A transaction that is cancelled has held its items for as long, as those that were prepared before the first refusal.
//! * A token means once, from the beginning of its transaction to ten minutes after its end; a cancelled one's means
//!   nothing.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::engine::refusal::{Invalid, Refusal};
use super::engine::table::{Place, View};
use super::engine::write::{Action, Next};
use super::engine::{Answer, Item, State, only};
use super::fault::Cancellation;
use super::request::{self, Request, canonical};

/// "A client request token is valid for 10 minutes after the first request that uses it is completed."
const TOKEN_VALIDITY: Duration = Duration::from_secs(600);

/// The longest token.
const TOKEN_LENGTH: usize = 36;

/// "Up to 100 actions", and as many reads.
const ACTIONS: usize = 100;

/// What a `TransactWriteItems` may ask for, and a `TransactGetItems` may answer. DynamoDB Local counts what is answered, so that
/// a projection makes it less; the API reference says "the aggregate size of the items".
const LIMIT_BYTES: usize = 4 << 20;

/// What became of the transactions that had a token.
pub(super) type Tokens = HashMap<String, Known>;

/// A transaction that had a token.
pub(super) struct Known {
    /// A digest.
    actions: u64,
    until: Instant,
    took_effect: bool,
}

impl State {
    /// `TransactWriteItems`.
    pub(super) fn write_at_once(&mut self, asked: &Value, in_flight: Duration) -> Result<Answer, Refusal> {
        let asked = only(asked, &["TransactItems", "ClientRequestToken"])?;
        let token = token(asked)?;
        let digest = token.and_then(|_| asked.get("TransactItems")).map_or(0, digest);
        if let Some(token) = token
            && let Some(answer) = self.answer_again(token, digest)
        {
            return answer;
        }
        let actions = self.actions(listed(asked)?)?;
        let now = Instant::now();
        let is_held: Vec<_> =
            actions.iter().map(|action| self.is_in_flight(action.table, &action.place, now)).collect();
        let (mut nexts, mut reasons, mut is_refused) = (Vec::with_capacity(actions.len()), Vec::new(), false);
        for (action, is_held) in actions.iter().zip(&is_held) {
            let outcome = if *is_held { Err(Refusal::InFlight) } else { self.outcome(action) };
            match outcome {
                Ok(next) => {
                    nexts.push(next);
                    reasons.push(no_reason());
                }
                Err(refusal) => {
                    is_refused = true;
                    nexts.push(Next::Same);
                    reasons.push(refusal.reason().ok_or(refusal)?);
                }
            }
        }
        let mut answer = if is_refused { cancelled(reasons) } else { Answer::now(200, "{}") };
        for ((action, next), _) in actions.iter().zip(nexts).zip(is_held).filter(|(_, is_held)| !is_held) {
            let until = now + self.share(in_flight, token, action);
            let next = if is_refused { Next::Same } else { next };
            self.settle((action.table, &action.place), next, now, until);
            answer.at = answer.at.max(until);
        }
        if let Some(token) = token {
            let known = Known { actions: digest, until: answer.at, took_effect: !is_refused };
            self.tokens.insert(token.to_owned(), known);
        }
        Ok(answer)
    }

    /// The actions of a `TransactWriteItems`, if they may be in one.
    fn actions<'a>(&mut self, asked: &'a [Value]) -> Result<Vec<Action<'a>>, Refusal> {
        let mut actions = Vec::with_capacity(asked.len());
        for action in asked {
            let mut members = action.as_object().into_iter().flatten();
            let (Some((name, asked)), None) = (members.next(), members.next()) else {
                return Err(Invalid::Member("TransactItems").into());
            };
            actions.push(self.action(name, asked)?);
        }
        let mut places = HashSet::with_capacity(actions.len());
        if !actions.iter().all(|action| places.insert((action.table, &action.place))) {
            return Err(Invalid::OneItemTwice.into());
        }
        if actions.iter().map(|action| action.size).sum::<usize>() > LIMIT_BYTES {
            return Err(Invalid::LargeTransaction.into());
        }
        Ok(actions)
    }

    /// `TransactGetItems`. Who sees the truth sees it whatever is in flight.
    pub(super) fn read_at_once(&mut self, asked: &Value, view: View) -> Result<Answer, Refusal> {
        let places = self.places_at_once(listed(only(asked, &["TransactItems"])?)?)?;
        let (now, mut bytes) = (Instant::now(), 0);
        let mut items = Vec::with_capacity(places.len());
        for get in &places {
            let (size, item) = self.get_one(get)?;
            bytes += size;
            items.push(item);
        }
        let is_held: Vec<_> = places.iter().map(|(table, place, _)| self.is_in_flight(table, place, now)).collect();
        if view != View::Truth && is_held.contains(&true) {
            let of = |is_held| if is_held { reason(Cancellation::Conflict) } else { no_reason() };
            return Ok(cancelled(is_held.into_iter().map(of).collect()));
        }
        if bytes > LIMIT_BYTES {
            return Err(Invalid::LargeAnswer(bytes).into());
        }
        Ok(Answer::now(200, format!(r#"{{"Responses":[{}]}}"#, items.join(","))))
    }

    fn is_in_flight(&self, table: &str, place: &Place, now: Instant) -> bool {
        self.tables.get(table).is_some_and(|table| table.is_in_flight(place, now))
    }

    /// What is said to a token that is known.
    fn answer_again(&self, token: &str, actions: u64) -> Option<Result<Answer, Refusal>> {
        let known = self.tokens.get(token)?;
        let now = Instant::now();
        let is_in_progress = known.until > now;
        let is_valid = known.took_effect && now.saturating_duration_since(known.until) < TOKEN_VALIDITY;
        if !is_in_progress && !is_valid {
            return None;
        }
        Some(if known.actions != actions {
            Err(Refusal::OtherActions)
        } else if is_in_progress {
            Err(Refusal::InProgress)
        } else {
            Ok(Answer::now(200, "{}"))
        })
    }

    /// When within its transaction's time an item becomes visible: the same in every process.
    fn share(&self, in_flight: Duration, token: Option<&str>, action: &Action<'_>) -> Duration {
        if in_flight.is_zero() {
            return Duration::ZERO;
        }
        let key = self.tables.get(action.table).map(|table| Value::Object(table.key_at(&action.place)));
        let mut hasher = DefaultHasher::new();
        (token, action.table, canonical(&key.unwrap_or_default())).hash(&mut hasher);
        let thousandths = u32::try_from(hasher.finish() % 1000).unwrap_or_default() + 1;
        in_flight * thousandths / 1000
    }
}

fn token(asked: &Item) -> Result<Option<&str>, Invalid> {
    match asked.get("ClientRequestToken") {
        None => Ok(None),
        Some(Value::String(token)) if (1..=TOKEN_LENGTH).contains(&token.len()) => Ok(Some(token)),
        Some(_) => Err(Invalid::Count { name: "ClientRequestToken", limit: TOKEN_LENGTH }),
    }
}

fn listed(asked: &Item) -> Result<&[Value], Invalid> {
    let name = "TransactItems";
    match asked.get(name).and_then(Value::as_array) {
        Some(listed) if (1..=ACTIONS).contains(&listed.len()) => Ok(listed),
        Some(_) => Err(Invalid::Count { name, limit: ACTIONS }),
        None => Err(Invalid::Member(name)),
    }
}

/// The same for what is the same, in whatever order its members are.
fn digest(value: &Value) -> u64 {
    fn add(value: &Value, hasher: &mut DefaultHasher) {
        match value {
            Value::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                members.sort_unstable_by_key(|(name, _)| *name);
                members.len().hash(hasher);
                for (name, value) in members {
                    name.hash(hasher);
                    add(value, hasher);
                }
            }
            Value::Array(items) => {
                items.len().hash(hasher);
                items.iter().for_each(|item| add(item, hasher));
            }
            Value::String(text) => text.hash(hasher),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string().hash(hasher),
        }
    }
    let mut hasher = DefaultHasher::new();
    add(value, &mut hasher);
    hasher.finish()
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
        "PutItem" | "UpdateItem" | "DeleteItem" if why == Cancellation::Conflict => Some(Refusal::InFlight.into()),
        _ => None,
    }
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
    let body = json!({"__type": kind, "Message": message, "CancellationReasons": reasons});
    Answer::now(400, body.to_string())
}
