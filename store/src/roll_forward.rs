//! Rolling a commit record forward: moving every head to what it says. Anyone may do it, any number of times (R-COMMIT-5,
//! R-FM-3): the sandbox that committed, a reader, a duplicate, the fault manager.

use std::time::Duration;

use aft_protocol::head::Entry;
use aft_protocol::key::Key;
use aft_protocol::record::CommitRecord;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use crate::retry::Patience;
use crate::{Store, StoreError};

/// Heads of one record moved at the same time.
const PARALLEL: usize = 32;

/// Added to a record's expiry for the tombstones it makes: a late apply of an older write must still find them.
const TOMBSTONE_MARGIN: Duration = Duration::from_secs(24 * 60 * 60);

/// Moves every head to a durable record's entry, unless it is there or further. The first move that fails for good ends it;
/// what was moved until then stays.
///
/// # Errors
/// The first [`StoreError`] that was not worth, or had no time for, another try.
pub async fn roll_forward<S: Store>(
    store: &S,
    record: &CommitRecord,
    patience: Patience<'_>,
) -> Result<(), StoreError> {
    let expires = record.expires_at_seconds.saturating_add(TOMBSTONE_MARGIN.as_secs());
    // Collected first: a stream of borrowing futures would not be Send.
    let moves: Vec<_> =
        record.head_entries().map(|(key, entry)| move_head(store, key, entry, expires, patience)).collect();
    stream::iter(moves).map(Ok).try_for_each_concurrent(PARALLEL, |moving| moving).await
}

async fn move_head<S: Store>(
    store: &S,
    key: &Key,
    entry: Entry,
    expires: u64,
    patience: Patience<'_>,
) -> Result<(), StoreError> {
    patience.retrying(|| store.apply(key, &entry, expires)).await.map(drop)
}
