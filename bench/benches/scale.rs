//! Paper scale: up to ten thousand sandboxes on DynamoDB's partition limits, in virtual time. Prints tables; with `--calibrate` the
//! model's error, too.
//!
//! `cargo bench -p aft-bench --bench scale -- --help`
#![allow(clippy::print_stdout, reason = "its tables are what it is for")]

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use aft_bench::Error;
use aft_bench::latency::Model;
use aft_bench::process::most_resident_bytes;
use aft_bench::scale::bill::Prices;
use aft_bench::scale::calibration::{Asked, calibrate};
use aft_bench::scale::partitions::Limits;
use aft_bench::scale::report::{Row, of_bills, of_calibration, of_hot_key, of_rates};
use aft_bench::scale::workload::Work;
use aft_bench::scale::{Case, Inputs, run};
use aft_extension::session::Ack;
use clap::Parser;

/// Transactions in a window, at least.
const LEAST: usize = 2_000;
/// Sizes whose ceilings are listed.
const SIZES: [usize; 6] = [200, 700, 1_024, 4_096, 16_384, 65_536];

/// Thousands of sandboxes on DynamoDB's partition limits, in virtual time.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many sandboxes.
    #[arg(long, value_delimiter = ',', default_value = "10,100,1000,10000")]
    sandboxes: Vec<usize>,
    /// Zipf's exponent.
    #[arg(long, value_delimiter = ',', default_value = "0,1,1.5,2")]
    skew: Vec<f64>,
    /// How large each value is.
    #[arg(long, value_delimiter = ',', default_value = "4096,200")]
    bytes: Vec<usize>,
    /// Partitions of each table, for the largest number of sandboxes at the first two skews and the first size; otherwise every key
    /// has one to itself.
    #[arg(long, value_delimiter = ',', default_value = "40")]
    partitions: Vec<u64>,
    /// Write units a second of one partition.
    #[arg(long, default_value_t = 1_000.0)]
    partition_writes: f64,
    /// Read units a second of one partition.
    #[arg(long, default_value_t = 3_000.0)]
    partition_reads: f64,
    /// Seconds' worth of units that a partition may have saved; DynamoDB: up to 300.
    #[arg(long, default_value_t = 0.0)]
    burst: f64,
    /// How many keys there are.
    #[arg(long, default_value_t = 100_000)]
    keys: usize,
    /// Keys that a transaction reads, one after the other.
    #[arg(long, default_value_t = 2)]
    reads: usize,
    /// Keys that it writes.
    #[arg(long, default_value_t = 1)]
    writes: usize,
    /// What the handler does between reading and writing, in milliseconds.
    #[arg(long, default_value_t = 10.0)]
    handler: f64,
    /// What client, host, shim and extension take of a request, in milliseconds.
    #[arg(long, default_value_t = 1.0)]
    overhead: f64,
    /// Acknowledge when the record is durable (AFT_ACK=durable).
    #[arg(long)]
    durable: bool,
    /// How long DynamoDB takes.
    #[command(flatten)]
    model: Model,
    /// AFT_RETENTION_SECONDS.
    #[arg(long, default_value_t = 604_800.0)]
    retention: f64,
    /// Dollars for a million write units.
    #[arg(long, default_value_t = 0.625)]
    write_price: f64,
    /// Dollars for a million read units.
    #[arg(long, default_value_t = 0.125)]
    read_price: f64,
    /// Dollars for a GB stored for a month.
    #[arg(long, default_value_t = 0.25)]
    storage_price: f64,
    /// Where all draws come from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A file that `peers` has written: how far the model is from its rows of workload `sandboxes`, whose transactions read and write as
    /// many keys as --calibrate-reads and --calibrate-writes say.
    #[arg(long)]
    calibrate: Option<PathBuf>,
    /// Keys that a measured transaction read.
    #[arg(long, default_value_t = 2)]
    calibrate_reads: usize,
    /// Keys that it wrote.
    #[arg(long, default_value_t = 1)]
    calibrate_writes: usize,
    /// Only calibrate.
    #[arg(long, requires = "calibrate")]
    calibrate_only: bool,
    /// Where the rows go, for the plots.
    #[arg(long)]
    json: Option<PathBuf>,
    /// As `cargo bench` says; `cargo test --benches` starts this too, and is not to wait for it.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    match measure(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("scale could not be modelled: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> Result<(), Error> {
    let rows = if arguments.calibrate_only { Vec::new() } else { grid(arguments)? };
    let calibration = match &arguments.calibrate {
        Some(file) => {
            let Arguments { calibrate_reads: reads, calibrate_writes: writes, keys, seed, .. } = *arguments;
            let compared = calibrate(file, Asked { reads, writes, keys, skew: 1.0 }, seed, LEAST)?;
            println!("The model beside what was measured\n\n{}", of_calibration(&compared));
            compared
        }
        None => Vec::new(),
    };
    if let Some(path) = &arguments.json {
        let document = serde_json::json!({
            "seed": arguments.seed,
            "model": arguments.model,
            "prices": prices(arguments),
            "keys": arguments.keys, "reads": arguments.reads, "writes": arguments.writes,
            "handler_ms": arguments.handler, "overhead_ms": arguments.overhead,
            "partition_writes": arguments.partition_writes, "partition_reads": arguments.partition_reads,
            "burst_seconds": arguments.burst, "retention_seconds": arguments.retention,
            "rows": rows,
            "calibration": calibration,
        });
        fs::write(path, serde_json::to_vec_pretty(&document)?)?;
    }
    Ok(())
}

/// Prints what each cell comes to.
fn grid(arguments: &Arguments) -> Result<Vec<Row>, Error> {
    let began = Instant::now();
    let inputs = Inputs { model: arguments.model, keys: arguments.keys, seed: arguments.seed, least: LEAST };
    let most = arguments.sandboxes.iter().copied().max().unwrap_or_default();
    let (mut rows, mut sandbox_bytes) = (Vec::new(), 0);
    for &bytes in &arguments.bytes {
        for &skew in &arguments.skew {
            let limited =
                arguments.skew.iter().take(2).any(|first| *first == skew) && arguments.bytes.first() == Some(&bytes);
            let limited = if limited { arguments.partitions.as_slice() } else { &[] };
            let limited = limited.iter().map(|count| (most, Some(*count)));
            let free = arguments.sandboxes.iter().map(|sandboxes| (*sandboxes, None));
            for (sandboxes, partitions) in free.chain(limited) {
                let cell = run(&inputs, case(arguments, sandboxes, skew, bytes, partitions))?;
                if sandboxes == most && sandbox_bytes == 0 {
                    sandbox_bytes = cell.sandbox_bytes;
                }
                rows.push(Row::of(&cell, arguments.keys, arguments.retention, &prices(arguments))?);
            }
        }
    }
    println!("Simulated\n\n{}", of_rates(&rows));
    let free: Vec<_> = rows.iter().filter(|row| row.partitions == 0).cloned().collect();
    println!("Computed from that, if it goes on for a month\n\n{}", of_bills(&free));
    println!("Computed: one key that has a partition to itself\n\n{}", of_hot_key(&SIZES)?);
    println!(
        "{most} sessions: {:.1} KB each with a transaction under way; {:.1} GB in all at the most; {:.0} s\n",
        sandbox_bytes as f64 / 1e3,
        most_resident_bytes(std::process::id())? as f64 / 1e9,
        began.elapsed().as_secs_f64(),
    );
    Ok(rows)
}

fn case(arguments: &Arguments, sandboxes: usize, skew: f64, bytes: usize, partitions: Option<u64>) -> Case {
    let Arguments { reads, writes, .. } = *arguments;
    let ms = |ms: f64| Duration::from_secs_f64(ms / 1e3);
    Case {
        ack: if arguments.durable { Ack::Durable } else { Ack::Visible },
        sandboxes,
        work: Work {
            reads,
            writes,
            bytes,
            skew,
            handler: ms(arguments.handler),
            overhead: ms(arguments.overhead),
            queues: false,
        },
        limits: Limits {
            writes: arguments.partition_writes,
            reads: arguments.partition_reads,
            burst_seconds: arguments.burst,
            partitions,
        },
    }
}

fn prices(arguments: &Arguments) -> Prices {
    Prices { write: arguments.write_price, read: arguments.read_price, storage: arguments.storage_price }
}
