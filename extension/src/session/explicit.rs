//! Explicit transactions: several within one invocation, each named by a key that the handler chose (ADR 8).
//!
//! An explicit transaction belongs to the attempt that began it, its *owner*. What is still open when the owner ends,
//! however it ends, is aborted (R-COMMIT-8); what has committed stays. A commit that is under way at that moment runs to
//! its end, and whoever begins the same key meanwhile waits for it, so that no work is done beside its own commit.
//!
//! The look-up of an earlier commit always comes before the work here: not doing it again is what the key is for.

use std::sync::Arc;

use aft_protocol::attempt::{Attempt, Identity, Phase, Refusal};
use aft_protocol::id::{AttemptNumber, Fingerprint, TransactionId};
use aft_protocol::isolation::Isolation;
use aft_protocol::limits;
use aft_protocol::record::{CommitRecord, Response};
use aft_store::Store;
use aft_store::retry::out_of_time;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::timeout_at;

use super::commit::cut_off;
use super::retry::last_moment;
use super::table::{Named, Open, State};
use super::{CommitResult, Session, SessionError, cut, refused};

/// What the handler wants to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explicit {
    /// Derived from scope and key.
    pub transaction: TransactionId,
    /// The payload, which must be the same whenever the key is.
    pub fingerprint: Fingerprint,
    /// For people: scope and key.
    pub origin: String,
    /// What concurrent transactions may do to it; `None`: what the function's own transactions ask for.
    pub isolation: Option<Isolation>,
}

/// An answer to [`Session::begin_explicit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Started {
    /// The work may be done. The number tells this begin from every other of this sandbox.
    Open(AttemptNumber),
    /// It has been done before, with this response.
    Committed(Response),
}

/// One commit at a time goes from settling the previous one to the start of its own apply (R-FM-2).
pub(super) type Turn = AsyncMutex<()>;

impl<S: Store> Session<S> {
    /// Begins an explicit transaction that belongs to the invocation's running attempt.
    ///
    /// # Errors
    /// [`SessionError`]; nothing is open then.
    pub async fn begin_explicit(&self, named: Named, wanted: Explicit) -> Result<Started, SessionError> {
        let owner = self.find(named)?;
        if owner.is_explicit() {
            let detail = "explicit transactions do not nest: begin it without naming another one";
            return Err(SessionError::OtherTransaction(detail.to_owned()));
        }
        let (transaction, fingerprint) = (wanted.transaction, wanted.fingerprint);
        let reserved = Reserved { session: self, open: Some(self.reserve(&owner, wanted).await?) };
        if let Some(record) = self.record_of(transaction, owner.deadline).await? {
            same_payload(&record, fingerprint)?;
            self.finish_apply(&record, owner.deadline).await?;
            return Ok(Started::Committed(record.response));
        }
        reserved.keep().map(Started::Open)
    }

    /// Commits an explicit transaction; its response is recorded even if it wrote nothing.
    ///
    /// # Errors
    /// [`SessionError`] if no such transaction is open.
    pub async fn commit_explicit(&self, named: Named, response: Response) -> Result<CommitResult, SessionError> {
        let open = self.find_explicit(named)?;
        let session = self.clone();
        // To its end, even if the caller goes away.
        let commit = tokio::spawn(async move {
            let result = session.run_commit(&open, response).await;
            session.forget(&open);
            result
        });
        Ok(commit.await.unwrap_or_else(|error| cut_off(&error)))
    }

    /// Ends an explicit transaction without a trace.
    ///
    /// # Errors
    /// [`SessionError`] if no such transaction is open, or it is being committed.
    pub fn abort_explicit(&self, named: Named) -> Result<(), SessionError> {
        let open = self.find_explicit(named)?;
        if !open.close() {
            return Err(refused(Refusal::NotOpen(Phase::Committing)));
        }
        self.forget(&open);
        Ok(())
    }

    fn find_explicit(&self, named: Named) -> Result<Arc<Open>, SessionError> {
        let open = self.find(named)?;
        if open.is_explicit() {
            return Ok(open);
        }
        let detail = "this is the invocation's own transaction: it commits when the handler answers";
        Err(SessionError::OtherTransaction(detail.to_owned()))
    }

    /// A place in the table, before the look-up: of two begins at the same time, one is refused.
    async fn reserve(&self, owner: &Arc<Open>, wanted: Explicit) -> Result<Arc<Open>, SessionError> {
        let identity = Identity {
            transaction: wanted.transaction,
            number: AttemptNumber::FIRST,
            fingerprint: wanted.fingerprint,
            origin: cut(wanted.origin, limits::ORIGIN_BYTES),
        };
        let isolation = wanted.isolation.unwrap_or(self.inner.behaviour.isolation);
        let mut changed = self.inner.changed.subscribe();
        loop {
            if let Some(open) = self.state().reserve(owner, &identity, isolation)? {
                return Ok(open);
            }
            let waited = timeout_at(last_moment(owner.deadline), changed.changed()).await;
            waited.map_err(|_| out_of_time())?.map_err(|_| SessionError::NoTransaction)?;
        }
    }

    /// Takes an explicit transaction out of the table.
    fn forget(&self, open: &Arc<Open>) {
        let transaction = open.attempt().identity().transaction;
        self.change(|state| {
            if state.open.get(&transaction).is_some_and(|current| Arc::ptr_eq(current, open)) {
                state.open.remove(&transaction);
            }
        });
    }

    /// Waits until nothing is being committed or applied.
    pub async fn applied(&self) {
        let mut changed = self.inner.changed.subscribe();
        while self.state().open.values().any(|open| open.is_committing()) {
            if changed.changed().await.is_err() {
                return;
            }
        }
        self.inner.applies.none_pending().await;
    }
}

/// Another payload under the same key is an error, and never another request's answer.
pub(super) fn same_payload(record: &CommitRecord, fingerprint: Fingerprint) -> Result<(), SessionError> {
    if record.fingerprint == fingerprint { Ok(()) } else { Err(SessionError::PayloadMismatch) }
}

/// A place in the table, given back unless it is kept: a caller that goes away leaves no transaction behind.
struct Reserved<'s, S: Store> {
    session: &'s Session<S>,
    open: Option<Arc<Open>>,
}

impl<S: Store> Reserved<'_, S> {
    fn keep(mut self) -> Result<AttemptNumber, SessionError> {
        let open = self.open.take().ok_or(SessionError::NoTransaction)?;
        let attempt = open.attempt();
        match attempt.phase() {
            // The owner ended while the store was asked.
            Phase::Closed => Err(SessionError::NoTransaction),
            Phase::Open | Phase::Doomed | Phase::Discarded | Phase::Committing => Ok(attempt.identity().number),
        }
    }
}

impl<S: Store> Drop for Reserved<'_, S> {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            open.close();
            self.session.forget(&open);
        }
    }
}

impl State {
    /// Opens an explicit transaction; `None` while an ended attempt's commit of the same key is under way.
    fn reserve(
        &mut self,
        owner: &Arc<Open>,
        identity: &Identity,
        isolation: Isolation,
    ) -> Result<Option<Arc<Open>>, SessionError> {
        if !self.own().any(|(_, open)| Arc::ptr_eq(open, owner)) {
            return Err(SessionError::NoTransaction);
        }
        match self.open.get(&identity.transaction) {
            // Over, and about to be taken out.
            Some(open) if open.attempt().phase() == Phase::Closed => {}
            Some(open) if open.belongs_to(owner) => {
                return Err(SessionError::InProgress(identity.transaction));
            }
            Some(_) => return Ok(None),
            None => {}
        }
        if self.open.len() - self.own().count() >= limits::OPEN_TRANSACTIONS {
            return Err(SessionError::TooManyOpen);
        }
        let number = self.begun.map_or(AttemptNumber::FIRST, AttemptNumber::next);
        self.begun = Some(number);
        let attempt = Attempt::new(Identity { number, ..identity.clone() }, isolation);
        let open = Open::new(owner.request.clone(), owner.deadline, attempt, None, Some(Arc::clone(owner)));
        let open = Arc::new(open);
        self.open.insert(identity.transaction, Arc::clone(&open));
        Ok(Some(open))
    }
}
