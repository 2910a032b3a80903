//! The low-water mark (R-FM-2): which records cannot be unapplied, because a later one of the same sandbox says so.
//!
//! A sandbox commits only after its previous transaction is applied, and writes into the next record through which version
//! it is (`applied_through`). So of the records under one sandbox's name only the last can be unapplied, and for all others
//! nothing needs to be read. A batch holds what met in one shard and one window: the last record *of the batch* is looked
//! at, even if a later one is in another shard.

use std::collections::HashMap;

use aft_protocol::id::SandboxId;
use aft_protocol::record::CommitRecord;
use aft_protocol::version::Version;

/// What a record says of its place among its sandbox's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Who committed.
    pub sandbox: SandboxId,
    /// When.
    pub version: Version,
    /// Everything of that sandbox up to this version was applied before.
    pub applied_through: Version,
}

impl From<&CommitRecord> for Mark {
    fn from(record: &CommitRecord) -> Self {
        Self { sandbox: record.sandbox, version: record.version, applied_through: record.applied_through }
    }
}

/// Whether each of these is settled by another of them. In any order, and any of them may be there twice.
#[must_use]
pub fn settled(marks: &[Mark]) -> Vec<bool> {
    let mut through: HashMap<SandboxId, Version> = HashMap::new();
    // A record that says that it is applied itself, or a later one, says nothing.
    for mark in marks.iter().filter(|mark| mark.applied_through < mark.version) {
        let highest = through.entry(mark.sandbox).or_insert(Version::ZERO);
        *highest = mark.applied_through.max(*highest);
    }
    marks.iter().map(|mark| through.get(&mark.sandbox).is_some_and(|through| mark.version <= *through)).collect()
}

#[cfg(test)]
mod tests {
    use aft_protocol::id::{SandboxId, TransactionId};
    use aft_protocol::version::{Timestamp, Version};

    use super::{Mark, settled};

    fn version(micros: u64) -> Version {
        if micros == 0 {
            Version::ZERO
        } else {
            Version::new(Timestamp::from_micros(micros), TransactionId::from_bits(1))
        }
    }

    /// The record of a sandbox at a time, which says that everything was applied through another.
    fn mark(sandbox: u128, at: u64, through: u64) -> Mark {
        Mark { sandbox: SandboxId::from_bits(sandbox), version: version(at), applied_through: version(through) }
    }

    /// R-FM-2: only the last record of a sandbox can be unapplied.
    #[test]
    fn only_the_last_record_of_a_sandbox_is_open() {
        assert_eq!(settled(&[mark(1, 10, 0), mark(1, 20, 10), mark(1, 30, 20)]), [true, true, false]);
        assert_eq!(settled(&[mark(1, 30, 20), mark(1, 10, 0), mark(1, 20, 10)]), [false, true, true], "in any order");
        assert_eq!(settled(&[mark(1, 10, 0), mark(1, 10, 0), mark(1, 20, 10)]), [true, true, false], "delivered twice");
        assert!(settled(&[]).is_empty());
    }

    /// R-FM-2: a mark tells of its own sandbox only.
    #[test]
    fn another_sandboxs_mark_settles_nothing() {
        assert_eq!(settled(&[mark(1, 10, 0), mark(2, 20, 15)]), [false, false]);
        assert_eq!(settled(&[mark(1, 10, 0), mark(2, 20, 15), mark(1, 12, 10)]), [true, false, false]);
    }

    /// A mark covers what it says and no more: a commit whose outcome stayed unknown is followed by another name, and a
    /// record above the mark may be unapplied although a later one is there.
    #[test]
    fn what_is_above_the_mark_stays_open() {
        assert_eq!(settled(&[mark(1, 10, 0), mark(1, 20, 0), mark(1, 30, 10)]), [true, false, false]);
        assert_eq!(settled(&[mark(1, 10, 0), mark(1, 20, 0)]), [false, false], "the first mark of a name is zero");
    }

    #[test]
    fn no_record_settles_itself() {
        assert_eq!(settled(&[mark(1, 10, 10)]), [false]);
        assert_eq!(settled(&[mark(1, 10, 30), mark(1, 20, 0)]), [false, false]);
    }
}
