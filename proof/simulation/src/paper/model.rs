//! How long DynamoDB takes in virtual time, and how many requests it was sent.
//!
//! The times are those that `make bench` uses for contention, published by Alex DeBrie
//! (github.com/alexdebrie/dynamodb-performance-testing): a `PutItem` from Lambda 7.55 ms at the median, 16.2 at the 99th percentile;
//! a read is taken to be two thirds of a write. Every request arrives after half of its time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aft_store::simulated::{Fault, Request, Side};

use super::random::Random;

/// The median of a read.
pub const READ: Duration = Duration::from_millis(5);
/// The median of a write.
pub const WRITE: Duration = Duration::from_micros(7_550);
/// So that the 99th percentile is 2.15 times the median.
pub const SPREAD: f64 = 0.33;

/// One process that sends requests.
#[derive(Debug, Clone, Default)]
pub struct Life(Arc<AtomicBool>);

impl Life {
    /// It sends nothing more, and hears nothing more.
    pub fn end(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What becomes of the requests of a life, which are counted.
pub fn plan(random: Random, life: Life, sent: Arc<AtomicU64>) -> impl Fn(&Request) -> Fault + Send + Sync + 'static {
    let random = Mutex::new(random);
    move |request| {
        if life.0.load(Ordering::Relaxed) {
            return Fault::Silent(Side::Before);
        }
        sent.fetch_add(1, Ordering::Relaxed);
        let median = match request.operation.as_str() {
            "GetItem" | "BatchGetItem" => READ,
            _ => WRITE,
        };
        let takes = random.lock().unwrap_or_else(PoisonError::into_inner).log_normal(median, SPREAD);
        let before = Duration::from_millis(u64::try_from(takes.as_millis() / 2).unwrap_or_default());
        Fault::Slow(before, takes.saturating_sub(before))
    }
}
