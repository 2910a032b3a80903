//! `make demo`: the same transfers, errors, kills and duplicates, once straight to DynamoDB and once under AFT; then a counter that
//! many increment at the same time.
//!
//! | file | what |
//! |---|---|
//! | [`plan`] | what happens: customers, transfers, faults, duplicates; from a seed |
//! | [`world`] | a local Lambda with the function in it, with or without AFT |
//! | [`run`] | the plan, carried out: callers, auditors, a killer |
//! | [`verdict`] | what went wrong, counted |
//! | [`counter`] | lost updates, with each isolation |
//!
//! Exits with 0 only if AFT let nothing through **and** the comparison did: otherwise the run has shown nothing.

mod counter;
mod plan;
mod run;
mod verdict;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use plan::{Plan, Size};
use verdict::Verdict;
use world::{Language, Mode, Setup};

/// The same transfers with and without AFT.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where `aft-extension` and `aft-runtime-shim` lie.
    #[arg(long)]
    layer: PathBuf,
    /// A Python that has awslambdaric and boto3; without it, the Python half is passed over.
    #[arg(long)]
    python: Option<PathBuf>,
    /// Decides everything that is left to chance.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Customers of the Rust half; the Python half has a quarter as many.
    #[arg(long, default_value_t = 40)]
    customers: usize,
    /// Print what the functions and AFT log.
    #[arg(long)]
    verbose: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut halves = vec![(Language::Rust, Size { customers: arguments.customers, transfers: 6 })];
    match &arguments.python {
        Some(python) => {
            let size = Size { customers: arguments.customers.div_ceil(4), transfers: 4 };
            halves.push((Language::Python(python.clone()), size));
        }
        None => say("No Python environment is given: only the Rust half runs."),
    }
    match all(&arguments, halves).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("The demo could not run: {error}"));
            ExitCode::from(2)
        }
    }
}

/// Whether every part has shown what it is for.
async fn all(arguments: &Arguments, halves: Vec<(Language, Size)>) -> Result<bool, Box<dyn std::error::Error>> {
    let mut shown = true;
    for (language, size) in halves {
        shown &= half(arguments, language, size).await?;
    }
    Ok(count(arguments).await? && shown)
}

/// One counter, in three worlds.
async fn count(arguments: &Arguments) -> Result<bool, Box<dyn std::error::Error>> {
    let (callers, each) = (world::SANDBOXES, counter::INCREMENTS);
    say(&format!(
        "\nA counter: {callers} callers at the same time, {each} increments each; the function reads, adds one and writes"
    ));
    let setup = Setup { language: Language::Rust, layer: arguments.layer.clone(), verbose: arguments.verbose };
    let sides = [
        counter::carry_out(&setup, Mode::WithoutAft).await?,
        counter::carry_out(&setup, Mode::ReadAtomic).await?,
        counter::carry_out(&setup, Mode::Serializable).await?,
    ];
    counter::table(&sides).iter().for_each(|line| say(line));
    let (said, shown) = counter::judge(&sides);
    say(said);
    Ok(shown)
}

/// One language: without AFT, then with it. Whether AFT held and the comparison did not.
async fn half(arguments: &Arguments, language: Language, size: Size) -> Result<bool, Box<dyn std::error::Error>> {
    let name = language.name();
    let plan = Plan::from_seed(arguments.seed, size);
    say(&format!("\nThe function in {name}: {plan}"));
    let setup = Setup { language, layer: arguments.layer.clone(), verbose: arguments.verbose };
    let without = run::carry_out(&plan, &setup, Mode::WithoutAft).await?;
    let with = run::carry_out(&plan, &setup, Mode::ReadAtomic).await?;
    for line in verdict::table(&without, &with) {
        say(&line);
    }
    Ok(judge(&without, &with))
}

fn judge(without: &Verdict, with: &Verdict) -> bool {
    match (with.anomalies(), without.anomalies()) {
        (0, 0) => {
            say("  Nothing went wrong without AFT either: this run has shown nothing. Try another --seed.");
            false
        }
        (0, others) => {
            say(&format!(
                "  With AFT: every transfer happened once, whole, or not at all. Without: {others} anomalies."
            ));
            true
        }
        (own, _) => {
            say(&format!(
                "  AFT let {own} anomalies through: this is a bug. Run again with the same --seed and --verbose."
            ));
            false
        }
    }
}

#[allow(clippy::print_stdout, reason = "the one place of this program that prints")]
fn say(line: &str) {
    println!("{line}");
}
