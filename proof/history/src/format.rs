//! Histories as JSON lines: `docs/histories.md`.
//!
//! A file that breaks a rule of the format is refused as a whole: a checker that was fed nonsense has checked nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Its writes took place.
    Committed,
    /// They did not, and never will.
    Aborted,
    /// They may have.
    Unknown,
}

/// What the attempt was promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// `AFT_ISOLATION=serializable`
    Serializable,
    /// `AFT_ISOLATION=read-atomic`
    ReadAtomic,
}

/// What an attempt read of a key, before it wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// Which key.
    pub key: String,
    /// Whose value; `None`: the key did not exist.
    pub version: Option<String>,
}

/// One thing that an attempt did, with what it read or wrote as a name that no two writes share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Step {
    /// It read a key; an own write, too.
    Read {
        /// Which key.
        read: String,
        /// The name of what was there, that of a deletion, too; `None`: nothing was ever there.
        value: Option<String>,
    },
    /// It wrote or deleted a key.
    Write {
        /// Which key.
        write: String,
        /// The name of what it wrote.
        value: String,
    },
}

/// One line: an attempt at a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempt {
    /// The sandbox.
    pub process: u32,
    /// The transaction.
    pub transaction: String,
    /// Which attempt at it.
    pub attempt: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// What it was promised.
    pub isolation: Isolation,
    /// Before its first request.
    pub began: u64,
    /// After its answer, or after it was given up.
    pub ended: u64,
    /// What it read.
    pub reads: Vec<Read>,
    /// The keys that it wrote.
    pub writes: Vec<String>,
    /// The version of all that it wrote.
    pub version: Option<String>,
    /// Everything that it did, in order, if that was noted: `reads` and `writes` are what of it others can see.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
}

impl Attempt {
    /// How checkers call it.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}#{}@{}", self.transaction, self.attempt, self.process)
    }
}

/// No history.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// There is no such file.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    /// A line is no attempt.
    #[error("line {0} is no attempt: {1}")]
    Line(usize, #[source] serde_json::Error),
    /// Nothing is in it.
    #[error("is empty")]
    Empty,
    /// It ended before it began.
    #[error("line {0}: {1} ended before it began")]
    Time(usize, String),
    /// A key twice among the reads or among the writes.
    #[error("line {0}: {1} has a key twice")]
    KeyTwice(usize, String),
    /// A commit without a version.
    #[error("line {0}: {1} wrote, was committed and has no version")]
    NoVersion(usize, String),
    /// Versions name their writer.
    #[error("line {0}: {1} and {2} have the same version")]
    VersionTwice(usize, String, String),
    /// A transaction takes place once.
    #[error("line {0}: {1} and {2} are the same transaction, and both committed writes")]
    CommittedTwice(usize, String, String),
    /// Names of values name their write.
    #[error("line {0}: {1} and {2} have written the same name of a value")]
    ValueTwice(usize, String, String),
    /// What others can see of the steps is something else.
    #[error("line {0}: the steps of {1} are not its reads and writes")]
    Steps(usize, String),
}

/// Reads a file.
///
/// # Errors
/// [`Malformed`]
pub fn read(file: &Path) -> Result<Vec<Attempt>, Malformed> {
    let text = std::fs::read_to_string(file)?;
    let line = |(number, line)| serde_json::from_str(line).map_err(|error| Malformed::Line(number + 1, error));
    let history: Vec<Attempt> = text.lines().enumerate().map(line).collect::<Result<_, _>>()?;
    validate(&history)?;
    Ok(history)
}

/// Writes a file.
///
/// # Errors
/// Of the file system.
pub fn write(file: &Path, history: &[Attempt]) -> std::io::Result<()> {
    let line = |attempt| serde_json::to_string(attempt).map(|line| line + "\n");
    let lines: Vec<String> = history.iter().map(line).collect::<Result<_, _>>()?;
    std::fs::write(file, lines.concat())
}

fn validate(history: &[Attempt]) -> Result<(), Malformed> {
    if history.is_empty() {
        return Err(Malformed::Empty);
    }
    let mut versions: HashMap<&str, String> = HashMap::new();
    let mut committed: HashMap<&str, String> = HashMap::new();
    let mut values: HashMap<&str, String> = HashMap::new();
    for (line, attempt) in (1..).zip(history) {
        let name = attempt.name();
        validate_by_itself(line, attempt)?;
        if let Some(other) = attempt.version.as_ref().and_then(|version| versions.insert(version, name.clone())) {
            return Err(Malformed::VersionTwice(line, other, name));
        }
        // What wrote nothing may have run for each delivery.
        let took_place = attempt.outcome == Outcome::Committed && !attempt.writes.is_empty();
        if let Some(other) = took_place.then(|| committed.insert(&attempt.transaction, name.clone())).flatten() {
            return Err(Malformed::CommittedTwice(line, other, name));
        }
        for step in &attempt.steps {
            if let Step::Write { value, .. } = step
                && let Some(other) = values.insert(value, name.clone())
            {
                return Err(Malformed::ValueTwice(line, other, name));
            }
        }
    }
    Ok(())
}

fn validate_by_itself(line: usize, attempt: &Attempt) -> Result<(), Malformed> {
    if attempt.ended <= attempt.began {
        return Err(Malformed::Time(line, attempt.name()));
    }
    let read: BTreeSet<&String> = attempt.reads.iter().map(|read| &read.key).collect();
    let written: BTreeSet<&String> = attempt.writes.iter().collect();
    if read.len() < attempt.reads.len() || written.len() < attempt.writes.len() {
        return Err(Malformed::KeyTwice(line, attempt.name()));
    }
    if attempt.outcome == Outcome::Committed && !attempt.writes.is_empty() && attempt.version.is_none() {
        return Err(Malformed::NoVersion(line, attempt.name()));
    }
    let (mut read_first, mut written_at_all) = (BTreeSet::new(), BTreeSet::new());
    for step in &attempt.steps {
        match step {
            Step::Read { read, .. } if !written_at_all.contains(read) => {
                read_first.insert(read);
            }
            Step::Read { .. } => {}
            Step::Write { write, .. } => {
                written_at_all.insert(write);
            }
        }
    }
    if !attempt.steps.is_empty() && (read_first != read || written_at_all != written) {
        return Err(Malformed::Steps(line, attempt.name()));
    }
    Ok(())
}

/// What takes place at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation<'h> {
    /// Its attempt's.
    pub name: String,
    /// Not before.
    pub began: u64,
    /// Not after; `None`: any time.
    pub ended: Option<u64>,
    /// Whether it took place.
    pub certain: bool,
    /// What it must see.
    pub reads: &'h [Read],
    /// What it changes.
    pub writes: &'h [String],
    /// What it changes that to.
    pub version: Option<&'h str>,
}

/// What took place, or may have: a serializable transaction at one instant, a read-atomic one as a write for each key, at
/// any time after it began. What a read-atomic transaction read is not judged.
#[must_use]
pub fn operations(history: &[Attempt]) -> Vec<Operation<'_>> {
    let mut operations = Vec::new();
    for attempt in history {
        let certain = match attempt.outcome {
            Outcome::Committed => true,
            Outcome::Unknown if attempt.version.is_some() => false,
            Outcome::Unknown | Outcome::Aborted => continue,
        };
        let whole = Operation {
            name: attempt.name(),
            began: attempt.began,
            ended: certain.then_some(attempt.ended),
            certain,
            reads: &attempt.reads,
            writes: &attempt.writes,
            version: attempt.version.as_deref(),
        };
        match attempt.isolation {
            Isolation::Serializable => operations.push(whole),
            Isolation::ReadAtomic => {
                let loose = Operation { ended: None, certain: false, reads: &[], ..whole };
                operations.extend(attempt.writes.chunks(1).map(|writes| Operation { writes, ..loose.clone() }));
            }
        }
    }
    operations
}

/// Of these, those that must have happened: the certain ones, and what they read, and what that read. Any serial order of
/// the rest is one without it, too, because nobody saw it.
#[must_use]
pub fn happened<'h>(operations: &[Operation<'h>]) -> Vec<Operation<'h>> {
    let mut writers = BTreeMap::new();
    for (index, operation) in operations.iter().enumerate() {
        writers.extend(operation.writes.iter().map(|key| ((key, operation.version), index)));
    }
    let mut next: Vec<usize> = (0..operations.len()).filter(|index| operations[*index].certain).collect();
    let mut seen = HashSet::new();
    while let Some(index) = next.pop() {
        if seen.insert(index) {
            let reads = operations[index].reads.iter().filter(|read| read.version.is_some());
            next.extend(reads.filter_map(|read| writers.get(&(&read.key, read.version.as_deref()))));
        }
    }
    let kept = operations.iter().enumerate().filter(|(index, _)| seen.contains(index));
    kept.map(|(_, operation)| operation.clone()).collect()
}
