//! Applying: moving heads to what a commit record says. Anyone may do it, any number of times (R-COMMIT-5, R-FM-3).
//!
//! Applies run in tasks of their own, so that neither a time limit nor a lost connection stops one half-way, and they are
//! counted: the sandbox may freeze only when none is pending.
//!
//! R-FM-2: of the records under one sandbox's name, only the last can be unapplied. A commit comes after its previous one
//! is applied; and where nobody can say whether there is a last record, because the outcome of its write stayed unknown,
//! the sandbox goes on under another name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aft_protocol::head::Before;
use aft_protocol::id::SandboxId;
use aft_protocol::key::Key;
use aft_protocol::record::CommitRecord;
use aft_protocol::version::Version;
use aft_store::recovery::recover_one;
use aft_store::retry::out_of_time;
use aft_store::{Store, StoreError, Terms, roll_forward};
use tokio::sync::watch;
use tokio::time::Instant;

use super::retry::last_moment;
use super::{Ack, Session};

/// How long an apply that no invocation waits for keeps trying.
pub(super) const UNATTENDED: Duration = Duration::from_secs(15 * 60);

/// Applies of this sandbox.
pub(super) struct Applies {
    pending: watch::Sender<usize>,
    own: Mutex<Own>,
}

/// This sandbox's own transactions, as far as they are under its present name.
struct Own {
    /// Under which name it commits.
    sandbox: SandboxId,
    /// Every one up to this version is applied (R-FM-2).
    through: Version,
    /// The last one, if it is not applied: pending, or failed.
    unapplied: Option<(Arc<CommitRecord>, Progress)>,
}

impl Own {
    fn new(sandbox: SandboxId) -> Self {
        Self { sandbox, through: Version::ZERO, unapplied: None }
    }

    /// The apply of a record starts. An older record of one's own, which a reader found behind a stale head, must not
    /// take the place of the last one.
    fn starts(&mut self, record: &Arc<CommitRecord>, progress: &Progress) {
        let is_last = self.unapplied.as_ref().is_none_or(|(last, _)| last.version <= record.version);
        if record.sandbox == self.sandbox && record.version > self.through && is_last {
            self.unapplied = Some((Arc::clone(record), progress.clone()));
        }
    }

    /// A record is applied.
    fn is_applied(&mut self, record: &CommitRecord) {
        if record.sandbox == self.sandbox {
            self.through = record.version.max(self.through);
            self.unapplied.take_if(|(last, _)| last.version == record.version);
        }
    }
}

impl Applies {
    /// No apply, for a sandbox of this name.
    pub(super) fn new(sandbox: SandboxId) -> Self {
        Self { pending: watch::Sender::new(0), own: Mutex::new(Own::new(sandbox)) }
    }

    /// The sandbox's present name.
    pub(super) fn sandbox(&self) -> SandboxId {
        self.own().sandbox
    }

    /// What the next record says of its writer: its name, and through which version everything under it is applied.
    pub(super) fn mark(&self) -> (SandboxId, Version) {
        let own = self.own();
        (own.sandbox, own.through)
    }

    /// The outcome of the last commit is unknown: whatever it was, it is the last one under the present name.
    pub(super) fn go_on_as(&self, sandbox: SandboxId) {
        *self.own() = Own::new(sandbox);
    }

    /// Waits until no apply is pending.
    pub(super) async fn none_pending(&self) {
        // The sender lives as long as `self`: waiting cannot fail.
        let _ = self.pending.subscribe().wait_for(|pending| *pending == 0).await;
    }

    fn own(&self) -> MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts an apply as pending for as long as it lives, whatever ends it.
pub(super) struct Pending(watch::Sender<usize>);

impl Pending {
    pub(super) fn new(applies: &Applies) -> Self {
        applies.pending.send_modify(|pending| *pending += 1);
        Self(applies.pending.clone())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.send_modify(|pending| *pending -= 1);
    }
}

/// What is known of a record's heads when its apply starts.
pub(super) enum Heads {
    /// They are behind, and of some this was seen.
    Behind(BTreeMap<Key, Before>),
    /// Nothing. They are looked at first: that costs a fraction of moves which are refused.
    Unknown,
}

/// How an apply that was started goes on.
pub(super) type Progress = watch::Receiver<Option<Result<(), Arc<StoreError>>>>;

impl<S: Store> Session<S> {
    /// Starts applying a durable record, and returns at once.
    pub(super) fn start_apply(&self, record: Arc<CommitRecord>, heads: Heads) -> Progress {
        let (done, progress) = watch::channel(None);
        let session = self.clone();
        self.inner.applies.own().starts(&record, &progress);
        // Counted before the task first runs: from here on the sandbox must not freeze.
        let pending = Pending::new(&self.inner.applies);
        tokio::spawn(async move {
            if session.inner.behaviour.ack == Ack::Durable {
                // The answer first, if it has been decided: to make and sign a request for each head takes a while, and there may
                // be one thread.
                tokio::task::yield_now().await;
            }
            let result = session.apply(&record, &heads).await;
            // Also if it failed: some heads may have moved.
            session.cache().forget(record.writes.keys());
            match &result {
                Ok(()) => {
                    session.inner.applies.own().is_applied(&record);
                    session.inner.journal.settled(record.version);
                }
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

    /// Starts applying what a durable record's own step has left: nothing, if all heads moved with it.
    pub(super) fn start_rest(
        &self,
        record: Arc<CommitRecord>,
        terms: &Terms,
        mut before: BTreeMap<Key, Before>,
    ) -> Progress {
        if !terms.is_none() && terms.moves.len() == record.writes.len() {
            self.cache().forget(record.writes.keys());
            self.inner.applies.own().is_applied(&record);
            self.inner.journal.settled(record.version);
            return watch::channel(Some(Ok(()))).1;
        }
        before.extend(terms.moves.keys().map(|key| (key.clone(), Before::at(record.version))));
        self.start_apply(record, Heads::Behind(before))
    }

    /// Waits until this sandbox's previous transaction is applied (R-FM-2), with one more try if that had failed; and, before
    /// the first commit, until that of an extension which died here has been seen to (R-FM-4).
    pub(super) async fn settle_previous(&self, deadline: Instant) -> Result<(), StoreError> {
        self.recovered(deadline).await?;
        let last = self.inner.applies.own().unapplied.clone();
        let Some((record, progress)) = last else { return Ok(()) };
        match wait_for(progress.clone(), deadline).await {
            Ok(()) => Ok(()),
            Err(_) if progress.borrow().is_some() => wait_for(self.start_apply(record, Heads::Unknown), deadline).await,
            Err(out_of_time) => Err(out_of_time),
        }
    }

    async fn apply(&self, record: &CommitRecord, heads: &Heads) -> Result<(), StoreError> {
        let patience = self.patience(Instant::now() + UNATTENDED);
        let (store, now_seconds) = (&self.inner.store, self.now_seconds());
        match heads {
            Heads::Behind(before) => roll_forward(store, record, before, now_seconds, patience).await,
            Heads::Unknown => recover_one(store, record, now_seconds, patience).await,
        }
    }

    /// Makes sure that a record which somebody else may have applied is applied, but waits not past the deadline.
    pub(super) async fn finish_apply(&self, record: &CommitRecord, deadline: Instant) -> Result<(), StoreError> {
        let progress = self.start_apply(Arc::new(record.clone()), Heads::Unknown);
        wait_for(progress, deadline).await
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
