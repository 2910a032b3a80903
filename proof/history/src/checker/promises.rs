//! What each attempt and each transaction is promised by itself: no order of others is looked for.

use std::hash::BuildHasherDefault;

use super::breach::{Breach, Promise};
use super::index::{FastMap, Index, place};
use crate::format::{Attempt, Outcome, Step};

/// A write that was noted.
#[derive(Debug, Clone, Copy)]
struct Noted {
    attempt: u32,
    key: u32,
    /// Whether its attempt wrote the key no more after it.
    is_last: bool,
}

type Values<'h> = FastMap<&'h str, Noted>;

/// Exactly once, and what was acknowledged.
pub(crate) fn check_outcomes(index: &Index<'_>) -> Result<(), Box<Breach>> {
    let room = index.history.len();
    let mut took_place: FastMap<&str, usize> = FastMap::with_capacity_and_hasher(room, BuildHasherDefault::default());
    for (number, attempt) in index.history.iter().enumerate() {
        let wrote = attempt.outcome == Outcome::Committed && !attempt.writes.is_empty();
        if wrote && attempt.version.is_none() {
            let keys: Vec<&str> = attempt.writes.iter().map(String::as_str).collect();
            return Err(Breach::of(Promise::Lost, index.history, &[number], &keys));
        }
        if index.visible[number]
            && let Some(other) = took_place.insert(&attempt.transaction, number)
        {
            return Err(Breach::of(Promise::ExactlyOnce, index.history, &[other, number], &[]));
        }
    }
    Ok(())
}

/// A key that is said to be read twice was read alike.
pub(crate) fn check_repeated_reads(index: &Index<'_>) -> Result<(), Box<Breach>> {
    for attempt in 0..index.history.len() {
        let reads = index.reads(attempt);
        for (position, read) in reads.iter().enumerate() {
            let other = reads[..position].iter().find(|other| other.key == read.key && other.writer != read.writer);
            if other.is_some() {
                return Err(Breach::of(Promise::RepeatableRead, index.history, &[attempt], &[index.key(read.key)]));
            }
        }
    }
    Ok(())
}

/// Everything that is promised of single steps.
pub(crate) fn check_steps(index: &mut Index<'_>) -> Result<(), Box<Breach>> {
    if index.history.iter().all(|attempt| attempt.steps.is_empty()) {
        return Ok(());
    }
    let values = values(index)?;
    let mut own = Vec::new();
    for (number, attempt) in index.history.iter().enumerate().filter(|(_, attempt)| !attempt.steps.is_empty()) {
        own.clear();
        check_attempt(index, &values, number, attempt, &mut own)?;
    }
    Ok(())
}

/// Every write by the name of its value.
fn values<'h>(index: &Index<'h>) -> Result<Values<'h>, Box<Breach>> {
    let steps = index.history.iter().map(|attempt| attempt.steps.len()).sum();
    let mut values = Values::with_capacity_and_hasher(steps, BuildHasherDefault::default());
    let mut last: Vec<(u32, &str)> = Vec::new();
    for (number, attempt) in index.history.iter().enumerate() {
        last.clear();
        for step in &attempt.steps {
            let Step::Write { write, value } = step else { continue };
            let contradicts = || Breach::of(Promise::Record, index.history, &[number], &[write]);
            let key = *index.numbers.get(write.as_str()).ok_or_else(contradicts)?;
            let noted = Noted { attempt: place(number), key, is_last: true };
            if let Some(other) = values.insert(value, noted) {
                let both = [other.attempt as usize, number];
                return Err(Breach::of(Promise::UniqueNames, index.history, &both, &[write]));
            }
            match last.iter_mut().find(|(other, _)| *other == key) {
                Some((_, earlier)) => {
                    if let Some(noted) = values.get_mut(*earlier) {
                        noted.is_last = false;
                    }
                    *earlier = value;
                }
                None => last.push((key, value)),
            }
        }
        let writes = index.writes(number);
        let same = last.len() == writes.len() && last.iter().all(|(key, _)| writes.contains(key));
        if !attempt.steps.is_empty() && !same {
            return Err(Breach::of(Promise::Record, index.history, &[number], &[]));
        }
    }
    Ok(values)
}

/// What an attempt should read of a key from now on.
#[derive(Debug, Clone, Copy)]
struct Known<'h> {
    key: &'h str,
    value: Option<&'h str>,
    is_own: bool,
}

fn check_attempt<'h>(
    index: &Index<'h>,
    values: &Values<'h>,
    number: usize,
    attempt: &'h Attempt,
    known: &mut Vec<Known<'h>>,
) -> Result<(), Box<Breach>> {
    let breach = |promise, key| Err(Breach::of(promise, index.history, &[number], &[key]));
    let mut first_reads = 0;
    for step in &attempt.steps {
        let (key, value, is_own) = match step {
            Step::Read { read, value } => (read.as_str(), value.as_deref(), false),
            Step::Write { write, value } => (write.as_str(), Some(value.as_str()), true),
        };
        match known.iter_mut().find(|known| known.key == key) {
            Some(known) if is_own => *known = Known { key, value, is_own },
            Some(known) if known.value == value => {}
            Some(known) => {
                let promise = if known.is_own { Promise::ReadYourWrites } else { Promise::RepeatableRead };
                let mut breach = Breach::of(promise, index.history, &[number], &[key]);
                if let Some(writer) = value.and_then(|value| values.get(value)).map(|noted| noted.attempt as usize) {
                    breach = Breach::of(promise, index.history, &[number, writer], &[key]);
                }
                return Err(breach);
            }
            None => {
                if !is_own {
                    first_reads += 1;
                    check_first_read(index, values, number, key, value)?;
                }
                known.push(Known { key, value, is_own });
            }
        }
    }
    if first_reads != attempt.reads.len() {
        let read = |key: &str| attempt.steps.iter().any(|step| matches!(step, Step::Read { read, .. } if read == key));
        let missing = attempt.reads.iter().find(|read_key| !read(&read_key.key));
        return breach(Promise::Record, missing.map(|read| read.key.as_str()).unwrap_or_default());
    }
    Ok(())
}

/// The value is of the version that was read, whose writer wrote it last, and for this key.
fn check_first_read<'h>(
    index: &Index<'h>,
    values: &Values<'h>,
    reader: usize,
    key: &'h str,
    value: Option<&str>,
) -> Result<(), Box<Breach>> {
    let breach = |promise, attempts: &[usize]| Err(Breach::of(promise, index.history, attempts, &[key]));
    let number = index.numbers.get(key);
    let read = number.and_then(|number| index.reads(reader).iter().find(|read| read.key == *number));
    let Some(read) = read else { return breach(Promise::Record, &[reader]) };
    let writer = read.writer.map(|writer| writer as usize);
    let Some(value) = value else {
        return if writer.is_none() {
            Ok(())
        } else {
            breach(Promise::WrongValue, &[reader, writer.unwrap_or(reader)])
        };
    };
    let Some(noted) = values.get(value) else {
        // Whoever wrote that version may not have noted what.
        let is_noted = writer.is_none_or(|writer| !index.history[writer].steps.is_empty());
        return if is_noted { breach(Promise::UnwrittenRead, &[reader]) } else { Ok(()) };
    };
    let wrote = noted.attempt as usize;
    if wrote != reader {
        index.not_from_aborted(reader, wrote, key)?;
    }
    if Some(wrote) != writer || Some(&noted.key) != number {
        return breach(Promise::WrongValue, &[reader, wrote]);
    }
    if !noted.is_last {
        return breach(Promise::IntermediateRead, &[reader, wrote]);
    }
    Ok(())
}
