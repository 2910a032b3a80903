//! DynamoDB without a network: the production store, the real SDK beneath it, and beneath that a connector that hands
//! requests to an engine in this process. For tests on tokio's paused time: nothing waits for anything outside.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | an engine with the two tables, the stores over it, and what happened to whose requests |
//! | [`request`] | a request, as plans and traces see it |
//! | [`fault`] | what may become of a request, and with which bytes DynamoDB says so |
//! | `connector` | the SDK's connector: what of a request arrives, when, and what comes back |
//! | `engine` | the crate dynoxide, called by name and JSON |
//! | `stream` | the transaction table's stream |
//! | `past` | what items were a moment ago, and which are in flight |
//! | `transactions` | transactions: in flight, in conflict, and once for each token |
//!
//! ```text
//! let engine = Engine::new().await;
//! let store = engine.store(|request| if request.what == What::Record { Fault::Silent(Side::After) } else { Fault::None });
//! ```
//!
//! Every request of every store asks its store's plan what is to become of it; [`Engine::trace`] has a line for each. The
//! same calls under the same plans give the same lines, in whatever process: the time is virtual, and JSON is written with
//! its members in order (the SDK's maps are not).

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aft_protocol::atomic_read::Records;
use aft_protocol::id::TransactionId;
use aws_sdk_dynamodb::config::SharedHttpClient;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::dynamodb::{Config, Credentials, DynamoDb, ReadConsistency, TimeLimits};
use crate::{Store, StoreError};

mod connector;
mod engine;
pub mod fault;
mod past;
pub mod request;
mod stream;
#[cfg(test)]
mod tests;
mod transactions;

pub use fault::{Cancellation, Fate, Fault, Side, Throttle};
pub use request::{Request, What};

/// The name of the data table.
pub const DATA_TABLE: &str = "data";
/// The name of the transaction table.
pub const TRANSACTION_TABLE: &str = "transactions";

/// Decides over each request of a store.
type Plan = Arc<dyn Fn(&Request) -> Fate + Send + Sync>;

/// An engine with the two tables in memory. Clones share them.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    start: Instant,
    tables: engine::Tables,
    /// `None`: nobody is to read it.
    trace: Option<Mutex<String>>,
}

impl Engine {
    /// Two empty tables.
    ///
    /// # Errors
    /// [`StoreError`] if the engine does not make them.
    pub async fn new() -> Result<Self, StoreError> {
        Self::with_trace(Some(Mutex::default())).await
    }

    /// The same without a trace, for what runs long.
    ///
    /// # Errors
    /// As for [`Self::new`].
    pub async fn untraced() -> Result<Self, StoreError> {
        Self::with_trace(None).await
    }

    async fn with_trace(trace: Option<Mutex<String>>) -> Result<Self, StoreError> {
        let shared = Shared { start: Instant::now(), tables: engine::Tables::new()?, trace };
        let engine = Self { shared: Arc::new(shared) };
        engine.unseen().create_tables().await?;
        Ok(engine)
    }

    /// A store with the time limits of production.
    #[must_use]
    pub fn store<F: Into<Fate>>(&self, plan: impl Fn(&Request) -> F + Send + Sync + 'static) -> DynamoDb {
        self.store_with(ReadConsistency::Strong, &TimeLimits::default(), plan)
    }

    /// The same with other settings.
    #[must_use]
    pub fn store_with<F: Into<Fate>>(
        &self,
        reads: ReadConsistency,
        limits: &TimeLimits,
        plan: impl Fn(&Request) -> F + Send + Sync + 'static,
    ) -> DynamoDb {
        let config = Config {
            data_table: DATA_TABLE.to_owned(),
            transaction_table: TRANSACTION_TABLE.to_owned(),
            region: "eu-central-1".to_owned(),
            endpoint: None,
            credentials: Credentials::Keys {
                access_key_id: "simulated".to_owned(),
                secret_access_key: "simulated".to_owned(),
                session_token: None,
            },
            reads,
        };
        DynamoDb::with_http_client(&config, limits, self.http_client(plan))
    }

    /// What carries requests here, for another client than the store.
    #[must_use]
    pub fn http_client<F: Into<Fate>>(&self, plan: impl Fn(&Request) -> F + Send + Sync + 'static) -> SharedHttpClient {
        connector::http_client(self.clone(), Arc::new(move |request: &Request| plan(request).into()))
    }

    /// Every transaction that has a commit record, without a request.
    ///
    /// # Errors
    /// [`StoreError`] if the engine fails.
    pub fn committed(&self) -> Result<BTreeSet<TransactionId>, StoreError> {
        let mut found = BTreeSet::new();
        let mut from = Value::Null;
        loop {
            let mut scan = json!({"TableName": TRANSACTION_TABLE, "ProjectionExpression": "id, part"});
            if !from.is_null() {
                scan["ExclusiveStartKey"] = from;
            }
            let mut page = self.shared.tables.run("Scan", &scan)?;
            for item in page["Items"].as_array().into_iter().flatten() {
                if let (Some("commit"), Some(id)) = (item["part"]["S"].as_str(), item["id"]["S"].as_str()) {
                    let id = id.parse::<TransactionId>();
                    found.insert(id.map_err(|error| StoreError::new(crate::ErrorKind::Malformed, "Scan", error))?);
                }
            }
            from = page["LastEvaluatedKey"].take();
            if from.is_null() {
                return Ok(found);
            }
        }
    }

    /// Every commit record, past every fault.
    ///
    /// # Errors
    /// [`StoreError`] if one cannot be read.
    pub async fn records(&self) -> Result<Records, StoreError> {
        self.unseen().records(&self.committed()?).await
    }

    /// The transaction table's stream without its first `since` records: the new commit records in the order in which they
    /// took effect, as the fault manager gets them in an event's `Records`. The stream keeps everything.
    #[must_use]
    pub fn stream(&self, since: usize) -> Vec<Value> {
        let written = self.shared.tables.written();
        written.iter().enumerate().skip(since).map(|(number, image)| stream::event(number, image)).collect()
    }

    /// Deletes what DynamoDB's TTL deletes: the items whose time (attribute `x`) has passed, at `now_seconds` since the epoch.
    /// DynamoDB does it within days, if that is said here at any later time. How many they were.
    ///
    /// # Errors
    /// [`StoreError`] if the engine fails.
    pub fn expire(&self, now_seconds: u64) -> Result<usize, StoreError> {
        let mut deleted = 0;
        for table in [DATA_TABLE, TRANSACTION_TABLE] {
            let mut from = Value::Null;
            loop {
                let mut scan = json!({"TableName": table, "FilterExpression": "x < :now",
                    "ExpressionAttributeValues": {":now": {"N": now_seconds.to_string()}}});
                if !from.is_null() {
                    scan["ExclusiveStartKey"] = from;
                }
                let mut page = self.shared.tables.run("Scan", &scan)?;
                for item in page["Items"].as_array().into_iter().flatten() {
                    let delete = json!({"TableName": table, "Key": request::key_of(item)});
                    self.shared.tables.run("DeleteItem", &delete)?;
                    deleted += 1;
                }
                from = page["LastEvaluatedKey"].take();
                if from.is_null() {
                    break;
                }
            }
        }
        Ok(deleted)
    }

    /// A store without faults, whose requests leave no trace, and whose reads see what has taken effect even if it is still
    /// in flight.
    #[must_use]
    pub fn unseen(&self) -> DynamoDb {
        self.store(|_| Fault::Unseen)
    }

    /// A line for each request so far: when, what, and what became of it.
    #[must_use]
    pub fn trace(&self) -> String {
        self.shared.trace().map_or_else(String::new, |trace| trace.clone())
    }
}

impl Shared {
    fn trace(&self) -> Option<MutexGuard<'_, String>> {
        Some(self.trace.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, request: &Request, fate: Fate) {
        if let Some(mut trace) = self.trace().filter(|_| fate.fault != Fault::Unseen) {
            // Writing to a string cannot fail.
            let _ = writeln!(trace, "{:?} {request} -> {fate:?}", self.start.elapsed());
        }
    }
}
