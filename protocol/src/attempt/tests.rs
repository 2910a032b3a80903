//! What an attempt takes and refuses.

use std::sync::Arc;

use super::{Attempt, Identity, Phase, Refusal, Seen};
use crate::atomic_read::{Choice, Records};
use crate::head::{Cowritten, Entry, Head, Keep, Move};
use crate::id::{AttemptNumber, Fingerprint, TransactionId};
use crate::isolation::Isolation;
use crate::key::Key;
use crate::limits;
use crate::record::Writes;
use crate::value::{ContentType, Value};
use crate::version::{Timestamp, Version};

/// In seconds since the epoch.
const NOW: u64 = 1_000_000;
const EXPIRES: u64 = 2_000_000;

fn attempt() -> Attempt {
    attempt_at(Isolation::ReadAtomic)
}

fn attempt_at(isolation: Isolation) -> Attempt {
    let identity = Identity {
        transaction: TransactionId::from_bits(1),
        number: AttemptNumber::FIRST,
        fingerprint: Fingerprint::of(b"{}"),
        origin: "test/r-1".to_owned(),
    };
    Attempt::new(identity, isolation)
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn write(text: &str, bytes: usize) -> Writes {
    let value = Value::new(vec![0; bytes], ContentType::new("a/b").unwrap()).unwrap();
    Writes::from([(key(text), Some(value))])
}

/// R-COMMIT-9: refused at the write, with nothing changed; overwriting gives room back.
#[test]
fn a_write_over_the_limit_changes_nothing() {
    let mut attempt = attempt();
    let most = limits::TRANSACTION_BYTES / limits::VALUE_BYTES;
    for n in 0..most {
        attempt.write(write(&n.to_string(), limits::VALUE_BYTES)).unwrap();
    }
    let before = attempt.buffered_bytes();
    attempt.write(write("a", 64_000)).unwrap();
    assert!(matches!(attempt.write(write("b", 2_000)), Err(Refusal::TooLarge { .. })));
    assert_eq!(attempt.recall(&key("b")), Ok(None));
    attempt.write(write("a", 0)).unwrap();
    assert_eq!(attempt.buffered_bytes(), before + "a".len() + "a/b".len());
    attempt.write(write("b", 2_000)).unwrap();
}

/// R-COMMIT-9 for many small keys.
#[test]
fn a_transaction_writes_a_limited_number_of_keys() {
    let mut attempt = attempt();
    let keys = |range: std::ops::Range<usize>| range.map(|n| (key(&n.to_string()), None)).collect::<Writes>();
    attempt.write(keys(0..limits::TRANSACTION_KEYS)).unwrap();
    attempt.write(keys(0..1)).unwrap();
    let one_more = attempt.write(keys(limits::TRANSACTION_KEYS..limits::TRANSACTION_KEYS + 1));
    assert_eq!(one_more, Err(Refusal::TooManyKeys { keys: limits::TRANSACTION_KEYS + 1 }));
}

/// R-COMMIT-8: what was buffered is gone with the attempt, and a closed attempt takes nothing.
#[test]
fn a_closed_attempt_has_nothing_and_takes_nothing() {
    let mut attempt = attempt();
    attempt.write(write("a", 1)).unwrap();
    attempt.close();
    assert_eq!((attempt.writes(), attempt.buffered_bytes()), (0, 0));
    assert_eq!(attempt.write(write("a", 1)), Err(Refusal::NotOpen(Phase::Closed)));
    assert_eq!(attempt.recall(&key("a")), Err(Refusal::NotOpen(Phase::Closed)));
    assert_eq!(attempt.start_commit(), Err(Refusal::NotOpen(Phase::Closed)));
}

#[test]
fn the_writes_leave_once() {
    let mut attempt = attempt();
    attempt.write(write("a", 1)).unwrap();
    assert_eq!(attempt.start_commit().unwrap().writes.len(), 1);
    assert_eq!(attempt.start_commit(), Err(Refusal::NotOpen(Phase::Committing)));
}

#[test]
fn each_own_write_has_an_etag_of_its_own() {
    let mut attempt = attempt();
    let mut etags = Vec::new();
    for _ in 0..2 {
        attempt.write(write("a", 1)).unwrap();
        etags.push(attempt.recall(&key("a")).unwrap().and_then(|seen| seen.etag()));
    }
    assert_ne!(etags[0], etags[1]);
    attempt.write(Writes::from([(key("a"), None)])).unwrap();
    assert!(matches!(attempt.recall(&key("a")), Ok(Some(Seen::Written(None, 3)))));
}

fn entry(micros: u64, cowritten: &[&str]) -> Entry {
    let value = Value::new(micros.to_string(), ContentType::default()).unwrap();
    let version = Version::new(Timestamp::from_micros(micros), TransactionId::from_bits(micros.into()));
    let cowritten = Cowritten::Keys(Arc::new(cowritten.iter().map(|text| key(text)).collect()));
    Entry { version, value: Some(value), cowritten, record_expires_at_seconds: EXPIRES }
}

/// The head of a key with this history.
fn head(entries: &[&Entry]) -> Head {
    entries.iter().fold(Head::absent(), |head, entry| match head.moved_to((*entry).clone(), Keep::Inline) {
        Move::To(moved) => *moved,
        refused @ (Move::NotNewer | Move::RecordExpires) => panic!("{refused:?}"),
    })
}

/// R-READ-5: a stale head is read by the same rule, and where it does not fit it dooms nothing.
#[test]
fn a_stale_head_is_accepted_or_passed_over() {
    let mut attempt = attempt();
    let (old, new) = (entry(1, &["b"]), entry(2, &["b"]));
    assert_eq!(attempt.read_stale(&key("a"), &head(&[&new]), NOW), Ok(Some(new.clone())));
    assert_eq!(attempt.read_stale(&key("b"), &head(&[&old]), NOW), Ok(None), "b was written with the newer a");
    assert_eq!(attempt.phase(), Phase::Open);
    assert_eq!(attempt.recall(&key("b")), Ok(None), "nothing was read");
    assert_eq!(attempt.read_stale(&key("b"), &head(&[&old, &new]), NOW), Ok(Some(new)));
    attempt.close();
    assert_eq!(attempt.read_stale(&key("a"), &Head::absent(), NOW), Err(Refusal::NotOpen(Phase::Closed)));
}

/// A precondition does not need the value: the tag of what was read outlives it.
#[test]
fn a_forgotten_value_keeps_its_etag() {
    let mut attempt = attempt();
    let read = entry(1, &[]);
    attempt.read(&key("a"), &head(&[&read]), &Records::new(), NOW).unwrap();
    attempt.read(&key("absent"), &Head::absent(), &Records::new(), NOW).unwrap();
    for n in 0..=limits::READ_SET_BYTES / limits::VALUE_BYTES {
        let value = Value::new(vec![0; limits::VALUE_BYTES], ContentType::default()).unwrap();
        let large = Entry { value: Some(value), ..entry(10, &[]) };
        attempt.read(&key(&format!("large-{n}")), &head(&[&large]), &Records::new(), NOW).unwrap();
    }
    assert!(attempt.read_bytes() <= limits::READ_SET_BYTES);
    assert_eq!(attempt.recall(&key("a")), Ok(None), "the store is to be asked again");
    assert_eq!(attempt.etag(&key("a")), Ok(Some(read.version.to_string())));
    assert_eq!(attempt.etag(&key("absent")), Ok(None));
    attempt.write(write("a", 1)).unwrap();
    assert_eq!(attempt.etag(&key("a")), Ok(Some("uncommitted-1".to_owned())));
}

fn read(attempt: &mut Attempt, text: &str, head: &Head) -> Result<Choice, Refusal> {
    attempt.read(&key(text), head, &Records::new(), NOW)
}

fn moved(head: &Head, entry: Entry) -> Head {
    match head.moved_to(entry, Keep::Inline) {
        Move::To(head) => *head,
        not @ (Move::NotNewer | Move::RecordExpires) => panic!("{not:?}"),
    }
}

fn at(micros: u64) -> Head {
    moved(&Head::absent(), entry(micros, &[]))
}

/// R-SER-1: the commit insists on everything that was read, absence included, and on nothing that was only written.
#[test]
fn a_serializable_attempt_insists_on_all_that_it_has_read() {
    let mut attempt = attempt_at(Isolation::Serializable);
    read(&mut attempt, "there", &at(5)).unwrap();
    read(&mut attempt, "absent", &Head::absent()).unwrap();
    attempt.write(write("blind", 1)).unwrap();
    attempt.write(write("there", 1)).unwrap();
    let intent = attempt.start_commit().unwrap();
    let insisted: Vec<_> = intent.guards.into_iter().collect();
    assert_eq!(insisted, [(key("absent"), Version::ZERO), (key("there"), entry(5, &[]).version)]);
    assert_eq!(intent.writes.len(), 2);
}

/// R-SER-5: in read-atomic isolation, only on the keys that were written under a condition.
#[test]
fn a_read_atomic_attempt_insists_on_guarded_keys_only() {
    let mut attempt = attempt();
    for text in ["a", "b"] {
        read(&mut attempt, text, &at(5)).unwrap();
    }
    attempt.write_guarded(key("a"), None).unwrap();
    attempt.write_guarded(key("never read"), None).unwrap();
    attempt.write(write("b", 1)).unwrap();
    attempt.write(write("a", 1)).unwrap();
    let intent = attempt.start_commit().unwrap();
    assert_eq!(intent.guards.into_keys().collect::<Vec<_>>(), [key("a")]);
}

/// R-SER-1: a version that is not the head's any more would fail the commit, so the read fails at once.
#[test]
fn a_serializable_read_of_what_has_changed_dooms_the_attempt() {
    for (isolation, fits) in [(Isolation::ReadAtomic, true), (Isolation::Serializable, false)] {
        let mut attempt = attempt_at(isolation);
        read(&mut attempt, "a", &at(5)).unwrap();
        let newer = moved(&moved(&Head::absent(), entry(4, &[])), entry(7, &["a"]));
        let stale = attempt.read_stale(&key("b"), &newer, NOW).unwrap();
        assert_eq!(stale.is_some(), fits, "{isolation}: a stale head does not doom it");
        let choice = read(&mut attempt, "b", &newer).unwrap();
        assert_eq!(matches!(choice, Choice::Accept(_)), fits, "{isolation}: {choice:?}");
        assert_eq!(attempt.doom().is_some(), !fits);
    }
}

/// R-SER-6: the 100th key is refused where it is read or written, and changes nothing.
#[test]
fn a_serializable_attempt_touches_a_limited_number_of_keys() {
    let mut attempt = attempt_at(Isolation::Serializable);
    for n in 0..limits::GUARDED_KEYS / 2 {
        read(&mut attempt, &format!("r{n}"), &at(5)).unwrap();
    }
    for n in limits::GUARDED_KEYS / 2..limits::GUARDED_KEYS {
        attempt.write(write(&format!("w{n}"), 1)).unwrap();
    }
    let refused = Refusal::TooManyGuarded { keys: limits::GUARDED_KEYS + 1 };
    assert_eq!(attempt.write(write("one more", 1)), Err(refused));
    assert_eq!(read(&mut attempt, "one more", &at(5)), Err(refused));
    assert_eq!(attempt.read_stale(&key("one more"), &at(5), NOW), Err(refused));
    attempt.write(write("r0", 1)).unwrap();
    read(&mut attempt, "r1", &at(5)).unwrap();
    assert_eq!((attempt.reads(), attempt.writes()), (49, 51));
}

/// R-SER-6 for guarded keys of a read-atomic attempt: neither the number of reads nor that of other writes counts.
#[test]
fn a_read_atomic_attempt_guards_a_limited_number_of_keys() {
    let mut attempt = attempt();
    for n in 0..=limits::GUARDED_KEYS {
        read(&mut attempt, &n.to_string(), &at(5)).unwrap();
        attempt.write(write(&format!("other {n}"), 1)).unwrap();
    }
    for n in 0..limits::GUARDED_KEYS {
        attempt.write_guarded(key(&n.to_string()), None).unwrap();
    }
    let refused = Refusal::TooManyGuarded { keys: limits::GUARDED_KEYS + 1 };
    assert_eq!(attempt.write_guarded(key(&limits::GUARDED_KEYS.to_string()), None), Err(refused));
    attempt.write_guarded(key("0"), None).unwrap();
    assert_eq!(attempt.start_commit().unwrap().guards.len(), limits::GUARDED_KEYS);
}

/// R-SER-6: so are bytes; a write that was refused leaves no guard.
#[test]
fn what_is_written_in_one_step_has_a_limited_size() {
    let most = limits::GUARDED_BYTES / limits::VALUE_BYTES - 1;
    let value = write("x", limits::VALUE_BYTES).into_values().next().unwrap();
    for isolation in [Isolation::ReadAtomic, Isolation::Serializable] {
        let mut attempt = attempt_at(isolation);
        for n in 0..=most {
            read(&mut attempt, &n.to_string(), &at(5)).unwrap();
        }
        for n in 0..most {
            attempt.write_guarded(key(&n.to_string()), value.clone()).unwrap();
        }
        let last = key(&most.to_string());
        let refused = attempt.write_guarded(last.clone(), value.clone());
        assert!(matches!(refused, Err(Refusal::TooManyGuardedBytes { .. })), "{isolation}: {refused:?}");
        if isolation == Isolation::ReadAtomic {
            attempt.write(Writes::from([(last, value.clone())])).unwrap();
            assert_eq!(attempt.start_commit().unwrap().guards.len(), most);
        }
    }
}

/// R-SER-6: an item counts as it was read, too; who writes it over pays for the larger one, and once.
#[test]
fn what_is_read_in_one_step_has_a_limited_size() {
    let sized = |bytes| {
        let value = write("x", bytes).into_values().next().unwrap();
        moved(&Head::absent(), Entry { value, ..entry(5, &[]) })
    };
    let most = limits::GUARDED_BYTES / limits::VALUE_BYTES - 1;
    let mut attempt = attempt_at(Isolation::Serializable);
    for n in 0..most {
        read(&mut attempt, &n.to_string(), &sized(limits::VALUE_BYTES)).unwrap();
        attempt.write(write(&n.to_string(), 1)).unwrap();
        attempt.write(write(&n.to_string(), limits::VALUE_BYTES)).unwrap();
    }
    let refused = read(&mut attempt, "one more", &sized(limits::VALUE_BYTES));
    assert!(matches!(refused, Err(Refusal::TooManyGuardedBytes { .. })), "{refused:?}");
    assert_eq!(attempt.reads(), most, "nothing has changed");
    read(&mut attempt, "small", &sized(1)).unwrap();
    let mut unbound = attempt_at(Isolation::ReadAtomic);
    for n in 0..2 * most {
        read(&mut unbound, &n.to_string(), &sized(limits::VALUE_BYTES)).unwrap();
    }
}
