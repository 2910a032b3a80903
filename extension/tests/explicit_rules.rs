//! Explicit transactions at the session: their life, one record a key, and R-FM-2 when several commit at the same time.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aft_extension::session::{Ack, Behaviour, CommitResult, Explicit, Named, SessionError, Started};
use aft_protocol::id::{AttemptNumber, Fingerprint, RequestId, TransactionId};
use aft_protocol::wire::ErrorCode;
use aft_store::ErrorKind;
use aft_store::faults::{Call, Fault};
use aft_store::memory::Memory;
use futures_util::future::join_all;
use support::{BEHAVIOUR, DEADLINE_MS, Sandbox, answer, is_apply, is_commit, k, named, stored};

const DEADLINE: Duration = Duration::from_millis(DEADLINE_MS);

/// The invocation's own transaction.
const OWN: u128 = 1;

/// What the handler says to begin `key`, which is its transaction here.
fn wanted(key: u128, payload: &str) -> Explicit {
    let transaction = TransactionId::from_bits(key);
    Explicit {
        transaction,
        fingerprint: Fingerprint::of(payload.as_bytes()),
        origin: format!("test/{key}"),
        isolation: None,
    }
}

impl Sandbox {
    async fn start(&self, key: u128) -> Result<Started, SessionError> {
        self.session.begin_explicit(Named::default(), wanted(key, "{}")).await
    }

    /// Begins `key` and writes `k<key>`.
    async fn work(&self, key: u128, value: &str) {
        assert!(matches!(self.start(key).await.unwrap(), Started::Open(_)), "{key}");
        self.put(key, &format!("k{key}"), value);
    }

    async fn finish(&self, key: u128, response: &str) -> CommitResult {
        self.session.commit_explicit(named(key), answer(response)).await.unwrap()
    }

    async fn abort_own(&self, number: AttemptNumber) {
        self.session.abort(TransactionId::from_bits(OWN), number).await.unwrap();
    }
}

/// R-COMMIT-8: however the attempt ends that began it, what is open ends with it; what has committed stays.
#[tokio::test(start_paused = true)]
async fn what_is_open_ends_with_its_attempt_and_what_has_committed_stays() {
    for end in ["abort", "next attempt", "end", "detach", "commit"] {
        let store = Memory::new();
        let sandbox = Sandbox::new(&store, 1);
        sandbox.begin(OWN).await;
        sandbox.work(10, "whole").await;
        assert_eq!(sandbox.finish(10, "done").await, CommitResult::Committed);
        sandbox.work(11, "half").await;
        match end {
            "abort" => sandbox.abort_own(AttemptNumber::FIRST).await,
            "next attempt" => drop(sandbox.begin_attempt(OWN, AttemptNumber::FIRST.next()).await),
            "end" => sandbox.end(OWN),
            "detach" => sandbox.session.detach(1),
            _ => assert_eq!(sandbox.commit(OWN, "ok").await, CommitResult::Committed),
        }
        let late = sandbox.session.commit_explicit(named(11), answer("late")).await;
        assert!(late.is_err(), "{end}: {late:?}");
        assert_eq!((stored(&store, "k10").as_deref(), stored(&store, "k11")), (Some("whole"), None), "{end}");

        sandbox.end(OWN);
        sandbox.begin(2).await;
        assert_eq!(sandbox.start(10).await.unwrap(), Started::Committed(answer("done")), "{end}");
        assert!(matches!(sandbox.start(11).await.unwrap(), Started::Open(_)), "{end}: it is to be done");
        assert_eq!(sandbox.get(11, "k11").await, None, "{end}: from nothing");
    }
}

/// The record is what the next delivery finds: it is written even if the work wrote nothing.
#[tokio::test(start_paused = true)]
async fn the_response_is_recorded_even_if_nothing_was_written() {
    let store = Memory::new();
    let (first, second) = (Sandbox::new(&store, 1), Sandbox::new(&store, 2));
    for sandbox in [&first, &second] {
        sandbox.begin(OWN).await;
    }
    first.start(10).await.unwrap();
    assert_eq!(first.finish(10, "nothing to do").await, CommitResult::Committed);
    assert_eq!(second.start(10).await.unwrap(), Started::Committed(answer("nothing to do")));
}

/// R-COMMIT-2: two deliveries of one message at the same time.
#[tokio::test(start_paused = true)]
async fn of_two_deliveries_at_the_same_time_one_commits_and_both_answer_alike() {
    let store = Memory::new();
    let (first, second) = (Sandbox::new(&store, 1), Sandbox::new(&store, 2));
    for (sandbox, value) in [(&first, "first"), (&second, "second")] {
        sandbox.begin(OWN).await;
        sandbox.work(10, value).await;
    }
    assert_eq!(first.finish(10, "of the first").await, CommitResult::Committed);
    assert_eq!(second.finish(10, "of the second").await, CommitResult::Duplicate(answer("of the first")));
    assert_eq!((stored(&store, "k10").as_deref(), store.all_records().len()), (Some("first"), 1));
}

/// Another payload under the same key is never answered with this one's response, whenever it turns out.
#[tokio::test(start_paused = true)]
async fn another_payload_under_the_same_key_is_refused_at_begin_and_at_commit() {
    let store = Memory::new();
    let (first, second) = (Sandbox::new(&store, 1), Sandbox::new(&store, 2));
    for (sandbox, payload) in [(&first, "one"), (&second, "another")] {
        sandbox.begin(OWN).await;
        sandbox.session.begin_explicit(Named::default(), wanted(10, payload)).await.unwrap();
        sandbox.put(10, "k", payload);
    }
    assert_eq!(first.finish(10, "done").await, CommitResult::Committed);
    assert_eq!(second.finish(10, "done").await, CommitResult::Mismatch);
    let begun = second.session.begin_explicit(Named::default(), wanted(10, "another")).await;
    assert!(matches!(begun, Err(SessionError::PayloadMismatch)), "{begun:?}");
    assert_eq!(stored(&store, "k").as_deref(), Some("one"));
}

/// A begin makes sure that what it answers for is applied (R-COMMIT-2, R-FM-3).
#[tokio::test(start_paused = true)]
async fn a_key_that_a_dead_sandbox_had_committed_is_finished_before_it_is_skipped() {
    let store = Memory::new();
    let dying = Sandbox::faulty(&store, 1, |call| if is_apply(call) { Fault::HangBefore } else { Fault::None });
    dying.begin(OWN).await;
    dying.work(10, "1").await;
    let result = dying.finish(10, "done").await;
    assert!(matches!(result, CommitResult::Unknown(ErrorCode::NotVisible, _)), "{result:?}");

    let retry = Sandbox::new(&store, 2);
    retry.begin(OWN).await;
    assert_eq!(retry.start(10).await.unwrap(), Started::Committed(answer("done")));
    assert_eq!(stored(&store, "k10").as_deref(), Some("1"));
}

/// A handler that is killed while its message commits: the commit goes on, the sandbox stays awake for it, and the next
/// attempt's begin waits for it instead of doing the work beside it.
#[tokio::test(start_paused = true)]
async fn a_commit_under_way_outlives_its_attempt_and_is_waited_for() {
    let store = Memory::new();
    let slow = Duration::from_secs(2);
    let sandbox =
        Sandbox::faulty(
            &store,
            1,
            move |call| {
                if is_commit(call) { Fault::Slow(slow, Duration::ZERO) } else { Fault::None }
            },
        );
    sandbox.begin(OWN).await;
    sandbox.work(10, "1").await;
    let aborted = async {
        tokio::time::sleep(slow / 2).await;
        let beside = sandbox.start(10).await;
        assert!(matches!(beside, Err(SessionError::InProgress(_))), "the same attempt: {beside:?}");
        let abort = sandbox.session.abort_explicit(named(10));
        assert!(matches!(abort, Err(SessionError::Closed(_))), "{abort:?}");
        sandbox.abort_own(AttemptNumber::FIRST).await;
        sandbox.begin_attempt(OWN, AttemptNumber::FIRST.next()).await;
        sandbox.start(10).await.unwrap()
    };
    let (committed, begun) = tokio::join!(sandbox.finish(10, "done"), aborted);
    assert_eq!((committed, begun), (CommitResult::Committed, Started::Committed(answer("done"))));

    sandbox.work(11, "2").await;
    let ended = async {
        tokio::time::sleep(slow / 2).await;
        sandbox.end(OWN);
        sandbox.session.quiet(&RequestId::new("r-1"), DEADLINE).await;
        stored(&store, "k11")
    };
    let (committed, seen) = tokio::join!(sandbox.finish(11, "done"), ended);
    assert_eq!((committed, seen.as_deref()), (CommitResult::Committed, Some("2")), "the sandbox stayed awake");
}

/// A caller that goes away during the look-up leaves no transaction behind.
#[tokio::test(start_paused = true)]
async fn a_begin_that_is_given_up_leaves_nothing_open() {
    let store = Memory::new();
    let sandbox = Sandbox::faulty(&store, 1, |call| match call {
        Call::Records(_) => Fault::Slow(Duration::from_secs(1), Duration::ZERO),
        _ => Fault::None,
    });
    sandbox.begin(OWN).await;
    assert!(tokio::time::timeout(Duration::from_millis(500), sandbox.start(10)).await.is_err());
    assert!(matches!(sandbox.start(10).await.unwrap(), Started::Open(_)));

    let given_up = tokio::time::timeout(Duration::from_millis(500), sandbox.start(11)).await;
    assert!(given_up.is_err());
    let (late, ()) = tokio::join!(sandbox.start(11), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        sandbox.abort_own(AttemptNumber::FIRST).await;
    });
    assert!(matches!(late, Err(SessionError::NoTransaction)), "its attempt ended meanwhile: {late:?}");
}

/// R-FM-2 with many commits at once: when a record is written, everything that this sandbox committed before is applied,
/// and the record says so.
#[tokio::test(start_paused = true)]
async fn commits_of_one_sandbox_take_turns() {
    let store = Memory::new();
    let behaviour = Behaviour { ack: Ack::Durable, ..BEHAVIOUR };
    let sandbox = Sandbox::with(&store, 1, behaviour, 0, |call| match call {
        Call::Commit(_) => Fault::Slow(Duration::from_millis(3), Duration::from_millis(5)),
        Call::Apply(_) => Fault::Slow(Duration::from_millis(20), Duration::ZERO),
        _ => Fault::None,
    });
    sandbox.begin(OWN).await;
    let keys: Vec<u128> = (10..30).collect();
    for key in &keys {
        sandbox.work(*key, "1").await;
    }
    let results = join_all(keys.iter().map(|key| sandbox.finish(*key, "done"))).await;
    assert!(results.iter().all(|result| *result == CommitResult::Committed), "{results:?}");
    assert_eq!(*sandbox.breaches.lock().unwrap(), [], "records written beside an apply");
    let mut records = store.all_records();
    records.sort_by_key(|record| record.version);
    assert_eq!(records.len(), keys.len());
    for pair in records.windows(2) {
        assert_eq!(pair[1].applied_through, pair[0].version);
    }
}

/// R-FM-2 after an unknown outcome: the record that may still arrive stays the last one under its sandbox's name, and the
/// sandbox goes on under another.
#[tokio::test(start_paused = true)]
async fn after_an_unknown_outcome_the_sandbox_commits_under_another_name() {
    let store = Memory::new();
    let first = AtomicBool::new(true);
    let sandbox = Sandbox::faulty(&store, 1, move |call| match call {
        // Under way when the deadline comes, and written long after the next commit.
        Call::Commit(_) if first.swap(false, Ordering::Relaxed) => Fault::Late(2 * DEADLINE),
        _ => Fault::None,
    });
    let before = sandbox.session.sandbox();
    sandbox.begin(OWN).await;
    sandbox.put(OWN, "late", "1");
    let result = sandbox.commit(OWN, "ok").await;
    assert!(matches!(result, CommitResult::Unknown(ErrorCode::OutcomeUnknown, _)), "{result:?}");
    sandbox.write(2, &[("a", "2")]).await;
    sandbox.write(3, &[("b", "3")]).await;
    tokio::time::sleep(2 * DEADLINE).await;

    let mut records = store.all_records();
    records.sort_by_key(|record| record.version);
    let [late, second, third] = &records[..] else { panic!("{records:?}") };
    assert_eq!((late.sandbox, stored(&store, "late")), (before, None), "it arrived, and nobody has applied it");
    assert_ne!(second.sandbox, before, "so no later record may be under its sandbox's name");
    assert_eq!((third.sandbox, third.applied_through), (second.sandbox, second.version));

    let retry = Sandbox::new(&store, 2);
    retry.begin(OWN).await;
    retry.put(OWN, "late", "again");
    assert_eq!(retry.commit(OWN, "again").await, CommitResult::Duplicate(answer("ok")));
    assert_eq!(stored(&store, "late").as_deref(), Some("1"));
}

/// R-FM-2: a failed apply blocks the next commit even if, meanwhile, a reader has rolled an older record of the same
/// sandbox forward, because it had seen a stale head.
#[tokio::test(start_paused = true)]
async fn a_late_reader_does_not_make_the_sandbox_forget_a_failed_apply() {
    let store = Memory::new();
    let broken = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&broken);
    let read = Duration::from_secs(1);
    let sandbox = Sandbox::faulty(&store, 1, move |call| match call {
        Call::Apply(_) if gate.load(Ordering::Relaxed) => Fault::Before(ErrorKind::Rejected),
        Call::Heads(keys) if keys.contains(&k("b")) => Fault::Slow(Duration::ZERO, read),
        _ => Fault::None,
    });
    sandbox.begin(OWN).await;
    sandbox.start(20).await.unwrap();
    // The head of "b" as it was before 10, and then that of "a", which 10 wrote too: so 10 is rolled forward once more.
    let stale = sandbox.get(20, "b");
    let commits = async {
        sandbox.start(10).await.unwrap();
        sandbox.put(10, "a", "1");
        sandbox.put(10, "b", "1");
        assert_eq!(sandbox.finish(10, "done").await, CommitResult::Committed);
        assert_eq!(sandbox.get(20, "a").await.as_deref(), Some("1"));
        broken.store(true, Ordering::Relaxed);
        sandbox.start(11).await.unwrap();
        sandbox.put(11, "c", "2");
        sandbox.finish(11, "done").await
    };
    let (seen, result) = tokio::join!(stale, commits);
    assert_eq!(seen.as_deref(), Some("1"));
    assert!(matches!(result, CommitResult::Unknown(ErrorCode::NotVisible, _)), "{result:?}");
    sandbox.start(12).await.unwrap();
    let blocked = sandbox.finish(12, "done").await;
    assert!(matches!(blocked, CommitResult::Failed(ErrorCode::StoreUnavailable, _)), "{blocked:?}");
    broken.store(false, Ordering::Relaxed);
    sandbox.start(13).await.unwrap();
    assert_eq!(sandbox.finish(13, "done").await, CommitResult::Committed);
    assert_eq!(stored(&store, "c").as_deref(), Some("2"));
}
