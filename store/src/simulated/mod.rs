//! DynamoDB without a network: the production store, the real SDK beneath it, and beneath that a connector that hands
//! requests to an engine in this process. For tests on tokio's paused time: nothing waits for anything outside.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | an engine with the two tables, the stores over it, and what happened to whose requests |
//! | [`request`] | a request, as plans and traces see it |
//! | [`fault`] | what may become of a request, and with which bytes DynamoDB says so |
//! | `connector` | the SDK's connector: what of a request arrives, when, and what comes back |
//! | `engine` | the tables, and what operations do to them |
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

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aft_protocol::atomic_read::Records;
use aft_protocol::head::Head;
use aft_protocol::id::TransactionId;
use aft_protocol::key::Key;
use aft_protocol::record::CommitRecord;
use aws_sdk_dynamodb::config::SharedHttpClient;
use serde_json::Value;
use tokio::time::Instant;

use crate::dynamodb::{Config, Credentials, DynamoDb, ReadConsistency, TimeLimits, at_hand};
use crate::{ErrorKind, StoreError};

mod connector;
mod engine;
pub mod fault;
pub mod request;
#[cfg(test)]
mod tests;
mod transactions;

use engine::table::Place;

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
        let shared = Shared { start: Instant::now(), tables: engine::Tables::default(), trace };
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
        Self::over(reads, limits, self.http_client(plan))
    }

    /// The same over any client.
    fn over(reads: ReadConsistency, limits: &TimeLimits, http: SharedHttpClient) -> DynamoDb {
        let config = Config {
            data_table: DATA_TABLE.to_owned(),
            transaction_table: TRANSACTION_TABLE.to_owned(),
            region: "eu-central-1".to_owned(),
            endpoint: None,
            ca_bundle: None,
            credentials: Credentials::Keys {
                access_key_id: "simulated".to_owned(),
                secret_access_key: "simulated".to_owned(),
                session_token: None,
            },
            reads,
        };
        DynamoDb::with_http_client(&config, limits, http)
    }

    /// What carries requests here, for another client than the store.
    #[must_use]
    pub fn http_client<F: Into<Fate>>(&self, plan: impl Fn(&Request) -> F + Send + Sync + 'static) -> SharedHttpClient {
        connector::http_client(self.clone(), Arc::new(move |request: &Request| plan(request).into()))
    }

    /// Every transaction that has a commit record, without a request.
    ///
    /// # Errors
    /// [`StoreError`] if one has no transaction's name.
    pub fn committed(&self) -> Result<BTreeSet<TransactionId>, StoreError> {
        let state = self.shared.tables.state();
        let slots = state.tables.get(TRANSACTION_TABLE).into_iter().flat_map(|table| &table.slots);
        let records = slots.filter(|(place, slot)| place.sort == "commit" && slot.item.is_some());
        let id = |text: &String| text.parse().map_err(|error| StoreError::new(ErrorKind::Malformed, "Scan", error));
        records.map(|(place, _)| id(&place.partition)).collect()
    }

    /// The commit records that have taken effect, without the first `since` of them, in the order in which they did; past
    /// every fault, without a request, whole. Also those that have expired since, but for those whose chunks have.
    ///
    /// # Errors
    /// [`StoreError`] if one is not in this version's layout, or a chunk of it is missing.
    pub fn records_since(&self, since: usize) -> Result<Vec<CommitRecord>, StoreError> {
        let state = self.shared.tables.state();
        let table = state.tables.get(TRANSACTION_TABLE);
        let chunk = |id: &str, part: &str| {
            let place = Place { partition: id.to_owned(), sort: part.to_owned() };
            table?.item(&place).map(|chunk| &chunk.item)
        };
        state.written.iter().skip(since).map(|record| at_hand::record(&record.item, chunk)).collect()
    }

    /// Every commit record that there is, past every fault, without a request.
    ///
    /// # Errors
    /// As for [`Self::records_since`].
    pub fn records(&self) -> Result<Records, StoreError> {
        let there = self.committed()?;
        let records = self.records_since(0)?.into_iter().map(|record| (record.transaction(), Some(record)));
        Ok(records.filter(|(transaction, _)| there.contains(transaction)).collect())
    }

    /// These keys' heads as they are, past every fault and whatever is in flight, without a request.
    ///
    /// # Errors
    /// [`StoreError`] if one is not in this version's layout.
    pub fn heads(&self, keys: &BTreeSet<Key>) -> Result<BTreeMap<Key, Head>, StoreError> {
        let state = self.shared.tables.state();
        let head = |key: &Key| {
            let place = Place { partition: key.as_str().to_owned(), sort: String::new() };
            match state.tables.get(DATA_TABLE).and_then(|table| table.item(&place)) {
                Some(stored) => at_hand::head(&stored.item),
                None => Ok((key.clone(), Head::absent())),
            }
        };
        keys.iter().map(head).collect()
    }

    /// The transaction table's stream without its first `since` records: the new commit records in the order in which they
    /// took effect, as Lambda hands them to the fault manager in an event's `Records` (DynamoDB Streams API, `Record` and
    /// `StreamRecord`). Nothing else is in it: no chunks, no claims, and nothing that was deleted, which the event filter keeps
    /// away from the fault manager.
    #[must_use]
    pub fn stream(&self, since: usize) -> Vec<Value> {
        let state = self.shared.tables.state();
        (since..state.written.len()).filter_map(|number| state.event(number)).collect()
    }

    /// Deletes what DynamoDB's TTL deletes: the items whose time (attribute `x`) has passed at `now_seconds` since the epoch,
    /// unless they are in flight; of transactions' items only those that are due, because DynamoDB takes days for it if it must. How many
    /// they were.
    pub fn expire(&self, now_seconds: u64, is_due: impl Fn(TransactionId) -> bool) -> usize {
        let of = |item: &engine::Item| item.get("id").and_then(|id| id["S"].as_str()).and_then(|id| id.parse().ok());
        self.shared.tables.state().expire(now_seconds, &|item| of(item).is_none_or(&is_due))
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
