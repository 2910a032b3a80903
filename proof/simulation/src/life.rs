//! The life of a process: it may end, or be frozen, at every point at which it waits and at every request that it sends.
//!
//! Who is dead neither asks nor hears: what it has started in the background hangs for ever at its next request. (What a
//! process does between two requests without waiting is not seen by anybody else, so it makes no difference where in between
//! it dies.)

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use aft_protocol::atomic_read::Records;
use aft_protocol::claim::Claim;
use aft_protocol::head::{Entry, Head, Keep};
use aft_protocol::id::TransactionId;
use aft_protocol::isolation::Guards;
use aft_protocol::key::Key;
use aft_protocol::record::CommitRecord;
use aft_store::{Applied, AtOnce, Claimed, Committed, Stepped, Store, StoreError, Terms, Validated};
use tokio::time::{Instant, sleep_until};

use crate::chance::Chance;
use crate::trouble::{Call, Point, Process, Script, Side, Site, Trouble};

/// One life of a process. Clones are the same life.
#[derive(Debug, Clone)]
pub struct Life(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    process: Process,
    script: Arc<Script>,
    delivery: AtomicU32,
    calls: AtomicU32,
    waits: AtomicU32,
    steps: AtomicU32,
    dead: AtomicBool,
    frozen: Mutex<Option<Instant>>,
    waker: Mutex<Option<Waker>>,
}

impl Life {
    /// A life of this process.
    #[must_use]
    pub fn new(process: Process, script: &Arc<Script>) -> Self {
        Self(Arc::new(Inner {
            process,
            script: Arc::clone(script),
            delivery: AtomicU32::new(0),
            calls: AtomicU32::new(0),
            waits: AtomicU32::new(0),
            steps: AtomicU32::new(0),
            dead: AtomicBool::new(false),
            frozen: Mutex::default(),
            waker: Mutex::default(),
        }))
    }

    /// What follows belongs to this delivery, and its points are counted from 0.
    pub fn deliver(&self, delivery: u32) {
        self.0.delivery.store(delivery, Ordering::Relaxed);
        for points in [&self.0.calls, &self.0.waits, &self.0.steps] {
            points.store(0, Ordering::Relaxed);
        }
    }

    fn site(&self, point: Point) -> Site {
        Site { process: self.0.process, delivery: self.0.delivery.load(Ordering::Relaxed), point }
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.dead.load(Ordering::Relaxed)
    }

    /// Ends it.
    pub fn end(&self) {
        self.0.dead.store(true, Ordering::Relaxed);
        let waker = self.0.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Stops it for a time.
    pub fn freeze(&self, time: Duration) {
        *self.0.frozen.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + time);
    }

    fn frozen(&self) -> Option<Instant> {
        let frozen = *self.0.frozen.lock().unwrap_or_else(PoisonError::into_inner);
        frozen.filter(|until| *until > Instant::now())
    }

    /// A request is sent: what goes wrong with it, and randomness for how.
    pub fn call(&self, call: Call, what: impl FnOnce() -> String) -> (Option<Trouble>, Chance) {
        let site = self.site(Point::Call(self.0.calls.fetch_add(1, Ordering::Relaxed)));
        let chance = self.0.script.chance(site);
        if self.is_over() {
            return (Some(Trouble::Silent(Side::Before)), chance);
        }
        let trouble = self.0.script.call(site, call, what);
        match trouble {
            Some(Trouble::Dies(_)) => self.end(),
            Some(Trouble::Freezes(ms)) => self.freeze(Duration::from_millis(ms)),
            _ => {}
        }
        (trouble, chance)
    }

    /// The handler comes to its next step.
    pub fn step(&self, what: impl FnOnce() -> String) -> Option<Trouble> {
        let site = self.site(Point::Step(self.0.steps.fetch_add(1, Ordering::Relaxed)));
        self.0.script.step(site, what)
    }

    /// Runs `work` for as long as this life lasts; `None`: it did not last.
    pub async fn run<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        let mut asleep = None;
        poll_fn(|context| {
            loop {
                if self.is_over() {
                    return Poll::Ready(None);
                }
                if let Some(until) = self.frozen() {
                    let sleep = asleep.insert(Box::pin(sleep_until(until)));
                    if sleep.as_mut().poll(context).is_pending() {
                        self.wake_by(context.waker());
                        return Poll::Pending;
                    }
                }
                asleep = None;
                if let Poll::Ready(done) = work.as_mut().poll(context) {
                    // Who has just died has done nothing more.
                    return Poll::Ready((!self.is_over()).then_some(done));
                }
                if !self.wait() {
                    self.wake_by(context.waker());
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    /// It waits; whether that has changed anything.
    fn wait(&self) -> bool {
        if self.is_over() {
            return true;
        }
        let site = self.site(Point::Await(self.0.waits.fetch_add(1, Ordering::Relaxed)));
        match self.0.script.wait(site) {
            Some(Trouble::Dies(_)) => self.0.dead.store(true, Ordering::Relaxed),
            Some(Trouble::Freezes(ms)) => self.freeze(Duration::from_millis(ms)),
            _ => return false,
        }
        true
    }

    fn wake_by(&self, waker: &Waker) {
        *self.0.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker.clone());
    }

    /// Makes a call, if this life lasts that long.
    async fn last<T>(&self, call: impl Future<Output = T>) -> T {
        self.goes_on().await;
        let answer = call.await;
        self.goes_on().await;
        answer
    }

    async fn goes_on(&self) {
        while let Some(until) = self.frozen() {
            sleep_until(until).await;
        }
        if self.is_over() {
            pending::<()>().await;
        }
    }
}

/// A store that is used only while its process lives, and not while it is frozen.
#[derive(Clone)]
pub struct Mortal<S> {
    store: S,
    life: Life,
}

impl<S> Mortal<S> {
    /// `store`, for as long as `life` lasts.
    pub fn new(store: S, life: &Life) -> Self {
        Self { store, life: life.clone() }
    }
}

impl<S: Store> Store for Mortal<S> {
    fn reconnect(&self) {
        self.store.reconnect();
    }

    fn leave_connections(&self) {
        self.store.leave_connections();
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.life.last(self.store.probe()).await
    }

    async fn heads(&self, keys: &BTreeSet<Key>) -> Result<BTreeMap<Key, Head>, StoreError> {
        self.life.last(self.store.heads(keys)).await
    }

    async fn latest_heads(&self, keys: &BTreeSet<Key>) -> Result<BTreeMap<Key, Head>, StoreError> {
        self.life.last(self.store.latest_heads(keys)).await
    }

    async fn records(&self, transactions: &BTreeSet<TransactionId>) -> Result<Records, StoreError> {
        self.life.last(self.store.records(transactions)).await
    }

    async fn commit(&self, record: &CommitRecord) -> Result<Committed, StoreError> {
        self.life.last(self.store.commit(record)).await
    }

    async fn commit_if(&self, record: &CommitRecord, terms: &Terms) -> Result<Stepped, StoreError> {
        self.life.last(self.store.commit_if(record, terms)).await
    }

    async fn heads_at_once(&self, keys: &BTreeSet<Key>) -> Result<AtOnce, StoreError> {
        self.life.last(self.store.heads_at_once(keys)).await
    }

    async fn validate(&self, guards: &Guards) -> Result<Validated, StoreError> {
        self.life.last(self.store.validate(guards)).await
    }

    async fn apply(&self, key: &Key, entry: &Entry, keep: Keep) -> Result<Applied, StoreError> {
        self.life.last(self.store.apply(key, entry, keep)).await
    }

    async fn claim(&self, claim: &Claim, now_seconds: u64) -> Result<Claimed, StoreError> {
        self.life.last(self.store.claim(claim, now_seconds)).await
    }

    async fn release(&self, claim: &Claim) -> Result<(), StoreError> {
        self.life.last(self.store.release(claim)).await
    }
}
