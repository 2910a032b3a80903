//! Sandboxes over one store, and what their functions do: transfers between any two accounts, audits of all of them, and
//! work of any kind on a few keys more; with skewed clocks, lost, late and cancelled requests, duplicates at the same time
//! and later, explicit transactions, reads that allow staleness, and sandboxes that die at any store call.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use aft_extension::session::{
    Aborted, Ack, Begun, Behaviour, CommitResult, DuplicateCheck, Explicit, Freshness, Named, Precondition,
    SessionError, Started,
};
use aft_protocol::attempt::Seen;
use aft_protocol::id::{AttemptNumber, Fingerprint, TransactionId};
use aft_protocol::isolation::Isolation;
use aft_protocol::key::Key;
use aft_protocol::record::Writes;
use aft_protocol::value::Value;
use tokio::time::{Instant, sleep, timeout};

use crate::history::{Attempted, History, Outcome};
use crate::support::chance::Chance;
use crate::support::ground::{Ground, Life};
use crate::support::{self, BEHAVIOUR, Sandbox, answer, k, named, seen_text, v};

pub const ACCOUNTS: [&str; 4] = ["a0", "a1", "a2", "a3"];
const OTHERS: [&str; 3] = ["x", "y", "z"];
/// What an account holds that nobody has written yet.
pub const OPENING_BALANCE: i64 = 100;
const SANDBOXES: u64 = 4;
const INVOCATIONS: u64 = 6;
/// Attempts of one invocation.
const ATTEMPTS: u32 = 6;
/// Messages that all sandboxes get, and the first one's number.
const MESSAGES: u64 = 6;
const FIRST_MESSAGE: u128 = 100_000;

/// Which isolation transactions have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mix {
    /// All of them this one.
    All,
    /// Some this one and some read atomic.
    Both,
}

pub struct World<G: Ground> {
    pub start: Instant,
    pub ground: G,
    pub chance: Chance,
    pub history: RefCell<History>,
    pub mix: Mix,
    pub seed: u64,
}

/// What an attempt has done so far.
struct Work {
    isolation: Isolation,
    began: u64,
    reads: BTreeMap<Key, aft_protocol::version::Version>,
    writes: BTreeSet<Key>,
    guarded: BTreeSet<Key>,
    sum: Option<i64>,
}

impl<G: Ground> World<G> {
    pub async fn new(seed: u64, mix: Mix) -> Self {
        let chance = Chance::new(seed);
        Self { start: Instant::now(), ground: G::new().await, chance, history: RefCell::default(), mix, seed }
    }

    /// Runs everything to its end.
    pub async fn run(self: &Rc<Self>) {
        let place = |number| tokio::task::spawn_local(Rc::clone(self).place(number));
        let places: Vec<_> = (0..SANDBOXES).map(place).collect();
        for place in places {
            place.await.unwrap();
        }
        // What is under way arrives, what is pending is applied.
        sleep(Duration::from_secs(60)).await;
    }

    fn isolation(&self) -> Isolation {
        match self.mix {
            Mix::Both if self.chance.one_in(2) => Isolation::ReadAtomic,
            Mix::Both | Mix::All => Isolation::Serializable,
        }
    }

    fn sandbox(&self, number: u64, life: u64) -> (Sandbox<G::Store>, Life) {
        let behaviour = Behaviour {
            isolation: self.isolation(),
            duplicate_check: [DuplicateCheck::Parallel, DuplicateCheck::Before, DuplicateCheck::CommitOnly]
                [self.chance.below(3) as usize],
            ack: if self.chance.one_in(2) { Ack::Visible } else { Ack::Durable },
            refuse_in_progress: self.chance.one_in(4),
            write_look_up: self.chance.one_in(2),
            reads_strongly: self.chance.one_in(2),
            memoize_always: self.chance.one_in(4),
            cache_bytes: [100_000, 0][self.chance.below(2) as usize],
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
            sleep(Duration::from_micros(self.chance.below(20_000))).await;
            let earlier = self.history.borrow().delivered.clone();
            let transaction = match earlier.len() as u64 {
                some @ 1.. if self.chance.one_in(5) => earlier[self.chance.below(some) as usize],
                _ => u128::from(1_000 * (number + 1) + n),
            };
            self.history.borrow_mut().delivered.push(transaction);
            let limit = Duration::from_millis(support::DEADLINE_MS);
            // What Lambda ends is noted by nobody: as good as an attempt that nobody was told of.
            let _ = timeout(limit, self.invocation(number, &sandbox, transaction)).await;
            sandbox.release(transaction).await;
            sandbox.end(transaction);
            if life.is_over() {
                lives += 1;
                (sandbox, life) = self.sandbox(number, lives);
            }
        }
    }

    /// Attempts, as the shim makes them.
    async fn invocation(&self, process: u64, sandbox: &Sandbox<G::Store>, transaction: u128) {
        let id = TransactionId::from_bits(transaction);
        let mut number = AttemptNumber::FIRST;
        for tries in 1..=ATTEMPTS {
            let began = self.moment();
            match sandbox.try_begin(transaction, number).await {
                Ok(Begun::Open) => {}
                Ok(Begun::Duplicate(response)) => return self.answered(transaction, &response),
                Ok(Begun::InProgress) | Err(_) => return,
                Ok(Begun::Mismatch) => panic!("seed {}: {transaction} has one payload", self.seed),
            }
            let mut work = Work::new(sandbox.behaviour.isolation, began);
            let response = self.response(transaction);
            let mut noted = Noted::new(self, process, transaction, number.get(), &response);
            let handled = self.handler(sandbox, named(transaction), &mut work).await;
            if self.chance.one_in(4) {
                self.messages(process, sandbox).await;
            }
            noted.work(&work);
            if handled.is_err() || self.chance.one_in(10) {
                match sandbox.session.abort(id, number).await {
                    Ok(Aborted::Gone | Aborted::Conflict(_)) => noted.told(Outcome::Aborted),
                    Ok(Aborted::Duplicate(response)) => {
                        noted.told(Outcome::Aborted);
                        return self.answered(transaction, &response);
                    }
                    Ok(Aborted::Mismatch) | Err(_) => return,
                }
            } else {
                let result = sandbox.session.commit(id, number, answer(&response)).await;
                if self.is_over(&mut noted, transaction, result) {
                    self.note_longest(tries);
                    return;
                }
            }
            drop(noted);
            sleep(Duration::from_micros(self.chance.below(10_000))).await;
            number = number.next();
        }
    }

    /// Notes how a commit ended; whether no other attempt follows.
    fn is_over(&self, noted: &mut Noted<'_, G>, transaction: u128, result: Result<CommitResult, SessionError>) -> bool {
        match result {
            Ok(CommitResult::Committed) => {
                noted.told(Outcome::Committed);
                if !noted.attempted.writes.is_empty() {
                    let response = noted.attempted.response.clone();
                    self.history.borrow_mut().answers.entry(transaction).or_default().insert(response);
                }
                true
            }
            Ok(CommitResult::Duplicate(response)) => {
                noted.told(Outcome::Aborted);
                self.answered(transaction, &response);
                true
            }
            Ok(CommitResult::Conflict(..)) => {
                self.history.borrow_mut().conflicts += 1;
                noted.told(Outcome::Aborted);
                false
            }
            Ok(CommitResult::Failed(..)) => {
                noted.told(Outcome::Aborted);
                false
            }
            Ok(CommitResult::Mismatch | CommitResult::Unknown(..)) | Err(_) => true,
        }
    }

    /// Explicit transactions, one after the other.
    async fn messages(&self, process: u64, sandbox: &Sandbox<G::Store>) {
        for _ in 0..1 + self.chance.below(2) {
            let message = FIRST_MESSAGE + u128::from(self.chance.below(MESSAGES));
            let transaction = TransactionId::from_bits(message);
            let isolation = self.isolation();
            let wanted = Explicit {
                transaction,
                fingerprint: Fingerprint::of(b"{}"),
                origin: format!("test/{message}"),
                isolation: Some(isolation),
            };
            let began = self.moment();
            let number = match sandbox.session.begin_explicit(Named::default(), wanted).await {
                Err(_) => continue,
                Ok(Started::Committed(response)) => {
                    self.answered(message, &response);
                    continue;
                }
                Ok(Started::Open(number)) => number,
            };
            let mut work = Work::new(isolation, began);
            let response = self.response(message);
            let mut noted = Noted::new(self, process, message, number.get(), &response);
            let handled = self.handler(sandbox, named(message), &mut work).await;
            noted.work(&work);
            if handled.is_err() {
                if sandbox.session.abort_explicit(named(message)).is_ok() {
                    noted.told(Outcome::Aborted);
                }
                continue;
            }
            let result = sandbox.session.commit_explicit(named(message), answer(&response)).await;
            self.is_over(&mut noted, message, result);
        }
    }

    async fn handler(&self, sandbox: &Sandbox<G::Store>, named: Named, work: &mut Work) -> Result<(), SessionError> {
        match self.chance.below(4) {
            0 => self.transfer(sandbox, named, work).await,
            1 => self.audit(sandbox, named, work).await,
            _ => self.anything(sandbox, named, work).await,
        }
    }

    /// Between any two accounts, and never more than there is. Read-atomic transactions leave accounts alone: they would
    /// lose updates.
    async fn transfer(&self, sandbox: &Sandbox<G::Store>, named: Named, work: &mut Work) -> Result<(), SessionError> {
        if !work.isolation.is_serializable() {
            return self.anything(sandbox, named, work).await;
        }
        let from = self.chance.below(4) as usize;
        let to = (from + 1 + self.chance.below(3) as usize) % 4;
        let (from, to) = (k(ACCOUNTS[from]), k(ACCOUNTS[to]));
        let (mut left, mut right) = (0, 0);
        for (key, amount) in [(&from, &mut left), (&to, &mut right)] {
            let seen = self.read(sandbox, named, work, BTreeSet::from([key.clone()])).await?;
            *amount = balance(&seen[key]);
        }
        let amount = self.chance.below(150) as i64;
        if amount > left {
            return Ok(());
        }
        self.pause().await;
        let writes = [(from, left - amount), (to, right + amount)];
        let writes: Writes = writes.map(|(key, balance)| (key, Some(v(&balance.to_string())))).into();
        work.writes.extend(writes.keys().cloned());
        sandbox.session.write(named, writes)
    }

    async fn audit(&self, sandbox: &Sandbox<G::Store>, named: Named, work: &mut Work) -> Result<(), SessionError> {
        let all: Vec<_> = ACCOUNTS.iter().map(|key| k(key)).collect();
        let mut sum = 0;
        if self.chance.one_in(2) {
            let seen = self.read(sandbox, named, work, all.into_iter().collect()).await?;
            sum += seen.values().map(balance).sum::<i64>();
        } else {
            for key in all {
                let seen = self.read(sandbox, named, work, BTreeSet::from([key])).await?;
                sum += seen.values().map(balance).sum::<i64>();
                self.pause().await;
            }
        }
        work.sum = Some(sum);
        Ok(())
    }

    async fn anything(&self, sandbox: &Sandbox<G::Store>, named: Named, work: &mut Work) -> Result<(), SessionError> {
        for _ in 0..1 + self.chance.below(4) {
            let key = k(OTHERS[self.chance.below(3) as usize]);
            let padding = if self.chance.one_in(3) { 700 } else { 0 };
            let value = Some(v(&format!("{}{:padding$}", self.chance.below(1_000), "")));
            match self.chance.below(8) {
                0 | 1 => {
                    sandbox.session.write(named, Writes::from([(key.clone(), value)]))?;
                    work.writes.insert(key);
                }
                2 => {
                    sandbox.session.write(named, Writes::from([(key.clone(), None)]))?;
                    work.writes.insert(key);
                }
                3 => self.write_on_condition(sandbox, named, work, key, value).await?,
                4 => drop(self.read(sandbox, named, work, BTreeSet::from([k(ACCOUNTS[0]), key])).await?),
                _ => drop(self.read(sandbox, named, work, BTreeSet::from([key])).await?),
            }
            self.pause().await;
        }
        Ok(())
    }

    /// Insists on what it has read, in either isolation.
    async fn write_on_condition(
        &self,
        sandbox: &Sandbox<G::Store>,
        named: Named,
        work: &mut Work,
        key: Key,
        value: Option<Value>,
    ) -> Result<(), SessionError> {
        let seen = self.read(sandbox, named, work, BTreeSet::from([key.clone()])).await?;
        let precondition = match seen[&key].etag() {
            Some(etag) if self.chance.one_in(2) => Precondition::Matches(vec![etag]),
            Some(_) => Precondition::Exists,
            None => Precondition::Absent,
        };
        self.pause().await;
        sandbox.session.write_if(named, key.clone(), value, precondition).await?;
        if matches!(seen[&key], Seen::Read(_)) {
            work.guarded.insert(key.clone());
        }
        work.writes.insert(key);
        Ok(())
    }

    async fn read(
        &self,
        sandbox: &Sandbox<G::Store>,
        named: Named,
        work: &mut Work,
        keys: BTreeSet<Key>,
    ) -> Result<BTreeMap<Key, Seen>, SessionError> {
        let max_age_seconds = if self.chance.one_in(4) { 5 } else { 0 };
        let freshness = Freshness { max_age_seconds, no_store: false };
        let answers = sandbox.session.read_with(named, keys, freshness).await?;
        let seen: BTreeMap<_, _> = answers.into_iter().map(|(key, answer)| (key, answer.seen)).collect();
        for (key, seen) in &seen {
            if let Seen::Read(entry) = seen {
                let before = work.reads.insert(key.clone(), entry.version);
                let is_repeatable = before.is_none_or(|before| before == entry.version);
                assert!(is_repeatable, "seed {}: {key:?} was read twice (R-READ-2)", self.seed);
            }
        }
        Ok(seen)
    }

    async fn pause(&self) {
        sleep(Duration::from_micros(self.chance.below(6_000))).await;
    }

    fn moment(&self) -> u64 {
        self.history.borrow_mut().moment()
    }

    /// Names an attempt: all answers of one transaction must be the same.
    fn response(&self, transaction: u128) -> String {
        format!("{transaction}/{}", self.chance.below(1_000_000_000))
    }

    fn answered(&self, transaction: u128, response: &aft_protocol::record::Response) {
        let response = String::from_utf8(response.body.to_vec()).unwrap();
        self.history.borrow_mut().answers.entry(transaction).or_default().insert(response);
    }

    fn note_longest(&self, tries: u32) {
        let mut history = self.history.borrow_mut();
        history.longest = history.longest.max(tries);
    }
}

impl Work {
    fn new(isolation: Isolation, began: u64) -> Self {
        let (reads, writes) = (BTreeMap::new(), BTreeSet::new());
        Self { isolation, began, reads, writes, guarded: BTreeSet::new(), sum: None }
    }
}

fn balance(seen: &Seen) -> i64 {
    seen_text(seen).map_or(OPENING_BALANCE, |text| text.parse().unwrap())
}

/// An attempt that is noted when it is over, even if it is cut off: then nobody was told anything.
struct Noted<'w, G: Ground> {
    world: &'w World<G>,
    attempted: Attempted,
}

impl<'w, G: Ground> Noted<'w, G> {
    fn new(world: &'w World<G>, process: u64, transaction: u128, number: u32, response: &str) -> Self {
        let attempted = Attempted {
            process,
            transaction,
            number,
            isolation: Isolation::ReadAtomic,
            began: 0,
            answered: None,
            outcome: Outcome::Unknown,
            reads: BTreeMap::new(),

            writes: BTreeSet::new(),
            guarded: BTreeSet::new(),
            response: response.to_owned(),
            sum: None,
        };
        Self { world, attempted }
    }

    fn work(&mut self, work: &Work) {
        self.attempted.isolation = work.isolation;
        self.attempted.began = work.began;
        self.attempted.reads.clone_from(&work.reads);
        self.attempted.writes.clone_from(&work.writes);
        self.attempted.guarded.clone_from(&work.guarded);
        self.attempted.sum = work.sum;
    }

    fn told(&mut self, outcome: Outcome) {
        self.attempted.outcome = outcome;
        self.attempted.answered = Some(self.world.moment());
    }
}

impl<G: Ground> Drop for Noted<'_, G> {
    fn drop(&mut self) {
        let mut history = self.world.history.borrow_mut();
        writeln!(history.trace, "{:?} {:?}", self.world.start.elapsed(), self.attempted).unwrap();
        if self.attempted.began > 0 {
            history.attempts.push(self.attempted.clone());
        }
    }
}
