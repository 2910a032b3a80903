//! SnapStart: one snapshot becomes many sandboxes, and none may use what was made before it.

use std::fs::read_to_string;

use super::support::world::{NEXT, World, event};
use super::support::{Runtime, soon};

const RESTORE: &str = "/2018-06-01/runtime/restore/next";
const SNAP_START: [(&str, &str); 1] = [("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")];

fn token(runtime: &Runtime) -> String {
    read_to_string(&runtime.environment["AFT_TOKEN_FILE"]).unwrap()
}

#[tokio::test]
async fn the_runtime_hears_of_a_restore_when_everything_is_made_anew() {
    let mut world = World::start(&SNAP_START).await;
    let runtime = world.runtime().await;
    assert!(!runtime.environment.contains_key("AFT_TOKEN"));
    assert_eq!(token(&runtime), "secret");

    let restore = runtime.restore();
    let asked = world.lambda(RESTORE).await;
    world.nothing_more_heard();
    asked.answer(200, &[("X-Lambda", "restored")], "{}");
    world.greet("/control/v1/restore", "another secret").await;
    let answer = soon("Lambda's answer", restore).await.unwrap();
    assert_eq!((answer.status, answer.header("x-lambda"), &answer.body[..]), (200, "restored", &b"{}"[..]));
    assert_eq!(token(&runtime), "another secret");

    world.deliver(&runtime, "r-1", b"{}").await;
    world.succeed(&runtime, "r-1", 1).await;
}

/// A runtime that was started in place of another asks again; Lambda has no second restore for it.
#[tokio::test]
async fn a_runtime_that_is_started_later_does_not_wait_for_a_restore() {
    let mut world = World::start(&SNAP_START).await;
    let runtime = world.runtime().await;
    let restore = runtime.restore();
    world.lambda(RESTORE).await.answer(200, &[], "{}");
    world.greet("/control/v1/restore", "another secret").await;
    soon("Lambda's answer", restore).await.unwrap();
    world.deliver(&runtime, "r-1", b"{}").await;

    runtime.die("KILL").await;
    world.abort(1).await.outcome("aborted");
    let runtime = world.runtime().await;
    assert_eq!(token(&runtime), "another secret");
    world.begin(2).await.outcome("open");
    assert_eq!(soon("the shim's answer", runtime.restore()).await.unwrap().status, 200);
    world.received(runtime.next()).await;
    world.succeed(&runtime, "r-1", 2).await;
}

/// An image may allow snapshots of a runtime that knows nothing of them.
#[tokio::test]
async fn a_runtime_that_asks_for_no_restore_is_restored_all_the_same() {
    let mut world = World::start(&SNAP_START).await;
    let runtime = world.runtime().await;
    let next = runtime.next();
    world.lambda(RESTORE).await.answer(200, &[], "{}");
    world.greet("/control/v1/restore", "another secret").await;
    event(world.lambda(NEXT).await, "r-1", b"{}");
    world.begin(1).await.outcome("open");
    world.received(next).await;
    assert_eq!(token(&runtime), "another secret");
    world.succeed(&runtime, "r-1", 1).await;
}

#[tokio::test]
async fn without_a_restore_there_is_no_event() {
    let mut world = World::start(&SNAP_START).await;
    let runtime = world.runtime().await;
    let next = runtime.next();
    world.lambda(RESTORE).await.answer(403, &[], "{}");
    world.logged("Aft.NotRestored").await;
    assert_eq!(world.shim_ended().await.code(), Some(1));
    next.abort();
    runtime.gone().await;
    world.nothing_more_heard();
}

#[tokio::test]
async fn an_extension_that_cannot_be_restored_ends_the_sandbox() {
    let mut world = World::start(&SNAP_START).await;
    let runtime = world.runtime().await;
    let restore = runtime.restore();
    let asked = world.lambda(RESTORE).await;
    world.extension_dies();
    asked.answer(200, &[], "{}");
    world.logged("Aft.ExtensionUnreachable").await;
    assert_eq!(world.shim_ended().await.code(), Some(1));
    restore.abort();
    runtime.gone().await;
}

/// Where there is no snapshot, Lambda says so itself.
#[tokio::test]
async fn without_snap_start_a_restore_is_passed_through() {
    let mut world = World::start(&[]).await;
    let runtime = world.runtime().await;
    assert_eq!(runtime.environment["AFT_TOKEN"], "secret");
    assert!(!runtime.environment.contains_key("AFT_TOKEN_FILE"));
    let restore = runtime.restore();
    world.lambda(RESTORE).await.answer(403, &[], "no snapshot");
    let answer = soon("Lambda's answer", restore).await.unwrap();
    assert_eq!((answer.status, &answer.body[..]), (403, &b"no snapshot"[..]));
    world.deliver(&runtime, "r-1", b"{}").await;
}
