//! Our own checker, asked no more than the others are: whether the serializable transactions are serializable.

use aft_history::checker::{Versions, check_serializable};
use aft_history::format::{Attempt, Isolation, Outcome};

use super::{Level, Verdict};

/// Prefixes that a search looks at before it gives up: a second's worth.
const MOST_PREFIXES: u32 = 200_000;

/// Checks one history, with versions in the order of their writers or as mere names.
#[must_use]
pub fn check(history: &[Attempt], level: Level, believes_versions: bool) -> Verdict {
    let versions = if believes_versions { Versions::Ordered } else { Versions::Names { most_prefixes: MOST_PREFIXES } };
    let strict = level == Level::StrictlySerializable;
    match check_serializable(&judged(history), versions, strict) {
        Ok(true) => Verdict::Accepted,
        Ok(false) => Verdict::Undecided { reason: "too many prefixes".to_owned() },
        Err(breach) => Verdict::rejected(breach.to_string(), breach.transactions.clone()),
    }
}

/// What read-atomic and aborted attempts read is not judged here.
fn judged(history: &[Attempt]) -> Vec<Attempt> {
    let mut judged = history.to_vec();
    for attempt in &mut judged {
        if attempt.isolation == Isolation::ReadAtomic || attempt.outcome == Outcome::Aborted {
            attempt.reads.clear();
            attempt.steps.clear();
        }
    }
    judged
}
