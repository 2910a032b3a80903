//! Heads: the newest applied version of a key, with the previous one inline and older identifiers behind it.
//!
//! Invariant: `current` > `previous` > `older[0]` > … until [`Version::ZERO`], which stands for "did not exist" and is
//! followed by nothing but zeros.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::key::Key;
use crate::value::Value;
use crate::version::Version;

/// How many identifiers a head keeps behind its previous version.
pub const OLDER: usize = 4;

/// The keys, other than the entry's own, that the same transaction wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cowritten {
    /// These.
    Keys(Arc<BTreeSet<Key>>),
    /// Too long for a head: the commit record has them.
    InRecord,
}

impl Cowritten {
    /// Nothing else was written.
    #[must_use]
    pub fn none() -> Self {
        Self::Keys(Arc::default())
    }
}

/// One version of one key. `value` is `None` if the version deleted the key, or if it is [`Version::ZERO`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which version.
    pub version: Version,
    /// What it holds.
    pub value: Option<Value>,
    /// What else its transaction wrote.
    pub cowritten: Cowritten,
}

impl Entry {
    /// A key that was never written.
    #[must_use]
    pub fn absent() -> Self {
        Self { version: Version::ZERO, value: None, cowritten: Cowritten::none() }
    }
}

/// What the data table holds for one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The newest applied version.
    pub current: Entry,
    /// The one before.
    pub previous: Entry,
    /// Identifiers of the ones before that, newest first.
    pub older: [Version; OLDER],
}

impl Head {
    /// The head of a key that was never written.
    #[must_use]
    pub fn absent() -> Self {
        Self { current: Entry::absent(), previous: Entry::absent(), older: [Version::ZERO; OLDER] }
    }

    /// The head after applying `entry`: a shift register, or `None` if `entry` is not newer (R-COMMIT-5).
    #[must_use]
    pub fn moved_to(&self, entry: Entry) -> Option<Self> {
        if entry.version <= self.current.version {
            return None;
        }
        let [first, second, third, _] = self.older;
        Some(Self {
            current: entry,
            previous: self.current.clone(),
            older: [self.previous.version, first, second, third],
        })
    }

    /// Whether this head goes back to the time before the key existed.
    #[must_use]
    pub fn reaches_birth(&self) -> bool {
        self.current.version.is_zero() || self.previous.version.is_zero() || self.older.iter().any(Version::is_zero)
    }
}

#[cfg(test)]
mod tests {
    use super::{Cowritten, Entry, Head};
    use crate::id::TransactionId;
    use crate::version::{Timestamp, Version};

    fn version(micros: u64) -> Version {
        Version::new(Timestamp::from_micros(micros), TransactionId::from_bits(1))
    }

    fn entry(micros: u64) -> Entry {
        Entry { version: version(micros), value: None, cowritten: Cowritten::none() }
    }

    /// R-COMMIT-5: a head moves if and only if the new version is greater.
    #[test]
    fn a_head_moves_forward_only() {
        let head = Head::absent().moved_to(entry(5)).unwrap();
        assert_eq!(head.moved_to(entry(5)), None, "applying twice changes nothing");
        assert_eq!(head.moved_to(entry(4)), None, "losing to a newer version changes nothing");
        assert_eq!(head.moved_to(entry(6)).unwrap().current, entry(6));
    }

    #[test]
    fn a_move_shifts_every_identifier_back_by_one() {
        let head = (1..=7).fold(Head::absent(), |head, micros| head.moved_to(entry(micros)).unwrap());
        assert_eq!(head.previous, entry(6));
        assert_eq!(head.older, [version(5), version(4), version(3), version(2)]);
        assert!(!head.reaches_birth());
        assert!(Head::absent().moved_to(entry(1)).unwrap().reaches_birth());
    }
}
