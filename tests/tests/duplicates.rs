//! One request, delivered more than once: to two sandboxes of the layer as it is shipped, at the same time, afterwards, and
//! after a crash; with each setting of `AFT_DUPLICATE_CHECK`. One commit, one response, whoever is asked.
#![allow(clippy::unwrap_used)]

use aft_cli::{InvokeResult, Victim};
use aft_tests::store_proxy::{Point, StoreRequest};
use aft_tests::witness::Rule;
use aft_tests::world::{FIRST, SECOND, Setup, World, error_type, wrote};
use serde_json::{Value, json};

const FUNCTION: &str = env!("CARGO_BIN_EXE_witnessed-function");
const CHECKS: [&str; 3] = ["parallel", "before", "commit-only"];
const REQUEST: &str = "the-request";

fn write() -> Value {
    json!({ "do": "write" })
}

async fn world(check: &'static str) -> World {
    World::start(Setup::new(FUNCTION).duplicate_check(check)).await
}

/// Both callers have the response of the one commit, and it is what the keys hold.
async fn assert_one_commit(world: &World, first: &InvokeResult, second: &InvokeResult) {
    assert!(first.succeeded() && second.succeeded(), "{first:?} {second:?}\n{}", world.log());
    assert_eq!(first.payload, second.payload);
    assert_committed(world, second).await;
}

async fn assert_committed(world: &World, result: &InvokeResult) {
    let stored = world.stored().await;
    assert_eq!(stored.records, 1);
    assert_eq!(stored.heads, [wrote(result), wrote(result)]);
}

fn runs(world: &World) -> (usize, usize) {
    (world.witness.runs(FIRST, REQUEST), world.witness.runs(SECOND, REQUEST))
}

/// Sends the request to both sandboxes, and lets both handlers go on from this gate at the same time.
async fn both_from(world: &World, at: &'static str) -> (InvokeResult, InvokeResult) {
    world.witness.rule([Rule { side: None, at, order: None }]);
    let callers = [FIRST, SECOND].map(|side| world.invoking(side, REQUEST, &write()));
    let mut waiting = Vec::new();
    for side in [FIRST, SECOND] {
        let wanted =
            |report: &aft_tests::witness::Report| report.at == at && report.side == side && report.request == REQUEST;
        waiting.push(world.witness.reports(1, at, wanted).await.process);
    }
    world.witness.rule([]);
    for process in waiting {
        world.witness.order(process, "go");
    }
    let [first, second] = callers;
    (first.await.unwrap(), second.await.unwrap())
}

#[tokio::test]
async fn duplicates_that_are_both_in_the_handler_commit_once() {
    for check in CHECKS {
        let world = world(check).await;
        let (first, second) = both_from(&world, "first-write").await;
        assert_one_commit(&world, &first, &second).await;
        assert_eq!(runs(&world), (1, 1), "{check}");
        world.stop().await;
    }
}

#[tokio::test]
async fn duplicates_that_commit_at_the_same_time_commit_once() {
    for check in CHECKS {
        let world = world(check).await;
        let (first, second) = both_from(&world, "last-write").await;
        assert_one_commit(&world, &first, &second).await;
        assert_eq!(runs(&world), (1, 1), "{check}");
        world.stop().await;
    }
}

/// The loser's record is on its way when the winner's arrives.
#[tokio::test]
async fn a_record_that_comes_second_is_not_written() {
    for check in CHECKS {
        let world = world(check).await;
        world.proxy.trap(|request| *request == StoreRequest::Record, Point::Arrived);
        let first = world.invoking(FIRST, REQUEST, &write());
        world.proxy.caught(1).await;
        let second = world.invoke(SECOND, REQUEST, &write()).await;
        world.proxy.decide(&[]);
        assert_one_commit(&world, &first.await.unwrap(), &second).await;
        assert!(wrote(&second).unwrap().starts_with(SECOND), "{check}: {second:?}");
        assert_eq!(runs(&world), (1, 1), "{check}");
        world.stop().await;
    }
}

/// Between record and heads of the first delivery, the second is answered, with the heads moved by then.
#[tokio::test]
async fn a_duplicate_between_record_and_heads_moves_them_before_it_is_answered() {
    for check in CHECKS {
        let world = world(check).await;
        world.proxy.trap(|request| matches!(request, StoreRequest::Head(_)), Point::Arrived);
        let first = world.invoking(FIRST, REQUEST, &write());
        world.proxy.caught(1).await;
        let second = world.invoke(SECOND, REQUEST, &write()).await;
        assert_committed(&world, &second).await;
        world.proxy.decide(&[]);
        assert_one_commit(&world, &first.await.unwrap(), &second).await;
        assert_eq!(runs(&world), (1, usize::from(check != "before")), "{check}");
        world.stop().await;
    }
}

#[tokio::test]
async fn a_duplicate_after_a_crash_between_record_and_heads_finishes_what_was_left() {
    for check in CHECKS {
        let world = world(check).await;
        world.proxy.trap(|request| matches!(request, StoreRequest::Head(_)), Point::Arrived);
        let first = world.invoking(FIRST, REQUEST, &write());
        world.proxy.caught(1).await;
        world.kill(Victim::Everything);
        let first = first.await.unwrap();
        world.settled().await;
        world.proxy.go_away();
        assert!(error_type(&first).is_some(), "{first:?}");
        let left = world.stored().await;
        assert_eq!((left.records, left.heads), (1, [Some(world.old.clone()), Some(world.old.clone())]));

        let second = world.invoke(SECOND, REQUEST, &write()).await;
        assert!(second.succeeded(), "{second:?}");
        assert!(wrote(&second).unwrap().starts_with(FIRST), "the response of the dead sandbox's commit: {second:?}");
        assert_committed(&world, &second).await;
        assert_eq!(runs(&world), (1, usize::from(check != "before")), "{check}");
        world.stop().await;
    }
}

/// The handler runs for a duplicate that comes after the commit: not at all with `before`, once with the others.
#[tokio::test]
async fn a_duplicate_after_the_commit_is_answered_from_the_record() {
    for check in CHECKS {
        let world = world(check).await;
        let first = world.invoke(SECOND, REQUEST, &write()).await;
        let second = world.invoke(FIRST, REQUEST, &write()).await;
        assert_one_commit(&world, &first, &second).await;
        assert_eq!(runs(&world), (usize::from(check != "before"), 1), "{check}");
        if check == "before" {
            assert_eq!(world.proxy.count(&StoreRequest::Record), 0, "not even tried to commit");
        }
        world.stop().await;
    }
}

/// With the look-up beside the handler: as soon as it has found the commit, the handler's requests are refused, and the error
/// that it ends in reaches nobody.
#[tokio::test]
async fn a_duplicates_handler_is_told_that_there_is_nothing_left_to_do() {
    let world = world("parallel").await;
    let event = json!({ "do": "write", "until_refused_at": FIRST });
    let first = world.invoke(SECOND, REQUEST, &event).await;
    let second = world.invoke(FIRST, REQUEST, &event).await;
    let refused = world.witness.at(FIRST, "refused").await;
    assert_eq!(refused.seen, "409 already-committed");
    assert_one_commit(&world, &first, &second).await;
    assert_eq!(runs(&world), (1, 1), "and it is not run again");
    world.stop().await;
}

/// With the look-up beside the handler: a duplicate's run that fails is not followed by another.
#[tokio::test]
async fn a_duplicates_handler_that_dies_is_not_run_again() {
    for order in ["error", "exit 1", "die KILL"] {
        let world = world("parallel").await;
        let first = world.invoke(SECOND, REQUEST, &write()).await;
        world.witness.rule([Rule { side: Some(FIRST), at: "event", order: Some(order) }]);
        let second = world.invoke(FIRST, REQUEST, &write()).await;
        assert_one_commit(&world, &first, &second).await;
        assert_eq!(runs(&world), (1, 1), "{order}");
        world.stop().await;
    }
}
