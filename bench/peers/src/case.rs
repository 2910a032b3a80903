//! The cases: what the requests of a workload do, and how many there are. The same seed gives every system the same requests.

use std::collections::BTreeSet;

use aft_simulation::paper::random::{Random, Zipf};

use crate::system::System;

/// How many attempts of a request may be told to end early; the next one does not.
const ATTEMPTS: usize = 20;

/// One case of a workload.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Which workload.
    pub workload: &'static str,
    /// What the workload varies.
    pub x: f64,
    /// Who takes part.
    pub systems: Vec<System>,
    /// Functions that a request calls one after the other.
    pub functions: usize,
    /// Keys that each reads.
    pub reads: usize,
    /// And writes.
    pub writes: usize,
    /// How large values are.
    pub bytes: usize,
    /// Which keys: the exponent of a Zipf distribution, 0 for all alike.
    pub zipf: f64,
    /// Out of how many.
    pub keys: usize,
    /// Clients, each of which waits for its answer.
    pub clients: usize,
    /// Sandboxes of each system.
    pub sandboxes: u32,
    /// Requests of each system.
    pub requests: usize,
    /// What the handler does besides, in milliseconds.
    pub works_ms: u64,
    /// The share of requests that are delivered twice.
    pub duplicates: f64,
    /// The share of attempts that end with their process.
    pub failures: f64,
}

/// What one function of a request does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Numbers of keys.
    pub reads: Vec<usize>,
    /// And of those that it writes.
    pub writes: Vec<usize>,
}

/// When a request comes a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// With the first delivery.
    AtOnce,
    /// When that has been answered.
    Later,
}

/// One request.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// What it does.
    pub steps: Vec<Step>,
    /// Whether it comes twice.
    pub again: Option<Again>,
    /// Where its attempts end, each as a share of its operations.
    pub ends: Vec<Option<f64>>,
}

impl Case {
    /// Whether the work is to add one to a number, which tells how often it was done.
    #[must_use]
    pub fn adds(&self) -> bool {
        self.duplicates > 0.0
    }

    /// The requests, in their order.
    #[must_use]
    pub fn draw(&self, seed: u64) -> Vec<Request> {
        let (mut random, zipf) = (Random::new(seed), Zipf::new(self.keys, self.zipf));
        let some = |count: usize, random: &mut Random| {
            let mut keys = Vec::new();
            while keys.len() < count.min(self.keys) {
                let key = zipf.draw(random);
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
            keys
        };
        let drawn = (0..self.requests).map(|number| {
            let steps = (0..self.functions).map(|function| {
                let writes = if self.adds() {
                    // Keys that nobody else adds to.
                    (0..self.writes).map(|key| (number * self.functions + function) * self.writes + key).collect()
                } else {
                    some(self.writes, &mut random)
                };
                Step { reads: some(self.reads, &mut random), writes }
            });
            let steps = steps.collect();
            let again = (random.unit() < self.duplicates)
                .then(|| if random.bits() % 2 == 0 { Again::AtOnce } else { Again::Later });
            let mut ends = Vec::new();
            while self.failures > 0.0 && ends.len() < ATTEMPTS {
                ends.push((random.unit() < self.failures).then(|| random.unit()));
            }
            Request { steps, again, ends }
        });
        drawn.collect()
    }

    /// All keys that are read or written, if their values must be there before.
    #[must_use]
    pub fn key_numbers(&self, requests: &[Request]) -> BTreeSet<usize> {
        if self.adds() {
            return BTreeSet::new();
        }
        let steps = requests.iter().flat_map(|request| &request.steps);
        steps.flat_map(|step| step.reads.iter().chain(&step.writes)).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Again, Case};

    fn case() -> Case {
        Case {
            workload: "test",
            x: 0.0,
            systems: Vec::new(),
            functions: 2,
            reads: 2,
            writes: 1,
            bytes: 100,
            zipf: 1.0,
            keys: 1_000,
            clients: 1,
            sandboxes: 1,
            requests: 1_000,
            works_ms: 0,
            duplicates: 0.0,
            failures: 0.0,
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_requests() {
        assert_eq!(case().draw(7), case().draw(7));
        assert_ne!(case().draw(7), case().draw(8));
    }

    #[test]
    fn the_shares_are_kept() {
        let of = |case: Case| case.draw(1);
        assert!(of(case()).iter().all(|request| request.again.is_none() && request.ends.is_empty()));
        let twice = of(Case { duplicates: 0.1, ..case() });
        let later = twice.iter().filter(|request| request.again == Some(Again::Later)).count();
        let at_once = twice.iter().filter(|request| request.again == Some(Again::AtOnce)).count();
        assert!((70..130).contains(&(later + at_once)) && later > 20 && at_once > 20, "{later}, {at_once}");
        let mut added: Vec<_> = twice.iter().flat_map(|request| &request.steps).flat_map(|step| &step.writes).collect();
        added.sort_unstable();
        added.dedup();
        assert_eq!(added.len(), 2_000, "nobody adds to another's number");
        let failing = of(Case { failures: 0.4, ..case() });
        let first = failing.iter().filter(|request| request.ends[0].is_some()).count();
        assert!((350..450).contains(&first), "{first}");
    }
}
