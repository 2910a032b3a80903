//! What names a transaction, through the whole shim; and how a request that must not run is answered: an HTTP client in its
//! integration's format, everybody else by a function error. Nothing of the handler's is released then.

use aft_protocol::id::TransactionId;
use serde_json::{Value, json};

use super::support::world::{NEXT, World};
use super::support::{Call, event, soon};

const REST: &[u8] = include_bytes!("../events/apigateway-rest.json");
const HTTP: &[u8] = include_bytes!("../events/apigateway-http.json");
const LOAD_BALANCER: &[u8] = include_bytes!("../events/alb-multi-value.json");
const MESSAGE: &[u8] = include_bytes!("../events/sqs-standard.json");
const ORDER: &[u8] = br#"{"order": "o-1", "amount": 5}"#;
const SAME_ORDER_AND_MORE: &[u8] = br#"{"order": "o-1", "amount": 500}"#;
const BAD_KEY: &[u8] = br#"{"version": "2.0", "rawPath": "/", "requestContext": {"http": {"method": "POST"}},
    "headers": {"idempotency-key": ""}}"#;

/// Begins an invocation in a world of its own, and answers it as a duplicate: its transaction, fingerprint and origin.
async fn begun(settings: &[(&str, &str)], request: &str, body: &'static [u8]) -> (TransactionId, String, String) {
    let mut world = World::start(settings).await;
    let runtime = world.runtime().await;
    let _next = runtime.next();
    event(world.lambda(NEXT).await, request, body);
    let begin = world.begin(1).await;
    let said = begin.json();
    begin.duplicate("application/json", r#"{"statusCode":201}"#);
    let taken = world.taken(request, "response").await;
    assert_eq!(taken.body, r#"{"statusCode":201}"#);
    taken.accept();
    world.ended(request).await;
    let text = |name: &str| said[name].as_str().unwrap().to_owned();
    (text("transaction").parse().unwrap(), text("fingerprint"), text("origin"))
}

/// One key, two invocations with different request IDs, two sandboxes: one transaction, and the recorded response for both.
#[tokio::test]
async fn the_same_key_in_another_invocation_and_sandbox_gets_the_recorded_response() {
    let first = begun(&[], "r-1", REST).await;
    let second = begun(&[], "r-2", REST).await;
    assert_eq!((first.0, &first.1), (second.0, &second.1));
    assert_eq!(second.2, "transfer r-2 (idempotency-key)");
}

#[tokio::test]
async fn a_message_delivered_again_is_the_same_transaction() {
    let first = begun(&[], "r-1", MESSAGE).await;
    assert_eq!(first.0, begun(&[], "r-2", MESSAGE).await.0);
    assert_eq!(first.2, "transfer r-1 (sqs)");
}

/// Recorded, the failure would be the answer to every later delivery of the message, until it ends as a dead letter.
#[tokio::test]
async fn a_message_that_is_reported_as_failed_commits_nothing_and_runs_again() {
    let mut world = World::start(&[]).await;
    let (runtime, _) = world.delivered("r-1", MESSAGE).await;
    let failed = r#"{"batchItemFailures":[{"itemIdentifier":"2e1424d4-f796-459a-8184-9c92662be6da"}]}"#;
    let response = runtime.respond("r-1", failed);
    world.abort(1).await.outcome("aborted");
    let taken = world.taken("r-1", "response").await;
    assert_eq!(taken.body, failed);
    taken.accept();
    assert_eq!(soon("the answer", response).await.unwrap().status, 202);
    world.ended("r-1").await;
    // The next delivery.
    world.deliver(&runtime, "r-2", MESSAGE).await;
    let response = runtime.respond("r-2", r#"{"batchItemFailures":[]}"#);
    world.commit(1).await.outcome("committed");
    world.taken("r-2", "response").await.accept();
    assert_eq!(soon("the answer", response).await.unwrap().status, 202);
    world.ended("r-2").await;
}

#[tokio::test]
async fn the_configured_key_names_the_transaction_and_not_its_payload() {
    let settings = [("AFT_TRANSACTION_KEY", "order")];
    let (first, second) = (begun(&settings, "r-1", ORDER).await, begun(&settings, "r-2", SAME_ORDER_AND_MORE).await);
    assert_eq!(first.0, second.0);
    assert_ne!(first.1, second.1, "the extension tells them apart by this");
}

fn assert_problem(taken: &Call, status: u64, code: &str) {
    assert_eq!(taken.header("lambda-runtime-invocation-id"), "invocation-of-r-1");
    assert_eq!(taken.header("content-type"), "application/json");
    let answer: Value = taken.json();
    assert_eq!(answer["statusCode"], status);
    let problem: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
    assert_eq!((problem["status"].as_u64(), problem["code"].as_str()), (Some(status), Some(code)));
}

/// The handler never sees the event.
async fn refused_at_begin(body: &'static [u8], outcome: &str, status: u64, code: &str) -> Value {
    let mut world = World::start(&[]).await;
    let runtime = world.runtime().await;
    let next = runtime.next();
    event(world.lambda(NEXT).await, "r-1", body);
    world.begin(1).await.problem(outcome, "because");
    let taken = world.taken("r-1", "response").await;
    assert_problem(&taken, status, code);
    let answer = taken.json();
    taken.accept();
    world.ended("r-1").await;
    event(world.lambda(NEXT).await, "r-2", b"[]");
    world.begin(1).await.outcome("open");
    assert_eq!(world.received(next).await.body, "[]");
    answer
}

#[tokio::test]
async fn another_payload_under_a_key_is_422_in_each_format() {
    let rest = refused_at_begin(REST, "mismatch", 422, "payload-mismatch").await;
    assert_eq!(rest["headers"], json!({ "content-type": "application/problem+json" }));
    refused_at_begin(HTTP, "mismatch", 422, "payload-mismatch").await;
    let alb = refused_at_begin(LOAD_BALANCER, "mismatch", 422, "payload-mismatch").await;
    assert_eq!(alb["multiValueHeaders"], json!({ "content-type": ["application/problem+json"] }));
    assert_eq!(alb["statusDescription"], "422 Unprocessable Entity");
}

#[tokio::test]
async fn a_request_in_progress_is_409() {
    refused_at_begin(HTTP, "in-progress", 409, "in-progress").await;
}

#[tokio::test]
async fn a_malformed_key_is_400_and_nothing_begins() {
    let mut world = World::start(&[]).await;
    let runtime = world.runtime().await;
    let _next = runtime.next();
    event(world.lambda(NEXT).await, "r-1", BAD_KEY);
    let taken = world.taken("r-1", "response").await;
    assert_problem(&taken, 400, "malformed-idempotency-key");
    taken.accept();
    world.ended("r-1").await;
}

/// The handler has run, beside the look-up: its response is not released, and neither is the recorded one.
#[tokio::test]
async fn another_payload_found_by_the_commit_releases_nothing_of_the_handlers() {
    let mut world = World::start(&[]).await;
    let (runtime, _) = world.delivered("r-1", HTTP).await;
    let response = runtime.respond("r-1", r#"{"statusCode":200,"body":"secret"}"#);
    world.commit(1).await.problem("mismatch", "because");
    let taken = world.taken("r-1", "response").await;
    assert_problem(&taken, 422, "payload-mismatch");
    taken.accept();
    assert_eq!(soon("Lambda's answer", response).await.unwrap().status, 202);
    world.ended("r-1").await;
}

#[tokio::test]
async fn another_payload_found_by_the_abort_is_not_tried_again() {
    let mut world = World::start(&[]).await;
    let (runtime, _) = world.delivered("r-1", HTTP).await;
    let failed = runtime.fail("r-1");
    world.abort(1).await.problem("mismatch", "because");
    let taken = world.taken("r-1", "response").await;
    assert_problem(&taken, 422, "payload-mismatch");
    taken.accept();
    assert_eq!(soon("Lambda's answer", failed).await.unwrap().status, 202);
    world.ended("r-1").await;
}

/// What is no HTTP client gets an error, so that a queue or an asynchronous event comes again.
#[tokio::test]
async fn everybody_else_gets_a_function_error() {
    for (outcome, kind) in [("mismatch", "Aft.PayloadMismatch"), ("in-progress", "Aft.InProgress")] {
        let mut world = World::start(&[]).await;
        let runtime = world.runtime().await;
        let _next = runtime.next();
        event(world.lambda(NEXT).await, "r-1", MESSAGE);
        world.begin(1).await.problem(outcome, "because");
        let taken = world.taken("r-1", "error").await;
        assert_eq!(taken.header("lambda-runtime-function-error-type"), kind);
        let error = taken.json();
        assert_eq!(error["errorType"], kind);
        assert!(error["errorMessage"].as_str().unwrap().contains("because"), "{error}");
        taken.accept();
        world.ended("r-1").await;
    }
}
