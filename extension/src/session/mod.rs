//! The session: every transaction of this sandbox, from begin to applied.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | begin, abort, end; when the sandbox may freeze |
//! | `table.rs` | which attempts are open, and which one a request is about |
//! | `look_up.rs` | the record of an earlier commit, and the answer from it |
//! | `identity.rs` | which sandbox this is, and that it becomes another when it is restored from a snapshot |
//! | `read.rs` | reads: the cache if it may be used, one round trip, then commit records where the read rule asks for them |
//! | `fetch.rs` | heads on their way from the store, for reads and for writes |
//! | `cache.rs` | heads that were fetched, for reads that allow some staleness |
//! | `write.rs` | buffered writes and their preconditions |
//! | `commit.rs` | the commit: record, then heads |
//! | `step.rs` | the commit of what insists on what it has read: record and heads in one step; and the validation of what only read |
//! | `explicit.rs` | explicit transactions: several within one invocation |
//! | `claims.rs` | claims on transactions, if duplicates are to be refused while one runs |
//! | `apply.rs` | moving heads to what a record says, and knowing which moves are pending |
//! | `journal.rs` | what an extension that died here has left, and finishing it |
//! | `sleep.rs` | new connections after a long sleep |
//! | `retry.rs` | trying a store call again, with a deadline |
//! | `behaviour.rs`, `error.rs` | settings; failures |
//!
//! Invariants: no lock but the commits' turn is held across an await; the table's lock comes before an attempt's, and that before the
//! cache's. What an attempt has buffered is in that attempt only, until its record is
//! durable (R-COMMIT-1). A transaction is committed only after this sandbox's previous one is applied (R-FM-2).

mod apply;
mod behaviour;
mod cache;
mod claims;
mod commit;
mod error;
mod explicit;
mod fetch;
mod identity;
mod journal;
mod look_up;
mod read;
mod retry;
mod sleep;
mod step;
mod table;
mod write;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aft_protocol::attempt::{Attempt, Identity, Phase};
use aft_protocol::id::{AttemptNumber, RequestId, SandboxId, TransactionId};
use aft_protocol::isolation::Isolation;
use aft_protocol::limits;
use aft_protocol::record::Response;
use aft_protocol::version::{Clock, Timestamp, Version};
use aft_protocol::wire::Begin;
use aft_store::{Claimed, Store};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::sources::Sources;
use apply::Applies;
use cache::Cache;
use error::refused;
use explicit::Turn;
use sleep::LastSeen;
use table::{Open, State};

pub use behaviour::{Ack, Behaviour, DuplicateCheck};
pub use cache::CacheStatus;
pub use commit::CommitResult;
pub use error::SessionError;
pub use explicit::{Explicit, Started};
pub use journal::Journal;
pub use read::{Answer, Freshness, Source, WhyFetched};
pub use table::Named;
pub use write::Precondition;

/// What the handler may know of its transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The attempt.
    pub identity: Identity,
    /// What concurrent transactions may do to it.
    pub isolation: Isolation,
    /// Keys read from the store.
    pub reads: usize,
    /// Bytes of the values that are kept of them.
    pub read_bytes: usize,
    /// Keys that would be written.
    pub writes: usize,
    /// Bytes in the write buffer.
    pub buffered_bytes: usize,
    /// Milliseconds until Lambda ends the invocation.
    pub remaining_ms: u64,
}

/// An answer to [`Session::begin`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// The attempt may run.
    Open,
    /// The transaction has committed before; this was its response.
    Duplicate(Response),
    /// The transaction has committed before, with another payload.
    Mismatch,
    /// Another invocation is at it.
    InProgress,
}

/// An answer to [`Session::abort`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aborted {
    /// The attempt left no trace (R-COMMIT-8).
    Gone,
    /// Neither did it, and the transaction is known to have committed elsewhere, with this response.
    Duplicate(Response),
    /// Neither did it, and the transaction is known to have committed with another payload.
    Mismatch,
    /// Neither did it, and it could not have committed: what it had read has changed since, as is said here.
    Conflict(String),
}

struct Inner<S> {
    store: S,
    behaviour: Behaviour,
    sources: Sources,
    clock: Mutex<Clock>,
    cache: Mutex<Cache>,
    state: Mutex<State>,
    /// Counts changes of `state` that somebody may wait for.
    changed: watch::Sender<u64>,
    turn: Turn,
    applies: Applies,
    journal: Journal,
    last_seen: LastSeen,
}

/// Every transaction of this sandbox. Clones share it.
pub struct Session<S> {
    inner: Arc<Inner<S>>,
}

impl<S> Clone for Session<S> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<S: Store> Session<S> {
    /// A session without transactions, and without a journal.
    #[must_use]
    pub fn new(store: S, behaviour: Behaviour, sources: Sources) -> Self {
        Self::with_journal(store, behaviour, sources, Journal::none())
    }

    /// A session without transactions. It commits only after [`Self::recover`], if the journal names anything.
    #[must_use]
    pub fn with_journal(store: S, behaviour: Behaviour, sources: Sources, journal: Journal) -> Self {
        let sandbox = SandboxId::from_bits(sources.random());
        let last_seen = LastSeen::new(sources.now());
        Self {
            inner: Arc::new(Inner {
                store,
                behaviour,
                sources,
                clock: Mutex::default(),
                cache: Mutex::new(Cache::new(behaviour.cache_bytes)),
                state: Mutex::default(),
                changed: watch::Sender::new(0),
                turn: Turn::default(),
                applies: Applies::new(sandbox),
                journal,
                last_seen,
            }),
        }
    }

    /// A shim has arrived; from now on invocations wait for it. Returns its number, for [`Self::detach`].
    pub fn attach(&self) -> u64 {
        self.change(|state| {
            state.shims += 1;
            state.shim = Some(state.shims);
            state.shims
        })
    }

    /// That shim is gone: unless another has taken its place, everything that was begun is aborted.
    pub fn detach(&self, shim: u64) {
        let orphans = self.change(|state| match state.shim {
            Some(attached) if attached == shim => {
                state.shim = None;
                state.close(|_| true)
            }
            Some(_) | None => Vec::new(),
        });
        for transaction in orphans {
            tracing::warn!(%transaction, "the shim is gone: attempt aborted");
        }
    }

    /// Begins an attempt; an earlier attempt of the same transaction that is still open is aborted.
    ///
    /// # Errors
    /// [`SessionError::Store`] if the duplicate check is to come first and the store does not answer before the deadline.
    pub async fn begin(&self, begin: Begin) -> Result<Begun, SessionError> {
        self.wake();
        let transaction = begin.transaction;
        let deadline = Instant::now() + self.inner.sources.until_epoch_ms(begin.deadline_ms);
        let look_up = match self.inner.behaviour.duplicate_check {
            // After a failed attempt there is no latency to save: a handler that has a commit does not run again.
            DuplicateCheck::Parallel if begin.attempt == AttemptNumber::FIRST => {
                Some(self.look_up(transaction, deadline))
            }
            DuplicateCheck::Parallel | DuplicateCheck::Before => {
                if let Some(record) = self.record_of(transaction, deadline).await? {
                    return self.begun_before(&record, begin.fingerprint, deadline).await;
                }
                None
            }
            DuplicateCheck::CommitOnly => None,
        };
        if self.claim(&begin, deadline).await? == Claimed::ByAnother {
            return match self.record_of(transaction, deadline).await? {
                Some(record) => self.begun_before(&record, begin.fingerprint, deadline).await,
                None => Ok(Begun::InProgress),
            };
        }
        let identity = Identity {
            transaction,
            number: begin.attempt,
            fingerprint: begin.fingerprint,
            origin: cut(begin.origin, limits::ORIGIN_BYTES),
        };
        let attempt = Attempt::new(identity, self.inner.behaviour.isolation);
        let open = Arc::new(Open::new(begin.request, deadline, attempt, look_up, None));
        let earlier = self.change(|state| state.open.insert(transaction, open));
        if let Some(earlier) = earlier {
            earlier.attempt().close();
            self.change(|state| state.close(|open| open.belongs_to(&earlier)));
        }
        Ok(Begun::Open)
    }

    /// Ends an attempt without a trace (R-COMMIT-8).
    ///
    /// # Errors
    /// [`SessionError`] if no such attempt is open, or (duplicates only) the earlier commit cannot be made visible.
    pub async fn abort(&self, transaction: TransactionId, number: AttemptNumber) -> Result<Aborted, SessionError> {
        let open = self.take(transaction, number)?;
        let (fingerprint, doom, intent) = {
            let mut attempt = open.attempt();
            let doom = (attempt.phase() == Phase::Doomed).then(|| commit::doom(&attempt));
            let intent = attempt.start_commit().ok();
            attempt.close();
            (attempt.identity().fingerprint, doom, intent)
        };
        match open.earlier_commit() {
            None => {
                let why = match (doom, intent) {
                    (Some(doom), _) => Some(doom),
                    (None, Some(intent)) => Box::pin(self.saw_what_never_was(&open, &intent)).await,
                    (None, None) => None,
                };
                Ok(why.map_or(Aborted::Gone, Aborted::Conflict))
            }
            Some(record) if record.fingerprint != fingerprint => Ok(Aborted::Mismatch),
            Some(record) => {
                self.outlived(transaction);
                self.finish_apply(&record, open.deadline).await?;
                Ok(Aborted::Duplicate(record.response.clone()))
            }
        }
    }

    /// The shim's part of an invocation is over.
    pub fn end(&self, request: RequestId) {
        self.doze();
        self.change(|state| {
            state.close(|open| open.request == request);
            state.ended.insert(request);
        });
    }

    /// The handler asks to succeed without committing.
    ///
    /// # Errors
    /// [`SessionError`] if no such attempt is open.
    pub fn discard(&self, named: Named) -> Result<(), SessionError> {
        let open = self.find(named)?;
        if open.is_explicit() {
            return self.abort_explicit(named);
        }
        let discarded = open.attempt().discard();
        discarded.map_err(refused)
    }

    /// What the handler may know of its transaction.
    ///
    /// # Errors
    /// [`SessionError`] if no such attempt is open.
    pub fn status(&self, named: Named) -> Result<Status, SessionError> {
        let open = self.find(named)?;
        let remaining = open.deadline.saturating_duration_since(Instant::now());
        let attempt = open.attempt();
        Ok(Status {
            identity: attempt.identity().clone(),
            isolation: attempt.isolation(),
            reads: attempt.reads(),
            read_bytes: attempt.read_bytes(),
            writes: attempt.writes(),
            buffered_bytes: attempt.buffered_bytes(),
            remaining_ms: u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// The transaction that is open, for error messages.
    #[must_use]
    pub fn open_transaction(&self) -> Option<TransactionId> {
        self.state().own().next().map(|(transaction, _)| *transaction)
    }

    /// Waits until the sandbox may freeze: until the shim has ended `request`, or is gone, or was never there, or the
    /// invocation has no time `left`; and then, however long it takes, until nothing is being committed or applied.
    pub async fn quiet(&self, request: &RequestId, left: Duration) {
        if tokio::time::timeout(left, self.ended(request)).await.is_err() {
            // Lambda is ending the sandbox; it says so in the answer to `/next`.
            tracing::warn!(request = %request, "the invocation's deadline passed before the shim had ended it");
        }
        self.applied().await;
    }

    async fn ended(&self, request: &RequestId) {
        let mut changed = self.inner.changed.subscribe();
        loop {
            {
                let mut state = self.state();
                if state.ended.contains(request) || state.shim.is_none() {
                    state.ended.clear();
                    return;
                }
            }
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// Whether the shim is there.
    #[must_use]
    pub fn shim_attached(&self) -> bool {
        self.state().shim.is_some()
    }

    /// How the cache of heads is doing.
    #[must_use]
    pub fn cache_status(&self) -> CacheStatus {
        self.cache().status()
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.inner.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The wall clock, in seconds since the epoch.
    fn now_seconds(&self) -> u64 {
        self.inner.sources.now().as_micros() / 1_000_000
    }

    /// A timestamp that is greater than everything this sandbox has seen (R-COMMIT-3).
    fn tick(&self) -> Timestamp {
        self.inner.clock.lock().unwrap_or_else(PoisonError::into_inner).tick(self.inner.sources.now())
    }

    fn observe(&self, version: Version) {
        self.inner.clock.lock().unwrap_or_else(PoisonError::into_inner).observe(version);
    }
}

/// The text, or as much of it as fits in `most` bytes.
fn cut(mut text: String, most: usize) -> String {
    text.truncate(text.floor_char_boundary(most));
    text
}
