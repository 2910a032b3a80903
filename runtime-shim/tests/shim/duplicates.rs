//! A transaction that had committed before is answered with its recorded response, wherever that is noticed.

use super::support::world::{NEXT, World};
use super::support::{Call, event, soon};

const RECORDED: &str = "what it said then";

fn assert_recorded(taken: &Call) {
    assert_eq!((taken.header("content-type"), &taken.body[..]), ("text/then", RECORDED.as_bytes()));
    assert_eq!(taken.header("lambda-runtime-invocation-id"), "invocation-of-r-1");
    assert_eq!(taken.header("lambda-runtime-function-response-mode"), "");
}

#[tokio::test]
async fn at_begin_without_running_the_handler() {
    let mut world = World::start(&[]).await;
    let runtime = world.runtime().await;
    let next = runtime.next();
    event(world.lambda(NEXT).await, "r-1", b"{}");
    world.begin(1).await.duplicate("text/then", RECORDED);
    let taken = world.taken("r-1", "response").await;
    assert_recorded(&taken);
    taken.accept();
    world.ended("r-1").await;
    event(world.lambda(NEXT).await, "r-2", b"[]");
    world.begin(1).await.outcome("open");
    assert_eq!(world.received(next).await.body, "[]", "the handler sees the next event only");
}

#[tokio::test]
async fn at_commit() {
    let mut world = World::start(&[]).await;
    let (runtime, _) = world.delivered("r-1", b"{}").await;
    let response = runtime.respond("r-1", "what it says now");
    world.commit(1).await.duplicate("text/then", RECORDED);
    let taken = world.taken("r-1", "response").await;
    assert_recorded(&taken);
    taken.accept();
    assert_eq!(soon("Lambda's answer", response).await.unwrap().status, 202);
    world.ended("r-1").await;
}

#[tokio::test]
async fn at_abort() {
    let mut world = World::start(&[]).await;
    let (runtime, _) = world.delivered("r-1", b"{}").await;
    let failed = runtime.fail("r-1");
    world.abort(1).await.duplicate("text/then", RECORDED);
    let taken = world.taken("r-1", "response").await;
    assert_recorded(&taken);
    taken.accept();
    assert_eq!(soon("Lambda's answer", failed).await.unwrap().status, 202);
    world.ended("r-1").await;
}

#[tokio::test]
async fn a_recorded_stream_is_released_as_a_stream() {
    let mut world = World::start(&[]).await;
    let runtime = world.runtime().await;
    let _next = runtime.next();
    event(world.lambda(NEXT).await, "r-1", b"{}");
    world.begin(1).await.duplicate("application/vnd.awslambda.http-integration-response", "{}\0\0\0\0\0\0\0\0body");
    let taken = world.taken("r-1", "response").await;
    assert_eq!(taken.header("lambda-runtime-function-response-mode"), "streaming");
    assert_eq!(taken.header("transfer-encoding"), "chunked");
    assert_eq!(taken.body, "{}\0\0\0\0\0\0\0\0body");
}

/// The runtime was not there when the event came; until it is, the look-up beside it has ended.
#[tokio::test]
async fn a_look_up_that_wins_against_a_late_runtime_spares_the_handler() {
    let mut world = World::start(&[]).await;
    let runtime = world.runtime().await;
    let next = runtime.next();
    let poll = world.lambda(NEXT).await;
    // It hangs up and asks again, later.
    next.abort();
    world.logged("a connection of the runtime broke").await;
    event(poll, "r-1", b"{}");
    world.begin(1).await.outcome("open");
    let next = runtime.next();
    world.known(1).await.duplicate("text/then", "what it said then");
    let taken = world.taken("r-1", "response").await;
    assert_recorded(&taken);
    taken.accept();
    world.ended("r-1").await;
    event(world.lambda(NEXT).await, "r-2", b"[]");
    world.begin(1).await.outcome("open");
    assert_eq!(world.received(next).await.body, "[]", "the handler saw nothing of the first");
    world.succeed(&runtime, "r-2", 1).await;
}
