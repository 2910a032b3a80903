//! What is noted of a history: every attempt, step by step, and what each was told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fmt::Write;
use std::time::Duration;

use aft_protocol::isolation::Isolation;
use aft_protocol::key::Key;
use aft_protocol::version::Version;

/// A promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// Who found it, and which rule it is.
    pub rule: &'static str,
    /// What was found.
    pub what: String,
}

impl Breach {
    /// A breach of this rule.
    pub fn of(rule: &'static str, what: impl Into<String>) -> Self {
        Self { rule, what: what.into() }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.what)
    }
}

/// How an attempt ended, as far as it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It has taken place.
    Committed,
    /// For certain without a trace.
    Aborted,
    /// Nothing, or nothing definite.
    Nothing,
}

/// One thing that an attempt did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Did {
    /// It read a key.
    Read {
        /// Which.
        key: Key,
        /// At which version; `None`: its own write.
        version: Option<Version>,
        /// The name of the write whose value it was; `None`: there was no value.
        name: Option<String>,
    },
    /// It wrote a key, or deleted it.
    Wrote {
        /// Which.
        key: Key,
        /// The name of the write.
        name: String,
        /// Whether there is a value.
        is_deletion: bool,
    },
}

/// An attempt.
#[derive(Debug, Clone)]
pub struct Attempted {
    /// The place.
    pub process: u32,
    /// The era: 0, or 1 after everything of before has expired.
    pub era: usize,
    /// At what.
    pub transaction: u128,
    /// Which.
    pub number: u32,
    /// What it was promised.
    pub isolation: Isolation,
    /// The moment before its first request.
    pub began: u64,
    /// The moment at which it was told.
    pub answered: Option<u64>,
    /// What it was told.
    pub told: Told,
    /// What it did.
    pub did: Vec<Did>,
    /// Keys that it wrote on condition of what it had read.
    pub guarded: BTreeSet<Key>,
    /// Names the attempt: its record has it, if there is one.
    pub response: String,
    /// Whether it was acknowledged when everything was visible.
    pub is_visible: bool,
    /// What it has found that cannot be if it has committed.
    pub claims: Vec<Breach>,
}

impl Attempted {
    /// What it read of each key before it wrote it, at first.
    #[must_use]
    pub fn reads(&self) -> BTreeMap<&Key, Version> {
        let (mut reads, mut written) = (BTreeMap::new(), BTreeSet::new());
        for did in &self.did {
            match did {
                Did::Read { key, version, .. } => {
                    if let Some(version) = version.filter(|_| !written.contains(key)) {
                        reads.entry(key).or_insert(version);
                    }
                }
                Did::Wrote { key, .. } => drop(written.insert(key)),
            }
        }
        reads
    }

    /// The keys that it wrote.
    #[must_use]
    pub fn writes(&self) -> BTreeSet<&Key> {
        self.did.iter().filter_map(|did| if let Did::Wrote { key, .. } = did { Some(key) } else { None }).collect()
    }
}

/// What happened, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Attempts.
    pub attempts: u64,
    /// Of these, with a record.
    pub committed: u64,
    /// That were told of a conflict.
    pub conflicts: u64,
    /// Requests answered from the record of an earlier commit.
    pub duplicates: u64,
    /// Processes that died: sandboxes, extensions, fault managers.
    pub deaths: u64,
    /// Audits by transactions that were promised what they check.
    pub audits: u64,
    /// Audits by transactions that were not, and that found what they could not have found otherwise.
    pub unpromised: u64,
    /// Items that expired.
    pub expired: u64,
    /// Reads out of a cache.
    pub hits: u64,
    /// Microseconds that invocations took, all together: time in which somebody was at work.
    pub busy_micros: u64,
}

/// Adds up what is named.
macro_rules! sums {
    ($($field:ident)*) => {
        impl std::ops::AddAssign for Tally {
            fn add_assign(&mut self, other: Self) {
                $(self.$field += other.$field;)*
            }
        }
    };
}

sums! { attempts committed conflicts duplicates deaths audits unpromised expired hits busy_micros }

/// Everything that is noted.
#[derive(Debug, Default)]
pub struct Book {
    /// Every attempt that began.
    pub attempts: Vec<Attempted>,
    /// What callers were answered.
    pub answers: BTreeMap<u128, BTreeSet<String>>,
    /// What was found on the way.
    pub breaches: Vec<Breach>,
    /// Counts.
    pub tally: Tally,
    moments: u64,
    writes: u64,
    /// The era.
    pub era: usize,
    trace: Option<String>,
}

impl Book {
    /// An empty book, with a trace or without.
    #[must_use]
    pub fn new(is_traced: bool) -> Self {
        Self { trace: is_traced.then(String::new), ..Self::default() }
    }

    /// What comes with a smaller number came before.
    pub fn moment(&mut self) -> u64 {
        self.moments += 1;
        self.moments
    }

    /// A moment after all others.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.moments + 1
    }

    /// A name that no other write of this history has.
    pub fn name(&mut self) -> String {
        self.writes += 1;
        format!("w{}", self.writes)
    }

    /// A name for an attempt: all answers of one transaction must be the same.
    pub fn response(&mut self, transaction: u128) -> String {
        self.writes += 1;
        format!("{transaction}/{}", self.writes)
    }

    /// A line of the trace.
    pub fn note(&mut self, at: Duration, what: impl fmt::Display) {
        if let Some(trace) = &mut self.trace {
            // Writing to a string cannot fail.
            let _ = writeln!(trace, "{at:?} {what}");
        }
    }

    /// Notes an attempt that is over.
    pub fn close(&mut self, at: Duration, attempted: Attempted) {
        if self.trace.is_some() {
            self.note(at, format!("{attempted:?}"));
        }
        self.attempts.push(attempted);
    }

    /// A caller got this.
    pub fn answered(&mut self, transaction: u128, response: &[u8]) {
        let response = String::from_utf8_lossy(response).into_owned();
        self.answers.entry(transaction).or_default().insert(response);
    }

    /// The trace so far.
    #[must_use]
    pub fn trace(&self) -> &str {
        self.trace.as_deref().unwrap_or_default()
    }
}
