//! What a history would be if nothing went wrong: which request arrives when, where, and again.
//!
//! Everything is drawn from the seed by address, so that what is left out changes nothing of the rest.

use std::collections::BTreeSet;
use std::time::Duration;

use aft_protocol::isolation::Isolation;

use crate::chance::Chance;
use crate::workload::Workload;

/// Places, at most.
const PLACES: u64 = 4;
/// Deliveries at one place in one era, at most.
const DELIVERIES: u64 = 8;

/// Which request arrives when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// Since the beginning of its era.
    pub at: Duration,
    /// Which transaction the request is.
    pub transaction: u128,
}

/// What a history is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The seed of all of it.
    pub seed: u64,
    /// What functions do.
    pub workload: Workload,
    /// What transactions are promised, if it is not what the workload needs.
    pub isolation: Option<Isolation>,
    /// How much goes wrong; 100 is what is usual.
    pub rough: u64,
    /// One after the other: between two of them, everything that was committed expires. For each place, its deliveries.
    pub eras: Vec<Vec<Vec<Delivery>>>,
    /// Whether R-FM-2 is looked after at every record.
    pub is_watched: bool,
    /// Whether extensions keep a journal on disk.
    pub has_journals: bool,
    /// Whether the fault manager works beside the sandboxes, and not only after them.
    pub is_attended: bool,
    /// Whether written keys are looked up (R-COMMIT-3).
    pub write_look_up: bool,
    /// Deliveries that do not take place: era, place, number.
    pub dropped: BTreeSet<(usize, usize, usize)>,
}

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        Self::with(seed, None)
    }

    /// The same with another workload, if one is given.
    #[must_use]
    pub fn with(seed: u64, workload: Option<Workload>) -> Self {
        let chance = Chance::at(seed, &[0]);
        let drawn = chance.of(&Workload::ALL);
        let eras = if chance.one_in(6) { 2 } else { 1 };
        let places = 2 + chance.below(PLACES - 1);
        Self {
            seed,
            workload: workload.unwrap_or(drawn),
            isolation: None,
            rough: 60 + chance.below(120),
            eras: (0..eras)
                .map(|era| (0..places).map(|place| deliveries(seed, era, place, places)).collect())
                .collect(),
            is_watched: chance.one_in(8),
            has_journals: chance.one_in(16),
            is_attended: chance.one_in(2),
            write_look_up: !chance.one_in(4),
            dropped: BTreeSet::new(),
        }
    }
}

fn deliveries(seed: u64, era: u64, place: u64, places: u64) -> Vec<Delivery> {
    let many = 3 + Chance::at(seed, &[1, era, place]).below(DELIVERIES - 2);
    let mut after = Duration::ZERO;
    let one = |number| {
        let chance = Chance::at(seed, &[2, era, place, number]);
        // Most come one upon the other; some after minutes, when sandboxes have been asleep.
        let pause = if chance.one_in(8) { chance.below(300_000_000) } else { chance.below(60_000) };
        after += Duration::from_micros(pause);
        let own = u128::from(era * 1_000_000 + (place + 1) * 1_000 + number);
        // Some are the same request again, or one that somebody else is about to get.
        let others = u128::from(era * 1_000_000 + (1 + chance.below(places)) * 1_000 + chance.below(DELIVERIES));
        Delivery { at: after, transaction: if chance.one_in(4) { others } else { own } }
    };
    (0..many).map(one).collect()
}
