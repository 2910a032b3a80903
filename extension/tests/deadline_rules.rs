//! What the session does about a DynamoDB that is slow, throttled or gone, until an invocation's deadline: in virtual time,
//! through the production store and the real SDK.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aft_extension::session::{Begun, CommitResult, Journal};
use aft_protocol::id::{AttemptNumber, TransactionId};
use aft_protocol::wire::ErrorCode;
use aft_store::dynamodb::DynamoDb;
use aft_store::simulated::{Engine, Fault, Request, Side, Throttle, What};
use support::{BEHAVIOUR, Breaches, DEADLINE_MS, Sandbox, answer};
use tokio::time::{Instant, sleep};

/// Kept back by the session, for an error to reach the caller.
const TIME_TO_ANSWER: Duration = Duration::from_millis(100);
const THROTTLED: Fault = Fault::Throttled(Throttle::OnDemand);

/// A sandbox over this engine, under a plan.
fn sandbox(engine: &Engine, plan: impl Fn(&Request) -> Fault + Send + Sync + 'static) -> Sandbox<DynamoDb> {
    Sandbox::over(Instant::now(), engine.store(plan), Breaches::default(), 1, BEHAVIOUR, 0, Journal::none())
}

/// An invocation with that time limit that writes these keys; how its commit ended, and after how long.
async fn invocation(sandbox: &Sandbox<DynamoDb>, limit: Duration, keys: &[&str]) -> (CommitResult, Duration) {
    let mut begin = sandbox.event(1, AttemptNumber::FIRST);
    begin.deadline_ms = begin.deadline_ms - DEADLINE_MS + u64::try_from(limit.as_millis()).unwrap();
    let started = Instant::now();
    assert_eq!(sandbox.session.begin(begin).await.unwrap(), Begun::Open);
    for key in keys {
        sandbox.put(1, key, "value");
    }
    let id = TransactionId::from_bits(1);
    let result = sandbox.session.commit(id, AttemptNumber::FIRST, answer("ok")).await.unwrap();
    (result, started.elapsed())
}

fn requests(engine: &Engine, operation: &str) -> usize {
    engine.trace().lines().filter(|line| line.contains(&format!(" {operation} "))).count()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn a_table_that_is_throttled_for_a_moment_costs_a_moment() {
    for throttle in [Throttle::Provisioned, Throttle::OnDemand, Throttle::Account] {
        let engine = Engine::new().await.unwrap();
        let free = Instant::now() + Duration::from_millis(300);
        let sandbox =
            sandbox(&engine, move |_| if Instant::now() < free { Fault::Throttled(throttle) } else { Fault::None });
        let (result, time) = invocation(&sandbox, seconds(3), &["a", "b"]).await;
        assert_eq!(result, CommitResult::Committed);
        assert!(time < Duration::from_millis(800), "{time:?}");
        assert!(requests(&engine, "PutItem") <= 5, "{}", engine.trace());
    }
}

#[tokio::test(start_paused = true)]
async fn of_an_apply_only_the_heads_that_failed_are_asked_again() {
    for fault in [THROTTLED, Fault::Failed(Side::Before), Fault::Failed(Side::After), Fault::Lost(Side::After)] {
        let engine = Engine::new().await.unwrap();
        let failed = std::sync::Mutex::new(std::collections::BTreeSet::new());
        let sandbox = sandbox(&engine, move |request| match &request.what {
            What::Head(key) if ["b", "d"].contains(&key.as_str()) && failed.lock().unwrap().insert(key.clone()) => {
                fault
            }
            _ => Fault::None,
        });
        let (result, _) = invocation(&sandbox, seconds(3), &["a", "b", "c", "d", "e"]).await;
        assert_eq!(result, CommitResult::Committed);
        let asked = |key: &str| {
            engine.trace().lines().filter(|line| line.contains(&format!(r#""Key":{{"k":{{"S":"{key}"}}}}"#))).count()
        };
        assert_eq!(["a", "b", "c", "d", "e"].map(asked), [1, 2, 1, 2, 1], "{fault:?}");
        assert_eq!(requests(&engine, "PutItem"), 1, "{fault:?}: nor is the record");
    }
}

/// The bound is the sum of the shortest pauses: 50, 100, 200, 400, 800 ms, then a second each.
#[tokio::test(start_paused = true)]
async fn a_table_that_stays_throttled_ends_at_the_deadline_and_says_what_to_do() {
    for (limit, most) in [(3, 8), (10, 15), (60, 65)] {
        let engine = Engine::new().await.unwrap();
        let sandbox = sandbox(&engine, |_| THROTTLED);
        let (result, time) = invocation(&sandbox, seconds(limit), &["a"]).await;
        let CommitResult::Failed(ErrorCode::StoreUnavailable, detail) = result else { panic!("{result:?}") };
        for words in ["nothing was written", "throttled", "needs more capacity", "ThrottlingException"] {
            assert!(detail.contains(words), "no {words:?} in {detail}");
        }
        let last_moment = seconds(limit) - TIME_TO_ANSWER;
        assert!(time <= last_moment && time > last_moment - Duration::from_millis(300), "{time:?} of {limit} s");
        let asked = requests(&engine, "PutItem");
        assert!((3..=most).contains(&asked), "{asked} requests in {limit} s");
    }
}

/// Neither do heads that nobody waits for any more turn into a storm.
#[tokio::test(start_paused = true)]
async fn heads_that_stay_throttled_are_asked_for_once_a_second_at_most() {
    let engine = Engine::new().await.unwrap();
    let sandbox = sandbox(&engine, |request| if let What::Head(_) = request.what { THROTTLED } else { Fault::None });
    let (result, time) = invocation(&sandbox, seconds(3), &["a", "b", "c"]).await;
    assert!(matches!(result, CommitResult::Unknown(ErrorCode::NotVisible, _)), "{result:?}");
    assert!(time < seconds(3), "{time:?}");
    sleep(seconds(10)).await;
    let before = requests(&engine, "UpdateItem");
    sleep(seconds(60)).await;
    assert!(requests(&engine, "UpdateItem") - before <= 3 * 61, "{}", requests(&engine, "UpdateItem") - before);
}

/// Lambda's default time limit is 3 s, and production's limit of an answer is 2 s.
#[tokio::test(start_paused = true)]
async fn a_request_that_is_never_answered_leaves_time_for_another() {
    for (side, limit, most) in [(Side::Before, 3, 1_000), (Side::After, 3, 1_000), (Side::Before, 30, 2_000)] {
        let engine = Engine::new().await.unwrap();
        let asked = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&asked);
        let sandbox = sandbox(&engine, move |_| match counter.fetch_add(1, Ordering::Relaxed) {
            0 => Fault::Silent(side),
            _ => Fault::None,
        });
        let (result, time) = invocation(&sandbox, seconds(limit), &["a"]).await;
        assert_eq!(result, CommitResult::Committed, "{}", engine.trace());
        assert!(time <= Duration::from_millis(most), "{time:?} of {limit} s: the second try comes at once");
        assert_eq!(asked.load(Ordering::Relaxed), 3, "record, record again, head");
    }
}

/// R-COMMIT-4: what a lost first try may have done is not forgotten when all later ones are refused.
#[tokio::test(start_paused = true)]
async fn a_lost_try_and_then_throttling_until_the_deadline_is_an_unknown_outcome() {
    let engine = Engine::new().await.unwrap();
    let asked = AtomicU64::new(0);
    let sandbox = sandbox(&engine, move |_| match asked.fetch_add(1, Ordering::Relaxed) {
        0 => Fault::Lost(Side::After),
        _ => THROTTLED,
    });
    let (result, _) = invocation(&sandbox, seconds(3), &["a"]).await;
    let CommitResult::Unknown(ErrorCode::OutcomeUnknown, detail) = result else { panic!("{result:?}") };
    assert!(detail.contains("may have committed") && detail.contains("throttled"), "{detail}");
    assert_eq!(engine.committed().unwrap().len(), 1, "and it has");
}

/// An answer that comes too late for the last try says what was wrong before.
#[tokio::test(start_paused = true)]
async fn the_last_word_names_the_failure_before_it() {
    let engine = Engine::new().await.unwrap();
    let asked = AtomicU64::new(0);
    let sandbox = sandbox(&engine, move |_| match asked.fetch_add(1, Ordering::Relaxed) {
        0..=2 => THROTTLED,
        _ => Fault::Silent(Side::Before),
    });
    let (result, time) = invocation(&sandbox, Duration::from_millis(900), &["a"]).await;
    let CommitResult::Unknown(ErrorCode::OutcomeUnknown, detail) = result else { panic!("{result:?}") };
    assert!(detail.contains("no answer in time") && detail.contains("throttled"), "{detail}");
    assert!(time <= Duration::from_millis(800), "{time:?}");
}
