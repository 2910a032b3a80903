//! The model beside measured runs: the rows of workload `sandboxes` of what `peers` has written. What client, host, shim and extension
//! take of a request is fitted to the row with one sandbox; the others are predicted with it, and the difference is the
//! model's error.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use aft_extension::session::Ack;
use serde::{Deserialize, Serialize};

use super::partitions::Limits;
use super::workload::Work;
use super::{Case, Inputs, run};
use crate::Error;
use crate::latency::Model;

/// A row of which more requests than this were as slow as the engine, and not as the model says, is this machine's.
const OVERRAN_PERCENT: f64 = 5.0;

/// What of the file is read.
#[derive(Debug, Deserialize)]
struct Measured {
    model: MeasuredModel,
    rows: Vec<Row>,
}

#[derive(Debug, Deserialize)]
struct MeasuredModel {
    one: String,
    five: String,
    ten: String,
    transaction: f64,
}

#[derive(Debug, Clone, Deserialize)]
struct Row {
    workload: String,
    storage: String,
    system: String,
    x: f64,
    bytes: usize,
    p50: f64,
    per_second: f64,
    overran_percent: f64,
}

impl Row {
    fn ack(&self) -> Option<Ack> {
        match self.system.as_str() {
            "this project, visible" => Some(Ack::Visible),
            "this project, durable" => Some(Ack::Durable),
            _ => None,
        }
    }
}

/// One measured row, and what the model says of it. Times in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub struct Compared {
    /// Always `calibration`.
    pub workload: &'static str,
    /// Over what it was measured.
    pub storage: String,
    /// Which system.
    pub system: String,
    /// How many sandboxes.
    pub x: usize,
    /// Bytes of a value.
    pub bytes: usize,
    /// What was fitted, to the row with one sandbox.
    pub overhead: f64,
    /// Measured.
    pub p50: f64,
    /// By the model.
    pub predicted_p50: f64,
    /// Of the prediction, in percent.
    pub p50_error: f64,
    /// Measured.
    pub per_second: f64,
    /// By the model.
    pub predicted_per_second: f64,
    /// Of the prediction, in percent.
    pub per_second_error: f64,
}

/// What the measured work was, which the rows do not say.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// Keys read.
    pub reads: usize,
    /// Keys written.
    pub writes: usize,
    /// Keys there were.
    pub keys: usize,
    /// Zipf's exponent.
    pub skew: f64,
}

/// Predicts every row that this model is about.
///
/// # Errors
/// If the file is not one of `peers`, or has no row with one sandbox to fit to.
pub fn calibrate(file: &Path, asked: Asked, seed: u64, least: usize) -> Result<Vec<Compared>, Error> {
    let unreadable = |error: &dyn std::fmt::Display| format!("{} is no file of peers: {error}", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| unreadable(&error))?;
    let measured: Measured = serde_json::from_str(&text).map_err(|error| unreadable(&error))?;
    let model = Model {
        one: measured.model.one.parse()?,
        five: measured.model.five.parse()?,
        ten: measured.model.ten.parse()?,
        transaction: measured.model.transaction,
    };
    let inputs = Inputs { model, keys: asked.keys, seed, least };
    let is_ours = |row: &Row| {
        let by_model = row.storage.ends_with(", model") && row.overran_percent <= OVERRAN_PERCENT;
        row.workload == "sandboxes" && by_model && row.ack().is_some()
    };
    let mut series: BTreeMap<_, Vec<Row>> = BTreeMap::new();
    for row in measured.rows.into_iter().filter(is_ours) {
        series.entry((row.storage.clone(), row.system.clone(), row.bytes)).or_default().push(row);
    }
    let mut compared = Vec::new();
    for ((storage, system, bytes), rows) in series {
        let alone = rows.iter().find(|row| row.x == 1.0);
        let alone = alone.ok_or_else(|| {
            format!("{} has no row of {system} over {storage} with one sandbox to fit to: measure one", file.display())
        })?;
        let without = predict(&inputs, asked, alone, Duration::ZERO)?;
        let overhead = Duration::from_secs_f64((alone.p50 - without.0).max(0.0) / 1e3);
        for row in &rows {
            let (p50, per_second) = predict(&inputs, asked, row, overhead)?;
            compared.push(Compared {
                workload: "calibration",
                storage: storage.clone(),
                system: system.clone(),
                x: sandboxes(row),
                bytes,
                overhead: overhead.as_secs_f64() * 1e3,
                p50: row.p50,
                predicted_p50: p50,
                p50_error: error(p50, row.p50),
                per_second: row.per_second,
                predicted_per_second: per_second,
                per_second_error: error(per_second, row.per_second),
            });
        }
    }
    if compared.is_empty() {
        return Err(format!("{} has no row of workload sandboxes that the model is about", file.display()).into());
    }
    Ok(compared)
}

/// The worst of these errors, in percent: of the rows with more than one sandbox, because the one was fitted to.
#[must_use]
pub fn worst(compared: &[Compared]) -> (f64, f64) {
    let predicted = compared.iter().filter(|row| row.x > 1);
    predicted.fold((0.0, 0.0), |(p50, per_second), row| {
        (f64::max(p50, row.p50_error.abs()), f64::max(per_second, row.per_second_error.abs()))
    })
}

fn predict(inputs: &Inputs, asked: Asked, row: &Row, overhead: Duration) -> Result<(f64, f64), Error> {
    let Asked { reads, writes, skew, .. } = asked;
    // With one client `peers` waits until the sandbox is free; several send their next request with the answer.
    let work = Work { reads, writes, bytes: row.bytes, skew, handler: Duration::ZERO, overhead, queues: row.x > 1.0 };
    // Nobody limits the engine under test.
    let case = Case { ack: row.ack().unwrap_or_default(), sandboxes: sandboxes(row), work, limits: Limits::NONE };
    let cell = run(inputs, case)?;
    Ok((cell.tally.latencies.median().as_secs_f64() * 1e3, cell.per_second()))
}

fn sandboxes(row: &Row) -> usize {
    row.x as usize
}

fn error(predicted: f64, measured: f64) -> f64 {
    (predicted / measured - 1.0) * 100.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Asked, calibrate, worst};
    use crate::latency::Model;
    use crate::scale::partitions::Limits;
    use crate::scale::workload::Work;
    use crate::scale::{Case, Inputs, run};
    use aft_extension::session::Ack;

    const ASKED: Asked = Asked { reads: 2, writes: 1, keys: 1_000, skew: 1.0 };

    /// A file whose figures are the model's own under another seed, with this much overhead.
    fn file(name: &str, overhead_micros: u64, overran_percent: f64, sandboxes: &[usize]) -> std::path::PathBuf {
        let inputs = Inputs { model: Model::default(), keys: ASKED.keys, seed: 99, least: 400 };
        let overhead = Duration::from_micros(overhead_micros);
        let work =
            Work { reads: 2, writes: 1, bytes: 400, skew: 1.0, handler: Duration::ZERO, overhead, queues: false };
        let rows = sandboxes.iter().map(|&sandboxes| {
            let work = Work { queues: sandboxes > 1, ..work };
            let case = Case { ack: Ack::Durable, sandboxes, work, limits: Limits::NONE };
            let cell = run(&inputs, case).unwrap();
            serde_json::json!({
                "workload": "sandboxes", "storage": "embedded, model", "system": "this project, durable", "x": sandboxes, "bytes": 400,
                "p50": cell.tally.latencies.median().as_secs_f64() * 1e3, "per_second": cell.per_second(),
                "overran_percent": if sandboxes > 4 { overran_percent } else { 0.0 }, "clients": sandboxes,
            })
        });
        let document = serde_json::json!({
            "model": { "one": "3/5.5", "five": "4.7/11.7", "ten": "6.8/15.2", "transaction": 2.0 },
            "rows": rows.collect::<Vec<_>>(),
        });
        let path = std::env::temp_dir().join(format!("aft-scale-{}-{name}.json", std::process::id()));
        std::fs::write(&path, document.to_string()).unwrap();
        path
    }

    #[test]
    fn what_the_model_itself_has_made_is_predicted_and_its_overhead_found() {
        let path = file("own", 700, 0.0, &[1, 4, 8]);
        let compared = calibrate(&path, ASKED, 1, 400).unwrap();
        std::fs::remove_file(path).unwrap();
        assert_eq!(compared.iter().map(|row| row.x).collect::<Vec<_>>(), [1, 4, 8]);
        assert!((0.4..1.0).contains(&compared[0].overhead), "{compared:?}");
        let (p50, per_second) = worst(&compared);
        assert!(p50 < 5.0 && per_second < 5.0, "{compared:?}");
    }

    #[test]
    fn rows_that_are_this_machines_are_left_out_and_one_sandbox_is_needed() {
        let path = file("overran", 0, 50.0, &[1, 8]);
        let compared = calibrate(&path, ASKED, 1, 400).unwrap();
        std::fs::remove_file(path).unwrap();
        assert_eq!(compared.iter().map(|row| row.x).collect::<Vec<_>>(), [1]);
        let path = file("none", 0, 0.0, &[4]);
        let error = calibrate(&path, ASKED, 1, 400).unwrap_err().to_string();
        std::fs::remove_file(path).unwrap();
        assert!(error.contains("no row of this project, durable over embedded, model with one sandbox"), "{error}");
    }
}
