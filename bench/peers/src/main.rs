//! `make bench-peers`: every system, one run.
#![allow(clippy::print_stdout, reason = "its tables are what it is for")]

use std::fs;
use std::path::PathBuf;

use aft_cli::embedded::{Embedded, Storage as Kept};
use aft_peers::latency::{Model, Times};
use aft_peers::system::{Programs, layer};
use aft_peers::writes::Plan;
use aft_peers::{Error, report, writes};
use aft_tests::dynamodb_local::DynamoDbLocal;
use clap::{Parser, ValueEnum};

/// Which engine is behind the door.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Engine {
    /// AWS's DynamoDB Local.
    Local,
    /// The engine of `aft local`, in memory; it counts the units of transactions as DynamoDB does.
    Embedded,
}

/// Side by side with what users would pick instead.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where aft-runtime-shim and aft-extension lie.
    #[arg(long)]
    layer: PathBuf,
    /// The engine.
    #[arg(long, value_enum, default_value = "embedded")]
    engine: Engine,
    /// No latency model: the engine as fast as it is.
    #[arg(long)]
    bare: bool,
    /// One item: median and 99th percentile, in milliseconds.
    #[arg(long, default_value = "3.0/5.5")]
    one: Times,
    /// A batch of 5 items.
    #[arg(long, default_value = "4.7/11.7")]
    five: Times,
    /// A batch of 10 items.
    #[arg(long, default_value = "6.8/15.2")]
    ten: Times,
    /// How many times as long as one item a transactional write takes.
    #[arg(long, default_value_t = 2.0)]
    transaction: f64,
    /// Requests of each system in each case.
    #[arg(long, default_value_t = 200)]
    rounds: usize,
    /// How many keys a request writes.
    #[arg(long, value_delimiter = ',', default_value = "1,2,5,10")]
    keys: Vec<usize>,
    /// How large each value is.
    #[arg(long, value_delimiter = ',', default_value = "400,4096")]
    bytes: Vec<usize>,
    /// Where all draws come from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the figures go, for the plots.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let arguments = Arguments::parse();
    let model = (!arguments.bare).then_some(Model {
        one: arguments.one,
        five: arguments.five,
        ten: arguments.ten,
        transaction: arguments.transaction,
    });
    let programs = Programs {
        layer: layer(&arguments.layer),
        function: std::env::current_exe()?.with_file_name("peer-function"),
        python: PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("python"),
    };
    let plan = Plan {
        rounds: arguments.rounds,
        keys: arguments.keys.clone(),
        bytes: arguments.bytes.clone(),
        seed: arguments.seed,
    };
    let rows = match arguments.engine {
        Engine::Embedded => {
            let engine = Embedded::start(Kept::Memory).await?;
            let rows = writes::measure(&engine.endpoint(), model, &programs, &plan).await?;
            engine.stop().await?;
            rows
        }
        Engine::Local => {
            let engine = DynamoDbLocal::shared().await;
            writes::measure(&engine.endpoint(), model, &programs, &plan).await?
        }
    };
    for bytes in &arguments.bytes {
        println!("\nValues of {bytes} bytes\n\n{}", report::of_writes(&rows, *bytes));
    }
    let targets = report::targets(&rows);
    println!("{}", report::of_targets(&targets));
    if let Some(path) = arguments.json {
        fs::write(path, serde_json::to_vec_pretty(&serde_json::json!({ "writes": rows, "targets": targets }))?)?;
    }
    Ok(())
}
