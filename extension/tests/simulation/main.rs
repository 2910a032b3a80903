//! Seeded histories: sandboxes over one store, with skewed clocks, lost and late writes, throttling, duplicates at the same
//! time and later, explicit transactions several at once, reads that allow staleness, and sandboxes that die at any store
//! call; virtual time, one seed a history. Every read of every attempt is checked, every record when it is written, and the
//! store at the end. Half of the histories look up what they write, and half do not: the latter show what that is for.
//!
//! They take place on the in-memory store, with faults call by call, and on the production store over the real SDK, with
//! faults request by request beneath it.
//!
//! | file | what |
//! |---|---|
//! | `main.rs` | the world: sandboxes, their handlers, and the tests |
//! | `history.rs` | what is noted of it |
//! | `checks.rs` | what must hold |
//!
//! A failing seed prints itself: `HISTORY=seed` runs it alone, and prints every request if it fails again.
//! `HISTORIES=100000` runs more than the tests do by themselves; of those over the SDK, which take longer,
//! `DYNAMODB_HISTORIES=5000`.
#![allow(missing_docs, clippy::unwrap_used)]

mod checks;
mod history;
#[path = "../support/mod.rs"]
mod support;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use aft_extension::session::{
    Aborted, Ack, Begun, Behaviour, CommitResult, DuplicateCheck, Explicit, Freshness, Named, SessionError, Source,
    Started,
};
use aft_protocol::id::{AttemptNumber, Fingerprint, TransactionId};
use aft_protocol::key::Key;
use aft_protocol::record::Writes;
use aft_protocol::version::Version;
use aft_store::memory::Memory;
use futures_util::future::join_all;
use history::{Attempted, Ended, History, Sum};
use support::chance::{Chance, on_a_large_stack};
use support::ground::{Ground, Life, Simulated};
use support::{BEHAVIOUR, Sandbox, answer, k, named, v};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, timeout};

const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];
const SANDBOXES: u64 = 4;
const INVOCATIONS: u64 = 8;
const HISTORIES: u64 = 1_500;
const DYNAMODB_HISTORIES: u64 = 40;
/// Messages that all sandboxes get, again and again, and the first one's number.
const MESSAGES: u64 = 12;
const FIRST_MESSAGE: u128 = 100_000;
/// Longer than any request is under way.
const LONG: Duration = Duration::from_secs(60);

struct World<G: Ground> {
    start: Instant,
    ground: G,
    chance: Chance,
    history: RefCell<History>,
    write_look_up: bool,
    seed: u64,
}

/// A world that breaks shows what happened in it, if it was asked for by its seed.
impl<G: Ground> Drop for World<G> {
    #[allow(clippy::print_stdout, reason = "this is a test, in its last moments")]
    fn drop(&mut self) {
        if std::thread::panicking() && given("HISTORY").is_some() {
            println!("{}\n{}", self.ground.trace(), self.history.borrow().trace);
        }
    }
}

impl<G: Ground> World<G> {
    /// A sandbox whose every store call may be slow, fail, or be its last.
    fn sandbox(&self, number: u64, life: u64) -> (Sandbox<G::Store>, Life) {
        let behaviour = Behaviour {
            duplicate_check: [DuplicateCheck::Parallel, DuplicateCheck::Before, DuplicateCheck::CommitOnly]
                [self.chance.below(3) as usize],
            ack: if self.chance.one_in(2) { Ack::Visible } else { Ack::Durable },
            // Some refuse duplicates while another runs, some do not: R-COMMIT-2 does not depend on it.
            refuse_in_progress: self.chance.one_in(3),
            write_look_up: self.write_look_up,
            reads_strongly: self.chance.one_in(2),
            // Some hold all heads that there are, some a few, and some none.
            cache_bytes: [100_000, 3_000, 0][self.chance.below(3) as usize],
            ..BEHAVIOUR
        };
        let born = self.chance.sandbox(&self.ground, self.start, (number, life), behaviour);
        self.history.borrow_mut().breaches.push(Arc::clone(&born.0.breaches));
        born
    }

    /// One sandbox after the other in the same place; a new one when the old one is dead.
    async fn place(self: Rc<Self>, number: u64) {
        let mut lives = 0;
        let (mut sandbox, mut life) = self.sandbox(number, lives);
        for n in 0..INVOCATIONS {
            sleep(Duration::from_micros(self.chance.below(30_000))).await;
            let earlier = self.history.borrow().delivered.clone();
            let transaction = match earlier.len() as u64 {
                some @ 1.. if self.chance.one_in(4) => earlier[self.chance.below(some) as usize],
                _ => u128::from(1_000 * (number + 1) + n),
            };
            self.history.borrow_mut().delivered.push(transaction);
            // Lambda ends an invocation at its deadline, whatever hangs.
            let limit = Duration::from_millis(support::DEADLINE_MS);
            let (reads, ended) = timeout(limit, self.invocation(&sandbox, transaction))
                .await
                .unwrap_or((BTreeMap::new(), Ended::Unknown));
            self.note(Attempted { transaction, reads, ended });
            sandbox.release(transaction).await;
            sandbox.end(transaction);
            if life.is_over() {
                lives += 1;
                (sandbox, life) = self.sandbox(number, lives);
            }
        }
    }

    fn note(&self, attempted: Attempted) {
        let mut history = self.history.borrow_mut();
        writeln!(history.trace, "{:?} {attempted:?}", self.start.elapsed()).unwrap();
        history.attempts.push(attempted);
    }

    /// Up to three attempts, as the shim makes them.
    async fn invocation(&self, sandbox: &Sandbox<G::Store>, transaction: u128) -> (BTreeMap<Key, Version>, Ended) {
        let mut number = AttemptNumber::FIRST;
        for _ in 0..3 {
            match sandbox.try_begin(transaction, number).await {
                Ok(Begun::Open) => {}
                Ok(Begun::Duplicate(response)) => return (BTreeMap::new(), answered(&response)),
                Ok(Begun::InProgress) => return (BTreeMap::new(), Ended::Refused),
                Ok(Begun::Mismatch) => panic!("seed {}: {transaction} has one payload", self.seed),
                Err(_) => return (BTreeMap::new(), Ended::Unknown),
            }
            let began = self.history.borrow_mut().moment();
            let mut reads = BTreeMap::new();
            let handled = self.handler(sandbox, transaction, &mut reads).await;
            if handled.is_err() || self.is_cut_off_in_a_batch(sandbox).await || self.chance.one_in(8) {
                match sandbox.session.abort(TransactionId::from_bits(transaction), number).await {
                    Ok(Aborted::Gone | Aborted::Conflict(_)) => {
                        self.note(Attempted { transaction, reads, ended: Ended::Refused })
                    }
                    Ok(Aborted::Duplicate(response)) => return (reads, answered(&response)),
                    Ok(Aborted::Mismatch) => panic!("seed {}: {transaction} has one payload", self.seed),
                    Err(_) => return (reads, Ended::Unknown),
                }
                number = number.next();
                continue;
            }
            let response = self.response(transaction, began);
            let id = TransactionId::from_bits(transaction);
            match sandbox.session.commit(id, number, answer(&response)).await {
                Ok(CommitResult::Committed) => {
                    self.acknowledged(sandbox, transaction);
                    return (reads, Ended::Answered(response));
                }
                Ok(CommitResult::Duplicate(recorded)) => return (reads, answered(&recorded)),
                Ok(CommitResult::Unknown(..)) | Err(_) => return (reads, Ended::Unknown),
                Ok(CommitResult::Mismatch) => panic!("seed {}: {transaction} has one payload", self.seed),
                Ok(CommitResult::Conflict(..) | CommitResult::Failed(..)) => {
                    self.history.borrow_mut().refused.insert(response);
                    self.note(Attempted { transaction, reads, ended: Ended::Refused });
                    number = number.next();
                }
            }
        }
        (BTreeMap::new(), Ended::Unknown)
    }

    /// Names the attempt that began at that moment: duplicates must all get one and the same.
    fn response(&self, transaction: u128, began: u64) -> String {
        let response = format!("{transaction}/{}", self.chance.below(1_000_000_000));
        self.history.borrow_mut().began.insert(response.clone(), began);
        response
    }

    fn acknowledged(&self, sandbox: &Sandbox<G::Store>, transaction: u128) {
        if sandbox.behaviour.ack == Ack::Visible {
            let mut history = self.history.borrow_mut();
            let now = history.moment();
            history.visible.insert(TransactionId::from_bits(transaction), now);
        }
    }

    /// Perhaps works on a batch of messages; whether the handler ended in the middle of it.
    async fn is_cut_off_in_a_batch(&self, sandbox: &Sandbox<G::Store>) -> bool {
        if !self.chance.one_in(3) {
            return false;
        }
        let patience = if self.chance.one_in(3) { Duration::from_micros(self.chance.below(60_000)) } else { LONG };
        let messages = (0..1 + self.chance.below(4)).map(|_| FIRST_MESSAGE + u128::from(self.chance.below(MESSAGES)));
        let batch = join_all(messages.map(|message| self.message(sandbox, message)));
        timeout(patience, batch).await.is_err()
    }

    /// One message of a batch, in an explicit transaction.
    async fn message(&self, sandbox: &Sandbox<G::Store>, message: u128) {
        let known = self.history.borrow().known.contains(&message);
        let transaction = TransactionId::from_bits(message);
        let wanted = Explicit {
            transaction,
            fingerprint: Fingerprint::of(b"{}"),
            origin: format!("test/{message}"),
            isolation: None,
        };
        let mut reads = BTreeMap::new();
        let ended = match sandbox.session.begin_explicit(Named::default(), wanted).await {
            Err(_) => return,
            Ok(Started::Committed(response)) => answered(&response),
            Ok(Started::Open(_)) => {
                assert!(!known, "seed {}: {message} is known to have committed, and is worked on again", self.seed);
                self.work(sandbox, message, &mut reads).await
            }
        };
        if matches!(ended, Ended::Answered(_)) {
            self.history.borrow_mut().known.insert(message);
        }
        self.note(Attempted { transaction: message, reads, ended });
    }

    async fn work(&self, sandbox: &Sandbox<G::Store>, message: u128, reads: &mut BTreeMap<Key, Version>) -> Ended {
        let began = self.history.borrow_mut().moment();
        let handled = self.handler(sandbox, message, reads).await;
        if handled.is_err() || self.chance.one_in(6) {
            let aborted = sandbox.session.abort_explicit(named(message));
            return if aborted.is_ok() { Ended::Refused } else { Ended::Unknown };
        }
        let response = self.response(message, began);
        match sandbox.session.commit_explicit(named(message), answer(&response)).await {
            Ok(CommitResult::Committed) => {
                self.acknowledged(sandbox, message);
                Ended::Answered(response)
            }
            Ok(CommitResult::Duplicate(recorded)) => answered(&recorded),
            Ok(CommitResult::Mismatch) => panic!("seed {}: a message has one payload", self.seed),
            Ok(CommitResult::Conflict(..) | CommitResult::Failed(..)) => {
                self.history.borrow_mut().refused.insert(response);
                Ended::Refused
            }
            Ok(CommitResult::Unknown(..)) | Err(_) => Ended::Unknown,
        }
    }

    /// Reads and writes random keys; the writes of a transaction always include the same one, so that it has a record.
    async fn handler(
        &self,
        sandbox: &Sandbox<G::Store>,
        transaction: u128,
        reads: &mut BTreeMap<Key, Version>,
    ) -> Result<(), SessionError> {
        let mut own: BTreeMap<Key, String> = BTreeMap::new();
        for step in 0..3 + self.chance.below(4) {
            let key = self.key();
            if self.chance.one_in(2) {
                let freshness = Freshness { max_age_seconds: self.chance.below(3), no_store: self.chance.one_in(10) };
                let mut wanted = BTreeSet::from([key]);
                if self.chance.one_in(3) {
                    wanted.extend((0..2).map(|_| self.key()));
                }
                let answers = sandbox.session.read_with(named(transaction), wanted, freshness).await?;
                for (key, answer) in &answers {
                    self.history.borrow_mut().hits += u64::from(matches!(answer.source, Source::Cache { .. }));
                    self.check_read(key, &answer.seen, own.get(key).map(String::as_str), reads);
                }
            } else {
                // Long ones are left to their records when the next one comes.
                let padding = if self.chance.one_in(2) { 700 } else { 0 };
                let value = format!("{transaction}.{step}{:padding$}", "");
                sandbox.session.write(named(transaction), Writes::from([(key.clone(), Some(v(&value)))]))?;
                own.insert(key, value);
            }
            sleep(Duration::from_micros(self.chance.below(10_000))).await;
        }
        // Even a handler that only read leaves a record, so that its duplicates can be compared.
        sandbox.session.write(named(transaction), Writes::from([(k("always"), Some(v("x")))]))
    }

    fn key(&self) -> Key {
        k(KEYS[self.chance.below(KEYS.len() as u64) as usize])
    }
}

fn answered(response: &aft_protocol::record::Response) -> Ended {
    Ended::Answered(String::from_utf8(response.body.to_vec()).unwrap())
}

/// Runs one history and returns its trace and what it came to.
fn history<G: Ground>(seed: u64) -> (String, Sum) {
    on_a_large_stack(|| run::<G>(seed))
}

fn run<G: Ground>(seed: u64) -> (String, Sum) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let chance = Chance::new(seed);
        let world = Rc::new(World {
            start: Instant::now(),
            ground: G::new().await,
            write_look_up: chance.one_in(2),
            chance,
            history: RefCell::default(),
            seed,
        });
        let places: Vec<_> =
            (0..SANDBOXES).map(|number| tokio::task::spawn_local(Rc::clone(&world).place(number))).collect();
        for place in places {
            place.await.unwrap();
        }
        // What is under way arrives, what is pending is applied.
        sleep(LONG).await;
        let (misordered, recovered) = world.check().await;
        let history = world.history.take();
        let (attempts, hits) = (history.attempts.len(), history.hits);
        let without_look_ups = usize::from(!world.write_look_up);
        (history.trace + &world.ground.trace(), Sum { attempts, hits, without_look_ups, misordered, recovered })
    })
}

fn given(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Runs one history if that was asked for, or so many. Returns what they came to.
fn histories<G: Ground>(many: u64) -> Sum {
    let seeds = match given("HISTORY") {
        Some(seed) => seed..=seed,
        None => 1..=many,
    };
    let are_few = seeds.clone().count() < 20;
    let mut sum = Sum::default();
    seeds.for_each(|seed| sum += history::<G>(seed).1);
    // What is checked must have happened.
    assert!(are_few || (sum.hits > 0 && sum.misordered > 0 && sum.recovered > 0), "{sum:?}");
    sum
}

#[test]
fn random_histories_keep_every_promise() {
    println!("{:?}", histories::<Memory>(given("HISTORIES").unwrap_or(HISTORIES)));
}

#[test]
fn random_histories_over_dynamodb_keep_every_promise() {
    let many = given("DYNAMODB_HISTORIES").or_else(|| given("HISTORIES"));
    println!("{:?}", histories::<Simulated>(many.unwrap_or(DYNAMODB_HISTORIES)));
}

#[test]
fn the_same_seed_is_the_same_history() {
    for seed in [1, 77, 4_242] {
        assert_eq!(history::<Memory>(seed).0, history::<Memory>(seed).0);
    }
    assert_ne!(history::<Memory>(1).0, history::<Memory>(2).0);
    assert_ne!(history::<Simulated>(1).0, history::<Simulated>(2).0);
}

/// Request by request, although every process has hash maps of another order.
#[test]
fn the_same_seed_is_the_same_history_in_another_process() {
    const OUTPUT: &str = "HISTORY_TRACE_FILE";
    let trace = history::<Simulated>(77).0;
    if let Some(file) = std::env::var_os(OUTPUT) {
        return std::fs::write(file, trace).unwrap();
    }
    let file = std::env::temp_dir().join(format!("aft-history-{}", std::process::id()));
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", "the_same_seed_is_the_same_history_in_another_process"]).env(OUTPUT, &file);
    assert!(again.output().unwrap().status.success());
    let anothers = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(file).unwrap();
    assert!(trace.lines().count() > 100, "{trace}");
    for (own, anothers) in trace.lines().zip(anothers.lines()) {
        assert_eq!(own, anothers);
    }
    assert_eq!(trace.len(), anothers.len());
}
