//! Heads on their way from the store to an attempt, for a read or for a write: [`Session::fetched`] is the one place that all
//! of them pass through. The clock, the attempt, its commit and the cache hear of them there.
//!
//! R-COMMIT-3: a commit is ordered after everything that this sandbox has seen. An attempt that writes a key without having
//! read it has not seen what it writes over, and on a clock that is behind, its write would be ordered before a write that was
//! acknowledged earlier. So the heads of such keys are looked up, beside the handler, and the commit waits for the look-ups
//! before it takes its timestamp (ADR 14). So many look-ups of an attempt are under way at a time as [`Behaviour::look_ups`]
//! says; what is written meanwhile goes into the next. They are always strongly consistent: an eventual one may miss the very
//! write that it is for.
//!
//! [`Behaviour::look_ups`]: super::Behaviour::look_ups
//!
//! A look-up never answers a read: what it is about was written, and is read from the write buffer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aft_protocol::attempt::Attempt;
use aft_protocol::head::{Before, Head};
use aft_protocol::key::Key;
use aft_protocol::limits;
use aft_protocol::record::Writes;
use aft_store::retry::out_of_time;
use aft_store::{AtOnce, ErrorKind, Store, StoreError};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::cache::Asked;
use super::retry::last_moment;
use super::step::{MORE_TRIES, in_the_way};
use super::{Open, Session};

/// The keys whose heads an attempt knows, or is about to.
#[derive(Default)]
pub(super) struct Known {
    state: watch::Sender<State>,
}

#[derive(Default)]
struct State {
    /// Keys whose heads were fetched, strongly consistent, since the attempt began, or will be by a look-up.
    keys: BTreeSet<Key>,
    /// What a write to a key would take the place of, as far as its head was fetched.
    before: BTreeMap<Key, Before>,
    /// Those that wait for the next look-up.
    waiting: BTreeSet<Key>,
    /// How many look-ups are under way.
    looking: usize,
    /// Of how many keys together.
    looked_for: usize,
    /// Why one failed for good.
    failed: Option<(ErrorKind, String)>,
}

impl State {
    /// Takes keys for a look-up that starts now, and leaves the share of so many others that may start, too.
    fn start(&mut self, others: usize) -> Option<BTreeSet<Key>> {
        // All together, what one request takes at most: a head may have 400 KB.
        let free = limits::BATCH_KEYS.saturating_sub(self.looked_for);
        let share = self.waiting.len().div_ceil(others + 1).min(free);
        let keys: BTreeSet<_> = std::iter::from_fn(|| self.waiting.pop_first()).take(share).collect();
        self.looking += usize::from(share > 0);
        self.looked_for += share;
        Some(keys).filter(|keys| !keys.is_empty())
    }

    fn end(&mut self, looked_for: usize) {
        self.looking -= 1;
        self.looked_for -= looked_for;
    }

    fn is_complete(&self) -> bool {
        self.looking == 0 || self.failed.is_some()
    }
}

impl Known {
    /// These heads were fetched, and may be `latest`.
    fn add(&self, heads: &BTreeMap<Key, Head>, latest: bool) {
        self.state.send_if_modified(|state| {
            // Where there is no head, a move guesses right.
            let there = heads.iter().filter(|(_, head)| !head.current.version.is_zero());
            state.before.extend(there.map(|(key, head)| (key.clone(), head.before())));
            if latest {
                state.keys.extend(heads.keys().cloned());
            }
            false
        });
    }

    /// What is known of the versions that these writes would take the place of.
    pub(super) fn before(&self, writes: &Writes) -> BTreeMap<Key, Before> {
        let state = self.state.borrow();
        writes.keys().filter_map(|key| Some((key.clone(), *state.before.get(key)?))).collect()
    }

    /// These keys were written. The look-ups that must be started for them, so that no more than `most` are under way.
    fn want(&self, keys: impl IntoIterator<Item = Key>, most: usize) -> Vec<BTreeSet<Key>> {
        let mut starts = Vec::new();
        self.state.send_if_modified(|state| {
            for key in keys {
                if state.keys.insert(key.clone()) {
                    state.waiting.insert(key);
                }
            }
            if state.failed.is_none() {
                // Evenly: the slowest of many small requests is faster than one large one.
                starts.extend((state.looking..most).rev().map_while(|others| state.start(others)));
            }
            false
        });
        starts
    }

    /// A look-up of so many keys has an answer. The keys of the next one in its place; none: there is nothing left for it.
    fn next(&self, looked_for: usize) -> Option<BTreeSet<Key>> {
        let mut next = None;
        self.state.send_if_modified(|state| {
            state.end(looked_for);
            next = if state.failed.is_none() { state.start(0) } else { None };
            state.looking == 0
        });
        next
    }

    fn fail(&self, looked_for: usize, error: &StoreError) {
        self.state.send_modify(|state| {
            state.end(looked_for);
            state.failed = Some((error.kind(), error.to_string()));
        });
    }

    /// Waits until every key that was written is known, but not past the deadline.
    ///
    /// # Errors
    /// Why a look-up failed: then nobody may say which version a write must be greater than.
    pub(super) async fn complete(&self, deadline: Instant) -> Result<(), StoreError> {
        let mut state = self.state.subscribe();
        let looked_up = timeout_at(last_moment(deadline), state.wait_for(State::is_complete)).await;
        match looked_up {
            Ok(Ok(state)) => match &state.failed {
                None => Ok(()),
                Some((kind, why)) => Err(StoreError::new(*kind, "look-up", why.clone())),
            },
            Ok(Err(_)) | Err(_) => Err(out_of_time()),
        }
    }
}

impl<S: Store> Session<S> {
    /// Fetches the heads of `keys` for a read.
    pub(super) async fn heads(
        &self,
        open: &Open,
        keys: &BTreeSet<Key>,
        may_cache: bool,
    ) -> Result<BTreeMap<Key, Head>, StoreError> {
        let asked = self.asked();
        let mut latest = self.inner.behaviour.reads_strongly || open.insists_on_the_latest();
        let at_once = if self.has_read_in_vain(open, keys) {
            // Boxed, as all that is rare: a future is as large as the largest thing that it may wait for.
            Box::pin(self.heads_at_once(open, keys)).await?
        } else {
            None
        };
        let heads = if let Some(heads) = at_once {
            latest = true;
            heads
        } else if latest {
            self.retrying(open.deadline, || self.inner.store.latest_heads(keys)).await?
        } else {
            self.retrying(open.deadline, || self.inner.store.heads(keys)).await?
        };
        self.fetched(&open.known, &heads, latest, Some(asked).filter(|_| may_cache));
        Ok(heads)
    }

    /// R-SER-3: who has read in vain reads at one moment what the next attempt begins with, if that is several keys. If it reads
    /// no others and writes nothing again, it needs no validation, and nobody can overtake it.
    fn has_read_in_vain(&self, open: &Open, keys: &BTreeSet<Key>) -> bool {
        let begins = |attempt: &Attempt| attempt.begins_serializable().then(|| attempt.identity().transaction);
        // Not under the attempt's lock: the table's comes before it.
        let transaction = if keys.len() < 2 { None } else { begins(&open.attempt()) };
        transaction.is_some() && self.state().read_in_vain == transaction
    }

    /// Reads them so. `None`: another kind of read must do, because others are in the way again and again, or the heads are too
    /// large for it.
    async fn heads_at_once(
        &self,
        open: &Open,
        keys: &BTreeSet<Key>,
    ) -> Result<Option<BTreeMap<Key, Head>>, StoreError> {
        let mut tries = self.patience(last_moment(open.deadline)).tries();
        for _ in 0..=MORE_TRIES {
            let error = match tries.run(self.inner.store.heads_at_once(keys)).await {
                Ok(AtOnce::Heads(heads)) => {
                    open.attempt().begin_with(&heads);
                    return Ok(Some(heads));
                }
                Ok(AtOnce::Refused(obstacles)) => in_the_way(&obstacles),
                Err(error) if !error.kind().is_retryable() => return Ok(None),
                Err(error) => error,
            };
            if !tries.another(&error).await {
                return Err(error);
            }
        }
        Ok(None)
    }

    /// These keys were written: looks up, beside the handler, the heads that the attempt does not know.
    pub(super) fn look_up_written(&self, open: &Open, keys: Vec<Key>) {
        let most = self.inner.behaviour.look_ups;
        if most > 0 {
            for keys in open.known.want(keys, most) {
                open.beside(self.clone().look_up_all(Arc::clone(&open.known), keys, open.deadline));
            }
        }
    }

    async fn look_up_all(self, known: Arc<Known>, mut keys: BTreeSet<Key>, deadline: Instant) {
        loop {
            match self.retrying(deadline, || self.inner.store.latest_heads(&keys)).await {
                // Not to be cached: the commit is about to change them.
                Ok(heads) => self.fetched(&known, &heads, true, None),
                Err(error) => return known.fail(keys.len(), &error),
            }
            match known.next(keys.len()) {
                Some(next) => keys = next,
                None => return,
            }
        }
    }

    /// Every head that was fetched for an attempt passes through here. `latest`: it is as new as can be; `asked`: it may
    /// be cached.
    fn fetched(&self, known: &Known, heads: &BTreeMap<Key, Head>, latest: bool, asked: Option<Asked>) {
        for head in heads.values() {
            self.observe(head.current.version);
        }
        known.add(heads, latest);
        if let Some(asked) = asked {
            let mut cache = self.cache();
            heads.iter().for_each(|(key, head)| cache.keep(key, head, asked));
        }
    }

    fn asked(&self) -> Asked {
        self.cache().asked(self.inner.sources.now())
    }
}
