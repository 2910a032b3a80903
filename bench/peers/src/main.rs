//! `make bench-peers`: every system, every workload, one run.
#![allow(clippy::print_stderr, reason = "who waits for an hour wants to know")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use aft_cli::LayerBinaries;
use aft_cli::embedded::{Embedded, Storage as Kept};
use aft_peers::case::Case;
use aft_peers::latency::Model;
use aft_peers::machine::{machine, versions};
use aft_peers::row::{Prices, Row};
use aft_peers::run::Ground;
use aft_peers::system::{Programs, System};
use aft_peers::targets::targets;
use aft_peers::{Error, workloads};
use aft_tests::dynamodb_local::DynamoDbLocal;
use clap::Parser;
use serde_json::{Value, json};

const LOCAL: &str = "DynamoDB Local";
const EMBEDDED: &str = "embedded";

/// Side by side with what users would pick instead.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where aft-runtime-shim and aft-extension lie.
    #[arg(long)]
    layer: PathBuf,
    /// Where the figures go, after every case.
    #[arg(long)]
    json: PathBuf,
    /// Goes on with the cases that the file does not have yet, of the same machine, versions, seed and options.
    #[arg(long)]
    resume: bool,
    /// Only these workloads.
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<String>,
    /// Only these storages: "DynamoDB Local, model", "embedded, model", "DynamoDB Local", "embedded".
    #[arg(long, value_delimiter = ';')]
    storages: Vec<String>,
    /// Only these systems, as the tables name them.
    #[arg(long, value_delimiter = ';')]
    systems: Vec<String>,
    /// Of the requests of each case, this share.
    #[arg(long, default_value_t = 1.0)]
    share: f64,
    /// How long DynamoDB takes.
    #[command(flatten)]
    model: Model,
    /// Dollars for a million write units: US East (N. Virginia), on demand, November 2026.
    #[arg(long, default_value_t = 0.625)]
    write_price: f64,
    /// Dollars for a million read units.
    #[arg(long, default_value_t = 0.125)]
    read_price: f64,
    /// Where all draws come from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Arguments {
    fn cases(&self, storage: &str) -> Vec<Case> {
        let mut cases = match storage {
            "embedded, model" => [
                workloads::writes(&workloads::SIZES),
                workloads::writes_beside_work(),
                workloads::end_to_end(),
                workloads::one_function(),
                workloads::skew(),
                workloads::reads(),
                workloads::functions(),
                workloads::duplicates(),
                workloads::failures(),
                workloads::sandboxes(),
            ]
            .concat(),
            "DynamoDB Local, model" => [workloads::writes(&workloads::ONE_SIZE), workloads::one_function()].concat(),
            _ => workloads::writes(&workloads::ONE_SIZE),
        };
        cases.retain(|case| self.workloads.is_empty() || self.workloads.iter().any(|name| name == case.workload));
        for case in &mut cases {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a share of a number of requests"
            )]
            let requests = (case.requests as f64 * self.share) as usize;
            case.requests = requests.max(case.clients);
            let wanted =
                |system: &System| self.systems.is_empty() || self.systems.iter().any(|name| name == system.name());
            case.systems.retain(wanted);
        }
        cases.retain(|case| !case.systems.is_empty());
        cases
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let arguments = Arguments::parse();
    let programs = Programs {
        layer: LayerBinaries::found_in(&arguments.layer),
        function: std::env::current_exe()?.with_file_name("peer-function"),
        python: PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("python"),
    };
    let prices = Prices { write: arguments.write_price, read: arguments.read_price };
    let model = arguments.model;
    let mut header = json!({
        "machine": machine(),
        "versions": versions(),
        "date": date(),
        "seed": arguments.seed,
        "model": model,
        "prices": prices,
        "share": arguments.share,
        "systems": arguments.systems,
    });
    let mut rows: Vec<Row> = Vec::new();
    if arguments.resume {
        (header, rows) = begun(&arguments.json, &header)?;
    }
    let began = Instant::now();
    for (engine_name, is_slow) in [(EMBEDDED, true), (LOCAL, true), (EMBEDDED, false), (LOCAL, false)] {
        let name = if is_slow { format!("{engine_name}, model") } else { engine_name.to_owned() };
        let mut cases = arguments.cases(&name);
        cases.retain(|case| !rows.iter().any(|row| row.is_of(case, &name)));
        let is_wanted = arguments.storages.is_empty() || arguments.storages.contains(&name);
        if cases.is_empty() || !is_wanted {
            continue;
        }
        let engine = Engine::start(engine_name).await?;
        let model = is_slow.then_some(model);
        let mut ground = Ground::new(&name, &engine.endpoint(), model, &programs, prices, arguments.seed);
        for case in &cases {
            let start = Instant::now();
            rows.extend(ground.run(case).await?);
            let (now, took) = (began.elapsed().as_secs(), start.elapsed().as_secs_f64());
            eprintln!("{now:>5} s: {name}: {} {} ({} bytes), in {took:.1} s", case.workload, case.x, case.bytes);
            write(&arguments, &mut header, &rows)?;
        }
        ground.close().await;
        engine.stop().await?;
    }
    Ok(())
}

/// What a run that was cut off has left in its file.
fn begun(file: &Path, asked: &Value) -> Result<(Value, Vec<Row>), Error> {
    let mut header: Value = serde_json::from_slice(&fs::read(file)?)?;
    let rows = serde_json::from_value(header["rows"].take())?;
    let same = ["/machine/processor", "/versions", "/seed", "/model", "/prices", "/share", "/systems"];
    match same.iter().find(|place| header.pointer(place) != asked.pointer(place)) {
        None => Ok((header, rows)),
        Some(place) => {
            let file = file.display();
            Err(format!("{file} was begun with another {place}: go on as it was begun, or without --resume").into())
        }
    }
}

/// An engine for one storage.
enum Engine {
    Embedded(Embedded),
    Local(&'static DynamoDbLocal),
}

impl Engine {
    async fn start(name: &str) -> Result<Self, Error> {
        Ok(match name {
            EMBEDDED => Self::Embedded(Embedded::start(Kept::Memory).await?),
            _ => Self::Local(DynamoDbLocal::shared().await),
        })
    }

    fn endpoint(&self) -> String {
        match self {
            Self::Embedded(engine) => engine.endpoint(),
            Self::Local(engine) => engine.endpoint(),
        }
    }

    async fn stop(self) -> Result<(), Error> {
        match self {
            Self::Embedded(engine) => engine.stop().await?,
            Self::Local(_) => {}
        }
        Ok(())
    }
}

fn write(arguments: &Arguments, header: &mut Value, rows: &[Row]) -> Result<(), Error> {
    header["rows"] = serde_json::to_value(rows)?;
    header["targets"] = serde_json::to_value(targets(rows, "embedded, model"))?;
    let mut text = serde_json::to_string_pretty(&header)?;
    text.push('\n');
    fs::write(&arguments.json, text)?;
    Ok(())
}

/// Today, in UTC.
fn date() -> Option<String> {
    let output = std::process::Command::new("date").args(["-u", "+%Y-%m-%d"]).output().ok()?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
