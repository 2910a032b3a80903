//! Which attempts are open: the table, and who is meant by a request.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aft_protocol::attempt::{Attempt, Phase};
use aft_protocol::id::{AttemptNumber, RequestId, TransactionId};
use aft_store::Store;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::claims::Held;
use super::fetch::Known;
use super::look_up::LookUp;
use super::{Session, SessionError};

/// Which attempt a request is about: the open one, unless it names another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Named {
    /// `X-Aft-Transaction`.
    pub transaction: Option<TransactionId>,
    /// `X-Aft-Attempt`.
    pub attempt: Option<AttemptNumber>,
}

/// An attempt that has begun and not ended.
pub(super) struct Open {
    pub(super) request: RequestId,
    pub(super) deadline: Instant,
    pub(super) attempt: Mutex<Attempt>,
    pub(super) look_up: Option<LookUp>,
    /// The attempt that an explicit transaction belongs to; `None`: this is the invocation's own.
    pub(super) owner: Option<Arc<Open>>,
    pub(super) known: Arc<Known>,
    /// What runs beside the handler for this attempt, and ends with it.
    beside: Mutex<JoinSet<()>>,
}

impl Open {
    /// An attempt that begins; `owner` as for the field.
    pub(super) fn new(
        request: RequestId,
        deadline: Instant,
        attempt: Attempt,
        look_up: Option<LookUp>,
        owner: Option<Arc<Open>>,
    ) -> Self {
        let (attempt, known, beside) = (Mutex::new(attempt), Arc::default(), Mutex::default());
        Self { request, deadline, attempt, look_up, owner, known, beside }
    }

    /// Runs a task for as long as this attempt is there.
    pub(super) fn beside(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.beside.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    pub(super) fn attempt(&self) -> MutexGuard<'_, Attempt> {
        self.attempt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an attempt has failed before, perhaps for what an eventually consistent read showed it: then another such read
    /// may show the same.
    pub(super) fn insists_on_the_latest(&self) -> bool {
        let attempt = self.attempt();
        let is_retried = !self.is_explicit() && attempt.identity().number > AttemptNumber::FIRST;
        attempt.isolation().is_serializable() && is_retried
    }

    pub(super) fn is_explicit(&self) -> bool {
        self.owner.is_some()
    }

    pub(super) fn is_committing(&self) -> bool {
        self.attempt().phase() == Phase::Committing
    }

    /// Ends the attempt without a trace, unless it is being committed: that goes on to its end. Whether it was ended.
    pub(super) fn close(&self) -> bool {
        let mut attempt = self.attempt();
        let ends = attempt.phase() != Phase::Committing;
        if ends {
            attempt.close();
        }
        ends
    }

    pub(super) fn belongs_to(&self, owner: &Arc<Open>) -> bool {
        self.owner.as_ref().is_some_and(|own| Arc::ptr_eq(own, owner))
    }
}

/// The table.
#[derive(Default)]
pub(super) struct State {
    /// At most one attempt a transaction.
    pub(super) open: HashMap<TransactionId, Arc<Open>>,
    /// Invocations that the shim has ended and the lifecycle has not yet heard of.
    pub(super) ended: HashSet<RequestId>,
    /// Claims that invocations hold, and nothing has outlived yet.
    pub(super) claims: HashMap<TransactionId, Held>,
    /// The number of the last explicit transaction.
    pub(super) begun: Option<AttemptNumber>,
    /// The last transaction that only read, and that somebody overtook between its reads and their validation.
    pub(super) read_in_vain: Option<TransactionId>,
    /// Which shim is attached, counted from 1; none: nothing is.
    pub(super) shim: Option<u64>,
    pub(super) shims: u64,
}

impl State {
    /// The invocations' own transactions.
    pub(super) fn own(&self) -> impl Iterator<Item = (&TransactionId, &Arc<Open>)> {
        self.open.iter().filter(|(_, open)| !open.is_explicit())
    }

    /// Ends every attempt that is meant and not being committed, and takes it out (R-COMMIT-8).
    pub(super) fn close(&mut self, meant: impl Fn(&Open) -> bool) -> Vec<TransactionId> {
        let ended = self.open.extract_if(|_, open| meant(open) && open.close());
        ended.map(|(transaction, _)| transaction).collect()
    }
}

impl<S: Store> Session<S> {
    /// The attempt that a request is about.
    pub(super) fn find(&self, named: Named) -> Result<Arc<Open>, SessionError> {
        let state = self.state();
        let open = match named.transaction {
            Some(transaction) => state.open.get(&transaction).ok_or_else(|| match state.own().next() {
                None => SessionError::NoTransaction,
                Some((own, _)) => SessionError::OtherTransaction(format!(
                    "the request names transaction {transaction}, which is not open; the invocation's own is {own}"
                )),
            })?,
            None => {
                let mut own = state.own().map(|(_, open)| open);
                match (own.next(), own.next()) {
                    (None, _) => return Err(SessionError::NoTransaction),
                    (Some(open), None) => open,
                    (Some(_), Some(_)) => {
                        return Err(SessionError::OtherTransaction(
                            "several invocations run in this sandbox: name one's transaction with the \
                             X-Aft-Transaction header"
                                .to_owned(),
                        ));
                    }
                }
            }
        };
        let current = open.attempt().identity().number;
        match named.attempt {
            Some(number) if number != current => Err(SessionError::OtherTransaction(format!(
                "the request names attempt {number}, but attempt {current} is running"
            ))),
            Some(_) | None => Ok(Arc::clone(open)),
        }
    }

    /// The attempt that a control call is about, out of the table; with it goes what belongs to it.
    pub(super) fn take(&self, transaction: TransactionId, number: AttemptNumber) -> Result<Arc<Open>, SessionError> {
        let open = self.find(Named { transaction: Some(transaction), attempt: Some(number) })?;
        self.change(|state| {
            state.open.remove(&transaction);
            state.close(|other| other.belongs_to(&open))
        });
        Ok(open)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state());
        self.inner.changed.send_modify(|count| *count = count.wrapping_add(1));
        result
    }
}
