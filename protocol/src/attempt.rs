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
//! In [`Isolation::Serializable`] it insists on all that it has read; under a precondition, in either mode, on the key that it is
//! about.
//!
//! Nothing leaves this struct before [`Attempt::start_commit`]: there are no dirty reads (R-READ-2) and no traces of a
//! failed attempt (R-COMMIT-8), because there is nothing to see.

use std::collections::BTreeMap;

use crate::atomic_read::{Choice, ReadSet, Records};
use crate::head::{Entry, Head};
use crate::id::{AttemptNumber, Fingerprint, TransactionId};
use crate::isolation::{Guards, Isolation};
use crate::key::Key;
use crate::limits;
use crate::record::Writes;
use crate::step::Step;
use crate::value::Value;
use crate::version::Version;

pub use refusal::Refusal;

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

/// What an attempt hands out to be committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// What it writes; empty after [`Attempt::discard`].
    pub writes: Writes,
    /// What it insists on (R-SER-1, R-SER-5).
    pub guards: Guards,
    /// What is there of the keys that it insists on and does not write, in bytes.
    pub checked_bytes: usize,
    /// Whether all of it is known to have been so at one moment (R-SER-3).
    pub is_proven: bool,
    /// Whether all heads move in one step with the record.
    pub isolation: Isolation,
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
    isolation: Isolation,
    phase: Phase,
    reads: ReadSet,
    /// The read that doomed it.
    doom: Option<(Key, Version)>,
    /// The versions that several keys had at one moment, when the attempt began to read with them.
    at_once: Guards,
    /// What the item of each key that was read takes, in bytes.
    items: BTreeMap<Key, usize>,
    /// All that was read or written in [`Isolation::Serializable`]; otherwise what was written under a precondition.
    step: Step,
    writes: Writes,
    write_numbers: BTreeMap<Key, u64>,
    write_count: u64,
    buffered_bytes: usize,
}

impl Attempt {
    /// An attempt that has done nothing yet.
    #[must_use]
    pub fn new(identity: Identity, isolation: Isolation) -> Self {
        Self {
            identity,
            isolation,
            phase: Phase::Open,
            reads: ReadSet::default(),
            doom: None,
            at_once: Guards::new(),
            items: BTreeMap::new(),
            step: Step::default(),
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

    /// What concurrent transactions may do to it.
    #[must_use]
    pub fn isolation(&self) -> Isolation {
        self.isolation
    }

    /// The key whose read doomed the attempt, and the newest version of it then.
    #[must_use]
    pub fn doom(&self) -> Option<(&Key, Version)> {
        self.doom.as_ref().map(|(key, newest)| (key, *newest))
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

    /// Whether these keys may be read, as far as their number goes.
    ///
    /// # Errors
    /// [`Refusal::NotOpen`], [`Refusal::TooManyGuarded`].
    pub fn check_reads<'k>(&self, keys: impl Iterator<Item = &'k Key>) -> Result<(), Refusal> {
        self.check_open()?;
        match self.isolation {
            Isolation::ReadAtomic => Ok(()),
            Isolation::Serializable => self.step.check_number(keys),
        }
    }

    /// Whether it insists on all that it will read, and has read nothing yet.
    #[must_use]
    pub fn begins_serializable(&self) -> bool {
        self.isolation.is_serializable() && self.reads.is_empty()
    }

    /// These heads were there at one moment, and are what the attempt begins to read with.
    pub fn begin_with(&mut self, heads: &BTreeMap<Key, Head>) {
        self.at_once = heads.iter().map(|(key, head)| (key.clone(), head.current.version)).collect();
    }

    /// Reads `key` at this time (since the epoch), given its head and the records looked up so far. An accepted entry joins the
    /// read set; a conflict dooms the attempt. So does, where the commit would insist on it, a version that is not the head's
    /// any more (R-SER-1).
    ///
    /// # Errors
    /// [`Refusal::NotOpen`], [`Refusal::TooManyGuarded`], [`Refusal::TooManyGuardedBytes`].
    pub fn read(&mut self, key: &Key, head: &Head, records: &Records, now_seconds: u64) -> Result<Choice, Refusal> {
        self.check_reads(std::iter::once(key))?;
        let choice = match self.reads.read(key, head, records, now_seconds) {
            Choice::Accept(entry) if self.is_outdated(&entry, head) => Choice::Conflict,
            choice => choice,
        };
        match &choice {
            Choice::Accept(entry) => self.accept(key, entry, head)?,
            Choice::Conflict => {
                self.phase = Phase::Doomed;
                self.doom = Some((key.clone(), head.current.version));
            }
            Choice::Consult(_) => {}
        }
        Ok(choice)
    }

    /// Reads `key` at this time (since the epoch), given a head that may be stale: an accepted entry joins the read set, by the same rule. `None`, and
    /// nothing changes, where it takes more than this head: an old one must not doom the attempt.
    ///
    /// # Errors
    /// [`Refusal::NotOpen`], [`Refusal::TooManyGuarded`], [`Refusal::TooManyGuardedBytes`].
    pub fn read_stale(&mut self, key: &Key, head: &Head, now_seconds: u64) -> Result<Option<Entry>, Refusal> {
        self.check_reads(std::iter::once(key))?;
        let Choice::Accept(entry) = self.reads.read(key, head, &Records::new(), now_seconds) else { return Ok(None) };
        if self.is_outdated(&entry, head) {
            return Ok(None);
        }
        self.accept(key, &entry, head)?;
        Ok(Some(entry))
    }

    fn accept(&mut self, key: &Key, entry: &Entry, head: &Head) -> Result<(), Refusal> {
        let bytes = head.item_bytes(key);
        if self.isolation.is_serializable() {
            self.step.read(key, bytes)?;
        }
        self.items.insert(key.clone(), bytes);
        self.reads.insert(key.clone(), entry.clone());
        Ok(())
    }

    fn is_outdated(&self, entry: &Entry, head: &Head) -> bool {
        self.isolation.is_serializable() && entry.version < head.current.version
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
        let in_step = writes.iter().filter(|(key, _)| self.is_in_step(key));
        self.step.check_writes(in_step.map(|(key, value)| (key, size(key, value.as_ref()))))?;
        Ok(bytes)
    }

    /// Buffers writes: all of them or, if they are refused, none.
    ///
    /// # Errors
    /// [`Refusal::NotOpen`]; [`Refusal::TooLarge`] or [`Refusal::TooManyKeys`] (R-COMMIT-9).
    pub fn write(&mut self, writes: Writes) -> Result<(), Refusal> {
        self.buffered_bytes = self.bytes_after(&writes)?;
        for (key, value) in writes {
            if self.is_in_step(&key) {
                self.step.write(&key, size(&key, value.as_ref()));
            }
            self.write_count += 1;
            self.write_numbers.insert(key.clone(), self.write_count);
            self.writes.insert(key, value);
        }
        Ok(())
    }

    /// Buffers a write that depends on what was read of its key: the commit insists on that version (R-SER-5). A key that was not
    /// read is this attempt's own, and there is nothing to insist on.
    ///
    /// # Errors
    /// As for [`Self::write`], and [`Refusal::TooManyGuarded`].
    pub fn write_guarded(&mut self, key: Key, value: Option<Value>) -> Result<(), Refusal> {
        self.check_open()?;
        let new = self.items.get(&key).filter(|_| !self.is_in_step(&key));
        if let Some(bytes) = new.copied() {
            self.step.read(&key, bytes)?;
            let written = self.write(Writes::from([(key.clone(), value)]));
            if written.is_err() {
                self.step.remove(&key);
            }
            return written;
        }
        self.write(Writes::from([(key, value)]))
    }

    /// Whether a write of this key is committed in one step with the record.
    fn is_in_step(&self, key: &Key) -> bool {
        self.isolation.is_serializable() || self.step.contains(key)
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

    /// Fixes the writes and hands them out to be committed, with what the commit insists on.
    ///
    /// # Errors
    /// [`Refusal::NotOpen`] if the attempt is doomed, or already committing or closed.
    pub fn start_commit(&mut self) -> Result<Intent, Refusal> {
        match self.phase {
            Phase::Open | Phase::Discarded => {
                self.phase = Phase::Committing;
                let isolation = self.isolation;
                let (guards, checked_bytes) = (self.guards(), self.step.checked_bytes(&self.writes));
                // A single key always was.
                let was_at_once = |(key, version): (&Key, &Version)| self.at_once.get(key) == Some(version);
                let is_proven = guards.len() < 2 || guards.iter().all(was_at_once);
                Ok(Intent { guards, checked_bytes, is_proven, writes: std::mem::take(&mut self.writes), isolation })
            }
            phase @ (Phase::Doomed | Phase::Committing | Phase::Closed) => Err(Refusal::NotOpen(phase)),
        }
    }

    fn guards(&self) -> Guards {
        let read = self.reads.versions().filter(|(key, _)| self.is_in_step(key));
        read.map(|(key, version)| (key.clone(), version)).collect()
    }

    /// Ends the attempt, whatever it was doing; what it buffered is dropped (R-COMMIT-8).
    pub fn close(&mut self) {
        self.drop_buffer();
        self.phase = Phase::Closed;
    }

    fn drop_buffer(&mut self) {
        self.writes.clear();
        self.step = Step::default();
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

mod refusal;
#[cfg(test)]
mod tests;
