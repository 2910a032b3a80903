//! What is noted of a history: every attempt, what it read and was told; and the same as JSON lines for checkers that are not
//! ours (`docs/histories.md`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use aft_protocol::isolation::Isolation;
use aft_protocol::key::Key;
use aft_protocol::record::CommitRecord;
use aft_protocol::version::Version;
use serde_json::json;

use crate::cycles::Node;
use crate::support::Breaches;

/// How an attempt ended, as far as it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Committed,
    /// For certain without a trace.
    Aborted,
    Unknown,
}

/// An attempt.
#[derive(Debug, Clone)]
pub struct Attempted {
    pub process: u64,
    pub transaction: u128,
    pub number: u32,
    pub isolation: Isolation,
    pub began: u64,
    /// When it was told; `None`: never.
    pub answered: Option<u64>,
    pub outcome: Outcome,
    pub reads: BTreeMap<Key, Version>,
    pub writes: BTreeSet<Key>,
    /// Those that were written on condition of what was read.
    pub guarded: BTreeSet<Key>,
    /// Names the attempt: its record has it, if there is one.
    pub response: String,
    /// What an audit has found in all accounts together.
    pub sum: Option<i64>,
}

impl Attempted {
    /// Whether the record is this attempt's.
    pub fn wrote(&self, record: &CommitRecord) -> bool {
        record.response.body == self.response.as_bytes()
    }

    /// Whether it committed without writing anything.
    fn only_read(&self) -> bool {
        self.outcome == Outcome::Committed && self.writes.is_empty()
    }

    /// Whether it may be older than its beginning: a single key needs no proof (R-SER-3).
    fn may_be_old(&self) -> bool {
        self.writes.is_empty() && self.reads.len() < 2
    }

    /// As a committed transaction, as far as keys of this kind go.
    pub fn node(&self, record: Option<&CommitRecord>, counts: impl Fn(&Key) -> bool) -> Node {
        let reads = self.reads.iter().filter(|(key, _)| counts(key));
        Node {
            name: format!("{}#{}@{}", self.transaction, self.number, self.process),
            began: self.began,
            answered: self.answered.filter(|_| self.outcome == Outcome::Committed),
            reads: reads.map(|(key, version)| (key.clone(), *version)).collect(),
            version: record.map(|record| record.version),
            writes: self.writes.iter().filter(|key| counts(key)).cloned().collect(),
            may_be_old: self.may_be_old(),
        }
    }
}

#[derive(Default)]
pub struct History {
    pub attempts: Vec<Attempted>,
    /// Transactions that were delivered, for duplicates.
    pub delivered: Vec<u128>,
    /// What callers were answered.
    pub answers: BTreeMap<u128, BTreeSet<String>>,
    /// Of every sandbox.
    pub breaches: Vec<Breaches>,
    /// What comes with a smaller number came before.
    pub moments: u64,
    pub conflicts: usize,
    /// The most attempts that one invocation needed.
    pub longest: u32,
    pub trace: String,
}

impl History {
    pub fn moment(&mut self) -> u64 {
        self.moments += 1;
        self.moments
    }

    /// Every attempt that has committed, by what the store has of it, and its record if it left one. A duplicate delivery that
    /// was answered from the record has done nothing.
    pub fn committed<'h>(&'h self, records: &'h [CommitRecord]) -> Vec<(&'h Attempted, Option<&'h CommitRecord>)> {
        let with_record = self.attempts.iter().map(|attempted| {
            let record = records.iter().find(|record| attempted.wrote(record));
            (attempted, record)
        });
        with_record.filter(|(attempted, record)| record.is_some() || attempted.only_read()).collect()
    }

    /// Writes the history for others to judge. What became of unknown outcomes is known by now.
    pub fn write(&self, path: &Path, records: &[CommitRecord]) {
        let mut lines = String::new();
        for attempted in &self.attempts {
            let record = records.iter().find(|record| attempted.wrote(record));
            let committed = record.is_some() || attempted.only_read();
            let outcome = if committed { "committed" } else { "aborted" };
            let version = |version: Version| (!version.is_zero()).then(|| version.to_string());
            let ended =
                attempted.answered.filter(|_| attempted.outcome != Outcome::Unknown).unwrap_or(self.moments + 1);
            let reads = attempted.reads.iter().map(|(key, at)| json!({"key": key.as_str(), "version": version(*at)}));
            let line = json!({
                "process": attempted.process,
                "transaction": attempted.transaction.to_string(),
                "attempt": attempted.number,
                "outcome": outcome,
                "isolation": attempted.isolation.as_str(),
                "began": if committed && attempted.may_be_old() { 0 } else { attempted.began },
                "ended": ended,
                "reads": reads.collect::<Vec<_>>(),
                "writes": attempted.writes.iter().map(Key::as_str).collect::<Vec<_>>(),
                "version": record.and_then(|record| version(record.version)).filter(|_| !attempted.writes.is_empty()),
            });
            lines += &format!("{line}\n");
        }
        fs::write(path, lines).unwrap();
    }
}
