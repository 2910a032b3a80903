//! Which transactions there are, in numbers.
//!
//! * A transaction has the number of its attempt's line, from 1. Where an attempt becomes several, the second and further ones
//!   have numbers after the last line.
//! * A key's number is its place among all keys, sorted, from 0.
//! * A value's number is its place among all writes, by line and then in the order of the attempt's steps, from 1. What was read
//!   and nobody wrote has a number after these.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Lanes, Question};
use crate::format::{Attempt, Isolation, Outcome, Step};

/// Something that a transaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// It read a key.
    Read {
        key: u64,
        value: Option<u64>,
        news: News,
    },
    Write {
        key: u64,
        value: u64,
    },
}

/// What a read says that was not known without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// What another wrote; or what was not to be expected.
    Others,
    /// What the transaction had read before.
    Again,
    /// What it had itself written last.
    Own,
}

/// Whether it took place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Committed,
    /// Its reads are reads all the same.
    Aborted,
}

#[derive(Debug)]
pub(super) struct Transaction {
    pub number: u64,
    pub session: usize,
    pub fate: Fate,
    pub began: u64,
    /// `None`: any time.
    pub ended: Option<u64>,
    pub events: Vec<Event>,
}

/// The history in numbers.
#[derive(Debug)]
pub(super) struct Plan {
    /// In the order of their beginnings, and then of their numbers.
    pub transactions: Vec<Transaction>,
    pub sessions: usize,
    pub keys: usize,
    /// Of each key: the values that took place, in the order of their versions.
    pub order: Vec<Vec<u64>>,
    /// Of each value that was written: how many of its key's values were before its transaction's first.
    pub before: BTreeMap<u64, usize>,
    /// Of each value that was written: its transaction's values of the key up to it.
    pub together: BTreeMap<u64, Vec<u64>>,
}

impl Plan {
    pub fn of(history: &[Attempt], lanes: Lanes, question: Question) -> Self {
        let numbers = Numbers::of(history);
        let seen = seen(history, &numbers);
        let took_place = |place: usize| match history[place].outcome {
            Outcome::Committed => true,
            Outcome::Unknown => seen.contains(&place),
            Outcome::Aborted => false,
        };
        let mut unwritten = HashMap::new();
        let whole: Vec<Transaction> = (0..history.len())
            .map(|place| Transaction {
                number: number(place) + 1,
                session: 0,
                fate: if took_place(place) { Fate::Committed } else { Fate::Aborted },
                began: history[place].began,
                ended: (history[place].outcome != Outcome::Unknown || !took_place(place))
                    .then_some(history[place].ended),
                events: numbers.events(place, &history[place], &mut unwritten),
            })
            .collect();
        let mut transactions = match question {
            Question::Attempts => whole,
            Question::Serializable => of_serializable(history, whole),
        };
        transactions.retain(|transaction| !transaction.events.is_empty());
        transactions.sort_by_key(|transaction| (transaction.began, transaction.number));
        let processes: Vec<u32> = history.iter().map(|attempt| attempt.process).collect();
        let sessions = assign_sessions(&mut transactions, lanes, &processes);
        let committed = transactions.iter().filter(|transaction| transaction.fate == Fate::Committed);
        let kept = committed.flat_map(|transaction| &transaction.events).filter_map(|event| match event {
            Event::Write { value, .. } => Some(*value),
            Event::Read { .. } => None,
        });
        let (order, before, together) = numbers.lists(history, &kept.collect());
        Self { transactions, sessions, keys: numbers.keys.len(), order, before, together }
    }
}

/// What the serializable transactions may have to do with: all of themselves, what aborted ones wrote, and of a read-atomic one
/// each key that a serializable one read from it, by itself. What nobody saw of that may never have been.
fn of_serializable(history: &[Attempt], whole: Vec<Transaction>) -> Vec<Transaction> {
    let is_serializable = |place: usize| history[place].isolation == Isolation::Serializable;
    let readers = whole.iter().enumerate();
    let readers = readers.filter(|(place, reader)| is_serializable(*place) && reader.fate == Fate::Committed);
    let read: BTreeSet<u64> = readers
        .flat_map(|(_, reader)| &reader.events)
        .filter_map(|event| if let Event::Read { value, .. } = event { *value } else { None })
        .collect();
    let mut more = number(history.len());
    let mut transactions = Vec::with_capacity(whole.len());
    for (place, mut transaction) in whole.into_iter().enumerate() {
        if is_serializable(place) && transaction.fate == Fate::Committed {
            transactions.push(transaction);
            continue;
        }
        transaction.events.retain(|event| matches!(event, Event::Write { .. }));
        if transaction.fate == Fate::Aborted {
            transactions.push(transaction);
            continue;
        }
        let mut by_key: BTreeMap<u64, Vec<Event>> = BTreeMap::new();
        for event in &transaction.events {
            if let Event::Write { key, .. } = event {
                by_key.entry(*key).or_default().push(*event);
            }
        }
        let was_read = |event: &Event| matches!(event, Event::Write { value, .. } if read.contains(value));
        let mut own = Some(transaction.number);
        for events in by_key.into_values().filter(|events| events.iter().any(was_read)) {
            let number = own.take().unwrap_or_else(|| {
                more += 1;
                more
            });
            transactions.push(Transaction { number, ended: None, events, ..transaction });
        }
    }
    transactions
}

/// A session for each transaction, or as few as do for each process.
fn assign_sessions(transactions: &mut [Transaction], lanes: Lanes, processes: &[u32]) -> usize {
    // By process: its sessions, and when the last transaction of each ended.
    let mut open: BTreeMap<u32, Vec<(usize, u64)>> = BTreeMap::new();
    let mut count = 0;
    for transaction in transactions {
        let process = usize::try_from(transaction.number - 1).ok().and_then(|line| processes.get(line));
        let lanes = match (lanes, process, transaction.ended) {
            (Lanes::Processes, Some(process), Some(ended)) => Some((open.entry(*process).or_default(), ended)),
            _ => None,
        };
        if let Some((lanes, ended)) = lanes {
            if let Some((session, last)) = lanes.iter_mut().find(|(_, last)| *last < transaction.began) {
                transaction.session = *session;
                *last = ended;
                continue;
            }
            lanes.push((count, ended));
        }
        transaction.session = count;
        count += 1;
    }
    count
}

/// Who was read from by another.
fn seen(history: &[Attempt], numbers: &Numbers<'_>) -> BTreeSet<usize> {
    let mut seen = BTreeSet::new();
    for (reader, attempt) in history.iter().enumerate() {
        let versions = attempt.reads.iter().filter_map(|read| read.version.as_deref());
        seen.extend(versions.filter_map(|version| numbers.versions.get(version)).filter(|writer| **writer != reader));
    }
    seen
}

/// The numbers of keys and values.
struct Numbers<'h> {
    keys: BTreeMap<&'h str, u64>,
    /// By version: whose.
    versions: BTreeMap<&'h str, usize>,
    /// By attempt: key and value of each of its writes, in order.
    writes: Vec<Vec<(u64, u64)>>,
    /// By the name of a value.
    names: HashMap<&'h str, u64>,
    /// How many writes there are.
    written: u64,
}

type Lists = (Vec<Vec<u64>>, BTreeMap<u64, usize>, BTreeMap<u64, Vec<u64>>);

impl<'h> Numbers<'h> {
    fn of(history: &'h [Attempt]) -> Self {
        let all = history.iter();
        let keys: BTreeSet<&str> = all
            .flat_map(|attempt| attempt.reads.iter().map(|read| &read.key).chain(&attempt.writes))
            .map(String::as_str)
            .collect();
        let versions = history.iter().enumerate();
        let versions = versions.filter_map(|(place, attempt)| Some((attempt.version.as_deref()?, place))).collect();
        let mut numbers = Self {
            keys: keys.into_iter().zip(0..).collect(),
            versions,
            writes: vec![Vec::new(); history.len()],
            names: HashMap::new(),
            written: 0,
        };
        for (writer, attempt) in history.iter().enumerate() {
            for step in &attempt.steps {
                if let Step::Write { write, value } = step {
                    let number = numbers.write(writer, write);
                    numbers.names.insert(value, number);
                }
            }
            if attempt.steps.is_empty() {
                for key in &attempt.writes {
                    numbers.write(writer, key);
                }
            }
        }
        numbers
    }

    fn key(&self, key: &str) -> u64 {
        self.keys.get(key).copied().unwrap_or_default()
    }

    fn write(&mut self, writer: usize, key: &str) -> u64 {
        let key = self.key(key);
        self.written += 1;
        self.writes[writer].push((key, self.written));
        self.written
    }

    /// The value of a version: what its writer wrote last.
    fn of_version(&self, key: u64, version: &str) -> Option<u64> {
        let writes = &self.writes[*self.versions.get(version)?];
        writes.iter().rev().find(|(written, _)| *written == key).map(|(_, value)| *value)
    }

    fn events(&self, place: usize, attempt: &'h Attempt, unwritten: &mut HashMap<(u64, &'h str), u64>) -> Vec<Event> {
        let mut unknown = |key: u64, name: &'h str| {
            let next = self.written + number(unwritten.len()) + 1;
            *unwritten.entry((key, name)).or_insert(next)
        };
        let version = |key: &str| attempt.reads.iter().find(|read| read.key == key)?.version.as_deref();
        if attempt.steps.is_empty() {
            let reads = attempt.reads.iter().map(|read| {
                let key = self.key(&read.key);
                let value = read
                    .version
                    .as_deref()
                    .map(|version| self.of_version(key, version).unwrap_or_else(|| unknown(key, version)));
                Event::Read { key, value, news: News::Others }
            });
            let reads: Vec<Event> = reads.collect();
            let writes = self.writes[place].iter().map(|(key, value)| Event::Write { key: *key, value: *value });
            return reads.into_iter().chain(writes).collect();
        }
        let mut writes = self.writes[place].iter();
        let mut known: Vec<(u64, Option<u64>, News)> = Vec::new();
        let mut events = Vec::with_capacity(attempt.steps.len());
        for step in &attempt.steps {
            match step {
                Step::Read { read, value } => {
                    let key = self.key(read);
                    // The name of a value whose writer noted none says nothing; its version does.
                    let by_version = || self.of_version(key, version(read)?);
                    let value = value.as_deref().map(|name| {
                        self.names.get(name).copied().or_else(by_version).unwrap_or_else(|| unknown(key, name))
                    });
                    let last = known.iter().rev().find(|(other, ..)| *other == key);
                    let news = last.filter(|(_, last, _)| *last == value).map_or(News::Others, |(.., news)| *news);
                    if last.is_none() {
                        known.push((key, value, News::Again));
                    }
                    events.push(Event::Read { key, value, news });
                }
                Step::Write { .. } => {
                    if let Some((key, value)) = writes.next() {
                        known.push((*key, Some(*value), News::Own));
                        events.push(Event::Write { key: *key, value: *value });
                    }
                }
            }
        }
        events
    }

    /// What each key would hold if a write appended to it.
    fn lists(&self, history: &[Attempt], kept: &BTreeSet<u64>) -> Lists {
        let mut order: Vec<Vec<u64>> = vec![Vec::new(); self.keys.len()];
        let (mut before, mut together) = (BTreeMap::new(), BTreeMap::new());
        let mut add = |writer: usize| {
            for key in self.writes[writer].iter().map(|(key, _)| *key).collect::<BTreeSet<u64>>() {
                let list = &mut order[usize::try_from(key).unwrap_or_default()];
                let values: Vec<u64> = self.of_key(writer, key).collect();
                for (place, value) in values.iter().enumerate() {
                    before.insert(*value, list.len());
                    together.insert(*value, values[..=place].to_vec());
                }
                list.extend(values.into_iter().filter(|value| kept.contains(value)));
            }
        };
        // One that got no version is before all: nobody knows better.
        for writer in (0..history.len()).filter(|writer| history[*writer].version.is_none()) {
            add(writer);
        }
        for writer in self.versions.values() {
            add(*writer);
        }
        (order, before, together)
    }

    fn of_key(&self, writer: usize, key: u64) -> impl Iterator<Item = u64> {
        let written = self.writes[writer].iter().filter(move |(written, _)| *written == key);
        written.map(|(_, value)| *value)
    }
}

fn number(place: usize) -> u64 {
    u64::try_from(place).unwrap_or(u64::MAX)
}
