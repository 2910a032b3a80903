//! The retry policy and the time limit of an attempt, as settings of a process.

use super::support::runtime::HANDLER_ERROR;
use super::support::{World, soon};

#[tokio::test]
async fn an_error_type_that_is_never_retried_is_reported_at_once() {
    // The runtime names it in the header, in the document, or in both.
    let mut world = World::start(&[("AFT_RETRY_NEVER", "Other,Handler.Oops")]).await;
    let (runtime, _) = world.delivered("r-1", b"{}").await;
    let _failed = runtime.fail("r-1");
    world.abort(1).await.outcome("aborted");
    assert_eq!(world.taken("r-1", "error").await.body, HANDLER_ERROR);
}

#[tokio::test]
async fn only_the_named_causes_are_retried() {
    let mut world = World::start(&[("AFT_RETRY_ON", "crash")]).await;
    let (runtime, _) = world.delivered("r-1", b"{}").await;
    runtime.exit(1).await;
    world.abort(1).await.outcome("aborted");
    world.begin(2).await.outcome("open");
    let runtime = world.runtime().await;
    world.received(runtime.next()).await;
    let _failed = runtime.fail("r-1");
    world.abort(2).await.outcome("aborted");
    assert_eq!(world.taken("r-1", "error").await.body, HANDLER_ERROR);
}

#[tokio::test]
async fn a_runtime_that_hangs_is_killed_and_the_handler_runs_again() {
    let mut world = World::start(&[("AFT_ATTEMPT_TIMEOUT_MS", "100")]).await;
    let (runtime, _) = world.delivered("r-1", b"{}").await;
    // It does nothing. SIGKILL: no handler of its own can hold it.
    runtime.gone().await;
    world.abort(1).await.outcome("aborted");
    world.begin(2).await.outcome("open");
    let runtime = world.runtime().await;
    world.received(runtime.next()).await;
    world.succeed(&runtime, "r-1", 2).await;
    // Between invocations nothing is limited: the next event comes when it comes.
    world.deliver(&runtime, "r-2", b"{}").await;
    world.succeed(&runtime, "r-2", 1).await;
}

#[tokio::test]
async fn the_last_attempt_that_hung_is_an_error_of_its_own() {
    let settings = [("AFT_ATTEMPT_TIMEOUT_MS", "50"), ("AFT_MAX_ATTEMPTS", "1")];
    let mut world = World::start(&settings).await;
    let (runtime, _) = world.delivered("r-1", b"{}").await;
    runtime.gone().await;
    world.abort(1).await.outcome("aborted");
    let taken = world.taken("r-1", "error").await;
    assert_eq!(taken.header("lambda-runtime-function-error-type"), "Aft.AttemptTimeout");
    let message = taken.json()["errorMessage"].as_str().unwrap().to_owned();
    assert!(message.contains("AFT_ATTEMPT_TIMEOUT_MS (50 ms)") && message.contains("transaction"), "{message}");
    taken.accept();
    world.ended("r-1").await;
    world.lives_on().await;
}

#[tokio::test]
async fn hung_attempts_are_not_retried_unless_named() {
    let settings = [("AFT_ATTEMPT_TIMEOUT_MS", "50"), ("AFT_RETRY_ON", "error,crash")];
    let mut world = World::start(&settings).await;
    let (runtime, _) = world.delivered("r-1", b"{}").await;
    runtime.gone().await;
    world.abort(1).await.outcome("aborted");
    assert_eq!(world.taken("r-1", "error").await.json()["errorType"], "Aft.AttemptTimeout");
}

/// Its commit is under way: that has no limit but Lambda's.
#[tokio::test]
async fn an_attempt_that_has_answered_is_not_overdue() {
    let mut world = World::start(&[("AFT_ATTEMPT_TIMEOUT_MS", "300")]).await;
    let (mut runtime, _) = world.delivered("r-1", b"{}").await;
    let response = runtime.respond("r-1", "\"done\"");
    let commit = world.commit(1).await;
    // A second runtime's worth of work passes while the commit is held.
    runtime.order("wait 400").await;
    assert_eq!(runtime.line().await, "waited");
    commit.outcome("committed");
    world.taken("r-1", "response").await.accept();
    assert_eq!(soon("the answer", response).await.unwrap().status, 202);
    world.ended("r-1").await;
    world.deliver(&runtime, "r-2", b"{}").await;
    world.succeed(&runtime, "r-2", 1).await;
}
