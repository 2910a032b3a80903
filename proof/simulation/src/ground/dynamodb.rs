//! The production store over the real SDK, and beneath it a simulated DynamoDB, with everything that can go wrong with a
//! request. The fault manager is the real one, fed by the transaction table's stream.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aft_fault_manager::batch;
use aft_fault_manager::event::Event;
use aft_protocol::head::Head;
use aft_protocol::id::{SandboxId, TransactionId};
use aft_protocol::key::Key;
use aft_protocol::record::CommitRecord;
use aft_store::Store;
use aft_store::dynamodb::{DynamoDb, ReadConsistency, TimeLimits};
use aft_store::retry::Patience;
use aft_store::simulated::{Cancellation, Engine, Fate, Fault, Request, Side as Half, Throttle, What};
use aft_store::watched::Truth;
use serde_json::json;
use tokio::time::Instant;

use super::Ground;
use crate::chance::Chance;
use crate::life::{Life, Mortal};
use crate::trouble::{Call, Side, Trouble};

/// How long the fault manager has for a batch.
const BATCH_TIME: Duration = Duration::from_secs(20);

/// A simulated DynamoDB.
#[derive(Clone)]
pub struct Simulated {
    engine: Engine,
    truth: DynamoDb,
    /// What was read of the stream: records never change.
    stream: Arc<Mutex<Vec<Arc<CommitRecord>>>>,
}

impl Simulated {
    fn known(&self) -> MutexGuard<'_, Vec<Arc<CommitRecord>>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn client(&self, life: &Life, reads: ReadConsistency) -> DynamoDb {
        let life = life.clone();
        self.engine.store_with(reads, &TimeLimits::default(), move |request: &Request| fate(&life, request))
    }
}

impl Truth for Simulated {
    async fn records_of(&self, sandbox: SandboxId) -> Vec<Arc<CommitRecord>> {
        self.stream(0).await.into_iter().filter(|record| record.sandbox == sandbox).collect()
    }

    #[allow(clippy::expect_used, reason = "a head that cannot be read is what the history is run to find")]
    async fn true_heads(&self, keys: &BTreeSet<Key>) -> BTreeMap<Key, Head> {
        self.truth.latest_heads(keys).await.expect("the truth is readable")
    }
}

impl Ground for Simulated {
    type Store = Mortal<DynamoDb>;

    const NAME: &'static str = "dynamodb";

    #[allow(clippy::expect_used, reason = "the engine is in this process, and has nothing that could fail")]
    async fn new(is_traced: bool) -> Self {
        let engine = if is_traced { Engine::new().await } else { Engine::untraced().await };
        let engine = engine.expect("an engine in memory");
        let truth = engine.unseen();
        Self { engine, truth, stream: Arc::default() }
    }

    fn store(&self, life: &Life, reads_strongly: bool) -> Self::Store {
        let reads = if reads_strongly { ReadConsistency::Strong } else { ReadConsistency::Eventual };
        Mortal::new(self.client(life, reads), life)
    }

    #[allow(clippy::expect_used, reason = "a record that cannot be read is what the history is run to find")]
    async fn stream(&self, since: usize) -> Vec<Arc<CommitRecord>> {
        let known = self.known().len();
        let new = self.engine.stream(known);
        let id = |event: &serde_json::Value| event["dynamodb"]["NewImage"]["id"]["S"].as_str()?.parse().ok();
        let ids: Vec<TransactionId> = new.iter().filter_map(id).collect();
        let mut records = self.truth.records(&ids.iter().copied().collect()).await.expect("the truth is readable");
        let whole = ids.iter().filter_map(|id| records.remove(id).flatten().map(Arc::new));
        let mut stream = self.known();
        // Another may have read it meanwhile.
        if stream.len() == known {
            stream.extend(whole);
        }
        stream.iter().skip(since).cloned().collect()
    }

    #[allow(clippy::expect_used, reason = "the engine writes what the fault manager reads")]
    async fn recover(&self, life: &Life, from: usize, many: usize, now_seconds: u64) -> bool {
        let records: Vec<_> = self.engine.stream(from).into_iter().take(many).collect();
        let event: Event = serde_json::from_value(json!({"Records": records})).expect("an event of the stream");
        let patience = Patience { until: Instant::now() + BATCH_TIME, random: &|| 0 };
        let answer = batch::recover(&self.client(life, ReadConsistency::Strong), event, now_seconds, patience).await;
        answer.batch_item_failures.is_empty()
    }

    async fn expire(&self, now_seconds: u64, is_due: impl Fn(TransactionId) -> bool) -> usize {
        self.engine.expire(now_seconds, is_due)
    }

    fn trace(&self) -> String {
        self.engine.trace()
    }
}

fn half(side: Side) -> Half {
    match side {
        Side::Before => Half::Before,
        Side::After => Half::After,
    }
}

/// What becomes of a request in a life.
fn fate(life: &Life, request: &Request) -> Fate {
    let call = match &request.what {
        What::Heads(_) => Call::Heads,
        What::Records(_) => Call::Records,
        What::Chunk => Call::Chunk,
        What::Record => Call::Record,
        What::Claim => Call::Claim,
        What::Head(_) => Call::Head,
        What::Transaction(_) => Call::Step,
        What::Versions(_) => Call::AtOnce,
        What::Other => Call::Other,
    };
    let (trouble, chance) = life.call(call, || request.to_string());
    let time = |longest| Duration::from_micros(chance.below(longest));
    let fault = match trouble {
        Some(Trouble::Refused) => refused(&chance),
        Some(Trouble::Lost(side)) => lost(side, &chance),
        Some(Trouble::Silent(side) | Trouble::Dies(side)) => Fault::Silent(half(side)),
        Some(Trouble::Late(ms)) => Fault::Slow(Duration::from_millis(ms), Duration::ZERO),
        Some(Trouble::Contended) if chance.one_in(2) => Fault::Cancelled(Cancellation::OnDemand, position(&chance)),
        Some(Trouble::Contended) => Fault::Cancelled(Cancellation::Conflict, position(&chance)),
        Some(Trouble::Stale(ms)) => Fault::Stale(Duration::from_millis(ms)),
        Some(Trouble::Partly(keys)) => Fault::Unprocessed(keys),
        Some(Trouble::Freezes(_) | Trouble::HandlerFails | Trouble::HandlerDies | Trouble::HandlerDawdles(_))
        | None => Fault::Slow(time(20_000), time(20_000)),
    };
    // Some are under way for long enough that whole transactions come and go meanwhile.
    let longest = if chance.one_in(6) { 300_000 } else { 20_000 };
    fault.in_flight(time(longest))
}

fn position(chance: &Chance) -> usize {
    usize::try_from(chance.below(10)).unwrap_or_default()
}

fn refused(chance: &Chance) -> Fault {
    chance.of(&[
        Fault::Unconnected,
        Fault::Unavailable,
        Fault::Throttled(Throttle::Provisioned),
        Fault::Throttled(Throttle::OnDemand),
        Fault::Throttled(Throttle::Account),
    ])
}

fn lost(side: Side, chance: &Chance) -> Fault {
    match side {
        Side::Before => chance.of(&[Fault::Lost(Half::Before), Fault::Failed(Half::Before)]),
        Side::After => chance.of(&[Fault::Lost(Half::After), Fault::Failed(Half::After), Fault::CutOff]),
    }
}
