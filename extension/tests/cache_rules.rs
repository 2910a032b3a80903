//! R-READ-5: reads that allow some staleness, from the sandbox's cache of heads. Each test fails without its part.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use aft_extension::session::{
    Ack, Answer, Behaviour, CommitResult, Explicit, Freshness, Named, Precondition, SessionError, Source, Started,
    WhyFetched,
};
use aft_protocol::id::{Fingerprint, TransactionId};
use aft_protocol::limits;
use aft_store::faults::{Call, Fault};
use aft_store::memory::Memory;
use support::{BEHAVIOUR, Sandbox, k, named, seen_text, v};
use tokio::time::sleep;

fn max_age(seconds: u64) -> Freshness {
    Freshness { max_age_seconds: seconds, no_store: false }
}

/// What a read within so many seconds sees of each key, and where from.
async fn read(sandbox: &Sandbox, transaction: u128, keys: &[&str], seconds: u64) -> Vec<(Option<String>, Source)> {
    let wanted = keys.iter().map(|key| k(key)).collect();
    let answers = sandbox.session.read_with(named(transaction), wanted, max_age(seconds)).await.unwrap();
    let one = |Answer { seen, source }: &Answer| (seen_text(seen), *source);
    keys.iter().map(|key| one(&answers[&k(key)])).collect()
}

async fn read_one(sandbox: &Sandbox, transaction: u128, key: &str, seconds: u64) -> (Option<String>, Source) {
    read(sandbox, transaction, &[key], seconds).await.remove(0)
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// A sandbox whose cache has the heads of these keys as they are now.
async fn warm(store: &Memory, seed: u64, keys: &[&str]) -> Sandbox {
    let sandbox = Sandbox::new(store, seed);
    sandbox.begin(1_000).await;
    sandbox.get_all(1_000, keys).await;
    sandbox.end(1_000);
    sandbox
}

#[tokio::test(start_paused = true)]
async fn a_cached_read_asks_nobody() {
    let store = Memory::new();
    Sandbox::new(&store, 1).write(1, &[("a", "1"), ("b", "1")]).await;
    let sandbox = warm(&store, 2, &["a", "b", "absent"]).await;
    let before = sandbox.calls().len();
    sleep(Duration::from_millis(9_500)).await;
    sandbox.begin(2).await;
    let hit = Source::Cache { age_seconds: 10 };
    assert_eq!(read_one(&sandbox, 2, "a", 10).await, (some("1"), hit));
    assert_eq!(read(&sandbox, 2, &["absent", "b"], 10).await, [(None, hit), (some("1"), hit)]);
    assert_eq!(read_one(&sandbox, 2, "a", 10).await, (some("1"), Source::Transaction));
    assert_eq!(sandbox.calls().len(), before, "no round trip at all");
    let status = sandbox.session.cache_status();
    assert_eq!((status.hits, status.misses, status.heads), (3, 0, 3));
    assert!(status.bytes > 0);
}

/// Without `max-age`, and beyond it, a read is as new as the store tells; and what it fetched is cached.
#[tokio::test(start_paused = true)]
async fn what_is_too_old_or_not_asked_for_is_fetched() {
    let store = Memory::new();
    let writer = Sandbox::new(&store, 1);
    writer.write(1, &[("a", "1")]).await;
    let sandbox = warm(&store, 2, &["a"]).await;
    writer.write(2, &[("a", "2")]).await;
    sandbox.begin(3).await;
    assert_eq!(read_one(&sandbox, 3, "a", 0).await, (some("2"), Source::Store(WhyFetched::Asked)));
    writer.write(4, &[("a", "3")]).await;
    sleep(Duration::from_secs(11)).await;
    sandbox.begin(5).await;
    assert_eq!(read_one(&sandbox, 5, "a", 10).await, (some("3"), Source::Store(WhyFetched::TooOld)));
    assert_eq!(read_one(&sandbox, 5, "b", 10).await, (None, Source::Store(WhyFetched::NotCached)));
    sandbox.begin(6).await;
    let hit = Source::Cache { age_seconds: 0 };
    assert_eq!(read(&sandbox, 6, &["a", "b"], 10).await, [(some("3"), hit), (None, hit)]);
    let status = sandbox.session.cache_status();
    assert_eq!((status.hits, status.misses), (2, 2));
}

/// A frozen sandbox's monotonic clock may stand still: age is measured on the wall clock.
#[tokio::test(start_paused = true)]
async fn a_freeze_makes_heads_older() {
    let store = Memory::new();
    Sandbox::new(&store, 1).write(1, &[("a", "1")]).await;
    let sandbox = warm(&store, 2, &["a"]).await;
    sandbox.skew_micros.fetch_add(60_000_000, Ordering::Relaxed);
    sandbox.begin(2).await;
    assert_eq!(read_one(&sandbox, 2, "a", 59).await.1, Source::Store(WhyFetched::TooOld));
}

/// R-READ-1: a stale head beside a new one is passed over, and costs a fetch, not an abort.
#[tokio::test(start_paused = true)]
async fn a_stale_head_that_does_not_fit_is_fetched() {
    let store = Memory::new();
    let writer = Sandbox::new(&store, 1);
    writer.write(1, &[("a", "old"), ("b", "old")]).await;
    let sandbox = warm(&store, 2, &["a", "b"]).await;
    writer.write(2, &[("a", "new"), ("b", "new")]).await;
    sandbox.begin(3).await;
    assert_eq!(read_one(&sandbox, 3, "a", 0).await.0, some("new"));
    assert_eq!(read_one(&sandbox, 3, "b", 60).await, (some("new"), Source::Store(WhyFetched::NotAtomic)));
    let sandbox = warm(&store, 4, &["a", "b"]).await;
    writer.write(5, &[("a", "newer"), ("b", "newer")]).await;
    sandbox.begin(6).await;
    assert_eq!(read_one(&sandbox, 6, "b", 60).await.0, some("new"), "stale, as it was allowed");
    assert_eq!(read_one(&sandbox, 6, "a", 0).await.0, some("new"), "what was read with it demands as much");
}

/// A read set that began with a stale head can end in a conflict all the same. The next attempt does not begin with it.
#[tokio::test(start_paused = true)]
async fn a_conflict_over_a_stale_head_is_not_repeated() {
    let store = Memory::new();
    let writer = Sandbox::new(&store, 1);
    writer.write(1, &[("a", "1"), ("b", "1")]).await;
    let sandbox = warm(&store, 2, &["a"]).await;
    for transaction in 2..=8 {
        writer.write(transaction, &[("a", "later"), ("b", "later")]).await;
    }
    store.expire(TransactionId::from_bits(1));
    sandbox.begin(20).await;
    assert_eq!(read_one(&sandbox, 20, "a", 60).await.0, some("1"));
    let refused = sandbox.try_get(20, "b").await;
    assert!(matches!(refused, Err(SessionError::ReadConflict(_))), "{refused:?}");
    sandbox.begin(20).await;
    assert_eq!(read_one(&sandbox, 20, "a", 60).await, (some("later"), Source::Store(WhyFetched::NotCached)));
    assert_eq!(sandbox.get(20, "b").await, some("later"));
}

/// Whatever a sandbox has committed, it sees, however much staleness it allows; also if an answer from before the commit
/// arrives after it.
#[tokio::test(start_paused = true)]
async fn a_sandbox_sees_its_own_commits() {
    let store = Memory::new();
    for ack in [Ack::Visible, Ack::Durable] {
        let sandbox = Sandbox::with(&store, 1, Behaviour { ack, ..BEHAVIOUR }, 0, |_| Fault::None);
        sandbox.write(1, &[("a", "1")]).await;
        sandbox.begin(2).await;
        sandbox.get(2, "a").await;
        sandbox.put(2, "a", "2");
        assert_eq!(sandbox.commit(2, "ok").await, CommitResult::Committed);
        sandbox.session.applied().await;
        sandbox.begin(3).await;
        assert_eq!(read_one(&sandbox, 3, "a", 60).await.0, some("2"), "{ack:?}");
        store.expire(TransactionId::from_bits(1));
        store.expire(TransactionId::from_bits(2));
    }

    let late = Sandbox::with(&store, 2, BEHAVIOUR, 0, |call| match call {
        Call::Heads(keys) if keys.contains(&k("late")) => Fault::Slow(Duration::ZERO, Duration::from_secs(2)),
        _ => Fault::None,
    });
    late.begin(4).await;
    let reader = tokio::spawn({
        let session = late.session.clone();
        async move { session.read(named(4), [k("late")].into()).await }
    });
    sleep(Duration::from_secs(1)).await;
    late.write(5, &[("late", "new")]).await;
    assert_eq!(reader.await.unwrap().unwrap()[&k("late")].value(), None, "asked before, answered after");
    late.begin(6).await;
    assert_eq!(read_one(&late, 6, "late", 60).await.0, some("new"));
}

/// `If-Match` and its like are judged by the store.
#[tokio::test(start_paused = true)]
async fn a_precondition_is_never_judged_by_the_cache() {
    let store = Memory::new();
    let writer = Sandbox::new(&store, 1);
    writer.write(1, &[("a", "1")]).await;
    let stale = store.head_of(&k("a")).current.version.to_string();
    let sandbox = warm(&store, 2, &["a"]).await;
    writer.write(2, &[("a", "2")]).await;
    sandbox.begin(3).await;
    let refused = sandbox.session.write_if(named(3), k("a"), Some(v("3")), Precondition::Matches(vec![stale])).await;
    assert!(matches!(refused, Err(SessionError::PreconditionFailed(_))), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_to_be_stored_is_not() {
    let store = Memory::new();
    let sandbox = Sandbox::new(&store, 1);
    sandbox.begin(1).await;
    let no_store = Freshness { max_age_seconds: 0, no_store: true };
    sandbox.session.read_with(named(1), [k("a")].into(), no_store).await.unwrap();
    assert_eq!(sandbox.session.cache_status().heads, 0);
    let off = Sandbox::with(&store, 2, Behaviour { cache_bytes: 0, ..BEHAVIOUR }, 0, |_| Fault::None);
    off.begin(2).await;
    off.get(2, "a").await;
    assert_eq!(off.session.cache_status().heads, 0, "AFT_CACHE_BYTES=0");
}

/// A snapshot may be days old when it is restored.
#[tokio::test(start_paused = true)]
async fn a_restored_sandbox_has_an_empty_cache() {
    let store = Memory::new();
    let sandbox = warm(&store, 1, &["a"]).await;
    assert_eq!(sandbox.session.cache_status().heads, 1);
    sandbox.session.restore();
    let status = sandbox.session.cache_status();
    assert_eq!((status.heads, status.bytes), (0, 0));
}

/// Keys with large values: more than one transaction keeps of what it reads.
async fn crowd(store: &Memory) -> Vec<String> {
    let writer = Sandbox::new(store, 100);
    let large = "x".repeat(limits::VALUE_BYTES);
    let keys: Vec<String> = (0..=limits::READ_SET_BYTES / limits::VALUE_BYTES).map(|n| format!("large-{n}")).collect();
    for (n, key) in keys.iter().enumerate() {
        writer.write(1_000 + n as u128, &[(key, &large)]).await;
    }
    keys
}

#[tokio::test(start_paused = true)]
async fn what_all_open_transactions_keep_of_what_they_read_is_limited_together() {
    let store = Memory::new();
    let keys = crowd(&store).await;
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let sandbox = Sandbox::new(&store, 1);
    sandbox.begin(1).await;
    let mut kept = Vec::new();
    for message in 2..=6 {
        let wanted = Explicit {
            transaction: TransactionId::from_bits(message),
            fingerprint: Fingerprint::of(b"{}"),
            origin: format!("test/{message}"),
            isolation: None,
        };
        assert!(matches!(sandbox.session.begin_explicit(Named::default(), wanted).await, Ok(Started::Open(_))));
        for _ in 0..2 {
            assert!(sandbox.get_all(message, &keys).await.iter().all(Option::is_some), "whatever is kept");
        }
        kept.push(sandbox.session.status(named(message)).unwrap().read_bytes);
    }
    assert!(kept.iter().sum::<usize>() <= limits::SANDBOX_READ_SET_BYTES, "{kept:?}");
    assert!(kept[0] > limits::READ_SET_BYTES / 2 && kept[4] < limits::READ_SET_BYTES / 2, "{kept:?}");
}

/// R-READ-2 past the limit of what a read set keeps: a value that was forgotten is fetched again, at the version that was
/// read, wherever the head is by then; where it cannot be had any more, it is a conflict.
#[tokio::test(start_paused = true)]
async fn a_read_is_repeatable_although_its_value_was_forgotten() {
    let store = Memory::new();
    let crowd = crowd(&store).await;
    let crowd: Vec<&str> = crowd.iter().map(String::as_str).collect();
    let writer = Sandbox::new(&store, 1);
    writer.write(1, &[("a", "first"), ("b", "first")]).await;
    let reader = Sandbox::new(&store, 2);
    reader.begin(20).await;
    assert_eq!(reader.get(20, "a").await, some("first"));
    for moved in 0..3 {
        let before = reader.calls().len();
        reader.get_all(20, &crowd).await;
        assert_eq!(reader.get(20, "a").await, some("first"), "moved {moved} times");
        assert!(reader.calls().len() > before + 1, "it was forgotten");
        writer.write(2 + moved, &[("a", "later"), ("b", "later")]).await;
    }
    reader.get_all(20, &crowd).await;
    store.expire(TransactionId::from_bits(1));
    let refused = reader.try_get(20, "a").await;
    assert!(matches!(refused, Err(SessionError::ReadConflict(_))), "{refused:?}");
}
