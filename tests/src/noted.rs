//! What a function did, step by step, in a file that only grows; and the history (`docs/histories.md`) that comes of it.
//!
//! Every process writes to the same file, one line with one call. So what comes before what in the file was so in time: the number of a
//! line is a moment. A write is noted before it is made and a read after it was answered, so that an attempt that is killed has
//! noted whatever of it others could see.

use std::collections::{BTreeMap, HashMap};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use aft_history::format::{Attempt, Isolation, Outcome, Read, Step};
use aft_protocol::id::TransactionId;
use aft_protocol::record::CommitRecord;
use serde::{Deserialize, Serialize};

/// The environment variable that names the file.
pub const NOTES: &str = "NOTES";

/// A line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Note {
    /// An attempt begins: before its first request.
    Began {
        /// The attempt. No two have the same.
        by: String,
        /// The history that it belongs to.
        history: String,
        /// The process that runs it.
        process: u32,
        /// The transaction, as the layer calls it.
        transaction: String,
        /// The number of the attempt, as the layer counts.
        number: u32,
        /// What it was promised.
        isolation: Isolation,
    },
    /// It has read a key.
    Read {
        /// Which attempt.
        by: String,
        /// What.
        read: String,
        /// What was there.
        value: Option<String>,
        /// The version of that; of what it had written itself, anything.
        version: Option<String>,
    },
    /// It is about to write a key.
    Writes {
        /// Which attempt.
        by: String,
        /// What.
        write: String,
        /// The name of the value.
        value: String,
    },
    /// The caller was answered by what this attempt returned.
    Answered {
        /// Which attempt.
        by: String,
    },
}

/// The file.
#[derive(Debug, Clone)]
pub struct Notebook(PathBuf);

impl Notebook {
    /// At this path; it need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Adds a line.
    ///
    /// # Errors
    /// Of the file system.
    pub fn note(&self, note: &Note) -> io::Result<()> {
        let line = serde_json::to_string(note)? + "\n";
        // One call, and at the end: lines of several processes do not mix.
        OpenOptions::new().create(true).append(true).open(&self.0)?.write_all(line.as_bytes())
    }

    /// Everything in it.
    ///
    /// # Errors
    /// Of the file system, or if a line is none.
    pub fn read(&self) -> io::Result<Vec<Note>> {
        let text = std::fs::read_to_string(&self.0)?;
        text.lines().map(|line| serde_json::from_str(line).map_err(io::Error::from)).collect()
    }
}

/// The history of this name, when all processes are gone: what a record says was committed by whom, and whatever wrote something and has
/// no record was aborted.
///
/// # Panics
/// If the notes contradict themselves.
#[must_use]
pub fn history(notes: &[Note], name: &str, records: &BTreeMap<TransactionId, CommitRecord>) -> Vec<Attempt> {
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut answered: HashMap<&str, u64> = HashMap::new();
    let mut moment = 0;
    for note in notes {
        moment += 1;
        match note {
            Note::Began { by, history, process, transaction, number, isolation } if history == name => {
                places.insert(by, attempts.len());
                attempts.push(Attempt {
                    process: *process,
                    transaction: transaction.clone(),
                    attempt: *number,
                    outcome: Outcome::Aborted,
                    isolation: *isolation,
                    began: moment,
                    ended: 0,
                    reads: Vec::new(),
                    writes: Vec::new(),
                    version: None,
                    steps: Vec::new(),
                });
            }
            Note::Began { .. } => {}
            Note::Read { by, read, value, version } => {
                let Some(attempt) = places.get(by.as_str()).map(|place| &mut attempts[*place]) else { continue };
                let is_known = attempt.writes.contains(read) || attempt.reads.iter().any(|other| other.key == *read);
                if !is_known {
                    attempt.reads.push(Read { key: read.clone(), version: version.clone() });
                }
                attempt.steps.push(Step::Read { read: read.clone(), value: value.clone() });
            }
            Note::Writes { by, write, value } => {
                let Some(attempt) = places.get(by.as_str()).map(|place| &mut attempts[*place]) else { continue };
                if !attempt.writes.contains(write) {
                    attempt.writes.push(write.clone());
                }
                attempt.steps.push(Step::Write { write: write.clone(), value: value.clone() });
            }
            Note::Answered { by } => {
                answered.entry(by).or_insert(moment);
            }
        }
    }
    for (by, place) in places {
        complete(&mut attempts[place], by, answered.get(by).copied(), moment + 1, records);
    }
    attempts
}

/// What became of an attempt, and when that was known at the latest.
fn complete(
    attempt: &mut Attempt,
    by: &str,
    answered: Option<u64>,
    last: u64,
    records: &BTreeMap<TransactionId, CommitRecord>,
) {
    let id: TransactionId = attempt.transaction.parse().expect("the layer's name of a transaction");
    let record = records.get(&id).filter(|record| answer(&record.response.body) == by);
    let committed = match record {
        Some(record) => {
            attempt.version = Some(record.version.to_string());
            true
        }
        // What wrote nothing has no record, and whoever was answered by it knows that it is committed.
        None => attempt.writes.is_empty() && answered.is_some(),
    };
    if committed {
        attempt.outcome = Outcome::Committed;
    }
    attempt.ended = answered.filter(|_| committed).unwrap_or(last);
    // A single key needs no proof: it may be older than the attempt (R-SER-3).
    if committed && attempt.writes.is_empty() && attempt.reads.len() < 2 && attempt.isolation == Isolation::Serializable
    {
        attempt.began = 0;
    }
}

/// The attempt that a response names.
///
/// # Panics
/// If it names none.
#[must_use]
pub fn answer(response: &[u8]) -> String {
    serde_json::from_slice(response).expect("the function answers with the name of the attempt")
}
