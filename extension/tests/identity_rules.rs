//! What a transaction ID that its client chose must never do, and what claims do for callers; each test fails without its
//! rule.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::time::Duration;

use aft_extension::session::{Aborted, Begun, Behaviour, CommitResult, DuplicateCheck, SessionError};
use aft_protocol::id::{AttemptNumber, Fingerprint, RequestId, TransactionId};
use aft_protocol::wire::Begin;
use aft_store::ErrorKind;
use aft_store::faults::{Call, Fault};
use aft_store::memory::Memory;
use support::{BEHAVIOUR, DEADLINE_MS, Sandbox, answer, is_apply, k, stored};
use tokio::time::sleep;

const KEY: u128 = 7;
const REFUSE: Behaviour = Behaviour { refuse_in_progress: true, ..BEHAVIOUR };

/// The same transaction in an invocation of its own, as a client's key makes it.
fn delivery(sandbox: &Sandbox, request: &str, payload: &str) -> Begin {
    Begin {
        request: RequestId::new(request),
        fingerprint: Fingerprint::of(payload.as_bytes()),
        ..sandbox.event(KEY, AttemptNumber::FIRST)
    }
}

fn checking(store: &Memory, seed: u64, duplicate_check: DuplicateCheck) -> Sandbox {
    Sandbox::with(store, seed, Behaviour { duplicate_check, ..BEHAVIOUR }, 0, |_| Fault::None)
}

fn refusing(store: &Memory, seed: u64) -> Sandbox {
    Sandbox::with(store, seed, REFUSE, 0, |_| Fault::None)
}

fn claims(sandbox: &Sandbox) -> usize {
    sandbox.count(|call| matches!(call, Call::Claim(_)))
}

async fn committed(store: &Memory) {
    let first = Sandbox::new(store, 1);
    first.session.begin(delivery(&first, "r-1", "pay 5")).await.unwrap();
    first.put(KEY, "balance", "5");
    assert_eq!(first.commit(KEY, "paid 5").await, CommitResult::Committed);
}

/// R-COMMIT-2 across invocations: one key, two request IDs, two sandboxes, one answer.
#[tokio::test(start_paused = true)]
async fn a_key_is_answered_from_its_commit_in_another_invocation_and_sandbox() {
    let store = Memory::new();
    committed(&store).await;
    let second = checking(&store, 2, DuplicateCheck::Before);
    let begun = second.session.begin(delivery(&second, "r-2", "pay 5")).await.unwrap();
    assert_eq!(begun, Begun::Duplicate(answer("paid 5")));
    assert_eq!(store.all_records().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn another_payload_is_refused_at_begin() {
    let store = Memory::new();
    committed(&store).await;
    let second = checking(&store, 2, DuplicateCheck::Before);
    let begun = second.session.begin(delivery(&second, "r-2", "pay 500")).await.unwrap();
    assert_eq!(begun, Begun::Mismatch);
}

/// Wherever the record is met: by the conditional write, by a look-up with nothing to write, by an abort.
#[tokio::test(start_paused = true)]
async fn another_payload_is_refused_at_commit_and_at_abort() {
    let store = Memory::new();
    committed(&store).await;
    for duplicate_check in [DuplicateCheck::CommitOnly, DuplicateCheck::Parallel] {
        let second = checking(&store, 2, duplicate_check);
        second.session.begin(delivery(&second, "r-2", "pay 500")).await.unwrap();
        second.put(KEY, "balance", "500");
        assert_eq!(second.commit(KEY, "paid 500").await, CommitResult::Mismatch);
        assert_eq!(second.count(is_apply), 0);
    }
    let second = checking(&store, 3, DuplicateCheck::Parallel);
    second.session.begin(delivery(&second, "r-2", "pay 500")).await.unwrap();
    assert_eq!(second.commit(KEY, "nothing to do").await, CommitResult::Mismatch);

    second.session.begin(delivery(&second, "r-3", "pay 500")).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    let aborted = second.session.abort(TransactionId::from_bits(KEY), AttemptNumber::FIRST).await.unwrap();
    assert_eq!(aborted, Aborted::Mismatch);
    assert_eq!(stored(&store, "balance").as_deref(), Some("5"));
}

/// By default both run, one commits, and both get its answer (`concurrent_duplicates_commit_once_and_answer_alike`).
#[tokio::test(start_paused = true)]
async fn without_the_setting_nothing_is_claimed() {
    let store = Memory::new();
    let sandbox = Sandbox::new(&store, 1);
    sandbox.write(KEY, &[("balance", "5")]).await;
    assert_eq!(claims(&sandbox), 0);
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_is_refused_while_the_first_runs_and_replayed_when_it_has_committed() {
    let store = Memory::new();
    let (first, second) = (refusing(&store, 1), refusing(&store, 2));
    assert_eq!(first.session.begin(delivery(&first, "r-1", "pay 5")).await.unwrap(), Begun::Open);
    assert_eq!(second.session.begin(delivery(&second, "r-2", "pay 5")).await.unwrap(), Begun::InProgress);
    assert!(matches!(second.try_get(KEY, "balance").await, Err(SessionError::NoTransaction)), "it did not begin");

    first.put(KEY, "balance", "5");
    assert_eq!(first.commit(KEY, "paid 5").await, CommitResult::Committed);
    first.session.release(&RequestId::new("r-1")).await;
    assert!(store.claim_on(TransactionId::from_bits(KEY)).is_some(), "the record outlives it: nothing to give back");
    let begun = second.session.begin(delivery(&second, "r-2", "pay 5")).await.unwrap();
    assert_eq!(begun, Begun::Duplicate(answer("paid 5")));
    let begun = second.session.begin(delivery(&second, "r-3", "pay 500")).await.unwrap();
    assert_eq!(begun, Begun::Mismatch, "and another payload is still another payload");
}

#[tokio::test(start_paused = true)]
async fn a_retry_within_the_invocation_keeps_its_claim_and_a_failed_invocation_gives_it_back() {
    let store = Memory::new();
    let (first, second) = (refusing(&store, 1), refusing(&store, 2));
    let transaction = TransactionId::from_bits(KEY);
    let begin = delivery(&first, "r-1", "pay 5");
    for attempt in [AttemptNumber::FIRST, AttemptNumber::FIRST.next()] {
        let begun = first.session.begin(Begin { attempt, ..begin.clone() }).await.unwrap();
        assert_eq!(begun, Begun::Open);
        assert_eq!(second.session.begin(delivery(&second, "r-2", "pay 5")).await.unwrap(), Begun::InProgress);
        assert_eq!(first.session.abort(transaction, attempt).await.unwrap(), Aborted::Gone);
    }
    assert_eq!(claims(&first), 1, "one write for all attempts");
    first.session.release(&RequestId::new("r-1")).await;
    assert_eq!(second.session.begin(delivery(&second, "r-2", "pay 5")).await.unwrap(), Begun::Open);
}

/// R-COMMIT-7 leaves no record that could outlive the claim.
#[tokio::test(start_paused = true)]
async fn an_invocation_that_wrote_nothing_gives_its_claim_back() {
    let store = Memory::new();
    let (first, second) = (refusing(&store, 1), refusing(&store, 2));
    first.session.begin(delivery(&first, "r-1", "read")).await.unwrap();
    assert_eq!(first.commit(KEY, "nothing").await, CommitResult::Committed);
    first.session.release(&RequestId::new("r-1")).await;
    assert_eq!(second.session.begin(delivery(&second, "r-2", "read")).await.unwrap(), Begun::Open);
}

/// Nobody gives back the claim of a sandbox that died: its invocation's deadline does, and five seconds for the clocks.
#[tokio::test(start_paused = true)]
async fn a_dead_sandboxs_claim_ends_after_its_deadline() {
    let store = Memory::new();
    let (first, second) = (refusing(&store, 1), refusing(&store, 2));
    first.session.begin(delivery(&first, "r-1", "pay 5")).await.unwrap();
    first.put(KEY, "balance", "5");
    sleep(Duration::from_millis(DEADLINE_MS + 5_000)).await;
    assert_eq!(second.session.begin(delivery(&second, "r-2", "pay 5")).await.unwrap(), Begun::InProgress);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(second.session.begin(delivery(&second, "r-2", "pay 5")).await.unwrap(), Begun::Open);

    // Not dead after all: R-COMMIT-2 decides, not the claim.
    second.put(KEY, "balance", "other");
    assert_eq!(second.commit(KEY, "paid by the second").await, CommitResult::Committed);
    let late = first.commit(KEY, "paid by the first").await;
    // Its own deadline is over: it has no time left to answer from the record.
    assert!(matches!(late, CommitResult::Unknown(..)), "{late:?}");
    let records = store.all_records();
    assert_eq!((records.len(), &records[0].response), (1, &answer("paid by the second")));
}

/// A claim whose reply was lost is found to be one's own; one that cannot be taken at all fails the begin, and nothing runs.
#[tokio::test(start_paused = true)]
async fn a_lost_reply_to_a_claim_is_resolved_and_a_refusal_of_the_store_is_told() {
    let store = Memory::new();
    let once = std::sync::atomic::AtomicBool::new(true);
    let sandbox = Sandbox::with(&store, 1, REFUSE, 0, move |call| match call {
        Call::Claim(_) if once.swap(false, std::sync::atomic::Ordering::Relaxed) => Fault::After(ErrorKind::Unknown),
        _ => Fault::None,
    });
    assert_eq!(sandbox.session.begin(delivery(&sandbox, "r-1", "pay 5")).await.unwrap(), Begun::Open);
    assert_eq!(claims(&sandbox), 2);

    let refused = Sandbox::with(&store, 2, REFUSE, 0, |call| match call {
        Call::Claim(_) => Fault::Before(ErrorKind::Rejected),
        _ => Fault::None,
    });
    assert!(matches!(refused.try_begin(8, AttemptNumber::FIRST).await, Err(SessionError::Store(_))));
    assert!(matches!(refused.try_get(8, "balance").await, Err(SessionError::NoTransaction)));
    assert_eq!(store.head_of(&k("balance")).current.value, None);
}
