//! The store's contract in its plainest form, and everything that can go wrong with a call to it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;
use std::future::{Future, pending};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aft_protocol::atomic_read::Records;
use aft_protocol::claim::Claim;
use aft_protocol::head::{Entry, Head, Keep};
use aft_protocol::id::{SandboxId, TransactionId};
use aft_protocol::isolation::Guards;
use aft_protocol::key::Key;
use aft_protocol::record::CommitRecord;
use aft_store::memory::Memory;
use aft_store::recovery::{Doing, Outcome, recover};
use aft_store::retry::Patience;
use aft_store::watched::Truth;
use aft_store::{
    Applied, AtOnce, Claimed, Committed, ErrorKind, Obstacles, Stepped, Store, StoreError, Terms, Validated,
};
use tokio::time::{Instant, sleep};

use super::Ground;
use crate::life::{Life, Mortal};
use crate::trouble::{Call, Side, Trouble};

/// How many versions of a head that are gone are still read now and then.
const PAST: usize = 8;
/// How long the fault manager has for a batch.
const BATCH_TIME: Duration = Duration::from_secs(20);

/// The two tables, what heads were, and the stream of records.
#[derive(Clone)]
pub struct InMemory {
    memory: Memory,
    shared: Arc<Mutex<Shared>>,
    start: Instant,
}

#[derive(Default)]
struct Shared {
    stream: Vec<Arc<CommitRecord>>,
    past: BTreeMap<Key, VecDeque<(Instant, Head)>>,
    trace: Option<String>,
}

impl InMemory {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A head as it was so long ago.
    fn head_before(&self, key: &Key, age: Duration) -> Head {
        let shared = self.shared();
        let past = shared.past.get(key).into_iter().flatten();
        // The last of those that were replaced since then, newest first.
        let past = past.take_while(|(replaced, _)| replaced.elapsed() < age).last();
        past.map_or_else(|| self.memory.head_of(key), |(_, head)| head.clone())
    }

    fn moved(&self, key: &Key, from: Head) {
        let mut shared = self.shared();
        let past = shared.past.entry(key.clone()).or_default();
        past.push_front((Instant::now(), from));
        past.truncate(PAST);
    }

    async fn commit(&self, record: &CommitRecord) -> Result<Committed, StoreError> {
        let committed = self.memory.commit(record).await?;
        if committed == Committed::Now {
            self.shared().stream.push(Arc::new(record.clone()));
        }
        Ok(committed)
    }

    async fn commit_if(&self, record: &CommitRecord, terms: &Terms) -> Result<Stepped, StoreError> {
        let before: Vec<_> = terms.moves.keys().map(|key| (key.clone(), self.memory.head_of(key))).collect();
        let stepped = self.memory.commit_if(record, terms).await?;
        if stepped == Stepped::Now {
            self.shared().stream.push(Arc::new(record.clone()));
            before.into_iter().for_each(|(key, head)| self.moved(&key, head));
        }
        Ok(stepped)
    }

    async fn apply(&self, key: &Key, entry: &Entry, keep: Keep) -> Result<Applied, StoreError> {
        let before = self.memory.head_of(key);
        let applied = self.memory.apply(key, entry, keep).await?;
        if applied == Applied::Moved {
            self.moved(key, before);
        }
        Ok(applied)
    }
}

impl Truth for InMemory {
    async fn records_of(&self, sandbox: SandboxId) -> Vec<Arc<CommitRecord>> {
        self.stream(0).await.into_iter().filter(|record| record.sandbox == sandbox).collect()
    }

    async fn true_heads(&self, keys: &BTreeSet<Key>) -> BTreeMap<Key, Head> {
        keys.iter().map(|key| (key.clone(), self.memory.head_of(key))).collect()
    }
}

impl Ground for InMemory {
    type Store = Mortal<Rough>;

    const NAME: &'static str = "memory";

    async fn new(is_traced: bool) -> Self {
        let shared = Shared { trace: is_traced.then(String::new), ..Shared::default() };
        Self { memory: Memory::new(), shared: Arc::new(Mutex::new(shared)), start: Instant::now() }
    }

    fn store(&self, life: &Life, reads_strongly: bool) -> Self::Store {
        Mortal::new(Rough { ground: self.clone(), life: life.clone(), reads_strongly }, life)
    }

    async fn stream(&self, since: usize) -> Vec<Arc<CommitRecord>> {
        self.shared().stream.iter().skip(since).cloned().collect()
    }

    async fn recover(&self, life: &Life, from: usize, many: usize, now_seconds: u64) -> bool {
        let batch: Vec<_> =
            self.shared().stream.iter().skip(from).take(many).map(|record| (**record).clone()).collect();
        let patience = Patience { until: Instant::now() + BATCH_TIME, random: &|| 0 };
        let store = self.store(life, true);
        let outcomes = recover(&store, &batch, Doing::RollForward, now_seconds, patience).await;
        !outcomes.iter().any(|outcome| matches!(outcome, Outcome::Failed(_)))
    }

    async fn expire(&self, now_seconds: u64, is_due: impl Fn(TransactionId) -> bool) -> usize {
        self.memory.expire_all(now_seconds, is_due)
    }

    fn trace(&self) -> String {
        self.shared().trace.clone().unwrap_or_default()
    }
}

/// The tables as one life sees them: a call may be slow, fail on either side of its effect, arrive late, or be the last.
pub struct Rough {
    ground: InMemory,
    life: Life,
    reads_strongly: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("failed on purpose, {0}")]
struct OnPurpose(Side);

fn failed(kind: ErrorKind, side: Side) -> StoreError {
    StoreError::new(kind, "simulated", io::Error::other(OnPurpose(side)))
}

impl Rough {
    /// Asks what becomes of a call.
    fn trouble(&self, call: Call, what: impl Fn() -> String) -> (Option<Trouble>, [Duration; 2]) {
        let (trouble, chance) = self.life.call(call, &what);
        if let Some(trace) = &mut self.ground.shared().trace {
            // Writing to a string cannot fail.
            let _ = writeln!(trace, "{:?} {} -> {trouble:?}", self.ground.start.elapsed(), what());
        }
        let time = || Duration::from_micros(chance.below(20_000));
        (trouble, [time(), time()])
    }

    /// Lets a call meet its trouble.
    async fn meet<T>(
        &self,
        (trouble, [before, after]): (Option<Trouble>, [Duration; 2]),
        effect: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match trouble {
            Some(Trouble::Refused | Trouble::Partly(_)) => Err(failed(ErrorKind::Unavailable, Side::Before)),
            Some(Trouble::Lost(Side::Before)) => Err(failed(ErrorKind::Unknown, Side::Before)),
            Some(Trouble::Lost(Side::After)) => {
                sleep(before).await;
                effect.await?;
                Err(failed(ErrorKind::Unknown, Side::After))
            }
            Some(Trouble::Silent(Side::After) | Trouble::Dies(Side::After)) => {
                effect.await?;
                pending().await
            }
            Some(Trouble::Silent(Side::Before) | Trouble::Dies(Side::Before) | Trouble::Late(_)) => pending().await,
            Some(
                Trouble::Contended
                | Trouble::Stale(_)
                | Trouble::Freezes(_)
                | Trouble::HandlerFails
                | Trouble::HandlerDies
                | Trouble::HandlerDawdles(_),
            )
            | None => {
                sleep(before).await;
                let answer = effect.await;
                sleep(after).await;
                answer
            }
        }
    }
}

fn contended(keys: BTreeSet<Key>) -> Obstacles {
    Obstacles { contended: keys, ..Obstacles::default() }
}

impl Store for Rough {
    async fn probe(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn heads(&self, keys: &BTreeSet<Key>) -> Result<BTreeMap<Key, Head>, StoreError> {
        let (call, what) = if self.reads_strongly { (Call::Other, "latest heads") } else { (Call::Heads, "heads") };
        let met = self.trouble(call, || format!("{what} {keys:?}"));
        let age = match met.0 {
            Some(Trouble::Stale(ms)) => Duration::from_millis(ms),
            _ => Duration::ZERO,
        };
        let effect = async { Ok(keys.iter().map(|key| (key.clone(), self.ground.head_before(key, age))).collect()) };
        self.meet(met, effect).await
    }

    async fn latest_heads(&self, keys: &BTreeSet<Key>) -> Result<BTreeMap<Key, Head>, StoreError> {
        let met = self.trouble(Call::Other, || format!("latest heads {keys:?}"));
        self.meet(met, self.ground.memory.latest_heads(keys)).await
    }

    async fn records(&self, transactions: &BTreeSet<TransactionId>) -> Result<Records, StoreError> {
        let met = self.trouble(Call::Records, || format!("records {transactions:?}"));
        self.meet(met, self.ground.memory.records(transactions)).await
    }

    async fn commit(&self, record: &CommitRecord) -> Result<Committed, StoreError> {
        let met = self.trouble(Call::Record, || format!("record {}", record.transaction()));
        if let Some(Trouble::Late(ms)) = met.0 {
            let (ground, record) = (self.ground.clone(), record.clone());
            tokio::spawn(async move {
                sleep(Duration::from_millis(ms)).await;
                // Nobody is left to hear of it.
                let _ = ground.commit(&record).await;
            });
        }
        self.meet(met, self.ground.commit(record)).await
    }

    async fn commit_if(&self, record: &CommitRecord, terms: &Terms) -> Result<Stepped, StoreError> {
        let met = self.trouble(Call::Step, || format!("record {} with {:?}", record.transaction(), terms.keys()));
        match met.0 {
            Some(Trouble::Contended) => {
                let keys = terms.keys().into_iter().cloned().collect();
                return Ok(Stepped::Refused(contended(keys)));
            }
            Some(Trouble::Late(ms)) => {
                let (ground, record, terms) = (self.ground.clone(), record.clone(), terms.clone());
                tokio::spawn(async move {
                    sleep(Duration::from_millis(ms)).await;
                    // Nobody is left to hear of it.
                    let _ = ground.commit_if(&record, &terms).await;
                });
            }
            _ => {}
        }
        self.meet(met, self.ground.commit_if(record, terms)).await
    }

    async fn heads_at_once(&self, keys: &BTreeSet<Key>) -> Result<AtOnce, StoreError> {
        let met = self.trouble(Call::AtOnce, || format!("heads at once {keys:?}"));
        if met.0 == Some(Trouble::Contended) {
            return Ok(AtOnce::Refused(contended(keys.clone())));
        }
        self.meet(met, self.ground.memory.heads_at_once(keys)).await
    }

    async fn validate(&self, guards: &Guards) -> Result<Validated, StoreError> {
        let met = self.trouble(Call::AtOnce, || format!("validate {:?}", guards.keys()));
        if met.0 == Some(Trouble::Contended) {
            return Ok(Validated::Refused(contended(guards.keys().cloned().collect())));
        }
        self.meet(met, self.ground.memory.validate(guards)).await
    }

    async fn apply(&self, key: &Key, entry: &Entry, keep: Keep) -> Result<Applied, StoreError> {
        let met = self.trouble(Call::Head, || format!("head {key:?} to {}", entry.version));
        self.meet(met, self.ground.apply(key, entry, keep)).await
    }

    async fn claim(&self, claim: &Claim, now_seconds: u64) -> Result<Claimed, StoreError> {
        let met = self.trouble(Call::Claim, || format!("claim {}", claim.transaction));
        self.meet(met, self.ground.memory.claim(claim, now_seconds)).await
    }

    async fn release(&self, claim: &Claim) -> Result<(), StoreError> {
        let met = self.trouble(Call::Claim, || format!("release {}", claim.transaction));
        self.meet(met, self.ground.memory.release(claim)).await
    }
}
