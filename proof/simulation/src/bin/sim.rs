//! `sim`: histories by the seed. Says what they came to; of a seed that breaks a promise, the smallest schedule that still does.
#![allow(clippy::print_stdout, reason = "a program for the console")]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::thread::available_parallelism;

use aft_history::format;
use aft_simulation::ground::Ground;
use aft_simulation::ground::dynamodb::Simulated;
use aft_simulation::ground::memory::InMemory;
use aft_simulation::plan::Plan;
use aft_simulation::run::{Outcome, Sum, drawn, many, on_a_large_stack, run};
use aft_simulation::shrink::shrink;
use aft_simulation::workload::Workload;
use clap::Parser;
use tokio::time::{Duration, Instant};

/// Seeded histories of many sandboxes, with everything that can go wrong, on virtual time.
#[derive(Debug, Clone, Parser)]
struct Arguments {
    /// Only this seed: everything that happens in it is printed.
    #[arg(long)]
    seed: Option<u64>,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// How many histories in memory.
    #[arg(long, default_value_t = 20_000)]
    memory: u64,
    /// How many histories over the SDK and a simulated DynamoDB.
    #[arg(long, default_value_t = 200)]
    dynamodb: u64,
    /// What functions do; drawn by the seed if not given.
    #[arg(long)]
    workload: Option<Workload>,
    /// How many at the same time.
    #[arg(long)]
    threads: Option<usize>,
    /// Do not stop at what fails: say how often each promise was broken, and for which seed first.
    #[arg(long)]
    survey: bool,
    /// Write every history there, as `docs/histories.md` says.
    #[arg(long)]
    histories: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // A panic is a breach among others, and shrinking repeats it.
    std::panic::set_hook(Box::new(|_| {}));
    let is_kept = match arguments.seed {
        Some(seed) => one::<InMemory>(&arguments, seed) & one::<Simulated>(&arguments, seed),
        None => {
            several::<InMemory>(&arguments, arguments.memory) && several::<Simulated>(&arguments, arguments.dynamodb)
        }
    };
    if is_kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One history, with everything that happens in it.
fn one<G: Ground>(arguments: &Arguments, seed: u64) -> bool {
    let plan = Plan::with(seed, arguments.workload);
    let outcome = on_a_large_stack(|| run::<G>(&plan, &drawn(&plan), true));
    println!("{}", outcome.trace);
    println!("{}: {plan:?}\n{:?}", G::NAME, outcome.tally);
    outcome.breaches.is_empty() || explained::<G>(&plan)
}

/// Many, until one fails.
fn several<G: Ground>(arguments: &Arguments, histories: u64) -> bool {
    if histories == 0 {
        return true;
    }
    let threads = arguments.threads.unwrap_or_else(|| available_parallelism().map_or(1, usize::from));
    let (began, seeds) = (Instant::now(), arguments.from..arguments.from + histories);
    let broken = Mutex::<BTreeMap<&str, (u64, u64)>>::default();
    let each = |plan: &Plan, outcome: &Outcome| {
        if let Some(folder) = &arguments.histories {
            write(folder, &format!("{}-{:?}-{}.jsonl", G::NAME, plan.workload, plan.seed), outcome);
        }
        let rules: BTreeSet<&str> = outcome.breaches.iter().map(|breach| breach.rule).collect();
        let is_enough = !rules.is_empty() && !arguments.survey;
        let mut broken = broken.lock().unwrap_or_else(PoisonError::into_inner);
        for rule in rules {
            let (first, times) = broken.entry(rule).or_insert((plan.seed, 0));
            *first = plan.seed.min(*first);
            *times += 1;
        }
        if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let (sum, failure) = many::<G>(seeds, threads, |seed| Plan::with(seed, arguments.workload), each);
    println!("{}", said(G::NAME, &sum, began.elapsed()));
    if arguments.survey {
        for (rule, (first, times)) in broken.into_inner().unwrap_or_else(PoisonError::into_inner) {
            println!("{}: broken {times} times, first by seed {first}: {rule}", G::NAME);
        }
        return failure.is_none();
    }
    failure.is_none_or(|failure| explained::<G>(&failure.plan))
}

#[allow(clippy::expect_used, reason = "who asks for files wants to hear that there are none")]
fn write(folder: &Path, name: &str, outcome: &Outcome) {
    if outcome.attempts.is_empty() {
        return;
    }
    std::fs::create_dir_all(folder).expect("a folder for histories");
    format::write(&folder.join(name), &outcome.attempts).expect("a file for a history");
}

/// The smallest schedule that breaks the same promise.
fn explained<G: Ground>(plan: &Plan) -> bool {
    let small = on_a_large_stack(|| shrink::<G>(plan));
    println!("{}: {small}", G::NAME);
    println!("Again, with everything that happens: make sim SEED={}", plan.seed);
    false
}

fn said(ground: &str, sum: &Sum, real: Duration) -> String {
    let share = 100.0 * sum.faulted as f64 / sum.requests.max(1) as f64;
    let (real, all, busy) = (real.as_secs_f64(), sum.took.as_secs_f64(), sum.tally.busy_micros as f64 / 1e6);
    format!(
        "{ground}: {} histories, {} store requests, {} of them faulted ({share:.1} %); in {real:.0} s {:.0} h went by in \
         them ({:.0} times as much), {:.0} h of that in invocations ({:.0} times)\n  {:?}",
        sum.histories,
        sum.requests,
        sum.faulted,
        all / 3_600.0,
        all / real,
        busy / 3_600.0,
        busy / real,
        sum.tally
    )
}
