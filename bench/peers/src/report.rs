//! Tables in Markdown, targets beside what was found, and one file in JSON that the plots are drawn from.

use std::fmt::Write as _;

use crate::system::System;
use crate::writes::Row;

/// The table of one value size.
#[must_use]
pub fn of_writes(rows: &[Row], bytes: usize) -> String {
    let mut text = String::from(
        "| keys | system | p50 ms | p99 ms | sandbox free ms | round trips | requests | write units | read units | KB on the wire | extension, shim µs |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows.iter().filter(|row| row.bytes == bytes) {
        let micros = match (row.extension_micros, row.shim_micros) {
            (0.0, _) => String::new(),
            (extension, shim) => format!("{extension:.0}, {shim:.0}"),
        };
        // Writing to a text cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {:.2} | {:.2} | {:.2} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {micros} |",
            row.keys,
            row.system,
            row.p50,
            row.p99,
            row.free_p50,
            row.round_trips,
            row.requests,
            row.write_units,
            row.read_units,
            row.wire_bytes / 1e3,
        );
    }
    text
}

/// A promise, and what became of it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Target {
    /// What is promised.
    pub what: String,
    /// The figure.
    pub found: f64,
    /// The limit.
    pub limit: f64,
    /// Whether the figure may not be above the limit (or else not below).
    pub at_most: bool,
}

impl Target {
    /// Whether it is kept.
    #[must_use]
    pub fn is_met(&self) -> bool {
        if self.at_most { self.found <= self.limit } else { self.found >= self.limit }
    }
}

/// The targets that this workload is about, of the smallest and the largest value size that was run.
#[must_use]
pub fn targets(rows: &[Row]) -> Vec<Target> {
    let sizes: std::collections::BTreeSet<usize> = rows.iter().map(|row| row.bytes).collect();
    let mut targets = Vec::new();
    for bytes in sizes {
        let of = |system: System, keys: usize| {
            rows.iter().find(|row| row.system == system.name() && row.keys == keys && row.bytes == bytes)
        };
        let mut target = |what: &str, at_most: bool, limit: f64, found: Option<f64>| {
            if let Some(found) = found {
                targets.push(Target { what: format!("{what}, values of {bytes} bytes"), found, limit, at_most });
            }
        };
        // What Lambda itself takes is in every figure, and is none of the storage's: it is taken off where commits are compared.
        let empty = of(System::Nothing, 10).map_or(0.0, |row| row.p50);
        let ratio = |one: System, other: System, less: f64| {
            let (one, other) = (of(one, 10)?, of(other, 10)?);
            Some((one.p50 - less) / (other.p50 - less))
        };
        target(
            "10 writes, durable, to TransactWriteItems",
            true,
            0.5,
            ratio(System::Durable, System::Transaction, empty),
        );
        target(
            "10 writes, durable, to AFT as published",
            true,
            0.6,
            ratio(System::Durable, System::Published, empty),
        );
        target(
            "10 writes end to end, plain sequential to visible",
            false,
            4.0,
            ratio(System::Sequential, System::Visible, 0.0),
        );
        if bytes <= 400 {
            let units = |keys| Some(of(System::Visible, keys)?.write_units / of(System::Transaction, keys)?.write_units);
            target("write units of 10 writes to TransactWriteItems", true, 0.6, units(10));
        }
        let powertools = |keys| {
            Some(of(System::Visible, keys)?.write_units - of(System::Powertools, keys)?.write_units)
        };
        target("write units of 2 writes less those of Powertools and plain writes", true, 0.0, powertools(2));
    }
    targets
}

/// The table of targets.
#[must_use]
pub fn of_targets(targets: &[Target]) -> String {
    let mut text = String::from("| target | limit | found | |\n|---|---|---|---|\n");
    for target in targets {
        let sign = if target.at_most { "≤" } else { "≥" };
        let verdict = if target.is_met() { "met" } else { "**missed**" };
        let _ = writeln!(text, "| {} | {sign} {} | {:.2} | {verdict} |", target.what, target.limit, target.found);
    }
    text
}
