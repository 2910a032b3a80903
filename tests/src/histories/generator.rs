//! Histories that are strictly serializable by construction: a serial run, each of whose transactions takes place between
//! its begin and its end; and ways to spoil them.

use std::collections::BTreeMap;

use fastrand::Rng;

use aft_history::format::{Attempt, Isolation, Outcome, Read};

/// How large.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Attempts.
    pub attempts: u32,
    /// Keys.
    pub keys: usize,
    /// Sandboxes, each with one attempt at a time.
    pub processes: usize,
}

/// What most exported histories are not larger than.
pub const LARGE: Size = Size { attempts: 60, keys: 10, processes: 8 };

/// What can be judged by trying every order.
pub const SMALL: Size = Size { attempts: 7, keys: 3, processes: 3 };

#[derive(Debug, Clone)]
enum Process {
    Idle,
    Began(Attempt),
    Done(Attempt),
}

struct Run {
    rng: Rng,
    size: Size,
    moment: u64,
    attempts: u32,
    versions: u32,
    store: BTreeMap<String, String>,
}

/// The history of this seed. Some attempts are aborted, and of some the outcome is unknown.
#[must_use]
pub fn generate(seed: u64, size: Size) -> Vec<Attempt> {
    let rng = Rng::with_seed(seed);
    let mut run = Run { rng, size, moment: 0, attempts: 0, versions: 0, store: BTreeMap::new() };
    let mut processes = vec![Process::Idle; size.processes];
    let mut history = Vec::new();
    while history.len() < size.attempts as usize {
        let process = run.rng.usize(..processes.len());
        run.moment += u64::from(run.rng.u8(0..3));
        let idle = Process::Idle;
        processes[process] = match std::mem::replace(&mut processes[process], idle) {
            Process::Idle if run.attempts == size.attempts => Process::Idle,
            Process::Idle => Process::Began(run.begin(process)),
            Process::Began(attempt) => Process::Done(run.take_place(attempt)),
            Process::Done(attempt) => {
                run.moment += 1;
                history.push(Attempt { ended: run.moment, ..attempt });
                Process::Idle
            }
        };
    }
    history
}

impl Run {
    fn begin(&mut self, process: usize) -> Attempt {
        self.attempts += 1;
        let outcome = match self.rng.u8(..20) {
            0 => Outcome::Unknown,
            1 | 2 => Outcome::Aborted,
            _ => Outcome::Committed,
        };
        Attempt {
            process: u32::try_from(process).expect("few processes"),
            transaction: format!("t{}", self.attempts),
            attempt: 1,
            outcome,
            isolation: Isolation::Serializable,
            began: self.moment,
            ended: 0,
            reads: Vec::new(),
            writes: Vec::new(),
            version: None,
            steps: Vec::new(),
        }
    }

    fn take_place(&mut self, mut attempt: Attempt) -> Attempt {
        let mut keys: Vec<String> = (0..self.size.keys).map(|key| format!("k{key}")).collect();
        self.rng.shuffle(&mut keys);
        keys.truncate(self.rng.usize(1..=self.size.keys.min(4)));
        let only_reads = self.rng.u8(..4) == 0;
        for key in keys {
            let kind = self.rng.u8(..6);
            if only_reads || kind > 0 {
                attempt.reads.push(Read { key: key.clone(), version: self.store.get(&key).cloned() });
            }
            if !only_reads && kind < 4 {
                attempt.writes.push(key);
            }
        }
        if !attempt.writes.is_empty() {
            self.versions += 1;
            let version = format!("v{:06}", self.versions);
            let takes_place = match attempt.outcome {
                Outcome::Committed => true,
                Outcome::Unknown => self.rng.bool(),
                Outcome::Aborted => false,
            };
            if takes_place {
                self.store.extend(attempt.writes.iter().map(|key| (key.clone(), version.clone())));
            }
            attempt.version = Some(version);
        }
        attempt
    }
}

/// The same history with an update lost: where two committed transactions updated a key one after the other, the second is
/// made to have read what the first read. `None` if there is no such pair.
#[must_use]
pub fn lose_an_update(rng: &mut Rng, mut history: Vec<Attempt>) -> Option<Vec<Attempt>> {
    let update = |attempt: &Attempt, key: &str| {
        let certain = attempt.outcome == Outcome::Committed && attempt.writes.iter().any(|written| written == key);
        attempt.reads.iter().position(|read| read.key == key).filter(|_| certain)
    };
    let mut pairs = Vec::new();
    for (second, attempt) in history.iter().enumerate() {
        for (at, read) in attempt.reads.iter().enumerate() {
            let first = history.iter().find(|first| read.version.is_some() && first.version == read.version);
            let before = first.and_then(|first| Some(&first.reads[update(first, &read.key)?]));
            if update(attempt, &read.key).is_some()
                && let Some(before) = before
            {
                pairs.push((second, at, before.version.clone()));
            }
        }
    }
    let (second, at, version) = rng.choice(pairs)?;
    history[second].reads[at].version = version;
    Some(history)
}

/// The same history with one read of a committed transaction moved to another version of the key, or to its absence; it
/// may be serializable all the same. `None` if nothing can be moved.
#[must_use]
pub fn move_a_read(rng: &mut Rng, mut history: Vec<Attempt>) -> Option<Vec<Attempt>> {
    let mut moves = Vec::new();
    for (number, attempt) in history.iter().enumerate().filter(|(_, attempt)| attempt.outcome == Outcome::Committed) {
        for (at, read) in attempt.reads.iter().enumerate() {
            let others = history
                .iter()
                .enumerate()
                .filter(|(other, writer)| *other != number && writer.writes.contains(&read.key));
            let versions = others.map(|(_, writer)| writer.version.clone()).chain([None]);
            moves.extend(versions.filter(|version| *version != read.version).map(|version| (number, at, version)));
        }
    }
    let (number, at, version) = rng.choice(moves)?;
    history[number].reads[at].version = version;
    Some(history)
}
