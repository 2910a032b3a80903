//! Attempts: one that succeeds, and those that fail in all the ways a handler or a commit can.

use std::time::Duration;

use super::support::runtime::HANDLER_ERROR;
use super::support::world::{NEXT, event_within};
use super::support::{World, event, soon};

static EVERY_BYTE: [u8; 256 * 1_024] = {
    let mut bytes = [0; 256 * 1_024];
    let mut index = 0;
    while index < bytes.len() {
        bytes[index] = (index % 256) as u8;
        index += 1;
    }
    bytes
};

#[tokio::test]
async fn a_response_is_released_after_its_commit_and_not_before() {
    let mut world = World::start(&[]).await;
    let runtime = world.runtime().await;
    assert_eq!(runtime.environment["AFT_ENDPOINT"], "http://127.0.0.1:7321");
    assert_eq!(runtime.environment["AFT_TOKEN"], "secret");
    assert!(!runtime.environment.contains_key("AWS_LAMBDA_EXEC_WRAPPER"));

    let next = runtime.next();
    let poll = world.lambda(NEXT).await;
    assert_eq!(poll.header("user-agent"), "test-runtime/1");
    event(poll, "r-1", b"{\"amount\":1}");
    let begin = world.begin(1).await;
    let begun = begin.json();
    assert_eq!(begun["request"], "r-1");
    assert_eq!(begun["origin"], "transfer r-1");
    assert!(!next.is_finished(), "the handler runs only in an attempt that has begun");
    begin.outcome("open");
    let delivered = world.received(next).await;
    assert_eq!(delivered.body, "{\"amount\":1}");
    assert_eq!(delivered.header("x-unknown"), "kept");
    assert_eq!(delivered.header("lambda-runtime-invocation-id"), "invocation-of-r-1");

    let path = "invocation/r-1/response";
    let headers =
        [("Content-Type", "text/x"), ("X-Own", "kept"), ("Lambda-Runtime-Invocation-Id", "invocation-of-r-1")];
    let response = runtime.post(path, &headers, "done");
    let commit = world.commit(1).await;
    assert_eq!(commit.header("x-aft-transaction"), begun["transaction"]);
    assert_eq!((commit.header("content-type"), &commit.body[..]), ("text/x", &b"done"[..]));
    world.nothing_more_heard();
    commit.outcome("committed");
    let taken = world.taken("r-1", "response").await;
    assert_eq!(
        (taken.header("content-type"), taken.header("x-own"), &taken.body[..]),
        ("text/x", "kept", &b"done"[..])
    );
    assert_eq!(taken.header("lambda-runtime-invocation-id"), "invocation-of-r-1");
    assert_eq!(taken.header("content-length"), "4");
    world.nothing_more_heard();
    taken.answer(202, &[("X-Lambda", "said")], "whatever");
    let answer = soon("Lambda's answer", response).await.unwrap();
    assert_eq!((answer.status, answer.header("x-lambda"), &answer.body[..]), (202, "said", &b"whatever"[..]));
    world.ended("r-1").await;
}

#[tokio::test]
async fn a_failed_handler_runs_again_under_the_same_transaction() {
    let mut world = World::start(&[]).await;
    let runtime = world.runtime().await;
    let next = runtime.next();
    event(world.lambda(NEXT).await, "r-1", b"{}");
    let begin = world.begin(1).await;
    let first = begin.json();
    begin.outcome("open");
    let event = world.received(next).await;

    let failed = runtime.fail("r-1");
    world.abort(1).await.outcome("aborted");
    let answer = soon("the shim's answer", failed).await.unwrap();
    assert_eq!((answer.status, &answer.body[..]), (202, &br#"{"status":"OK"}"#[..]));

    let begin = world.begin(2).await;
    let mut second = begin.json();
    second["attempt"] = 1.into();
    assert_eq!(second, first);
    let next = runtime.next();
    begin.outcome("open");
    let again = world.received(next).await;
    assert_eq!((&again.body, &again.headers), (&event.body, &event.headers));
    world.succeed(&runtime, "r-1", 2).await;
    world.nothing_more_heard();
}

#[tokio::test]
async fn the_last_attempts_error_is_the_runtimes_own_byte_for_byte() {
    let mut world = World::start(&[("AFT_MAX_ATTEMPTS", "2")]).await;
    let (runtime, _) = world.delivered("r-1", b"{}").await;
    let failed = runtime.fail("r-1");
    world.abort(1).await.outcome("aborted");
    soon("the shim's answer", failed).await.unwrap();
    world.begin(2).await.outcome("open");
    world.received(runtime.next()).await;

    let failed = runtime.fail("r-1");
    world.abort(2).await.outcome("aborted");
    let taken = world.taken("r-1", "error").await;
    assert_eq!(taken.body, HANDLER_ERROR);
    assert_eq!(taken.header("lambda-runtime-function-error-type"), "Handler.Oops");
    taken.answer(202, &[], "as Lambda says");
    assert_eq!(soon("Lambda's answer", failed).await.unwrap().body, "as Lambda says");
    world.ended("r-1").await;
    world.deliver(&runtime, "r-2", b"{}").await;
    world.succeed(&runtime, "r-2", 1).await;
}

#[tokio::test]
async fn without_the_time_for_it_there_is_no_other_attempt() {
    let mut world = World::start(&[("AFT_RETRY_RESERVE_MS", "61000")]).await;
    let (runtime, _) = world.delivered("r-1", b"{}").await;
    let _failed = runtime.fail("r-1");
    world.abort(1).await.outcome("aborted");
    assert_eq!(world.taken("r-1", "error").await.body, HANDLER_ERROR);
}

#[tokio::test]
async fn a_conflict_runs_the_handler_again() {
    let mut world = World::start(&[]).await;
    let (runtime, _) = world.delivered("r-1", b"{}").await;
    let response = runtime.respond("r-1", "1");
    world.commit(1).await.problem("conflict", "another was faster");
    assert_eq!(soon("the shim's answer", response).await.unwrap().status, 202);
    world.begin(2).await.outcome("open");
    world.received(runtime.next()).await;
    world.succeed(&runtime, "r-1", 2).await;
    world.nothing_more_heard();
}

/// A read was refused, and the handler ended by that: in its own words, which do not matter.
#[tokio::test]
async fn a_handler_that_failed_by_a_conflict_has_met_a_conflict() {
    let mut world = World::start(&[("AFT_MAX_ATTEMPTS", "1"), ("AFT_RETRY_NEVER", "Handler.Oops")]).await;
    let (runtime, _) = world.delivered("r-1", b"{}").await;
    for attempt in 1..=4 {
        let failed = runtime.fail("r-1");
        world.abort(attempt).await.problem("conflict", "\"k\" is at 9 now");
        soon("the shim's answer", failed).await.unwrap();
        world.begin(attempt + 1).await.outcome("open");
        world.received(runtime.next()).await;
    }
    // The same words without a conflict are the handler's.
    let _failed = runtime.fail("r-1");
    world.abort(5).await.outcome("aborted");
    assert_eq!(world.taken("r-1", "error").await.body, HANDLER_ERROR);
}

#[tokio::test]
async fn a_runtime_that_ended_by_a_conflict_has_met_a_conflict() {
    let mut world = World::start(&[("AFT_MAX_ATTEMPTS", "1")]).await;
    let (runtime, _) = world.delivered("r-1", b"{}").await;
    runtime.exit(1).await;
    world.abort(1).await.problem("conflict", "\"k\" is at 9 now");
    let runtime = world.runtime().await;
    world.begin(2).await.outcome("open");
    world.received(runtime.next()).await;
    world.succeed(&runtime, "r-1", 2).await;
}

/// Which keys, which versions, how often, which transaction, what to do.
#[tokio::test]
async fn the_last_conflict_says_everything() {
    let changed = "\"stock/apple\" was at 5-a when it was read and is at 6-b now";
    for by_handler in [false, true] {
        let mut world = World::start(&[("AFT_MAX_CONFLICTS", "2"), ("AFT_MAX_ATTEMPTS", "1")]).await;
        let (runtime, _) = world.delivered("r-1", b"{}").await;
        let mut ends = Vec::new();
        let mut transaction = String::new();
        for attempt in 1..=3 {
            if attempt > 1 {
                world.begin(attempt).await.outcome("open");
                world.received(runtime.next()).await;
            }
            let end = if by_handler { runtime.fail("r-1") } else { runtime.respond("r-1", "1") };
            let call = if by_handler { world.abort(attempt).await } else { world.commit(attempt).await };
            transaction = call.header("x-aft-transaction").to_owned();
            call.problem("conflict", changed);
            if attempt < 3 {
                soon("the shim's answer", end).await.unwrap();
            } else {
                ends.push(end);
            }
        }
        let taken = world.taken("r-1", "error").await;
        assert_eq!(taken.header("lambda-runtime-function-error-type"), "Aft.Conflict");
        let document = taken.json();
        assert_eq!(document["errorType"], "Aft.Conflict");
        let message = document["errorMessage"].as_str().unwrap();
        for part in [
            changed,
            "nothing was written",
            "Attempts: 3, of them 3 ended by a conflict",
            "AFT_MAX_CONFLICTS",
            "Send the same request again",
            transaction.as_str(),
        ] {
            assert!(!part.is_empty() && message.contains(part), "{part:?} in {message:?}");
        }
        assert_eq!(message.contains("Handler.Oops"), by_handler, "{message}");
    }
}

#[tokio::test]
async fn what_no_attempt_could_commit_is_an_error_with_its_reason() {
    for (outcome, kind) in
        [("conflict", "Aft.Conflict"), ("failed", "Aft.CommitFailed"), ("unknown", "Aft.OutcomeUnknown")]
    {
        // An unknown outcome is never followed by another attempt here: the same request resolves it.
        let attempts = if outcome == "unknown" { "3" } else { "1" };
        let settings = [("AFT_MAX_ATTEMPTS", attempts), ("AFT_MAX_CONFLICTS", "0")];
        let mut world = World::start(&settings).await;
        let (runtime, _) = world.delivered("r-1", b"{}").await;
        let response = runtime.respond("r-1", "1");
        let commit = world.commit(1).await;
        let transaction = commit.header("x-aft-transaction").to_owned();
        commit.problem(outcome, "why it is so");
        let taken = world.taken("r-1", "error").await;
        assert_eq!(taken.header("lambda-runtime-function-error-type"), kind);
        assert_eq!(taken.header("lambda-runtime-invocation-id"), "invocation-of-r-1");
        let error = taken.json();
        assert_eq!(error["errorType"], kind);
        let message = error["errorMessage"].as_str().unwrap();
        assert!(message.contains("why it is so") && message.contains(&transaction), "{message}");
        taken.accept();
        assert_eq!(soon("Lambda's answer", response).await.unwrap().status, 202);
        world.ended("r-1").await;
    }
}

#[tokio::test]
async fn an_extension_that_dies_during_the_commit_leaves_an_unknown_outcome() {
    let mut world = World::start(&[]).await;
    let (runtime, _) = world.delivered("r-1", b"{}").await;
    let _response = runtime.respond("r-1", "1");
    let commit = world.commit(1).await;
    world.extension_dies();
    drop(commit);
    let error = world.taken("r-1", "error").await.json();
    assert_eq!(error["errorType"], "Aft.OutcomeUnknown");
    assert!(error["errorMessage"].as_str().unwrap().contains("same transaction ID"), "{error}");
}

#[tokio::test]
async fn an_extension_that_is_gone_costs_no_handler_its_own_error() {
    let mut world = World::start(&[]).await;
    let (runtime, _) = world.delivered("r-1", b"{}").await;
    world.extension_dies();
    let _failed = runtime.fail("r-1");
    assert_eq!(world.taken("r-1", "error").await.body, HANDLER_ERROR);
}

#[tokio::test]
async fn an_attempt_that_cannot_begin_is_an_error_and_the_next_event_follows() {
    let mut world = World::start(&[]).await;
    let runtime = world.runtime().await;
    let next = runtime.next();
    event(world.lambda(NEXT).await, "r-1", b"{}");
    world.begin(1).await.problem("failed", "the store is away");
    let taken = world.taken("r-1", "error").await;
    let error = taken.json();
    assert_eq!(error["errorType"], "Aft.BeginFailed");
    assert!(error["errorMessage"].as_str().unwrap().contains("the store is away"), "{error}");
    taken.accept();
    world.ended("r-1").await;
    event(world.lambda(NEXT).await, "r-2", b"[]");
    world.begin(1).await.outcome("open");
    assert_eq!(world.received(next).await.body, "[]");
    world.succeed(&runtime, "r-2", 1).await;
}

#[tokio::test]
async fn events_and_responses_are_any_bytes() {
    let mut world = World::start(&[]).await;
    let (runtime, event) = world.delivered("r-1", &EVERY_BYTE).await;
    assert!(event.body[..] == EVERY_BYTE[..]);
    let response = runtime.respond("r-1", &EVERY_BYTE[..]);
    let commit = world.commit(1).await;
    assert!(commit.body[..] == EVERY_BYTE[..]);
    commit.outcome("committed");
    let taken = world.taken("r-1", "response").await;
    assert!(taken.body[..] == EVERY_BYTE[..]);
    taken.accept();
    soon("Lambda's answer", response).await.unwrap();
}

#[tokio::test]
async fn a_runtime_that_lost_track_gets_the_same_event_in_the_same_attempt() {
    let mut world = World::start(&[]).await;
    let (runtime, event) = world.delivered("r-1", b"{}").await;
    let again = world.received(runtime.next()).await;
    assert_eq!((&again.body, &again.headers), (&event.body, &event.headers));
    world.nothing_more_heard();
    world.succeed(&runtime, "r-1", 1).await;
}

#[tokio::test]
async fn a_durable_functions_event_is_refused() {
    let mut world = World::start(&[]).await;
    let runtime = world.runtime().await;
    let next = runtime.next();
    let durable = br#"{"DurableExecutionArn":"a","CheckpointToken":"t","InitialExecutionState":{}}"#;
    event_within(world.lambda(NEXT).await, "r-1", durable, Duration::from_secs(9));
    let taken = world.taken("r-1", "error").await;
    assert_eq!(taken.json()["errorType"], "Aft.DurableFunction");
    taken.accept();
    world.ended("r-1").await;
    assert!(!next.is_finished());
}
