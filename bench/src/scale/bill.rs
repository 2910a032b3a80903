//! Computed from a cell, not simulated: how many partitions its rate needs, what a hot key allows, what the stream and the fault manager
//! have to do, what is stored, and what a month of it costs.

use aft_protocol::head::{Cowritten, Entry};
use aft_protocol::id::TransactionId;
use aft_protocol::key::Key;
use aft_protocol::limits::BATCH_KEYS;
use aft_protocol::value::{ContentType, Value};
use aft_protocol::version::{Timestamp, Version};

use super::partitions::Limits;
use super::workload::Work;
use super::{Cell, units};
use crate::Error;

/// What DynamoDB's storage counts for each item besides.
const STORED_BYTES: f64 = 100.0;
const GIB: f64 = (1_u64 << 30) as f64;
const MONTH_SECONDS: f64 = 30.0 * 24.0 * 3_600.0;
/// A new table on demand has so many partitions: it takes 4,000 writes a second at once.
const LEAST_PARTITIONS: f64 = 4.0;

/// Of the fault manager's mapping in `template.yaml`, and of Lambda.
const BATCH_RECORDS: f64 = 1_000.0;
const WINDOW_SECONDS: f64 = 20.0;
/// What Lambda hands to a function at once.
const EVENT_BYTES: f64 = 6.0 * 1_048_576.0;
/// What a record is in an event besides its item's bytes, which are in base64.
const EVENT_RECORD_BYTES: f64 = 700.0;

/// Dollars: US East (N. Virginia), standard class, on demand, November 2026, unless others are given.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Prices {
    /// A million write units.
    pub write: f64,
    /// A million read units.
    pub read: f64,
    /// A GB stored for a month.
    pub storage: f64,
}

/// What comes of a cell's rate, kept up for a month.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bill {
    /// Of the data table.
    pub data_partitions: f64,
    /// Of the transaction table; as many shards has its stream.
    pub transaction_partitions: f64,
    /// Transactions a second at which the hottest key's partition has nothing left; infinite if there is no hot key.
    pub ceiling: f64,
    /// Stream records a second.
    pub stream: f64,
    /// Invocations of the fault manager a second.
    pub invocations: f64,
    /// Its read units a second.
    pub invocation_reads: f64,
    /// Records, for their retention.
    pub retention_gb: f64,
    /// Both tables' units, the fault manager's, and the records' storage.
    pub dollars_month: f64,
}

/// The units of one head of this work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadUnits {
    /// To move it.
    pub write: usize,
    /// To read it, strongly consistent.
    pub read: usize,
}

impl HeadUnits {
    /// Of a head that carries no previous version.
    ///
    /// # Errors
    /// If a value is too large.
    pub fn of(work: &Work) -> Result<Self, Error> {
        let entry = Entry {
            version: Version::new(Timestamp::from_micros(1), TransactionId::from_bits(1)),
            value: Some(Value::new(vec![0; work.bytes], ContentType::default())?),
            cowritten: Cowritten::none(),
            record_expires_at_seconds: 1,
        };
        let bytes = entry.head_bytes(&Key::new("key-000000")?);
        Ok(Self { write: units::to_write(bytes), read: units::to_read(bytes) })
    }
}

/// Transactions a second at which the partition of the hottest key, which has it to itself, is out of write or of read units.
/// A written key that was not read is looked up, too.
///
/// # Errors
/// If a value is too large.
pub fn ceiling(work: &Work, keys: usize, limits: &Limits) -> Result<f64, Error> {
    let head = HeadUnits::of(work)?;
    let share = 1.0 / (1..=keys).map(|rank| (rank as f64).powf(-work.skew)).sum::<f64>();
    let (reads, writes) = (work.reads as f64, work.writes as f64);
    // A key that is drawn twice is read once, and the one that is written is looked up unless it was among them.
    let read = 1.0 - (1.0 - share).powf(reads + writes);
    let written = 1.0 - (1.0 - share).powf(writes);
    Ok((limits.writes / (written * head.write as f64)).min(limits.reads / (read * head.read as f64)))
}

/// What so many records a second are, kept for so long: `docs/tables.md`, "Retention and size".
fn stored_gb(records: f64, retention_seconds: f64, record_bytes: f64) -> f64 {
    records * retention_seconds * (record_bytes + STORED_BYTES) / GIB
}

impl Bill {
    /// Of this cell.
    ///
    /// # Errors
    /// If a value is too large.
    pub fn of(cell: &Cell, keys: usize, retention_seconds: f64, prices: &Prices) -> Result<Self, Error> {
        let Cell { case, usage, .. } = cell;
        let published = Limits::default();
        let partitions = |writes: usize, reads: usize| {
            let needed = (cell.a_second(writes) / published.writes).max(cell.a_second(reads) / published.reads);
            needed.ceil().max(LEAST_PARTITIONS)
        };
        let stream = cell.a_second(usage.records);
        let record_bytes = usage.record_bytes as f64 / (usage.records as f64).max(1.0);
        let shards = partitions(usage.transaction_writes, usage.transaction_reads);
        let manager = FaultManager::of(stream, shards, case.sandboxes as f64, record_bytes);
        let head = HeadUnits::of(&case.work)?;
        // Eventually consistent: half of it.
        let invocation_reads = manager.checked * case.work.writes as f64 * head.read as f64 / 2.0;
        let retention_gb = stored_gb(stream, retention_seconds, record_bytes);
        let month = |a_second: f64, price: f64| a_second * MONTH_SECONDS / 1e6 * price;
        Ok(Self {
            data_partitions: partitions(usage.data_writes, usage.data_reads),
            transaction_partitions: shards,
            ceiling: ceiling(&case.work, keys, &published)?,
            stream,
            invocations: manager.invocations,
            invocation_reads,
            retention_gb,
            dollars_month: month(cell.a_second(usage.writes()), prices.write)
                + month(cell.a_second(usage.reads()) + invocation_reads, prices.read)
                + retention_gb * prices.storage,
        })
    }
}

/// What the fault manager has to do in a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FaultManager {
    /// Invocations.
    pub invocations: f64,
    /// Records that no later one of the same sandbox in the batch settles (R-FM-2), and that are compared with their heads.
    pub checked: f64,
    /// Requests for heads.
    pub requests: f64,
}

impl FaultManager {
    /// Records come at this rate from so many sandboxes, evenly, over so many shards. A batch is as large as the mapping and Lambda
    /// allow, or what comes within its window. Each sandbox's last record in a batch is the one that is looked at.
    #[must_use]
    pub fn of(records: f64, shards: f64, sandboxes: f64, record_bytes: f64) -> Self {
        let event_bytes = record_bytes * 4.0 / 3.0 + EVENT_RECORD_BYTES;
        let largest = BATCH_RECORDS.min((EVENT_BYTES / event_bytes).floor());
        let batch = largest.min(records / shards * WINDOW_SECONDS);
        if batch == 0.0 {
            return Self { invocations: 0.0, checked: 0.0, requests: 0.0 };
        }
        // A shard in whose window nothing comes invokes nothing.
        let invocations = records / batch.max(1.0);
        let different = sandboxes * (1.0 - (1.0 - 1.0 / sandboxes).powf(batch.max(1.0)));
        let requests = invocations * (different / BATCH_KEYS as f64).ceil();
        Self { invocations, checked: invocations * different, requests }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{FaultManager, HeadUnits, ceiling, stored_gb};
    use crate::scale::partitions::Limits;
    use crate::scale::workload::Work;

    const WORK: Work = Work {
        reads: 0,
        writes: 1,
        bytes: 200,
        skew: 0.0,
        handler: Duration::ZERO,
        overhead: Duration::ZERO,
        queues: false,
    };

    #[test]
    fn one_key_takes_a_thousand_small_writes_and_a_fifth_of_that_at_4_kb() {
        let ceiling = |work: Work| ceiling(&work, 1, &Limits::default()).unwrap();
        assert_eq!(ceiling(WORK), 1_000.0);
        let large = Work { bytes: 4_096, ..WORK };
        assert_eq!(HeadUnits::of(&large).unwrap(), HeadUnits { write: 5, read: 2 });
        assert_eq!(ceiling(large), 200.0);
    }

    #[test]
    fn what_is_stored_is_what_the_documents_say() {
        assert!((stored_gb(1_000.0, 604_800.0, 942.0) - 587.0).abs() < 0.5, "1,000 commits a second for 7 days");
        assert!((stored_gb(1.0, 3_600.0, 942.0) - 0.003_49).abs() < 0.000_01);
    }

    /// `docs/fault-manager.md`, "Cost": five commits of a sandbox in a shard's window are one look.
    #[test]
    fn the_fault_manager_looks_at_a_sandboxs_last_record_in_a_batch() {
        let alone = FaultManager::of(1.0, 4.0, 1e9, 1_000.0);
        assert!((alone.invocations - 0.2).abs() < 1e-9, "a window of 20 s in each of 4 shards: {alone:?}");
        assert!((alone.checked - 1.0).abs() < 1e-3, "{alone:?}");
        let busy = FaultManager::of(10_000.0, 4.0, 200.0, 1_000.0);
        assert!((busy.invocations - 10.0).abs() < 1e-9, "{busy:?}");
        assert!((1_950.0..2_000.0).contains(&busy.checked), "200 sandboxes in each of 10 batches: {busy:?}");
        let large = FaultManager::of(10_000.0, 4.0, 200.0, 6_000.0);
        assert!(large.invocations > 12.0, "Lambda's 6 MB are fewer than 1,000 records: {large:?}");
    }
}
