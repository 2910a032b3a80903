//! The commit record: the one item whose existence means "this transaction committed" (R-COMMIT-1, R-COMMIT-2).
//!
//! It is a redo log entry: everything after it can be redone by anyone, any number of times (R-COMMIT-5, R-FM-3).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::head::{Cowritten, Entry};
use crate::id::{Fingerprint, Nonce, SandboxId, TransactionId};
use crate::key::Key;
use crate::value::Value;
use crate::version::Version;

/// What a transaction wrote: `None` deletes the key.
pub type Writes = BTreeMap<Key, Option<Value>>;

/// A function's response, memoized: a duplicate of the request is answered with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The `Content-Type` that the runtime posted, if any.
    pub content_type: Option<String>,
    /// The body, byte for byte.
    pub body: Bytes,
}

/// A committed transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitRecord {
    /// The version of every write; it names the transaction.
    pub version: Version,
    /// Which try to commit wrote this record (R-COMMIT-4).
    pub nonce: Nonce,
    /// Everything the transaction wrote.
    pub writes: Writes,
    /// What the function answered.
    pub response: Response,
    /// What the function was asked.
    pub fingerprint: Fingerprint,
    /// For people: the function and the request that this transaction came from.
    pub origin: String,
    /// Who committed.
    pub sandbox: SandboxId,
    /// Every earlier transaction of this sandbox, up to this version, is applied (R-FM-2).
    pub applied_through: Version,
    /// When DynamoDB may delete the record, in seconds since the epoch.
    pub expires_at_seconds: u64,
}

impl CommitRecord {
    /// Whose record this is.
    #[must_use]
    pub fn transaction(&self) -> TransactionId {
        self.version.transaction()
    }

    /// The version of `key` that this transaction wrote, with its whole cowritten list; `None` if it did not write it.
    #[must_use]
    pub fn entry(&self, key: &Key) -> Option<Entry> {
        let value = self.writes.get(key)?.clone();
        Some(Entry { version: self.version, value, cowritten: Cowritten::Keys(Arc::new(self.others(key))) })
    }

    /// The entries that applying this record gives to heads: as [`Self::entry`], with long lists left to the record.
    pub fn head_entries(&self) -> impl Iterator<Item = (&Key, Entry)> {
        self.writes.iter().map(|(key, value)| {
            let cowritten = Cowritten::for_head(self.others(key));
            (key, Entry { version: self.version, value: value.clone(), cowritten })
        })
    }

    fn others(&self, key: &Key) -> BTreeSet<Key> {
        self.writes.keys().filter(|other| *other != key).cloned().collect()
    }
}
