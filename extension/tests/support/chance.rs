//! A seeded history's randomness, and sandboxes that are born into it.

use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;

use aft_extension::session::{Behaviour, Journal};
use tokio::time::Instant;

use super::ground::{Ground, Life};
use super::{Breaches, Sandbox, splitmix};

/// Unoptimised, AWS's SDK under a sandbox under a whole history takes close to the 2 MiB that a test's thread has.
const STACK_BYTES: usize = 16 << 20;

/// Runs a history where there is room for it.
pub fn on_a_large_stack<T: Send>(history: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, history).unwrap();
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// One history's randomness, in the order of use.
#[derive(Clone)]
pub struct Chance {
    seed: u64,
    state: Rc<AtomicU64>,
}

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self { seed, state: Rc::new(AtomicU64::new(seed)) }
    }

    pub fn below(&self, bound: u64) -> u64 {
        splitmix(&self.state) % bound
    }

    pub fn one_in(&self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    /// A sandbox, by its place and its number in it, in a world that began at `start`: its clock is up to five seconds off, and every
    /// store call may be slow, fail, or be its last.
    pub fn sandbox<G: Ground>(
        &self,
        ground: &G,
        start: Instant,
        (place, number): (u64, u64),
        behaviour: Behaviour,
    ) -> (Sandbox<G::Store>, Life) {
        let skew = self.below(10_000_000) as i64 - 5_000_000;
        let (seed, breaches) = (self.seed ^ place ^ number << 8, Breaches::default());
        let life = Life::new(self.seed ^ place << 32 ^ number << 40);
        let store = ground.store(life.clone(), behaviour.reads_strongly, &breaches);
        (Sandbox::over(start, store, Arc::clone(&breaches), seed, behaviour, skew, Journal::none()), life)
    }
}
