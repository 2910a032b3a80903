//! What must hold of a history that is over: the contract's promises to callers, what must be in the store, and what the
//! checker of histories says of every attempt.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aft_history::checker::{self, Expect};
use aft_history::format::{self, Attempt, Outcome, Read, Step};
use aft_protocol::isolation::Isolation;
use aft_protocol::key::Key;
use aft_protocol::record::CommitRecord;
use aft_protocol::version::Version;

use crate::book::{Attempted, Book, Breach, Did, Told};
use crate::ground::Ground;
use crate::workload::Workload;
use crate::world::World;

/// A history that was judged.
#[derive(Debug)]
pub struct Judged {
    /// For others to judge.
    pub attempts: Vec<Attempt>,
    /// What was found.
    pub breaches: Vec<Breach>,
}

/// Every record, by what names its attempt.
type Records<'r> = BTreeMap<&'r [u8], &'r CommitRecord>;

/// Judges everything.
pub async fn judge<G: Ground>(world: &World<G>) -> Judged {
    let stream = world.ground.stream(0).await;
    let records: Records<'_> = stream.iter().map(|record| (&*record.response.body, &**record)).collect();
    let mut breaches = std::mem::take(&mut world.book.borrow_mut().breaches);
    check_heads(world, &stream, &mut breaches).await;
    let book = world.book.borrow();
    check_records(&stream, &mut breaches);
    check_answers(&book, &stream, &mut breaches);
    check_told(&book, &records, &mut breaches);
    check_guarded(&book, &records, &mut breaches);
    if world.plan.workload == Workload::Ledger {
        check_ledger(&stream, &mut breaches);
    }
    let attempts = Exporter::of(&book, &stream).attempts(&book, &records);
    let expect = Expect { recent_writes: world.plan.write_look_up, ..Expect::default() };
    if !attempts.is_empty()
        && let Err(breach) = checker::check(&attempts, expect)
    {
        breaches.push(Breach::of(breach.promise.name(), breach.to_string()));
    }
    Judged { attempts, breaches }
}

/// R-COMMIT-2: no transaction has two records, and no two have the same version.
fn check_records(stream: &[Arc<CommitRecord>], breaches: &mut Vec<Breach>) {
    let mut transactions = BTreeMap::new();
    for record in stream {
        if let Some(other) = transactions.insert(record.transaction(), record.version) {
            breaches.push(Breach::of("R-COMMIT-2", format!("two records: {other} and {}", record.version)));
        }
    }
}

/// R-COMMIT-2, R-COMMIT-6: one answer a transaction, and its record has it.
fn check_answers(book: &Book, stream: &[Arc<CommitRecord>], breaches: &mut Vec<Breach>) {
    for (transaction, answers) in &book.answers {
        if answers.len() > 1 {
            breaches.push(Breach::of("R-COMMIT-2", format!("{transaction} was answered in {answers:?}")));
        }
        let is_recorded = |answer: &String| stream.iter().any(|record| record.response.body == answer.as_bytes());
        if let Some(answer) = answers.iter().find(|answer| !is_recorded(answer)) {
            breaches
                .push(Breach::of("R-COMMIT-6", format!("{transaction} was answered {answer}, and there is no record")));
        }
    }
}

/// R-COMMIT-4, R-COMMIT-8: who was told of no trace has left none; and what a transaction believes that has committed is so.
fn check_told(book: &Book, records: &Records<'_>, breaches: &mut Vec<Breach>) {
    for attempted in &book.attempts {
        let record = records.get(attempted.response.as_bytes());
        if attempted.told == Told::Aborted && record.is_some() {
            breaches.push(Breach::of(
                "R-COMMIT-8",
                format!("called without a trace, and there is a record: {attempted:?}"),
            ));
        }
        let is_committed = record.is_some() || attempted.told == Told::Committed;
        if is_committed {
            breaches.extend(attempted.claims.iter().cloned());
        }
    }
}

/// R-SER-5: of those who insist on the same version of a key and write it, one commits, whatever their isolation.
fn check_guarded(book: &Book, records: &Records<'_>, breaches: &mut Vec<Breach>) {
    // What has been forgotten between two eras is zero again.
    let mut first: BTreeMap<(&Key, Version, usize), &str> = BTreeMap::new();
    for attempted in &book.attempts {
        let Some(record) = records.get(attempted.response.as_bytes()) else { continue };
        for (key, read) in attempted.reads() {
            let insists = attempted.isolation.is_serializable() || attempted.guarded.contains(key);
            if insists
                && record.writes.contains_key(key)
                && let Some(other) = first.insert((key, read, attempted.era), &attempted.response)
            {
                let what = format!("{other} and {} both insisted on {key:?} at {read}", attempted.response);
                breaches.push(Breach::of("R-SER-5", what));
            }
        }
    }
}

/// R-FM-1, R-COMMIT-5: every head is at the newest version that was committed of its key.
async fn check_heads<G: Ground>(world: &World<G>, stream: &[Arc<CommitRecord>], breaches: &mut Vec<Breach>) {
    let mut newest: BTreeMap<Key, &CommitRecord> = BTreeMap::new();
    for record in stream {
        for key in record.writes.keys() {
            let known = newest.entry(key.clone()).or_insert(record);
            if known.version < record.version {
                *known = record;
            }
        }
    }
    let keys: BTreeSet<Key> = newest.keys().cloned().collect();
    let heads = world.ground.true_heads(&keys).await;
    for (key, record) in newest {
        let found = &heads[&key].current;
        let value = &record.writes[&key];
        // A deletion may have expired, head and all.
        let has_expired = value.is_none() && found.version.is_zero() && world.plan.eras.len() > 1;
        if !has_expired && (found.version, &found.value) != (record.version, value) {
            breaches.push(Breach::of(
                "R-FM-1",
                format!("{key:?} is at {}, and was committed at {}", found.version, record.version),
            ));
        }
    }
}

/// Exactly once, by the data itself: everybody who committed an entry is in the list, once.
fn check_ledger(stream: &[Arc<CommitRecord>], breaches: &mut Vec<Breach>) {
    let of = |record: &CommitRecord| {
        let (_, value) = record.writes.iter().find(|(key, _)| key.as_str() == "ledger")?;
        let text = String::from_utf8_lossy(value.as_ref()?.bytes()).into_owned();
        text.split('|').nth(1).map(str::to_owned)
    };
    let mut lists: Vec<(Version, String)> =
        stream.iter().filter_map(|record| Some((record.version, of(record)?))).collect();
    lists.sort();
    for ((_, shorter), (version, longer)) in lists.iter().zip(lists.iter().skip(1)) {
        if !longer.starts_with(&format!("{shorter},")) {
            breaches.push(Breach::of("ledger", format!("{longer} at {version} does not go on from {shorter}")));
        }
    }
    if let Some((version, last)) = lists.last() {
        let entries: BTreeSet<&str> = last.split(',').collect();
        if entries.len() != lists.len() || last.split(',').count() != lists.len() {
            breaches
                .push(Breach::of("ledger", format!("{} appended, and the list at {version} is {last}", lists.len())));
        }
    }
}

/// Makes lines of `docs/histories.md` of what was noted.
struct Exporter<'b> {
    /// Who deleted what: the name of the write.
    deletions: BTreeMap<(Version, &'b Key), &'b str>,
    /// Keys whose last version in an era was a deletion: the era, and that version.
    forgotten: BTreeMap<&'b Key, (usize, Version)>,
}

impl<'b> Exporter<'b> {
    fn of(book: &'b Book, stream: &[Arc<CommitRecord>]) -> Self {
        let versions: BTreeMap<&[u8], Version> =
            stream.iter().map(|record| (&*record.response.body, record.version)).collect();
        let mut deletions = BTreeMap::new();
        let mut last: BTreeMap<&Key, (Version, usize, bool)> = BTreeMap::new();
        for attempted in &book.attempts {
            let Some(version) = versions.get(attempted.response.as_bytes()) else { continue };
            for did in &attempted.did {
                let Did::Wrote { key, name, is_deletion } = did else { continue };
                if *is_deletion {
                    deletions.insert((*version, key), name.as_str());
                }
                let last = last.entry(key).or_insert((*version, attempted.era, *is_deletion));
                if last.0 <= *version && attempted.era == 0 {
                    *last = (*version, attempted.era, *is_deletion);
                }
            }
        }
        let forgotten = last.into_iter().filter(|(_, (.., is_deletion))| *is_deletion);
        let forgotten = forgotten.map(|(key, (version, era, _))| (key, (era, version))).collect();
        Self { deletions, forgotten }
    }

    fn attempts(&self, book: &Book, records: &Records<'_>) -> Vec<Attempt> {
        let end = book.end();
        book.attempts.iter().map(|attempted| self.attempt(attempted, records, end)).collect()
    }

    fn attempt(&self, attempted: &Attempted, records: &Records<'_>, end: u64) -> Attempt {
        let record = records.get(attempted.response.as_bytes());
        let (reads, writes) = (attempted.reads(), attempted.writes());
        let is_committed = record.is_some() || (attempted.told == Told::Committed && writes.is_empty());
        // What wrote nothing and read a single key is as new as that read (R-SER-3).
        let may_be_old = is_committed && writes.is_empty() && reads.len() < 2;
        // Acknowledged when it was durable: others may not see it yet. (A step is visible when it is durable.)
        let is_seen = attempted.is_visible || attempted.isolation.is_serializable();
        let ended = attempted.answered.filter(|_| attempted.told != Told::Nothing && (is_seen || !is_committed));
        let read = |(key, version): (&Key, Version)| Read {
            key: key.as_str().to_owned(),
            version: self.seen(attempted, key, version).map(|version| version.to_string()),
        };
        Attempt {
            process: attempted.process,
            transaction: attempted.transaction.to_string(),
            attempt: attempted.number,
            outcome: if is_committed { Outcome::Committed } else { Outcome::Aborted },
            isolation: match attempted.isolation {
                Isolation::ReadAtomic => format::Isolation::ReadAtomic,
                Isolation::Serializable => format::Isolation::Serializable,
            },
            began: if may_be_old { 0 } else { attempted.began },
            ended: ended.unwrap_or(end),
            reads: reads.into_iter().map(read).collect(),
            writes: writes.iter().map(|key| key.as_str().to_owned()).collect(),
            version: record.filter(|_| !writes.is_empty()).map(|record| record.version.to_string()),
            steps: attempted.did.iter().map(|did| self.step(attempted, did)).collect(),
        }
    }

    /// Whose version it was. Nothing is also what is left of a deletion that has been forgotten.
    fn seen(&self, attempted: &Attempted, key: &Key, version: Version) -> Option<Version> {
        let forgotten = || self.forgotten.get(key).filter(|(era, _)| *era < attempted.era).map(|(_, version)| *version);
        if version.is_zero() { forgotten() } else { Some(version) }
    }

    fn step(&self, attempted: &Attempted, did: &Did) -> Step {
        match did {
            Did::Wrote { key, name, .. } => Step::Write { write: key.as_str().to_owned(), value: name.clone() },
            Did::Read { key, version, name } => {
                let deletion = || {
                    let version = self.seen(attempted, key, (*version)?)?;
                    self.deletions.get(&(version, key)).map(|name| (*name).to_owned())
                };
                Step::Read { read: key.as_str().to_owned(), value: name.clone().or_else(deletion) }
            }
        }
    }
}
