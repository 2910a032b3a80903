//! What DynamoDB is taken to be like in virtual time: how long each kind of request takes, and what it costs.
//!
//! The times are those that Alex DeBrie measured from Lambda (github.com/alexdebrie/dynamodb-performance-testing): a `PutItem` 7.55 ms at
//! the median and 16.2 at the 99th percentile; a `TransactWriteItems` of 5 items 25.3 and 92.5 ms, and the same where a
//! condition fails. A read is taken to be two thirds of a write, a `TransactGetItems` two rounds of reads (Idziorek et al.,
//! Distributed Transactions at Scale in Amazon DynamoDB, USENIX ATC 2023). What matters for contention is their order of size.
//!
//! Costs are by DynamoDB's documented formula, for items that are all smaller than 1 KB: a strongly consistent read is one
//! unit an item, a write one, and both count twice in a transaction, whether it is cancelled or not.
//!
//! Not modelled: the limit of 1,000 write units a second for one partition. The meter tells where it would have been met.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aft_store::simulated::{Fate, Fault, Request};
use serde_json::Value;

use aft_simulation::paper::model::{READ, SPREAD, WRITE};
use aft_simulation::paper::random::Random;

const TRANSACTIONAL_READ: Duration = Duration::from_millis(10);
const TRANSACTIONAL_WRITE: Duration = Duration::from_micros(25_300);
/// So that the 99th percentile is 3.66 times the median.
const TRANSACTIONAL_SPREAD: f64 = 0.56;

/// Of a transactional write, the share before its items are held, and that while they are. The rest is the way back.
const BEFORE: f64 = 0.4;
const IN_FLIGHT: f64 = 0.5;

/// What becomes of the requests of one client, and what they cost.
pub fn plan(random: Random, meter: Arc<Meter>) -> impl Fn(&Request) -> Fate + Send + Sync + 'static {
    let random = Mutex::new(random);
    move |request| {
        meter.count(request);
        let mut random = random.lock().unwrap_or_else(PoisonError::into_inner);
        let (median, spread) = match request.operation.as_str() {
            "GetItem" | "BatchGetItem" => (READ, SPREAD),
            "TransactGetItems" => (TRANSACTIONAL_READ, SPREAD),
            "TransactWriteItems" => (TRANSACTIONAL_WRITE, TRANSACTIONAL_SPREAD),
            _ => (WRITE, SPREAD),
        };
        let takes = random.log_normal(median, spread);
        if request.operation != "TransactWriteItems" {
            let before = whole(takes.mul_f64(0.5));
            return Fault::Slow(before, takes.saturating_sub(before)).into();
        }
        let (before, in_flight) = (whole(takes.mul_f64(BEFORE)), whole(takes.mul_f64(IN_FLIGHT)));
        Fault::Slow(before, takes.saturating_sub(before + in_flight)).in_flight(in_flight)
    }
}

/// As tokio's timer counts.
fn whole(duration: Duration) -> Duration {
    Duration::from_millis((duration.as_secs_f64() * 1e3).round() as u64)
}

/// Units that were consumed.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Usage {
    /// Read request units.
    pub reads: f64,
    /// Write request units.
    pub writes: f64,
    /// Those write units that went to the one item with most of them.
    pub hottest: f64,
}

/// Counts the units of all clients.
#[derive(Debug, Default)]
pub struct Meter(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    reads: f64,
    writes: f64,
    by_item: HashMap<String, f64>,
}

impl Meter {
    /// So far.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let counts = self.counts();
        let hottest = counts.by_item.values().copied().fold(0.0, f64::max);
        Usage { reads: counts.reads, writes: counts.writes, hottest }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, request: &Request) {
        let body = &request.body;
        let mut counts = self.counts();
        match request.operation.as_str() {
            "GetItem" => counts.reads += unit_of_read(body),
            "BatchGetItem" => {
                for asked in body["RequestItems"].as_object().into_iter().flatten().map(|(_, asked)| asked) {
                    counts.reads += unit_of_read(asked) * asked["Keys"].as_array().map_or(0, Vec::len) as f64;
                }
            }
            "TransactGetItems" => counts.reads += 2.0 * actions(body).count() as f64,
            "TransactWriteItems" => actions(body).for_each(|action| counts.write(action, 2.0)),
            _ => counts.write(body, 1.0),
        }
    }
}

impl Counts {
    fn write(&mut self, action: &Value, units: f64) {
        self.writes += units;
        let key = action.get("Item").unwrap_or(&action["Key"]);
        let name = key["k"]["S"].as_str().or_else(|| key["id"]["S"].as_str()).unwrap_or_default();
        *self.by_item.entry(name.to_owned()).or_default() += units;
    }
}

fn unit_of_read(asked: &Value) -> f64 {
    if asked["ConsistentRead"] == Value::Bool(true) { 1.0 } else { 0.5 }
}

/// The actions of a transaction, without their kinds.
fn actions(body: &Value) -> impl Iterator<Item = &Value> {
    let actions = body["TransactItems"].as_array().into_iter().flatten();
    actions.filter_map(|action| action.as_object()?.values().next())
}
