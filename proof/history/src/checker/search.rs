//! Serializable, without believing what versions say of their order: is there any order of the transactions in which each reads
//! what the last writer before it wrote?
//!
//! Biswas and Enea's search over prefixes: a prefix is a set of transactions and what each key holds after them, and one that
//! was found to lead nowhere is not tried again. Three things keep it short, and none of them loses an order: a value that
//! somebody has still to read is not overwritten; who only reads comes as soon as it fits; and the order of versions is tried
//! first. The problem is NP-complete, so the number of prefixes is bounded.

use std::collections::HashSet;
use std::hash::BuildHasherDefault;

use super::index::{Fast, Index, place};
use super::serial::Instants;

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Order,
    NoOrder,
    /// Too many prefixes.
    GaveUp,
}

/// What a transaction needs and does. Values are numbered: first what each key holds at the beginning, then every write.
#[derive(Debug, Default)]
struct Node {
    reads: Vec<(usize, usize)>,
    writes: Vec<(usize, usize)>,
    began: u64,
    ended: Option<u64>,
}

struct Search {
    nodes: Vec<Node>,
    /// In the order of their ends.
    by_end: Vec<usize>,
    placed: Vec<bool>,
    /// Of each key: the value that it holds.
    holds: Vec<usize>,
    /// Of each value: who has still to read it.
    pending: Vec<u32>,
    left: usize,
    dead: HashSet<Box<[u32]>, BuildHasherDefault<Fast>>,
}

/// A node that was placed, and what its keys held before.
struct Placed {
    node: usize,
    before: Vec<usize>,
}

/// A prefix: what was placed to get to it, and which nodes are to be tried next.
struct Frame {
    placed: Vec<Placed>,
    next: usize,
}

/// Looks for an order, also of real time if it is strict, over at most so many prefixes.
pub(crate) fn search(index: &Index<'_>, strict: bool, most_prefixes: u32) -> Found {
    Search::of(index, strict).run(most_prefixes)
}

impl Search {
    fn of(index: &Index<'_>, strict: bool) -> Self {
        let instants = Instants::of(index);
        let happened = instants.happened(index);
        let mut order: Vec<usize> = (0..instants.all.len()).filter(|node| happened[*node]).collect();
        order.sort_by_key(|node| {
            let attempt = instants.all[*node].attempt as usize;
            (index.ranks[attempt], index.history[attempt].began)
        });
        let keys = index.keys.len();
        let mut values = keys;
        let mut written: Vec<Vec<(usize, usize)>> = vec![Vec::new(); instants.all.len()];
        for node in &order {
            for key in instants.all[*node].writes(index) {
                written[*node].push((*key as usize, values));
                values += 1;
            }
        }
        let mut pending = vec![0; values];
        let mut nodes = Vec::with_capacity(order.len());
        for node in order {
            let one = &instants.all[node];
            let attempt = &index.history[one.attempt as usize];
            let mut reads = Vec::new();
            for read in one.reads(index) {
                let key = read.key as usize;
                let writer = read.writer.map(|writer| instants.writing(index, writer, read.key) as usize);
                let value = writer.and_then(|writer| written[writer].iter().find(|(other, _)| *other == key));
                let value = value.map_or(key, |(_, value)| *value);
                pending[value] += 1;
                reads.push((key, value));
            }
            let (began, ended) = if strict { (attempt.began, one.ended(index)) } else { (0, None) };
            nodes.push(Node { reads, writes: written[node].clone(), began, ended });
        }
        let mut by_end: Vec<usize> = (0..nodes.len()).filter(|node| nodes[*node].ended.is_some()).collect();
        by_end.sort_by_key(|node| nodes[*node].ended);
        Self {
            by_end,
            placed: vec![false; nodes.len()],
            holds: (0..keys).collect(),
            pending,
            left: nodes.len(),
            dead: HashSet::default(),
            nodes,
        }
    }

    fn run(&mut self, most_prefixes: u32) -> Found {
        let placed = self.place_readers();
        let mut frames = vec![Frame { placed, next: 0 }];
        let mut prefixes = 0;
        while let Some(frame) = frames.last_mut() {
            if self.left == 0 {
                return Found::Order;
            }
            let writer = (frame.next..self.nodes.len()).find(|node| self.fits(*node));
            let Some(node) = writer else {
                self.dead.insert(self.prefix());
                let frame = frames.pop();
                frame.into_iter().flat_map(|frame| frame.placed).rev().for_each(|placed| self.take_back(placed));
                continue;
            };
            frame.next = node + 1;
            prefixes += 1;
            if prefixes > most_prefixes {
                return Found::GaveUp;
            }
            let mut placed = vec![self.place(node)];
            placed.extend(self.place_readers());
            if self.dead.contains(&self.prefix()) {
                placed.into_iter().rev().for_each(|placed| self.take_back(placed));
            } else {
                frames.push(Frame { placed, next: 0 });
            }
        }
        Found::NoOrder
    }

    /// Who only reads, and can now, comes now: it changes nothing for others but that they need not wait for it.
    fn place_readers(&mut self) -> Vec<Placed> {
        let mut placed = Vec::new();
        let mut node = 0;
        while node < self.nodes.len() {
            if self.nodes[node].writes.is_empty() && self.fits(node) {
                placed.push(self.place(node));
                // Others may have waited for its end.
                node = 0;
            } else {
                node += 1;
            }
        }
        placed
    }

    fn fits(&self, node: usize) -> bool {
        if self.placed[node] {
            return false;
        }
        let Node { reads, writes, began, .. } = &self.nodes[node];
        let first_end =
            self.by_end.iter().find(|other| !self.placed[**other]).and_then(|other| self.nodes[*other].ended);
        let reads_what_is_there = reads.iter().all(|(key, value)| self.holds[*key] == *value);
        first_end.is_none_or(|ended| ended >= *began)
            && reads_what_is_there
            && writes.iter().all(|(key, _)| {
                let own = reads.iter().filter(|(read, _)| read == key).count();
                self.pending[self.holds[*key]] == place(own)
            })
    }

    fn place(&mut self, node: usize) -> Placed {
        let Node { reads, writes, .. } = &self.nodes[node];
        reads.iter().for_each(|(_, value)| self.pending[*value] -= 1);
        let mut before = Vec::with_capacity(writes.len());
        for (key, value) in writes {
            before.push(std::mem::replace(&mut self.holds[*key], *value));
        }
        self.placed[node] = true;
        self.left -= 1;
        Placed { node, before }
    }

    fn take_back(&mut self, placed: Placed) {
        let Node { reads, writes, .. } = &self.nodes[placed.node];
        reads.iter().for_each(|(_, value)| self.pending[*value] += 1);
        for ((key, _), before) in writes.iter().zip(placed.before) {
            self.holds[*key] = before;
        }
        self.placed[placed.node] = false;
        self.left += 1;
    }

    /// Who is placed, and what each key holds.
    fn prefix(&self) -> Box<[u32]> {
        let words = self.placed.chunks(32);
        let bits = words.map(|word| word.iter().rev().fold(0, |bits, placed| bits << 1 | u32::from(*placed)));
        bits.chain(self.holds.iter().map(|value| place(*value))).collect()
    }
}
