//! Histories in the formats of other checkers: `docs/histories.md`.
//!
//! | file | what |
//! |---|---|
//! | `plan` | which transactions there are, in numbers: the same for all formats |
//! | `plume` | Plume's lines of text |
//! | `dbcop` | dbcop's JSON |
//! | `elle` | Elle's EDN, lists that are appended to |
//!
//! The same history gives the same text, byte for byte, and what it numbers can be found again: a transaction by its line, a
//! value by counting writes, a key by sorting.

mod dbcop;
mod elle;
mod plan;
mod plume;

use crate::format::Attempt;
use plan::Plan;

/// Whose format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// Plume, and AWDIT, which reads the same.
    Plume,
    /// dbcop.
    Dbcop,
    /// Elle, list-append.
    Elle,
}

/// Which attempts are in an order by themselves, for the checker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Lanes {
    /// None: each is a session of its own.
    #[default]
    Attempts,
    /// Those of one process that did not overlap. Who overlaps is in another session; so is who may have ended at any time.
    Processes,
}

/// What the checker is to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Question {
    /// Whether every attempt has what it is promised below serializable: each is one transaction.
    #[default]
    Attempts,
    /// Whether the serializable ones are serializable: a read-atomic one is a transaction for each key that one of them read from
    /// it, without what it read, and of an aborted one only the writes are left.
    Serializable,
}

/// The history in another format.
#[must_use]
pub fn convert(history: &[Attempt], target: Target, lanes: Lanes, question: Question) -> String {
    let plan = Plan::of(history, lanes, question);
    match target {
        Target::Plume => plume::text(&plan),
        Target::Dbcop => dbcop::json(&plan),
        Target::Elle => elle::edn(&plan),
    }
}
