//! The commit record: the one item whose existence means "this transaction committed" (R-COMMIT-1, R-COMMIT-2).
//!
//! It is a redo log entry: everything after it can be redone by anyone, any number of times (R-COMMIT-5, R-FM-3).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::head::{self, Cowritten, Entry};
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
        Some(self.entry_of(value, Cowritten::Keys(Arc::new(self.others(key)))))
    }

    /// The entries that applying this record gives to heads: as [`Self::entry`], with lists left to the record where they
    /// would cost write units.
    pub fn head_entries(&self) -> impl Iterator<Item = (&Key, Entry)> {
        let bytes: usize = self.writes.keys().map(|key| key.as_str().len()).sum();
        self.writes.iter().map(move |(key, value)| {
            // Measured before it is made: thousands of keys would be thousands of long lists.
            let (others, bytes) = (self.writes.len() - 1, bytes - key.as_str().len());
            let fits = head::has_room_for_list(key, value.as_ref(), others, bytes);
            let cowritten = if fits { Cowritten::Keys(Arc::new(self.others(key))) } else { Cowritten::InRecord };
            (key, self.entry_of(value.clone(), cowritten))
        })
    }

    fn entry_of(&self, value: Option<Value>, cowritten: Cowritten) -> Entry {
        let record_expires_at_seconds = self.expires_at_seconds;
        Entry { version: self.version, value, cowritten, record_expires_at_seconds }
    }

    fn others(&self, key: &Key) -> BTreeSet<Key> {
        self.writes.keys().filter(|other| *other != key).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{CommitRecord, Response, Writes};
    use crate::head::Cowritten;
    use crate::id::{Fingerprint, Nonce, SandboxId, TransactionId};
    use crate::key::Key;
    use crate::value::{ContentType, Value};
    use crate::version::{Timestamp, Version};

    fn record(keys: usize) -> CommitRecord {
        let key = |n| Key::new(format!("key-{n:060}")).unwrap();
        CommitRecord {
            version: Version::new(Timestamp::from_micros(1), TransactionId::from_bits(1)),
            nonce: Nonce::from_bits(1),
            writes: (0..keys).map(|n| (key(n), None)).collect::<Writes>(),
            response: Response { content_type: None, body: Bytes::new() },
            fingerprint: Fingerprint::from_bits(0),
            origin: String::new(),
            sandbox: SandboxId::from_bits(0),
            applied_through: Version::ZERO,
            expires_at_seconds: 0,
        }
    }

    /// 64 bytes a key: three others are 195 bytes with the list's own, and a tombstone's head has room for ten or so in its
    /// kilobyte.
    #[test]
    fn a_long_cowritten_list_is_left_to_the_record() {
        let lists = |keys| record(keys).head_entries().map(|(_, entry)| entry.cowritten).collect::<Vec<_>>();
        assert!(lists(10).iter().all(|list| matches!(list, Cowritten::Keys(others) if others.len() == 9)));
        assert!(lists(12).iter().all(|list| *list == Cowritten::InRecord));
    }

    /// R-READ-4: a short list is in every head, also where it costs a write unit.
    #[test]
    fn a_short_cowritten_list_is_always_in_the_head() {
        for bytes in 0..2_048 {
            let mut record = record(4);
            let value = Value::new(vec![0; bytes], ContentType::default()).unwrap();
            record.writes.values_mut().for_each(|written| *written = Some(value.clone()));
            assert!(record.head_entries().all(|(_, entry)| entry.cowritten != Cowritten::InRecord), "{bytes}");
        }
    }

    #[test]
    fn an_entry_straight_from_the_record_always_has_the_whole_list() {
        let record = record(34);
        let key = record.writes.keys().next().unwrap();
        assert!(matches!(record.entry(key).unwrap().cowritten, Cowritten::Keys(others) if others.len() == 33));
    }
}
