//! Applying: moving heads to what a commit record says. Anyone may do it, any number of times (R-COMMIT-5, R-FM-3).
//!
//! Applies run in tasks of their own, so that neither a time limit nor a lost connection stops one half-way, and they are
//! counted: the sandbox may freeze only when none is pending.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aft_protocol::head::Entry;
use aft_protocol::key::Key;
use aft_protocol::record::CommitRecord;
use aft_protocol::version::Version;
use aft_store::{Store, StoreError};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Session;
use super::retry::{last_moment, out_of_time};

/// Heads of one record moved at the same time.
const PARALLEL: usize = 32;

/// Added to a record's expiry for the tombstones it makes: a late apply of an older write must still find them.
const TOMBSTONE_MARGIN: Duration = Duration::from_secs(24 * 60 * 60);

/// How long an apply that no invocation waits for keeps trying.
const UNATTENDED: Duration = Duration::from_secs(15 * 60);

/// Applies of this sandbox.
pub(super) struct Applies {
    pending: watch::Sender<usize>,
    own: Mutex<Own>,
}

/// This sandbox's own transactions.
struct Own {
    /// Every one up to this version is applied (R-FM-2).
    through: Version,
    /// The last one, if it is not applied: pending, or failed.
    unapplied: Option<Arc<CommitRecord>>,
}

impl Default for Applies {
    fn default() -> Self {
        Self { pending: watch::Sender::new(0), own: Mutex::new(Own { through: Version::ZERO, unapplied: None }) }
    }
}

impl Applies {
    /// Waits until no apply is pending.
    pub(super) async fn none_pending(&self) {
        // The sender lives as long as `self`: waiting cannot fail.
        let _ = self.pending.subscribe().wait_for(|pending| *pending == 0).await;
    }

    /// The newest own transaction that is applied.
    pub(super) fn through(&self) -> Version {
        self.own().through
    }

    /// The last own transaction, if it is not applied.
    fn unapplied(&self) -> Option<Arc<CommitRecord>> {
        self.own().unapplied.clone()
    }

    fn own(&self) -> MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts an apply as pending for as long as it lives, whatever ends it.
struct Pending(watch::Sender<usize>);

impl Pending {
    fn new(applies: &Applies) -> Self {
        applies.pending.send_modify(|pending| *pending += 1);
        Self(applies.pending.clone())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.send_modify(|pending| *pending -= 1);
    }
}

/// How an apply that was started goes on.
pub(super) type Progress = watch::Receiver<Option<Result<(), Arc<StoreError>>>>;

impl<S: Store> Session<S> {
    /// Starts applying a durable record, and returns at once.
    pub(super) fn start_apply(&self, record: Arc<CommitRecord>) -> Progress {
        let (done, progress) = watch::channel(None);
        let session = self.clone();
        let is_own = record.sandbox == self.sandbox();
        if is_own {
            self.inner.applies.own().unapplied = Some(Arc::clone(&record));
        }
        // Counted before the task first runs: from here on the sandbox must not freeze.
        let pending = Pending::new(&self.inner.applies);
        tokio::spawn(async move {
            let result = session.apply(&record).await;
            match &result {
                Ok(()) if is_own => {
                    let mut own = session.inner.applies.own();
                    own.through = record.version.max(own.through);
                    own.unapplied.take_if(|unapplied| unapplied.version == record.version);
                }
                Ok(()) => {}
                Err(error) => tracing::error!(
                    transaction = %record.transaction(),
                    "committed, but not every write is visible yet: {error}; this is tried again before the next \
                     commit, and by whoever reads these keys"
                ),
            }
            done.send_replace(Some(result.map_err(Arc::new)));
            drop(pending);
        });
        progress
    }

    /// Waits until this sandbox's previous transaction is applied (R-FM-2): pending applies, and one more try for one
    /// that had failed.
    pub(super) async fn settle_previous(&self, deadline: Instant) -> Result<(), StoreError> {
        let pending = self.inner.applies.none_pending();
        tokio::time::timeout_at(last_moment(deadline), pending).await.map_err(|_| out_of_time())?;
        match self.inner.applies.unapplied() {
            None => Ok(()),
            Some(record) => wait_for(self.start_apply(record), deadline).await,
        }
    }

    /// Applies a durable record and waits for it, but not past the deadline.
    pub(super) async fn finish_apply(&self, record: &CommitRecord, deadline: Instant) -> Result<(), StoreError> {
        let progress = self.start_apply(Arc::new(record.clone()));
        wait_for(progress, deadline).await
    }

    async fn apply(&self, record: &CommitRecord) -> Result<(), StoreError> {
        let deadline = Instant::now() + UNATTENDED;
        let expires = record.expires_at_seconds.saturating_add(TOMBSTONE_MARGIN.as_secs());
        let moves = record.head_entries().map(|(key, entry)| self.move_head(key.clone(), entry, expires, deadline));
        // Collected first: a stream of borrowing futures would not be Send.
        let moves: Vec<_> = moves.collect();
        stream::iter(moves).map(Ok).try_for_each_concurrent(PARALLEL, |moving| moving).await
    }

    async fn move_head(&self, key: Key, entry: Entry, expires: u64, deadline: Instant) -> Result<(), StoreError> {
        self.retrying(deadline, || self.inner.store.apply(&key, &entry, expires)).await.map(drop)
    }
}

/// Waits for an apply, but not past the deadline.
pub(super) async fn wait_for(mut progress: Progress, deadline: Instant) -> Result<(), StoreError> {
    let finished = async {
        match progress.wait_for(Option::is_some).await {
            Ok(result) => (*result).clone(),
            Err(_) => None,
        }
    };
    match tokio::time::timeout_at(last_moment(deadline), finished).await {
        Ok(Some(Ok(()))) => Ok(()),
        Ok(Some(Err(error))) => Err(StoreError::new(error.kind(), "apply", error.to_string())),
        Ok(None) | Err(_) => Err(out_of_time()),
    }
}
