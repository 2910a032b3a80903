//! Reads: from the cache if the request allows that; if not, the heads in one round trip, then, where the read rule asks for
//! them, commit records in one more (R-READ-4).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aft_protocol::atomic_read::{Choice, Records};
use aft_protocol::attempt::{Attempt, Seen};
use aft_protocol::head::{Entry, Head};
use aft_protocol::id::TransactionId;
use aft_protocol::key::Key;
use aft_protocol::limits;
use aft_protocol::version::Version;
use aft_store::Store;
use tokio::time::Instant;

use super::apply::Heads;
use super::{Named, Open, Session, SessionError, refused};

/// What a read allows of the sandbox's cache of heads; by default, nothing but to keep what is fetched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Freshness {
    /// How old a head may be, in seconds; 0: as new as the store tells.
    pub max_age_seconds: u64,
    /// Whether what is fetched is not to be kept.
    pub no_store: bool,
}

/// What a read sees of a key, and where from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What this transaction sees.
    pub seen: Seen,
    /// Where from.
    pub source: Source,
}

/// Where an answer is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The transaction has written or read the key before.
    Transaction,
    /// The sandbox's cache.
    Cache {
        /// How old it is, rounded up.
        age_seconds: u64,
    },
    /// The store.
    Store(WhyFetched),
}

/// Why the store was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhyFetched {
    /// The request does not allow the cache.
    Asked,
    /// The cache has nothing of the key.
    NotCached,
    /// What it has is older than the request allows.
    TooOld,
    /// What it has does not fit what the transaction has read.
    NotAtomic,
}

/// What the read rule says of several keys.
enum Chosen {
    /// Every one may be seen.
    All,
    /// It cannot be told without these commit records.
    Consult(BTreeSet<TransactionId>),
    /// No version of this key fits; the newest is this.
    Conflict(Key, Version),
}

impl<S: Store> Session<S> {
    /// What the open attempt sees of each key, as new as the store tells.
    ///
    /// # Errors
    /// [`SessionError`]; after a [`SessionError::ReadConflict`] the attempt can only be aborted.
    pub async fn read(&self, named: Named, keys: BTreeSet<Key>) -> Result<BTreeMap<Key, Seen>, SessionError> {
        let answers = self.read_with(named, keys, Freshness::default()).await?;
        Ok(answers.into_iter().map(|(key, answer)| (key, answer.seen)).collect())
    }

    /// What the open attempt sees of each key, from the cache where that is new enough and fits.
    ///
    /// # Errors
    /// As for [`Self::read`].
    pub async fn read_with(
        &self,
        named: Named,
        keys: BTreeSet<Key>,
        freshness: Freshness,
    ) -> Result<BTreeMap<Key, Answer>, SessionError> {
        let open = self.find_undecided(named)?;
        self.see(&open, keys, freshness).await
    }

    pub(super) async fn see(
        &self,
        open: &Open,
        keys: BTreeSet<Key>,
        freshness: Freshness,
    ) -> Result<BTreeMap<Key, Answer>, SessionError> {
        let answers = self.answers(open, keys, freshness).await;
        self.give_way(open);
        answers
    }

    /// What all open transactions keep of what they have read is limited together: the one that has read gives way.
    fn give_way(&self, open: &Open) {
        let state = self.state();
        let others = state.open.values().filter(|other| !std::ptr::eq(other.as_ref(), open));
        let others: usize = others.map(|other| other.attempt().read_bytes()).sum();
        open.attempt().keep_at_most(limits::SANDBOX_READ_SET_BYTES.saturating_sub(others));
    }

    async fn answers(
        &self,
        open: &Open,
        keys: BTreeSet<Key>,
        freshness: Freshness,
    ) -> Result<BTreeMap<Key, Answer>, SessionError> {
        let mut answers = BTreeMap::new();
        let mut fetched = BTreeMap::new();
        {
            let mut attempt = open.attempt();
            attempt.check_reads(keys.iter()).map_err(refused)?;
            for key in keys {
                match self.at_hand(&mut attempt, &key, freshness)? {
                    Ok(answer) => drop(answers.insert(key, answer)),
                    Err(why) => drop(fetched.insert(key, why)),
                }
            }
        }
        if fetched.is_empty() {
            return Ok(answers);
        }
        let unknown = fetched.keys().cloned().collect();
        let mut heads = self.heads(open, &unknown, !freshness.no_store).await?;
        let mut records = Records::new();
        let mut seen = BTreeMap::new();
        loop {
            match self.choose_all(open, &mut heads, &records, &mut seen)? {
                Chosen::All => break,
                Chosen::Consult(missing) => {
                    let found = self.retrying(open.deadline, || self.inner.store.records(&missing)).await?;
                    found.values().flatten().for_each(|record| self.observe(record.version));
                    records.extend(found);
                }
                Chosen::Conflict(key, newest) => {
                    self.spare_the_next_attempt(newest, open.deadline).await;
                    return Err(SessionError::ReadConflict(key));
                }
            }
        }
        let why = |key: &Key| fetched.get(key).copied().unwrap_or(WhyFetched::Asked);
        answers.extend(seen.into_iter().map(|(key, seen)| {
            let source = Source::Store(why(&key));
            (key, Answer { seen, source })
        }));
        Ok(answers)
    }

    /// What needs no store: what the transaction knows, or a cached head that the read rule accepts. Where it does not, the
    /// store is asked: a stale head must not doom an attempt.
    fn at_hand(
        &self,
        attempt: &mut Attempt,
        key: &Key,
        freshness: Freshness,
    ) -> Result<Result<Answer, WhyFetched>, SessionError> {
        if let Some(seen) = attempt.recall(key).map_err(refused)? {
            return Ok(Ok(Answer { seen, source: Source::Transaction }));
        }
        if freshness.max_age_seconds == 0 {
            return Ok(Err(WhyFetched::Asked));
        }
        let mut cache = self.cache();
        let answer = match cache.find(key, freshness.max_age_seconds, self.inner.sources.now()) {
            Err(why) => Err(why),
            Ok((head, age_seconds)) => match attempt.read_stale(key, &head, self.now_seconds()).map_err(refused)? {
                Some(entry) => Ok(Answer { seen: Seen::Read(entry), source: Source::Cache { age_seconds } }),
                None => Err(WhyFetched::NotAtomic),
            },
        };
        cache.count(answer.is_ok());
        Ok(answer)
    }

    /// Asks the read rule for each key that is left in `heads`, against the read set as it is now, and moves what is settled
    /// to `seen`.
    fn choose_all(
        &self,
        open: &Open,
        heads: &mut BTreeMap<Key, Head>,
        records: &Records,
        seen: &mut BTreeMap<Key, Seen>,
    ) -> Result<Chosen, SessionError> {
        let mut missing = BTreeSet::new();
        let mut unsettled = BTreeMap::new();
        let now_seconds = self.now_seconds();
        let mut attempt = open.attempt();
        for (key, head) in std::mem::take(heads) {
            // A write of the same attempt may have come while the store was asked.
            if let Some(written @ Seen::Written(..)) = attempt.recall(&key).map_err(refused)? {
                seen.insert(key, written);
                continue;
            }
            match attempt.read(&key, &head, records, now_seconds).map_err(refused)? {
                Choice::Accept(entry) => {
                    self.roll_forward_if_ahead(&entry, &head, records);
                    seen.insert(key, Seen::Read(entry));
                }
                Choice::Consult(wanted) => {
                    missing.extend(wanted);
                    unsettled.insert(key, head);
                }
                Choice::Conflict => {
                    // If it began with heads out of the cache, the next attempt must not begin with the same.
                    self.cache().forget(attempt.keys_read());
                    return Ok(Chosen::Conflict(key, head.current.version));
                }
            }
        }
        *heads = unsettled;
        Ok(if missing.is_empty() { Chosen::All } else { Chosen::Consult(missing) })
    }

    /// R-FM-3, where a read found no version that fits: what is too new for this attempt may be half-applied, and then the next
    /// one would read the same old half. To roll it forward is harmless if it is not.
    async fn spare_the_next_attempt(&self, newest: Version, deadline: Instant) {
        if newest.is_zero() {
            return;
        }
        match self.record_of(newest.transaction(), deadline).await {
            Ok(Some(record)) => drop(self.start_apply(Arc::new(record), Heads::Unknown)),
            Ok(None) => {}
            // The attempt ends with its conflict all the same.
            Err(error) => {
                tracing::warn!(transaction = %newest.transaction(), "looking for what was in the way: {error}")
            }
        }
    }

    /// R-FM-3: whoever sees a record ahead of a head rolls it forward. The reader does not wait for it.
    fn roll_forward_if_ahead(&self, entry: &Entry, head: &Head, records: &Records) {
        if entry.version <= head.current.version {
            return;
        }
        if let Some(Some(record)) = records.get(&entry.version.transaction()) {
            tracing::info!(transaction = %record.transaction(), "found committed but not applied: rolling forward");
            let _progress = self.start_apply(Arc::new(record.clone()), Heads::Behind(BTreeMap::new()));
        }
    }
}
