//! Heads: the newest applied version of a key, with the previous one inline or named, and older identifiers behind it.
//!
//! Invariant: `current` > `previous` > `older[0]` > … until [`Version::ZERO`], which stands for "did not exist" and is
//! followed by nothing but zeros.
//!
//! What a head carries costs write units (DynamoDB counts whole KB of an item) at every move, so a move keeps the previous
//! version inline where that is free, and otherwise only if the previous version's commit record may soon be gone: until
//! then it can be read from there. [`Entry::keep`] decides, [`Head::moved_to`] says what comes of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::key::Key;
use crate::limits;
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
    /// When the transaction's commit record may be gone, in seconds since the epoch; 0 for [`Version::ZERO`].
    pub record_expires_at_seconds: u64,
}

impl Entry {
    /// A key that was never written.
    #[must_use]
    pub fn absent() -> Self {
        Self { version: Version::ZERO, value: None, cowritten: Cowritten::none(), record_expires_at_seconds: 0 }
    }

    /// R-READ-6: whether the transaction's commit record has expired. Then all that it wrote has long been applied (R-FM-1),
    /// and it no longer constrains what is read with it.
    #[must_use]
    pub fn has_expired(&self, now_seconds: u64) -> bool {
        self.record_expires_at_seconds <= now_seconds
    }

    /// Until when a head that was deleted by this version must be there: a late apply of an older write must find it, and no
    /// apply is later than its record. In seconds since the epoch.
    #[must_use]
    pub fn tombstone_expires_at_seconds(&self) -> u64 {
        self.record_expires_at_seconds.saturating_add(limits::TOMBSTONE_SECONDS)
    }

    /// What a move of `key` to this version should do with the version before it, of which `before` is known; if nothing is,
    /// it is taken to be as large as this one.
    #[must_use]
    pub fn keep(&self, key: &Key, before: Option<Before>, now_seconds: u64) -> Keep {
        let own = self.head_bytes(key);
        let free = own.next_multiple_of(UNIT_BYTES) - own;
        let until_seconds = now_seconds.saturating_add(limits::RECORD_NEEDED_SECONDS);
        match before {
            Some(before) if before.bytes <= free => Keep::Inline,
            Some(before) if before.record_expires_at_seconds <= until_seconds => Keep::Inline,
            None if self.inline_bytes() <= free => Keep::Inline,
            Some(_) | None => Keep::InRecord { until_seconds },
        }
    }

    /// What a head of `key` at this version takes without a previous version, in bytes as DynamoDB counts them.
    #[must_use]
    pub fn head_bytes(&self, key: &Key) -> usize {
        head_bytes(key, self.value.as_ref(), list_bytes(&self.cowritten))
    }

    /// What a head takes to carry this version as its previous one: a value, a content type, a list and an expiry more.
    fn inline_bytes(&self) -> usize {
        let value = self.value.as_ref().map_or(1, |value| value.bytes().len() + value.content_type().as_str().len());
        "pv".len()
            + "pct".len()
            + value
            + "pw".len()
            + LIST_BYTES
            + list_bytes(&self.cowritten)
            + "pe".len()
            + NUMBER_BYTES
    }
}

/// What is known of the version that a move takes the place of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Before {
    /// Which; the head may be further by now, and is never behind it.
    pub version: Version,
    /// What it takes to carry it inline.
    bytes: usize,
    record_expires_at_seconds: u64,
}

impl Before {
    /// The head has moved to this version.
    #[must_use]
    pub fn at(version: Version) -> Self {
        Self { version, bytes: 0, record_expires_at_seconds: 0 }
    }

    /// What it takes to carry it inline.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What a move does with the version that it takes the place of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// It stays in the head, as the previous version.
    Inline,
    /// It is left to its own commit record; if that may be gone before this moment (seconds since the epoch), the head does not
    /// move.
    InRecord {
        /// The moment.
        until_seconds: u64,
    },
}

/// The version before a head's current one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Previous {
    /// This; [`Version::ZERO`]: the key did not exist.
    Inline(Entry),
    /// This version of the key is in its commit record.
    InRecord(Version),
}

impl Previous {
    /// Which version.
    #[must_use]
    pub fn version(&self) -> Version {
        match self {
            Self::Inline(entry) => entry.version,
            Self::InRecord(version) => *version,
        }
    }
}

/// What the data table holds for one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The newest applied version.
    pub current: Entry,
    /// The one before.
    pub previous: Previous,
    /// Identifiers of the ones before that, newest first.
    pub older: [Version; OLDER],
}

/// What came of a move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// The head that it leaves.
    To(Box<Head>),
    /// Nothing: the head is at this version or at a newer one (R-COMMIT-5).
    NotNewer,
    /// Nothing: the version before was to be left to a record that may be gone too soon.
    RecordExpires,
}

impl Head {
    /// The head of a key that was never written.
    #[must_use]
    pub fn absent() -> Self {
        Self { current: Entry::absent(), previous: Previous::Inline(Entry::absent()), older: [Version::ZERO; OLDER] }
    }

    /// What moving to `entry` comes to: a shift register (R-COMMIT-5).
    #[must_use]
    pub fn moved_to(&self, entry: Entry, keep: Keep) -> Move {
        if entry.version <= self.current.version {
            return Move::NotNewer;
        }
        let previous = match keep {
            Keep::InRecord { until_seconds } if !self.current.version.is_zero() => {
                if self.current.record_expires_at_seconds <= until_seconds {
                    return Move::RecordExpires;
                }
                Previous::InRecord(self.current.version)
            }
            Keep::Inline | Keep::InRecord { .. } => Previous::Inline(self.current.clone()),
        };
        let [first, second, third, _] = self.older;
        Move::To(Box::new(Self { current: entry, previous, older: [self.previous.version(), first, second, third] }))
    }

    /// What the item of this head of `key` takes, in bytes as DynamoDB counts them; 0 if there is none.
    #[must_use]
    pub fn item_bytes(&self, key: &Key) -> usize {
        let previous = match &self.previous {
            Previous::Inline(entry) if !entry.version.is_zero() => entry.inline_bytes(),
            Previous::Inline(_) | Previous::InRecord(_) => 0,
        };
        if self.current.version.is_zero() { 0 } else { self.current.head_bytes(key) + previous }
    }

    /// What a move needs to know of this head.
    #[must_use]
    pub fn before(&self) -> Before {
        let bytes = if self.current.version.is_zero() { 0 } else { self.current.inline_bytes() };
        let Entry { version, record_expires_at_seconds, .. } = self.current;
        Before { version, bytes, record_expires_at_seconds }
    }

    /// Whether this head goes back to the time before the key existed.
    #[must_use]
    pub fn reaches_birth(&self) -> bool {
        self.current.version.is_zero() || self.previous.version().is_zero() || self.older.iter().any(Version::is_zero)
    }
}

/// Bytes that make one DynamoDB write unit.
const UNIT_BYTES: usize = 1_024;

/// A number of ten digits: a byte for two of them, and one more.
const NUMBER_BYTES: usize = 6;

/// A version's text.
const VERSION_BYTES: usize = 40;

/// Whether a head that holds this value can also hold a cowritten list of so many keys and bytes, at no cost: without another
/// write unit, or because every head may have a list as short as that (a reader needs it: R-READ-4).
pub(crate) fn has_room_for_list(key: &Key, value: Option<&Value>, keys: usize, bytes: usize) -> bool {
    let list = keys + bytes;
    let units = |list| head_bytes(key, value, list).div_ceil(UNIT_BYTES);
    list <= limits::COWRITTEN_FREE_BYTES || (bytes <= limits::COWRITTEN_BYTES && units(list) == units(0))
}

/// The size of a head that carries no previous version, as DynamoDB counts it: names, text and binary by their bytes, 3 for a
/// list and 1 for each of its elements, 1 for null and for a truth value (developer guide, item sizes and formats).
fn head_bytes(key: &Key, value: Option<&Value>, list: usize) -> usize {
    let value =
        value.map_or("x".len() + NUMBER_BYTES + 1, |value| value.bytes().len() + value.content_type().as_str().len());
    let names = "kvcttwept".len() + "h1".len() * OLDER;
    names + key.as_str().len() + value + NUMBER_BYTES + LIST_BYTES + list + VERSION_BYTES * (2 + OLDER)
}

/// What a list takes besides its elements.
const LIST_BYTES: usize = 3;

fn list_bytes(cowritten: &Cowritten) -> usize {
    match cowritten {
        Cowritten::Keys(keys) => keys.iter().map(|key| key.as_str().len() + 1).sum(),
        Cowritten::InRecord => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::{Cowritten, Entry, Head, Keep, Move, Previous, head_bytes};
    use crate::id::TransactionId;
    use crate::key::Key;
    use crate::limits::RECORD_NEEDED_SECONDS;
    use crate::value::{ContentType, Value};
    use crate::version::{Timestamp, Version};

    const NOW: u64 = 1_000_000;

    fn version(micros: u64) -> Version {
        Version::new(Timestamp::from_micros(micros), TransactionId::from_bits(1))
    }

    fn entry(micros: u64) -> Entry {
        let expires = NOW + 2 * RECORD_NEEDED_SECONDS;
        Entry {
            version: version(micros),
            value: None,
            cowritten: Cowritten::none(),
            record_expires_at_seconds: expires,
        }
    }

    fn sized(micros: u64, bytes: usize) -> Entry {
        Entry { value: Some(Value::new(vec![0; bytes], ContentType::default()).unwrap()), ..entry(micros) }
    }

    fn moved(head: &Head, entry: Entry, keep: Keep) -> Head {
        match head.moved_to(entry, keep) {
            Move::To(head) => *head,
            not @ (Move::NotNewer | Move::RecordExpires) => panic!("{not:?}"),
        }
    }

    /// R-COMMIT-5: a head moves if and only if the new version is greater.
    #[test]
    fn a_head_moves_forward_only() {
        let head = moved(&Head::absent(), entry(5), Keep::Inline);
        assert_eq!(head.moved_to(entry(5), Keep::Inline), Move::NotNewer, "applying twice changes nothing");
        assert_eq!(head.moved_to(entry(4), Keep::Inline), Move::NotNewer, "losing to a newer version changes nothing");
        assert_eq!(moved(&head, entry(6), Keep::Inline).current, entry(6));
    }

    #[test]
    fn a_move_shifts_every_identifier_back_by_one() {
        for keep in [Keep::Inline, Keep::InRecord { until_seconds: NOW }] {
            let head = (1..=7).fold(Head::absent(), |head, micros| moved(&head, entry(micros), keep));
            assert_eq!(head.previous.version(), version(6));
            assert_eq!(head.older, [version(5), version(4), version(3), version(2)]);
            assert!(!head.reaches_birth());
            assert!(moved(&Head::absent(), entry(1), keep).reaches_birth());
        }
    }

    #[test]
    fn the_previous_version_is_never_left_to_a_record_that_may_be_gone() {
        let head = moved(&Head::absent(), entry(1), Keep::Inline);
        let until = |until_seconds| head.moved_to(entry(2), Keep::InRecord { until_seconds });
        let expires = entry(1).record_expires_at_seconds;
        assert_eq!(until(expires), Move::RecordExpires);
        assert!(matches!(until(expires - 1), Move::To(head) if head.previous == Previous::InRecord(version(1))));
        let first = moved(&Head::absent(), entry(1), Keep::InRecord { until_seconds: u64::MAX });
        assert_eq!(first.previous, Previous::Inline(Entry::absent()), "nothing has no record");
    }

    /// The cost of a head: the previous version is inline where that is free, or where its record may be gone.
    #[test]
    fn the_previous_version_is_inline_only_where_that_is_free_or_needed() {
        let key = Key::new("k").unwrap();
        let by_record = Keep::InRecord { until_seconds: NOW + RECORD_NEEDED_SECONDS };
        let head = |entry| moved(&Head::absent(), entry, Keep::Inline);
        let keep = |bytes, before: Option<Entry>| sized(9, bytes).keep(&key, before.map(|e| head(e).before()), NOW);
        assert_eq!(keep(100, None), Keep::Inline, "as large as itself");
        assert_eq!(keep(100, Some(sized(1, 100))), Keep::Inline);
        assert_eq!(keep(600, None), by_record);
        assert_eq!(keep(100, Some(sized(1, 10_000))), by_record);
        assert_eq!(keep(10_000, Some(sized(1, 20))), Keep::Inline);
        let old = Entry { record_expires_at_seconds: NOW + RECORD_NEEDED_SECONDS, ..sized(1, 10_000) };
        assert_eq!(keep(10_000, Some(old)), Keep::Inline);
        assert_eq!(sized(9, 10_000).keep(&key, Some(Head::absent().before()), NOW), Keep::Inline, "nothing is free");
        let fits = |bytes| {
            let entry = sized(9, bytes);
            head_bytes(&key, entry.value.as_ref(), 0) + entry.inline_bytes() <= 1_024
        };
        assert!((0..700).all(|bytes| (keep(bytes, None) == Keep::Inline) == fits(bytes)));
        let most = (0..700).rev().find(|bytes| fits(*bytes)).unwrap();
        assert!((300..400).contains(&most), "{most}");
    }
}
