//! The store contract in its plainest form: two maps behind a mutex.
//!
//! For protocol tests. It never fails; wrap it in [`crate::faults`] for that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aft_protocol::atomic_read::Records;
use aft_protocol::claim::Claim;
use aft_protocol::head::{Entry, Head, Keep, Move};
use aft_protocol::id::TransactionId;
use aft_protocol::isolation::Guards;
use aft_protocol::key::Key;
use aft_protocol::record::CommitRecord;
use aft_protocol::version::Version;

use crate::{Applied, AtOnce, Claimed, Committed, Obstacles, Stepped, Store, StoreError, Terms, Validated};

/// An in-memory store. Clones share the tables.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    tables: Arc<Mutex<Tables>>,
}

#[derive(Debug, Default)]
struct Tables {
    heads: BTreeMap<Key, Head>,
    records: BTreeMap<TransactionId, CommitRecord>,
    claims: BTreeMap<TransactionId, Claim>,
}

impl Memory {
    /// Two empty tables.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Deletes a commit record, as DynamoDB does when it has expired.
    pub fn expire(&self, transaction: TransactionId) {
        self.tables().records.remove(&transaction);
    }

    /// Deletes what DynamoDB's TTL deletes: commit records whose time has passed and of which `is_due` says so (DynamoDB takes
    /// days), and tombstones whose time has passed. How many they were.
    pub fn expire_all(&self, now_seconds: u64, is_due: impl Fn(TransactionId) -> bool) -> usize {
        let mut tables = self.tables();
        let before = tables.records.len() + tables.heads.len();
        tables.records.retain(|id, record| record.expires_at_seconds >= now_seconds || !is_due(*id));
        tables.heads.retain(|_, head| {
            head.current.value.is_some() || head.current.tombstone_expires_at_seconds() >= now_seconds
        });
        before - tables.records.len() - tables.heads.len()
    }

    /// Every record there is.
    #[must_use]
    pub fn all_records(&self) -> Vec<CommitRecord> {
        self.tables().records.values().cloned().collect()
    }

    /// The claim on a transaction, as it is now.
    #[must_use]
    pub fn claim_on(&self, transaction: TransactionId) -> Option<Claim> {
        self.tables().claims.get(&transaction).cloned()
    }

    /// The head of a key, as it is now.
    #[must_use]
    pub fn head_of(&self, key: &Key) -> Head {
        self.tables().heads.get(key).cloned().unwrap_or_else(Head::absent)
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn version_of(&self, key: &Key) -> Version {
        self.heads.get(key).map_or(Version::ZERO, |head| head.current.version)
    }

    fn changed(&self, guards: &Guards) -> BTreeMap<Key, Version> {
        let found = guards.iter().map(|(key, expected)| (key, *expected, self.version_of(key)));
        found.filter(|(_, expected, found)| expected != found).map(|(key, _, found)| (key.clone(), found)).collect()
    }
}

impl Store for Memory {
    async fn probe(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn heads(&self, keys: &BTreeSet<Key>) -> Result<BTreeMap<Key, Head>, StoreError> {
        Ok(keys.iter().map(|key| (key.clone(), self.head_of(key))).collect())
    }

    async fn latest_heads(&self, keys: &BTreeSet<Key>) -> Result<BTreeMap<Key, Head>, StoreError> {
        self.heads(keys).await
    }

    async fn records(&self, transactions: &BTreeSet<TransactionId>) -> Result<Records, StoreError> {
        let tables = self.tables();
        Ok(transactions.iter().map(|id| (*id, tables.records.get(id).cloned())).collect())
    }

    async fn commit(&self, record: &CommitRecord) -> Result<Committed, StoreError> {
        let mut tables = self.tables();
        match tables.records.get(&record.transaction()) {
            Some(existing) => Ok(Committed::Before(Box::new(existing.clone()))),
            None => {
                tables.records.insert(record.transaction(), record.clone());
                Ok(Committed::Now)
            }
        }
    }

    async fn commit_if(&self, record: &CommitRecord, terms: &Terms) -> Result<Stepped, StoreError> {
        let mut tables = self.tables();
        if let Some(existing) = tables.records.get(&record.transaction()) {
            return Ok(Stepped::Before(Box::new(existing.clone())));
        }
        let mut changed = tables.changed(&terms.guards);
        let mut moved = BTreeMap::new();
        for (key, entry) in record.head_entries() {
            let Some(keep) = terms.moves.get(key) else { continue };
            let head = tables.heads.get(key).cloned().unwrap_or_else(Head::absent);
            match head.moved_to(entry, *keep) {
                Move::To(head) => drop(moved.insert(key.clone(), *head)),
                Move::NotNewer | Move::RecordExpires => drop(changed.insert(key.clone(), head.current.version)),
            }
        }
        if !changed.is_empty() {
            return Ok(Stepped::Refused(Obstacles { changed, ..Obstacles::default() }));
        }
        tables.heads.extend(moved);
        tables.records.insert(record.transaction(), record.clone());
        Ok(Stepped::Now)
    }

    async fn heads_at_once(&self, keys: &BTreeSet<Key>) -> Result<AtOnce, StoreError> {
        let tables = self.tables();
        let head = |key: &Key| tables.heads.get(key).cloned().unwrap_or_else(Head::absent);
        Ok(AtOnce::Heads(keys.iter().map(|key| (key.clone(), head(key))).collect()))
    }

    async fn validate(&self, guards: &Guards) -> Result<Validated, StoreError> {
        let changed = self.tables().changed(guards);
        if changed.is_empty() {
            return Ok(Validated::Holds);
        }
        Ok(Validated::Refused(Obstacles { changed, ..Obstacles::default() }))
    }

    async fn apply(&self, key: &Key, entry: &Entry, keep: Keep) -> Result<Applied, StoreError> {
        let mut tables = self.tables();
        let head = tables.heads.get(key).cloned().unwrap_or_else(Head::absent);
        match head.moved_to(entry.clone(), keep) {
            Move::To(moved) => {
                tables.heads.insert(key.clone(), *moved);
                Ok(Applied::Moved)
            }
            Move::NotNewer => Ok(Applied::NotNewer),
            Move::RecordExpires => Ok(Applied::RecordExpires),
        }
    }

    async fn claim(&self, claim: &Claim, now_seconds: u64) -> Result<Claimed, StoreError> {
        let mut tables = self.tables();
        match tables.claims.get(&claim.transaction) {
            Some(held) if !held.yields_to(&claim.owner, now_seconds) => Ok(Claimed::ByAnother),
            Some(_) | None => {
                tables.claims.insert(claim.transaction, claim.clone());
                Ok(Claimed::Now)
            }
        }
    }

    async fn release(&self, claim: &Claim) -> Result<(), StoreError> {
        let mut tables = self.tables();
        if tables.claims.get(&claim.transaction).is_some_and(|held| held.owner == claim.owner) {
            tables.claims.remove(&claim.transaction);
        }
        Ok(())
    }
}
