//! A store that fails on purpose: before the effect, after it (the reply is lost), or by never answering.
//!
//! Every call first asks a plan, which sees all calls in order; that is also how tests count round trips and stop the
//! world at one point.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use aft_protocol::atomic_read::Records;
use aft_protocol::claim::Claim;
use aft_protocol::head::{Entry, Head, Keep};
use aft_protocol::id::TransactionId;
use aft_protocol::isolation::Guards;
use aft_protocol::key::Key;
use aft_protocol::record::CommitRecord;

use crate::{Applied, AtOnce, Claimed, Committed, ErrorKind, Obstacles, Stepped, Store, StoreError, Terms, Validated};

/// A call, as the plan sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// [`Store::probe`].
    Probe,
    /// [`Store::heads`] or [`Store::latest_heads`] of these keys.
    Heads(BTreeSet<Key>),
    /// [`Store::records`] of these transactions.
    Records(BTreeSet<TransactionId>),
    /// [`Store::commit`] of this transaction.
    Commit(TransactionId),
    /// [`Store::commit_if`] of this transaction, with these keys.
    CommitIf(TransactionId, BTreeSet<Key>),
    /// [`Store::heads_at_once`] of these keys.
    HeadsAtOnce(BTreeSet<Key>),
    /// [`Store::validate`] of these keys.
    Validate(BTreeSet<Key>),
    /// [`Store::apply`] to this key.
    Apply(Key),
    /// [`Store::claim`] of this transaction.
    Claim(TransactionId),
    /// [`Store::release`] of this transaction.
    Release(TransactionId),
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: it takes effect and is answered.
    None,
    /// It fails and has no effect.
    Before(ErrorKind),
    /// It takes effect, and fails all the same.
    After(ErrorKind),
    /// It takes effect and is never answered.
    HangAfter,
    /// It has no effect and is never answered.
    HangBefore,
    /// It takes effect after the first time and is answered after the second.
    Slow(Duration, Duration),
    /// Another step is under way at every key: [`Store::commit_if`], [`Store::heads_at_once`] and [`Store::validate`] are refused for that, and have no
    /// effect. Other calls take effect.
    Contended,
    /// It takes effect and is answered; but a [`Store::commit_if`] that finds a record hears of the heads only, as if the store had
    /// looked no further.
    Reticent,
    /// It is never answered, and a commit record is written after that time although the caller has given up by then: a
    /// request that was under way. Other calls have no effect.
    Late(Duration),
}

/// Decides over each call.
pub type Plan = Arc<dyn Fn(&Call) -> Fault + Send + Sync>;

/// A store under a plan.
#[derive(Clone)]
pub struct Faulty<S> {
    inner: S,
    plan: Plan,
}

impl<S: Store + Clone> Faulty<S> {
    /// `inner`, with every call subject to `plan`.
    pub fn new(inner: S, plan: impl Fn(&Call) -> Fault + Send + Sync + 'static) -> Self {
        Self { inner, plan: Arc::new(plan) }
    }

    async fn run<T>(&self, call: Call, effect: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        self.meet((self.plan)(&call), effect).await
    }

    async fn meet<T>(
        &self,
        fault: Fault,
        effect: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match fault {
            Fault::None | Fault::Contended | Fault::Reticent => effect.await,
            Fault::Before(kind) => Err(injected(kind, "before its effect")),
            Fault::After(kind) => {
                effect.await?;
                Err(injected(kind, "after its effect"))
            }
            Fault::HangAfter => {
                effect.await?;
                std::future::pending().await
            }
            Fault::HangBefore | Fault::Late(_) => std::future::pending().await,
            Fault::Slow(before, after) => {
                tokio::time::sleep(before).await;
                let result = effect.await;
                tokio::time::sleep(after).await;
                result
            }
        }
    }
}

fn injected(kind: ErrorKind, when: &str) -> StoreError {
    StoreError::new(kind, "injected", format!("failed on purpose, {when}"))
}

fn contended(keys: BTreeSet<Key>) -> Obstacles {
    Obstacles { contended: keys, ..Obstacles::default() }
}

impl<S: Store + Clone> Store for Faulty<S> {
    fn reconnect(&self) {
        self.inner.reconnect();
    }

    fn leave_connections(&self) {
        self.inner.leave_connections();
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.run(Call::Probe, self.inner.probe()).await
    }

    async fn heads(&self, keys: &BTreeSet<Key>) -> Result<BTreeMap<Key, Head>, StoreError> {
        self.run(Call::Heads(keys.clone()), self.inner.heads(keys)).await
    }

    async fn latest_heads(&self, keys: &BTreeSet<Key>) -> Result<BTreeMap<Key, Head>, StoreError> {
        self.run(Call::Heads(keys.clone()), self.inner.latest_heads(keys)).await
    }

    async fn records(&self, transactions: &BTreeSet<TransactionId>) -> Result<Records, StoreError> {
        self.run(Call::Records(transactions.clone()), self.inner.records(transactions)).await
    }

    async fn commit(&self, record: &CommitRecord) -> Result<Committed, StoreError> {
        let fault = (self.plan)(&Call::Commit(record.transaction()));
        if let Fault::Late(time) = fault {
            let (inner, record) = (self.inner.clone(), record.clone());
            tokio::spawn(async move {
                tokio::time::sleep(time).await;
                // Nobody is left to hear of it.
                let _ = inner.commit(&record).await;
            });
        }
        self.meet(fault, self.inner.commit(record)).await
    }

    async fn commit_if(&self, record: &CommitRecord, terms: &Terms) -> Result<Stepped, StoreError> {
        let keys: BTreeSet<_> = terms.keys().into_iter().cloned().collect();
        let fault = (self.plan)(&Call::CommitIf(record.transaction(), keys.clone()));
        match fault {
            Fault::Contended => return Ok(Stepped::Refused(contended(keys))),
            Fault::Reticent => {
                return Ok(match self.inner.commit_if(record, terms).await? {
                    Stepped::Before(existing) => {
                        let changed = terms.moves.keys().map(|key| (key.clone(), existing.version)).collect();
                        Stepped::Refused(Obstacles { changed, ..Obstacles::default() })
                    }
                    stepped @ (Stepped::Now | Stepped::Refused(_)) => stepped,
                });
            }
            Fault::Late(time) => {
                let (inner, record, terms) = (self.inner.clone(), record.clone(), terms.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(time).await;
                    // Nobody is left to hear of it.
                    let _ = inner.commit_if(&record, &terms).await;
                });
            }
            _ => {}
        }
        self.meet(fault, self.inner.commit_if(record, terms)).await
    }

    async fn heads_at_once(&self, keys: &BTreeSet<Key>) -> Result<AtOnce, StoreError> {
        let fault = (self.plan)(&Call::HeadsAtOnce(keys.clone()));
        if fault == Fault::Contended {
            return Ok(AtOnce::Refused(contended(keys.clone())));
        }
        self.meet(fault, self.inner.heads_at_once(keys)).await
    }

    async fn validate(&self, guards: &Guards) -> Result<Validated, StoreError> {
        let keys: BTreeSet<_> = guards.keys().cloned().collect();
        let fault = (self.plan)(&Call::Validate(keys.clone()));
        if fault == Fault::Contended {
            return Ok(Validated::Refused(contended(keys)));
        }
        self.meet(fault, self.inner.validate(guards)).await
    }

    async fn apply(&self, key: &Key, entry: &Entry, keep: Keep) -> Result<Applied, StoreError> {
        self.run(Call::Apply(key.clone()), self.inner.apply(key, entry, keep)).await
    }

    async fn claim(&self, claim: &Claim, now_seconds: u64) -> Result<Claimed, StoreError> {
        self.run(Call::Claim(claim.transaction), self.inner.claim(claim, now_seconds)).await
    }

    async fn release(&self, claim: &Claim) -> Result<(), StoreError> {
        self.run(Call::Release(claim.transaction), self.inner.release(claim)).await
    }
}
