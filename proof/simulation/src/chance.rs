//! Randomness that is addressed, not drawn in turn: what happens at one place does not depend on how much was drawn at
//! another. So a history from which something is left out stays the same everywhere else, and can be made smaller.

use std::sync::atomic::{AtomicU64, Ordering};

/// What SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014) adds at every draw.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// A stream of random numbers with an address of its own.
#[derive(Debug)]
pub struct Chance(AtomicU64);

impl Chance {
    /// The stream at this address of a seed.
    #[must_use]
    pub fn at(seed: u64, address: &[u64]) -> Self {
        let fold = |state: u64, part: &u64| finalize(state.wrapping_add(GAMMA) ^ finalize(part.wrapping_add(GAMMA)));
        Self(AtomicU64::new(address.iter().fold(finalize(seed.wrapping_add(GAMMA)), fold)))
    }

    /// 64 bits.
    pub fn bits(&self) -> u64 {
        finalize(self.0.fetch_add(GAMMA, Ordering::Relaxed).wrapping_add(GAMMA))
    }

    /// Anything from 0 to `bound` - 1.
    pub fn below(&self, bound: u64) -> u64 {
        self.bits() % bound
    }

    /// True one time in so many.
    pub fn one_in(&self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    /// One of these.
    pub fn of<T: Clone>(&self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).unwrap_or_default()].clone()
    }
}

fn finalize(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
