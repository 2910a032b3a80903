//! What a commit does in one step with its record: which keys it checks or moves, whether that fits one step (R-SER-6), and what
//! each head that moves does with the version before it.

use std::collections::BTreeMap;

use crate::attempt::Refusal;
use crate::head::{Before, Keep};
use crate::isolation::{Guards, Isolation};
use crate::key::Key;
use crate::limits;
use crate::record::{CommitRecord, Writes};

/// The keys that an attempt's commit must check or move in one step, and how large they are: of each the larger one of what
/// is there, as far as it was read, and what is written. DynamoDB says that "the aggregate size of the items" is limited, and
/// not which of the two it means.
#[derive(Debug, Default)]
pub struct Step {
    parts: BTreeMap<Key, Part>,
    bytes: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Part {
    read: usize,
    written: usize,
}

impl Part {
    fn bytes(self) -> usize {
        self.read.max(self.written)
    }
}

impl Step {
    /// Whether the key is one of them.
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        self.parts.contains_key(key)
    }

    /// Whether there is room for these keys, as far as their number goes.
    ///
    /// # Errors
    /// [`Refusal::TooManyGuarded`].
    pub fn check_number<'k>(&self, more: impl Iterator<Item = &'k Key>) -> Result<(), Refusal> {
        let keys = self.parts.len() + more.filter(|key| !self.contains(key)).count();
        if keys > limits::GUARDED_KEYS { Err(Refusal::TooManyGuarded { keys }) } else { Ok(()) }
    }

    /// Whether there is room for writes of so many bytes, each of another key.
    ///
    /// # Errors
    /// [`Refusal::TooManyGuarded`], [`Refusal::TooManyGuardedBytes`].
    pub fn check_writes<'k>(&self, writes: impl Iterator<Item = (&'k Key, usize)> + Clone) -> Result<(), Refusal> {
        self.check_number(writes.clone().map(|(key, _)| key))?;
        let mut bytes = self.bytes;
        for (key, written) in writes {
            let part = self.parts.get(key).copied().unwrap_or_default();
            bytes = bytes - part.bytes() + Part { written, ..part }.bytes();
        }
        fits(bytes)
    }

    /// Adds a key whose item has so many bytes.
    ///
    /// # Errors
    /// As for [`Self::check_writes`]; nothing has changed then.
    pub fn read(&mut self, key: &Key, read: usize) -> Result<(), Refusal> {
        self.check_number(std::iter::once(key))?;
        let part = self.parts.get(key).copied().unwrap_or_default();
        let after = Part { read, ..part };
        let bytes = self.bytes - part.bytes() + after.bytes();
        fits(bytes)?;
        self.put(key, after, bytes);
        Ok(())
    }

    /// What is there of the keys that these writes leave alone, in bytes.
    #[must_use]
    pub fn checked_bytes(&self, writes: &Writes) -> usize {
        let checked = self.parts.iter().filter(|(key, _)| !writes.contains_key(*key));
        checked.map(|(_, part)| part.read).sum()
    }

    /// Adds a write that was found to fit.
    pub fn write(&mut self, key: &Key, written: usize) {
        let part = self.parts.get(key).copied().unwrap_or_default();
        let after = Part { written, ..part };
        self.put(key, after, self.bytes - part.bytes() + after.bytes());
    }

    /// Takes a key out.
    pub fn remove(&mut self, key: &Key) {
        self.bytes -= self.parts.remove(key).unwrap_or_default().bytes();
    }

    fn put(&mut self, key: &Key, part: Part, bytes: usize) {
        self.parts.insert(key.clone(), part);
        self.bytes = bytes;
    }
}

fn fits(bytes: usize) -> Result<(), Refusal> {
    if bytes > limits::GUARDED_BYTES { Err(Refusal::TooManyGuardedBytes { bytes }) } else { Ok(()) }
}

/// The heads that move in one step with the record: all that a serializable transaction writes, and otherwise those that are
/// guarded. Each keeps the version before it as [`Entry::keep`](crate::head::Entry::keep) says, as long as the whole step stays
/// within what DynamoDB takes. Where it would not, that version is left to its record, even if that may be gone: a reader who
/// needs it meets a conflict then, and never a wrong answer. The keys that are only checked take `checked_bytes` of the step.
#[must_use]
pub fn moves(
    record: &CommitRecord,
    guards: &Guards,
    checked_bytes: usize,
    isolation: Isolation,
    before: &BTreeMap<Key, Before>,
    now_seconds: u64,
) -> BTreeMap<Key, Keep> {
    let mut moves = BTreeMap::new();
    let mut bytes = limits::ITEM_BYTES + checked_bytes;
    for (key, entry) in record.head_entries() {
        if isolation.is_serializable() || guards.contains_key(key) {
            bytes += entry.head_bytes(key);
            moves.insert(key.clone(), entry.keep(key, before.get(key).copied(), now_seconds));
        }
    }
    for (key, keep) in &mut moves {
        let Some(before) = before.get(key).filter(|_| *keep == Keep::Inline) else { continue };
        bytes += before.bytes();
        if bytes > limits::STEP_BYTES {
            bytes -= before.bytes();
            *keep = Keep::InRecord { until_seconds: 0 };
        }
    }
    moves
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;

    use super::moves;
    use crate::head::{Cowritten, Entry, Head, Keep, Move};
    use crate::id::{Fingerprint, Nonce, SandboxId, TransactionId};
    use crate::isolation::{Guards, Isolation};
    use crate::key::Key;
    use crate::limits;
    use crate::record::{CommitRecord, Response};
    use crate::value::{ContentType, Value};
    use crate::version::{Timestamp, Version};

    const NOW: u64 = 1_000_000;

    fn version(micros: u64) -> Version {
        Version::new(Timestamp::from_micros(micros), TransactionId::from_bits(1))
    }

    fn value(bytes: usize) -> Option<Value> {
        Some(Value::new(vec![0; bytes], ContentType::default()).unwrap())
    }

    /// R-SER-6: previous versions stay inline, as they must where their records are about to be gone, only as long as the whole
    /// step is no more than DynamoDB takes; keys that are only checked take their part of it.
    #[test]
    fn a_step_carries_as_many_previous_versions_as_it_has_room_for() {
        let keys: Vec<_> = (0..20).map(|n| Key::new(format!("{n:02}")).unwrap()).collect();
        let record = CommitRecord {
            version: version(9),
            nonce: Nonce::from_bits(1),
            writes: keys.iter().map(|key| (key.clone(), value(10))).collect(),
            response: Response { content_type: None, body: Bytes::new() },
            fingerprint: Fingerprint::from_bits(0),
            origin: String::new(),
            sandbox: SandboxId::from_bits(0),
            applied_through: Version::ZERO,
            expires_at_seconds: NOW,
        };
        let expiring = Entry {
            version: version(5),
            value: value(limits::VALUE_BYTES),
            cowritten: Cowritten::none(),
            record_expires_at_seconds: NOW,
        };
        let Move::To(head) = Head::absent().moved_to(expiring, Keep::Inline) else { panic!("it is the first") };
        let before: BTreeMap<_, _> = keys.iter().map(|key| (key.clone(), head.before())).collect();
        let inline = |checked_bytes| {
            let all = moves(&record, &Guards::new(), checked_bytes, Isolation::Serializable, &before, NOW);
            assert_eq!(all.len(), 20);
            let left = Keep::InRecord { until_seconds: 0 };
            assert!(all.values().all(|keep| [Keep::Inline, left].contains(keep)));
            all.values().filter(|keep| **keep == Keep::Inline).count()
        };
        let room = limits::STEP_BYTES - limits::ITEM_BYTES;
        assert_eq!(inline(0), room / limits::VALUE_BYTES);
        assert_eq!(inline(room - limits::VALUE_BYTES), 0, "with what the heads themselves take, there is none for one");
        let guarded = Guards::from([(keys[0].clone(), version(5))]);
        let moved = moves(&record, &guarded, 0, Isolation::ReadAtomic, &before, NOW);
        assert_eq!(moved.into_keys().collect::<Vec<_>>(), [keys[0].clone()], "R-SER-5");
    }
}
