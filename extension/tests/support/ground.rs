//! What seeded histories take place on: a store for each life of a sandbox, whose every call may be slow, fail, or be the
//! sandbox's last; and the truth behind all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use aft_store::faults::{Call, Fault, Faulty};
use aft_store::memory::Memory;
use aft_store::{ErrorKind, Store};

use super::{Breaches, Truth, Watched, splitmix};

/// One life of a sandbox: its luck, and whether it is over.
#[derive(Clone)]
pub struct Life {
    dice: Arc<AtomicU64>,
    dead: Arc<AtomicBool>,
}

impl Life {
    pub fn new(seed: u64) -> Self {
        Self { dice: Arc::new(AtomicU64::new(seed)), dead: Arc::default() }
    }

    pub fn is_over(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    fn end(&self) {
        self.dead.store(true, Ordering::Relaxed);
    }

    fn draw(&self, bound: u64) -> u64 {
        splitmix(&self.dice) % bound
    }
}

/// Where histories take place.
pub trait Ground: Truth {
    /// The sandboxes' store.
    type Store: Store;

    /// Nothing written yet. Called within the history's runtime.
    fn new() -> impl Future<Output = Self>;

    /// The store of one life of a sandbox.
    fn store(&self, life: Life, breaches: &Breaches) -> Self::Store;
}

/// The contract in its plainest form, with faults injected call by call.
impl Ground for Memory {
    type Store = Faulty<Watched<Self, Self>>;

    async fn new() -> Self {
        Self::new()
    }

    fn store(&self, life: Life, breaches: &Breaches) -> Self::Store {
        let plan = move |call: &Call| {
            if life.is_over() {
                return Fault::HangBefore;
            }
            let writes = matches!(call, Call::Commit(_) | Call::Apply(_) | Call::Claim(_) | Call::Release(_));
            match life.draw(100) {
                0..=3 if writes => {
                    life.end();
                    if life.draw(2) == 0 { Fault::HangBefore } else { Fault::HangAfter }
                }
                // Not answered, and the sandbox lives on.
                96 if matches!(call, Call::Commit(_)) => Fault::Late(Duration::from_millis(life.draw(30_000))),
                97 if matches!(call, Call::Commit(_)) => Fault::HangAfter,
                4..=7 => Fault::Before(ErrorKind::Unavailable),
                8..=10 => Fault::Before(ErrorKind::Unknown),
                11..=15 => Fault::After(ErrorKind::Unknown),
                _ => Fault::Slow(Duration::from_micros(life.draw(20_000)), Duration::from_micros(life.draw(20_000))),
            }
        };
        Faulty::new(Watched::new(self.clone(), self.clone(), breaches), plan)
    }
}
