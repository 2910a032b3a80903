//! R-FM-1 and R-FM-3 over a store that counts and fails on purpose, on paused time: what looking for unapplied records
//! costs, and what a failure keeps from being done.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aft_protocol::id::{Fingerprint, Nonce, SandboxId, TransactionId};
use aft_protocol::key::Key;
use aft_protocol::record::{CommitRecord, Response, Writes};
use aft_protocol::version::{Timestamp, Version};
use aft_store::faults::{Call, Fault, Faulty};
use aft_store::memory::Memory;
use aft_store::recovery::{Doing, Outcome, recover};
use aft_store::retry::Patience;
use aft_store::{ErrorKind, Store, is_past_recovery};
use tokio::time::Instant;

const NOW_SECONDS: u64 = 500;
const NO_JITTER: fn() -> u128 = || 0;

fn patience() -> Patience<'static> {
    Patience { until: Instant::now() + Duration::from_secs(10), random: &NO_JITTER }
}

/// A durable record of no head.
fn record(number: u64, keys: usize) -> CommitRecord {
    let key = |n| Key::new(format!("{number}-{n}")).unwrap();
    CommitRecord {
        version: Version::new(Timestamp::from_micros(number), TransactionId::from_bits(number.into())),
        nonce: Nonce::from_bits(1),
        writes: (0..keys).map(|n| (key(n), None)).collect::<Writes>(),
        response: Response { content_type: None, body: "done".into() },
        fingerprint: Fingerprint::of(b"{}"),
        origin: "test".to_owned(),
        sandbox: SandboxId::from_bits(number.into()),
        applied_through: Version::ZERO,
        expires_at_seconds: 1_000,
    }
}

type Calls = Arc<Mutex<Vec<Call>>>;

fn watched(store: &Memory, plan: impl Fn(&Call) -> Fault + Send + Sync + 'static) -> (Faulty<Memory>, Calls) {
    let calls = Calls::default();
    let seen = Arc::clone(&calls);
    let faulty = Faulty::new(store.clone(), move |call: &Call| {
        seen.lock().unwrap().push(call.clone());
        plan(call)
    });
    (faulty, calls)
}

fn words(outcomes: &[Outcome]) -> Vec<&'static str> {
    let word = |outcome: &Outcome| match outcome {
        Outcome::Applied => "applied",
        Outcome::Behind => "behind",
        Outcome::RolledForward => "rolled forward",
        Outcome::Failed(_) => "failed",
    };
    outcomes.iter().map(word).collect()
}

/// R-FM-2: looking costs one read for all records together, and a write only where something is behind.
#[tokio::test(start_paused = true)]
async fn looking_is_one_read_and_only_what_is_behind_is_written() {
    let (store, records) = (Memory::new(), [record(1, 3), record(2, 3), record(3, 0)]);
    let (watched, calls) = watched(&store, |_| Fault::None);
    let look = recover(&watched, &records, Doing::Look, NOW_SECONDS, patience()).await;
    assert_eq!(words(&look), ["behind", "behind", "applied"], "what wrote nothing is applied");
    assert_eq!(calls.lock().unwrap().len(), 1, "a look changes nothing");

    let first = recover(&watched, &records[..1], Doing::RollForward, NOW_SECONDS, patience()).await;
    assert_eq!(words(&first), ["rolled forward"]);
    calls.lock().unwrap().clear();
    let all = recover(&watched, &records, Doing::RollForward, NOW_SECONDS, patience()).await;
    assert_eq!(words(&all), ["applied", "rolled forward", "applied"]);
    assert_eq!(calls.lock().unwrap().len(), 4, "one read, three moves: {calls:?}");
    assert_eq!(words(&recover(&watched, &records, Doing::RollForward, NOW_SECONDS, patience()).await), ["applied"; 3]);
}

#[tokio::test(start_paused = true)]
async fn the_heads_of_a_large_record_are_read_in_parts() {
    let (watched, calls) = watched(&Memory::new(), |_| Fault::None);
    let outcomes = recover(&watched, &[record(1, 250)], Doing::RollForward, NOW_SECONDS, patience()).await;
    assert_eq!(words(&outcomes), ["rolled forward"]);
    let calls = calls.lock().unwrap();
    let reads: Vec<_> =
        calls.iter().filter_map(|call| if let Call::Heads(keys) = call { Some(keys.len()) } else { None }).collect();
    assert_eq!(reads, [100, 100, 50]);
}

/// A head that cannot be read, or moved, is its own record's misfortune.
#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_one_head_fails_one_record() {
    let store = Memory::new();
    let (unreadable, immovable) = (Key::new("1-0").unwrap(), Key::new("2-0").unwrap());
    let (watched, _) = watched(&store, move |call| match call {
        Call::Heads(keys) if keys.contains(&unreadable) => Fault::Before(ErrorKind::Malformed),
        Call::Apply(key) if *key == immovable => Fault::Before(ErrorKind::Rejected),
        _ => Fault::None,
    });
    let records = [record(1, 3), record(2, 3), record(3, 3)];
    let outcomes = recover(&watched, &records, Doing::RollForward, NOW_SECONDS, patience()).await;
    assert_eq!(words(&outcomes), ["failed", "failed", "rolled forward"]);
    let others = ["2-1", "2-2"].map(|key| store.head_of(&Key::new(key).unwrap()).current.version);
    assert_eq!(others, [records[1].version; 2], "one head that cannot be moved keeps no other from it");
}

/// Throttling is waited out; where it does not end in time, every record has failed, and none is asked for by itself.
#[tokio::test(start_paused = true)]
async fn throttling_is_waited_out_while_there_is_time() {
    let store = Memory::new();
    let start = Instant::now();
    let (passing, _) = watched(&store, move |_| match start.elapsed() < Duration::from_secs(1) {
        true => Fault::Before(ErrorKind::Unavailable),
        false => Fault::None,
    });
    let jitter: &(dyn Fn() -> u128 + Send + Sync) = &|| 5_000;
    let jittered = Patience { random: jitter, ..patience() };
    assert_eq!(
        words(&recover(&passing, &[record(1, 2)], Doing::RollForward, NOW_SECONDS, jittered).await),
        ["rolled forward"]
    );

    let (lasting, calls) = watched(&store, |call| match call {
        Call::Heads(keys) => {
            assert_eq!(keys.len(), 4, "no record is asked for by itself");
            Fault::Before(ErrorKind::Unavailable)
        }
        _ => Fault::None,
    });
    let start = Instant::now();
    let jittered = Patience { random: jitter, ..patience() };
    let outcomes = recover(&lasting, &[record(2, 2), record(3, 2)], Doing::RollForward, NOW_SECONDS, jittered).await;
    assert_eq!(words(&outcomes), ["failed", "failed"]);
    assert!(start.elapsed() <= Duration::from_secs(10) && calls.lock().unwrap().len() > 10);
}

/// Rolling forward again, by anyone, at any time, moves no head a second time.
#[tokio::test(start_paused = true)]
async fn rolling_forward_twice_at_the_same_time_is_rolling_forward_once() {
    let (store, records) = (Memory::new(), [record(1, 5), record(2, 5)]);
    // Both have looked before either moves.
    let (slow, _) = watched(&store, |call| match call {
        Call::Heads(_) => Fault::Slow(Duration::ZERO, Duration::from_secs(1)),
        _ => Fault::None,
    });
    let (first, second) = tokio::join!(
        recover(&slow, &records, Doing::RollForward, NOW_SECONDS, patience()),
        recover(&slow, &records, Doing::RollForward, NOW_SECONDS, patience())
    );
    assert_eq!((words(&first), words(&second)), (vec!["rolled forward"; 2], vec!["rolled forward"; 2]));
    let once = Memory::new();
    recover(&once, &records, Doing::RollForward, NOW_SECONDS, patience()).await;
    let keys = records.iter().flat_map(|record| record.writes.keys().cloned()).collect();
    assert_eq!(store.heads(&keys).await.unwrap(), once.heads(&keys).await.unwrap());
}

/// A tombstone outlives the record that made it by a day; until half of that nothing that was deleted can come back.
#[test]
fn what_expired_long_ago_is_past_recovery() {
    let record = record(1, 1);
    assert!(!is_past_recovery(&record, record.expires_at_seconds + 12 * 3_600 - 1));
    assert!(is_past_recovery(&record, record.expires_at_seconds + 12 * 3_600));
}
