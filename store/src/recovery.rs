//! Finding the commit records that are not applied, and rolling them forward (R-FM-1, R-FM-3).
//!
//! A record is applied if every head that it writes is at its version or at a newer one. Heads may be read eventually
//! consistent: one that looks behind and is not costs a move that its condition refuses (R-COMMIT-5), and a head never
//! looks further than it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aft_protocol::head::Before;
use aft_protocol::key::Key;
use aft_protocol::limits::BATCH_KEYS;
use aft_protocol::record::CommitRecord;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use crate::retry::Patience;
use crate::{Store, StoreError, roll_forward};

/// Requests for heads that run at the same time: each answer may have 16 MB, and 40 MB are kept of it until the versions
/// are picked out.
const HEAD_REQUESTS: usize = 2;
/// Records of one call that are rolled forward at the same time; each moves several heads at once.
const RECORDS: usize = 4;

/// What to do with a record that is not applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Roll it forward.
    RollForward,
    /// Only say so.
    Look,
}

/// What became of a record.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Every head was there already, or further.
    Applied,
    /// A head is behind, and nothing was done about it ([`Doing::Look`]).
    Behind,
    /// A head was behind, or seemed so, and all are there now.
    RolledForward,
    /// It is not known, or a head could not be moved.
    Failed(Arc<StoreError>),
}

/// Compares these records with the heads and does what is asked with those that are not applied; one outcome a record,
/// in the same order. It is now `now_seconds` since the epoch. One round trip for heads if all records together write at
/// most 100 keys.
///
/// A head that cannot be read only fails the records that write it.
pub async fn recover<S: Store>(
    store: &S,
    records: &[CommitRecord],
    doing: Doing,
    now_seconds: u64,
    patience: Patience<'_>,
) -> Vec<Outcome> {
    let together = recover_together(store, records, doing, now_seconds, patience).await;
    let error = match together {
        Ok(outcomes) => return outcomes,
        Err(error) => error,
    };
    if records.len() == 1 || error.kind().is_retryable() {
        // Out of time, or alone: nothing else is to be learnt.
        let error = Arc::new(error);
        return records.iter().map(|_| Outcome::Failed(Arc::clone(&error))).collect();
    }
    let mut outcomes = Vec::with_capacity(records.len());
    for record in records {
        let alone = recover_together(store, std::slice::from_ref(record), doing, now_seconds, patience).await;
        outcomes.extend(alone.unwrap_or_else(|error| vec![Outcome::Failed(Arc::new(error))]));
    }
    outcomes
}

/// Rolls one record forward if a head is behind it. One round trip for heads if it writes at most 100 keys.
///
/// # Errors
/// [`StoreError`]: the heads could not be read, or not all be moved.
pub async fn recover_one<S: Store>(
    store: &S,
    record: &CommitRecord,
    now_seconds: u64,
    patience: Patience<'_>,
) -> Result<(), StoreError> {
    let keys = record.writes.keys().cloned().collect();
    let heads = heads(store, keys, patience).await?;
    roll_forward(store, record, &heads, now_seconds, patience).await
}

async fn recover_together<S: Store>(
    store: &S,
    records: &[CommitRecord],
    doing: Doing,
    now_seconds: u64,
    patience: Patience<'_>,
) -> Result<Vec<Outcome>, StoreError> {
    let keys: BTreeSet<_> = records.iter().flat_map(|record| record.writes.keys().cloned()).collect();
    let heads = heads(store, keys, patience).await?;
    // Collected first: a stream of borrowing futures would not be Send.
    let each: Vec<_> =
        records.iter().map(|record| recover_each(store, record, &heads, doing, now_seconds, patience)).collect();
    Ok(stream::iter(each).buffered(RECORDS).collect().await)
}

async fn recover_each<S: Store>(
    store: &S,
    record: &CommitRecord,
    heads: &BTreeMap<Key, Before>,
    doing: Doing,
    now_seconds: u64,
    patience: Patience<'_>,
) -> Outcome {
    match doing {
        _ if is_applied(record, heads) => Outcome::Applied,
        Doing::Look => Outcome::Behind,
        Doing::RollForward => match roll_forward(store, record, heads, now_seconds, patience).await {
            Ok(()) => Outcome::RolledForward,
            Err(error) => Outcome::Failed(Arc::new(error)),
        },
    }
}

/// Whether every head that the record writes is at its version or further.
fn is_applied(record: &CommitRecord, heads: &BTreeMap<Key, Before>) -> bool {
    record.writes.keys().all(|key| heads.get(key).is_some_and(|head| head.version >= record.version))
}

/// What these heads are at.
async fn heads<S: Store>(
    store: &S,
    keys: BTreeSet<Key>,
    patience: Patience<'_>,
) -> Result<BTreeMap<Key, Before>, StoreError> {
    let keys: Vec<_> = keys.into_iter().collect();
    let requests: Vec<_> = keys.chunks(BATCH_KEYS).map(|keys| keys.iter().cloned().collect::<BTreeSet<_>>()).collect();
    let answers = requests.iter().map(|keys| async move {
        let heads = patience.retrying(|| store.heads(keys)).await?;
        Ok::<_, StoreError>(heads.into_iter().map(|(key, head)| (key, head.before())).collect::<Vec<_>>())
    });
    let answers: Vec<_> = answers.collect();
    stream::iter(answers)
        .buffer_unordered(HEAD_REQUESTS)
        .map_ok(|heads| stream::iter(heads).map(Ok))
        .try_flatten()
        .try_collect()
        .await
}

/// Puts what is found into groups whose records together write at most as many keys as one request for heads may name. A
/// record that is larger, or whose keys are not all known yet, is a group by itself: what is in memory stays bounded.
#[must_use]
pub fn grouped<T>(found: Vec<T>, keys: impl Fn(&T) -> Option<usize>) -> Vec<Vec<T>> {
    let mut groups: Vec<Vec<T>> = Vec::new();
    let mut room = 0;
    for each in found {
        // An empty record takes a place too.
        let size = keys(&each).map_or(BATCH_KEYS, |keys| keys.max(1));
        match groups.last_mut() {
            Some(group) if size <= room => group.push(each),
            Some(_) | None => {
                groups.push(vec![each]);
                room = BATCH_KEYS;
            }
        }
        room = room.saturating_sub(size);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn a_group_is_what_one_request_for_heads_may_name() {
        let groups = |sizes: &[usize]| grouped(sizes.to_vec(), |size| (*size < 1_000).then_some(*size));
        assert!(groups(&[]).is_empty());
        assert_eq!(groups(&[3, 5, 0]), [vec![3, 5, 0]]);
        assert_eq!(groups(&[60, 40, 1]), [vec![60, 40], vec![1]]);
        assert_eq!(groups(&[1, 250, 1]), [vec![1], vec![250], vec![1]], "a large record is alone");
        assert_eq!(groups(&[1, 5_000, 1]), [vec![1], vec![5_000], vec![1]], "so is one whose keys are not known");
        assert_eq!(groups(&[0; 101]).len(), 2, "records that wrote nothing do not pile up");
    }
}
