//! R-SER-1 to R-SER-6: commits that insist on what was read. Each test fails without its rule.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aft_extension::session::{
    Aborted, Behaviour, CommitResult, Explicit, Freshness, Named, Precondition, SessionError, Started,
};
use aft_protocol::id::{AttemptNumber, Fingerprint, TransactionId};
use aft_protocol::isolation::Isolation;
use aft_protocol::limits;
use aft_protocol::record::Writes;
use aft_protocol::wire::ErrorCode;
use aft_store::ErrorKind;
use aft_store::faults::{Call, Fault};
use aft_store::memory::Memory;
use support::{BEHAVIOUR, Sandbox, answer, is_apply, is_commit, k, named, stored, v};

const SERIALIZABLE: Behaviour = Behaviour { isolation: Isolation::Serializable, ..BEHAVIOUR };

fn sandbox(store: &Memory, seed: u64) -> Sandbox {
    Sandbox::with(store, seed, SERIALIZABLE, 0, |_| Fault::None)
}

fn faulty(store: &Memory, seed: u64, plan: impl Fn(&Call) -> Fault + Send + Sync + 'static) -> Sandbox {
    Sandbox::with(store, seed, SERIALIZABLE, 0, plan)
}

fn is_step(call: &Call) -> bool {
    matches!(call, Call::CommitIf(..))
}

fn is_validation(call: &Call) -> bool {
    matches!(call, Call::Validate(_))
}

/// What the first steps meet, one after the other; all later ones succeed.
fn steps_meet(faults: &'static [Fault]) -> impl Fn(&Call) -> Fault + Send + Sync + 'static {
    let count = AtomicU64::new(0);
    move |call| {
        let of_step = |_| faults.get(count.fetch_add(1, Ordering::Relaxed) as usize).copied();
        Some(call).filter(|call| is_step(call)).and_then(of_step).unwrap_or(Fault::None)
    }
}

fn conflict(result: &CommitResult) -> &str {
    match result {
        CommitResult::Conflict(ErrorCode::CommitConflict, why) => why,
        other => panic!("no conflict: {other:?}"),
    }
}

/// The classic: two that read a balance and write it back. One of them must read it again.
#[tokio::test(start_paused = true)]
async fn r_ser_1_an_update_is_never_lost() {
    let store = Memory::new();
    let (one, other) = (sandbox(&store, 1), sandbox(&store, 2));
    one.write(1, &[("balance", "100")]).await;
    let before = store.head_of(&k("balance")).current.version;
    one.begin(2).await;
    other.begin(3).await;
    for (sandbox, transaction) in [(&one, 2), (&other, 3)] {
        assert_eq!(sandbox.get(transaction, "balance").await.as_deref(), Some("100"));
        sandbox.put(transaction, "balance", &format!("by {transaction}"));
    }
    assert_eq!(one.commit(2, "ok").await, CommitResult::Committed);
    let after = store.head_of(&k("balance")).current.version;
    let refused = other.commit(3, "ok").await;
    let why = conflict(&refused);
    assert_eq!(why, format!("\"balance\" was at {before} when it was read and is at {after} now"));
    assert_eq!(store.all_records().len(), 2, "R-SER-4: nothing was written");
    other.begin_attempt(3, AttemptNumber::FIRST.next()).await;
    assert_eq!(other.get(3, "balance").await.as_deref(), Some("by 2"));
    other.put(3, "balance", "by 3");
    assert_eq!(other.commit(3, "ok").await, CommitResult::Committed);
    assert_eq!(stored(&store, "balance").as_deref(), Some("by 3"));
}

/// Two that each look at both and change one: neither may decide on what the other has changed.
#[tokio::test(start_paused = true)]
async fn r_ser_1_what_was_only_read_is_insisted_on() {
    let store = Memory::new();
    let (one, other) = (sandbox(&store, 1), sandbox(&store, 2));
    one.write(1, &[("ann on call", "yes"), ("bob on call", "yes")]).await;
    one.begin(2).await;
    other.begin(3).await;
    for (sandbox, transaction, leaves) in [(&one, 2, "ann on call"), (&other, 3, "bob on call")] {
        sandbox.get_all(transaction, &["ann on call", "bob on call"]).await;
        sandbox.put(transaction, leaves, "no");
    }
    assert_eq!(one.commit(2, "ok").await, CommitResult::Committed);
    assert!(conflict(&other.commit(3, "ok").await).starts_with("\"ann on call\" was at "));
    assert_eq!(stored(&store, "bob on call").as_deref(), Some("yes"));
}

/// That there is no such key was read as well as anything.
#[tokio::test(start_paused = true)]
async fn r_ser_1_absence_is_insisted_on() {
    for written in ["name", "another"] {
        let store = Memory::new();
        let (one, other) = (sandbox(&store, 1), sandbox(&store, 2));
        other.begin(2).await;
        assert_eq!(other.get(2, "name").await, None);
        other.put(2, written, "taken by 2");
        one.write(1, &[("name", "taken by 1")]).await;
        let refused = other.commit(2, "ok").await;
        assert!(conflict(&refused).starts_with("\"name\" was absent when it was read and is at "), "{refused:?}");
        assert_eq!(stored(&store, "name").as_deref(), Some("taken by 1"));
    }
}

#[tokio::test(start_paused = true)]
async fn r_ser_1_a_deleted_key_is_insisted_on_like_any_other() {
    let store = Memory::new();
    let (one, other) = (sandbox(&store, 1), sandbox(&store, 2));
    one.write(1, &[("a", "1")]).await;
    one.begin(2).await;
    one.delete(2, "a");
    one.commit(2, "ok").await;
    other.begin(3).await;
    assert_eq!(other.get(3, "a").await, None);
    other.put(3, "b", "a is gone");
    assert_eq!(other.commit(3, "ok").await, CommitResult::Committed);
}

/// Record and heads are one call, and nothing is left to apply, also for a blind write of several keys.
#[tokio::test(start_paused = true)]
async fn r_ser_1_record_and_heads_are_one_step() {
    let store = Memory::new();
    let sandbox = sandbox(&store, 1);
    sandbox.write(1, &[("a", "1"), ("b", "1"), ("c", "1")]).await;
    assert_eq!((sandbox.count(is_step), sandbox.count(is_commit), sandbox.count(is_apply)), (1, 0, 0));
    assert_eq!(stored(&store, "c").as_deref(), Some("1"));
    assert_eq!(sandbox.breaches.lock().unwrap().len(), 0);
    sandbox.write(2, &[("a", "2")]).await;
    let applied = store.all_records().into_iter().map(|record| record.applied_through).max().unwrap();
    assert_eq!(
        applied,
        store.head_of(&k("b")).current.version,
        "R-FM-2: the next record says that the first is applied"
    );
}

/// A version that fits what was read, but is not the newest, would only delay the conflict.
#[tokio::test(start_paused = true)]
async fn r_ser_1_an_attempt_that_cannot_commit_ends_at_the_read() {
    let store = Memory::new();
    let (one, other) = (sandbox(&store, 1), sandbox(&store, 2));
    one.write(1, &[("a", "1"), ("b", "1")]).await;
    other.begin(2).await;
    other.get(2, "a").await;
    one.write(3, &[("a", "3"), ("b", "3")]).await;
    assert!(matches!(other.try_get(2, "b").await, Err(SessionError::ReadConflict(key)) if key == k("b")));
    let aborted = other.session.abort(TransactionId::from_bits(2), AttemptNumber::FIRST).await.unwrap();
    let newest = store.head_of(&k("b")).current.version;
    assert!(matches!(&aborted, Aborted::Conflict(why) if why.contains(&newest.to_string())), "{aborted:?}");
}

/// A clock that is behind must not make a blind write older than what it writes over; nor is that anybody's conflict.
#[tokio::test(start_paused = true)]
async fn r_ser_2_a_blind_write_insists_on_nothing_and_is_still_the_newest() {
    for look_ups in [0, 1, 10] {
        let store = Memory::new();
        let ahead = Sandbox::with(&store, 1, SERIALIZABLE, 5_000_000, |_| Fault::None);
        let behind = Sandbox::with(&store, 2, Behaviour { look_ups, ..SERIALIZABLE }, -5_000_000, |_| Fault::None);
        ahead.write(1, &[("a", "ahead"), ("b", "ahead")]).await;
        behind.write(2, &[("a", "behind"), ("b", "behind")]).await;
        assert_eq!((stored(&store, "a"), stored(&store, "b")), (Some("behind".into()), Some("behind".into())));
        assert_eq!(behind.count(is_step), if look_ups > 0 { 1 } else { 2 });
    }
}

/// A sum over two transactions' halves never was.
#[tokio::test(start_paused = true)]
async fn r_ser_3_what_only_read_is_validated_before_its_answer() {
    let store = Memory::new();
    let (one, auditor) = (sandbox(&store, 1), sandbox(&store, 2));
    one.write(1, &[("a", "50")]).await;
    one.write(2, &[("b", "50")]).await;
    for discards in [false, true] {
        auditor.begin(3).await;
        auditor.get(3, "a").await;
        one.write(4 + u128::from(discards), &[("a", "0")]).await;
        one.write(6 + u128::from(discards), &[("b", "100")]).await;
        auditor.get(3, "b").await;
        if discards {
            auditor.session.discard(named(3)).unwrap();
        }
        assert!(conflict(&auditor.commit(3, "150").await).starts_with("\"a\" was at "), "discards: {discards}");
        auditor.end(3);
    }
    auditor.begin(3).await;
    for key in ["a", "b", "never written"] {
        auditor.get(3, key).await;
    }
    assert_eq!(auditor.commit(3, "100").await, CommitResult::Committed);
    assert_eq!((auditor.count(is_validation), auditor.count(is_step)), (3, 0));
}

fn is_at_once(call: &Call) -> bool {
    matches!(call, Call::HeadsAtOnce(_))
}

/// An attempt whose validation found that it was overtaken.
async fn overtaken(auditor: &Sandbox, other: &Sandbox, transaction: u128) {
    auditor.begin(transaction).await;
    auditor.get_all(transaction, &["a", "b"]).await;
    other.write(transaction + 10, &[("a", "0"), ("b", "100")]).await;
    conflict(&auditor.commit(transaction, "ok").await);
}

/// Who was overtaken reads at one moment what the next attempt begins with: that is proof enough, whatever happens then. With one
/// key more, or a write, it must be shown as always.
#[tokio::test(start_paused = true)]
async fn r_ser_3_who_read_in_vain_reads_at_once() {
    for (then, fits) in [("end", true), ("read", false), ("write", false)] {
        let store = Memory::new();
        let (one, auditor) = (sandbox(&store, 1), sandbox(&store, 2));
        one.write(1, &[("a", "50"), ("b", "50")]).await;
        overtaken(&auditor, &one, 2).await;
        assert_eq!((auditor.count(is_at_once), auditor.count(is_validation)), (0, 1));
        auditor.begin_attempt(2, AttemptNumber::FIRST.next()).await;
        auditor.get_all(2, &["a", "b"]).await;
        match then {
            "read" => drop(auditor.get(2, "c").await),
            "write" => auditor.put(2, "c", "both are fine"),
            _ => {}
        }
        one.write(20, &[("a", "50"), ("b", "50")]).await;
        let result = auditor.commit(2, "ok").await;
        assert_eq!(result == CommitResult::Committed, fits, "{then}: {result:?}");
        let validations = if then == "read" { 2 } else { 1 };
        assert_eq!((auditor.count(is_at_once), auditor.count(is_validation)), (1, validations), "{then}");
        auditor.begin(3).await;
        auditor.get_all(3, &["a", "b"]).await;
        assert_eq!(auditor.count(is_at_once), 1, "another transaction has not read in vain");
    }
}

/// Where others are always in the way, or the heads are too large for one answer, it is read key by key, and validated.
#[tokio::test(start_paused = true)]
async fn r_ser_3_what_cannot_be_read_at_once_is_validated() {
    for (fault, calls) in [(Fault::Contended, 6), (Fault::Before(ErrorKind::Rejected), 1)] {
        let store = Memory::new();
        let one = sandbox(&store, 2);
        let auditor = faulty(&store, 1, move |call| if is_at_once(call) { fault } else { Fault::None });
        overtaken(&auditor, &one, 2).await;
        auditor.begin_attempt(2, AttemptNumber::FIRST.next()).await;
        auditor.get_all(2, &["a", "b"]).await;
        assert_eq!(auditor.commit(2, "ok").await, CommitResult::Committed);
        assert_eq!((auditor.count(is_at_once), auditor.count(is_validation)), (calls, 2), "{fault:?}");
    }
}

/// An error that comes of a sum that never was is no error of the handler's: it is run again. One that comes of what was there is.
#[tokio::test(start_paused = true)]
async fn r_ser_3_an_error_that_comes_of_what_never_was_is_a_conflict() {
    for (isolation, overtaken) in
        [(Isolation::Serializable, true), (Isolation::Serializable, false), (Isolation::ReadAtomic, true)]
    {
        let store = Memory::new();
        let one = sandbox(&store, 1);
        let auditor = Sandbox::with(&store, 2, Behaviour { isolation, ..BEHAVIOUR }, 0, |_| Fault::None);
        one.write(1, &[("a", "50")]).await;
        one.write(2, &[("b", "50")]).await;
        auditor.begin(3).await;
        auditor.get(3, "a").await;
        if overtaken {
            one.write(4, &[("a", "0")]).await;
            one.write(5, &[("b", "100")]).await;
        }
        auditor.get(3, "b").await;
        auditor.put(3, "alarm", "the sum is wrong");
        let aborted = auditor.session.abort(TransactionId::from_bits(3), AttemptNumber::FIRST).await.unwrap();
        let is_conflict = matches!(&aborted, Aborted::Conflict(why) if why.starts_with("\"a\" was at "));
        assert_eq!(is_conflict, overtaken && isolation.is_serializable(), "{isolation}, {overtaken}: {aborted:?}");
        assert!(is_conflict || aborted == Aborted::Gone);
        assert_eq!(stored(&store, "alarm"), None, "R-COMMIT-8");
    }
}

/// One key was at one version at one moment, whatever came of it.
#[tokio::test(start_paused = true)]
async fn r_ser_3_a_single_key_needs_no_validation() {
    let store = Memory::new();
    let sandbox = sandbox(&store, 1);
    sandbox.begin(1).await;
    sandbox.get(1, "a").await;
    assert_eq!(sandbox.commit(1, "ok").await, CommitResult::Committed);
    assert_eq!(sandbox.count(is_validation), 0);
}

/// A read-only transaction that leaves a record insists on what it has read where it leaves it.
#[tokio::test(start_paused = true)]
async fn r_ser_3_a_recorded_answer_is_as_true_as_any() {
    let store = Memory::new();
    let (one, auditor) = (sandbox(&store, 1), sandbox(&store, 2));
    let wanted = |isolation| Explicit {
        transaction: TransactionId::from_bits(9),
        fingerprint: Fingerprint::of(b"{}"),
        origin: "test/9".to_owned(),
        isolation,
    };
    auditor.begin(1).await;
    for (isolation, fits) in [(None, false), (Some(Isolation::ReadAtomic), true)] {
        let started = auditor.session.begin_explicit(Named::default(), wanted(isolation)).await.unwrap();
        assert!(matches!(started, Started::Open(_)));
        auditor.get(9, "a").await;
        one.write(2 + u128::from(fits), &[("a", "new")]).await;
        let result = auditor.session.commit_explicit(named(9), answer("a is empty")).await.unwrap();
        assert_eq!(result == CommitResult::Committed, fits, "{result:?}");
    }
}

/// The reply is lost, and the same content is sent again: it has happened once.
#[tokio::test(start_paused = true)]
async fn r_ser_4_a_step_whose_reply_is_lost_is_tried_again_with_the_same_content() {
    let store = Memory::new();
    let sandbox = faulty(&store, 1, steps_meet(&[Fault::After(ErrorKind::Unknown), Fault::Before(ErrorKind::Unknown)]));
    sandbox.begin(1).await;
    sandbox.get(1, "a").await;
    sandbox.put(1, "a", "1");
    assert_eq!(sandbox.commit(1, "ok").await, CommitResult::Committed);
    assert_eq!((store.all_records().len(), sandbox.count(is_step)), (1, 3));
}

/// Nobody knows what became of the first try; but what it insisted on is gone for good, so it can never take effect.
#[tokio::test(start_paused = true)]
async fn r_ser_4_a_conflict_is_certain_even_after_a_try_without_an_answer() {
    let store = Memory::new();
    let other = sandbox(&store, 2);
    let one = faulty(&store, 1, steps_meet(&[Fault::Before(ErrorKind::Unknown)]));
    one.begin(1).await;
    one.get(1, "a").await;
    one.put(1, "a", "one");
    let committing = {
        let session = one.session.clone();
        let id = TransactionId::from_bits(1);
        tokio::spawn(async move { session.commit(id, AttemptNumber::FIRST, answer("ok")).await.unwrap() })
    };
    tokio::time::sleep(Duration::from_millis(1)).await;
    other.write(2, &[("a", "other")]).await;
    conflict(&committing.await.unwrap());
    assert_eq!((one.count(is_step), store.all_records().len()), (2, 1));
    assert!(one.calls().iter().any(|call| matches!(call, Call::Records(_))), "it was looked for");
}

/// DynamoDB does not promise to name every obstacle: where it names the heads that this attempt has moved itself, the record
/// tells whose they are.
#[tokio::test(start_paused = true)]
async fn r_ser_4_an_attempt_does_not_conflict_with_itself() {
    let store = Memory::new();
    let sandbox = faulty(&store, 1, steps_meet(&[Fault::After(ErrorKind::Unknown), Fault::Reticent]));
    sandbox.begin(1).await;
    sandbox.get(1, "a").await;
    sandbox.put(1, "a", "1");
    assert_eq!(sandbox.commit(1, "ok").await, CommitResult::Committed);
    assert_eq!(sandbox.count(is_step), 2);
}

/// Out of time with a try that may have taken effect: that is unknown, and the same transaction ID resolves it.
#[tokio::test(start_paused = true)]
async fn r_ser_4_what_may_have_happened_is_unknown_and_no_conflict() {
    for faults in [&[Fault::HangAfter; 100][..], &[Fault::After(ErrorKind::Unknown); 1]] {
        let store = Memory::new();
        let contended_after = move |call: &Call, count: &AtomicU64| match is_step(call) {
            true => faults.get(count.fetch_add(1, Ordering::Relaxed) as usize).copied().unwrap_or(Fault::Contended),
            false => Fault::None,
        };
        let count = AtomicU64::new(0);
        let one = faulty(&store, 1, move |call| contended_after(call, &count));
        one.begin(1).await;
        one.get(1, "a").await;
        one.put(1, "a", "1");
        let result = one.commit(1, "ok").await;
        assert!(matches!(result, CommitResult::Unknown(ErrorCode::OutcomeUnknown, _)), "{result:?}");
        let next = sandbox(&store, 2);
        next.begin(1).await;
        next.put(1, "a", "again");
        assert_eq!(next.commit(1, "again").await, CommitResult::Duplicate(answer("ok")));
    }
}

/// Another transaction under way at the same key may come to nothing; one that is always there does not hold the handler up.
#[tokio::test(start_paused = true)]
async fn r_ser_4_what_is_under_way_is_waited_for_a_few_times() {
    let store = Memory::new();
    let patient = faulty(&store, 1, steps_meet(&[Fault::Contended; 3]));
    patient.write(1, &[("a", "1")]).await;
    assert_eq!(patient.count(is_step), 4);
    let crowded = faulty(&store, 2, |call| match call {
        Call::CommitIf(..) | Call::Validate(_) => Fault::Contended,
        _ => Fault::None,
    });
    crowded.begin(2).await;
    crowded.get(2, "a").await;
    crowded.get(2, "b").await;
    let why = "another transaction is at \"a\"";
    assert!(conflict(&crowded.commit(2, "ok").await).contains(why));
    crowded.begin(3).await;
    crowded.put(3, "a", "3");
    assert!(conflict(&crowded.commit(3, "ok").await).contains(why));
    assert_eq!((crowded.count(is_validation), crowded.count(is_step)), (6, 6));
    assert_eq!(stored(&store, "a").as_deref(), Some("1"));
}

/// Who was faster has moved a head that this one insists on: another try would be refused, and costs more than a look.
#[tokio::test(start_paused = true)]
async fn r_ser_4_what_has_been_overtaken_is_not_tried_again() {
    let store = Memory::new();
    let other = sandbox(&store, 2);
    let one = faulty(&store, 1, |call| match call {
        Call::CommitIf(..) | Call::Validate(_) => Fault::Contended,
        _ => Fault::None,
    });
    for only_reads in [false, true] {
        one.begin(1).await;
        one.get(1, "a").await;
        one.get(1, "b").await;
        if !only_reads {
            one.put(1, "b", "1");
        }
        let session = one.session.clone();
        let id = TransactionId::from_bits(1);
        let committing = tokio::spawn(async move { session.commit(id, AttemptNumber::FIRST, answer("ok")).await });
        tokio::time::sleep(Duration::from_millis(1)).await;
        other.write(2 + u128::from(only_reads), &[("a", "other")]).await;
        assert!(conflict(&committing.await.unwrap().unwrap()).starts_with("\"a\" was "));
        one.end(1);
    }
    assert_eq!((one.count(is_step), one.count(is_validation)), (1, 1));
}

/// What a conflict was about leaves the cache, and an eventually consistent read is not asked again.
#[tokio::test(start_paused = true)]
async fn r_ser_4_the_next_attempt_reads_what_is_there() {
    let store = Memory::new();
    let one = Sandbox::with(&store, 1, Behaviour { reads_strongly: false, ..SERIALIZABLE }, 0, |_| Fault::None);
    let other = sandbox(&store, 2);
    other.write(1, &[("a", "1"), ("b", "1")]).await;
    one.stale.store(true, Ordering::Relaxed);
    let stale = Freshness { max_age_seconds: 60, no_store: false };
    let mut number = AttemptNumber::FIRST;
    for (attempt, seen) in [(1, None), (2, Some("1"))] {
        one.begin_attempt(2, number).await;
        let found = one.session.read_with(named(2), BTreeSet::from([k("a")]), stale).await.unwrap();
        assert_eq!(found[&k("a")].seen.value().map(support::text).as_deref(), seen, "attempt {attempt}");
        one.put(2, "a", "2");
        let result = one.session.commit(TransactionId::from_bits(2), number, answer("ok")).await.unwrap();
        assert_eq!(result == CommitResult::Committed, seen.is_some(), "{result:?}");
        number = number.next();
    }
}

async fn put_if(sandbox: &Sandbox, transaction: u128, key: &str, value: &str, only: Precondition) {
    sandbox.session.write_if(named(transaction), k(key), Some(v(value)), only).await.unwrap();
}

async fn etag(sandbox: &Sandbox, transaction: u128, key: &str) -> Precondition {
    let seen = sandbox.session.read(named(transaction), BTreeSet::from([k(key)])).await.unwrap();
    Precondition::Matches(vec![seen[&k(key)].etag().unwrap()])
}

/// In read-atomic isolation the named key is insisted on, at the price of that key, and nothing else is.
#[tokio::test(start_paused = true)]
async fn r_ser_5_a_condition_holds_at_the_commit_for_the_named_key_only() {
    let store = Memory::new();
    let (one, other) = (Sandbox::new(&store, 1), Sandbox::new(&store, 2));
    one.write(1, &[("stock", "7"), ("views", "7")]).await;
    for (changed, fits) in [("stock", false), ("views", true)] {
        let transaction = if fits { 3 } else { 2 };
        one.begin(transaction).await;
        let only = etag(&one, transaction, "stock").await;
        one.get(transaction, "views").await;
        put_if(&one, transaction, "stock", "6", only).await;
        one.put(transaction, "views", "8");
        other.write(10 + transaction, &[(changed, "changed")]).await;
        let before = (one.count(is_step), one.count(is_apply));
        let result = one.commit(transaction, "ok").await;
        one.end(transaction);
        if fits {
            assert_eq!(result, CommitResult::Committed);
            let applied = one.calls().into_iter().filter(is_apply).skip(before.1).collect::<Vec<_>>();
            assert_eq!(applied, [Call::Apply(k("views"))], "what is not named follows, as always");
        } else {
            conflict(&result);
        }
        let stepped = one.calls().into_iter().rfind(is_step).unwrap();
        assert!(matches!(stepped, Call::CommitIf(_, keys) if keys == BTreeSet::from([k("stock")])));
    }
    assert_eq!((stored(&store, "stock"), stored(&store, "views")), (Some("6".into()), Some("8".into())));
}

/// Of two that create the same key, one does.
#[tokio::test(start_paused = true)]
async fn r_ser_5_what_must_not_exist_is_created_once() {
    let store = Memory::new();
    let (one, other) = (Sandbox::new(&store, 1), Sandbox::new(&store, 2));
    for (sandbox, transaction) in [(&one, 1), (&other, 2)] {
        sandbox.begin(transaction).await;
        put_if(sandbox, transaction, "user/ada", &transaction.to_string(), Precondition::Absent).await;
    }
    assert_eq!(one.commit(1, "ok").await, CommitResult::Committed);
    conflict(&other.commit(2, "ok").await);
    other.begin_attempt(2, AttemptNumber::FIRST.next()).await;
    let taken = other.session.write_if(named(2), k("user/ada"), Some(v("2")), Precondition::Absent).await;
    assert!(matches!(taken, Err(SessionError::PreconditionFailed(_))));
}

/// The attempt's own write is nobody else's business.
#[tokio::test(start_paused = true)]
async fn r_ser_5_a_condition_on_ones_own_write_insists_on_nothing() {
    let store = Memory::new();
    let (one, other) = (Sandbox::new(&store, 1), Sandbox::new(&store, 2));
    one.begin(1).await;
    one.put(1, "a", "1");
    put_if(&one, 1, "a", "2", Precondition::Exists).await;
    other.write(2, &[("a", "other")]).await;
    assert_eq!(one.commit(1, "ok").await, CommitResult::Committed);
    assert_eq!(one.count(is_step), 0);
}

/// Refused where the limit is crossed, whole: none of a batch that is too much joins the read set.
#[tokio::test(start_paused = true)]
async fn r_ser_6_what_one_step_cannot_hold_is_refused_at_once() {
    let store = Memory::new();
    let sandbox = sandbox(&store, 1);
    sandbox.begin(1).await;
    let keys = |range: std::ops::Range<usize>| range.map(|n| k(&n.to_string())).collect::<BTreeSet<_>>();
    let calls = sandbox.calls().len();
    let refused = sandbox.session.read(named(1), keys(0..limits::GUARDED_KEYS + 1)).await;
    assert!(matches!(refused, Err(SessionError::TooLarge(_))), "{refused:?}");
    assert_eq!(sandbox.calls().len(), calls, "not even looked at");
    sandbox.session.read(named(1), keys(0..limits::GUARDED_KEYS)).await.unwrap();
    let refused = sandbox.session.write(named(1), Writes::from([(k("one more"), None)]));
    assert!(matches!(refused, Err(SessionError::TooLarge(_))), "{refused:?}");
    sandbox.put(1, "0", "written");
    assert_eq!(sandbox.commit(1, "ok").await, CommitResult::Committed);
}

/// The journal names nothing that is over: there is nothing left to finish.
#[tokio::test(start_paused = true)]
async fn a_serializable_transaction_reads_its_own_and_is_done_once() {
    let store = Memory::new();
    let sandbox = sandbox(&store, 1);
    sandbox.write(1, &[("a", "1")]).await;
    let duplicate = self::sandbox(&store, 2);
    duplicate.begin(1).await;
    assert_eq!(duplicate.get(1, "a").await.as_deref(), Some("1"));
    duplicate.put(1, "a", "2");
    assert_eq!(duplicate.get(1, "a").await.as_deref(), Some("2"));
    assert_eq!(duplicate.commit(1, "again").await, CommitResult::Duplicate(answer("ok")));
    assert_eq!(stored(&store, "a").as_deref(), Some("1"));
}

/// "Both isolations on one key" (docs/protocol.md), line by line.
mod mixed {
    use super::*;

    /// What became visible is seen, or conflicts.
    #[tokio::test(start_paused = true)]
    async fn a_serializable_transaction_is_protected_from_a_visible_read_atomic_one() {
        let store = Memory::new();
        let (serializable, read_atomic) = (sandbox(&store, 1), Sandbox::new(&store, 2));
        read_atomic.write(1, &[("a", "1")]).await;
        serializable.begin(2).await;
        assert_eq!(serializable.get(2, "a").await.as_deref(), Some("1"));
        serializable.put(2, "a", "2");
        read_atomic.write(3, &[("a", "3")]).await;
        conflict(&serializable.commit(2, "ok").await);
    }

    /// It asks for no protection and gets none: the update in between is lost, unless the key is named.
    #[tokio::test(start_paused = true)]
    async fn a_read_atomic_transaction_is_protected_from_nobody_but_where_it_names_the_key() {
        for names_it in [false, true] {
            let store = Memory::new();
            let (serializable, read_atomic) = (sandbox(&store, 1), Sandbox::new(&store, 2));
            serializable.write(1, &[("a", "1")]).await;
            read_atomic.begin(2).await;
            let only = etag(&read_atomic, 2, "a").await;
            serializable.write(3, &[("a", "2")]).await;
            let only = if names_it { only } else { Precondition::None };
            put_if(&read_atomic, 2, "a", "1 + 1", only).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
            let result = read_atomic.commit(2, "ok").await;
            assert_eq!(result == CommitResult::Committed, !names_it, "{result:?}");
            assert_eq!(stored(&store, "a").as_deref(), Some(if names_it { "2" } else { "1 + 1" }));
        }
    }

    /// A read-atomic write that reaches its head late has lost to what was committed there meanwhile with a greater version;
    /// and of the two keys that it wrote, nobody ever sees one without the other.
    #[tokio::test(start_paused = true)]
    async fn a_read_atomic_write_that_comes_late_has_lost_and_is_never_seen_in_part() {
        let store = Memory::new();
        let applies = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&applies);
        let slow = Sandbox::faulty(&store, 1, move |call| match call {
            Call::Apply(key) if *key == k("a") => {
                seen.fetch_add(1, Ordering::Relaxed);
                Fault::Slow(Duration::from_secs(2), Duration::ZERO)
            }
            _ => Fault::None,
        });
        slow.begin(1).await;
        slow.put(1, "a", "late");
        slow.put(1, "b", "late");
        let session = slow.session.clone();
        let id = TransactionId::from_bits(1);
        let slow_commit = tokio::spawn(async move { session.commit(id, AttemptNumber::FIRST, answer("ok")).await });
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(applies.load(Ordering::Relaxed), 1, "its record is there, b has moved, and a is under way");

        let serializable = sandbox(&store, 2);
        serializable.begin(2).await;
        assert_eq!(serializable.get(2, "a").await, None, "not visible yet");
        serializable.put(2, "a", "serializable");
        assert_eq!(serializable.commit(2, "ok").await, CommitResult::Committed);
        assert_eq!(slow_commit.await.unwrap().unwrap(), CommitResult::Committed);
        assert_eq!(stored(&store, "a").as_deref(), Some("serializable"));

        let reader = sandbox(&store, 3);
        reader.begin(3).await;
        assert_eq!(reader.get(3, "b").await.as_deref(), Some("late"));
        assert_eq!(reader.get(3, "a").await.as_deref(), Some("serializable"), "newer than what came with b");
        assert_eq!(reader.commit(3, "ok").await, CommitResult::Committed);
    }

    /// A read-atomic reader sees a serializable transaction whole, or not at all.
    #[tokio::test(start_paused = true)]
    async fn a_read_atomic_reader_sees_a_serializable_transaction_whole() {
        let store = Memory::new();
        let (serializable, read_atomic) = (sandbox(&store, 1), Sandbox::new(&store, 2));
        serializable.write(1, &[("a", "1"), ("b", "1")]).await;
        read_atomic.begin(2).await;
        read_atomic.get(2, "a").await;
        serializable.write(3, &[("a", "3"), ("b", "3")]).await;
        assert_eq!(read_atomic.get(2, "b").await.as_deref(), Some("1"));
        assert_eq!(read_atomic.commit(2, "ok").await, CommitResult::Committed);
    }
}
