//! Rolling a commit record forward: moving every head to what it says. Anyone may do it, any number of times (R-COMMIT-5,
//! R-FM-3): the sandbox that committed, a reader, a duplicate, the fault manager.

use std::collections::BTreeMap;

use aft_protocol::head::{Before, Entry, Keep};
use aft_protocol::key::Key;
use aft_protocol::record::CommitRecord;
use futures_util::stream::{self, StreamExt};

use crate::retry::Patience;
use crate::{Applied, Store, StoreError};

/// Heads of one record moved at the same time.
const PARALLEL: usize = 32;

/// How long after its expiry a record may still be rolled forward, in seconds. A key that was deleted since is remembered by
/// its tombstone, which outlives the deleting transaction's record by a day: until then a late move finds it. Half of that
/// is left to clocks.
const GRACE_SECONDS: u64 = 12 * 60 * 60;

/// Whether a record has expired for so long (DynamoDB deletes within days) that a head that looks behind it may be one that
/// a newer transaction deleted and TTL removed: to move it would bring back what was deleted.
#[must_use]
pub const fn is_past_recovery(record: &CommitRecord, now_seconds: u64) -> bool {
    record.expires_at_seconds.saturating_add(GRACE_SECONDS) <= now_seconds
}

/// Moves every head to a durable record's entry, unless it is there or further. A move that fails for good does not keep the
/// others from being made. It is now `now_seconds` since the epoch. What is known of the heads `before` spares moves, round
/// trips and write units; nothing depends on its being new. A record that [`is_past_recovery`] is left alone: it was applied
/// (R-FM-1).
///
/// # Errors
/// The first [`StoreError`] that was not worth, or had no time for, another try.
pub async fn roll_forward<S: Store>(
    store: &S,
    record: &CommitRecord,
    before: &BTreeMap<Key, Before>,
    now_seconds: u64,
    patience: Patience<'_>,
) -> Result<(), StoreError> {
    if is_past_recovery(record, now_seconds) {
        return Ok(());
    }
    let moves = record.head_entries().filter_map(|(key, entry)| {
        let before = before.get(key).copied();
        if before.is_some_and(|before| before.version >= entry.version) {
            return None;
        }
        let keep = entry.keep(key, before, now_seconds);
        Some(move_head(store, key, entry, keep, patience))
    });
    // Collected first: a stream of borrowing futures would not be Send.
    let moves: Vec<_> = moves.collect();
    stream::iter(moves).buffer_unordered(PARALLEL).fold(Ok(()), async |first, moved| first.and(moved)).await
}

async fn move_head<S: Store>(
    store: &S,
    key: &Key,
    entry: Entry,
    keep: Keep,
    patience: Patience<'_>,
) -> Result<(), StoreError> {
    match patience.retrying(|| store.apply(key, &entry, keep)).await? {
        Applied::Moved | Applied::NotNewer => Ok(()),
        Applied::RecordExpires => patience.retrying(|| store.apply(key, &entry, Keep::Inline)).await.map(drop),
    }
}
