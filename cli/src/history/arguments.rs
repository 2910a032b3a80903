//! The command line of `aft history`.

use std::path::PathBuf;

use aft_history::checker::{Expect, Level, Sessions};
use aft_history::convert::{Lanes, Question, Target};
use clap::{Args, Subcommand, ValueEnum};

/// What `aft history` can do.
#[derive(Debug, Clone, Subcommand)]
pub enum HistoryCommand {
    /// Judge histories: what was promised to each attempt and transaction, and the isolation of all.
    Check(CheckArguments),
    /// Write histories in the format of another checker.
    Convert(ConvertArguments),
}

/// `aft history check`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Exits with 0 if every history keeps what was promised, with 1 if one does not (it says which promise, which transactions,
which keys), with 2 if a file is no history.")]
pub struct CheckArguments {
    /// Histories: JSON lines, as docs/histories.md has them.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// What every attempt was promised, whatever became of it.
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = Promised::ReadAtomic)]
    pub level: Promised,
    /// What is in an order by itself, for that level.
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Ordered::Attempts)]
    pub sessions: Ordered,
    /// Serializable transactions need not be in the order of real time.
    #[arg(long)]
    pub without_real_time: bool,
    /// Who begins after a write was acknowledged must read it or something newer: AFT_ACK=visible and AFT_READ=strong, with
    /// read-atomic transactions, too.
    #[arg(long)]
    pub recent_reads: bool,
}

/// `aft history convert`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
docs/histories.md says what becomes of aborted attempts, unknown outcomes and deletions. If one file is no history, nothing is
written.")]
pub struct ConvertArguments {
    /// Histories: JSON lines, as docs/histories.md has them.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Whose format.
    #[arg(long, value_enum, value_name = "CHECKER")]
    pub to: Other,
    /// Where the files go, with the names of the histories; by default, one history goes to standard output.
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// What is in an order by itself.
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Ordered::Attempts)]
    pub sessions: Ordered,
    /// What the other checker will be asked: about every attempt, or whether the serializable transactions are serializable.
    #[arg(long = "for", value_name = "QUESTION", value_enum, default_value_t = Asked::Attempts)]
    pub question: Asked,
}

/// Another checker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Other {
    /// Lines of text: r(key,value,session,transaction).
    Plume,
    /// JSON: sessions of transactions of events.
    Dbcop,
    /// EDN: lists that are appended to.
    Elle,
}

impl Other {
    /// What its files end in.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Plume => "txt",
            Self::Dbcop => "json",
            Self::Elle => "edn",
        }
    }
}

/// A level below serializable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Promised {
    /// No read goes back behind what was read before it.
    ReadCommitted,
    /// What one transaction wrote is seen together or not at all.
    ReadAtomic,
    /// So is everything that led to it.
    Causal,
}

/// What is a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Ordered {
    /// Each attempt by itself.
    Attempts,
    /// Each process, as far as its attempts did not overlap.
    Processes,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Asked {
    /// Each attempt is one transaction.
    Attempts,
    /// A read-atomic attempt is a transaction for each key that a serializable one read from it, and nothing that it read.
    Serializable,
}

impl From<&CheckArguments> for Expect {
    fn from(arguments: &CheckArguments) -> Self {
        Self {
            level: match arguments.level {
                Promised::ReadCommitted => Level::ReadCommitted,
                Promised::ReadAtomic => Level::ReadAtomic,
                Promised::Causal => Level::Causal,
            },
            sessions: match arguments.sessions {
                Ordered::Attempts => Sessions::None,
                Ordered::Processes => Sessions::Processes,
            },
            strict: !arguments.without_real_time,
            recent_reads: arguments.recent_reads,
            ..Self::default()
        }
    }
}

impl From<Other> for Target {
    fn from(other: Other) -> Self {
        match other {
            Other::Plume => Self::Plume,
            Other::Dbcop => Self::Dbcop,
            Other::Elle => Self::Elle,
        }
    }
}

impl From<Ordered> for Lanes {
    fn from(ordered: Ordered) -> Self {
        match ordered {
            Ordered::Attempts => Self::Attempts,
            Ordered::Processes => Self::Processes,
        }
    }
}

impl From<Asked> for Question {
    fn from(asked: Asked) -> Self {
        match asked {
            Asked::Attempts => Self::Attempts,
            Asked::Serializable => Self::Serializable,
        }
    }
}
