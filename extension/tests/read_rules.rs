//! R-READ-1…4 at the session: each test fails without its rule. The rule itself is tested in the protocol crate.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aft_extension::session::{Begun, Behaviour, CommitResult, DuplicateCheck, Journal, SessionError};
use aft_protocol::id::{AttemptNumber, TransactionId};
use aft_store::ErrorKind;
use aft_store::dynamodb::{ReadConsistency, TimeLimits};
use aft_store::faults::{Call, Fault};
use aft_store::memory::Memory;
use aft_store::simulated::{self, Engine};
use support::{BEHAVIOUR, Breaches, Sandbox, answer, is_apply, is_commit, k, named};
use tokio::time::Instant;

/// A sandbox that commits {a, b} and dies when `applied` of them is applied.
async fn half_applied(store: &Memory, seed: u64, transaction: u128, applied: &'static str, value: &str) {
    let dying = Sandbox::faulty(store, seed, move |call| match call {
        Call::Apply(key) if *key != k(applied) => Fault::HangBefore,
        _ => Fault::None,
    });
    dying.begin(transaction).await;
    dying.put(transaction, "a", value);
    dying.put(transaction, "b", value);
    assert!(matches!(dying.commit(transaction, "ok").await, CommitResult::Unknown(..)));
}

/// R-READ-1: the new half of a half-applied transaction is never seen beside the old half, in either order.
#[tokio::test(start_paused = true)]
async fn half_of_a_transaction_is_never_seen() {
    for (first, second, expected) in [("a", "b", "new"), ("b", "a", "old")] {
        let store = Memory::new();
        Sandbox::new(&store, 1).write(1, &[("a", "old"), ("b", "old")]).await;
        half_applied(&store, 2, 2, "a", "new").await;
        let reader = Sandbox::new(&store, 3);
        reader.begin(3).await;
        assert_eq!(reader.get(3, first).await.as_deref(), Some(expected), "{first} first");
        assert_eq!(reader.get(3, second).await.as_deref(), Some(expected), "then {second}");
        reader.begin(4).await;
        let both = reader.get_all(4, &["a", "b"]).await;
        assert_eq!(both[0], both[1], "in one request");
    }
}

/// R-FM-3. A transaction was half-applied, its predecessor's record had expired, and whoever read the old half first found no
/// version of the other key: attempt after attempt, because none rolled forward what was in the way.
#[tokio::test(start_paused = true)]
async fn a_conflict_with_what_is_half_applied_is_not_repeated() {
    let store = Memory::new();
    // So long that a head leaves the one before to its record.
    let [old, new] = ["old", "new"].map(|value| format!("{value:600}"));
    Sandbox::new(&store, 1).write(1, &[("a", &old), ("b", &old)]).await;
    half_applied(&store, 2, 2, "a", &new).await;
    store.expire(TransactionId::from_bits(1));
    let reader = Sandbox::new(&store, 3);
    reader.begin(3).await;
    assert_eq!(reader.get(3, "b").await, Some(old));
    assert!(matches!(reader.try_get(3, "a").await, Err(SessionError::ReadConflict(_))));
    reader.session.applied().await;
    reader.begin_attempt(3, AttemptNumber::FIRST.next()).await;
    assert_eq!(reader.get(3, "b").await.as_ref(), Some(&new));
    assert_eq!(reader.get(3, "a").await, Some(new));
}

/// R-READ-1 for absent keys: having seen that b does not exist, a reader does not see the a that was written with b.
#[tokio::test(start_paused = true)]
async fn an_absent_key_counts_as_read() {
    let store = Memory::new();
    let reader = Sandbox::new(&store, 1);
    reader.begin(1).await;
    assert_eq!(reader.get(1, "b").await, None);
    Sandbox::new(&store, 2).write(2, &[("a", "1"), ("b", "1")]).await;
    assert_eq!(reader.get(1, "a").await, None, "before that transaction, a did not exist either");
}

/// R-READ-1 for reads of one attempt that run at the same time.
#[tokio::test(start_paused = true)]
async fn concurrent_reads_of_one_attempt_agree() {
    let store = Memory::new();
    Sandbox::new(&store, 1).write(1, &[("a", "old"), ("b", "old")]).await;
    let reader = Sandbox::faulty(&store, 2, |call| match call {
        // b's head is read before the second transaction, and answered after it.
        Call::Heads(keys) if keys.contains(&k("b")) => Fault::Slow(Duration::ZERO, Duration::from_secs(2)),
        Call::Heads(_) => Fault::Slow(Duration::from_secs(1), Duration::ZERO),
        _ => Fault::None,
    });
    reader.begin(2).await;
    let writer = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        Sandbox::new(&store, 3).write(3, &[("a", "new"), ("b", "new")]).await;
    };
    let (a, b, ()) = tokio::join!(reader.get(2, "a"), reader.get(2, "b"), writer);
    assert_eq!((a.as_deref(), b.as_deref()), (Some("new"), Some("new")));
}

/// R-READ-2: read your writes.
#[tokio::test(start_paused = true)]
async fn an_attempt_reads_its_own_writes() {
    let store = Memory::new();
    let sandbox = Sandbox::new(&store, 1);
    sandbox.write(1, &[("a", "old")]).await;
    sandbox.begin(2).await;
    sandbox.put(2, "a", "mine");
    assert_eq!(sandbox.get(2, "a").await.as_deref(), Some("mine"));
    sandbox.delete(2, "a");
    assert_eq!(sandbox.get(2, "a").await, None);
}

/// R-READ-2: repeatable reads, of values and of absence.
#[tokio::test(start_paused = true)]
async fn a_read_is_repeatable() {
    let store = Memory::new();
    let (reader, writer) = (Sandbox::new(&store, 1), Sandbox::new(&store, 2));
    writer.write(1, &[("a", "1")]).await;
    reader.begin(2).await;
    assert_eq!(reader.get_all(2, &["a", "absent"]).await, [Some("1".to_owned()), None]);
    writer.write(3, &[("a", "2")]).await;
    writer.write(4, &[("absent", "2")]).await;
    assert_eq!(reader.get_all(2, &["a", "absent"]).await, [Some("1".to_owned()), None]);
}

/// R-READ-2: no dirty reads, no intermediate reads.
#[tokio::test(start_paused = true)]
async fn nobody_sees_what_is_not_committed_or_was_overwritten_before_the_commit() {
    let store = Memory::new();
    let (writer, reader) = (Sandbox::new(&store, 1), Sandbox::new(&store, 2));
    writer.begin(1).await;
    writer.put(1, "a", "intermediate");
    reader.begin(2).await;
    assert_eq!(reader.get(2, "a").await, None);
    writer.put(1, "a", "final");
    assert_eq!(writer.commit(1, "ok").await, CommitResult::Committed);
    reader.begin(3).await;
    assert_eq!(reader.get(3, "a").await.as_deref(), Some("final"));
}

/// R-READ-3: "no compatible version" is a conflict, not "not found"; the attempt cannot commit, and a retry succeeds.
#[tokio::test(start_paused = true)]
async fn no_compatible_version_is_a_conflict_and_not_an_absence() {
    let store = Memory::new();
    let writer = Sandbox::new(&store, 1);
    for transaction in 1..=7 {
        writer.write(transaction, &[("a", "before")]).await;
    }
    let reader = Sandbox::new(&store, 2);
    reader.begin(20).await;
    assert_eq!(reader.get(20, "b").await, None);
    // Everything that a's head still names was written with b, and too late for this reader; older records are gone.
    for transaction in 8..=14 {
        writer.write(transaction, &[("a", "after"), ("b", "after")]).await;
    }
    (1..=7).for_each(|transaction| store.expire(TransactionId::from_bits(transaction)));
    let refused = reader.try_get(20, "a").await;
    assert!(matches!(refused, Err(SessionError::ReadConflict(_))), "{refused:?}");
    assert!(matches!(reader.try_get(20, "b").await, Err(SessionError::Closed(_))), "the attempt is doomed");
    let result = reader.commit(20, "ok").await;
    assert!(matches!(result, CommitResult::Conflict(..)), "{result:?}");

    reader.begin(20).await;
    assert_eq!(reader.get_all(20, &["b", "a"]).await, [Some("after".to_owned()), Some("after".to_owned())]);
}

/// R-READ-4: one round trip for any number of keys; none for what is known.
#[tokio::test(start_paused = true)]
async fn a_read_is_one_round_trip() {
    let store = Memory::new();
    let sandbox = Sandbox::new(&store, 1);
    sandbox.write(1, &[("a", "1"), ("b", "1"), ("c", "1")]).await;
    let before = sandbox.calls().len();
    sandbox.begin(2).await;
    sandbox.put(2, "d", "1");
    sandbox.get_all(2, &["a", "b", "c", "d", "absent"]).await;
    sandbox.get_all(2, &["a", "d", "absent"]).await;
    assert_eq!(sandbox.calls().len() - before, 1);
}

/// R-READ-4: at most one more, when commit records must be consulted.
#[tokio::test(start_paused = true)]
async fn a_read_that_needs_records_is_two_round_trips() {
    let store = Memory::new();
    half_applied(&store, 1, 1, "a", "1").await;
    let reader = Sandbox::new(&store, 2);
    reader.begin(2).await;
    reader.get(2, "a").await;
    let before = reader.calls().len();
    assert_eq!(reader.get(2, "b").await.as_deref(), Some("1"));
    let reads = reader.calls()[before..].iter().filter(|call| !is_apply(call)).count();
    assert_eq!(reads, 2);

    // Six transactions too new for the reader: the value is four versions back, in a record.
    reader.begin(3).await;
    reader.get(3, "z").await;
    let writer = Sandbox::new(&store, 3);
    writer.write(10, &[("y", "fits")]).await;
    for transaction in 11..=14 {
        writer.write(transaction, &[("y", "too new"), ("z", "too new")]).await;
    }
    let before = reader.calls().len();
    assert_eq!(reader.get(3, "y").await.as_deref(), Some("fits"));
    assert_eq!(reader.calls().len() - before, 2);
}

/// A transaction that writes many long keys leaves its cowritten list to the record; reads are read atomic all the same.
#[tokio::test(start_paused = true)]
async fn a_long_cowritten_list_constrains_like_a_short_one() {
    let store = Memory::new();
    let names: Vec<String> = (0..60).map(|n| format!("{n:02}-{}", "x".repeat(100))).collect();
    let writer = Sandbox::new(&store, 1);
    let write = async |transaction, value| {
        writer.begin(transaction).await;
        names.iter().for_each(|name| writer.put(transaction, name, value));
        assert_eq!(writer.commit(transaction, "ok").await, CommitResult::Committed);
    };
    write(1, "old").await;
    let reader = Sandbox::new(&store, 2);
    reader.begin(2).await;
    assert_eq!(reader.get(2, &names[0]).await.as_deref(), Some("old"));
    write(3, "new").await;
    assert_eq!(reader.get(2, &names[59]).await.as_deref(), Some("old"));
    reader.begin(4).await;
    assert_eq!(reader.get(4, &names[30]).await.as_deref(), Some("new"));
}

/// A read waits out throttling, and an outage ends in an error before the deadline, never in "not found".
#[tokio::test(start_paused = true)]
async fn an_outage_is_an_error_and_not_an_absence() {
    let store = Memory::new();
    Sandbox::new(&store, 1).write(1, &[("a", "1")]).await;
    let down = Arc::new(AtomicBool::new(true));
    let gate = Arc::clone(&down);
    let sandbox = Sandbox::faulty(&store, 2, move |_| {
        if gate.load(Ordering::Relaxed) { Fault::Before(ErrorKind::Unavailable) } else { Fault::None }
    });
    sandbox.begin(2).await;
    let refused = sandbox.try_get(2, "a").await;
    assert!(matches!(refused, Err(SessionError::Store(_))), "{refused:?}");
    down.store(false, Ordering::Relaxed);
    sandbox.begin(3).await;
    assert_eq!(sandbox.get(3, "a").await.as_deref(), Some("1"));
    assert_eq!(sandbox.count(is_commit), 0);
    assert!(sandbox.session.status(named(3)).is_ok());
}

/// R-READ-5: heads may be read eventually; commit records never are, or a duplicate would miss its own commit.
#[tokio::test(start_paused = true)]
async fn records_are_read_strongly_although_heads_are_not() {
    let engine = Engine::new().await.unwrap();
    let sandbox = |seed| {
        let stale = |_: &_| simulated::Fault::Stale(Duration::from_secs(1));
        let store = engine.store_with(ReadConsistency::Eventual, &TimeLimits::default(), stale);
        let behaviour = Behaviour { duplicate_check: DuplicateCheck::Before, reads_strongly: false, ..BEHAVIOUR };
        Sandbox::over(Instant::now(), store, Breaches::default(), seed, behaviour, 0, Journal::none())
    };
    sandbox(1).write(1, &[("a", "1")]).await;
    let second = sandbox(2);
    assert_eq!(second.begin(1).await, Begun::Duplicate(answer("ok")));
    second.begin(2).await;
    assert_eq!(second.get(2, "a").await, None, "a head of a moment ago");
}
