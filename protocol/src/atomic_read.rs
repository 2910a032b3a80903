//! The read rule: which version of a key an attempt may see, given what it has read (R-READ-1…4).
//!
//! AFT's Algorithm 1, extended by absent keys and by a bounded search. [`ReadSet::choose`] is pure and can be asked
//! again: the caller fetches a head, asks, fetches the commit records that the answer names, and asks again. That also
//! makes concurrent reads of one attempt safe, because what counts is the read set at the moment of acceptance.
//!
//! Invariant of a read set R (R-READ-1): for every entry e in R and every key l that e's transaction also wrote, if l is
//! in R then R\[l\] is at least as new as e. An absent key is [`Version::ZERO`] of that key, and counts.

use std::collections::{BTreeMap, BTreeSet};

use crate::head::{Cowritten, Entry, Head, Previous};
use crate::id::TransactionId;
use crate::key::Key;
use crate::limits;
use crate::recency::Recency;
use crate::record::CommitRecord;
use crate::value::Value;
use crate::version::Version;

/// Commit records that were looked up: `None` if there is none (it expired).
pub type Records = BTreeMap<TransactionId, Option<CommitRecord>>;

/// What an attempt has read. It keeps every version and every cowritten list, and the values that were read last: up to
/// [`limits::READ_SET_BYTES`] of them.
#[derive(Debug, Default)]
pub struct ReadSet {
    entries: BTreeMap<Key, Entry>,
    /// The entries that have a value, and what it weighs.
    values: Recency,
    /// The entries that had one, and whose value in `entries` is `None` now.
    forgotten: BTreeSet<Key>,
}

/// What the read rule says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// This version may be seen. Its cowritten list is never [`Cowritten::InRecord`].
    Accept(Entry),
    /// It cannot be told without these commit records: look them up and ask again.
    Consult(BTreeSet<TransactionId>),
    /// No version of the key fits what was read: the attempt aborts and runs again. Not the same as "not found"
    /// (R-READ-3).
    Conflict,
}

/// What is known of a version of a key.
enum Known {
    /// All.
    Entry(Entry),
    /// Not enough, before its record is looked up.
    Missing,
    /// That it cannot be had: its record is gone.
    Gone,
}

impl ReadSet {
    /// What was read of `key`, if it was and its value was not forgotten (R-READ-2: repeatable reads).
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(key).filter(|_| !self.forgotten.contains(key))
    }

    /// `key` is read again: its value is not the next to be forgotten.
    pub fn touch(&mut self, key: &Key) {
        self.values.touch(key);
    }

    /// The version of `key` that was read, if one was and the key exists there; also if its value was forgotten.
    #[must_use]
    pub fn existing(&self, key: &Key) -> Option<Version> {
        let read = self.entries.get(key)?;
        (read.value.is_some() || self.forgotten.contains(key)).then_some(read.version)
    }

    /// The version of `key` that was read, if one was; zero if the key had never been written.
    #[must_use]
    pub fn version(&self, key: &Key) -> Option<Version> {
        self.entries.get(key).map(|entry| entry.version)
    }

    /// Every key that was read, at its version.
    pub fn versions(&self) -> impl Iterator<Item = (&Key, Version)> {
        self.entries.iter().map(|(key, entry)| (key, entry.version))
    }

    /// Every key that was read.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.entries.keys()
    }

    /// Bytes of the values that are kept.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.values.bytes()
    }

    /// How many keys were read.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing was read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds an entry that [`Self::read`] accepted against this very read set. Of all others, the values that were read
    /// least recently are forgotten, as far as there are too many.
    pub fn insert(&mut self, key: Key, entry: Entry) {
        let bytes = entry.value.as_ref().map(Value::weight);
        self.forgotten.remove(&key);
        self.entries.insert(key.clone(), entry);
        if let Some(bytes) = bytes {
            self.values.put(key, bytes);
        }
        self.keep_at_most(limits::READ_SET_BYTES);
    }

    /// Forgets the values that were read least recently, until so many bytes are kept.
    pub fn keep_at_most(&mut self, bytes: usize) {
        while let Some(oldest) = self.values.shed(bytes) {
            if let Some(entry) = self.entries.get_mut(&oldest) {
                entry.value = None;
            }
            self.forgotten.insert(oldest);
        }
    }

    /// What a read of `key` sees at this time (since the epoch), given its `head` and the `records` looked up so far: what was
    /// read before, if anything was, and what the read rule says if not.
    #[must_use]
    pub fn read(&self, key: &Key, head: &Head, records: &Records, now_seconds: u64) -> Choice {
        match self.entries.get(key) {
            None => self.choose(key, head, records, now_seconds),
            Some(read) if self.forgotten.contains(key) => again(read, key, head, records),
            Some(read) => Choice::Accept(read.clone()),
        }
    }

    /// The newest version read whose transaction also wrote `key`, and the newest of those that still constrain (R-READ-6):
    /// the lower bound. Zero if there is none.
    fn bounds(&self, key: &Key, now_seconds: u64) -> (Version, Version) {
        let (mut newest, mut lower) = (Version::ZERO, Version::ZERO);
        for entry in self.entries.values() {
            if let Cowritten::Keys(keys) = &entry.cowritten
                && keys.contains(key)
            {
                newest = newest.max(entry.version);
                if !entry.has_expired(now_seconds) {
                    lower = lower.max(entry.version);
                }
            }
        }
        (newest, lower)
    }

    /// Whether no key that `entry`'s transaction also wrote has been read at an older version, or that no longer matters
    /// (R-READ-6).
    fn admits(&self, entry: &Entry, now_seconds: u64) -> bool {
        if entry.has_expired(now_seconds) {
            return true;
        }
        let Cowritten::Keys(others) = &entry.cowritten else { return false };
        let older = |other: &Key| self.entries.get(other).is_some_and(|read| read.version < entry.version);
        !others.iter().any(older)
    }

    /// Which version of `key` may be seen, given its `head` and the `records` looked up so far, at this time (since the epoch).
    ///
    /// Asks for records at most once in a row unless the lower bound's own record has expired, so a read takes one
    /// round trip, or two (R-READ-4).
    #[must_use]
    pub fn choose(&self, key: &Key, head: &Head, records: &Records, now_seconds: u64) -> Choice {
        let (newest, lower) = self.bounds(key, now_seconds);
        // What has expired does not forbid absence, because what it deleted may have been forgotten. But an older version that
        // is there was not forgotten, and may be found although the newer one is gone: records are deleted in any order.
        let is_older = |version: Version| version < lower || (version < newest && !version.is_zero());
        let mut consult = BTreeSet::new();
        let mut is_gone = false;

        for (version, previous) in [(head.current.version, None), (head.previous.version(), Some(&head.previous))] {
            if is_older(version) {
                is_gone = true;
                break;
            }
            let known = match previous {
                None => known(&head.current, key, records, now_seconds),
                Some(Previous::Inline(entry)) => known(entry, key, records, now_seconds),
                Some(Previous::InRecord(version)) => recorded(*version, key, records),
            };
            match known {
                Known::Entry(entry) if self.admits(&entry, now_seconds) => {
                    if consult.is_empty() {
                        return Choice::Accept(entry);
                    }
                    // Good, but a newer one may be: its cowritten list comes first.
                    return Choice::Consult(consult);
                }
                Known::Entry(_) => {}
                // It has expired, so everybody sees it or something newer (R-READ-6): nothing behind it may be seen.
                Known::Gone => {
                    is_gone = true;
                    break;
                }
                Known::Missing => {
                    consult.insert(version.transaction());
                    if self.is_empty() {
                        return Choice::Consult(consult);
                    }
                }
            }
            if version.is_zero() {
                break;
            }
        }

        if !lower.is_zero() && lower == newest {
            // Whatever was read at the lower bound came with this very write of `key`, so it always fits.
            match recorded(lower, key, records) {
                Known::Missing => {
                    consult.insert(lower.transaction());
                    return Choice::Consult(consult);
                }
                Known::Entry(entry) => return Choice::Accept(entry),
                Known::Gone => {}
            }
        }

        let is_hidden = is_gone;
        let older = || head.older.iter().take_while(|version| !is_hidden && !version.is_zero() && !is_older(**version));
        consult.extend(older().map(Version::transaction).filter(|id| !records.contains_key(id)));
        if !consult.is_empty() {
            return Choice::Consult(consult);
        }
        for version in older() {
            match recorded(*version, key, records) {
                Known::Entry(entry) if self.admits(&entry, now_seconds) => return Choice::Accept(entry),
                Known::Entry(_) => {}
                Known::Missing | Known::Gone => return Choice::Conflict,
            }
        }
        is_gone |= head.older.iter().any(|version| !version.is_zero() && is_older(*version));
        // "Absent" would be older than a version that was there and cannot be had, or be seen, any more.
        let was_absent = lower.is_zero() && head.reaches_birth() && !is_gone;
        if was_absent { Choice::Accept(Entry::absent()) } else { Choice::Conflict }
    }
}

/// R-READ-2 where the value was forgotten: exactly the version that was read, from wherever it is to be had.
fn again(read: &Entry, key: &Key, head: &Head, records: &Records) -> Choice {
    let with_value = |found: Entry| Choice::Accept(Entry { value: found.value, ..read.clone() });
    let previous = match &head.previous {
        Previous::Inline(entry) => Some(entry),
        Previous::InRecord(_) => None,
    };
    let is_it = |found: &&Entry| found.version == read.version;
    if let Some(found) = std::iter::once(&head.current).chain(previous).find(is_it) {
        return with_value(found.clone());
    }
    match recorded(read.version, key, records) {
        Known::Entry(found) => with_value(found),
        Known::Missing => Choice::Consult(BTreeSet::from([read.version.transaction()])),
        Known::Gone => Choice::Conflict,
    }
}

/// `entry` with its cowritten list, from its record if need be. A record that has expired, or is gone, no longer constrains
/// (R-READ-6).
fn known(entry: &Entry, key: &Key, records: &Records, now_seconds: u64) -> Known {
    if entry.cowritten != Cowritten::InRecord {
        return Known::Entry(entry.clone());
    }
    let alone = || Known::Entry(Entry { cowritten: Cowritten::none(), ..entry.clone() });
    if entry.has_expired(now_seconds) {
        return alone();
    }
    match recorded(entry.version, key, records) {
        Known::Gone => alone(),
        known @ (Known::Entry(_) | Known::Missing) => known,
    }
}

/// This version of `key`, from its record.
fn recorded(version: Version, key: &Key, records: &Records) -> Known {
    match records.get(&version.transaction()) {
        None => Known::Missing,
        Some(record) => {
            let entry = record.as_ref().and_then(|record| record.entry(key));
            entry.filter(|entry| entry.version == version).map_or(Known::Gone, Known::Entry)
        }
    }
}

#[cfg(test)]
mod tests;
