//! One invocation: a batch of stream records in, the names of those that failed out.
//!
//! The records of a batch are independent of each other, because versions alone say which head moves (R-COMMIT-5). So none
//! waits for another, and none that fails keeps another from being done: whatever Lambda makes of those after a failed one
//! (it delivers them again, and drops them together with it after the last retry), they are done the first time.

use std::collections::BTreeSet;
use std::sync::Arc;

use aft_protocol::record::CommitRecord;
use aft_store::StoreError;
use aft_store::dynamodb::{DynamoDb, Found};
use aft_store::recovery::{self, Doing, Outcome, grouped};
use aft_store::retry::Patience;
use futures_util::stream::{self, StreamExt};

use crate::event::{Answer, Event, StreamRecord};
use crate::settled::{Mark, settled};

/// Groups that are looked at together: each is up to 100 heads, or a record of up to 10 MB.
const GROUPS: usize = 2;

/// What became of a batch: the line that metrics are made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Commit records in the batch.
    pub records: usize,
    /// Settled by the low-water mark of a later one: nothing was read.
    pub settled: usize,
    /// Compared with their heads.
    pub checked: usize,
    /// Found behind, and applied.
    pub rolled_forward: usize,
    /// Reported to Lambda, to come again.
    pub failed: usize,
}

/// A record that is to be looked at: its place in the batch, and what is known of it.
struct Open {
    index: usize,
    found: Found,
}

/// Applies every commit record of the batch that is not applied, as far as there is time, and reports those that it could
/// not.
pub async fn recover(store: &DynamoDb, event: Event, now_seconds: u64, patience: Patience<'_>) -> Answer {
    let records: Vec<_> = event.records.into_iter().filter(StreamRecord::is_commit).collect();
    let mut tally = Tally { records: records.len(), ..Tally::default() };
    let mut failed = BTreeSet::new();
    let open = decode(store, &records, &mut failed);
    let decoded = open.len();
    let open = without_settled(open);
    tally.settled = decoded - open.len();
    tally.checked = open.len();
    let keys = |open: &Open| open.found.is_whole().then(|| open.found.so_far().writes.len());
    let groups: Vec<_> =
        grouped(open, keys).into_iter().map(|group| look_at(store, group, now_seconds, patience)).collect();
    let mut outcomes = stream::iter(groups).buffer_unordered(GROUPS).map(stream::iter).flatten();
    while let Some((index, outcome)) = outcomes.next().await {
        match outcome {
            Outcome::Applied | Outcome::Behind => {}
            Outcome::RolledForward => {
                tally.rolled_forward += 1;
                tracing::info!(
                    transaction = records[index].transaction(),
                    "rolled forward: its sandbox did not live to"
                );
            }
            Outcome::Failed(error) => {
                report(&records[index], &*error);
                failed.insert(index);
            }
        }
    }
    tally.failed = failed.len();
    say(&tally);
    failed.into_iter().map(|index| records[index].sequence_number().clone()).collect()
}

/// The records as far as the stream has them; what is malformed has failed.
fn decode(store: &DynamoDb, records: &[StreamRecord], failed: &mut BTreeSet<usize>) -> Vec<Open> {
    let mut open = Vec::with_capacity(records.len());
    for (index, record) in records.iter().enumerate() {
        match record.new_image().map(|image| store.found_in_stream(image)) {
            Some(Ok(found)) => open.push(Open { index, found }),
            Some(Err(error)) => {
                report(record, &error);
                failed.insert(index);
            }
            None => {
                report(record, &"the stream does not carry new images: set its StreamViewType to NEW_IMAGE");
                failed.insert(index);
            }
        }
    }
    open
}

/// R-FM-2: those that a later one of the same sandbox does not settle.
fn without_settled(open: Vec<Open>) -> Vec<Open> {
    let marks: Vec<_> = open.iter().map(|open| Mark::from(open.found.so_far())).collect();
    open.into_iter().zip(settled(&marks)).filter(|(_, settled)| !settled).map(|(open, _)| open).collect()
}

/// One outcome for each record of a group.
async fn look_at(
    store: &DynamoDb,
    group: Vec<Open>,
    now_seconds: u64,
    patience: Patience<'_>,
) -> Vec<(usize, Outcome)> {
    let mut outcomes = Vec::with_capacity(group.len());
    let (mut indexes, mut records) = (Vec::new(), Vec::new());
    for Open { index, found } in group {
        match whole(store, &found, patience).await {
            Ok(record) => {
                indexes.push(index);
                records.push(record);
            }
            Err(error) => outcomes.push((index, Outcome::Failed(Arc::new(error)))),
        }
    }
    let recovered = recovery::recover(store, &records, Doing::RollForward, now_seconds, patience).await;
    outcomes.extend(indexes.into_iter().zip(recovered));
    outcomes
}

/// With the chunks, if there are any.
async fn whole(store: &DynamoDb, found: &Found, patience: Patience<'_>) -> Result<CommitRecord, StoreError> {
    patience.retrying(|| store.whole(found)).await
}

/// One line for a record that failed: which transaction, why, and what to do.
fn report(record: &StreamRecord, why: &dyn std::fmt::Display) {
    let transaction = record.transaction();
    tracing::error!(
        transaction,
        sequence_number = %record.sequence_number(),
        "committed, but not applied by the fault manager: {why}; Lambda delivers it again, and hands it to the on-failure \
         destination in the end: remove the cause, then run `aft recover --transaction {transaction}`"
    );
}

/// One line a batch.
fn say(tally: &Tally) {
    let Tally { records, settled, checked, rolled_forward, failed } = *tally;
    tracing::info!(records, settled, checked, rolled_forward, failed, "batch");
}
