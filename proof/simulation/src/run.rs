//! One history, and many.

use std::ops::{ControlFlow, Range};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use aft_history::format::Attempt;
use tokio::task::LocalSet;

use crate::book::{Breach, Tally};
use crate::ground::Ground;
use crate::plan::Plan;
use crate::trouble::{Happened, Site, Source};
use crate::verdict::judge;
use crate::world::World;

/// The SDK under a sandbox under a whole history takes close to the 2 MiB that a thread has by default.
const STACK_BYTES: usize = 32 << 20;

/// What came of a history.
#[derive(Debug)]
pub struct Outcome {
    /// Promises that were not kept.
    pub breaches: Vec<Breach>,
    /// Everything that went wrong, in order.
    pub happened: Vec<Happened>,
    /// Every site that a process has come to, if it is traced.
    pub visited: Vec<Site>,
    /// Counts.
    pub tally: Tally,
    /// Requests to the store, and those of them with which something went wrong.
    pub requests: (u64, u64),
    /// How much time went by in it.
    pub took: Duration,
    /// Every attempt, for others to judge.
    pub attempts: Vec<Attempt>,
    /// Everything that happened, if it is traced.
    pub trace: String,
}

/// Runs a history. A panic of the product is a breach, too.
pub fn run<G: Ground>(plan: &Plan, source: &Source, is_traced: bool) -> Outcome {
    let world = || world::<G>(plan.clone(), source.clone(), is_traced);
    catch_unwind(AssertUnwindSafe(world)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Outcome {
            breaches: vec![Breach::of("panic", said.unwrap_or_default())],
            happened: Vec::new(),
            visited: Vec::new(),
            tally: Tally::default(),
            requests: (0, 0),
            took: Duration::ZERO,
            attempts: Vec::new(),
            trace: String::new(),
        }
    })
}

#[allow(clippy::expect_used, reason = "a runtime without input and output needs nothing of the system")]
fn world<G: Ground>(plan: Plan, source: Source, is_traced: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    LocalSet::new().block_on(&runtime.expect("a runtime"), async {
        let world = Rc::new(World::<G>::new(plan, source, is_traced).await);
        world.run().await;
        let took = world.start.elapsed();
        let judged = judge(&world).await;
        let book = world.book.borrow();
        let mut tally = book.tally;
        tally.attempts = book.attempts.len() as u64;
        tally.committed = judged.attempts.iter().filter(|attempt| attempt.version.is_some()).count() as u64;
        Outcome {
            breaches: judged.breaches,
            happened: world.script.happened(),
            visited: world.script.visited(),
            tally,
            requests: world.script.requests(),
            took,
            attempts: judged.attempts,
            trace: if is_traced { format!("{}{}", book.trace(), world.ground.trace()) } else { String::new() },
        }
    })
}

/// What many histories came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sum {
    /// Histories.
    pub histories: u64,
    /// Counts.
    pub tally: Tally,
    /// Requests to the store.
    pub requests: u64,
    /// Those of them with which something went wrong.
    pub faulted: u64,
    /// How much time went by in them.
    pub took: Duration,
}

impl Sum {
    fn add(&mut self, outcome: &Outcome) {
        self.histories += 1;
        self.tally += outcome.tally;
        self.requests += outcome.requests.0;
        self.faulted += outcome.requests.1;
        self.took += outcome.took;
    }
}

impl std::ops::AddAssign for Sum {
    fn add_assign(&mut self, other: Self) {
        self.histories += other.histories;
        self.tally += other.tally;
        self.requests += other.requests;
        self.faulted += other.faulted;
        self.took += other.took;
    }
}

/// A seed whose history broke a promise.
#[derive(Debug)]
pub struct Failure {
    /// Its plan.
    pub plan: Plan,
    /// What came of it.
    pub outcome: Outcome,
}

/// Runs these seeds on so many threads, until `each` has seen enough: it sees what came of every one. The failure is that of
/// the smallest seed that broke a promise.
pub fn many<G: Ground>(
    seeds: Range<u64>,
    threads: usize,
    plan: impl Fn(u64) -> Plan + Sync,
    each: impl Fn(&Plan, &Outcome) -> ControlFlow<()> + Sync,
) -> (Sum, Option<Failure>) {
    let (next, enough) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let work = || {
        let (mut sum, mut failure) = (Sum::default(), None);
        while !enough.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if !seeds.contains(&seed) {
                break;
            }
            let plan = plan(seed);
            let outcome = run::<G>(&plan, &drawn(&plan), false);
            sum.add(&outcome);
            if each(&plan, &outcome).is_break() {
                enough.store(true, Ordering::Relaxed);
            }
            if failure.is_none() && !outcome.breaches.is_empty() {
                failure = Some(Failure { plan, outcome });
            }
        }
        (sum, failure)
    };
    let mut all = (Sum::default(), None::<Failure>);
    for (sum, failure) in on_large_stacks(threads, work) {
        all.0 += sum;
        // The smallest seed, so that it is the same one each time.
        all.1 = match (all.1, failure) {
            (Some(one), Some(other)) if other.plan.seed < one.plan.seed => Some(other),
            (None, other) => other,
            (one, _) => one,
        };
    }
    all
}

/// What a plan's seed draws.
#[must_use]
pub fn drawn(plan: &Plan) -> Source {
    Source::Drawn { rough: plan.rough }
}

/// Does something where there is room for histories.
#[allow(clippy::expect_used, reason = "without threads there is nothing to run")]
pub fn on_a_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work).expect("a thread");
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// Does the same on so many threads, where there is room for histories.
#[allow(clippy::expect_used, reason = "without threads there is nothing to run")]
fn on_large_stacks<T: Send>(threads: usize, work: impl Fn() -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let start = |_| thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, &work).expect("a thread");
        let threads: Vec<_> = (0..threads).map(start).collect();
        threads.into_iter().map(|thread| thread.join().expect("histories catch their panics")).collect()
    })
}
