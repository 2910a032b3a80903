//! What the shim, or Lambda, does not take from the runtime.

use aft_protocol::limits::RESPONSE_BYTES;

use super::support::world::{NEXT, World};
use super::support::{event, soon};

#[tokio::test]
async fn an_oversize_response_leaves_no_trace_and_is_not_tried_again() {
    let mut world = World::start(&[]).await;
    let (runtime, _) = world.delivered("r-1", b"{}").await;
    let response = runtime.respond("r-1", vec![b'x'; RESPONSE_BYTES + 1]);
    world.abort(1).await.outcome("aborted");
    let taken = world.taken("r-1", "error").await;
    assert_eq!(taken.json()["errorType"], "Function.ResponseSizeTooLarge");
    assert_eq!(taken.header("lambda-runtime-function-error-type"), "Function.ResponseSizeTooLarge");
    taken.accept();
    let answer = soon("the shim's answer", response).await.unwrap();
    assert_eq!((answer.status, &answer.json()["errorType"]), (413, &"RequestEntityTooLarge".into()));
    world.ended("r-1").await;
    world.deliver(&runtime, "r-2", b"{}").await;
    let response = runtime.respond("r-2", vec![b'x'; RESPONSE_BYTES]);
    let commit = world.commit(1).await;
    assert_eq!(commit.body.len(), RESPONSE_BYTES);
    commit.outcome("committed");
    world.taken("r-2", "response").await.accept();
    assert_eq!(soon("Lambda's answer", response).await.unwrap().status, 202);
}

#[tokio::test]
async fn an_answer_to_another_request_does_not_touch_the_transaction() {
    let mut world = World::start(&[]).await;
    let runtime = world.runtime().await;
    let early = soon("a refusal", runtime.respond("r-1", "1")).await.unwrap();
    assert_eq!((early.status, &early.json()["errorType"]), (400, &"InvalidRequestID".into()));

    world.deliver(&runtime, "r-1", b"{}").await;
    for refused in [runtime.respond("r-0", "1"), runtime.fail("r-0")] {
        let answer = soon("a refusal", refused).await.unwrap();
        assert_eq!((answer.status, &answer.json()["errorType"]), (400, &"InvalidRequestID".into()));
    }
    let headers = [("Lambda-Runtime-Invocation-Id", "of-yesterday")];
    let stale = soon("a refusal", runtime.post("invocation/r-1/response", &headers, "1")).await.unwrap();
    assert_eq!(stale.status, 410);
    let put = soon("a refusal", runtime.post("invocation/r-1/response/", &[], "1")).await.unwrap();
    assert_eq!((put.status, &put.json()["errorType"]), (404, &"Aft.UnknownRoute".into()));
    world.nothing_more_heard();

    world.succeed(&runtime, "r-1", 1).await;
    let second = soon("a refusal", runtime.respond("r-1", "2")).await.unwrap();
    assert_eq!((second.status, &second.json()["errorType"]), (403, &"InvalidStateTransition".into()));
    world.nothing_more_heard();
}

/// An attempt that is over cannot be answered again before the runtime has taken the next one.
#[tokio::test]
async fn a_second_answer_of_a_failed_attempt_does_not_count_for_the_next() {
    let mut world = World::start(&[]).await;
    let (runtime, _) = world.delivered("r-1", b"{}").await;
    let failed = runtime.fail("r-1");
    world.abort(1).await.outcome("aborted");
    soon("the shim's answer", failed).await.unwrap();
    world.begin(2).await.outcome("open");
    let late = soon("a refusal", runtime.respond("r-1", "late")).await.unwrap();
    assert_eq!((late.status, &late.json()["errorType"]), (403, &"InvalidStateTransition".into()));
    world.received(runtime.next()).await;
    world.succeed(&runtime, "r-1", 2).await;
}

#[tokio::test]
async fn lambdas_own_refusal_goes_back_as_it_is() {
    let mut world = World::start(&[]).await;
    let (runtime, _) = world.delivered("r-1", b"{}").await;
    let response = runtime.respond("r-1", "1");
    world.commit(1).await.outcome("committed");
    world.taken("r-1", "response").await.answer(410, &[("X-Lambda", "stale")], "too late");
    let answer = soon("Lambda's answer", response).await.unwrap();
    assert_eq!((answer.status, answer.header("x-lambda"), &answer.body[..]), (410, "stale", &b"too late"[..]));
    world.ended("r-1").await;
}

#[tokio::test]
async fn a_next_that_lambda_refuses_is_the_runtimes_to_see() {
    let mut world = World::start(&[]).await;
    let runtime = world.runtime().await;
    let next = runtime.next();
    world.lambda(NEXT).await.answer(500, &[], "ContainerError");
    let answer = soon("Lambda's answer", next).await.unwrap();
    assert_eq!((answer.status, &answer.body[..]), (500, &b"ContainerError"[..]));
    // A runtime that gives up then is not started again.
    runtime.exit(4).await;
    assert_eq!(world.shim_ended().await.code(), Some(4));
}

/// Lambda closed the connection between two calls: what was not sent, or is harmless to repeat, goes out on a new one.
#[tokio::test]
async fn a_broken_connection_to_lambda_is_made_anew() {
    let mut world = World::start(&[]).await;
    let runtime = world.runtime().await;
    let next = runtime.next();
    drop(world.lambda(NEXT).await);
    event(world.lambda(NEXT).await, "r-1", b"{}");
    world.begin(1).await.outcome("open");
    world.received(next).await;
    let response = runtime.respond("r-1", "1");
    world.commit(1).await.outcome("committed");
    drop(world.taken("r-1", "response").await);
    let taken = world.taken("r-1", "response").await;
    assert_eq!(taken.body, "1");
    taken.accept();
    assert_eq!(soon("Lambda's answer", response).await.unwrap().status, 202);
}
