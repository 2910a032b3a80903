//! A history: sandboxes at their places, one life after the other; requests that arrive there; the fault manager; and time,
//! in which all of it expires.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use aft_protocol::id::RequestId;
use aft_store::watched::Breaches;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::book::{Book, Breach};
use crate::chance::Chance;
use crate::ground::Ground;
use crate::life::Life;
use crate::plan::{Delivery, Plan};
use crate::sandbox::{RETENTION_SECONDS, Sandbox, micros};
use crate::shim;
use crate::trouble::{Process, Script, Source};

/// How long an invocation may take.
pub const TIME_LIMIT: Duration = Duration::from_secs(10);
/// Longer than any request is under way, and any sandbox asleep.
const LONG: Duration = Duration::from_secs(120);
/// From here on nothing goes wrong with the fault manager's batch: Lambda's patience has an end, too.
const TRIES: u32 = 6;

/// Names what histories keep on disk.
static FILES: AtomicU64 = AtomicU64::new(0);

/// A history that takes place.
pub struct World<G: Ground> {
    /// When it began.
    pub start: Instant,
    /// Where it takes place.
    pub ground: G,
    /// What was to happen.
    pub plan: Plan,
    /// What goes wrong.
    pub script: Arc<Script>,
    /// What was noted.
    pub book: RefCell<Book>,
    calm: Arc<Script>,
    breaches: Breaches,
    /// How many records the fault manager is through with, and how often it has been called.
    attended: RefCell<(usize, u32)>,
    /// Files of this history.
    folder: Option<PathBuf>,
}

impl<G: Ground> Drop for World<G> {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            // Another history does not use it.
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

impl<G: Ground> World<G> {
    /// A world in which nothing has happened.
    pub async fn new(plan: Plan, source: Source, is_traced: bool) -> Self {
        let folder = plan.has_journals.then(|| {
            let number = FILES.fetch_add(1, Ordering::Relaxed);
            let folder = std::env::temp_dir().join(format!("aft-simulation-{}-{number}", std::process::id()));
            // Without it there is no journal, which costs time only.
            let _ = std::fs::create_dir_all(&folder);
            folder
        });
        Self {
            start: Instant::now(),
            ground: G::new(is_traced).await,
            script: Arc::new(Script::new(plan.seed, source, is_traced)),
            calm: Arc::new(Script::new(plan.seed, Source::Only(BTreeMap::new()), false)),
            book: RefCell::new(Book::new(is_traced)),
            breaches: Breaches::default(),
            attended: RefCell::default(),
            folder,
            plan,
        }
    }

    /// Runs everything to its end.
    pub async fn run(self: &Rc<Self>) {
        for era in 0..self.plan.eras.len() {
            self.book.borrow_mut().era = era;
            let manager = self.plan.is_attended.then(|| spawn_local(Rc::clone(self).attend_for_ever()));
            let places = 0..self.plan.eras[era].len();
            let places: Vec<_> = places.map(|place| spawn_local(Rc::clone(self).place(era, place))).collect();
            for place in places {
                self.joined(place.await);
            }
            // What is under way arrives, what is pending is applied.
            sleep(LONG).await;
            if let Some(manager) = manager {
                manager.abort();
                // It is not there any more.
                let _ = manager.await;
            }
            self.attend().await;
            if era + 1 < self.plan.eras.len() {
                self.expire(era).await;
            }
        }
        let found = self.breaches.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (record, earlier) in found {
            self.breach("R-FM-2", format!("{record} was written when {earlier} of the same sandbox was not applied"));
        }
    }

    fn joined(&self, joined: Result<(), tokio::task::JoinError>) {
        if let Err(error) = joined {
            self.breach("panic", error.to_string());
        }
    }

    /// Something that cannot be.
    pub fn breach(&self, rule: &'static str, what: impl Into<String>) {
        self.book.borrow_mut().breaches.push(Breach::of(rule, what));
    }

    /// The true time, in milliseconds since the epoch.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        micros(self.start) / 1_000
    }

    /// How long a runtime takes to start.
    #[must_use]
    pub fn start_time(&self) -> Duration {
        Duration::from_millis(30 + self.plan.seed % 100)
    }

    /// One sandbox after the other at the same place; a new one when the old one is dead.
    async fn place(self: Rc<Self>, era: usize, place: usize) {
        let (number, deliveries) = (u32::try_from(place).unwrap_or_default(), &self.plan.eras[era][place]);
        let began = Instant::now();
        let mut lives = u32::try_from(era * 1_000).unwrap_or_default();
        let mut sandbox = self.sandbox(number, lives, era);
        for (index, delivery) in deliveries.iter().enumerate() {
            if self.plan.dropped.contains(&(era, place, index)) {
                continue;
            }
            sleep_until(began + delivery.at).await;
            self.deliver(&sandbox, era, index, *delivery).await;
            if sandbox.life.is_over() {
                self.book.borrow_mut().tally.deaths += 1;
                lives += 1;
                sandbox = self.sandbox(number, lives, index + 1);
            }
        }
    }

    /// One delivery, until the sandbox may be frozen, or is dead.
    async fn deliver(&self, sandbox: &Sandbox<G>, era: usize, index: usize, delivery: Delivery) {
        let number = u32::try_from(era * 1_000 + index).unwrap_or_default();
        sandbox.life.deliver(number);
        let request = RequestId::new(format!("r-{}-{number}", sandbox.place));
        let work = async {
            shim::invoke(self, sandbox, request.clone(), delivery.transaction).await;
            sandbox.session.release(&request).await;
            sandbox.session.end(request.clone());
            sandbox.session.quiet(&request, Duration::ZERO).await;
        };
        self.note(format_args!("sandbox {} gets {}", sandbox.place, delivery.transaction));
        // Some are ended at their deadline; others are frozen beyond it, and go on where they were.
        let chance = Chance::at(self.plan.seed, &[7, u64::from(sandbox.place), u64::from(number)]);
        let limit = if chance.one_in(2) { TIME_LIMIT } else { 4 * TIME_LIMIT };
        let began = Instant::now();
        if timeout(limit, sandbox.life.run(Box::pin(work))).await.is_err() {
            sandbox.life.end();
        }
        let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.book.borrow_mut().tally.busy_micros += took;
    }

    fn note(&self, what: impl std::fmt::Display) {
        self.book.borrow_mut().note(self.start.elapsed(), what);
    }

    /// A new sandbox, or a new extension in the old one: then it finds the other's journal.
    fn sandbox(&self, place: u32, life: u32, delivery: usize) -> Sandbox<G> {
        let journal = self.folder.as_ref().map(|folder| folder.join(place.to_string()));
        let chance = Chance::at(self.plan.seed, &[8, u64::from(place), u64::from(life)]);
        if let Some(journal) = &journal
            && chance.one_in(3)
        {
            // The sandbox is a new one.
            let mut file = journal.clone().into_os_string();
            file.push(".journal");
            let _ = std::fs::remove_file(file);
        }
        let alive = Life::new(Process::Place(place), &self.script);
        alive.deliver(u32::try_from(delivery).unwrap_or_default());
        Sandbox::new((&self.ground, &self.plan, self.start), (place, life), alive, &self.breaches, journal.as_ref())
    }

    async fn attend_for_ever(self: Rc<Self>) {
        loop {
            self.attend_once(10).await;
        }
    }

    /// The fault manager, until it has seen every record.
    async fn attend(&self) {
        loop {
            let written = self.ground.stream(0).await.len();
            if self.attended.borrow().0 >= written {
                return;
            }
            self.attend_once(TRIES).await;
        }
    }

    /// The fault manager gets a batch, and gets it again until all of it is done.
    async fn attend_once(&self, tries: u32) {
        let (done, calls) = *self.attended.borrow();
        let chance = Chance::at(self.plan.seed, &[9, u64::from(calls)]);
        sleep(Duration::from_millis(200 + chance.below(5_000))).await;
        let waiting = self.ground.stream(done).await.len();
        let many = waiting.min(1 + usize::try_from(chance.below(10)).unwrap_or_default());
        for tried in 0..tries + 1 {
            if many == 0 {
                return;
            }
            let script = if tried < tries { &self.script } else { &self.calm };
            let life = Life::new(Process::FaultManager, script);
            let delivery = self.attended.borrow().1;
            self.attended.borrow_mut().1 += 1;
            life.deliver(delivery);
            let recovered = life.run(self.ground.recover(&life, done, many, micros(self.start) / 1_000_000)).await;
            match recovered {
                Some(true) => {
                    self.attended.borrow_mut().0 = done + many;
                    return;
                }
                Some(false) => {}
                None => self.book.borrow_mut().tally.deaths += 1,
            }
            sleep(Duration::from_secs(1)).await;
        }
        self.breach("R-FM-1", format!("the fault manager cannot finish {many} records from number {done} on"));
        self.attended.borrow_mut().0 = done + many;
    }

    /// Time passes until everything has expired; DynamoDB deletes some of it.
    async fn expire(&self, era: usize) {
        sleep(Duration::from_secs(RETENTION_SECONDS + 60)).await;
        let chance = Chance::at(self.plan.seed, &[10, era as u64]);
        if chance.one_in(3) {
            // Tombstones, too.
            sleep(Duration::from_secs(3 * 86_400)).await;
        }
        let salt = chance.bits();
        let is_due = |transaction: aft_protocol::id::TransactionId| {
            salt.is_multiple_of(2) || !(transaction.low_bits() ^ salt).is_multiple_of(3)
        };
        let expired = self.ground.expire(micros(self.start) / 1_000_000, is_due).await;
        self.book.borrow_mut().tally.expired += expired as u64;
    }
}
