//! Streamed responses: committed before the first byte reaches Lambda, with mode and trailers kept.

use super::support::{Call, World, soon};
use hyper::HeaderMap;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

fn trailers(texts: &[(&'static str, &'static str)]) -> HeaderMap {
    texts.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

fn assert_as_streamed(taken: &Call, body: &str, trailers: &HeaderMap) {
    assert_eq!(taken.body, body);
    assert_eq!(taken.header("lambda-runtime-function-response-mode"), "streaming");
    assert_eq!(taken.header("content-type"), "application/vnd.awslambda.http-integration-response");
    assert_eq!(taken.header("transfer-encoding"), "chunked");
    assert_eq!(taken.trailers.as_ref(), Some(trailers));
}

#[tokio::test]
async fn mode_and_trailers_are_kept() {
    let mut world = World::start(&[]).await;
    let (runtime, _) = world.delivered("r-1", b"{}").await;
    let trailers = trailers(&[("x-trailer", "kept")]);
    let response = runtime.stream("r-1", "all of it", trailers.clone());
    let commit = world.commit(1).await;
    assert_eq!(commit.body, "all of it");
    commit.outcome("committed");
    let taken = world.taken("r-1", "response").await;
    assert_as_streamed(&taken, "all of it", &trailers);
    taken.accept();
    assert_eq!(soon("Lambda's answer", response).await.unwrap().status, 202);
    world.ended("r-1").await;
}

/// The handler failed after its first bytes: what it wrote must not be committed, although it posted a response.
#[tokio::test]
async fn a_stream_that_ends_in_an_error_is_a_failed_attempt() {
    let mut world = World::start(&[("AFT_MAX_ATTEMPTS", "2")]).await;
    let (runtime, _) = world.delivered("r-1", b"{}").await;
    let error = trailers(&[
        ("lambda-runtime-function-error-type", "Handler.Oops"),
        ("lambda-runtime-function-error-body", "e30="),
    ]);
    let response = runtime.stream("r-1", "half", error.clone());
    world.abort(1).await.outcome("aborted");
    assert_eq!(soon("the shim's answer", response).await.unwrap().status, 202);
    world.begin(2).await.outcome("open");
    world.received(runtime.next()).await;

    let _response = runtime.stream("r-1", "half", error.clone());
    world.abort(2).await.outcome("aborted");
    assert_as_streamed(&world.taken("r-1", "response").await, "half", &error);
}

/// Trailers are sent on even by a runtime that did not announce them: an error in one must not get lost.
#[tokio::test]
async fn a_trailer_that_was_not_announced_is_kept() {
    let mut world = World::start(&[]).await;
    let (runtime, _) = world.delivered("r-1", b"{}").await;
    let mut raw = TcpStream::connect(runtime.api()).await.unwrap();
    let head = "POST /2018-06-01/runtime/invocation/r-1/response HTTP/1.1\r\nHost: x\r\n\
                Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n\r\n";
    raw.write_all(format!("{head}3\r\nabc\r\n0\r\nX-Trailer: kept\r\n\r\n").as_bytes()).await.unwrap();
    world.commit(1).await.outcome("committed");
    let taken = world.taken("r-1", "response").await;
    assert_eq!(taken.body, "abc");
    assert_eq!(taken.trailers, Some(trailers(&[("x-trailer", "kept")])));
}

/// It is held back whole; what is larger than that must be passed on, and its function's owner is told how.
#[tokio::test]
async fn a_stream_too_large_to_be_held_back_names_the_way_out() {
    let mut world = World::start(&[]).await;
    let (runtime, _) = world.delivered("r-1", b"{}").await;
    let headers = [("Lambda-Runtime-Function-Response-Mode", "streaming")];
    let response = runtime.post("invocation/r-1/response", &headers, vec![b'x'; 6 * 1_024 * 1_024 + 101]);
    world.abort(1).await.outcome("aborted");
    let taken = world.taken("r-1", "error").await;
    let message = taken.json()["errorMessage"].as_str().unwrap().to_owned();
    assert!(message.contains("AFT_STREAMING=pass-through"), "{message}");
    taken.accept();
    assert_eq!(response.await.unwrap().status, 413);
    world.ended("r-1").await;
}
