//! What one system did in one case: a row of a table, and of the file that the plots are drawn from.

use std::ops::Add;
use std::time::Duration;

use aft_bench::samples::Samples;
use serde::{Deserialize, Serialize};

use crate::case::Case;
use crate::storage::Traffic;

/// What a million units cost, in dollars.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Prices {
    /// Write units.
    pub write: f64,
    /// Read units.
    pub read: f64,
}

/// A row. Times in milliseconds; what is counted is for one request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Which work.
    pub workload: String,
    /// Over which storage.
    pub storage: String,
    /// By whom, as tables name it.
    pub system: String,
    /// What the workload varies.
    pub x: f64,
    /// Bytes of a value.
    pub bytes: usize,
    /// Clients, each of which waits for its answer.
    pub clients: usize,
    /// Requests that were answered.
    pub requests: usize,
    /// Until the caller has the answer: median.
    pub p50: f64,
    /// And the 99th percentile.
    pub p99: f64,
    /// Until the sandbox is free again, median; of one client only.
    pub free_p50: f64,
    /// Of the time until the answer, what is not the storage's, median; of one client only.
    pub beside_p50: f64,
    /// Requests per second.
    pub per_second: f64,
    /// Requests to the storage one after the other until the answer; of one client only.
    pub round_trips: f64,
    /// All requests to the storage.
    pub storage_requests: f64,
    /// Write units.
    pub write_units: f64,
    /// Read units.
    pub read_units: f64,
    /// Bodies of requests to the storage and of its answers.
    pub wire_bytes: f64,
    /// Processor time of the extension, in microseconds.
    pub extension_micros: f64,
    /// Processor time of the shim, in microseconds.
    pub shim_micros: f64,
    /// Of the requests to the engine, in percent, those that took it longer than the model.
    pub overran_percent: f64,
    /// Requests, in percent, that have seen part of what another one wrote; by what each function's invocation wrote and saw.
    pub anomalies: f64,
    /// The same by what all functions of a request wrote and saw together.
    pub anomalies_across: f64,
    /// Attempts that were cancelled because others were in the way.
    pub aborts: f64,
    /// Of the duplicates, in percent, those whose work was done twice.
    pub ran_again: f64,
    /// Of a million requests: storage only.
    pub dollars: f64,
}

impl Row {
    /// Whether it is one of this case's, over this storage.
    #[must_use]
    pub fn is_of(&self, case: &Case, storage: &str) -> bool {
        let is_alike = self.workload == case.workload && self.storage == storage && self.bytes == case.bytes;
        is_alike && (self.x - case.x).abs() < 1e-9
    }
}

/// What has been seen of one system in one case.
#[derive(Debug, Default)]
pub struct Measured {
    /// Until the answer.
    pub answered: Samples,
    /// Until the sandbox was free.
    pub free: Samples,
    /// Of the time until the answer, what was not the storage's.
    pub beside: Samples,
    /// While it was this system's turn.
    pub took: Duration,
    /// Round trips until the answer.
    pub round_trips: usize,
    /// What went through the door.
    pub traffic: Vec<Traffic>,
    /// Processor time, microseconds.
    pub processor: (u64, u64),
    /// Requests with an anomaly: within an invocation, across a request.
    pub anomalies: (usize, usize),
    /// Cancelled attempts.
    pub aborts: usize,
    /// Duplicates, and those of them whose work was done twice.
    pub duplicates: (usize, usize),
}

impl Measured {
    /// The row's figures; who and what is the caller's.
    #[must_use]
    pub fn row(&self, prices: Prices) -> Row {
        let count = self.answered.len() as f64;
        let each = |sum: f64| if count > 0.0 { sum / count } else { 0.0 };
        let percent = |some: usize, all: f64| if all > 0.0 { some as f64 / all * 100.0 } else { 0.0 };
        let sum = |of: fn(&Traffic) -> f64| self.traffic.iter().map(of).fold(0.0, Add::add);
        let requests = sum(|traffic| traffic.requests() as f64);
        let (writes, reads) = (sum(Traffic::write_units), sum(Traffic::read_units));
        let millis = |duration: Duration| duration.as_secs_f64() * 1e3;
        let overruns = sum(|traffic| traffic.overruns() as f64);
        Row {
            requests: self.answered.len(),
            p50: millis(self.answered.median()),
            p99: millis(self.answered.percentile(99)),
            free_p50: millis(self.free.median()),
            beside_p50: millis(self.beside.median()),
            per_second: if self.took.is_zero() { 0.0 } else { count / self.took.as_secs_f64() },
            round_trips: each(self.round_trips as f64),
            storage_requests: each(requests),
            write_units: each(writes),
            read_units: each(reads),
            wire_bytes: each(sum(|traffic| traffic.bytes() as f64)),
            extension_micros: each(self.processor.0 as f64),
            shim_micros: each(self.processor.1 as f64),
            overran_percent: if requests > 0.0 { overruns / requests * 100.0 } else { 0.0 },
            anomalies: percent(self.anomalies.0, count),
            anomalies_across: percent(self.anomalies.1, count),
            aborts: each(self.aborts as f64),
            ran_again: percent(self.duplicates.1, self.duplicates.0 as f64),
            dollars: each(writes) * prices.write + each(reads) * prices.read,
            ..Row::default()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::Row;
    use crate::workloads;

    #[test]
    fn a_case_that_the_file_has_is_known_again() {
        let case = &workloads::one_function()[0];
        let row = Row { workload: case.workload.to_owned(), x: case.x, bytes: case.bytes, ..Row::default() };
        let row = Row { storage: "embedded".to_owned(), ..row };
        let read: Row = serde_json::from_str(&serde_json::to_string(&row).unwrap()).unwrap();
        assert!(read.is_of(case, "embedded"));
        assert!(!read.is_of(case, "DynamoDB Local"));
        assert!(!read.is_of(&workloads::skew()[1], "embedded"));
    }
}
