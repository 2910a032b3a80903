//! Seeded histories of serializable transactions, on virtual time, one seed a history; every promise of R-SER-1 to R-SER-6 is
//! checked of every one. Half of the seeds mix both isolations.
//!
//! | file | what |
//! |---|---|
//! | `main.rs` | what must hold, and the tests |
//! | `world.rs` | sandboxes, their functions, and what goes wrong |
//! | `history.rs` | what is noted of it; and as a file, for checkers that are not ours |
//! | `cycles.rs` | whether it can have happened one after the other |
//!
//! `HISTORY=seed` runs one and prints it if it fails; `HISTORIES=200000` runs more than the tests do by themselves, and
//! `DYNAMODB_HISTORIES=5000` more of those over the SDK; `HISTORIES_OUT=folder` writes each as `docs/histories.md` says.
#![allow(missing_docs, clippy::unwrap_used)]

mod cycles;
mod history;
#[path = "../support/mod.rs"]
mod support;
mod world;

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use aft_protocol::key::Key;
use aft_protocol::record::CommitRecord;
use aft_protocol::version::Version;
use aft_store::memory::Memory;
use cycles::cycle;
use history::Outcome;
use support::chance::on_a_large_stack;
use support::ground::{Ground, Simulated};
use tokio::task::LocalSet;
use world::{ACCOUNTS, Mix, OPENING_BALANCE, World};

const HISTORIES: u64 = 1_200;
const DYNAMODB_HISTORIES: u64 = 60;

/// What histories came to.
#[derive(Debug, Default)]
struct Sum {
    attempts: usize,
    committed: usize,
    conflicts: usize,
    audits: usize,
    /// The most attempts that an invocation needed.
    longest: u32,
}

impl AddAssign for Sum {
    fn add_assign(&mut self, other: Self) {
        self.attempts += other.attempts;
        self.committed += other.committed;
        self.conflicts += other.conflicts;
        self.audits += other.audits;
        self.longest = self.longest.max(other.longest);
    }
}

impl<G: Ground> World<G> {
    async fn check(&self) -> Sum {
        let mut records = self.ground.every_record().await;
        records.sort_by_key(|record| record.version);
        self.check_reads(&records);
        self.check_exactly_once(&records);
        self.check_serializable(&records);
        self.check_guarded(&records);
        self.check_heads(&records).await;
        let history = self.history.borrow();
        let breaches: Vec<_> = history.breaches.iter().flat_map(|found| found.lock().unwrap().clone()).collect();
        assert_eq!(breaches, [], "seed {}: written before an earlier one was applied (R-FM-2)", self.seed);
        let committed = history.committed(&records).len();
        let audits = self.check_audits(&records);
        if let Some(folder) = std::env::var_os("HISTORIES_OUT") {
            std::fs::create_dir_all(&folder).unwrap();
            let ground = std::any::type_name::<G>().rsplit("::").next().unwrap_or_default();
            let name = format!("{ground}-{:?}-{}.jsonl", self.mix, self.seed);
            history.write(&Path::new(&folder).join(name), &records);
        }
        Sum {
            attempts: history.attempts.len(),
            committed,
            conflicts: history.conflicts,
            audits,
            longest: history.longest,
        }
    }

    /// R-READ-1 and R-READ-2, of every attempt, whatever became of it.
    fn check_reads(&self, records: &[CommitRecord]) {
        let records: BTreeMap<Version, &CommitRecord> = records.iter().map(|record| (record.version, record)).collect();
        for attempted in &self.history.borrow().attempts {
            for (key, version) in attempted.reads.iter().filter(|(_, version)| !version.is_zero()) {
                let record =
                    records.get(version).unwrap_or_else(|| panic!("seed {}: dirty read of {key:?}", self.seed));
                for sibling in record.writes.keys() {
                    let fractured = attempted.reads.get(sibling).is_some_and(|read| read < version);
                    assert!(!fractured, "seed {}: fractured read of {key:?} and {sibling:?}: {attempted:?}", self.seed);
                }
            }
        }
    }

    /// R-COMMIT-2, R-SER-4: one answer a transaction, which its record has; and what was called a conflict never commits.
    fn check_exactly_once(&self, records: &[CommitRecord]) {
        let history = self.history.borrow();
        for (transaction, answers) in &history.answers {
            assert_eq!(answers.len(), 1, "seed {}: {transaction} was answered in two ways: {answers:?}", self.seed);
            let recorded = records.iter().any(|record| answers.iter().any(|answer| record.response.body == answer));
            assert!(recorded, "seed {}: {transaction} was acknowledged and is lost: {answers:?}", self.seed);
        }
        for attempted in history.attempts.iter().filter(|attempted| attempted.outcome == Outcome::Aborted) {
            let record = records.iter().find(|record| attempted.wrote(record));
            assert!(
                record.is_none(),
                "seed {}: called without a trace, and there is a record: {attempted:?}",
                self.seed
            );
        }
    }

    /// R-SER-1, R-SER-2, R-SER-3: one after the other, and in the order in which they were answered. Where both isolations are
    /// mixed, that is so of the keys that only serializable transactions write.
    fn check_serializable(&self, records: &[CommitRecord]) {
        let counts = |key: &Key| self.mix == Mix::All || ACCOUNTS.contains(&key.as_str());
        let history = self.history.borrow();
        let committed = history.committed(records);
        let ours = committed.iter().filter(|(attempted, _)| attempted.isolation.is_serializable());
        let nodes: Vec<_> = ours.map(|(attempted, record)| attempted.node(*record, counts)).collect();
        if let Some(cycle) = cycle(&nodes, false) {
            panic!("seed {}: not serializable:\n{cycle}", self.seed);
        }
        if let Some(cycle) = cycle(&nodes, true) {
            panic!("seed {}: not in the order of the answers:\n{cycle}", self.seed);
        }
    }

    /// R-SER-5: of those who insist on the same version of a key and write it, one commits, whatever their isolation.
    fn check_guarded(&self, records: &[CommitRecord]) {
        let mut first: BTreeMap<(Key, Version), String> = BTreeMap::new();
        for (attempted, record) in self.history.borrow().committed(records) {
            let Some(record) = record else { continue };
            for (key, read) in &attempted.reads {
                let insists = attempted.isolation.is_serializable() || attempted.guarded.contains(key);
                if insists && record.writes.contains_key(key) {
                    let other = first.insert((key.clone(), *read), attempted.response.clone());
                    assert_eq!(other, None, "seed {}: {key:?} at {read}: lost, by {attempted:?}", self.seed);
                }
            }
        }
    }

    /// Transfers never change the whole sum.
    fn check_audits(&self, records: &[CommitRecord]) -> usize {
        let history = self.history.borrow();
        let committed = history.committed(records).into_iter();
        let audits = committed.filter(|(attempted, _)| attempted.isolation.is_serializable());
        let sums: Vec<_> = audits.filter_map(|(attempted, _)| attempted.sum).collect();
        let whole = OPENING_BALANCE * ACCOUNTS.len() as i64;
        assert!(sums.iter().all(|sum| *sum == whole), "seed {}: {sums:?}", self.seed);
        sums.len()
    }

    /// Record and heads are one step: every head is where the newest record says, and nobody has to finish anything.
    async fn check_heads(&self, records: &[CommitRecord]) {
        if self.mix == Mix::Both {
            return;
        }
        let keys = records.iter().flat_map(|record| record.writes.keys().cloned()).collect();
        for (key, head) in self.ground.true_heads(&keys).await {
            let newest = records.iter().rev().find_map(|record| record.entry(&key)).unwrap();
            let found = (head.current.version, head.current.value);
            assert_eq!(found, (newest.version, newest.value), "seed {}: {key:?}", self.seed);
        }
    }
}

/// A history that fails is shown, if it was asked for by its seed.
impl<G: Ground> Drop for World<G> {
    #[allow(clippy::print_stdout, reason = "this is a test, in its last moments")]
    fn drop(&mut self) {
        if thread::panicking() && given("HISTORY").is_some() {
            println!("{}\n{}", self.ground.trace(), self.history.borrow().trace);
        }
    }
}

fn history<G: Ground>(seed: u64, mix: Mix) -> (String, Sum) {
    on_a_large_stack(|| run::<G>(seed, mix))
}

fn run<G: Ground>(seed: u64, mix: Mix) -> (String, Sum) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let world = Rc::new(World::<G>::new(seed, mix).await);
        world.run().await;
        let sum = world.check().await;
        let trace = world.history.borrow().trace.clone() + &world.ground.trace();
        (trace, sum)
    })
}

fn given(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Half of the seeds mix both isolations.
fn mix_of(seed: u64) -> Mix {
    if seed.is_multiple_of(2) { Mix::All } else { Mix::Both }
}

/// Runs one history if that was asked for, or so many, on all cores. Says what they came to.
fn histories<G: Ground>(many: u64) -> String {
    if let Some(seed) = given("HISTORY") {
        return format!("{:?}", history::<G>(seed, mix_of(seed)).1);
    }
    let next = AtomicU64::new(1);
    let cores = thread::available_parallelism().unwrap().get();
    let sum = thread::scope(|scope| {
        let work = || {
            let mut sum = Sum::default();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed > many {
                    return sum;
                }
                sum += history::<G>(seed, mix_of(seed)).1;
            }
        };
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let mut sum = Sum::default();
        for thread in threads {
            sum += thread.join().unwrap();
        }
        sum
    });
    // What is checked must have happened.
    assert!(many < 20 || (sum.conflicts > 0 && sum.audits > 0 && sum.longest > 1), "{sum:?}");
    format!("{many} histories: {sum:?}")
}

#[test]
fn serializable_histories_are_serializable() {
    println!("{}", histories::<Memory>(given("HISTORIES").unwrap_or(HISTORIES)));
}

#[test]
fn serializable_histories_over_dynamodb_are_serializable() {
    println!("{}", histories::<Simulated>(given("DYNAMODB_HISTORIES").unwrap_or(DYNAMODB_HISTORIES)));
}

#[test]
fn the_same_seed_is_the_same_history() {
    for (seed, mix) in [(1, Mix::All), (77, Mix::Both)] {
        assert_eq!(history::<Memory>(seed, mix).0, history::<Memory>(seed, mix).0);
        assert_eq!(history::<Simulated>(seed, mix).0, history::<Simulated>(seed, mix).0);
    }
}
