//! R-COMMIT-1…8, R-FM-2 and R-FM-3 at the session: each test fails without its rule.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use aft_extension::session::{Aborted, Ack, Begun, Behaviour, CommitResult, DuplicateCheck, SessionError};
use aft_protocol::id::{AttemptNumber, RequestId, TransactionId};
use aft_protocol::limits;
use aft_protocol::record::Response;
use aft_protocol::wire::{Begin, ErrorCode};
use aft_store::ErrorKind;
use aft_store::faults::{Call, Fault};
use aft_store::memory::Memory;
use support::{BEHAVIOUR, DEADLINE_MS, Sandbox, answer, is_apply, is_commit, k, named, stored};

const DEADLINE: Duration = Duration::from_millis(DEADLINE_MS);

/// R-COMMIT-1: no head before the record.
#[tokio::test(start_paused = true)]
async fn no_head_moves_before_the_record_is_durable() {
    let store = Memory::new();
    let refusing = Sandbox::faulty(&store, 1, |call| match call {
        Call::Commit(_) => Fault::Before(ErrorKind::Rejected),
        _ => Fault::None,
    });
    refusing.begin(1).await;
    refusing.put(1, "a", "1");
    let result = refusing.commit(1, "ok").await;
    assert!(matches!(result, CommitResult::Failed(ErrorCode::StoreRejected, _)), "{result:?}");
    assert_eq!(refusing.count(is_apply), 0);

    let sandbox = Sandbox::new(&store, 2);
    sandbox.write(2, &[("a", "2"), ("b", "2")]).await;
    let calls = sandbox.calls();
    assert!(is_commit(&calls[0]), "{calls:?}");
    assert_eq!(calls[1..].iter().filter(|call| is_apply(call)).count(), 2);
}

/// R-COMMIT-2: at most one record; the loser discards its writes and answers with the winner's response.
#[tokio::test(start_paused = true)]
async fn concurrent_duplicates_commit_once_and_answer_alike() {
    let store = Memory::new();
    let (first, second) = (Sandbox::new(&store, 1), Sandbox::new(&store, 2));
    for (sandbox, value) in [(&first, "first"), (&second, "second")] {
        sandbox.begin(7).await;
        sandbox.put(7, "a", value);
    }
    assert_eq!(first.commit(7, "answer of the first").await, CommitResult::Committed);
    assert_eq!(second.commit(7, "answer of the second").await, CommitResult::Duplicate(answer("answer of the first")));
    assert_eq!(stored(&store, "a").as_deref(), Some("first"));
    assert_eq!(store.all_records().len(), 1);
}

/// R-COMMIT-2: the duplicate makes sure that what it answers for is applied.
#[tokio::test(start_paused = true)]
async fn a_duplicate_applies_what_a_dead_writer_left() {
    let store = Memory::new();
    let dying = Sandbox::faulty(&store, 1, |call| if is_apply(call) { Fault::HangBefore } else { Fault::None });
    dying.begin(7).await;
    dying.put(7, "a", "1");
    let result = dying.commit(7, "done").await;
    assert!(matches!(result, CommitResult::Unknown(ErrorCode::NotVisible, _)), "{result:?}");
    assert_eq!(stored(&store, "a"), None);

    let retry = Sandbox::new(&store, 2);
    retry.begin(7).await;
    retry.put(7, "a", "other");
    assert_eq!(retry.commit(7, "again").await, CommitResult::Duplicate(answer("done")));
    assert_eq!(stored(&store, "a").as_deref(), Some("1"));
}

/// TTL may be days late with a record, and by then have forgotten that its key was deleted since: a duplicate that still finds
/// the record gets its answer, and brings nothing back.
#[tokio::test(start_paused = true)]
async fn a_duplicate_long_after_the_expiry_moves_nothing() {
    const HOUR_MICROS: i64 = 3_600_000_000;
    for (hours, moved) in [(12, Some("1")), (13, None)] {
        let store = Memory::new();
        let dying = Sandbox::faulty(&store, 1, |call| if is_apply(call) { Fault::HangBefore } else { Fault::None });
        dying.begin(7).await;
        dying.put(7, "a", "1");
        assert!(matches!(dying.commit(7, "done").await, CommitResult::Unknown(ErrorCode::NotVisible, _)));

        let retry = Sandbox::new(&store, 2);
        retry.begin(7).await;
        retry.put(7, "a", "other");
        // The record expires after an hour.
        retry.skew_micros.store(hours * HOUR_MICROS, Ordering::Relaxed);
        assert_eq!(retry.commit(7, "again").await, CommitResult::Duplicate(answer("done")));
        assert_eq!(stored(&store, "a").as_deref(), moved, "{hours} hours later");
    }
}

/// R-COMMIT-2: what is applied already is looked at and not written again, because moves that are refused cost write units.
#[tokio::test(start_paused = true)]
async fn a_duplicate_of_what_is_applied_writes_nothing() {
    let store = Memory::new();
    Sandbox::new(&store, 1).write(7, &[("a", "1"), ("b", "1")]).await;
    let retry = Sandbox::new(&store, 2);
    retry.begin(7).await;
    retry.put(7, "a", "other");
    assert_eq!(retry.commit(7, "again").await, CommitResult::Duplicate(answer("ok")));
    assert_eq!(
        retry.calls(),
        [
            Call::Commit(TransactionId::from_bits(7)),
            // The record came with the refusal.
            Call::Heads([k("a"), k("b")].into()),
        ]
    );
}

/// R-COMMIT-2 with the look-up beside the handler: a duplicate that finds nothing left to write still gives the recorded
/// answer, and one that fails is saved by it.
#[tokio::test(start_paused = true)]
async fn the_look_up_answers_duplicates_that_would_not_commit() {
    let store = Memory::new();
    Sandbox::new(&store, 1).write(7, &[("a", "1")]).await;
    let behaviour = Behaviour { duplicate_check: DuplicateCheck::Parallel, ..BEHAVIOUR };
    let retry = Sandbox::with(&store, 2, behaviour, 0, |_| Fault::None);
    assert_eq!(retry.begin(7).await, Begun::Open);
    assert_eq!(retry.commit(7, "nothing to do").await, CommitResult::Duplicate(answer("ok")));

    retry.begin(7).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    let aborted = retry.session.abort(TransactionId::from_bits(7), AttemptNumber::FIRST).await.unwrap();
    assert_eq!(aborted, Aborted::Duplicate(answer("ok")));
}

/// R-COMMIT-2 with the look-up beside the handler: once it has found the commit, the handler's key requests are refused, so
/// that it ends early; the recorded response is the answer all the same.
#[tokio::test(start_paused = true)]
async fn a_handler_whose_transaction_has_committed_is_told_so() {
    let store = Memory::new();
    Sandbox::new(&store, 1).write(7, &[("a", "1")]).await;
    let behaviour = Behaviour { duplicate_check: DuplicateCheck::Parallel, ..BEHAVIOUR };
    let slow = |call: &Call| match call {
        Call::Records(_) => Fault::Slow(Duration::from_secs(1), Duration::ZERO),
        _ => Fault::None,
    };
    let retry = Sandbox::with(&store, 2, behaviour, 0, slow);
    assert_eq!(retry.begin(7).await, Begun::Open);
    assert_eq!(retry.get(7, "a").await.as_deref(), Some("1"), "nothing is known yet");
    retry.put(7, "a", "2");
    tokio::time::sleep(Duration::from_secs(2)).await;

    assert!(matches!(retry.try_get(7, "a").await, Err(SessionError::AlreadyCommitted)));
    let write = retry.session.write(named(7), [(k("a"), None)].into());
    assert!(matches!(write, Err(SessionError::AlreadyCommitted)), "{write:?}");
    assert_eq!(retry.commit(7, "again").await, CommitResult::Duplicate(answer("ok")));
    assert_eq!(stored(&store, "a").as_deref(), Some("1"));
}

/// R-COMMIT-2: another attempt begins only when the look-up has found nothing.
#[tokio::test(start_paused = true)]
async fn a_failed_attempt_is_not_followed_by_another_if_there_is_a_commit() {
    let store = Memory::new();
    let behaviour = Behaviour { duplicate_check: DuplicateCheck::Parallel, ..BEHAVIOUR };
    let first = Sandbox::with(&store, 1, behaviour, 0, |_| Fault::None);
    first.begin(7).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    Sandbox::new(&store, 2).write(7, &[("a", "1")]).await;
    let aborted = first.session.abort(TransactionId::from_bits(7), AttemptNumber::FIRST).await.unwrap();
    assert_eq!(aborted, Aborted::Gone, "its own look-up came too early");
    assert_eq!(first.begin_attempt(7, AttemptNumber::FIRST.next()).await, Begun::Duplicate(answer("ok")));
}

/// R-COMMIT-2 with the look-up before the handler: it does not run at all.
#[tokio::test(start_paused = true)]
async fn the_look_up_before_the_handler_answers_for_it() {
    let store = Memory::new();
    Sandbox::new(&store, 1).write(7, &[("a", "1")]).await;
    let behaviour = Behaviour { duplicate_check: DuplicateCheck::Before, ..BEHAVIOUR };
    let retry = Sandbox::with(&store, 2, behaviour, 0, |_| Fault::None);
    assert_eq!(retry.begin(7).await, Begun::Duplicate(answer("ok")));
    assert!(matches!(retry.try_get(7, "a").await, Err(SessionError::NoTransaction)));
}

/// R-COMMIT-2 for a response that is passed on as it comes: its first byte waits for the look-up, however long that takes.
#[tokio::test(start_paused = true)]
async fn what_has_committed_before_is_known_before_a_byte_is_released() {
    let store = Memory::new();
    let behaviour = Behaviour { duplicate_check: DuplicateCheck::Parallel, ..BEHAVIOUR };
    let (seven, first) = (TransactionId::from_bits(7), AttemptNumber::FIRST);
    let sandbox = Sandbox::with(&store, 1, behaviour, 0, |_| Fault::None);
    sandbox.begin(7).await;
    sandbox.put(7, "a", "1");
    assert_eq!(sandbox.session.known(seven, first).await.unwrap(), CommitResult::Committed, "nothing is in the way");
    assert_eq!(sandbox.commit(7, "ok").await, CommitResult::Committed, "the attempt is still open");

    let duplicate = Sandbox::with(&store, 2, behaviour, 0, |_| Fault::None);
    duplicate.begin(7).await;
    assert_eq!(duplicate.session.known(seven, first).await.unwrap(), CommitResult::Duplicate(answer("ok")));
    let away = Sandbox::with(&store, 3, behaviour, 0, |_| Fault::Before(ErrorKind::Rejected));
    away.begin(7).await;
    let known = away.session.known(seven, first).await.unwrap();
    assert!(matches!(known, CommitResult::Failed(ErrorCode::StoreUnavailable, _)), "{known:?}");
}

/// R-COMMIT-3: a write that follows a read is never ordered before it, whatever the clocks say.
#[tokio::test(start_paused = true)]
async fn a_write_after_a_read_wins_although_its_clock_is_behind() {
    let store = Memory::new();
    let ahead = Sandbox::with(&store, 1, BEHAVIOUR, 5_000_000, |_| Fault::None);
    ahead.write(1, &[("balance", "100")]).await;
    let behind = Sandbox::with(&store, 2, BEHAVIOUR, -5_000_000, |_| Fault::None);
    behind.begin(2).await;
    assert_eq!(behind.get(2, "balance").await.as_deref(), Some("100"));
    behind.put(2, "balance", "90");
    assert_eq!(behind.commit(2, "ok").await, CommitResult::Committed);
    assert_eq!(stored(&store, "balance").as_deref(), Some("90"));
}

/// R-COMMIT-4: a write whose reply is lost is not failed: the nonce says that the record is one's own.
#[tokio::test(start_paused = true)]
async fn a_lost_reply_is_resolved_by_the_nonce() {
    let store = Memory::new();
    let first = AtomicBool::new(true);
    let sandbox = Sandbox::faulty(&store, 1, move |call| match call {
        Call::Commit(_) if first.swap(false, Ordering::Relaxed) => Fault::After(ErrorKind::Unknown),
        _ => Fault::None,
    });
    sandbox.begin(1).await;
    sandbox.put(1, "a", "1");
    assert_eq!(sandbox.commit(1, "ok").await, CommitResult::Committed);
    assert_eq!((sandbox.count(is_commit), store.all_records().len()), (2, 1));
    assert_eq!(stored(&store, "a").as_deref(), Some("1"));
}

/// R-COMMIT-4: out of time with the outcome unknown is said so, with what resolves it; it did happen here.
#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_is_never_called_failed() {
    let store = Memory::new();
    let hanging = Sandbox::faulty(&store, 1, |call| if is_commit(call) { Fault::HangAfter } else { Fault::None });
    hanging.begin(1).await;
    hanging.put(1, "a", "1");
    match hanging.commit(1, "ok").await {
        CommitResult::Unknown(ErrorCode::OutcomeUnknown, detail) => {
            assert!(detail.contains("same transaction ID"), "{detail}")
        }
        other => panic!("{other:?}"),
    }
    let retry = Sandbox::new(&store, 2);
    retry.begin(1).await;
    retry.put(1, "a", "again");
    assert_eq!(retry.commit(1, "again").await, CommitResult::Duplicate(answer("ok")));
    assert_eq!(stored(&store, "a").as_deref(), Some("1"));
}

/// R-COMMIT-4: an unknown try followed by a definite refusal is still unknown.
#[tokio::test(start_paused = true)]
async fn a_refusal_after_an_unknown_try_stays_unknown() {
    let store = Memory::new();
    let tries = AtomicUsize::new(0);
    let sandbox = Sandbox::faulty(&store, 1, move |call| match call {
        Call::Commit(_) if tries.fetch_add(1, Ordering::Relaxed) == 0 => Fault::Before(ErrorKind::Unknown),
        Call::Commit(_) => Fault::Before(ErrorKind::Rejected),
        _ => Fault::None,
    });
    sandbox.begin(1).await;
    sandbox.put(1, "a", "1");
    assert!(matches!(sandbox.commit(1, "ok").await, CommitResult::Unknown(ErrorCode::OutcomeUnknown, _)));
}

/// R-COMMIT-4, the other side: what certainly did not happen is failed, and throttling is waited out.
#[tokio::test(start_paused = true)]
async fn throttling_is_waited_out_and_an_outage_fails() {
    let store = Memory::new();
    let tries = AtomicUsize::new(0);
    let throttled = Sandbox::faulty(&store, 1, move |call| match call {
        Call::Commit(_) if tries.fetch_add(1, Ordering::Relaxed) < 5 => Fault::Before(ErrorKind::Unavailable),
        _ => Fault::None,
    });
    throttled.write(1, &[("a", "1")]).await;

    let down = Sandbox::faulty(&store, 2, |call| match call {
        Call::Commit(_) => Fault::Before(ErrorKind::Unavailable),
        _ => Fault::None,
    });
    down.begin(2).await;
    down.put(2, "a", "2");
    let result = down.commit(2, "ok").await;
    assert!(matches!(&result, CommitResult::Failed(ErrorCode::StoreUnavailable, _)), "{result:?}");
    assert_eq!(stored(&store, "a").as_deref(), Some("1"));
}

/// R-COMMIT-5: an older record that is applied late does not move a head back.
#[tokio::test(start_paused = true)]
async fn a_late_apply_loses_to_a_newer_version() {
    let store = Memory::new();
    let released = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&released);
    let slow = Sandbox::faulty(&store, 1, move |call| match call {
        Call::Apply(_) if !gate.load(Ordering::Relaxed) => Fault::Before(ErrorKind::Unavailable),
        _ => Fault::None,
    });
    slow.begin(1).await;
    slow.put(1, "a", "old");
    let commit = slow.commit(1, "ok");
    let newer = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Sandbox::with(&store, 2, BEHAVIOUR, 1_000_000, |_| Fault::None).write(2, &[("a", "new")]).await;
        released.store(true, Ordering::Relaxed);
    };
    let (result, ()) = tokio::join!(commit, newer);
    assert_eq!(result, CommitResult::Committed, "losing to a newer version is success");
    assert_eq!(stored(&store, "a").as_deref(), Some("new"));
}

/// R-COMMIT-6: visible is acknowledged only when every head is applied.
#[tokio::test(start_paused = true)]
async fn visible_waits_for_the_last_head() {
    let store = Memory::new();
    let sandbox = Sandbox::faulty(&store, 1, |call| match call {
        Call::Apply(key) if *key == k("b") => Fault::Slow(Duration::from_secs(2), Duration::ZERO),
        _ => Fault::None,
    });
    sandbox.write(1, &[("a", "1"), ("b", "1")]).await;
    assert_eq!(stored(&store, "b").as_deref(), Some("1"));
}

/// R-COMMIT-6: durable is acknowledged at once, but the sandbox may not freeze before the heads are applied.
#[tokio::test(start_paused = true)]
async fn durable_does_not_wait_but_the_sandbox_does() {
    let store = Memory::new();
    let behaviour = Behaviour { ack: Ack::Durable, ..BEHAVIOUR };
    let sandbox = Sandbox::with(&store, 1, behaviour, 0, |call| {
        if is_apply(call) { Fault::Slow(Duration::from_secs(2), Duration::ZERO) } else { Fault::None }
    });
    sandbox.write(1, &[("a", "1")]).await;
    assert_eq!(stored(&store, "a"), None, "acknowledged before it is visible");
    sandbox.session.quiet(&RequestId::new("r-1"), DEADLINE).await;
    assert_eq!(stored(&store, "a").as_deref(), Some("1"), "the sandbox waited");
}

/// On the one thread that there may be, the answer does not stand behind the making of a request for each head.
#[tokio::test(start_paused = true)]
async fn durable_answers_before_it_makes_the_heads_requests() {
    for (ack, made) in [(Ack::Durable, 0), (Ack::Visible, 2)] {
        let store = Memory::new();
        let sandbox = Sandbox::with(&store, 1, Behaviour { ack, ..BEHAVIOUR }, 0, |_| Fault::None);
        sandbox.begin(1).await;
        sandbox.put(1, "a", "1");
        sandbox.put(1, "b", "1");
        assert_eq!(sandbox.commit(1, "ok").await, CommitResult::Committed);
        assert_eq!(sandbox.count(is_apply), made, "{ack:?}");
        sandbox.session.quiet(&RequestId::new("r-1"), DEADLINE).await;
        assert_eq!(sandbox.count(is_apply), 2);
    }
}

/// Not even the invocation's deadline makes the lifecycle ask for the next event while an apply is pending.
#[tokio::test(start_paused = true)]
async fn a_pending_apply_keeps_the_sandbox_awake_past_the_deadline() {
    let store = Memory::new();
    let behaviour = Behaviour { ack: Ack::Durable, ..BEHAVIOUR };
    let sandbox = Sandbox::with(&store, 1, behaviour, 0, |call| {
        if is_apply(call) { Fault::Slow(3 * DEADLINE, Duration::ZERO) } else { Fault::None }
    });
    sandbox.write(1, &[("a", "1")]).await;
    sandbox.session.quiet(&RequestId::new("r-1"), Duration::ZERO).await;
    assert_eq!(stored(&store, "a").as_deref(), Some("1"));
}

/// The lifecycle does not ask for the next event while the shim has an invocation, and does not wait for a shim that died.
#[tokio::test(start_paused = true)]
async fn the_sandbox_stays_awake_until_the_shim_has_ended_the_invocation_or_died() {
    let store = Memory::new();
    let sandbox = Sandbox::new(&store, 1);
    sandbox.begin(1).await;
    let patience = DEADLINE / 2;
    let request = RequestId::new("r-1");
    assert!(tokio::time::timeout(patience, sandbox.session.quiet(&request, DEADLINE)).await.is_err(), "still running");
    sandbox.end(1);
    sandbox.session.quiet(&request, DEADLINE).await;
    assert!(
        tokio::time::timeout(patience, sandbox.session.quiet(&request, DEADLINE)).await.is_err(),
        "the next one is another"
    );

    sandbox.begin(2).await;
    sandbox.put(2, "a", "1");
    sandbox.session.detach(1);
    sandbox.session.quiet(&RequestId::new("r-2"), DEADLINE).await;
    assert!(matches!(sandbox.try_get(2, "a").await, Err(SessionError::NoTransaction)));
    assert_eq!(sandbox.count(is_commit), 0);
}

/// R-COMMIT-7: a transaction that wrote nothing writes nothing, unless its response is to be recorded.
#[tokio::test(start_paused = true)]
async fn a_transaction_that_wrote_nothing_writes_nothing() {
    let store = Memory::new();
    let sandbox = Sandbox::new(&store, 1);
    sandbox.begin(1).await;
    sandbox.get(1, "a").await;
    assert_eq!(sandbox.commit(1, "ok").await, CommitResult::Committed);
    assert_eq!(sandbox.count(|call| is_commit(call) || is_apply(call)), 0);

    let memoizing = Sandbox::with(&store, 2, Behaviour { memoize_always: true, ..BEHAVIOUR }, 0, |_| Fault::None);
    memoizing.begin(2).await;
    assert_eq!(memoizing.commit(2, "remember me").await, CommitResult::Committed);
    assert_eq!(store.all_records()[0].response, answer("remember me"));
}

/// R-COMMIT-8: an abort leaves no trace, and neither does what the handler itself discarded.
#[tokio::test(start_paused = true)]
async fn an_aborted_attempt_leaves_no_trace() {
    let store = Memory::new();
    let sandbox = Sandbox::new(&store, 1);
    sandbox.begin(1).await;
    sandbox.put(1, "a", "1");
    let aborted = sandbox.session.abort(TransactionId::from_bits(1), AttemptNumber::FIRST).await.unwrap();
    assert_eq!(aborted, Aborted::Gone);

    sandbox.begin(2).await;
    sandbox.put(2, "a", "2");
    sandbox.session.discard(named(2)).unwrap();
    assert_eq!(sandbox.commit(2, "released all the same").await, CommitResult::Committed);

    assert_eq!(sandbox.count(|call| is_commit(call) || is_apply(call)), 0);
    assert_eq!(stored(&store, "a"), None);
}

/// R-COMMIT-8: the second attempt starts from nothing, and the first's late commit is refused.
#[tokio::test(start_paused = true)]
async fn a_retry_does_not_see_the_failed_attempt_and_the_failed_attempt_cannot_commit() {
    let store = Memory::new();
    let sandbox = Sandbox::new(&store, 1);
    let (first, second) = (AttemptNumber::FIRST, AttemptNumber::FIRST.next());
    sandbox.begin_attempt(1, first).await;
    sandbox.put(1, "a", "half");
    sandbox.begin_attempt(1, second).await;
    assert_eq!(sandbox.get(1, "a").await, None);
    sandbox.put(1, "b", "whole");
    let late = sandbox.session.commit(TransactionId::from_bits(1), first, answer("late")).await;
    assert!(matches!(late, Err(SessionError::OtherTransaction(_))), "{late:?}");
    assert_eq!(sandbox.commit(1, "ok").await, CommitResult::Committed);
    assert_eq!((stored(&store, "a"), stored(&store, "b").as_deref()), (None, Some("whole")));
}

/// R-FM-2: the next transaction commits only after the previous one is applied, and its record says so.
#[tokio::test(start_paused = true)]
async fn the_next_commit_waits_for_the_previous_apply_and_says_so() {
    let store = Memory::new();
    let behaviour = Behaviour { ack: Ack::Durable, ..BEHAVIOUR };
    let slow = |call: &Call| {
        if is_apply(call) { Fault::Slow(Duration::from_secs(2), Duration::ZERO) } else { Fault::None }
    };
    let sandbox = Sandbox::with(&store, 1, behaviour, 0, slow);
    sandbox.write(1, &[("a", "1")]).await;
    sandbox.write(2, &[("b", "2")]).await;
    assert_eq!(stored(&store, "a").as_deref(), Some("1"), "applied before the second record was written");
    let records = store.all_records();
    assert_eq!(records[1].applied_through, records[0].version);
}

/// R-FM-2: an apply that failed for good blocks the sandbox's next commit, loudly, instead of being passed over.
#[tokio::test(start_paused = true)]
async fn a_failed_apply_is_tried_again_before_anything_else_commits() {
    let store = Memory::new();
    let broken = Arc::new(AtomicBool::new(true));
    let gate = Arc::clone(&broken);
    let sandbox = Sandbox::faulty(&store, 1, move |call| match call {
        Call::Apply(_) if gate.load(Ordering::Relaxed) => Fault::Before(ErrorKind::Rejected),
        _ => Fault::None,
    });
    sandbox.begin(1).await;
    sandbox.put(1, "a", "1");
    assert!(matches!(sandbox.commit(1, "ok").await, CommitResult::Unknown(ErrorCode::NotVisible, _)));
    sandbox.begin(2).await;
    sandbox.put(2, "b", "2");
    assert!(matches!(sandbox.commit(2, "ok").await, CommitResult::Failed(ErrorCode::StoreUnavailable, _)));
    broken.store(false, Ordering::Relaxed);
    sandbox.write(3, &[("c", "3")]).await;
    assert_eq!(stored(&store, "a").as_deref(), Some("1"));
}

/// R-FM-3: a reader that sees a record ahead of a head rolls it forward, the whole of it.
#[tokio::test(start_paused = true)]
async fn a_reader_rolls_forward_what_it_finds() {
    let store = Memory::new();
    let dying = Sandbox::faulty(&store, 1, |call| match call {
        Call::Apply(key) if *key != k("a") => Fault::HangBefore,
        _ => Fault::None,
    });
    dying.begin(1).await;
    for key in ["a", "b", "c"] {
        dying.put(1, key, "1");
    }
    let result = dying.commit(1, "ok").await;
    assert!(matches!(result, CommitResult::Unknown(ErrorCode::NotVisible, _)), "{result:?}");

    let reader = Sandbox::new(&store, 2);
    reader.begin(2).await;
    assert_eq!(reader.get(2, "a").await.as_deref(), Some("1"));
    assert_eq!(reader.get(2, "b").await.as_deref(), Some("1"), "from the record");
    reader.session.applied().await;
    assert_eq!((stored(&store, "b").as_deref(), stored(&store, "c").as_deref()), (Some("1"), Some("1")));
}

/// A commit answers before the deadline, whatever the store does.
#[tokio::test(start_paused = true)]
async fn a_commit_never_outlives_its_invocation() {
    let store = Memory::new();
    for stuck in [Fault::HangBefore, Fault::HangAfter, Fault::Before(ErrorKind::Unknown)] {
        let sandbox = Sandbox::faulty(&store, 1, move |_| stuck);
        sandbox.begin(9).await;
        sandbox.put(9, "a", "1");
        let limit = Duration::from_millis(DEADLINE_MS);
        tokio::time::timeout(limit, sandbox.commit(9, "ok")).await.expect("an answer in time");
    }
}

/// R-COMMIT-9 for what the user does not write but the record keeps.
#[tokio::test(start_paused = true)]
async fn what_only_people_read_is_bounded() {
    let store = Memory::new();
    let sandbox = Sandbox::new(&store, 1);
    let begin = Begin { origin: "é".repeat(1_000), ..sandbox.event(1, AttemptNumber::FIRST) };
    sandbox.session.begin(begin).await.unwrap();
    sandbox.put(1, "a", "1");
    assert_eq!(sandbox.commit(1, "ok").await, CommitResult::Committed);
    assert_eq!(store.all_records()[0].origin.len(), limits::ORIGIN_BYTES);

    sandbox.begin(2).await;
    sandbox.put(2, "b", "2");
    let response = Response { content_type: Some("x".repeat(257)), body: "ok".into() };
    let result = sandbox.session.commit(TransactionId::from_bits(2), AttemptNumber::FIRST, response).await.unwrap();
    assert!(matches!(result, CommitResult::Failed(ErrorCode::InvalidContentType, _)), "{result:?}");
    assert_eq!(stored(&store, "b"), None);
}
