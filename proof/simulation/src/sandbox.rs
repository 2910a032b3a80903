//! One life of a sandbox: an extension's session, a shim, and their clocks.

use std::path::PathBuf;
use std::sync::Arc;

use aft_extension::session::{Ack, Behaviour, DuplicateCheck, Journal, Session};
use aft_extension::sources::Sources;
use aft_protocol::version::Timestamp;
use aft_store::watched::{Breaches, Watched};
use tokio::time::Instant;

use crate::chance::Chance;
use crate::ground::Ground;
use crate::life::Life;
use crate::plan::Plan;
use crate::shim::Shim;

/// When every history begins, in seconds since the epoch.
pub const EPOCH_SECONDS: u64 = 1_700_000_000;
/// How long commit records are kept, in seconds.
pub const RETENTION_SECONDS: u64 = 7_200;
/// How far a sandbox's wall clock is off, in microseconds, at most.
const SKEW: u64 = 5_000_000;

/// A sandbox.
pub struct Sandbox<G: Ground> {
    /// Where it is.
    pub place: u32,
    /// How long it lives.
    pub life: Life,
    /// How it is configured.
    pub behaviour: Behaviour,
    /// The extension's transactions.
    pub session: Session<Watched<G::Store, G>>,
    /// The shim.
    pub shim: Shim,
}

impl<G: Ground> Sandbox<G> {
    /// The so-and-so-manieth sandbox at a place, in a world that began at `start`. With a journal, it finishes what it finds
    /// there.
    pub fn new(
        (ground, plan, start): (&G, &Plan, Instant),
        (place, number): (u32, u32),
        life: Life,
        breaches: &Breaches,
        journal: Option<&PathBuf>,
    ) -> Self {
        let address = [5, u64::from(place), u64::from(number)];
        let chance = Chance::at(plan.seed, &address);
        let behaviour = Behaviour {
            isolation: plan.isolation.unwrap_or(plan.workload.isolation(&chance)),
            duplicate_check: chance.of(&[DuplicateCheck::Parallel, DuplicateCheck::Before, DuplicateCheck::CommitOnly]),
            ack: chance.of(&[Ack::Visible, Ack::Durable]),
            refuse_in_progress: chance.one_in(4),
            look_ups: if plan.write_look_up { 10 } else { 0 },
            reads_strongly: chance.one_in(2),
            memoize_always: chance.one_in(4),
            // Some hold all heads that there are, some a few, and some none.
            cache_bytes: chance.of(&[100_000, 3_000, 0]),
            retention_seconds: RETENTION_SECONDS,
        };
        let skew = i64::try_from(chance.below(2 * SKEW)).unwrap_or_default() - SKEW as i64;
        let random = Chance::at(plan.seed, &[6, u64::from(place), u64::from(number)]);
        let sources = Sources {
            now: Arc::new(move || Timestamp::from_micros(micros(start).saturating_add_signed(skew))),
            random: Arc::new(move || u128::from(random.bits()) << 64 | u128::from(random.bits())),
        };
        let store = ground.store(&life, behaviour.reads_strongly);
        let watched = Watched::new(store, ground.clone(), plan.is_watched.then_some(breaches));
        let journal = journal.map_or_else(Journal::none, |file| Journal::beside(file));
        let session = Session::with_journal(watched, behaviour, sources, journal);
        session.attach();
        session.recover();
        Self { place, life, behaviour, session, shim: Shim::drawn(&chance) }
    }
}

/// The true time, in microseconds since the epoch, in a world that began at `start`.
#[must_use]
pub fn micros(start: Instant) -> u64 {
    EPOCH_SECONDS * 1_000_000 + u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
}
