//! The runtime process ends: in an invocation, between two, before the first, and while it starts again.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::runtime::Runtime;
use super::support::world::{NEXT, World};
use super::support::{event, soon};

const INIT_ERROR: &str = "/2018-06-01/runtime/init/error";

#[derive(Debug, Clone, Copy)]
enum End {
    Exit(u8),
    Signal(&'static str),
}

impl End {
    async fn of(self, runtime: Runtime) {
        match self {
            Self::Exit(code) => runtime.exit(code).await,
            Self::Signal(signal) => runtime.die(signal).await,
        }
    }
}

#[tokio::test]
async fn however_the_runtime_ends_the_handler_runs_again() {
    let signals = ["HUP", "INT", "QUIT", "ILL", "ABRT", "BUS", "FPE", "KILL", "SEGV", "PIPE", "TERM"].map(End::Signal);
    for end in [End::Exit(0), End::Exit(1), End::Exit(255)].into_iter().chain(signals) {
        let mut world = World::start(&[]).await;
        let (runtime, event) = world.delivered("r-1", b"{}").await;
        end.of(runtime).await;
        world.abort(1).await.outcome("aborted");
        world.begin(2).await.outcome("open");
        let runtime = world.runtime().await;
        let again = world.received(runtime.next()).await;
        assert_eq!((&again.body, &again.headers), (&event.body, &event.headers), "{end:?}");
        world.succeed(&runtime, "r-1", 2).await;
        world.nothing_more_heard();
    }
}

#[tokio::test]
async fn after_the_last_crash_lambda_is_told_in_its_own_words() {
    for (end, said) in [
        (End::Exit(1), "RequestId: r-1 Error: Runtime exited with error: exit status 1"),
        (End::Exit(0), "RequestId: r-1 Error: Runtime exited without providing a reason"),
        (End::Signal("KILL"), "RequestId: r-1 Error: Runtime exited with error: signal: killed"),
    ] {
        let mut world = World::start(&[("AFT_MAX_ATTEMPTS", "1")]).await;
        let (runtime, _) = world.delivered("r-1", b"{}").await;
        end.of(runtime).await;
        world.abort(1).await.outcome("aborted");
        let taken = world.taken("r-1", "error").await;
        assert_eq!(taken.json()["errorType"], "Runtime.ExitError");
        assert_eq!(taken.json()["errorMessage"], said);
        assert_eq!(taken.header("lambda-runtime-function-error-type"), "Runtime.ExitError");
        taken.accept();
        world.ended("r-1").await;
        world.lives_on().await;
    }
}

#[tokio::test]
async fn a_duplicate_found_after_a_crash_is_answered_without_another_attempt() {
    let mut world = World::start(&[]).await;
    let (runtime, _) = world.delivered("r-1", b"{}").await;
    runtime.exit(1).await;
    world.abort(1).await.duplicate("text/then", "what it said then");
    let taken = world.taken("r-1", "response").await;
    assert_eq!(taken.body, "what it said then");
    taken.accept();
    world.ended("r-1").await;
}

/// A process that the dead runtime left behind, say, still holds its connection.
#[tokio::test]
async fn a_dead_runtimes_late_request_reaches_nobody() {
    let mut world = World::start(&[]).await;
    let (runtime, _) = world.delivered("r-1", b"{}").await;
    let api = runtime.api();
    let mut left_behind = TcpStream::connect(&api).await.unwrap();
    // Half a response: the rest comes after the death.
    let half = "POST /2018-06-01/runtime/invocation/r-1/response HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n";
    left_behind.write_all(half.as_bytes()).await.unwrap();
    runtime.exit(1).await;
    world.abort(1).await.outcome("aborted");
    world.begin(2).await.outcome("open");
    let runtime = world.runtime().await;
    world.received(runtime.next()).await;
    // Whether the bytes are still taken does not matter, only that they change nothing.
    let _ = left_behind.write_all(b"late").await;
    let mut answer = Vec::new();
    let _ = soon("the connection's end", left_behind.read_to_end(&mut answer)).await;
    assert_eq!(answer, b"");
    assert!(TcpStream::connect(&api).await.is_err(), "nobody listens for the dead");
    world.nothing_more_heard();
    world.succeed(&runtime, "r-1", 2).await;
}

/// A daemon, say, in a session of its own: it would go on writing in the name of an attempt that is over.
#[tokio::test]
async fn what_a_dead_runtime_left_behind_ends_with_it() {
    let mut world = World::start(&[]).await;
    let (mut runtime, _) = world.delivered("r-1", b"{}").await;
    runtime.order("leave orphan").await;
    let left = runtime.line().await;
    let orphan = left.strip_prefix("left ").unwrap();
    assert!(std::path::Path::new(&format!("/proc/{orphan}")).exists(), "it lives while the runtime does");
    // It holds the stage open: this waits for the end of both.
    runtime.exit(1).await;
    world.abort(1).await.outcome("aborted");
    assert!(!std::path::Path::new(&format!("/proc/{orphan}")).exists(), "it is dead and reaped");
    world.begin(2).await.outcome("open");
    let runtime = world.runtime().await;
    world.received(runtime.next()).await;
    world.succeed(&runtime, "r-1", 2).await;
}

/// Of the sandbox's processes, the handler's is the one to run out of memory, and the one whose death can be made up for.
#[tokio::test]
async fn the_kernel_would_choose_the_runtime_when_memory_runs_out() {
    let world = World::start(&[]).await;
    let runtime = world.runtime().await;
    let score = |pid: u32| -> i32 {
        let score = std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
        score.trim().parse().unwrap()
    };
    assert!(score(runtime.pid) > score(world.shim_id()), "{} {}", score(runtime.pid), score(world.shim_id()));
}

/// What the runtime had said in full before it died counts.
#[tokio::test]
async fn a_response_and_then_the_end_is_a_response() {
    let mut world = World::start(&[]).await;
    let (runtime, _) = world.delivered("r-1", b"{}").await;
    let _response = runtime.respond("r-1", "1");
    let commit = world.commit(1).await;
    runtime.exit(1).await;
    commit.outcome("committed");
    let taken = world.taken("r-1", "response").await;
    assert_eq!(taken.body, "1");
    taken.accept();
    world.ended("r-1").await;
    world.lives_on().await;
}

#[tokio::test]
async fn an_error_and_then_the_end_costs_one_attempt() {
    let mut world = World::start(&[("AFT_MAX_ATTEMPTS", "2")]).await;
    let (runtime, _) = world.delivered("r-1", b"{}").await;
    let failed = runtime.fail("r-1");
    world.abort(1).await.outcome("aborted");
    soon("the shim's answer", failed).await.unwrap();
    world.begin(2).await.outcome("open");
    runtime.exit(1).await;
    let runtime = world.runtime().await;
    world.received(runtime.next()).await;
    world.succeed(&runtime, "r-1", 2).await;
    world.nothing_more_heard();
}

#[tokio::test]
async fn a_runtime_that_dies_idle_is_started_again_and_the_poll_is_kept() {
    let mut world = World::start(&[]).await;
    let (runtime, _) = world.delivered("r-1", b"{}").await;
    world.succeed(&runtime, "r-1", 1).await;
    let next = runtime.next();
    let poll = world.lambda(NEXT).await;
    next.abort();
    runtime.exit(0).await;
    let runtime = world.runtime().await;
    event(poll, "r-2", b"[]");
    world.begin(1).await.outcome("open");
    assert_eq!(world.received_late(&runtime).await.body, "[]");
    world.succeed(&runtime, "r-2", 1).await;
    world.nothing_more_heard();
}

#[tokio::test]
async fn a_runtime_that_hangs_up_and_asks_again_gets_the_event_that_came_meanwhile() {
    let mut world = World::start(&[]).await;
    let runtime = world.runtime().await;
    let next = runtime.next();
    let poll = world.lambda(NEXT).await;
    next.abort();
    event(poll, "r-1", b"{}");
    world.begin(1).await.outcome("open");
    world.received_late(&runtime).await;
    world.succeed(&runtime, "r-1", 1).await;
}

#[tokio::test]
async fn a_runtime_that_cannot_start_fails_lambdas_init() {
    let mut world = World::start(&[]).await;
    world.runtime().await.exit(3).await;
    let taken = world.lambda(INIT_ERROR).await;
    assert_eq!(taken.json()["errorType"], "Runtime.ExitError");
    assert_eq!(taken.json()["errorMessage"], "Runtime exited with error: exit status 3");
    assert_eq!(taken.header("lambda-runtime-function-error-type"), "Runtime.ExitError");
    taken.accept();
    assert_eq!(world.shim_ended().await.code(), Some(3));
}

#[tokio::test]
async fn a_runtimes_own_init_error_is_the_only_one() {
    let mut world = World::start(&[]).await;
    let runtime = world.runtime().await;
    let said =
        runtime.post("init/error", &[("Lambda-Runtime-Function-Error-Type", "Runtime.ImportModuleError")], "{ }");
    let taken = world.lambda(INIT_ERROR).await;
    assert_eq!((&taken.body[..], taken.header("content-length")), (&b"{ }"[..], "3"));
    assert_eq!(taken.header("lambda-runtime-function-error-type"), "Runtime.ImportModuleError");
    taken.answer(202, &[("X-Lambda", "said")], "");
    assert_eq!(soon("Lambda's answer", said).await.unwrap().header("x-lambda"), "said");
    runtime.exit(1).await;
    assert_eq!(world.shim_ended().await.code(), Some(1));
    world.nothing_more_heard();
}

#[tokio::test]
async fn a_runtime_that_dies_starting_again_has_crashed_the_attempt() {
    let mut world = World::start(&[("AFT_MAX_ATTEMPTS", "3")]).await;
    let (runtime, _) = world.delivered("r-1", b"{}").await;
    runtime.exit(1).await;
    world.abort(1).await.outcome("aborted");
    world.begin(2).await.outcome("open");
    world.runtime().await.exit(1).await;
    world.abort(2).await.outcome("aborted");
    world.begin(3).await.outcome("open");
    let runtime = world.runtime().await;
    world.received(runtime.next()).await;
    world.succeed(&runtime, "r-1", 3).await;
}

/// Its own reason is worth more to its author than "exit status 1".
#[tokio::test]
async fn a_later_init_error_is_the_invocations_error() {
    let mut world = World::start(&[("AFT_MAX_ATTEMPTS", "2")]).await;
    let (runtime, _) = world.delivered("r-1", b"{}").await;
    runtime.exit(1).await;
    world.abort(1).await.outcome("aborted");
    world.begin(2).await.outcome("open");
    let runtime = world.runtime().await;
    let headers = [("Lambda-Runtime-Function-Error-Type", "Runtime.ImportModuleError")];
    let said = soon("the shim's answer", runtime.post("init/error", &headers, "{ \"why\": 1 }")).await.unwrap();
    assert_eq!(said.status, 202);
    runtime.exit(1).await;
    world.abort(2).await.outcome("aborted");
    let taken = world.taken("r-1", "error").await;
    assert_eq!(taken.body, "{ \"why\": 1 }");
    assert_eq!(taken.header("lambda-runtime-function-error-type"), "Runtime.ImportModuleError");
    assert_eq!(taken.header("lambda-runtime-invocation-id"), "invocation-of-r-1");
    taken.accept();
    world.ended("r-1").await;
    // No runtime, but the sandbox is there: the shim asks for the next event itself.
    event(world.lambda(NEXT).await, "r-2", b"[]");
    world.begin(1).await.outcome("open");
    let runtime = world.runtime().await;
    world.received_late(&runtime).await;
    world.succeed(&runtime, "r-2", 1).await;
}

#[tokio::test]
async fn a_runtime_that_cannot_start_again_waits_for_the_next_event() {
    let mut world = World::start(&[("AFT_MAX_ATTEMPTS", "1")]).await;
    let (runtime, _) = world.delivered("r-1", b"{}").await;
    runtime.exit(1).await;
    world.abort(1).await.outcome("aborted");
    world.taken("r-1", "error").await.accept();
    world.ended("r-1").await;
    world.runtime().await.exit(1).await;
    world.logged("is started again with the next").await;
    // No runtime, but the sandbox is there: the shim asks for the next event itself.
    event(world.lambda(NEXT).await, "r-2", b"[]");
    world.begin(1).await.outcome("open");
    let runtime = world.runtime().await;
    assert_eq!(world.received_late(&runtime).await.body, "[]");
    world.succeed(&runtime, "r-2", 1).await;
}

#[tokio::test]
async fn a_runtime_that_always_dies_idle_is_no_hot_loop() {
    let mut world = World::start(&[]).await;
    let mut poll = None;
    for _ in 0..2 {
        let runtime = world.runtime().await;
        let asked = Request::get(NEXT).body(Full::<Bytes>::default()).unwrap();
        let api = runtime.api();
        let next = tokio::spawn(async move { super::support::runtime::call(&api, asked).await.map(drop) });
        if poll.is_none() {
            poll = Some(world.lambda(NEXT).await);
        } else {
            // Heard, because a refused answer comes after it.
            soon("a refusal", runtime.respond("r-0", "1")).await.unwrap();
        }
        runtime.exit(0).await;
        next.abort();
    }
    // The third is started for an event, and not before.
    world.logged("is started again with the next").await;
    event(poll.unwrap(), "r-1", b"{}");
    world.begin(1).await.outcome("open");
    let runtime = world.runtime().await;
    world.received_late(&runtime).await;
    world.succeed(&runtime, "r-1", 1).await;
}
