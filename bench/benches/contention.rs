//! Contention: what serializable costs beside the same work by hand and beside read atomic. Prints three tables; fails if money
//! was lost where none may be.
//!
//! `cargo bench -p aft-bench --bench contention -- [--seed N] [--transactions N] [--virtual-only] [--local-only] [--only TEXT]`
//! (`--only`: who has this in the name)

use std::num::ParseIntError;
use std::process::ExitCode;
use std::str::FromStr;

use aft_bench::Error;
use aft_bench::contention::ground::Ground;
use aft_bench::contention::workload::Workload;
use aft_bench::contention::{Cell, Contestant, in_virtual_time, run, table};
use aft_tests::dynamodb_local::DynamoDbLocal;
use tokio::runtime::Builder;

const SKEWS: [f64; 4] = [0.0, 1.0, 1.5, 2.0];
/// Transactions of each cell.
const TRANSACTIONS: usize = 1_000;
/// The same on DynamoDB Local, where a second lasts a second.
const LOCAL_TRANSACTIONS: usize = 300;
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
        let transactions = number_after("--transactions", TRANSACTIONS)?;
        for audits_percent in [0, AUDITS_PERCENT] {
            let cells = grid(audits_percent, transactions, in_virtual_time)?;
            is_whole &= show(&format!("Virtual time, {audits_percent} % audits"), &cells);
        }
    }
    if !is_asked("--virtual-only") {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let endpoint = runtime.block_on(DynamoDbLocal::shared()).endpoint();
        let mut number = 0;
        let cells = grid(0, LOCAL_TRANSACTIONS, |contestant, workload| {
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
    transactions: usize,
    mut cell: impl FnMut(Contestant, Workload) -> Result<Cell, Error>,
) -> Result<Vec<Cell>, Error> {
    let seed = number_after("--seed", 1)?;
    let only = after("--only").unwrap_or_default();
    let mut cells = Vec::new();
    for skew in SKEWS {
        for contestant in Contestant::ALL.into_iter().filter(|contestant| contestant.name().contains(&only)) {
            let workload = Workload { skew, audits_percent, transactions, seed };
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

fn after(flag: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != flag).nth(1)
}

fn number_after<N: FromStr<Err = ParseIntError>>(flag: &str, otherwise: N) -> Result<N, Error> {
    match after(flag) {
        None => Ok(otherwise),
        Some(text) => Ok(text.parse()?),
    }
}

#[allow(clippy::print_stdout, reason = "the one place of this program that prints")]
fn say(text: &str) {
    println!("{text}");
}
