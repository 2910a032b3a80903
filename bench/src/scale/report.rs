//! Tables in Markdown, and rows for the file that plots are drawn from.

use std::fmt::Write as _;
use std::time::Duration;

use aft_extension::session::Ack;
use aft_tests::growth::whole;
use serde::Serialize;

use super::Cell;
use super::bill::{Bill, HeadUnits, Prices};
use super::calibration::{Compared, worst};
use crate::Error;

/// One cell, flat. Times in milliseconds; what is *each* is for one transaction.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Always `scale`.
    pub workload: &'static str,
    /// Which system.
    pub system: &'static str,
    /// How many sandboxes.
    pub x: usize,
    /// Zipf's exponent.
    pub skew: f64,
    /// Bytes of a value.
    pub bytes: usize,
    /// Partitions of each table; 0: every key has one to itself.
    pub partitions: u64,
    /// Transactions answered, a second.
    pub per_second: f64,
    /// Until the answer.
    pub p50: f64,
    /// Until the answer.
    pub p99: f64,
    /// Of all, in percent, that ran out of time.
    pub failed_percent: f64,
    /// Requests that were over a partition's limit, each.
    pub throttled: f64,
    /// Write units, each.
    pub write_units: f64,
    /// Read units, each.
    pub read_units: f64,
    /// Write units a second of the key with most of them.
    pub hottest_write_units: f64,
    /// Computed: transactions a second at which the hottest key's partition is out of units.
    pub ceiling_per_second: f64,
    /// Computed: what the data table needs.
    pub data_partitions: f64,
    /// Computed: what the transaction table needs.
    pub transaction_partitions: f64,
    /// Stream records a second.
    pub stream_per_second: f64,
    /// Computed: the fault manager's invocations a second.
    pub fault_manager_per_second: f64,
    /// Computed: its read units a second.
    pub fault_manager_read_units: f64,
    /// Computed: records, for their retention.
    pub retention_gb: f64,
    /// Computed: a month of all of it.
    pub dollars_month: f64,
}

impl Row {
    /// Of this cell.
    ///
    /// # Errors
    /// If a value is too large.
    pub fn of(cell: &Cell, keys: usize, retention_seconds: f64, prices: &Prices) -> Result<Self, Error> {
        let bill = Bill::of(cell, keys, retention_seconds, prices)?;
        let Cell { case, tally, usage, .. } = cell;
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let ended = (tally.latencies.len() + tally.failed) as f64;
        let each = |count: usize| count as f64 / ended.max(1.0);
        Ok(Self {
            workload: "scale",
            system: match case.ack {
                Ack::Visible => "this project, visible",
                Ack::Durable => "this project, durable",
            },
            x: case.sandboxes,
            skew: case.work.skew,
            bytes: case.work.bytes,
            partitions: case.limits.partitions.unwrap_or_default(),
            per_second: cell.per_second(),
            p50: ms(tally.latencies.median()),
            p99: ms(tally.latencies.percentile(99)),
            failed_percent: 100.0 * each(tally.failed),
            throttled: each(usage.throttled),
            write_units: each(usage.writes()),
            read_units: each(usage.reads()),
            hottest_write_units: cell.a_second(usage.hottest_writes()),
            ceiling_per_second: bill.ceiling,
            data_partitions: bill.data_partitions,
            transaction_partitions: bill.transaction_partitions,
            stream_per_second: bill.stream,
            fault_manager_per_second: bill.invocations,
            fault_manager_read_units: bill.invocation_reads,
            retention_gb: bill.retention_gb,
            dollars_month: bill.dollars_month,
        })
    }
}

/// What was simulated.
#[must_use]
pub fn of_rates(rows: &[Row]) -> String {
    let mut text = String::from(
        "| bytes | skew | sandboxes | partitions | transactions/s | p50, p99 ms | out of time | throttled each | write, read units each | hottest key: write units/s | its ceiling, transactions/s (computed) |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let partitions = if row.partitions == 0 { "one a key".to_owned() } else { row.partitions.to_string() };
        // Writing to a text cannot fail.
        let _ = writeln!(
            text,
            "| {} | {:.1} | {} | {partitions} | {} | {:.1}, {:.1} | {:.1} % | {:.2} | {:.2}, {:.2} | {:.0} | {} |",
            row.bytes,
            row.skew,
            thousands(row.x as f64),
            thousands(row.per_second),
            row.p50,
            row.p99,
            row.failed_percent,
            row.throttled,
            row.write_units,
            row.read_units,
            row.hottest_write_units,
            thousands(row.ceiling_per_second),
        );
    }
    text
}

/// What was computed of it.
#[must_use]
pub fn of_bills(rows: &[Row]) -> String {
    let mut text = String::from(
        "| bytes | skew | sandboxes | partitions needed: data, transactions | stream records/s | fault manager: invocations/s, read units/s | records stored, GB | dollars a month |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let _ = writeln!(
            text,
            "| {} | {:.1} | {} | {}, {} | {} | {:.1}, {} | {} | {} |",
            row.bytes,
            row.skew,
            thousands(row.x as f64),
            thousands(row.data_partitions),
            thousands(row.transaction_partitions),
            thousands(row.stream_per_second),
            row.fault_manager_per_second,
            thousands(row.fault_manager_read_units),
            thousands(row.retention_gb),
            thousands(row.dollars_month),
        );
    }
    text
}

/// The ceiling of one key, by the size of its value.
///
/// # Errors
/// If a value is too large.
pub fn of_hot_key(sizes: &[usize]) -> Result<String, Error> {
    let limits = super::partitions::Limits::default();
    let mut text = String::from(
        "| bytes of a value | write units of a move | writes/s of one key | read units | strong reads/s of one key |\n|---|---|---|---|---|\n",
    );
    for &bytes in sizes {
        let work = super::workload::Work {
            reads: 0,
            writes: 1,
            bytes,
            skew: 0.0,
            handler: Duration::ZERO,
            overhead: Duration::ZERO,
            queues: false,
        };
        let head = HeadUnits::of(&work)?;
        let (writes, reads) = (limits.writes / head.write as f64, limits.reads / head.read as f64);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            thousands(bytes as f64),
            head.write,
            thousands(writes),
            head.read,
            thousands(reads)
        );
    }
    Ok(text)
}

/// The model beside what was measured, and its worst error.
#[must_use]
pub fn of_calibration(compared: &[Compared]) -> String {
    let mut text = String::from(
        "| system | storage | bytes | sandboxes | p50 ms: measured, predicted | error | transactions/s: measured, predicted | error |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for row in compared {
        let note = if row.x == 1 { format!(" (fitted: {:.2} ms)", row.overhead) } else { String::new() };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {}{note} | {:.2}, {:.2} | {:+.1} % | {:.1}, {:.1} | {:+.1} % |",
            row.system,
            row.storage,
            row.bytes,
            row.x,
            row.p50,
            row.predicted_p50,
            row.p50_error,
            row.per_second,
            row.predicted_per_second,
            row.per_second_error,
        );
    }
    let (p50, per_second) = worst(compared);
    let _ =
        writeln!(text, "\nThe worst error of a prediction: {p50:.1} % of p50, {per_second:.1} % of transactions/s.");
    text
}

/// With commas; one decimal below ten.
fn thousands(number: f64) -> String {
    if number < 10.0 {
        let text = format!("{number:.1}");
        return text.strip_suffix(".0").map_or(text.clone(), str::to_owned);
    }
    whole(number.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::thousands;

    #[test]
    fn numbers_are_for_people() {
        assert_eq!(
            [0.24, 3.0, 9.96, 999.6, 12_345.0, 1_234_567.0].map(thousands),
            ["0.2", "3", "10", "1,000", "12,345", "1,234,567"]
        );
    }
}
