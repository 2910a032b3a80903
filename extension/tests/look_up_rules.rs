//! R-COMMIT-3 for blind writes: the heads of written keys are looked up beside the handler. Each test fails without its part.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aft_extension::session::{Ack, Behaviour, CommitResult, Explicit, Freshness, Named, Precondition, Started};
use aft_protocol::id::{AttemptNumber, Fingerprint, TransactionId};
use aft_protocol::limits;
use aft_protocol::record::Writes;
use aft_protocol::wire::ErrorCode;
use aft_store::ErrorKind;
use aft_store::faults::{Call, Fault};
use aft_store::memory::Memory;
use support::{BEHAVIOUR, DEADLINE_MS, Sandbox, answer, is_commit, k, named, stored, v};
use tokio::time::{Instant, sleep};

const ON: Behaviour = Behaviour { look_ups: 1, ..BEHAVIOUR };
const BEHIND_MICROS: i64 = -5_000_000;

fn is_look_up(call: &Call) -> bool {
    matches!(call, Call::Heads(_))
}

/// The keys of each look-up, in order.
fn look_ups(sandbox: &Sandbox) -> Vec<Vec<String>> {
    let keys = |call: Call| match call {
        Call::Heads(keys) => Some(keys.iter().map(|key| key.as_str().to_owned()).collect()),
        _ => None,
    };
    sandbox.calls().into_iter().filter_map(keys).collect()
}

/// A sandbox that answers look-ups after this time.
fn slow(store: &Memory, seed: u64, time: Duration) -> Sandbox {
    Sandbox::with(
        store,
        seed,
        ON,
        0,
        move |call| {
            if is_look_up(call) { Fault::Slow(Duration::ZERO, time) } else { Fault::None }
        },
    )
}

/// A is acknowledged, then B, whose clock is five seconds behind, writes the same key blindly. Returns what is there then.
async fn later_write_on_a_clock_that_is_behind(behaviour: Behaviour) -> Option<String> {
    let store = Memory::new();
    let ahead = Sandbox::with(&store, 1, behaviour, 0, |_| Fault::None);
    let behind = Sandbox::with(&store, 2, behaviour, BEHIND_MICROS, |_| Fault::None);
    ahead.write(1, &[("a", "earlier")]).await;
    assert_eq!(stored(&store, "a").as_deref(), Some("earlier"), "acknowledged is visible");
    behind.write(2, &[("a", "later")]).await;
    stored(&store, "a")
}

/// R-COMMIT-3: no clock's skew orders a write before one that was visible when its attempt began.
#[tokio::test(start_paused = true)]
async fn a_later_blind_write_wins_whatever_the_clocks_say() {
    assert_eq!(later_write_on_a_clock_that_is_behind(ON).await.as_deref(), Some("later"));
    let off = Behaviour { look_ups: 0, ..ON };
    assert_eq!(later_write_on_a_clock_that_is_behind(off).await.as_deref(), Some("earlier"), "this test can fail");
}

/// The same for deletions, for batches, and for the keys of explicit transactions.
#[tokio::test(start_paused = true)]
async fn every_kind_of_write_is_looked_up() {
    let store = Memory::new();
    let behind = Sandbox::with(&store, 2, ON, BEHIND_MICROS, |_| Fault::None);
    Sandbox::new(&store, 1)
        .write(1, &[("deleted", "old"), ("batch-1", "old"), ("batch-2", "old"), ("own", "old")])
        .await;
    behind.begin(2).await;
    behind.delete(2, "deleted");
    let batch = Writes::from([(k("batch-1"), Some(v("new"))), (k("batch-2"), None)]);
    behind.session.write(named(2), batch).unwrap();
    let wanted = Explicit {
        transaction: TransactionId::from_bits(3),
        fingerprint: Fingerprint::of(b"{}"),
        origin: "test/3".to_owned(),
        isolation: None,
    };
    assert!(matches!(behind.session.begin_explicit(Named::default(), wanted).await, Ok(Started::Open(_))));
    behind.put(3, "own", "new");
    let explicit = behind.session.commit_explicit(named(3), answer("ok")).await.unwrap();
    assert_eq!(explicit, CommitResult::Committed);
    assert_eq!(behind.commit(2, "ok").await, CommitResult::Committed);
    let found = ["deleted", "batch-1", "batch-2", "own"].map(|key| stored(&store, key));
    assert_eq!(found, [None, Some("new".to_owned()), None, Some("new".to_owned())]);
}

/// What is written while a look-up is under way goes into the next one; a key is looked up once.
#[tokio::test(start_paused = true)]
async fn look_ups_of_one_attempt_are_put_together() {
    let store = Memory::new();
    let sandbox = slow(&store, 1, Duration::from_millis(10));
    sandbox.begin(1).await;
    sandbox.put(1, "a", "1");
    sleep(Duration::from_millis(1)).await;
    for key in ["b", "c", "a", "b"] {
        sandbox.put(1, key, "2");
    }
    assert_eq!(sandbox.commit(1, "ok").await, CommitResult::Committed);
    assert_eq!(look_ups(&sandbox), [vec!["a"], vec!["b", "c"]]);

    sandbox.begin(2).await;
    let many = (0..limits::BATCH_KEYS + 1).map(|n| (k(&format!("{n:03}")), None)).collect();
    sandbox.session.write(named(2), many).unwrap();
    assert_eq!(sandbox.commit(2, "ok").await, CommitResult::Committed);
    let sizes = look_ups(&sandbox)[2..].iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(sizes, [limits::BATCH_KEYS, 1], "as many as one request takes");
}

/// With several at a time none waits while there is room, keys are shared evenly, and all together are no more than one request
/// takes.
#[tokio::test(start_paused = true)]
async fn several_look_ups_may_be_under_way() {
    let store = Memory::new();
    let behaviour = Behaviour { look_ups: 3, ..ON };
    let sandbox = Sandbox::with(&store, 1, behaviour, 0, |call| match call {
        Call::Heads(_) => Fault::Slow(Duration::ZERO, Duration::from_millis(10)),
        _ => Fault::None,
    });
    sandbox.begin(1).await;
    let before = Instant::now();
    for key in ["a", "b", "c", "d", "e"] {
        sandbox.put(1, key, "1");
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(sandbox.commit(1, "ok").await, CommitResult::Committed);
    assert_eq!(look_ups(&sandbox), [vec!["a"], vec!["b"], vec!["c"], vec!["d", "e"]]);
    assert_eq!(before.elapsed(), Duration::from_millis(20), "the last one began when the first one ended");

    sandbox.begin(2).await;
    let sizes = |from: usize| look_ups(&sandbox)[from..].iter().map(Vec::len).collect::<Vec<_>>();
    let some = |from: usize, to: usize| (from..to).map(|n| (k(&format!("{n:03}")), None)).collect();
    sandbox.session.write(named(2), some(0, 7)).unwrap();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(sizes(4), [3, 2, 2]);
    sleep(Duration::from_millis(20)).await;
    sandbox.session.write(named(2), some(7, 7 + limits::BATCH_KEYS + 1)).unwrap();
    let before = Instant::now();
    assert_eq!(sandbox.commit(2, "ok").await, CommitResult::Committed);
    assert_eq!((sizes(7), before.elapsed()), (vec![34, 34, 32, 1], Duration::from_millis(20)));
}

/// One that fails fails the commit at once, whatever the others come to.
#[tokio::test(start_paused = true)]
async fn one_look_up_of_several_that_fails_is_enough() {
    let store = Memory::new();
    let behaviour = Behaviour { look_ups: 3, ..ON };
    let sandbox = Sandbox::with(&store, 1, behaviour, 0, |call| match call {
        Call::Heads(keys) if keys.contains(&k("b")) => Fault::Before(ErrorKind::Rejected),
        Call::Heads(_) => Fault::HangBefore,
        _ => Fault::None,
    });
    sandbox.begin(1).await;
    let before = Instant::now();
    ["a", "b", "c"].into_iter().for_each(|key| sandbox.put(1, key, "1"));
    let result = sandbox.commit(1, "ok").await;
    assert!(matches!(result, CommitResult::Failed(ErrorCode::StoreRejected, _)), "{result:?}");
    assert_eq!((sandbox.count(is_commit), before.elapsed()), (0, Duration::ZERO));
}

/// A key that the attempt has read is known, unless the read was eventual, or out of the cache.
#[tokio::test(start_paused = true)]
async fn what_was_read_is_not_looked_up() {
    let store = Memory::new();
    let sandbox = Sandbox::with(&store, 1, ON, 0, |_| Fault::None);
    sandbox.begin(1).await;
    sandbox.get_all(1, &["a", "b"]).await;
    sandbox.put(1, "a", "1");
    sandbox.session.write_if(named(1), k("c"), Some(v("1")), Precondition::Absent).await.unwrap();
    assert_eq!(sandbox.commit(1, "ok").await, CommitResult::Committed);
    assert_eq!(look_ups(&sandbox), [vec!["a", "b"], vec!["c"]], "the reads alone");

    sandbox.begin(2).await;
    let cached = Freshness { max_age_seconds: 60, no_store: false };
    sandbox.session.read_with(named(2), [k("b")].into(), cached).await.unwrap();
    sandbox.put(2, "b", "1");
    assert_eq!(sandbox.commit(2, "ok").await, CommitResult::Committed);
    assert_eq!(look_ups(&sandbox)[2..], [vec!["b"]], "it was read out of the cache");

    let eventual = Sandbox::with(&store, 2, Behaviour { reads_strongly: false, ..ON }, 0, |_| Fault::None);
    eventual.begin(3).await;
    eventual.get(3, "a").await;
    eventual.put(3, "a", "2");
    assert_eq!(eventual.commit(3, "ok").await, CommitResult::Committed);
    assert_eq!(look_ups(&eventual), [vec!["a"], vec!["a"]]);
}

/// `AFT_READ=eventual` is for reads: a look-up is strongly consistent all the same.
#[tokio::test(start_paused = true)]
async fn a_look_up_is_strong_although_reads_are_eventual() {
    let store = Memory::new();
    let eventual = Behaviour { reads_strongly: false, ..ON };
    let behind = Sandbox::with(&store, 2, eventual, BEHIND_MICROS, |_| Fault::None);
    // From here on, eventual reads see what there was: nothing.
    behind.stale.store(true, Ordering::Relaxed);
    Sandbox::new(&store, 1).write(1, &[("a", "earlier")]).await;
    behind.begin(2).await;
    assert_eq!(behind.get(2, "a").await, None, "the read is stale");
    behind.put(2, "a", "later");
    assert_eq!(behind.commit(2, "ok").await, CommitResult::Committed);
    assert_eq!(stored(&store, "a").as_deref(), Some("later"));
}

/// A handler that takes longer than the look-up does not wait for it, and one that is faster waits only for the rest of it.
#[tokio::test(start_paused = true)]
async fn a_look_up_runs_beside_the_handler() {
    let look_up = Duration::from_millis(50);
    for (handler, waits) in [(60, 0), (50, 0), (20, 30), (0, 50)] {
        let store = Memory::new();
        let sandbox = slow(&store, 1, look_up);
        sandbox.begin(1).await;
        sandbox.put(1, "a", "1");
        sleep(Duration::from_millis(handler)).await;
        let before = Instant::now();
        assert_eq!(sandbox.commit(1, "ok").await, CommitResult::Committed);
        assert_eq!(before.elapsed(), Duration::from_millis(waits), "{handler} ms");
    }
}

/// Beside the previous transaction's apply, too: the commit waits for the longer of the two, not for both.
#[tokio::test(start_paused = true)]
async fn a_commit_waits_for_look_ups_and_for_its_predecessor_at_the_same_time() {
    let store = Memory::new();
    let behaviour = Behaviour { ack: Ack::Durable, ..ON };
    let sandbox = Sandbox::with(&store, 1, behaviour, 0, |call| match call {
        Call::Heads(_) => Fault::Slow(Duration::ZERO, Duration::from_millis(50)),
        Call::Apply(_) => Fault::Slow(Duration::from_millis(80), Duration::ZERO),
        _ => Fault::None,
    });
    sandbox.write(1, &[("a", "1")]).await;
    let before = Instant::now();
    sandbox.write(2, &[("b", "1")]).await;
    assert_eq!(before.elapsed(), Duration::from_millis(80));
}

/// A look-up that fails is tried again; one that cannot be done fails the commit, and nothing was written.
#[tokio::test(start_paused = true)]
async fn a_commit_without_its_look_ups_writes_nothing() {
    let store = Memory::new();
    let tries = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&tries);
    let throttled = Sandbox::with(&store, 1, ON, 0, move |call| match call {
        Call::Heads(_) if count.fetch_add(1, Ordering::Relaxed) < 5 => Fault::Before(ErrorKind::Unavailable),
        _ => Fault::None,
    });
    throttled.write(1, &[("a", "1")]).await;
    assert_eq!(tries.load(Ordering::Relaxed), 6);

    for (fault, code) in [
        (Fault::Before(ErrorKind::Unavailable), ErrorCode::StoreUnavailable),
        (Fault::HangBefore, ErrorCode::StoreUnavailable),
        (Fault::Before(ErrorKind::Rejected), ErrorCode::StoreRejected),
        // Another program's item is in the place of the head: to find that after the record would be too late.
        (Fault::Before(ErrorKind::Malformed), ErrorCode::StoreRejected),
    ] {
        let before = Instant::now();
        let down =
            Sandbox::since(before, &store, 2, ON, 0, move |call| if is_look_up(call) { fault } else { Fault::None });
        down.begin(2).await;
        down.put(2, "a", "2");
        let result = down.commit(2, "ok").await;
        let CommitResult::Failed(failed, detail) = result else { panic!("{result:?}") };
        assert_eq!(failed, code);
        assert!(detail.contains("nothing was written"), "{detail}");
        assert_eq!(down.count(is_commit), 0);
        assert!(before.elapsed() < Duration::from_millis(DEADLINE_MS), "in time for an answer");
    }
    assert_eq!(stored(&store, "a").as_deref(), Some("1"));
}

/// What writes nothing needs no version.
#[tokio::test(start_paused = true)]
async fn a_discarded_transaction_does_not_wait() {
    let store = Memory::new();
    let down = Sandbox::with(&store, 1, ON, 0, |call| if is_look_up(call) { Fault::HangBefore } else { Fault::None });
    down.begin(1).await;
    down.put(1, "a", "1");
    down.session.discard(named(1)).unwrap();
    let before = Instant::now();
    assert_eq!(down.commit(1, "ok").await, CommitResult::Committed);
    assert_eq!(before.elapsed(), Duration::ZERO);
}

/// An attempt that ends takes its look-ups with it, however it ends: nothing is under way when the sandbox freezes.
#[tokio::test(start_paused = true)]
async fn look_ups_end_with_their_attempt() {
    let store = Memory::new();
    for end in ["end", "detach", "restore", "abort", "next attempt"] {
        let sandbox = Sandbox::with(&store, 1, ON, 0, |call| {
            if is_look_up(call) { Fault::Before(ErrorKind::Unavailable) } else { Fault::None }
        });
        sandbox.begin(1).await;
        sandbox.put(1, "a", "1");
        sleep(Duration::from_secs(1)).await;
        match end {
            "end" => sandbox.end(1),
            "detach" => sandbox.session.detach(1),
            "restore" => sandbox.session.restore(),
            "abort" => {
                drop(sandbox.session.abort(TransactionId::from_bits(1), AttemptNumber::FIRST).await.unwrap());
            }
            _ => drop(sandbox.begin_attempt(1, AttemptNumber::FIRST.next()).await),
        }
        let before = sandbox.count(is_look_up);
        assert!(before > 1, "{end}: {before}");
        sleep(Duration::from_secs(1)).await;
        assert_eq!(sandbox.count(is_look_up), before, "{end}");
    }
}
