//! Exported histories (`docs/histories.md`) and the checkers that judge them: others', and ours beside them.
//!
//! | file | what |
//! |---|---|
//! | [`adya`] | the crate `adya`: Elle's way, cycles of dependencies |
//! | [`z3`] | the solver Z3, asked whether there is any serial order |
//! | [`porcupine`] | Porcupine, with the whole store as one object |
//! | [`ours`] | our own, from `aft-history` |
//! | [`generator`] | histories that are strictly serializable by construction |
//!
//! None knows the protocol: what they share is the definition of a history.

use std::fmt;
use std::path::{Path, PathBuf};

use aft_history::format;

use crate::tools::Missing;

pub mod adya;
pub mod generator;
pub mod ours;
pub mod porcupine;
pub mod z3;

/// What is asked of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Level {
    /// Some serial order explains every read.
    Serializable,
    /// One that also keeps the order of real time: what had been answered before another began comes before it.
    StrictlySerializable,
}

/// What a checker says of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is at the level.
    Accepted,
    /// It is not.
    Rejected {
        /// In the checker's words.
        reason: String,
        /// `transaction#attempt@process` of those that it blames, sorted.
        transactions: Vec<String>,
    },
    /// The checker gave up. That is a failure, too.
    Undecided {
        /// Why.
        reason: String,
    },
}

impl Verdict {
    pub(crate) fn rejected(reason: impl Into<String>, transactions: impl IntoIterator<Item = String>) -> Self {
        let mut transactions: Vec<String> = transactions.into_iter().collect();
        transactions.sort_unstable();
        transactions.dedup();
        Self::Rejected { reason: reason.into(), transactions }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted => write!(f, "accepted"),
            Self::Rejected { reason, transactions } => write!(f, "rejected: {}: {reason}", transactions.join(", ")),
            Self::Undecided { reason } => write!(f, "undecided: {reason}"),
        }
    }
}

#[derive(Debug, Clone)]
enum Program {
    Ours { believes_versions: bool },
    Adya,
    Z3(PathBuf),
    Porcupine(PathBuf),
}

/// A checker that can run here.
#[derive(Debug, Clone)]
pub struct Checker {
    /// Its name, and the level if it knows more than one.
    pub name: &'static str,
    /// What it decides.
    pub level: Level,
    program: Program,
}

/// How a checker is had, and by which name it is called until then.
pub type Recipe = (&'static str, fn() -> Result<Checker, Missing>);

/// Every checker.
pub const ALL: [Recipe; 8] = [
    ("aft-serializable", || Ok(Checker::ours("aft-serializable", Level::Serializable, true))),
    ("aft-strict", || Ok(Checker::ours("aft-strict", Level::StrictlySerializable, true))),
    ("aft-search-strict", || Ok(Checker::ours("aft-search-strict", Level::StrictlySerializable, false))),
    ("adya-serializable", || Ok(Checker::new("adya-serializable", Level::Serializable, Program::Adya))),
    ("adya-strict", || Ok(Checker::new("adya-strict", Level::StrictlySerializable, Program::Adya))),
    ("z3-serializable", || Ok(Checker::new("z3-serializable", Level::Serializable, Program::Z3(z3::program()?)))),
    ("z3-strict", || Ok(Checker::new("z3-strict", Level::StrictlySerializable, Program::Z3(z3::program()?)))),
    ("porcupine", || {
        Ok(Checker::new("porcupine", Level::StrictlySerializable, Program::Porcupine(porcupine::program()?)))
    }),
];

impl Checker {
    const fn new(name: &'static str, level: Level, program: Program) -> Self {
        Self { name, level, program }
    }

    const fn ours(name: &'static str, level: Level, believes_versions: bool) -> Self {
        Self::new(name, level, Program::Ours { believes_versions })
    }

    /// Whether it takes the order of a key's versions for the order of its writers, instead of looking for one.
    #[must_use]
    pub const fn believes_versions(&self) -> bool {
        matches!(self.program, Program::Adya | Program::Ours { believes_versions: true })
    }

    /// What it says of one file.
    ///
    /// # Panics
    /// As [`Checker::check_all`].
    #[must_use]
    pub fn check(&self, file: &Path) -> Verdict {
        self.check_all(&[file.to_owned()]).remove(0)
    }

    /// What it says of each of these files, with one start of its program.
    ///
    /// # Panics
    /// If a file is not there or no history, or if the checker fails.
    #[must_use]
    pub fn check_all(&self, files: &[PathBuf]) -> Vec<Verdict> {
        let read = |file: &PathBuf| format::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let histories: Vec<_> = files.iter().map(read).collect();
        let verdicts = match &self.program {
            Program::Ours { believes_versions } => {
                histories.iter().map(|history| ours::check(history, self.level, *believes_versions)).collect()
            }
            Program::Adya => histories.iter().map(|history| adya::check(history, self.level)).collect(),
            Program::Z3(program) => z3::check(program, &histories, self.level),
            Program::Porcupine(program) => porcupine::check(program, files),
        };
        assert_eq!(verdicts.len(), files.len(), "{} left some out", self.name);
        verdicts
    }
}

/// The histories in a folder, sorted.
///
/// # Panics
/// If the folder cannot be read.
#[must_use]
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a folder that can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .collect();
    files.sort_unstable();
    files
}
