//! A store that looks, whenever a record is written, whether R-FM-2 holds at that moment. For tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aft_protocol::atomic_read::Records;
use aft_protocol::claim::Claim;
use aft_protocol::head::{Entry, Head, Keep};
use aft_protocol::id::{SandboxId, TransactionId};
use aft_protocol::isolation::Guards;
use aft_protocol::key::Key;
use aft_protocol::record::CommitRecord;
use aft_protocol::version::Version;

use crate::memory::Memory;
use crate::{Applied, AtOnce, Claimed, Committed, Stepped, Store, StoreError, Terms, Validated};

/// What really is in a store, past every fault.
pub trait Truth: Clone + Send + Sync + 'static {
    /// Every record under this name.
    fn records_of(&self, sandbox: SandboxId) -> impl Future<Output = Vec<Arc<CommitRecord>>> + Send;

    /// The heads of these keys, as they are now.
    fn true_heads(&self, keys: &BTreeSet<Key>) -> impl Future<Output = BTreeMap<Key, Head>> + Send;
}

impl Truth for Memory {
    async fn records_of(&self, sandbox: SandboxId) -> Vec<Arc<CommitRecord>> {
        self.all_records().into_iter().filter(|record| record.sandbox == sandbox).map(Arc::new).collect()
    }

    async fn true_heads(&self, keys: &BTreeSet<Key>) -> BTreeMap<Key, Head> {
        keys.iter().map(|key| (key.clone(), self.head_of(key))).collect()
    }
}

/// Breaches of R-FM-2: a record, and an earlier one under the same sandbox's name that was not applied when it was written.
pub type Breaches = Arc<Mutex<Vec<(Version, Version)>>>;

/// A store that is watched. Told to, it answers reads that may be stale as if nothing had ever been written.
#[derive(Clone)]
pub struct Watched<S, T> {
    store: S,
    truth: T,
    breaches: Option<Breaches>,
    stale: Arc<AtomicBool>,
}

impl<S: Store, T: Truth> Watched<S, T> {
    /// `store`, which keeps what `truth` knows; `None`: nobody looks.
    pub fn new(store: S, truth: T, breaches: Option<&Breaches>) -> Self {
        Self { store, truth, breaches: breaches.cloned(), stale: Arc::default() }
    }

    /// Whether reads that may be stale are.
    pub fn stale(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stale)
    }

    /// Notes where R-FM-2 does not hold at this moment.
    async fn watch(&self, record: &CommitRecord) {
        let Some(breaches) = &self.breaches else { return };
        let mut earlier = self.truth.records_of(record.sandbox).await;
        earlier.retain(|other| other.version < record.version);
        if earlier.is_empty() {
            return;
        }
        let keys = earlier.iter().flat_map(|other| other.writes.keys().cloned()).collect();
        let heads = self.truth.true_heads(&keys).await;
        for other in earlier {
            let covered = other.version <= record.applied_through;
            if !covered || other.writes.keys().any(|key| heads[key].current.version < other.version) {
                breaches.lock().unwrap_or_else(PoisonError::into_inner).push((record.version, other.version));
            }
        }
    }
}

impl<S: Store, T: Truth> Store for Watched<S, T> {
    fn reconnect(&self) {
        self.store.reconnect();
    }

    fn leave_connections(&self) {
        self.store.leave_connections();
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.store.probe().await
    }

    async fn heads(&self, keys: &BTreeSet<Key>) -> Result<BTreeMap<Key, Head>, StoreError> {
        if self.stale.load(Ordering::Relaxed) {
            return Ok(keys.iter().map(|key| (key.clone(), Head::absent())).collect());
        }
        self.store.heads(keys).await
    }

    async fn latest_heads(&self, keys: &BTreeSet<Key>) -> Result<BTreeMap<Key, Head>, StoreError> {
        self.store.latest_heads(keys).await
    }

    async fn records(&self, transactions: &BTreeSet<TransactionId>) -> Result<Records, StoreError> {
        self.store.records(transactions).await
    }

    async fn commit(&self, record: &CommitRecord) -> Result<Committed, StoreError> {
        self.watch(record).await;
        self.store.commit(record).await
    }

    async fn commit_if(&self, record: &CommitRecord, terms: &Terms) -> Result<Stepped, StoreError> {
        self.watch(record).await;
        self.store.commit_if(record, terms).await
    }

    async fn heads_at_once(&self, keys: &BTreeSet<Key>) -> Result<AtOnce, StoreError> {
        self.store.heads_at_once(keys).await
    }

    async fn validate(&self, guards: &Guards) -> Result<Validated, StoreError> {
        self.store.validate(guards).await
    }

    async fn apply(&self, key: &Key, entry: &Entry, keep: Keep) -> Result<Applied, StoreError> {
        self.store.apply(key, entry, keep).await
    }

    async fn claim(&self, claim: &Claim, now_seconds: u64) -> Result<Claimed, StoreError> {
        self.store.claim(claim, now_seconds).await
    }

    async fn release(&self, claim: &Claim) -> Result<(), StoreError> {
        self.store.release(claim).await
    }
}
