//! Streamed responses that are passed on as they come: the bytes at once, the end with the commit.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::runtime::Runtime;
use super::support::world::NEXT;
use super::support::{Call, World, event, soon};

const PASS: (&str, &str) = ("AFT_STREAMING", "pass-through");

/// A response that the test writes chunk by chunk.
struct Writer(TcpStream);

impl Writer {
    async fn begin(runtime: &Runtime, request: &str) -> Self {
        let mut stream = TcpStream::connect(runtime.api()).await.unwrap();
        let head = format!(
            "POST /2018-06-01/runtime/invocation/{request}/response HTTP/1.1\r\nHost: x\r\nContent-Type: text/live\r\n\
             Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\nTrailer: X-Own\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        Self(stream)
    }

    async fn chunk(&mut self, text: &str) {
        self.0.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes()).await.unwrap();
    }

    async fn end(&mut self, trailers: &str) {
        self.0.write_all(format!("0\r\n{trailers}\r\n").as_bytes()).await.unwrap();
    }

    /// The status line of the shim's answer.
    async fn status(mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(soon("the answer", self.0.read_u8()).await.unwrap());
        }
        String::from_utf8(line).unwrap().trim_end().to_owned()
    }
}

/// A world in which a response has begun and Lambda has its first bytes.
async fn begun(settings: &[(&str, &str)]) -> (World, Runtime, Writer, Call) {
    let settings: Vec<_> = [PASS].into_iter().chain(settings.iter().copied()).collect();
    let mut world = World::start(&settings).await;
    let (runtime, _) = world.delivered("r-1", b"{}").await;
    let mut writer = Writer::begin(&runtime, "r-1").await;
    writer.chunk("first").await;
    world.known(1).await.outcome("open");
    let mut taken = world.taken("r-1", "response").await;
    assert_eq!(taken.more().await.unwrap(), "first");
    (world, runtime, writer, taken)
}

/// Lambda sees an error at the end of what it has got.
async fn ends_in(taken: &mut Call, kind: &str) -> String {
    assert_eq!(taken.more().await, None);
    let trailers = taken.trailers.clone().unwrap();
    assert_eq!(trailers["lambda-runtime-function-error-type"], kind);
    let document = STANDARD.decode(&trailers["lambda-runtime-function-error-body"]).unwrap();
    let document: serde_json::Value = serde_json::from_slice(&document).unwrap();
    assert_eq!(document["errorType"], kind);
    document["errorMessage"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn bytes_pass_at_once_and_the_end_waits_for_the_commit() {
    let (mut world, runtime, mut writer, mut taken) = begun(&[]).await;
    assert_eq!(taken.header("lambda-runtime-function-response-mode"), "streaming");
    assert_eq!(taken.header("content-type"), "text/live");
    assert_eq!(taken.header("transfer-encoding"), "chunked");
    world.nothing_more_heard();
    writer.chunk(" second").await;
    assert_eq!(taken.more().await.unwrap(), " second");
    writer.end("X-Own: kept\r\n").await;

    let commit = world.commit(1).await;
    assert_eq!((commit.header("content-type"), &commit.body[..]), ("text/live", &b"first second"[..]));
    assert!(taken.has_no_more_yet().await, "the end is held back");
    commit.outcome("committed");
    assert_eq!(taken.more().await, None);
    assert_eq!(taken.trailers.as_ref().unwrap()["x-own"], "kept");
    taken.answer(202, &[], "");
    assert_eq!(writer.status().await, "HTTP/1.1 202 Accepted");
    world.ended("r-1").await;
    world.deliver(&runtime, "r-2", b"{}").await;
    world.succeed(&runtime, "r-2", 1).await;
}

#[tokio::test]
async fn what_fails_after_the_first_byte_is_told_in_a_trailer_and_never_tried_again() {
    for (outcome, kind) in
        [("conflict", "Aft.Conflict"), ("failed", "Aft.CommitFailed"), ("unknown", "Aft.OutcomeUnknown")]
    {
        let (mut world, _runtime, mut writer, mut taken) = begun(&[]).await;
        writer.end("").await;
        world.commit(1).await.problem(outcome, "why it is so");
        let message = ends_in(&mut taken, kind).await;
        assert!(message.contains("why it is so"), "{message}");
        taken.accept();
        assert_eq!(writer.status().await, "HTTP/1.1 202 Accepted");
        world.ended("r-1").await;
        world.nothing_more_heard();
    }
}

#[tokio::test]
async fn the_runtimes_own_error_trailer_is_passed_on_after_the_abort() {
    let (mut world, _runtime, mut writer, mut taken) = begun(&[]).await;
    let own = "Lambda-Runtime-Function-Error-Type: Handler.Oops\r\nLambda-Runtime-Function-Error-Body: e30=\r\n";
    writer.end(own).await;
    world.abort(1).await.outcome("aborted");
    assert_eq!(taken.more().await, None);
    let trailers = taken.trailers.clone().unwrap();
    assert_eq!(trailers["lambda-runtime-function-error-type"], "Handler.Oops");
    assert_eq!(trailers["lambda-runtime-function-error-body"], "e30=");
    taken.accept();
    world.ended("r-1").await;
}

#[tokio::test]
async fn a_runtime_that_dies_in_its_stream_has_crashed_and_is_not_run_again() {
    let (mut world, runtime, writer, mut taken) = begun(&[]).await;
    runtime.exit(3).await;
    drop(writer);
    world.abort(1).await.outcome("aborted");
    let message = ends_in(&mut taken, "Runtime.ExitError").await;
    assert!(message.contains("exit status 3"), "{message}");
    taken.accept();
    world.ended("r-1").await;
    world.lives_on().await;
}

#[tokio::test]
async fn a_runtime_that_breaks_its_stream_off_and_goes_on_has_failed() {
    let (mut world, runtime, writer, mut taken) = begun(&[]).await;
    drop(writer);
    world.logged("the runtime broke off its response").await;
    let next = runtime.next();
    world.abort(1).await.outcome("aborted");
    ends_in(&mut taken, "Aft.StreamBroken").await;
    taken.accept();
    world.ended("r-1").await;
    event(world.lambda(NEXT).await, "r-2", b"{}");
    world.begin(1).await.outcome("open");
    world.received(next).await;
    world.succeed(&runtime, "r-2", 1).await;
}

#[tokio::test]
async fn a_known_duplicate_is_answered_from_the_record_before_a_byte_is_released() {
    let mut world = World::start(&[PASS]).await;
    let (runtime, _) = world.delivered("r-1", b"{}").await;
    let mut writer = Writer::begin(&runtime, "r-1").await;
    writer.chunk("first").await;
    world.known(1).await.duplicate("text/then", "what it said then");
    let mut taken = world.taken("r-1", "response").await;
    assert_eq!(taken.header("content-type"), "text/then");
    assert_eq!(taken.more().await.unwrap(), "what it said then");
    taken.accept();
    world.ended("r-1").await;
    // The runtime reads its answer only once it has written all.
    writer.chunk("second").await;
    writer.end("").await;
    assert_eq!(writer.status().await, "HTTP/1.1 202 Accepted");
}

#[tokio::test]
async fn a_duplicate_that_committed_meanwhile_decides_whether_the_bytes_count() {
    for (recorded, counts) in [("first", true), ("other", false)] {
        let (mut world, _runtime, mut writer, mut taken) = begun(&[]).await;
        writer.end("").await;
        world.commit(1).await.duplicate("text/live", recorded);
        if counts {
            assert_eq!(taken.more().await, None);
            assert!(taken.trailers.is_none(), "{:?}", taken.trailers);
        } else {
            ends_in(&mut taken, "Aft.DuplicateCommitted").await;
        }
        taken.accept();
        world.ended("r-1").await;
    }
}

#[tokio::test]
async fn whether_it_has_committed_must_be_known_before_the_first_byte() {
    let mut world = World::start(&[PASS, ("AFT_MAX_ATTEMPTS", "2")]).await;
    let (runtime, _) = world.delivered("r-1", b"{}").await;
    let mut writer = Writer::begin(&runtime, "r-1").await;
    writer.chunk("first").await;
    world.known(1).await.problem("failed", "the store is away");
    world.abort(1).await.outcome("aborted");
    // No byte is released, so another attempt can follow.
    world.begin(2).await.outcome("open");
    world.nothing_more_heard();
    writer.end("").await;
    assert_eq!(writer.status().await, "HTTP/1.1 202 Accepted");
    world.received(runtime.next()).await;
    world.succeed(&runtime, "r-1", 2).await;
}

#[tokio::test]
async fn a_stream_without_a_byte_can_be_tried_again() {
    let mut world = World::start(&[PASS]).await;
    let (runtime, _) = world.delivered("r-1", b"{}").await;
    let mut writer = Writer::begin(&runtime, "r-1").await;
    writer.end("Lambda-Runtime-Function-Error-Type: Handler.Oops\r\n").await;
    world.abort(1).await.outcome("aborted");
    world.begin(2).await.outcome("open");
    world.received(runtime.next()).await;
    let _writer = Writer::begin(&runtime, "r-1").await;
    runtime.exit(1).await;
    world.abort(2).await.outcome("aborted");
    world.begin(3).await.outcome("open");
}

#[tokio::test]
async fn lambda_may_refuse_in_the_middle() {
    let (mut world, _runtime, mut writer, taken) = begun(&[]).await;
    taken.answer(413, &[], "too much");
    world.abort(1).await.outcome("aborted");
    world.ended("r-1").await;
    writer.end("").await;
    assert_eq!(writer.status().await, "HTTP/1.1 413 Payload Too Large");
}

/// The cap of what is recorded: the size of a buffered response.
#[tokio::test]
async fn a_stream_too_large_to_be_recorded_commits_and_its_duplicate_is_told_so() {
    const MIB: usize = 1_024 * 1_024;
    let (mut world, runtime, mut writer, mut taken) = begun(&[]).await;
    let megabyte = "x".repeat(MIB);
    let writing = tokio::spawn(async move {
        for _ in 0..7 {
            writer.chunk(&megabyte).await;
        }
        writer.end("").await;
        writer
    });
    let mut passed = 0;
    while passed < 7 * MIB {
        passed += taken.more().await.unwrap().len();
    }
    let commit = world.commit(1).await;
    assert_eq!(commit.header("content-type"), "application/vnd.aft.response-omitted");
    assert_eq!(commit.json(), serde_json::json!({ "bytes": 7 * MIB + 5 }));
    commit.outcome("committed");
    assert_eq!(taken.more().await, None);
    taken.accept();
    assert_eq!(writing.await.unwrap().status().await, "HTTP/1.1 202 Accepted");
    world.ended("r-1").await;

    let _next = runtime.next();
    event(world.lambda(NEXT).await, "r-1", b"{}");
    world.begin(1).await.duplicate("application/vnd.aft.response-omitted", r#"{"bytes":7340037}"#);
    let error = world.taken("r-1", "error").await.json();
    assert_eq!(error["errorType"], "Aft.ResponseNotRecorded");
    assert!(error["errorMessage"].as_str().unwrap().contains("7340037"), "{error}");
}

/// A response that is not streamed is held back as ever.
#[tokio::test]
async fn what_is_not_streamed_is_not_passed_on() {
    let mut world = World::start(&[PASS]).await;
    let (runtime, _) = world.delivered("r-1", b"{}").await;
    let response = runtime.respond("r-1", Bytes::from_static(b"\"done\""));
    let commit = world.commit(1).await;
    world.nothing_more_heard();
    commit.outcome("committed");
    world.taken("r-1", "response").await.accept();
    assert_eq!(soon("the answer", response).await.unwrap().status, 202);
}
