//! Each fault means to a caller what the same fault of a real connection means (`dynamodb/tests.rs`), and has its effect or
//! not.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use aft_protocol::head::{Cowritten, Entry, Keep};
use aft_protocol::id::TransactionId;
use aft_protocol::key::Key;
use aft_protocol::version::{Timestamp, Version};
use tokio::time::{Instant, sleep};

use super::{Engine, Fault, Side, Throttle, What};
use crate::ErrorKind::{Unavailable, Unknown};
use crate::dynamodb::{ReadConsistency, TimeLimits};
use crate::{Applied, Store};

mod against_dynoxide;
mod in_flight;
mod requests;
mod stream;
mod torn;
mod transactions;

fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

fn entry(number: u64) -> Entry {
    let version = Version::new(Timestamp::from_micros(number), TransactionId::from_bits(number.into()));
    Entry { version, value: None, cowritten: Cowritten::none(), record_expires_at_seconds: 4_102_444_800 }
}

async fn version(engine: &Engine, name: &str) -> Version {
    engine.unseen().heads(&BTreeSet::from([key(name)])).await.unwrap()[&key(name)].current.version
}

#[tokio::test(start_paused = true)]
async fn every_fault_has_its_meaning_and_its_effect_or_none() {
    let (none, effect) = (false, true);
    for (fault, kind, words, effect) in [
        (Fault::Unconnected, Unavailable, "no connection", none),
        (
            Fault::Throttled(Throttle::Provisioned),
            Unavailable,
            "ProvisionedThroughputExceededException (HTTP 400)",
            none,
        ),
        (Fault::Throttled(Throttle::OnDemand), Unavailable, "ThrottlingException (HTTP 400)", none),
        (Fault::Throttled(Throttle::Account), Unavailable, "RequestLimitExceeded (HTTP 400)", none),
        (Fault::Lost(Side::Before), Unknown, "connection was lost", none),
        (Fault::Lost(Side::After), Unknown, "connection was lost", effect),
        (Fault::CutOff, Unknown, "cut off", effect),
        (Fault::Failed(Side::Before), Unknown, "InternalServerError (HTTP 500)", none),
        (Fault::Failed(Side::After), Unknown, "InternalServerError (HTTP 500)", effect),
        (Fault::Unavailable, Unknown, "ServiceUnavailableException (HTTP 503)", none),
        (Fault::Silent(Side::Before), Unknown, "no answer in time", none),
        (Fault::Silent(Side::After), Unknown, "no answer in time", effect),
    ] {
        let engine = Engine::new().await.unwrap();
        let started = Instant::now();
        let error = engine.store(move |_| fault).apply(&key("k"), &entry(1), Keep::Inline).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{fault:?}: {error}");
        assert!(error.to_string().contains(words), "{fault:?}: {error}");
        assert_eq!(!version(&engine, "k").await.is_zero(), effect, "{fault:?}");
        let limit = if matches!(fault, Fault::Silent(_)) { TimeLimits::default().answer } else { Duration::ZERO };
        assert!(started.elapsed() - limit < Duration::from_millis(2), "{fault:?}: {:?}", started.elapsed());
        assert!(engine.trace().contains(&format!("-> {fault:?}")), "{}", engine.trace());
        assert_eq!(engine.trace().lines().count(), 1, "{fault:?}: one request, one line");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_slow_takes_effect_although_its_caller_has_given_up() {
    let engine = Engine::new().await.unwrap();
    let slow = engine.store(|_| Fault::Slow(Duration::from_secs(30), Duration::ZERO));
    assert_eq!(slow.apply(&key("k"), &entry(1), Keep::Inline).await.unwrap_err().kind(), Unknown);
    assert!(version(&engine, "k").await.is_zero());
    sleep(Duration::from_secs(30)).await;
    assert!(!version(&engine, "k").await.is_zero());
}

#[tokio::test(start_paused = true)]
async fn only_an_eventual_read_is_stale() {
    let engine = Engine::new().await.unwrap();
    let plan = |_: &_| Fault::Stale(Duration::from_millis(500));
    let strong = engine.store(plan);
    let eventual = engine.store_with(ReadConsistency::Eventual, &TimeLimits::default(), plan);
    let one = BTreeSet::from([key("a")]);
    let many = BTreeSet::from([key("a"), key("b")]);
    for number in 1..=2 {
        assert_eq!(strong.apply(&key("a"), &entry(number), Keep::Inline).await.unwrap(), Applied::Moved);
        let before = if number == 1 { Version::ZERO } else { entry(1).version };
        for keys in [&one, &many] {
            let heads = (strong.heads(keys).await.unwrap(), eventual.heads(keys).await.unwrap());
            assert_eq!(heads.0[&key("a")].current.version, entry(number).version, "strong");
            assert_eq!(heads.1[&key("a")].current.version, before, "eventual");
        }
        sleep(Duration::from_millis(500)).await;
        assert_eq!(eventual.heads(&many).await.unwrap()[&key("a")].current.version, entry(number).version, "caught up");
    }
}

#[tokio::test(start_paused = true)]
async fn keys_that_come_back_unprocessed_are_read_all_the_same() {
    let engine = Engine::new().await.unwrap();
    let keys: BTreeSet<_> = ["a", "b", "c"].map(key).into();
    for key in &keys {
        engine.unseen().apply(key, &entry(1), Keep::Inline).await.unwrap();
    }
    let asked = AtomicUsize::new(0);
    let store = engine.store(move |request| {
        let expected = [3, 2, 1][asked.fetch_add(1, Ordering::Relaxed)];
        assert!(matches!(&request.what, What::Heads(keys) if keys.len() == expected), "{request}");
        // All but the first one that is asked for.
        Fault::Unprocessed(0b110)
    });
    let heads = store.heads(&keys).await.unwrap();
    assert!(heads.values().all(|head| head.current.version == entry(1).version), "{heads:?}");

    let refused = AtomicBool::new(true);
    let store =
        engine.store(move |_| Fault::Unprocessed(if refused.swap(false, Ordering::Relaxed) { 0b111 } else { 0 }));
    assert_eq!(store.heads(&keys).await.unwrap_err().kind(), Unavailable);
    assert_eq!(store.heads(&keys).await.unwrap().len(), 3);
}
