//! Sandboxes over one store, under a plan of faults, on paused time.

// Each test file uses its own part of this.
#![allow(dead_code, missing_docs, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use aft_extension::session::{
    Ack, Begun, Behaviour, CommitResult, DuplicateCheck, Journal, Named, Session, SessionError,
};
use aft_extension::sources::Sources;
use aft_protocol::attempt::Seen;
use aft_protocol::id::{AttemptNumber, Fingerprint, RequestId, TransactionId};
use aft_protocol::isolation::Isolation;
use aft_protocol::key::Key;
use aft_protocol::record::{Response, Writes};
use aft_protocol::value::{ContentType, Value};
use aft_protocol::version::Timestamp;
use aft_protocol::wire::Begin;
use aft_store::Store;
use aft_store::faults::{Call, Fault, Faulty};
use aft_store::memory::Memory;
pub use aft_store::watched::{Breaches, Watched};
use tokio::time::Instant;

pub const DEADLINE_MS: u64 = 10_000;

pub const BEHAVIOUR: Behaviour = Behaviour {
    duplicate_check: DuplicateCheck::CommitOnly,
    ack: Ack::Visible,
    memoize_always: false,
    retention_seconds: 3_600,
    reads_strongly: true,
    // Off where it is not the point: most tests count calls.
    look_ups: 0,
    cache_bytes: 1_000_000,
    isolation: Isolation::ReadAtomic,
    refuse_in_progress: false,
};

/// Every call that a sandbox made, in order.
pub type Calls = Arc<Mutex<Vec<Call>>>;

pub struct Sandbox<S = Faulty<Watched<Memory, Memory>>> {
    pub session: Session<S>,
    pub behaviour: Behaviour,
    /// Empty unless the store is this one's own.
    pub calls: Calls,
    pub breaches: Breaches,
    /// Whether reads that may be stale are.
    pub stale: Arc<AtomicBool>,
    /// How far the wall clock is ahead, in microseconds.
    pub skew_micros: Arc<AtomicI64>,
    start: Instant,
}

/// When every world begins.
pub const EPOCH_SECONDS: u64 = 1_000;

/// The wall clock that all sandboxes share, in microseconds ahead of the epoch, and each one's skew.
fn sources(start: Instant, skew_micros: Arc<AtomicI64>, seed: u64) -> Sources {
    const EPOCH: u64 = EPOCH_SECONDS * 1_000_000;
    let random = AtomicU64::new(seed);
    Sources {
        now: Arc::new(move || {
            let elapsed = u64::try_from(start.elapsed().as_micros()).unwrap();
            Timestamp::from_micros((EPOCH + elapsed).checked_add_signed(skew_micros.load(Ordering::Relaxed)).unwrap())
        }),
        // SplitMix64, twice: sandboxes never share a nonce.
        random: Arc::new(move || u128::from(splitmix(&random)) << 64 | u128::from(splitmix(&random))),
    }
}

pub fn splitmix(state: &AtomicU64) -> u64 {
    let mut z = state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Sandbox {
    pub fn new(store: &Memory, seed: u64) -> Self {
        Self::with(store, seed, BEHAVIOUR, 0, |_| Fault::None)
    }

    pub fn faulty(store: &Memory, seed: u64, plan: impl Fn(&Call) -> Fault + Send + Sync + 'static) -> Self {
        Self::with(store, seed, BEHAVIOUR, 0, plan)
    }

    pub fn with(
        store: &Memory,
        seed: u64,
        behaviour: Behaviour,
        skew_micros: i64,
        plan: impl Fn(&Call) -> Fault + Send + Sync + 'static,
    ) -> Self {
        Self::since(Instant::now(), store, seed, behaviour, skew_micros, plan)
    }

    /// A sandbox in a world that began at `start`.
    pub fn since(
        start: Instant,
        store: &Memory,
        seed: u64,
        behaviour: Behaviour,
        skew_micros: i64,
        plan: impl Fn(&Call) -> Fault + Send + Sync + 'static,
    ) -> Self {
        Self::journaling(start, store, seed, behaviour, skew_micros, Journal::none(), plan)
    }

    /// A sandbox with a journal, which must have recovered before it commits.
    pub fn journaling(
        start: Instant,
        store: &Memory,
        seed: u64,
        behaviour: Behaviour,
        skew_micros: i64,
        journal: Journal,
        plan: impl Fn(&Call) -> Fault + Send + Sync + 'static,
    ) -> Self {
        let calls = Calls::default();
        let seen = Arc::clone(&calls);
        let breaches = Breaches::default();
        let watched = Watched::new(store.clone(), store.clone(), Some(&breaches));
        let stale = watched.stale();
        let store = Faulty::new(watched, move |call: &Call| {
            seen.lock().unwrap().push(call.clone());
            plan(call)
        });
        Self { calls, stale, ..Self::over(start, store, breaches, seed, behaviour, skew_micros, journal) }
    }
}

impl<S: Store> Sandbox<S> {
    /// A sandbox over any store, in a world that began at `start`. With a journal, it must have recovered before it commits.
    pub fn over(
        start: Instant,
        store: S,
        breaches: Breaches,
        seed: u64,
        behaviour: Behaviour,
        skew_micros: i64,
        journal: Journal,
    ) -> Self {
        let skew_micros = Arc::new(AtomicI64::new(skew_micros));
        let sources = sources(Instant::now(), Arc::clone(&skew_micros), seed.wrapping_mul(0x1234_5678_9abc_def1));
        let session = Session::with_journal(store, behaviour, sources, journal);
        session.attach();
        let (calls, stale) = (Calls::default(), Arc::default());
        Self { session, behaviour, calls, breaches, stale, skew_micros, start }
    }

    pub async fn begin(&self, transaction: u128) -> Begun {
        self.begin_attempt(transaction, AttemptNumber::FIRST).await
    }

    pub async fn begin_attempt(&self, transaction: u128, attempt: AttemptNumber) -> Begun {
        self.try_begin(transaction, attempt).await.unwrap()
    }

    pub async fn try_begin(&self, transaction: u128, attempt: AttemptNumber) -> Result<Begun, SessionError> {
        self.session.begin(self.event(transaction, attempt)).await
    }

    /// What the shim says at the start of an attempt.
    pub fn event(&self, transaction: u128, attempt: AttemptNumber) -> Begin {
        Begin {
            request: RequestId::new(format!("r-{transaction}")),
            transaction: TransactionId::from_bits(transaction),
            attempt,
            fingerprint: Fingerprint::of(b"{}"),
            origin: format!("test/r-{transaction}"),
            // The epoch of `sources`, and time enough; Lambda's clock is not skewed.
            deadline_ms: 1_000_000 + u64::try_from(self.start.elapsed().as_millis()).unwrap() + DEADLINE_MS,
        }
    }

    pub fn put(&self, transaction: u128, key: &str, value: &str) {
        self.session.write(named(transaction), Writes::from([(k(key), Some(v(value)))])).unwrap();
    }

    pub fn delete(&self, transaction: u128, key: &str) {
        self.session.write(named(transaction), Writes::from([(k(key), None)])).unwrap();
    }

    pub async fn try_get(&self, transaction: u128, key: &str) -> Result<Option<String>, SessionError> {
        let seen = self.session.read(named(transaction), BTreeSet::from([k(key)])).await?;
        Ok(seen[&k(key)].value().map(text))
    }

    pub async fn get(&self, transaction: u128, key: &str) -> Option<String> {
        self.try_get(transaction, key).await.unwrap()
    }

    pub async fn get_all(&self, transaction: u128, keys: &[&str]) -> Vec<Option<String>> {
        let wanted = keys.iter().map(|key| k(key)).collect();
        let seen = self.session.read(named(transaction), wanted).await.unwrap();
        keys.iter().map(|key| seen[&k(key)].value().map(text)).collect()
    }

    pub async fn commit(&self, transaction: u128, response: &str) -> CommitResult {
        let number = self.session.status(named(transaction)).unwrap().identity.number;
        self.session.commit(TransactionId::from_bits(transaction), number, answer(response)).await.unwrap()
    }

    pub fn end(&self, transaction: u128) {
        self.session.end(RequestId::new(format!("r-{transaction}")));
    }

    /// What the control API does before it ends an invocation.
    pub async fn release(&self, transaction: u128) {
        self.session.release(&RequestId::new(format!("r-{transaction}"))).await;
    }

    /// Begins, writes and commits, which must succeed.
    pub async fn write(&self, transaction: u128, writes: &[(&str, &str)]) {
        assert_eq!(self.begin(transaction).await, Begun::Open);
        for (key, value) in writes {
            self.put(transaction, key, value);
        }
        assert_eq!(self.commit(transaction, "ok").await, CommitResult::Committed);
        self.end(transaction);
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    pub fn count(&self, wanted: impl Fn(&Call) -> bool) -> usize {
        self.calls().iter().filter(|call| wanted(call)).count()
    }
}

pub fn named(transaction: u128) -> Named {
    Named { transaction: Some(TransactionId::from_bits(transaction)), attempt: None }
}

pub fn k(key: &str) -> Key {
    Key::new(key).unwrap()
}

pub fn v(value: &str) -> Value {
    Value::new(value.to_owned(), ContentType::default()).unwrap()
}

pub fn text(value: &Value) -> String {
    String::from_utf8(value.bytes().to_vec()).unwrap()
}

pub fn answer(body: &str) -> Response {
    Response { content_type: Some("application/json".to_owned()), body: body.to_owned().into() }
}

pub fn is_commit(call: &Call) -> bool {
    matches!(call, Call::Commit(_))
}

pub fn is_apply(call: &Call) -> bool {
    matches!(call, Call::Apply(_))
}

pub fn stored(store: &Memory, key: &str) -> Option<String> {
    store.head_of(&k(key)).current.value.as_ref().map(text)
}

pub fn seen_text(seen: &Seen) -> Option<String> {
    seen.value().map(text)
}
