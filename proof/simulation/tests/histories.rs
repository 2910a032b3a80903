//! A slice of what `make sim` runs at length, and what makes its results worth something: that a seed is a history, byte for
//! byte, in whatever process; that a failing one is made small; and that a process may die at every single point.
//!
//! `HISTORIES=100000` and `DYNAMODB_HISTORIES=5000` run more; `HISTORIES_OUT=folder` writes each as `docs/histories.md` says.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::available_parallelism;

use aft_history::format;
use aft_protocol::isolation::Isolation;
use aft_simulation::ground::Ground;
use aft_simulation::ground::dynamodb::Simulated;
use aft_simulation::ground::memory::InMemory;
use aft_simulation::plan::Plan;
use aft_simulation::run::{Outcome, Sum, drawn, many, on_a_large_stack, run};
use aft_simulation::shrink::shrink;
use aft_simulation::trouble::{Point, Process, Side, Site, Source, Trouble};
use aft_simulation::workload::Workload;

const HISTORIES: u64 = 6_000;
const DYNAMODB_HISTORIES: u64 = 250;
/// Of each kind, these are written for others to judge, which takes longer than to run them.
const EXPORTED: u64 = 800;

fn given(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap())
}

fn cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// So many histories, each of which must keep every promise. What they came to.
fn histories<G: Ground>(number: u64) -> Sum {
    let folder = env::var_os("HISTORIES_OUT").map(PathBuf::from);
    let each = |plan: &Plan, outcome: &Outcome| {
        if let Some(folder) = &folder
            && plan.seed <= EXPORTED
            && outcome.breaches.is_empty()
            && !outcome.attempts.is_empty()
        {
            fs::create_dir_all(folder).unwrap();
            let name = format!("{}-{:?}-{}.jsonl", G::NAME, plan.workload, plan.seed);
            format::write(&folder.join(name), &outcome.attempts).unwrap();
        }
        if outcome.breaches.is_empty() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let (sum, failure) = many::<G>(1..number + 1, cores(), Plan::of, each);
    if let Some(failure) = failure {
        let small = on_a_large_stack(|| shrink::<G>(&failure.plan));
        panic!("{}: {}make sim SEED={} shows all of it", G::NAME, small, failure.plan.seed);
    }
    println!("{}: {sum:?}", G::NAME);
    sum
}

/// What is checked must have happened, and enough of it must have gone wrong.
fn check(sum: &Sum) {
    let tally = sum.tally;
    assert!(sum.faulted * 10 >= sum.requests, "too little went wrong: {sum:?}");
    if sum.histories < 100 {
        return;
    }
    for (what, number) in [
        ("conflicts", tally.conflicts),
        ("duplicates", tally.duplicates),
        ("deaths", tally.deaths),
        ("audits", tally.audits),
        ("sums that read atomic does not promise", tally.unpromised),
        ("expired items", tally.expired),
        ("cached reads", tally.hits),
    ] {
        assert!(number > 0, "no {what} in {sum:?}");
    }
}

#[test]
fn histories_in_memory_keep_every_promise() {
    check(&histories::<InMemory>(given("HISTORIES").unwrap_or(HISTORIES)));
}

#[test]
fn histories_over_dynamodb_keep_every_promise() {
    check(&histories::<Simulated>(given("DYNAMODB_HISTORIES").unwrap_or(DYNAMODB_HISTORIES)));
}

/// Step by step and request by request, although every process has hash maps of another order.
#[test]
fn a_seed_is_the_same_history_in_another_process() {
    const NAME: &str = "a_seed_is_the_same_history_in_another_process";
    const OUTPUT: &str = "SIMULATION_TRACE_FILE";
    let seeds = || (1..=8).chain([17, 62, 113, 3_282]);
    let traces = || {
        let of = |seed| {
            let plan = Plan::of(seed);
            let memory = run::<InMemory>(&plan, &drawn(&plan), true).trace;
            memory + &run::<Simulated>(&plan, &drawn(&plan), true).trace
        };
        seeds().map(of).collect::<String>()
    };
    let own = on_a_large_stack(traces);
    if let Some(file) = env::var_os(OUTPUT) {
        return fs::write(file, own).unwrap();
    }
    let file = env::temp_dir().join(format!("aft-simulation-trace-{}", std::process::id()));
    let mut again = Command::new(env::current_exe().unwrap());
    again.args(["--exact", NAME]).env(OUTPUT, &file);
    assert!(again.output().unwrap().status.success());
    let anothers = fs::read_to_string(&file).unwrap();
    fs::remove_file(file).unwrap();
    assert!(own.lines().count() > 1_000, "{own}");
    for (own, anothers) in own.lines().zip(anothers.lines()) {
        assert_eq!(own, anothers);
    }
    assert_eq!(own.len(), anothers.len());
}

/// Everything that a history waits for or sends, if nothing goes wrong in it.
fn points<G: Ground>(plan: &Plan) -> Vec<Site> {
    let calm = Source::Only(BTreeMap::new());
    let outcome = on_a_large_stack(|| run::<G>(plan, &calm, true));
    assert_eq!(outcome.breaches, []);
    outcome.visited
}

/// Dies at each of these points, in a history of its own; before and after each request.
fn dies_everywhere<G: Ground>(plan: &Plan, points: &[Site]) -> usize {
    let deaths: Vec<(Site, Trouble)> = points
        .iter()
        .flat_map(|site| {
            let troubles: &[Trouble] = match site.point {
                Point::Call(_) => &[Trouble::Dies(Side::Before), Trouble::Dies(Side::After)],
                Point::Await(_) => &[Trouble::Dies(Side::Before), Trouble::Freezes(15_000)],
                Point::Step(_) => &[Trouble::HandlerDies, Trouble::HandlerFails],
            };
            troubles.iter().map(|trouble| (*site, *trouble)).collect::<Vec<_>>()
        })
        .collect();
    let each = |(site, trouble): &(Site, Trouble)| {
        let outcome = run::<G>(plan, &Source::Only(BTreeMap::from([(*site, *trouble)])), false);
        assert_eq!(outcome.breaches, [], "{}, seed {}, {site}: {trouble}", G::NAME, plan.seed);
        assert_eq!(outcome.happened.len(), 1, "{site}: {trouble} did not happen");
    };
    on_a_large_stack(|| deaths.iter().for_each(each));
    deaths.len()
}

/// Every await and every request of every process: the extension's, the shim's, the handler's and the fault manager's.
#[test]
fn a_process_may_die_at_every_point() {
    let mut deaths = 0;
    for (seed, workload) in [(3, Workload::Pairs), (4, Workload::Anything), (5, Workload::Ledger)] {
        let plan = Plan::with(seed, Some(workload));
        let points = points::<InMemory>(&plan);
        assert!(points.iter().any(|site| site.process == Process::FaultManager));
        assert!(points.iter().any(|site| matches!(site.point, Point::Await(_))));
        deaths += dies_everywhere::<InMemory>(&plan, &points);
    }
    println!("{deaths} deaths, freezes and failures in memory");
    assert!(deaths > 1_000, "{deaths}");
}

/// The same at every request through the SDK; a journal on disk is kept and found.
#[test]
fn a_process_may_die_at_every_request_to_dynamodb() {
    let plan = Plan { has_journals: true, ..Plan::with(6, Some(Workload::Pairs)) };
    let mut points = points::<Simulated>(&plan);
    points.retain(|site| matches!(site.point, Point::Call(_)));
    let deaths = dies_everywhere::<Simulated>(&plan, &points);
    println!("{deaths} deaths over the SDK");
    assert!(deaths > 50, "{deaths}");
}

/// Transfers under an isolation that does not promise the sum: a failing history as good as any, and it gets small.
#[test]
fn a_failing_history_is_made_small() {
    let plan = |seed| Plan { isolation: Some(Isolation::ReadAtomic), ..Plan::with(seed, Some(Workload::Bank)) };
    let each = |_: &Plan, outcome: &Outcome| {
        if outcome.breaches.is_empty() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let (_, failure) = many::<InMemory>(1..1_000, 1, plan, each);
    let failure = failure.expect("read atomic loses updates and sees wrong sums");
    let (deliveries, troubles) = (size(&failure.plan), failure.outcome.happened.len());
    let small = on_a_large_stack(|| shrink::<InMemory>(&failure.plan));
    assert!(small.outcome.breaches.iter().any(|breach| breach.rule == "bank"), "{small}");
    // Two that overlap and one that looks are enough, and no trouble at all.
    assert!(size(&small.plan) <= 4 && size(&small.plan) < deliveries, "{small}");
    assert!(small.troubles.len() <= troubles && small.troubles.len() <= 2, "{small}");
    // What is printed is what happens.
    let said = small.to_string();
    assert_eq!(said.lines().filter(|line| line.contains(" gets request ")).count(), size(&small.plan), "{said}");
    assert!(said.contains("BROKEN: bank: an audit found"), "{said}");
    let replayed = run::<InMemory>(&small.plan, &Source::Only(small.troubles.clone()), false);
    assert_eq!(replayed.breaches, small.outcome.breaches);
}

fn size(plan: &Plan) -> usize {
    plan.eras.iter().flatten().map(Vec::len).sum::<usize>() - plan.dropped.len()
}

/// The files that others judge are what the checker here has judged.
#[test]
fn what_is_exported_is_read_again() {
    let folder = env::temp_dir().join(format!("aft-simulation-export-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let mut steps = 0;
    for seed in 1..40 {
        let plan = Plan::of(seed);
        let outcome = on_a_large_stack(|| run::<InMemory>(&plan, &drawn(&plan), false));
        let file: &Path = &folder.join(format!("{seed}.jsonl"));
        format::write(file, &outcome.attempts).unwrap();
        assert_eq!(format::read(file).unwrap(), outcome.attempts);
        steps += outcome.attempts.iter().map(|attempt| attempt.steps.len()).sum::<usize>();
    }
    fs::remove_dir_all(folder).unwrap();
    assert!(steps > 1_000, "{steps}");
}
