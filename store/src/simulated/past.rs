//! What items were a moment ago: for eventually consistent reads, and for every plain read of an item in flight.
//!
//! A transaction's change takes effect at once, in the engine's tables, and becomes visible later: until then it is in
//! flight. An item in flight is changed by nobody else, so the changes of one item are in the order of their times.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

/// How far behind an eventually consistent read may be: "usually a second or less" (DynamoDB developer guide).
const STALENESS_LIMIT: Duration = Duration::from_secs(1);

/// The changes of the last second, and those to come.
#[derive(Default)]
pub(super) struct Past {
    changes: VecDeque<Change>,
}

/// What an item is to plain reads until a time.
struct Change {
    until: Instant,
    table: String,
    key: Value,
    before: Value,
}

impl Past {
    /// An item is what it was (null: not there) until then.
    pub(super) fn remember(&mut self, until: Instant, (table, key): (String, Value), before: Value) {
        let now = Instant::now();
        while self.changes.front().is_some_and(|change| now.duration_since(change.until) > STALENESS_LIMIT) {
            self.changes.pop_front();
        }
        self.changes.push_back(Change { until, table, key, before });
    }

    /// What an item was `age` ago (null: it was not there), if it has changed since or is to change.
    pub(super) fn of(&self, table: &str, key: &Value, age: Duration) -> Option<Value> {
        let mut since = self.since(age);
        since.find(|change| change.table == table && change.key == *key).map(|change| change.before.clone())
    }

    /// Whether a transaction is in flight on an item.
    pub(super) fn is_in_flight(&self, table: &str, key: &Value) -> bool {
        self.of(table, key, Duration::ZERO).is_some()
    }

    /// The keys of the items of a table that a transaction is in flight on.
    pub(super) fn in_flight(&self, table: &str) -> Vec<Value> {
        self.since(Duration::ZERO).filter(|change| change.table == table).map(|change| change.key.clone()).collect()
    }

    /// Whether everything is what it was `age` ago.
    pub(super) fn is_quiet(&self, age: Duration) -> bool {
        self.since(age).next().is_none()
    }

    fn since(&self, age: Duration) -> impl Iterator<Item = &Change> {
        let moment = Instant::now().checked_sub(age.min(STALENESS_LIMIT));
        self.changes.iter().filter(move |change| moment.is_some_and(|moment| change.until > moment))
    }
}
