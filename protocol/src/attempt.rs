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
    write_numbers: std::collections::BTreeMap<Key, u64>,
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
            write_numbers: std::collections::BTreeMap::new(),
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

    /// What this attempt already knows of `key`: its own write (read your writes), or what it has read (repeatable
    /// reads). `None`: ask the store.
    ///
    /// # Errors
    /// [`Refusal::NotOpen`].
    pub fn recall(&self, key: &Key) -> Result<Option<Seen>, Refusal> {
        self.check_open()?;
        if let Some(value) = self.writes.get(key) {
            let number = self.write_numbers.get(key).copied().unwrap_or_default();
            return Ok(Some(Seen::Written(value.clone(), number)));
        }
        Ok(self.reads.get(key).cloned().map(Seen::Read))
    }

    /// Reads `key`, given its head and the records looked up so far. An accepted entry joins the read set; a conflict
    /// dooms the attempt.
    ///
    /// # Errors
    /// [`Refusal::NotOpen`].
    pub fn read(&mut self, key: &Key, head: &Head, records: &Records) -> Result<Choice, Refusal> {
        self.check_open()?;
        let choice = match self.reads.get(key) {
            Some(entry) => return Ok(Choice::Accept(entry.clone())),
            None => self.reads.choose(key, head, records),
        };
        match &choice {
            Choice::Accept(entry) => self.reads.insert(key.clone(), entry.clone()),
            Choice::Conflict => self.phase = Phase::Doomed,
            Choice::Consult(_) => {}
        }
        Ok(choice)
    }

    /// Buffers writes: all of them or, if they are refused, none.
    ///
    /// # Errors
    /// [`Refusal::NotOpen`], or [`Refusal::TooLarge`] (R-COMMIT-9).
    pub fn write(&mut self, writes: Writes) -> Result<(), Refusal> {
        self.check_open()?;
        let mut bytes = self.buffered_bytes;
        for (key, value) in &writes {
            bytes += size(key, value.as_ref());
            bytes -= self.writes.get(key).map_or(0, |old| size(key, old.as_ref()));
        }
        if bytes > limits::TRANSACTION_BYTES {
            return Err(Refusal::TooLarge { bytes });
        }
        self.buffered_bytes = bytes;
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
    key.as_str().len() + value.map_or(0, |value| value.bytes().len() + value.content_type().as_str().len())
}
