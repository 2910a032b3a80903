//! Prints the table of AFT's own workload (`aft_simulation::paper`).

use std::io::Write;

use aft_simulation::paper::{self, Error, Settings, System, Table};
use clap::Parser;

/// AFT's own workload: anomalies of the plain store, of the plain store with retries, and of AFT.
#[derive(Parser)]
struct Arguments {
    /// Requests, of all ten clients.
    #[arg(long, default_value_t = paper::TRANSACTIONS)]
    transactions: u64,
    /// Of a hundred attempts, those that crash.
    #[arg(long, default_value_t = 1)]
    crashes_percent: u64,
    /// All chance.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> Result<(), Error> {
    let Arguments { transactions, crashes_percent, seed } = Arguments::parse();
    let settings = Settings { transactions, crashes_percent, seed };
    let rows = System::ALL.map(|system| paper::run(system, settings));
    let table = Table(rows.into_iter().collect::<Result<_, _>>()?);
    write!(std::io::stdout(), "{table}")?;
    Ok(())
}
