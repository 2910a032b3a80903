//! What was seen in one cell, in words that are the same every time.
//!
//! Where two parties report the same death and either may be first, both are named.

use std::fmt;

/// What the caller got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// The response of the commit.
    Response,
    /// An error of this type.
    Error(String),
}

impl Caller {
    /// An error, with those that may come in its place.
    #[must_use]
    pub fn error(error_type: &str, alternatives: &[&[&str]]) -> Self {
        let all = alternatives.iter().find(|all| all.contains(&error_type));
        let quoted = |all: &[&str]| all.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ");
        Self::Error(quoted(all.copied().unwrap_or(&[error_type])))
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Response => f.write_str("the response"),
            Self::Error(text) => f.write_str(text),
        }
    }
}

/// What the store held when the caller had its answer and the sandbox was quiet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// What it held before.
    Unchanged,
    /// A commit record, and so many of the two heads moved.
    Record {
        /// How many.
        heads: usize,
    },
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unchanged => "nothing",
            Self::Record { heads: 0 } => "the record, no head",
            Self::Record { heads: 1 } => "the record, one head",
            Self::Record { .. } => "the record, both heads",
        })
    }
}

/// Which of the two values of both keys a reader saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Those from before.
    Old,
    /// Those of the commit.
    New,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Old => "all old",
            Self::New => "all new",
        })
    }
}

/// What was seen in one cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// By Lambda's caller.
    pub caller: Caller,
    /// By the handler: how often it ran in the first sandbox, and for the duplicate in the other.
    pub runs: (usize, Option<usize>),
    /// In the tables.
    pub store: Held,
    /// By a reader in another sandbox, at that moment and afterwards.
    pub reader: (Seen, Seen),
    /// When the same request was sent again to another sandbox: how often the handler ran for it.
    pub again: usize,
}

impl Observation {
    /// The cells of its row, without the cause.
    #[must_use]
    pub fn cells(&self) -> [String; 5] {
        let runs = |count| match count {
            0 => "does not run".to_owned(),
            1 => "runs once".to_owned(),
            count => format!("runs {count} times"),
        };
        let handler = match self.runs {
            (here, None) => runs(here),
            (here, Some(there)) => format!("{} here, {} there", runs(here), runs(there)),
        };
        let again = match self.again {
            0 => "the recorded response, not run".to_owned(),
            _ => "a response, run once".to_owned(),
        };
        let (during, afterwards) = self.reader;
        [self.caller.to_string(), handler, self.store.to_string(), format!("{during}, then {afterwards}"), again]
    }
}
