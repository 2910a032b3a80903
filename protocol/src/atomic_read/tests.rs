//! The read rule against hand-made heads, and against random histories with half-applied writers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::{Choice, ReadSet, Records};
use crate::head::{Cowritten, Entry, Head, Keep, Move, Previous};
use crate::id::{Fingerprint, Nonce, SandboxId, TransactionId};
use crate::key::Key;
use crate::limits;
use crate::record::{CommitRecord, Response};
use crate::value::{ContentType, Value};
use crate::version::{Timestamp, Version};

/// In seconds since the epoch.
const NOW: u64 = 1_000_000;
const EXPIRES: u64 = 2_000_000;

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn version(at: u64) -> Version {
    Version::new(Timestamp::from_micros(at), TransactionId::from_bits(at.into()))
}

/// The record of the transaction that wrote `keys` at `at`; each value is the time in decimal.
fn record(at: u64, keys: &[&str]) -> CommitRecord {
    let value = Value::new(at.to_string(), ContentType::default()).unwrap();
    CommitRecord {
        version: version(at),
        nonce: Nonce::from_bits(at.into()),
        writes: keys.iter().map(|text| (key(text), Some(value.clone()))).collect(),
        response: Response { content_type: None, body: Bytes::new() },
        fingerprint: Fingerprint::from_bits(0),
        origin: String::new(),
        sandbox: SandboxId::from_bits(0),
        applied_through: Version::ZERO,
        expires_at_seconds: EXPIRES,
    }
}

fn head(text: &str, history: &[&CommitRecord]) -> Head {
    let entries = history.iter().map(|record| record.entry(&key(text)).unwrap());
    entries.fold(Head::absent(), |head, entry| moved(&head, entry, Keep::Inline).unwrap())
}

fn moved(head: &Head, entry: Entry, keep: Keep) -> Option<Head> {
    match head.moved_to(entry, keep) {
        Move::To(head) => Some(*head),
        Move::NotNewer => None,
        Move::RecordExpires => panic!("no record expires in here"),
    }
}

fn records(known: &[&CommitRecord]) -> Records {
    known.iter().map(|record| (record.transaction(), Some((*record).clone()))).collect()
}

fn read_set(reads: &[(&str, &CommitRecord)]) -> ReadSet {
    let mut set = ReadSet::default();
    for (text, record) in reads {
        set.insert(key(text), record.entry(&key(text)).unwrap());
    }
    set
}

fn accepted(choice: Choice) -> Version {
    match choice {
        Choice::Accept(entry) => entry.version,
        other => panic!("{other:?}"),
    }
}

fn ids(times: &[u64]) -> Choice {
    Choice::Consult(times.iter().map(|at| version(*at).transaction()).collect())
}

/// R-READ-1, the upper side: what was written with a key that was read at an older version is too new.
#[test]
fn a_version_is_too_new_if_its_sibling_was_read_before_it() {
    let (old, new) = (record(1, &["a", "b"]), record(2, &["a", "b"]));
    let reads = read_set(&[("a", &old)]);
    assert_eq!(accepted(reads.choose(&key("b"), &head("b", &[&old, &new]), &Records::new(), NOW)), old.version);
}

/// R-READ-1, the lower side: what was read with a sibling demands at least the sibling's version.
#[test]
fn a_head_behind_the_lower_bound_is_passed_over_for_the_record() {
    let (old, new) = (record(1, &["a", "b"]), record(2, &["a", "b"]));
    let reads = read_set(&[("a", &new)]);
    let behind = head("b", &[&old]);
    assert_eq!(reads.choose(&key("b"), &behind, &Records::new(), NOW), ids(&[2]));
    assert_eq!(accepted(reads.choose(&key("b"), &behind, &records(&[&new]), NOW)), new.version);
}

/// R-READ-1: absent keys count, on both sides.
#[test]
fn an_absent_key_is_a_read_of_version_zero() {
    let both = record(2, &["a", "b"]);
    let mut reads = ReadSet::default();
    reads.insert(key("b"), Entry::absent());
    assert_eq!(accepted(reads.choose(&key("a"), &head("a", &[&both]), &Records::new(), NOW)), Version::ZERO);
    let reads = read_set(&[("a", &both)]);
    assert_eq!(reads.choose(&key("b"), &Head::absent(), &Records::new(), NOW), ids(&[2]));
}

/// R-READ-3: "absent" is answered only if the head goes back to the key's birth; otherwise it is a conflict.
#[test]
fn absence_must_be_known() {
    let history: Vec<_> = (1..=7).map(|at| record(at, &["a", "b"])).collect();
    let mut reads = ReadSet::default();
    reads.insert(key("b"), Entry::absent());
    let young = head("a", &history[..5].iter().collect::<Vec<_>>());
    let known = records(&history.iter().collect::<Vec<_>>());
    assert_eq!(accepted(reads.choose(&key("a"), &young, &known, NOW)), Version::ZERO);
    let old = head("a", &history.iter().collect::<Vec<_>>());
    assert_eq!(reads.choose(&key("a"), &old, &known, NOW), Choice::Conflict);
}

/// R-READ-4: everything that may be needed is asked for at once.
#[test]
fn older_versions_are_consulted_together() {
    let fits = record(1, &["a"]);
    let new: Vec<_> = (2..=5).map(|at| record(at, &["a", "b"])).collect();
    let mut reads = ReadSet::default();
    reads.insert(key("b"), Entry::absent());
    let history: Vec<_> = std::iter::once(&fits).chain(&new).collect();
    let head = head("a", &history);
    assert_eq!(reads.choose(&key("a"), &head, &Records::new(), NOW), ids(&[1, 2, 3]));
    assert_eq!(accepted(reads.choose(&key("a"), &head, &records(&history), NOW)), fits.version);
}

#[test]
fn a_long_cowritten_list_is_asked_for_before_it_is_trusted() {
    let (old, new) = (record(1, &["a", "b"]), record(2, &["a", "b"]));
    let mut marked = head("b", &[&old, &new]);
    marked.current.cowritten = Cowritten::InRecord;
    assert_eq!(ReadSet::default().choose(&key("b"), &marked, &Records::new(), NOW), ids(&[2]));
    assert_eq!(accepted(ReadSet::default().choose(&key("b"), &marked, &records(&[&new]), NOW)), new.version);
    let reads = read_set(&[("a", &old)]);
    assert_eq!(accepted(reads.choose(&key("b"), &marked, &records(&[&new]), NOW)), old.version);
}

/// R-READ-6: a record that has expired no longer constrains, and its absence is no reason to fail.
#[test]
fn an_expired_record_no_longer_constrains() {
    let new = record(2, &["a", "b"]);
    let mut marked = head("b", &[&new]);
    marked.current.cowritten = Cowritten::InRecord;
    let expired = Records::from([(new.transaction(), None)]);
    assert_eq!(accepted(ReadSet::default().choose(&key("b"), &marked, &expired, NOW)), new.version);
}

/// R-READ-6. A transaction wrote one key and deleted the other, and days later, when its record and then the tombstone had
/// expired, nobody could read the two together any more: either order was a conflict, for ever.
#[test]
fn what_an_expired_transaction_deleted_can_be_read_as_absent() {
    let both = record(2, &["a", "b"]);
    let gone = Records::from([(both.transaction(), None)]);
    let choose = |reads: &ReadSet, wanted: &str, head: &Head, now| reads.choose(&key(wanted), head, &gone, now);
    let of_a = read_set(&[("a", &both)]);
    assert_eq!(accepted(choose(&of_a, "b", &Head::absent(), EXPIRES)), Version::ZERO);
    assert_eq!(choose(&of_a, "b", &Head::absent(), EXPIRES - 1), Choice::Conflict, "it constrains to the last");
    let mut of_b = ReadSet::default();
    of_b.insert(key("b"), Entry::absent());
    assert_eq!(accepted(choose(&of_b, "a", &head("a", &[&both]), EXPIRES)), both.version);
    assert_eq!(accepted(choose(&of_b, "a", &head("a", &[&both]), EXPIRES - 1)), Version::ZERO);
    // Nor is a record asked for that is known to have expired.
    let mut marked = head("b", &[&both]);
    marked.current.cowritten = Cowritten::InRecord;
    let choice = ReadSet::default().choose(&key("b"), &marked, &Records::new(), EXPIRES);
    assert_eq!(accepted(choice), both.version);
}

/// R-READ-1 although R-READ-6: DynamoDB deletes expired records in any order. When the record of a version that had been read was
/// deleted before an older one's, and nothing newer fitted, the older one was accepted beside it: found by the model
/// (`docs/model.md`).
#[test]
fn nothing_older_than_what_was_read_is_found_behind_it() {
    let [mut first, mut second] = [record(1, &["a", "b"]), record(2, &["a", "b"])];
    first.expires_at_seconds = NOW - 1;
    second.expires_at_seconds = NOW;
    let [third, fourth] = [record(3, &["a", "b"]), record(4, &["a", "b"])];
    let reads = read_set(&[("a", &second)]);
    let head = head("b", &[&first, &second, &third, &fourth]);
    let mut known = records(&[&first, &third, &fourth]);
    known.insert(second.transaction(), None);
    assert_eq!(reads.choose(&key("b"), &head, &known, NOW), Choice::Conflict);
    assert_eq!(accepted(reads.choose(&key("b"), &head, &records(&[&first, &second]), NOW)), second.version);
}

/// Seed 46237 of the simulation: the reader had read a key of before the newest transaction, so that this one's version of another
/// key did not fit; the one before had expired, and its record was deleted; and behind it was an older one whose record was still
/// there. That was accepted. Then a third key was read at the version of the expired transaction, which no longer constrains
/// (R-READ-6): half of it was seen. What has expired has been seen by everybody, so nothing behind it may be, whether it was read
/// from or not.
#[test]
fn nothing_is_found_behind_a_version_that_is_gone() {
    let [mut before, mut first, mut second] = [record(1, &["a"]), record(2, &["b"]), record(3, &["b", "c"])];
    for expired in [&mut before, &mut first, &mut second] {
        expired.expires_at_seconds = NOW;
    }
    let [third, fourth] = [record(4, &["a", "b"]), record(5, &["a", "b"])];
    let reads = read_set(&[("a", &before)]);
    // In one of the older identifiers, and as the previous version.
    for history in [[&first, &second, &third, &fourth].as_slice(), &[&first, &second, &third]] {
        let mut head = history
            .iter()
            .fold(Head::absent(), |head, record| moved(&head, record.entry(&key("b")).unwrap(), Keep::Inline).unwrap());
        if history.len() == 3 {
            head.previous = Previous::InRecord(second.version);
        }
        let mut known = records(&[&first, &third, &fourth]);
        assert_eq!(reads.choose(&key("b"), &head, &known, NOW), ids(&[3]), "{history:?}");
        known.insert(second.transaction(), None);
        assert_eq!(reads.choose(&key("b"), &head, &known, NOW), Choice::Conflict, "{history:?}");
    }
}

/// The same where the head never had what was read, because it was overtaken: what the head had before was not absence.
#[test]
fn what_was_there_before_what_was_read_was_not_absent() {
    let [mut first, mut second] = [record(1, &["b"]), record(2, &["a", "b"])];
    first.expires_at_seconds = NOW;
    second.expires_at_seconds = NOW;
    let [third, fourth] = [record(3, &["a", "b"]), record(4, &["a", "b"])];
    let reads = read_set(&[("a", &second)]);
    for history in [[&first, &third, &fourth].as_slice(), &[&first, &fourth]] {
        let known = Records::from([(first.transaction(), None), (second.transaction(), None)]);
        assert_eq!(reads.choose(&key("b"), &head("b", history), &known, NOW), Choice::Conflict, "{history:?}");
    }
}

/// The previous version of a large head is in its record; it is asked for with all else that may be needed (R-READ-4).
#[test]
fn a_previous_version_that_was_left_to_its_record_is_read_from_there() {
    let [first, old, new] = [record(1, &["b"]), record(2, &["a", "b"]), record(3, &["a", "b"])];
    let over = |head: &Head, record: &CommitRecord| {
        moved(head, record.entry(&key("b")).unwrap(), Keep::InRecord { until_seconds: NOW }).unwrap()
    };
    let head = over(&over(&over(&Head::absent(), &first), &old), &new);
    assert_eq!(head.previous, Previous::InRecord(old.version));
    assert_eq!(accepted(ReadSet::default().choose(&key("b"), &head, &Records::new(), NOW)), new.version);
    let reads = read_set(&[("a", &old)]);
    assert_eq!(reads.choose(&key("b"), &head, &Records::new(), NOW), ids(&[2]));
    let choice = reads.choose(&key("b"), &head, &records(&[&old]), NOW);
    assert_eq!(choice, Choice::Accept(old.entry(&key("b")).unwrap()));
    let mut reads = ReadSet::default();
    reads.insert(key("a"), Entry::absent());
    assert_eq!(reads.choose(&key("b"), &head, &Records::new(), NOW), ids(&[1, 2]));
    assert_eq!(accepted(reads.choose(&key("b"), &head, &records(&[&first, &old]), NOW)), first.version);
}

/// R-READ-3: "absent" is not the answer where a version is known to have been there and its record is gone.
#[test]
fn what_is_gone_was_not_absent() {
    let [first, old, new] = [record(1, &["a"]), record(2, &["a", "b"]), record(3, &["a", "b"])];
    let mut reads = ReadSet::default();
    reads.insert(key("b"), Entry::absent());
    let head = head("a", &[&first, &old, &new]);
    let gone = Records::from([(first.transaction(), None)]);
    assert_eq!(reads.choose(&key("a"), &head, &gone, NOW), Choice::Conflict);
}

/// A store without I/O: what is durable, and what is applied.
#[derive(Default)]
struct Model {
    heads: BTreeMap<Key, Head>,
    records: BTreeMap<TransactionId, CommitRecord>,
    /// Heads that are still to be moved, in any order.
    pending: Vec<(TransactionId, Key)>,
    /// In seconds since the epoch.
    now: u64,
}

impl Model {
    fn head(&self, key: &Key) -> Head {
        self.heads.get(key).cloned().unwrap_or_else(Head::absent)
    }

    fn apply(&mut self, nth: usize, keep: Keep) {
        let (transaction, key) = self.pending.swap_remove(nth);
        let entry = self.records[&transaction].entry(&key).unwrap();
        let head = self.head(&key);
        let moved = match head.moved_to(entry.clone(), keep) {
            Move::RecordExpires => head.moved_to(entry, Keep::Inline),
            moved @ (Move::To(_) | Move::NotNewer) => moved,
        };
        if let Move::To(moved) = moved {
            self.heads.insert(key, *moved);
        }
    }

    /// Days pass: everything was applied (R-FM-1), every record has expired, and what was deleted is forgotten.
    fn age(&mut self) {
        while !self.pending.is_empty() {
            self.apply(0, Keep::Inline);
        }
        self.records.clear();
        self.heads.retain(|_, head| head.current.value.is_some());
        self.now += 1_000_000;
    }

    fn read(&self, reads: &ReadSet, key: &Key) -> (Choice, usize) {
        let head = self.head(key);
        let mut known = Records::new();
        for trips in 1.. {
            match reads.choose(key, &head, &known, self.now) {
                Choice::Consult(wanted) => {
                    assert!(wanted.iter().all(|id| !known.contains_key(id)), "asked twice for a record");
                    known.extend(wanted.into_iter().map(|id| (id, self.records.get(&id).cloned())));
                }
                settled => return (settled, trips),
            }
        }
        unreachable!("the loop ends when the read is settled")
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

/// R-READ-1 as the paper defines it, over the true write sets and not over what the reader kept.
fn is_read_atomic(reads: &BTreeMap<Key, Version>, written: &BTreeMap<Version, BTreeSet<Key>>) -> bool {
    let fractured = |version: &Version| {
        let siblings = written.get(version).into_iter().flatten();
        siblings.into_iter().any(|sibling| reads.get(sibling).is_some_and(|read| read < version))
    };
    !reads.values().any(fractured)
}

/// One history: writers that commit at skewed clocks and apply in any order, perhaps never; readers in between.
/// Gives reads, aborts, and aborts after days had passed.
fn history(seed: u64) -> (usize, usize, usize) {
    const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];
    let mut random = Random(seed);
    let mut model = Model { now: NOW, ..Model::default() };
    let mut transactions_left = 4 + random.below(5);
    let mut written: BTreeMap<Version, BTreeSet<Key>> = BTreeMap::new();
    let mut readers: Vec<(ReadSet, BTreeMap<Key, Version>)> = (0..3).map(|_| Default::default()).collect();
    let (mut reads, mut conflicts, mut conflicts_with_old) = (0, 0, 0);
    let keys = 3 + random.below(3);
    let mut clock = 10;
    for _ in 0..60 {
        match random.below(6) {
            0 if transactions_left > 0 => {
                transactions_left -= 1;
                clock += 1;
                let at = clock - random.below(4) as u64;
                let mut chosen: Vec<_> = KEYS[..keys].iter().copied().filter(|_| random.below(2) == 0).collect();
                chosen.truncate(4);
                let mut record = record(at * 100 + transactions_left as u64, &chosen);
                record.expires_at_seconds = model.now + 3_600;
                record.writes.values_mut().filter(|_| random.below(4) == 0).for_each(|value| *value = None);
                written.insert(record.version, record.writes.keys().cloned().collect());
                model.pending.extend(record.writes.keys().map(|key| (record.transaction(), key.clone())));
                model.records.insert(record.transaction(), record);
            }
            1 | 2 if !model.pending.is_empty() => {
                let nth = random.below(model.pending.len());
                // Small and large values: what is before them is inline, or in its record.
                let keep = [Keep::Inline, Keep::InRecord { until_seconds: model.now + 60 }][random.below(2)];
                model.apply(nth, keep);
            }
            3 if random.below(20) == 0 => {
                model.age();
                // For the clocks too: no write of today is ordered before one of days ago.
                clock += 10;
                written.clear();
                // No transaction lives for days.
                readers.iter_mut().for_each(|reader| *reader = Default::default());
            }
            _ => {
                let reader = random.below(readers.len());
                let wanted = key(KEYS[random.below(keys)]);
                if readers[reader].0.get(&wanted).is_some() {
                    continue;
                }
                let (choice, trips) = model.read(&readers[reader].0, &wanted);
                assert!(trips <= 2, "seed {seed}: {trips} round trips (R-READ-4)");
                reads += 1;
                match choice {
                    Choice::Accept(entry) => {
                        readers[reader].1.insert(wanted.clone(), entry.version);
                        readers[reader].0.insert(wanted, entry);
                        assert!(is_read_atomic(&readers[reader].1, &written), "seed {seed}: {:?}", readers[reader].1);
                    }
                    Choice::Conflict => {
                        let head = model.head(&wanted);
                        let of_the_head = [head.current.version, head.previous.version()].into_iter().chain(head.older);
                        let mut versions = of_the_head.filter(|version| !version.is_zero());
                        let whole = versions.all(|version| model.records.contains_key(&version.transaction()));
                        assert!(
                            !(whole && head.reaches_birth()),
                            "seed {seed}: an abort although {wanted:?}'s whole history is known"
                        );
                        conflicts += usize::from(model.now == NOW);
                        conflicts_with_old += usize::from(model.now > NOW);
                        readers[reader] = Default::default();
                    }
                    Choice::Consult(_) => unreachable!("settled"),
                }
            }
        }
    }
    (reads, conflicts, conflicts_with_old)
}

/// R-READ-1 over random histories; and aborts are needed only where a key has more versions than its head names, all too
/// new for the reader, or where two commits hit a long-cold key while somebody reads.
#[test]
fn random_histories_are_read_atomic_and_hardly_ever_need_an_abort() {
    let sum = |(r, c, o), (reads, conflicts, with_old)| (r + reads, c + conflicts, o + with_old);
    let (reads, conflicts, with_old) = (0..20_000).map(history).fold((0, 0, 0), sum);
    assert!(reads > 200_000, "{reads} reads are too few to show anything");
    assert!(conflicts * 10_000 < reads, "{conflicts} aborts in {reads} reads");
    assert!(with_old * 500 < reads, "{with_old} aborts at cold keys in {reads} reads");
}

/// The checker itself: it must be able to fail.
#[test]
fn the_checker_finds_a_fractured_read() {
    let written = BTreeMap::from([(version(2), BTreeSet::from([key("a"), key("b")]))]);
    let fractured = BTreeMap::from([(key("a"), version(2)), (key("b"), version(1))]);
    assert!(!is_read_atomic(&fractured, &written));
    let absent = BTreeMap::from([(key("a"), version(2)), (key("b"), Version::ZERO)]);
    assert!(!is_read_atomic(&absent, &written));
    let whole = BTreeMap::from([(key("a"), version(2)), (key("b"), version(2))]);
    assert!(is_read_atomic(&whole, &written));
}

#[test]
fn an_entry_from_a_record_has_every_other_key() {
    let entry = record(1, &["a", "b", "c"]).entry(&key("b")).unwrap();
    assert_eq!(entry.cowritten, Cowritten::Keys(Arc::new(BTreeSet::from([key("a"), key("c")]))));
    assert_eq!(record(1, &["a"]).entry(&key("b")), None);
}

/// An entry whose value has as many bytes as a value may have.
fn large(at: u64) -> Entry {
    let value = Value::new(vec![0; limits::VALUE_BYTES], ContentType::default()).unwrap();
    Entry { version: version(at), value: Some(value), cowritten: Cowritten::none(), record_expires_at_seconds: EXPIRES }
}

/// Reads so many large values that whatever was read before them is forgotten.
fn crowd_out(reads: &mut ReadSet) {
    for n in 0..=limits::READ_SET_BYTES / limits::VALUE_BYTES {
        reads.insert(key(&format!("large-{n}")), large(1_000 + n as u64));
    }
}

#[test]
fn a_read_set_keeps_a_limited_number_of_bytes() {
    let mut reads = ReadSet::default();
    let name = |n: u64| key(&n.to_string());
    reads.insert(key("absent"), Entry::absent());
    for n in 1..=100 {
        reads.insert(name(n), large(n));
        reads.touch(&name(1));
        assert!(reads.bytes() <= limits::READ_SET_BYTES, "{n}: {}", reads.bytes());
    }
    let kept = (1..=100).filter(|n| reads.get(&name(*n)).is_some()).collect::<Vec<_>>();
    assert_eq!(kept.len(), limits::READ_SET_BYTES / large(1).value.unwrap().weight(), "as many as fit");
    assert_eq!(kept[0], 1, "what was read again is not forgotten");
    assert!(kept[1..].iter().all(|n| *n > 50), "the least recently read go first: {kept:?}");
    assert_eq!(reads.get(&key("absent")), Some(&Entry::absent()), "there is nothing to forget of it");
    // What the read rule needs stays.
    assert_eq!(reads.len(), 101);
    assert!((1..=100).all(|n| reads.existing(&name(n)) == Some(version(n))));
}

/// R-READ-2 where the value was forgotten: the same version again, from the head, the previous version, or the record.
#[test]
fn a_forgotten_value_is_read_again_at_its_version() {
    let history: Vec<_> = (1..=3).map(|at| record(at, &["a", "b"])).collect();
    let mut reads = ReadSet::default();
    let first = history[0].entry(&key("a")).unwrap();
    reads.insert(key("a"), first.clone());
    crowd_out(&mut reads);
    assert_eq!(reads.get(&key("a")), None);
    let head = |moves: usize| head("a", &history[..=moves].iter().collect::<Vec<_>>());
    for moves in [0, 1] {
        assert_eq!(reads.read(&key("a"), &head(moves), &Records::new(), NOW), Choice::Accept(first.clone()), "{moves}");
    }
    assert_eq!(reads.read(&key("a"), &head(2), &Records::new(), NOW), ids(&[1]));
    assert_eq!(reads.read(&key("a"), &head(2), &records(&[&history[0]]), NOW), Choice::Accept(first.clone()));
    // The previous version may be left to its record.
    let next = history[1].entry(&key("a")).unwrap();
    let left = moved(&head(0), next, Keep::InRecord { until_seconds: NOW }).unwrap();
    assert_eq!(reads.read(&key("a"), &left, &Records::new(), NOW), ids(&[1]));
    // A stale head, from before that version.
    assert_eq!(reads.read(&key("a"), &Head::absent(), &records(&[&history[0]]), NOW), Choice::Accept(first.clone()));
    // It cannot be had any more: not another version, and not "not found".
    let gone = Records::from([(history[0].transaction(), None)]);
    assert_eq!(reads.read(&key("a"), &head(2), &gone, NOW), Choice::Conflict);
    reads.insert(key("a"), first.clone());
    assert_eq!(reads.get(&key("a")), Some(&first), "it is kept again");
}

/// R-READ-1: what was forgotten constrains as before.
#[test]
fn a_forgotten_value_still_constrains() {
    let (old, new) = (record(1, &["a", "b"]), record(2, &["a", "b"]));
    let mut reads = read_set(&[("a", &old)]);
    crowd_out(&mut reads);
    assert_eq!(accepted(reads.choose(&key("b"), &head("b", &[&old, &new]), &Records::new(), NOW)), old.version);
    let mut reads = read_set(&[("a", &new)]);
    crowd_out(&mut reads);
    assert_eq!(reads.bounds(&key("b"), NOW), (new.version, new.version));
}
