//! What a commit does in one step with its record: which heads move, and what each does with the version before it.

use std::collections::BTreeMap;

use crate::head::{Before, Keep};
use crate::isolation::{Guards, Isolation};
use crate::key::Key;
use crate::limits;
use crate::record::CommitRecord;

/// The heads that move in one step with the record: all that a serializable transaction writes, and otherwise those that are
/// guarded. Each keeps the version before it as [`Entry::keep`](crate::head::Entry::keep) says, as long as the whole step stays
/// within what DynamoDB takes. Where it would not, that version is left to its record, even if that may be gone: a reader who
/// needs it meets a conflict then, and never a wrong answer.
#[must_use]
pub fn moves(
    record: &CommitRecord,
    guards: &Guards,
    isolation: Isolation,
    before: &BTreeMap<Key, Before>,
    now_seconds: u64,
) -> BTreeMap<Key, Keep> {
    let mut moves = BTreeMap::new();
    let mut bytes = limits::ITEM_BYTES;
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
