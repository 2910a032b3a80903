//! Whether a history keeps what was promised: `docs/histories.md`.
//!
//! | file | what |
//! |---|---|
//! | `breach` | which promise was broken, by whom, over which keys |
//! | `index` | the history in numbers |
//! | `promises` | what holds of an attempt or a transaction by itself |
//! | `weak` | read committed, read atomic, causal |
//! | `serial` | serializable, with versions as the order of the writers |
//! | `search` | serializable, with versions as names only: small histories |
//! | `recent` | what was acknowledged is seen by who begins later |
//! | `graph` | who must come before whom |
//!
//! Nothing is searched for that is known: with versions in order the time is about that of sorting the history.

mod breach;
mod graph;
mod index;
mod promises;
mod recent;
mod search;
mod serial;
mod weak;

pub use breach::{Because, Breach, Link, Promise};

use crate::format::{Attempt, Outcome};
use index::Index;
use search::Found;

/// Which attempts are in an order by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Sessions {
    /// None: each attempt is a session of its own. AFT promises no more.
    #[default]
    None,
    /// Those of one process that did not overlap.
    Processes,
}

/// What a version says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Versions {
    /// Who wrote it, and by its text who wrote the key earlier and later.
    #[default]
    Ordered,
    /// Who wrote it, and no more. An order of serializable transactions is searched for then, over so many prefixes at most.
    Names {
        /// After so many the search gives up.
        most_prefixes: u32,
    },
}

/// What every attempt is promised, whatever became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Level {
    /// No read goes back behind what was read before it.
    ReadCommitted,
    /// What one transaction wrote is seen together or not at all.
    #[default]
    ReadAtomic,
    /// So is everything that led to it.
    Causal,
}

/// What is expected of a history. The default is what AFT promises with any settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Expect {
    /// The level of every attempt.
    pub level: Level,
    /// Sessions, for that level.
    pub sessions: Sessions,
    /// What versions say.
    pub versions: Versions,
    /// Serializable transactions are in the order of real time, too.
    pub strict: bool,
    /// Who begins after a write was acknowledged reads it or something newer: `AFT_ACK=visible` and strong reads.
    pub recent_reads: bool,
    /// Who begins after a write was acknowledged has a newer version, where both wrote a key.
    pub recent_writes: bool,
}

impl Default for Expect {
    fn default() -> Self {
        Self {
            level: Level::ReadAtomic,
            sessions: Sessions::None,
            versions: Versions::Ordered,
            strict: true,
            recent_reads: false,
            recent_writes: false,
        }
    }
}

/// What was judged, and found to be as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Judged {
    /// Attempts.
    pub attempts: usize,
    /// Those that committed, or were seen to have.
    pub committed: usize,
    /// Reads of what others wrote, or of nothing.
    pub reads: usize,
    /// Keys that were written by those that committed.
    pub writes: usize,
    /// Whether the search for an order gave up: it is not known whether it is serializable.
    pub gave_up: bool,
}

/// Prefixes that are looked at to find out whether another order of the versions would do.
const MOST_PREFIXES: u32 = 10_000;

/// Judges a history: what was promised to each attempt and transaction by itself, the level of all attempts, and that the
/// serializable ones are serializable.
///
/// # Errors
/// The first [`Breach`] that is found.
pub fn check(history: &[Attempt], expect: Expect) -> Result<Judged, Box<Breach>> {
    let mut index = Index::of(history)?;
    promises::check_repeated_reads(&index)?;
    promises::check_steps(&mut index)?;
    promises::check_outcomes(&index)?;
    weak::check(&index, &expect)?;
    if expect.versions == Versions::Ordered {
        recent::check(&index, expect.recent_reads, expect.recent_writes)?;
    }
    let gave_up = check_serial(&index, expect)? == Found::GaveUp;
    let all = 0..history.len();
    let is_committed = |number: &usize| index.visible[*number] || history[*number].outcome == Outcome::Committed;
    Ok(Judged {
        attempts: history.len(),
        committed: all.clone().filter(is_committed).count(),
        reads: all.clone().map(|number| index.reads(number).len()).sum(),
        writes: all.filter(|number| index.visible[*number]).map(|number| index.writes(number).len()).sum(),
        gave_up,
    })
}

/// Judges no more than whether the serializable transactions are serializable, and that what they read was written and not
/// aborted. Whether an order was found; if not, it is not known.
///
/// # Errors
/// The [`Breach`] that was found.
pub fn check_serializable(history: &[Attempt], versions: Versions, strict: bool) -> Result<bool, Box<Breach>> {
    let index = Index::of(history)?;
    Ok(check_serial(&index, Expect { versions, strict, ..Expect::default() })? == Found::Order)
}

fn check_serial(index: &Index<'_>, expect: Expect) -> Result<Found, Box<Breach>> {
    match expect.versions {
        Versions::Ordered => {
            let Err(mut breach) = serial::check(index, expect.strict) else { return Ok(Found::Order) };
            if search::search(index, expect.strict, MOST_PREFIXES) == Found::Order {
                breach.promise = Promise::VersionOrder;
            }
            Err(breach)
        }
        Versions::Names { most_prefixes } => match search::search(index, expect.strict, most_prefixes) {
            Found::NoOrder => {
                let circle = serial::check(index, expect.strict).err();
                Err(circle.unwrap_or_else(|| Breach::of(Promise::Serializable, index.history, &[], &[])))
            }
            found => Ok(found),
        },
    }
}
