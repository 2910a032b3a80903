//! What seeded histories take place on: a store for each life of a sandbox, whose every call may be slow, fail, or be the
//! sandbox's last; and the truth behind all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aft_protocol::atomic_read::Records;
use aft_protocol::claim::Claim;
use aft_protocol::head::{Entry, Head, Keep};
use aft_protocol::id::TransactionId;
use aft_protocol::isolation::Guards;
use aft_protocol::key::Key;
use aft_protocol::record::CommitRecord;
use aft_store::dynamodb::{DynamoDb, ReadConsistency, TimeLimits};
use aft_store::faults::{Call, Fault, Faulty};
use aft_store::memory::Memory;
use aft_store::simulated::fault::Cancellation;
use aft_store::simulated::{self, Engine, Request, Side, Throttle, What};
use aft_store::{Applied, AtOnce, Claimed, Committed, ErrorKind, Stepped, Store, StoreError, Terms, Validated};

use tokio::time::Instant;

use super::{Breaches, Truth, Watched, splitmix};

/// One life of a sandbox: its luck, and whether it is over.
#[derive(Clone)]
pub struct Life {
    dice: Arc<AtomicU64>,
    dead: Arc<AtomicBool>,
}

impl Life {
    pub fn new(seed: u64) -> Self {
        Self { dice: Arc::new(AtomicU64::new(seed)), dead: Arc::default() }
    }

    pub fn is_over(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// Makes a call, if this life lasts that long: who is dead neither asks nor hears.
    async fn last<T>(&self, call: impl Future<Output = T>) -> T {
        self.goes_on().await;
        let answer = call.await;
        self.goes_on().await;
        answer
    }

    async fn goes_on(&self) {
        if self.is_over() {
            std::future::pending().await
        }
    }

    fn end(&self) {
        self.dead.store(true, Ordering::Relaxed);
    }

    fn draw(&self, bound: u64) -> u64 {
        splitmix(&self.dice) % bound
    }
}

/// Where histories take place.
pub trait Ground: Truth {
    /// The sandboxes' store.
    type Store: Store;

    /// The store past every fault.
    fn truth(&self) -> impl Store;

    /// What was asked of it, if it keeps that.
    fn trace(&self) -> String {
        String::new()
    }

    /// Nothing written yet. Called within the history's runtime.
    fn new() -> impl Future<Output = Self>;

    /// The store of one life of a sandbox, which reads heads strongly or, if it knows the difference, eventually.
    fn store(&self, life: Life, reads_strongly: bool, breaches: &Breaches) -> Self::Store;
}

/// The contract in its plainest form, with faults injected call by call.
impl Ground for Memory {
    type Store = Faulty<Watched<Self, Self>>;

    fn truth(&self) -> impl Store {
        self.clone()
    }

    async fn new() -> Self {
        Self::new()
    }

    fn store(&self, life: Life, _reads_strongly: bool, breaches: &Breaches) -> Self::Store {
        let plan = move |call: &Call| {
            if life.is_over() {
                return Fault::HangBefore;
            }
            let is_record = matches!(call, Call::Commit(_) | Call::CommitIf(..));
            let writes = is_record || matches!(call, Call::Apply(_) | Call::Claim(_) | Call::Release(_));
            match life.draw(100) {
                0..=3 if writes => {
                    life.end();
                    if life.draw(2) == 0 { Fault::HangBefore } else { Fault::HangAfter }
                }
                // Not answered, and the sandbox lives on.
                96 if is_record => Fault::Late(Duration::from_millis(life.draw(30_000))),
                97 if is_record => Fault::HangAfter,
                98..=99 => Fault::Contended,
                4..=7 => Fault::Before(ErrorKind::Unavailable),
                8..=10 => Fault::Before(ErrorKind::Unknown),
                11..=15 => Fault::After(ErrorKind::Unknown),
                _ => Fault::Slow(Duration::from_micros(life.draw(20_000)), Duration::from_micros(life.draw(20_000))),
            }
        };
        Faulty::new(Watched::new(self.clone(), self.clone(), breaches), plan)
    }
}

/// The production store over the real SDK, with faults injected request by request under it.
#[derive(Clone)]
pub struct Simulated {
    engine: Engine,
    truth: DynamoDb,
    /// What was read of the truth: records never change.
    records: Arc<Mutex<Vec<CommitRecord>>>,
}

impl Truth for Simulated {
    async fn every_record(&self) -> Vec<CommitRecord> {
        let mut records = self.records.lock().unwrap();
        let new = self.engine.records_since(records.len()).unwrap();
        records.extend(new);
        records.clone()
    }

    async fn true_heads(&self, keys: &BTreeSet<Key>) -> BTreeMap<Key, Head> {
        self.engine.heads(keys).unwrap()
    }
}

impl Ground for Simulated {
    type Store = Mortal<Watched<DynamoDb, Self>>;

    fn truth(&self) -> impl Store {
        self.truth.clone()
    }

    fn trace(&self) -> String {
        self.engine.trace()
    }

    async fn new() -> Self {
        let engine = Engine::new().await.unwrap();
        let truth = engine.unseen();
        Self { engine, truth, records: Arc::default() }
    }

    fn store(&self, life: Life, reads_strongly: bool, breaches: &Breaches) -> Self::Store {
        let reads = if reads_strongly { ReadConsistency::Strong } else { ReadConsistency::Eventual };
        let plan = {
            let (life, drought) = (life.clone(), drought(&life));
            move |request: &Request| {
                // Some are for long enough that whole transactions come and go meanwhile.
                let longest = if life.draw(6) == 0 { 300_000 } else { 20_000 };
                let in_flight = Duration::from_micros(life.draw(longest));
                fate(&life, drought.as_ref(), request).in_flight(in_flight)
            }
        };
        let store = self.engine.store_with(reads, &TimeLimits::default(), plan);
        Mortal { store: Watched::new(store, self.clone(), breaches), life }
    }
}

/// A time in which DynamoDB has no capacity for a sandbox, often past an invocation's deadline; one life in three has it.
fn drought(life: &Life) -> Option<Range<Instant>> {
    let (begin, length) = (life.draw(400), life.draw(15_000));
    let begin = Instant::now() + Duration::from_millis(begin);
    (life.draw(3) == 0).then(|| begin..begin + Duration::from_millis(length))
}

/// What becomes of a request in a life.
fn fate(life: &Life, drought: Option<&Range<Instant>>, request: &Request) -> simulated::Fault {
    use simulated::Fault;
    if life.is_over() {
        return Fault::Silent(Side::Before);
    }
    if drought.is_some_and(|drought| drought.contains(&Instant::now())) {
        return Fault::Throttled(Throttle::Provisioned);
    }
    let is_record = matches!(request.what, What::Record | What::Transaction(_));
    match life.draw(100) {
        0..=3 if request.writes() => {
            life.end();
            Fault::Silent(if life.draw(2) == 0 { Side::Before } else { Side::After })
        }
        // Given up long before it arrives, and the sandbox lives on.
        96 if is_record => Fault::Slow(Duration::from_millis(life.draw(30_000)), Duration::ZERO),
        97 => Fault::Silent(if life.draw(2) == 0 { Side::Before } else { Side::After }),
        4 => Fault::Unconnected,
        5 => Fault::Throttled(Throttle::Provisioned),
        6 => Fault::Throttled(Throttle::OnDemand),
        7 => Fault::Throttled(Throttle::Account),
        8 => Fault::Lost(Side::Before),
        9 => Fault::Failed(Side::Before),
        10 => Fault::Unavailable,
        11..=12 => Fault::Lost(Side::After),
        13 => Fault::Failed(Side::After),
        14..=15 => Fault::CutOff,
        16..=18 => Fault::Unprocessed(life.draw(8)),
        98 => Fault::Cancelled(Cancellation::Conflict, life.draw(10) as usize),
        99 => Fault::Cancelled(Cancellation::OnDemand, life.draw(10) as usize),
        19..=30 => Fault::Stale(Duration::from_micros(life.draw(1_000_000))),
        _ => Fault::Slow(Duration::from_micros(life.draw(20_000)), Duration::from_micros(life.draw(20_000))),
    }
}

/// A store that nobody uses after the end of its sandbox's life: the timers of a dead process do not fire.
pub struct Mortal<S> {
    store: S,
    life: Life,
}

impl<S: Store> Store for Mortal<S> {
    async fn probe(&self) -> Result<(), StoreError> {
        self.life.last(self.store.probe()).await
    }

    async fn heads(&self, keys: &BTreeSet<Key>) -> Result<BTreeMap<Key, Head>, StoreError> {
        self.life.last(self.store.heads(keys)).await
    }

    async fn latest_heads(&self, keys: &BTreeSet<Key>) -> Result<BTreeMap<Key, Head>, StoreError> {
        self.life.last(self.store.latest_heads(keys)).await
    }

    async fn records(&self, transactions: &BTreeSet<TransactionId>) -> Result<Records, StoreError> {
        self.life.last(self.store.records(transactions)).await
    }

    async fn commit(&self, record: &CommitRecord) -> Result<Committed, StoreError> {
        self.life.last(self.store.commit(record)).await
    }

    async fn commit_if(&self, record: &CommitRecord, terms: &Terms) -> Result<Stepped, StoreError> {
        self.life.last(self.store.commit_if(record, terms)).await
    }

    async fn heads_at_once(&self, keys: &BTreeSet<Key>) -> Result<AtOnce, StoreError> {
        self.life.last(self.store.heads_at_once(keys)).await
    }

    async fn validate(&self, guards: &Guards) -> Result<Validated, StoreError> {
        self.life.last(self.store.validate(guards)).await
    }

    async fn apply(&self, key: &Key, entry: &Entry, keep: Keep) -> Result<Applied, StoreError> {
        self.life.last(self.store.apply(key, entry, keep)).await
    }

    async fn claim(&self, claim: &Claim, now_seconds: u64) -> Result<Claimed, StoreError> {
        self.life.last(self.store.claim(claim, now_seconds)).await
    }

    async fn release(&self, claim: &Claim) -> Result<(), StoreError> {
        self.life.last(self.store.release(claim)).await
    }
}
