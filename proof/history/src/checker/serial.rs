//! Serializable, with a key's versions as the order of its writers: who must come before whom is known then, and whether it
//! is a circle is all that is left to ask.
//!
//! What counts is what `docs/histories.md` says: a serializable transaction takes place at one instant; a read-atomic one is a
//! write for each of its keys, each on its own and at any time after it began, if a serializable transaction saw it.

use super::breach::{Because, Breach, Promise};
use super::graph::Graph;
use super::index::{Index, Writers, place};
use super::weak::links;
use crate::format::Outcome;

/// What takes place at one instant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Instant {
    pub attempt: u32,
    /// The only key that it writes; `None`: it is a whole transaction.
    pub only: Option<u32>,
    /// Whether it must have taken place, or may have.
    pub certain: bool,
}

/// All that may have taken place.
#[derive(Debug)]
pub(crate) struct Instants {
    pub all: Vec<Instant>,
    /// The first of each attempt.
    first: Vec<u32>,
}

impl Instants {
    pub fn of(index: &Index<'_>) -> Self {
        let (mut all, mut first) = (Vec::with_capacity(index.history.len()), Vec::with_capacity(index.history.len()));
        for (number, attempt) in index.history.iter().enumerate() {
            first.push(place(all.len()));
            let certain = match attempt.outcome {
                Outcome::Committed => true,
                // Its commit is one step, so that whoever saw a part of it saw that it took place.
                Outcome::Unknown if attempt.version.is_some() => index.seen[number],
                Outcome::Unknown | Outcome::Aborted => continue,
            };
            let attempt = place(number);
            if index.is_serializable(number) {
                all.push(Instant { attempt, only: None, certain });
            } else {
                let writes = index.writes(number).iter();
                all.extend(writes.map(|key| Instant { attempt, only: Some(*key), certain: false }));
            }
        }
        Self { all, first }
    }

    /// The instant at which this attempt wrote that key.
    pub fn writing(&self, index: &Index<'_>, attempt: u32, key: u32) -> u32 {
        let first = self.first[attempt as usize];
        if index.is_serializable(attempt as usize) {
            return first;
        }
        let position = index.writes(attempt as usize).iter().position(|other| *other == key);
        first + place(position.unwrap_or_default())
    }

    /// Those that must have taken place: the certain ones, and what they read from, and what that read from. Without the rest, an
    /// order of all is an order still, because nobody saw them.
    pub fn happened(&self, index: &Index<'_>) -> Vec<bool> {
        let mut happened = vec![false; self.all.len()];
        let mut next: Vec<u32> = (0..).zip(&self.all).filter(|(_, one)| one.certain).map(|(node, _)| node).collect();
        while let Some(node) = next.pop() {
            if !std::mem::replace(&mut happened[node as usize], true) {
                let one = self.all[node as usize];
                let reads = one.reads(index).iter();
                next.extend(reads.filter_map(|read| Some(self.writing(index, read.writer?, read.key))));
            }
        }
        happened
    }
}

impl Instant {
    pub fn reads<'i>(&self, index: &'i Index<'_>) -> &'i [super::index::SeenRead] {
        if self.only.is_some() { &[] } else { index.reads(self.attempt as usize) }
    }

    pub fn writes<'i>(&'i self, index: &'i Index<'_>) -> &'i [u32] {
        self.only.as_ref().map_or_else(|| index.writes(self.attempt as usize), std::slice::from_ref)
    }

    /// When it had certainly taken place.
    pub fn ended(&self, index: &Index<'_>) -> Option<u64> {
        let attempt = &index.history[self.attempt as usize];
        (self.only.is_none() && attempt.outcome == Outcome::Committed).then_some(attempt.ended)
    }
}

pub(crate) fn check(index: &Index<'_>, strict: bool) -> Result<(), Box<Breach>> {
    let instants = Instants::of(index);
    if instants.all.iter().all(|one| one.only.is_some()) {
        return Ok(());
    }
    let happened = instants.happened(index);
    let mut written = Vec::with_capacity(index.size());
    for (node, one) in (0..).zip(&instants.all).filter(|(node, _)| happened[*node as usize]) {
        let rank = index.ranks[one.attempt as usize];
        written.extend(one.writes(index).iter().map(|key| (*key, rank, node)));
    }
    written.sort_unstable();
    let writers = Writers::of(written, index.keys.len());
    let mut graph = Graph::new(place(instants.all.len()), 2 * index.size() + 3 * instants.all.len());
    for key in 0..place(index.keys.len()) {
        for pair in writers.of_key(key).windows(2) {
            graph.add(pair[0].1, pair[1].1, Because::Wrote, key);
        }
    }
    for (node, one) in (0..).zip(&instants.all).filter(|(node, _)| happened[*node as usize]) {
        for read in one.reads(index) {
            let rank = read.writer.map_or(0, |writer| index.ranks[writer as usize]);
            if let Some(writer) = read.writer {
                graph.add(instants.writing(index, writer, read.key), node, Because::Read, read.key);
            }
            if let Some(next) = writers.after(read.key, rank) {
                graph.add(node, next, Because::Overwritten, read.key);
            }
        }
    }
    if strict {
        let intervals = (0..).zip(&instants.all).filter(|(node, _)| happened[*node as usize]);
        let interval =
            |(node, one): (u32, &Instant)| (node, index.history[one.attempt as usize].began, one.ended(index));
        graph.add_intervals(&intervals.map(interval).collect::<Vec<_>>(), Because::Answered);
    }
    graph.order().map(drop).map_err(|circle| {
        let in_time = circle.iter().any(|edge| edge.because == Because::Answered);
        let promise = if in_time { Promise::StrictlySerializable } else { Promise::Serializable };
        let attempt = |node: u32| instants.all[node as usize].attempt as usize;
        Breach::circle(promise, index.history, links(index, &circle, attempt))
    })
}
