//! `aft recover`: looks at every commit record there is, or at one, and rolls forward what is not applied (R-FM-1, R-FM-3).
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | the scan, and what becomes of what it finds |
//! | `arguments.rs` | the command line, and which tables it means |
//! | `budget.rs` | a limit on read units, so that a scan does not starve those who work |
//! | `progress.rs` | a bar on a terminal, lines elsewhere |
//! | `summary.rs` | what it came to |
//!
//! Every record is compared with the heads; low-water marks are not trusted. Who recovers by hand may just have put the data
//! table back to an earlier time, of which no mark knows.

mod arguments;
mod budget;
mod progress;
mod summary;

use std::collections::BTreeSet;
use std::time::Duration;

use aft_protocol::id::TransactionId;
use aft_protocol::record::CommitRecord;
use aft_store::dynamodb::{DynamoDb, Found, Segment};
use aft_store::recovery::{Doing, Outcome, grouped, recover};
use aft_store::retry::Patience;
use aft_store::{Store, StoreError, is_past_recovery};
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::clock;
use budget::Budget;
use progress::Progress;

pub use arguments::{PlaceError, RecoverArguments};
pub use summary::Summary;

/// How long a request is tried again before its records count as failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// What an eventually consistent read of a head costs, if it has no more than 4 KB.
const UNITS_PER_HEAD: f64 = 0.5;

/// A recovery that is under way.
pub(crate) struct Recovery<'a> {
    pub(crate) store: &'a DynamoDb,
    pub(crate) doing: Doing,
    /// Which time it is for the tables, in seconds since the epoch.
    pub(crate) now_seconds: u64,
    pub(crate) budget: Budget,
    pub(crate) progress: Progress,
}

impl<'a> Recovery<'a> {
    pub(crate) async fn new(store: &'a DynamoDb, arguments: &RecoverArguments) -> Self {
        let doing = if arguments.dry_run { Doing::Look } else { Doing::RollForward };
        let items = if arguments.transaction.is_none() { store.items_about().await } else { None };
        let now_seconds = arguments.as_of.unwrap_or_else(|| clock::epoch_ms(Duration::ZERO) / 1_000);
        let (budget, progress) = (Budget::new(arguments.read_units_per_second), Progress::new(items));
        Self { store, doing, now_seconds, budget, progress }
    }

    /// Every commit record of the table, in so many segments at the same time.
    pub(crate) async fn scan(self, segments: i32) -> Summary {
        join_all((0..segments).map(|index| self.segment(Segment { index, of: segments }))).await;
        self.progress.finish()
    }

    /// The record of one transaction.
    pub(crate) async fn only(self, transaction: TransactionId) -> Summary {
        let wanted = BTreeSet::from([transaction]);
        match patience().retrying(|| self.store.records(&wanted)).await {
            Ok(mut records) => match records.remove(&transaction).flatten() {
                Some(record) => self.records(vec![record]).await,
                None => {
                    let why = "there is no commit record: it never committed, or its record has expired";
                    self.progress.failed(&transaction.to_string(), &why);
                }
            },
            Err(error) => self.progress.failed(&transaction.to_string(), &error),
        }
        self.progress.finish()
    }

    async fn segment(&self, segment: Segment) {
        let mut from = None;
        loop {
            self.budget.page().await;
            let page = patience().retrying(|| self.store.scan_records(segment, from.as_ref())).await;
            let page = match page {
                Ok(page) => page,
                Err(error) => {
                    let what = format!("what is left of segment {} of {}", segment.index + 1, segment.of);
                    return self.progress.failed(&what, &error);
                }
            };
            self.budget.page_was(page.read_units);
            self.progress.scanned(page.items, page.read_units);
            self.found(page.found).await;
            from = page.next;
            if from.is_none() {
                return;
            }
        }
    }

    /// The commit records of a page.
    async fn found(&self, found: Vec<Result<Found, StoreError>>) {
        let mut whole = Vec::with_capacity(found.len());
        for each in found {
            match each {
                Ok(found) => whole.push(found),
                Err(error) => self.progress.failed("a commit record", &error),
            }
        }
        for group in grouped(whole, |found| found.is_whole().then(|| found.so_far().writes.len())) {
            let mut records = Vec::with_capacity(group.len());
            for found in group {
                match patience().retrying(|| self.store.whole(&found)).await {
                    Ok(record) => records.push(record),
                    Err(error) => self.progress.failed(&named(found.so_far()), &error),
                }
            }
            self.records(records).await;
        }
    }

    async fn records(&self, mut records: Vec<CommitRecord>) {
        let all = records.len();
        records.retain(|record| !is_past_recovery(record, self.now_seconds));
        self.progress.past_recovery(all - records.len());
        let keys: usize = records.iter().map(|record| record.writes.len()).sum();
        self.budget.spend(keys as f64 * UNITS_PER_HEAD).await;
        let outcomes = recover(self.store, &records, self.doing, self.now_seconds, patience()).await;
        for (record, outcome) in records.iter().zip(outcomes) {
            match outcome {
                Outcome::Applied => self.progress.applied(),
                Outcome::Behind => self.progress.behind(&named(record)),
                Outcome::RolledForward => self.progress.rolled_forward(&named(record)),
                Outcome::Failed(error) => self.progress.failed(&named(record), &*error),
            }
        }
    }
}

fn patience() -> Patience<'static> {
    Patience { until: Instant::now() + PATIENCE, random: &clock::random_bits }
}

/// A record, for people.
fn named(record: &CommitRecord) -> String {
    format!("{} ({}, {} keys)", record.transaction(), record.origin, record.writes.len())
}
