//! One attempt at a transaction: what it read, what it would write, and whether it may still do so.
//!
//! ```text
//!            read, write                    commit            outcome
//!   begin ──► Open ─────────────────────────► Committing ─────► Closed
//!              │  ▲                               │  conflict     ▲
//!              │  └ (every operation)             └───────────────┤
//!              ├── no compatible version ──► Doomed ── abort ─────┤
//!              ├── the handler says abort ─► Discarded ─ commit ──┤ (nothing is written)
//!              └── error, crash, time-out ── abort ───────────────┘ (nothing is written: R-COMMIT-8)
//! ```
//!
//! Nothing leaves this struct before [`Attempt::start_commit`]: there are no dirty reads (R-READ-2) and no traces of a
//! failed attempt (R-COMMIT-8), because there is nothing to see.

use std::collections::BTreeMap;

use crate::atomic_read::{Choice, ReadSet, Records};
use crate::head::{Entry, Head};
use crate::id::{AttemptNumber, Fingerprint, TransactionId};
use crate::key::Key;
use crate::limits;
use crate::record::Writes;
use crate::value::Value;

/// What an attempt is about; it does not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The transaction.
    pub transaction: TransactionId,
    /// Which attempt at it.
    pub number: AttemptNumber,
    /// The event.
    pub fingerprint: Fingerprint,
    /// For people: function and request.
    pub origin: String,
}

/// Where an attempt is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Reads and writes are welcome.
    Open,
    /// A read found no compatible version: only an abort can follow.
    Doomed,
    /// The handler asked to write nothing; the response will be released.
    Discarded,
    /// The writes are fixed.
    Committing,
    /// It is over.
    Closed,
}

/// Why an operation was refused. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The attempt takes no more operations.
    #[error("the attempt takes no more operations: it is {0:?}")]
    NotOpen(Phase),
    /// R-COMMIT-9: refused at the write, not at the commit.
    #[error(
        "the transaction would buffer {bytes} bytes of keys and values; at most {} are allowed",
        limits::TRANSACTION_BYTES
    )]
    TooLarge {
        /// What it would have buffered.
        bytes: usize,
    },
    /// R-COMMIT-9, likewise.
    #[error("the transaction would write {keys} keys; at most {} are allowed", limits::TRANSACTION_KEYS)]
    TooManyKeys {
        /// What it would have written.
        keys: usize,
    },
}

/// What an attempt sees of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Its own write; the number tells apart this attempt's writes.
    Written(Option<Value>, u64),
    /// What it read from the store.
    Read(Entry),
}

impl Seen {
    /// The value, or `None` if the key does not exist.
    #[must_use]
    pub fn value(&self) -> Option<&Value> {
        match self {
            Self::Written(value, _) => value.as_ref(),
            Self::Read(entry) => entry.value.as_ref(),
        }
    }

    /// The entity tag of what was seen, without quotes; `None` if the key does not exist.
    #[must_use]
    pub fn etag(&self) -> Option<String> {
        self.value()?;
        Some(match self {
            Self::Written(_, number) => format!("uncommitted-{number}"),
            Self::Read(entry) => entry.version.to_string(),
        })
    }
}

/// One attempt.
#[derive(Debug)]
pub struct Attempt {
    identity: Identity,
    phase: Phase,
    reads: ReadSet,
    writes: Writes,
    write_numbers: BTreeMap<Key, u64>,
    write_count: u64,
    buffered_bytes: usize,
}

impl Attempt {
    /// An attempt that has done nothing yet.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            phase: Phase::Open,
            reads: ReadSet::default(),
            writes: Writes::new(),
            write_numbers: BTreeMap::new(),
            write_count: 0,
            buffered_bytes: 0,
        }
    }

    /// What this attempt is about.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Where it is in its life.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Keys read from the store.
    #[must_use]
    pub fn reads(&self) -> usize {
        self.reads.len()
    }

    /// Keys that would be written.
    #[must_use]
    pub fn writes(&self) -> usize {
        self.writes.len()
    }

    /// Bytes of keys and values in the write buffer.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.buffered_bytes
    }

    /// Bytes of the values that are kept of what was read.
    #[must_use]
    pub fn read_bytes(&self) -> usize {
        self.reads.bytes()
    }

    /// Forgets the values that were read least recently, until so many bytes are kept.
    pub fn keep_at_most(&mut self, bytes: usize) {
        self.reads.keep_at_most(bytes);
    }

    /// The keys that were read.
    pub fn keys_read(&self) -> impl Iterator<Item = &Key> {
        self.reads.keys()
    }

    /// What this attempt already knows of `key`: its own write (read your writes), or what it has read (repeatable
    /// reads). `None`: ask the store.
    ///
    /// # Errors
    /// [`Refusal::NotOpen`].
    pub fn recall(&mut self, key: &Key) -> Result<Option<Seen>, Refusal> {
        self.check_open()?;
        if let Some(written) = self.written(key) {
            return Ok(Some(written));
        }
        self.reads.touch(key);
        Ok(self.reads.get(key).cloned().map(Seen::Read))
    }

    /// The entity tag of what this attempt sees of `key`, as far as it has asked; without quotes, `None` if the key does
    /// not exist.
    ///
    /// # Errors
    /// [`Refusal::NotOpen`].
    pub fn etag(&self, key: &Key) -> Result<Option<String>, Refusal> {
        self.check_open()?;
        if let Some(written) = self.written(key) {
            return Ok(written.etag());
        }
        Ok(self.reads.existing(key).map(|version| version.to_string()))
    }

    fn written(&self, key: &Key) -> Option<Seen> {
        let value = self.writes.get(key)?;
        let number = self.write_numbers.get(key).copied().unwrap_or_default();
        Some(Seen::Written(value.clone(), number))
    }

    /// Reads `key` at this time (since the epoch), given its head and the records looked up so far. An accepted entry joins the
    /// read set; a conflict dooms the attempt.
    ///
    /// # Errors
    /// [`Refusal::NotOpen`].
    pub fn read(&mut self, key: &Key, head: &Head, records: &Records, now_seconds: u64) -> Result<Choice, Refusal> {
        self.check_open()?;
        let choice = self.reads.read(key, head, records, now_seconds);
        match &choice {
            Choice::Accept(entry) => self.reads.insert(key.clone(), entry.clone()),
            Choice::Conflict => self.phase = Phase::Doomed,
            Choice::Consult(_) => {}
        }
        Ok(choice)
    }

    /// Reads `key` at this time (since the epoch), given a head that may be stale: an accepted entry joins the read set, by the same rule. `None`, and
    /// nothing changes, where it takes more than this head: an old one must not doom the attempt.
    ///
    /// # Errors
    /// [`Refusal::NotOpen`].
    pub fn read_stale(&mut self, key: &Key, head: &Head, now_seconds: u64) -> Result<Option<Entry>, Refusal> {
        self.check_open()?;
        let Choice::Accept(entry) = self.reads.read(key, head, &Records::new(), now_seconds) else { return Ok(None) };
        self.reads.insert(key.clone(), entry.clone());
        Ok(Some(entry))
    }

    /// How many bytes would be buffered after these writes.
    ///
    /// # Errors
    /// As for [`Self::write`].
    pub fn bytes_after(&self, writes: &Writes) -> Result<usize, Refusal> {
        self.check_open()?;
        let mut bytes = self.buffered_bytes;
        for (key, value) in writes {
            bytes += size(key, value.as_ref());
            bytes -= self.writes.get(key).map_or(0, |old| size(key, old.as_ref()));
        }
        if bytes > limits::TRANSACTION_BYTES {
            return Err(Refusal::TooLarge { bytes });
        }
        let keys = self.writes.len() + writes.keys().filter(|key| !self.writes.contains_key(key)).count();
        if keys > limits::TRANSACTION_KEYS {
            return Err(Refusal::TooManyKeys { keys });
        }
        Ok(bytes)
    }

    /// Buffers writes: all of them or, if they are refused, none.
    ///
    /// # Errors
    /// [`Refusal::NotOpen`]; [`Refusal::TooLarge`] or [`Refusal::TooManyKeys`] (R-COMMIT-9).
    pub fn write(&mut self, writes: Writes) -> Result<(), Refusal> {
        self.buffered_bytes = self.bytes_after(&writes)?;
        for (key, value) in writes {
            self.write_count += 1;
            self.write_numbers.insert(key.clone(), self.write_count);
            self.writes.insert(key, value);
        }
        Ok(())
    }

    /// The handler asks to write nothing: the write buffer is dropped and no further operation is taken.
    ///
    /// # Errors
    /// [`Refusal::NotOpen`].
    pub fn discard(&mut self) -> Result<(), Refusal> {
        self.check_open()?;
        self.drop_buffer();
        self.phase = Phase::Discarded;
        Ok(())
    }

    /// Fixes the writes and hands them out to be committed; empty after [`Self::discard`].
    ///
    /// # Errors
    /// [`Refusal::NotOpen`] if the attempt is doomed, or already committing or closed.
    pub fn start_commit(&mut self) -> Result<Writes, Refusal> {
        match self.phase {
            Phase::Open | Phase::Discarded => {
                self.phase = Phase::Committing;
                Ok(std::mem::take(&mut self.writes))
            }
            phase @ (Phase::Doomed | Phase::Committing | Phase::Closed) => Err(Refusal::NotOpen(phase)),
        }
    }

    /// Ends the attempt, whatever it was doing; what it buffered is dropped (R-COMMIT-8).
    pub fn close(&mut self) {
        self.drop_buffer();
        self.phase = Phase::Closed;
    }

    fn drop_buffer(&mut self) {
        self.writes.clear();
        self.write_numbers.clear();
        self.buffered_bytes = 0;
    }

    fn check_open(&self) -> Result<(), Refusal> {
        match self.phase {
            Phase::Open => Ok(()),
            phase @ (Phase::Doomed | Phase::Discarded | Phase::Committing | Phase::Closed) => {
                Err(Refusal::NotOpen(phase))
            }
        }
    }
}

fn size(key: &Key, value: Option<&Value>) -> usize {
    key.as_str().len() + value.map_or(0, Value::weight)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Attempt, Identity, Phase, Refusal, Seen};
    use crate::atomic_read::Records;
    use crate::head::{Cowritten, Entry, Head, Keep, Move};
    use crate::id::{AttemptNumber, Fingerprint, TransactionId};
    use crate::key::Key;
    use crate::limits;
    use crate::record::Writes;
    use crate::value::{ContentType, Value};
    use crate::version::{Timestamp, Version};

    /// In seconds since the epoch.
    const NOW: u64 = 1_000_000;
    const EXPIRES: u64 = 2_000_000;

    fn attempt() -> Attempt {
        Attempt::new(Identity {
            transaction: TransactionId::from_bits(1),
            number: AttemptNumber::FIRST,
            fingerprint: Fingerprint::of(b"{}"),
            origin: "test/r-1".to_owned(),
        })
    }

    fn key(text: &str) -> Key {
        Key::new(text).unwrap()
    }

    fn write(text: &str, bytes: usize) -> Writes {
        let value = Value::new(vec![0; bytes], ContentType::new("a/b").unwrap()).unwrap();
        Writes::from([(key(text), Some(value))])
    }

    /// R-COMMIT-9: refused at the write, with nothing changed; overwriting gives room back.
    #[test]
    fn a_write_over_the_limit_changes_nothing() {
        let mut attempt = attempt();
        let most = limits::TRANSACTION_BYTES / limits::VALUE_BYTES;
        for n in 0..most {
            attempt.write(write(&n.to_string(), limits::VALUE_BYTES)).unwrap();
        }
        let before = attempt.buffered_bytes();
        attempt.write(write("a", 64_000)).unwrap();
        assert!(matches!(attempt.write(write("b", 2_000)), Err(Refusal::TooLarge { .. })));
        assert_eq!(attempt.recall(&key("b")), Ok(None));
        attempt.write(write("a", 0)).unwrap();
        assert_eq!(attempt.buffered_bytes(), before + "a".len() + "a/b".len());
        attempt.write(write("b", 2_000)).unwrap();
    }

    /// R-COMMIT-9 for many small keys.
    #[test]
    fn a_transaction_writes_a_limited_number_of_keys() {
        let mut attempt = attempt();
        let keys = |range: std::ops::Range<usize>| range.map(|n| (key(&n.to_string()), None)).collect::<Writes>();
        attempt.write(keys(0..limits::TRANSACTION_KEYS)).unwrap();
        attempt.write(keys(0..1)).unwrap();
        let one_more = attempt.write(keys(limits::TRANSACTION_KEYS..limits::TRANSACTION_KEYS + 1));
        assert_eq!(one_more, Err(Refusal::TooManyKeys { keys: limits::TRANSACTION_KEYS + 1 }));
    }

    /// R-COMMIT-8: what was buffered is gone with the attempt, and a closed attempt takes nothing.
    #[test]
    fn a_closed_attempt_has_nothing_and_takes_nothing() {
        let mut attempt = attempt();
        attempt.write(write("a", 1)).unwrap();
        attempt.close();
        assert_eq!((attempt.writes(), attempt.buffered_bytes()), (0, 0));
        assert_eq!(attempt.write(write("a", 1)), Err(Refusal::NotOpen(Phase::Closed)));
        assert_eq!(attempt.recall(&key("a")), Err(Refusal::NotOpen(Phase::Closed)));
        assert_eq!(attempt.start_commit(), Err(Refusal::NotOpen(Phase::Closed)));
    }

    #[test]
    fn the_writes_leave_once() {
        let mut attempt = attempt();
        attempt.write(write("a", 1)).unwrap();
        assert_eq!(attempt.start_commit().unwrap().len(), 1);
        assert_eq!(attempt.start_commit(), Err(Refusal::NotOpen(Phase::Committing)));
    }

    #[test]
    fn each_own_write_has_an_etag_of_its_own() {
        let mut attempt = attempt();
        let mut etags = Vec::new();
        for _ in 0..2 {
            attempt.write(write("a", 1)).unwrap();
            etags.push(attempt.recall(&key("a")).unwrap().and_then(|seen| seen.etag()));
        }
        assert_ne!(etags[0], etags[1]);
        attempt.write(Writes::from([(key("a"), None)])).unwrap();
        assert!(matches!(attempt.recall(&key("a")), Ok(Some(Seen::Written(None, 3)))));
    }

    fn entry(micros: u64, cowritten: &[&str]) -> Entry {
        let value = Value::new(micros.to_string(), ContentType::default()).unwrap();
        let version = Version::new(Timestamp::from_micros(micros), TransactionId::from_bits(micros.into()));
        let cowritten = Cowritten::Keys(Arc::new(cowritten.iter().map(|text| key(text)).collect()));
        Entry { version, value: Some(value), cowritten, record_expires_at_seconds: EXPIRES }
    }

    /// The head of a key with this history.
    fn head(entries: &[&Entry]) -> Head {
        entries.iter().fold(Head::absent(), |head, entry| match head.moved_to((*entry).clone(), Keep::Inline) {
            Move::To(moved) => *moved,
            refused @ (Move::NotNewer | Move::RecordExpires) => panic!("{refused:?}"),
        })
    }

    /// R-READ-5: a stale head is read by the same rule, and where it does not fit it dooms nothing.
    #[test]
    fn a_stale_head_is_accepted_or_passed_over() {
        let mut attempt = attempt();
        let (old, new) = (entry(1, &["b"]), entry(2, &["b"]));
        assert_eq!(attempt.read_stale(&key("a"), &head(&[&new]), NOW), Ok(Some(new.clone())));
        assert_eq!(attempt.read_stale(&key("b"), &head(&[&old]), NOW), Ok(None), "b was written with the newer a");
        assert_eq!(attempt.phase(), Phase::Open);
        assert_eq!(attempt.recall(&key("b")), Ok(None), "nothing was read");
        assert_eq!(attempt.read_stale(&key("b"), &head(&[&old, &new]), NOW), Ok(Some(new)));
        attempt.close();
        assert_eq!(attempt.read_stale(&key("a"), &Head::absent(), NOW), Err(Refusal::NotOpen(Phase::Closed)));
    }

    /// A precondition does not need the value: the tag of what was read outlives it.
    #[test]
    fn a_forgotten_value_keeps_its_etag() {
        let mut attempt = attempt();
        let read = entry(1, &[]);
        attempt.read(&key("a"), &head(&[&read]), &Records::new(), NOW).unwrap();
        attempt.read(&key("absent"), &Head::absent(), &Records::new(), NOW).unwrap();
        for n in 0..=limits::READ_SET_BYTES / limits::VALUE_BYTES {
            let value = Value::new(vec![0; limits::VALUE_BYTES], ContentType::default()).unwrap();
            let large = Entry { value: Some(value), ..entry(10, &[]) };
            attempt.read(&key(&format!("large-{n}")), &head(&[&large]), &Records::new(), NOW).unwrap();
        }
        assert!(attempt.read_bytes() <= limits::READ_SET_BYTES);
        assert_eq!(attempt.recall(&key("a")), Ok(None), "the store is to be asked again");
        assert_eq!(attempt.etag(&key("a")), Ok(Some(read.version.to_string())));
        assert_eq!(attempt.etag(&key("absent")), Ok(None));
        attempt.write(write("a", 1)).unwrap();
        assert_eq!(attempt.etag(&key("a")), Ok(Some("uncommitted-1".to_owned())));
    }
}
