//! What others see and are told while a transaction is in flight.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, advance, sleep};

use super::requests::*;
use crate::simulated::{Cancellation, DATA_TABLE, Engine, Fate, Fault, Side, TRANSACTION_TABLE, Throttle};

const WINDOW: Duration = Duration::from_secs(1);
const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const CONFLICT: &str = "TransactionConflict";

/// An engine whose keys have the value 1, and a transaction in flight that moves all of them to 2.
async fn moving(fate: impl Into<Fate>) -> (Engine, JoinHandle<Result<Answer, String>>) {
    let engine = Engine::new().await.unwrap();
    ask(&engine, "TransactWriteItems", transaction(KEYS.map(|key| put(key, "1")))).await;
    let (fate, moved) = (fate.into(), engine.clone());
    let task = tokio::spawn(async move { ask_with(fate, &moved, "TransactWriteItems", second()).await });
    // It begins.
    sleep(Duration::from_millis(1)).await;
    (engine, task)
}

fn second() -> Value {
    with_token("second", transaction(KEYS.map(|key| update(key, "2"))))
}

/// The keys whose new value a strongly consistent read shows.
async fn visible(engine: &Engine) -> BTreeSet<&'static str> {
    let mut visible = BTreeSet::new();
    for key in KEYS {
        if value(engine, key).await.unwrap() == "2" {
            visible.insert(key);
        }
    }
    visible
}

/// The same by another operation.
fn seen(items: &Value) -> BTreeSet<&'static str> {
    let items = items.as_array().unwrap();
    assert_eq!(items.len(), KEYS.len());
    let new = items.iter().filter(|item| item["t"]["S"] == "2").map(|item| item["k"]["S"].as_str().unwrap());
    new.map(|key| *KEYS.iter().find(|known| **known == key).unwrap()).collect()
}

/// Some are visible and some are not.
async fn halfway(engine: &Engine) -> (&'static str, &'static str) {
    let started = Instant::now();
    while started.elapsed() < WINDOW {
        let visible = visible(engine).await;
        if let (Some(new), Some(old)) = (visible.first(), KEYS.iter().find(|key| !visible.contains(*key))) {
            return (*new, *old);
        }
        sleep(Duration::from_millis(1)).await;
    }
    panic!("all at once")
}

#[tokio::test(start_paused = true)]
async fn items_become_visible_one_after_the_other_and_then_the_transaction_is_answered() {
    let (engine, task) = moving(Fault::None.in_flight(WINDOW)).await;
    let started = Instant::now();
    let (mut steps, mut before) = (0, BTreeSet::new());
    while !task.is_finished() {
        let now = visible(&engine).await;
        assert!(now.is_superset(&before), "what has been seen stays");
        steps += usize::from(now.len() > before.len());
        let batch = json!({"RequestItems": {DATA_TABLE: {
            "ConsistentRead": true, "Keys": KEYS.map(|key| json!({"k": {"S": key}})),
        }}});
        assert_eq!(seen(&ask(&engine, "BatchGetItem", batch).await.1["Responses"][DATA_TABLE]), now);
        let scan = json!({"TableName": DATA_TABLE, "ConsistentRead": true});
        assert_eq!(seen(&ask(&engine, "Scan", scan.clone()).await.1["Items"]), now);
        let truth = ask_with(Fault::Unseen, &engine, "Scan", scan).await.unwrap();
        assert_eq!(seen(&truth.1["Items"]).len(), KEYS.len(), "it has taken effect");
        before = now;
        sleep(Duration::from_millis(1)).await;
    }
    assert!(steps >= 3, "one after the other, not at once: {steps}");
    assert_eq!(visible(&engine).await.len(), KEYS.len(), "answered");
    assert!((WINDOW / 2..=WINDOW).contains(&started.elapsed()), "{:?}", started.elapsed());
    assert_eq!(task.await.unwrap().unwrap(), (200, json!({})));
}

#[tokio::test(start_paused = true)]
async fn a_query_shows_no_record_in_flight() {
    let engine = Engine::new().await.unwrap();
    let record = json!({"id": {"S": "1"}, "part": {"S": "commit"}});
    let record = transaction([json!({"Put": {"TableName": TRANSACTION_TABLE, "Item": record}})]);
    let lost = ask_with(Fault::Lost(Side::After).in_flight(WINDOW), &engine, "TransactWriteItems", record).await;
    assert!(lost.unwrap_err().contains("connection closed"));
    let query = json!({
        "TableName": TRANSACTION_TABLE, "KeyConditionExpression": "id = :id", "ConsistentRead": true,
        "ExpressionAttributeValues": {":id": {"S": "1"}},
    });
    let (_, none) = ask(&engine, "Query", query.clone()).await;
    assert_eq!((&none["Count"], &none["Items"]), (&json!(0), &json!([])));
    sleep(WINDOW).await;
    assert_eq!(ask(&engine, "Query", query).await.1["Count"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_transactional_read_sees_all_or_is_cancelled() {
    let (engine, task) = moving(Fault::None.in_flight(WINDOW)).await;
    let mut cancellations = 0;
    while !task.is_finished() {
        let now = visible(&engine).await;
        let read = ask(&engine, "TransactGetItems", reads(&KEYS)).await;
        if now.len() < KEYS.len() {
            assert_eq!(codes(&read), KEYS.map(|key| if now.contains(key) { "None" } else { CONFLICT }));
            cancellations += 1;
        } else {
            assert!(read.1["Responses"].as_array().unwrap().iter().all(|read| read["Item"]["t"]["S"] == "2"));
        }
        sleep(Duration::from_millis(1)).await;
    }
    assert!(cancellations > 0);
    assert_eq!(ask(&engine, "TransactGetItems", reads(&KEYS)).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_is_in_conflict_and_what_is_visible_is_not() {
    let (engine, task) = moving(Fault::None.in_flight(WINDOW)).await;
    let (new, old) = halfway(&engine).await;

    // Also for who checks only, and with the reasons of the other actions beside it; nothing happens.
    let third = [put("g", "3"), check(old, "attribute_exists(k)"), provided(update(new, "3"), "t <> :t AND t <> t")];
    let refused = ask(&engine, "TransactWriteItems", transaction(third)).await;
    assert_eq!(codes(&refused), ["None", CONFLICT, "ConditionalCheckFailed"]);
    assert_eq!(refused.1["CancellationReasons"][1]["Message"], "Transaction is ongoing for the item");
    assert_eq!(refused.1["CancellationReasons"][2]["Item"], item(new, "2"));
    assert_eq!(value(&engine, "g").await, None);

    for operation in ["PutItem", "UpdateItem", "DeleteItem"] {
        let plain = |key: &str| match operation {
            "PutItem" => put(key, "3")["Put"].clone(),
            "UpdateItem" => update(key, "3")["Update"].clone(),
            _ => get(key)["Get"].clone(),
        };
        let refused = ask(&engine, operation, plain(old)).await;
        assert_refused(&refused, "TransactionConflictException", "ongoing");
        assert_eq!(value(&engine, old).await.unwrap(), "1");
        assert_eq!(ask(&engine, operation, plain(new)).await.0, 200, "{operation}");
    }
    task.await.unwrap().unwrap();
    assert_eq!(value(&engine, old).await.unwrap(), "2");
    assert_eq!(value(&engine, new).await, None, "deleted meanwhile");
    assert_eq!(ask(&engine, "TransactWriteItems", transaction([update(old, "3")])).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn a_token_in_flight_is_in_progress() {
    let (engine, task) = moving(Fault::None.in_flight(WINDOW)).await;
    halfway(&engine).await;
    let again = ask(&engine, "TransactWriteItems", second()).await;
    assert_refused(&again, "TransactionInProgressException", "in progress");
    let other = with_token("second", transaction([update("a", "3")]));
    assert_refused(&ask(&engine, "TransactWriteItems", other).await, "IdempotentParameterMismatchException", "");
    task.await.unwrap().unwrap();
    ask(&engine, "UpdateItem", update("a", "3")["Update"].clone()).await;
    assert_eq!(ask(&engine, "TransactWriteItems", second()).await, (200, json!({})));
    assert_eq!(value(&engine, "a").await.unwrap(), "3", "no second effect");
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_transaction_has_held_its_items() {
    let engine = Engine::new().await.unwrap();
    let (doomed, moved) = (transaction([put("a", "1"), check("b", "attribute_exists(k)")]), engine.clone());
    let fate = Fault::None.in_flight(WINDOW);
    let task = tokio::spawn(async move { ask_with(fate, &moved, "TransactWriteItems", doomed).await });
    sleep(Duration::from_millis(1)).await;
    let refused = ask(&engine, "TransactWriteItems", transaction([put("a", "2"), put("c", "2")])).await;
    assert_eq!(codes(&refused), [CONFLICT, "None"]);
    assert_eq!(codes(&task.await.unwrap().unwrap()), ["None", "ConditionalCheckFailed"]);
    assert_eq!(value(&engine, "a").await, None);
    assert_eq!(ask(&engine, "TransactWriteItems", transaction([put("a", "2"), put("c", "2")])).await.0, 200);
}

/// An eventually consistent read may be as far behind what is in flight as behind anything else.
#[tokio::test(start_paused = true)]
async fn an_eventual_read_of_what_was_in_flight_is_stale() {
    let (engine, task) = moving(Fault::None.in_flight(WINDOW)).await;
    task.await.unwrap().unwrap();
    advance(Duration::from_millis(500)).await;
    let read = |age| {
        let get = get("a")["Get"].clone();
        let engine = engine.clone();
        async move { ask_with(Fault::Stale(age), &engine, "GetItem", get).await.unwrap().1["Item"]["t"]["S"].clone() }
    };
    assert_eq!(read(Duration::from_millis(400)).await, "2");
    advance(Duration::from_secs(1)).await;
    assert_eq!(read(Duration::from_secs(1)).await, "2", "a second at most");

    ask(&engine, "TransactWriteItems", transaction([update("a", "3")])).await;
    assert_eq!(read(Duration::from_millis(400)).await, "2", "without a time in flight, too");
}

#[tokio::test(start_paused = true)]
async fn every_fault_applies_to_transactions() {
    let (none, effect) = (false, true);
    let slow = Fault::Slow(Duration::from_millis(10), Duration::from_millis(10));
    for (fault, words, effect) in [
        (Fault::None, Ok("{}"), effect),
        (slow, Ok("{}"), effect),
        (Fault::Unprocessed(1), Ok("{}"), effect),
        (Fault::Stale(Duration::from_millis(1)), Ok("{}"), effect),
        (Fault::Unconnected, Err("tcp connect error"), none),
        (Fault::Unavailable, Ok("ServiceUnavailableException"), none),
        (Fault::Throttled(Throttle::OnDemand), Ok("ThrottlingException"), none),
        (Fault::Lost(Side::Before), Err("connection closed"), none),
        (Fault::Lost(Side::After), Err("connection closed"), effect),
        (Fault::Failed(Side::Before), Ok("InternalServerError"), none),
        (Fault::Failed(Side::After), Ok("InternalServerError"), effect),
        (Fault::Silent(Side::Before), Err("read timeout"), none),
        (Fault::Silent(Side::After), Err("read timeout"), effect),
        (Fault::CutOff, Err("end of file"), effect),
        (Fault::Cancelled(Cancellation::Conflict, 7), Ok("[None, TransactionConflict,"), none),
        (Fault::Cancelled(Cancellation::OnDemand, 0), Ok("[ThrottlingError, None,"), none),
        (Fault::Cancelled(Cancellation::Provisioned, 5), Ok(" ProvisionedThroughputExceeded]"), none),
    ] {
        for fate in [fault.into(), fault.in_flight(Duration::from_millis(500))] {
            let (engine, task) = moving(fate).await;
            let written = task.await.unwrap();
            // What breaks instead of an answer breaks at once.
            let is_early =
                matches!(fault, Fault::Lost(Side::After) | Fault::Failed(Side::After)) && fate != fault.into();
            assert_eq!(visible(&engine).await.len() == KEYS.len(), effect && !is_early, "{fate:?}");
            let read = ask_with(fate, &engine, "TransactGetItems", reads(&KEYS)).await;
            for answer in [written, read] {
                match (&answer, words) {
                    (Ok((200, _)), Ok("{}")) => {}
                    (Ok((400.., body)), Ok(words)) if words != "{}" => {
                        assert!(body.to_string().contains(words), "{fate:?}: {body}")
                    }
                    (Err(error), Err(words)) => assert!(error.contains(words), "{fate:?}: {error}"),
                    _ => panic!("{fate:?}: {answer:?}"),
                }
            }
            sleep(WINDOW).await;
            assert_eq!(visible(&engine).await.len(), if effect { KEYS.len() } else { 0 }, "{fate:?}");
            assert!(engine.trace().contains(&format!("-> {fate:?}")), "{}", engine.trace());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_plain_write_may_conflict_with_a_transaction_that_nobody_knows_of() {
    let engine = Engine::new().await.unwrap();
    let conflict = Fault::Cancelled(Cancellation::Conflict, 0);
    let write = || put("a", "1")["Put"].clone();
    let refused = ask_with(conflict, &engine, "PutItem", write()).await.unwrap();
    assert_refused(&refused, "TransactionConflictException", "ongoing");
    assert_eq!(value(&engine, "a").await, None);
    let throttled = Fault::Cancelled(Cancellation::OnDemand, 0);
    assert_eq!(ask_with(throttled, &engine, "PutItem", write()).await.unwrap().0, 200, "this is for transactions");
    assert_eq!(ask_with(conflict, &engine, "GetItem", get("a")["Get"].clone()).await.unwrap().0, 200);
}

#[tokio::test(start_paused = true)]
async fn the_same_calls_under_the_same_fates_go_the_same_way() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let (engine, task) = moving(Fault::None.in_flight(WINDOW)).await;
        while !task.is_finished() {
            let all = visible(&engine).await;
            // Who sees all of it goes on.
            let next = if all.len() > 3 { put("g", "3") } else { update("a", "3") };
            ask(&engine, "TransactWriteItems", transaction([next])).await;
            sleep(Duration::from_millis(7)).await;
        }
        runs.push(engine.trace());
    }
    assert!(runs[0].contains(r#""TransactItems":[{"Put":{"Item":{"k":{"S":"g"}"#), "{}", runs[0]);
    assert_eq!(runs[0], runs[1]);
}
