//! Contention: what serializable costs beside the same work by hand and beside read atomic. Prints three tables; fails if money
//! was lost where none may be.
//!
//! `cargo bench -p aft-bench --bench contention -- [--seed N] [--seconds N] [--virtual-only] [--local-only]`

use std::process::ExitCode;
use std::time::Duration;

use aft_bench::Error;
use aft_bench::contention::ground::Ground;
use aft_bench::contention::workload::Workload;
use aft_bench::contention::{Cell, Contestant, in_virtual_time, run, table};
use aft_tests::dynamodb_local::DynamoDbLocal;
use tokio::runtime::Builder;

const SKEWS: [f64; 4] = [0.0, 1.0, 1.5, 2.0];
/// Virtual seconds of each cell.
const SECONDS: u64 = 20;
/// Real seconds of each cell.
const LOCAL_SECONDS: u64 = 3;
const AUDITS_PERCENT: u64 = 20;

fn main() -> ExitCode {
    // `cargo test --benches` starts this too, and is not to wait for it.
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    match measure() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            say("Updates were lost by who must not lose any.");
            ExitCode::FAILURE
        }
        Err(error) => {
            say(&format!("contention could not be measured: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Whether nobody has lost anything who must not.
fn measure() -> Result<bool, Error> {
    let is_asked = |flag: &str| std::env::args().any(|argument| argument == flag);
    let mut is_whole = true;
    if !is_asked("--local-only") {
        let seconds = number_after("--seconds", SECONDS)?;
        for audits_percent in [0, AUDITS_PERCENT] {
            let cells = grid(audits_percent, seconds, in_virtual_time)?;
            is_whole &= show(&format!("Virtual time, {audits_percent} % audits"), &cells);
        }
    }
    if !is_asked("--virtual-only") {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let endpoint = runtime.block_on(DynamoDbLocal::shared()).endpoint();
        let mut number = 0;
        let cells = grid(0, LOCAL_SECONDS, |contestant, workload| {
            number += 1;
            let name = format!("contention-{number}");
            runtime.block_on(async { run(&Ground::local(&endpoint, &name).await?, contestant, workload).await })
        })?;
        is_whole &= show("DynamoDB Local on this machine, no audits", &cells);
    }
    Ok(is_whole)
}

fn grid(
    audits_percent: u64,
    seconds: u64,
    mut cell: impl FnMut(Contestant, Workload) -> Result<Cell, Error>,
) -> Result<Vec<Cell>, Error> {
    let seed = number_after("--seed", 1)?;
    let mut cells = Vec::new();
    for skew in SKEWS {
        for contestant in Contestant::ALL {
            let workload = Workload { skew, audits_percent, lasts: Duration::from_secs(seconds), seed };
            cells.push(cell(contestant, workload)?);
        }
    }
    Ok(cells)
}

/// Prints a table. Whether nobody in it has lost anything who must not.
fn show(title: &str, cells: &[Cell]) -> bool {
    say(&format!("{title}\n\n{}", table::of(cells)));
    cells.iter().all(|cell| cell.losses.is_none() || !cell.contestant.keeps_updates())
}

fn number_after(flag: &str, otherwise: u64) -> Result<u64, Error> {
    match std::env::args().skip_while(|argument| argument != flag).nth(1) {
        None => Ok(otherwise),
        Some(text) => Ok(text.parse()?),
    }
}

#[allow(clippy::print_stdout, reason = "the one place of this program that prints")]
fn say(text: &str) {
    println!("{text}");
}
