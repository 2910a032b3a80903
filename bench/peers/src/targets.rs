//! What was promised, beside what was found: ratios of one run, over the latency model.

use serde::Serialize;

use crate::row::Row;
use crate::system::System;

/// A promise, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Target {
    /// What is promised.
    pub what: String,
    /// The figure.
    pub found: f64,
    /// The limit.
    pub limit: f64,
    /// Whether the figure may not be above the limit (or else not below).
    pub at_most: bool,
    /// Whether it is kept.
    pub met: bool,
}

/// The rows of one storage, asked by name.
struct Found<'a>(&'a [Row], &'a str);

impl Found<'_> {
    fn row(&self, workload: &str, system: System, x: f64, bytes: usize) -> Option<&Row> {
        self.0.iter().find(|row| {
            row.workload == workload
                && row.storage == self.1
                && row.system == system.name()
                && (row.x - x).abs() < 1e-9
                && row.bytes == bytes
        })
    }
}

/// The targets, of those rows that are over this storage; of what was not run there is none.
#[must_use]
pub fn targets(rows: &[Row], storage: &str) -> Vec<Target> {
    let found = Found(rows, storage);
    let mut targets = Vec::new();
    let mut target = |what: String, at_most: bool, limit: f64, found: Option<f64>| {
        if let Some(found) = found.filter(|found| found.is_finite()) {
            let met = if at_most { found <= limit } else { found >= limit };
            targets.push(Target { what, found, limit, at_most, met });
        }
    };
    for (workload, handler) in [("writes", "writes and answers"), ("writes-beside-work", "also works for 10 ms")] {
        // What an empty function takes is in every figure, and is none of the commit's.
        let commit = |system| {
            let nothing = found.row(workload, System::Nothing, 10.0, 400)?.p50;
            Some(found.row(workload, system, 10.0, 400)?.p50 - nothing)
        };
        let ratio = |one, other| Some(commit(one)? / commit(other)?);
        for system in [System::Durable, System::Trusting] {
            for (other, limit) in [(System::Transaction, 0.5), (System::Published, 0.6)] {
                let (one, other_name) = (system.name(), other.name());
                let what = format!("10 writes of 400 bytes, {one}, to {other_name}; a handler that {handler}");
                target(what, true, limit, ratio(system, other));
            }
        }
    }
    let end_to_end = |system| {
        let sequential = found.row("writes", System::Sequential, 10.0, 400)?.p50;
        Some(sequential / found.row("writes", system, 10.0, 400)?.p50)
    };
    for system in [System::Visible, System::Durable, System::Trusting] {
        let what = format!("10 writes of 400 bytes end to end, plain sequential to {}", system.name());
        target(what, false, 4.0, end_to_end(system));
    }
    for bytes in [100, 400] {
        let units = |system| Some(found.row("writes", system, 10.0, bytes)?.write_units);
        let ratio = || Some(units(System::Visible)? / units(System::Transaction)?);
        target(format!("write units of 10 writes of {bytes} bytes to TransactWriteItems"), true, 0.6, ratio());
    }
    for bytes in [100, 400, 4_096] {
        let units = |system| Some(found.row("writes", system, 2.0, bytes)?.write_units);
        let ratio = || Some(units(System::Visible)? / units(System::Powertools)?);
        let what = format!("write units of 2 writes of {bytes} bytes to Powertools and plain writes");
        target(what, true, 1.0, ratio());
    }
    for system in [System::Durable, System::Trusting] {
        let nothing = || Some(found.row("writes", System::Nothing, 1.0, 400)?.beside_p50);
        let sidecar = || Some(found.row("writes", system, 1.0, 400)?.beside_p50 - nothing()?);
        let what = format!("ms beside the storage's for 1 write, more than an empty function takes, {}", system.name());
        target(what, true, 0.3, sidecar());
    }
    let aborts = |system| Some(found.row("skew", system, 2.0, 4_096)?.aborts);
    target("aborts each, read atomic, at Zipf 2.0".to_owned(), true, 0.0, aborts(System::Visible));
    target("… of TransactWriteItems".to_owned(), false, 0.001, aborts(System::Transaction));
    targets
}
