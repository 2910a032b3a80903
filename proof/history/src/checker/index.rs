//! A history in numbers: every key, version and writer is looked up once.
//!
//! Attempts keep their place in the history. What cannot be numbered is a breach: a version of two attempts, a read of what
//! nobody wrote.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

use super::breach::{Breach, Promise};
use crate::format::{Attempt, Isolation, Outcome};

/// For short texts of our own, where an attack by collisions is nobody's concern.
#[derive(Default)]
pub(crate) struct Fast(u64);

impl Hasher for Fast {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 = (self.0.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
    }
}

pub(crate) type FastMap<K, V> = HashMap<K, V, BuildHasherDefault<Fast>>;

/// A read of another's write, or of nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SeenRead {
    pub key: u32,
    pub writer: Option<u32>,
}

/// The history.
#[derive(Debug)]
pub(crate) struct Index<'h> {
    pub history: &'h [Attempt],
    pub keys: Vec<&'h str>,
    pub numbers: FastMap<&'h str, u32>,
    /// Of each attempt: the place of its version among all, from 1; 0 if it has none.
    pub ranks: Vec<u32>,
    /// Of each attempt: whether its writes took place, or somebody saw them.
    pub visible: Vec<bool>,
    /// Of each attempt: whether somebody else read from it.
    pub seen: Vec<bool>,
    reads: Vec<SeenRead>,
    reads_of: Vec<u32>,
    writes: Vec<u32>,
    writes_of: Vec<u32>,
}

impl<'h> Index<'h> {
    pub fn of(history: &'h [Attempt]) -> Result<Self, Box<Breach>> {
        let sum = |count: fn(&Attempt) -> usize| history.iter().map(count).sum();
        let starts = || {
            let mut starts = Vec::with_capacity(history.len() + 1);
            starts.push(0);
            starts
        };
        let mut index = Self {
            history,
            keys: Vec::new(),
            numbers: FastMap::default(),
            ranks: vec![0; history.len()],
            visible: vec![false; history.len()],
            seen: vec![false; history.len()],
            reads: Vec::with_capacity(sum(|attempt| attempt.reads.len())),
            reads_of: starts(),
            writes: Vec::with_capacity(sum(|attempt| attempt.writes.len())),
            writes_of: starts(),
        };
        let versions = index.rank()?;
        for attempt in history {
            for key in &attempt.writes {
                let number = index.number(key);
                index.writes.push(number);
            }
            index.writes_of.push(place(index.writes.len()));
        }
        for (reader, attempt) in history.iter().enumerate() {
            for read in &attempt.reads {
                let key = index.number(&read.key);
                let writer = read.version.as_deref().map(|version| index.writer(reader, key, version, &versions));
                index.reads.push(SeenRead { key, writer: writer.transpose()? });
            }
            index.reads_of.push(place(index.reads.len()));
        }
        for read in &index.reads {
            if let Some(writer) = read.writer {
                index.seen[writer as usize] = true;
            }
        }
        for (number, attempt) in history.iter().enumerate() {
            let took_place = match attempt.outcome {
                Outcome::Committed => true,
                Outcome::Unknown => index.seen[number],
                Outcome::Aborted => false,
            };
            index.visible[number] = took_place && index.ranks[number] > 0 && !attempt.writes.is_empty();
        }
        Ok(index)
    }

    pub fn reads(&self, attempt: usize) -> &[SeenRead] {
        &self.reads[range(&self.reads_of, attempt)]
    }

    pub fn writes(&self, attempt: usize) -> &[u32] {
        &self.writes[range(&self.writes_of, attempt)]
    }

    /// Reads and writes.
    pub fn size(&self) -> usize {
        self.reads.len() + self.writes.len()
    }

    pub fn is_serializable(&self, attempt: usize) -> bool {
        self.history[attempt].isolation == Isolation::Serializable
    }

    pub fn key(&self, number: u32) -> &'h str {
        self.keys.get(number as usize).copied().unwrap_or_default()
    }

    /// Those whose writes are there, by key and then by rank.
    pub fn writers(&self) -> Writers {
        let visible = (0..self.history.len()).filter(|attempt| self.visible[*attempt]);
        let mut sorted: Vec<(u32, u32, u32)> = visible
            .flat_map(|attempt| self.writes(attempt).iter().map(move |key| (*key, self.ranks[attempt], place(attempt))))
            .collect();
        sorted.sort_unstable();
        Writers::of(sorted, self.keys.len())
    }

    fn number(&mut self, key: &'h str) -> u32 {
        *self.numbers.entry(key).or_insert_with(|| {
            self.keys.push(key);
            place(self.keys.len() - 1)
        })
    }

    /// Versions are in the order of their text.
    fn rank(&mut self) -> Result<Vec<(&'h str, u32)>, Box<Breach>> {
        let with_version = self.history.iter().enumerate();
        let mut versions: Vec<(&str, u32)> =
            with_version.filter_map(|(number, attempt)| Some((attempt.version.as_deref()?, place(number)))).collect();
        versions.sort_unstable();
        for (rank, (version, attempt)) in versions.iter().enumerate() {
            self.ranks[*attempt as usize] = place(rank + 1);
            if rank > 0 && versions[rank - 1].0 == *version {
                let both = [versions[rank - 1].1 as usize, *attempt as usize];
                return Err(Breach::of(Promise::UniqueNames, self.history, &both, &[]));
            }
        }
        Ok(versions)
    }

    fn writer(&self, reader: usize, key: u32, version: &str, all: &[(&str, u32)]) -> Result<u32, Box<Breach>> {
        let found = all.binary_search_by(|(other, _)| (*other).cmp(version)).ok();
        let writer = found.map(|position| all[position].1);
        let writer = writer.filter(|writer| {
            let writer = *writer as usize;
            writer != reader && self.writes(writer).contains(&key)
        });
        let Some(writer) = writer else {
            return Err(Breach::of(Promise::UnwrittenRead, self.history, &[reader], &[self.key(key)]));
        };
        self.not_from_aborted(reader, writer as usize, self.key(key))?;
        Ok(writer)
    }

    /// Dirty while the writer was at it, a phantom when it was known to be over.
    pub fn not_from_aborted(&self, reader: usize, writer: usize, key: &str) -> Result<(), Box<Breach>> {
        let [read, wrote] = [reader, writer].map(|attempt| &self.history[attempt]);
        let aborted = match wrote.outcome {
            Outcome::Committed => false,
            Outcome::Aborted => true,
            // It got no version, so it has written nothing.
            Outcome::Unknown => wrote.version.is_none(),
        };
        if !aborted {
            return Ok(());
        }
        let promise = if wrote.ended < read.began { Promise::Phantom } else { Promise::DirtyRead };
        Err(Breach::of(promise, self.history, &[reader, writer], &[key]))
    }
}

/// Writers by key, each key's in the order of its versions.
#[derive(Debug)]
pub(crate) struct Writers {
    /// Rank and who.
    sorted: Vec<(u32, u32)>,
    starts: Vec<u32>,
}

impl Writers {
    /// From key, rank and writer, sorted.
    pub fn of(sorted: Vec<(u32, u32, u32)>, keys: usize) -> Self {
        let mut starts = vec![0; keys + 1];
        for (key, _, _) in &sorted {
            starts[*key as usize + 1] += 1;
        }
        for key in 1..starts.len() {
            starts[key] += starts[key - 1];
        }
        Self { sorted: sorted.into_iter().map(|(_, rank, writer)| (rank, writer)).collect(), starts }
    }

    /// Rank and who, of one key.
    pub fn of_key(&self, key: u32) -> &[(u32, u32)] {
        &self.sorted[range(&self.starts, key as usize)]
    }

    /// Who wrote the version after the one of this rank.
    pub fn after(&self, key: u32, rank: u32) -> Option<u32> {
        let writers = self.of_key(key);
        writers.get(writers.partition_point(|(other, _)| *other <= rank)).map(|(_, writer)| *writer)
    }
}

fn range(starts: &[u32], number: usize) -> Range<usize> {
    starts[number] as usize..starts[number + 1] as usize
}

/// A place in a list of fewer than four thousand million.
pub(crate) fn place(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
