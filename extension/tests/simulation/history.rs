//! What happens in a history, and what is noted of it.

use std::collections::{BTreeMap, BTreeSet};

use aft_protocol::id::TransactionId;
use aft_protocol::key::Key;
use aft_protocol::version::Version;

use super::support::Breaches;

/// What one attempt saw and how it ended.
#[derive(Debug)]
pub struct Attempted {
    pub transaction: u128,
    pub reads: BTreeMap<Key, Version>,
    pub ended: Ended,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// Lambda got this response.
    Answered(String),
    /// The caller was told that nothing was written.
    Refused,
    /// The caller was told nothing definite, or nothing at all.
    Unknown,
}

#[derive(Default)]
pub struct History {
    pub attempts: Vec<Attempted>,
    /// Transactions that were delivered, for duplicates.
    pub delivered: Vec<u128>,
    /// Messages that some handler knows to have committed.
    pub known: BTreeSet<u128>,
    /// Of every sandbox.
    pub breaches: Vec<Breaches>,
    /// Counts what is noted below: what has a smaller number came before.
    pub moments: u64,
    /// Responses of attempts of which the caller was told that nothing was written.
    pub refused: BTreeSet<String>,
    /// When the attempt began that would answer so.
    pub began: BTreeMap<String, u64>,
    /// When it was acknowledged that everything which a transaction wrote is visible.
    pub visible: BTreeMap<TransactionId, u64>,
    /// Reads out of a cache.
    pub hits: u64,
    pub trace: String,
}

impl History {
    pub fn moment(&mut self) -> u64 {
        self.moments += 1;
        self.moments
    }
}

/// What a history came to.
#[derive(Debug, Default)]
pub struct Sum {
    pub attempts: usize,
    pub hits: u64,
    /// Histories without look-ups of written keys.
    pub without_look_ups: usize,
    /// Writes in those that were ordered before a write which was acknowledged before they began.
    pub misordered: usize,
    /// Records that were not applied until the fault manager saw them.
    pub recovered: usize,
}

impl std::ops::AddAssign for Sum {
    fn add_assign(&mut self, other: Self) {
        self.attempts += other.attempts;
        self.hits += other.hits;
        self.without_look_ups += other.without_look_ups;
        self.misordered += other.misordered;
        self.recovered += other.recovered;
    }
}
