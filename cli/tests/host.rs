//! The host against small processes: what callers, runtimes and extensions get to see, and that no process is left.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "clippy sees no test in what tests share")]

mod world;

use std::time::Duration;

use aft_cli::{Host, HostError, Invocation, InvocationKind, SandboxNumber, Source, Victim};
use serde_json::json;
use world::{Builder, document, event, fixture};

#[tokio::test]
async fn a_function_is_invoked_and_its_processes_are_reused() {
    let world = Builder::new().await.with_extension("").start().await;
    let first = world.host.invoke(Invocation::new(r#"{"amount": 1.50}"#)).await;
    assert_eq!((first.status, &first.function_error), (200, &None));
    let facts = document(&first);
    assert_eq!(facts["event"]["amount"], 1.50);
    for header in ["deadline-ms", "invoked-function-arn", "trace-id", "invocation-id"] {
        assert!(facts["headers"][format!("lambda-runtime-{header}")].is_string(), "{header}");
    }
    assert_eq!(facts["headers"]["lambda-runtime-aws-request-id"], first.request_id.as_str());
    assert!(first.log_tail.starts_with("START RequestId: "), "{}", first.log_tail);

    world.host.settled().await;
    let second = world.host.invoke(Invocation::default()).await;
    assert_eq!(document(&second)["event"], json!({}), "no payload is an empty object");
    assert_eq!(document(&second)["pid"], facts["pid"]);
    world.log.until(2, r#""eventType":"INVOKE""#).await;
    world.host.stop().await;
    assert_eq!(world.log.count(r#""shutdownReason":"spindown""#), 1);
    assert_eq!(world.log.count("Init Duration"), 1, "one cold start:\n{}", world.log);
}

#[tokio::test]
async fn sandboxes_run_side_by_side_and_the_rest_waits() {
    let world = Builder::new().await.configured(|config| config.sandboxes = 2).start().await;
    let invoke = |id: &str| world.host.invoke(event("wait").with_request_id(id));
    let release = async {
        // Both are alive before either may go on: they run at the same time.
        let (mut one, mut other) = (world.witness.birth("runtime").await, world.witness.birth("runtime").await);
        one.release().await;
        other.release().await;
        one.release().await;
        other.release().await;
    };
    let (one, two, three, ()) = tokio::join!(invoke("r-1"), invoke("r-2"), invoke("r-3"), release);
    for result in [one, two, three] {
        assert_eq!(document(&result), "released");
    }
    let sandboxes: Vec<_> = world.host.processes().into_iter().map(|process| process.sandbox).collect();
    assert_eq!(sandboxes, [SandboxNumber(1), SandboxNumber(2)]);
    world.host.stop().await;
}

#[tokio::test]
async fn a_full_queue_refuses() {
    let world = Builder::new().await.configured(|config| config.queue_limit = 0).start().await;
    let refused = async {
        let mut runtime = world.witness.birth("runtime").await;
        let refused = world.invoke("echo").await;
        runtime.release().await;
        refused
    };
    let (served, refused) = tokio::join!(world.invoke("wait"), refused);
    assert!(served.succeeded());
    assert_eq!((refused.status, refused.error_type), (429, Some("TooManyRequestsException")));
    world.host.stop().await;
}

#[tokio::test]
async fn a_request_id_can_be_chosen_and_repeated() {
    let world = Builder::new().await.start().await;
    let invoke = || world.host.invoke(event("echo").with_request_id("r-1"));
    let (first, second) = (invoke().await, invoke().await);
    assert_eq!((first.request_id.as_str(), second.request_id.as_str()), ("r-1", "r-1"));
    let header = |result, name: &str| document(result)["headers"][name].clone();
    assert_eq!(header(&second, "lambda-runtime-aws-request-id"), "r-1");
    let invocation = "lambda-runtime-invocation-id";
    assert_ne!(header(&first, invocation), header(&second, invocation), "unique where request ids are not");
    world.host.stop().await;
}

#[tokio::test]
async fn events_are_retried_twice_with_the_same_id() {
    for (what, attempts) in [("fail", 3), ("exit-1", 3), ("echo", 1)] {
        let world = Builder::new().await.start().await;
        let accepted = world.host.invoke(event(what).with_request_id("e-1").with_kind(InvocationKind::Event)).await;
        assert_eq!((accepted.status, accepted.payload.len()), (202, 0));
        world.host.settled().await;
        assert_eq!(world.log.count("START RequestId: e-1 "), attempts, "{what}:\n{}", world.log);
        world.host.stop().await;
    }
}

#[tokio::test]
async fn a_handlers_error_is_the_callers_and_the_sandbox_lives_on() {
    let world = Builder::new().await.start().await;
    let failed = world.invoke("fail").await;
    assert_eq!((failed.status, failed.function_error.as_deref()), (200, Some("Unhandled")));
    assert_eq!(document(&failed), json!({ "errorType": "Fixture.Oops", "errorMessage": "no" }));
    assert!(world.invoke("echo").await.succeeded());
    assert_eq!(world.log.count("Init Duration"), 1);
    world.host.stop().await;
}

#[tokio::test]
async fn a_runtime_that_exits_resets_the_sandbox() {
    let world = Builder::new().await.with_extension("").start().await;
    for (what, reason) in [
        ("exit-1", "Runtime exited with error: exit status 1"),
        ("exit-0", "Runtime exited without providing a reason"),
    ] {
        let extension = async { world.witness.birth("extension").await };
        let (exited, extension) = tokio::join!(world.invoke(what), extension);
        assert_eq!((exited.status, exited.function_error.as_deref()), (200, Some("Unhandled")));
        let error = document(&exited);
        assert_eq!(error["errorType"], "Runtime.ExitError");
        assert_eq!(error["errorMessage"], format!("RequestId: {} Error: {reason}", exited.request_id));
        extension.death().await;
    }
    world.log.until(2, r#""shutdownReason":"failure""#).await;
    assert!(world.invoke("echo").await.succeeded());
    world.host.stop().await;
}

#[tokio::test]
async fn an_answer_counts_even_if_the_runtime_dies_right_after_it() {
    let world = Builder::new().await.start().await;
    let answered = world.invoke("respond-and-exit").await;
    assert_eq!((answered.function_error.as_deref(), document(&answered)), (None, json!("done")));
    world.log.until(1, "error after the response").await;
    assert!(world.invoke("echo").await.succeeded());
    world.host.stop().await;
}

#[tokio::test]
async fn a_timeout_ends_every_process() {
    let world = Builder::new()
        .await
        .with_extension("")
        .with_variable("FIXTURE_RUNTIME", "with-child")
        .configured(|config| config.timeout = Duration::from_secs(1))
        .start()
        .await;
    let births = async {
        let witness = &world.witness;
        [witness.birth("runtime").await, witness.birth("extension").await, witness.birth("child").await]
    };
    let (timed_out, lives) = tokio::join!(world.invoke("hang"), births);
    assert_eq!((timed_out.status, timed_out.function_error.as_deref()), (200, Some("Unhandled")));
    let error = document(&timed_out);
    assert_eq!(error["errorType"], "Sandbox.Timedout");
    let message = format!("RequestId: {} Error: Task timed out after 1.00 seconds", timed_out.request_id);
    assert_eq!(error["errorMessage"], message);
    for life in lives {
        life.death().await;
    }
    world.host.settled().await;
    assert_eq!(world.log.count(r#""shutdownReason":"timeout""#), 1);
    assert_eq!(world.host.processes(), []);
    world.host.stop().await;
}

#[tokio::test]
async fn an_extension_that_dies_fails_the_invocation() {
    let world = Builder::new().await.with_extension("crash").start().await;
    let (crashed, runtime) = tokio::join!(world.invoke("hang"), world.witness.birth("runtime"));
    assert_eq!(document(&crashed)["errorType"], "Extension.Crash");
    runtime.death().await;
    world.host.stop().await;
}

#[tokio::test]
async fn a_start_that_fails_is_the_answer() {
    for (variable, what, error_type) in [
        ("FIXTURE_RUNTIME", "init-error", "Fixture.NoConfig"),
        ("FIXTURE_RUNTIME", "init-exit", "Runtime.ExitError"),
        ("FIXTURE_EXTENSION", "init-error", "Extension.NoConfig"),
        ("FIXTURE_EXTENSION", "never-register", "Extension.Crash"),
    ] {
        let world = Builder::new().await.with_extension("").with_variable(variable, what).start().await;
        let failed = world.invoke("echo").await;
        assert_eq!((failed.status, failed.function_error.as_deref()), (200, Some("Unhandled")));
        assert_eq!(document(&failed)["errorType"], error_type, "{what}:\n{}", world.log);
        world.host.settled().await;
        assert_eq!(world.host.processes(), [], "{what}");
        world.host.stop().await;
    }
}

#[tokio::test]
async fn a_start_that_hangs_is_tried_once_more_within_the_invocation() {
    let world = Builder::new()
        .await
        .with_variable("FIXTURE_RUNTIME", "init-hang")
        .configured(|config| {
            config.init_limit = Duration::from_millis(200);
            config.timeout = Duration::from_secs(1);
        })
        .start()
        .await;
    assert_eq!(document(&world.invoke("echo").await)["errorType"], "Sandbox.Timedout");
    world.witness.birth("runtime").await.death().await;
    world.witness.birth("runtime").await.death().await;
    world.host.stop().await;
}

#[tokio::test]
async fn responses_have_a_limit() {
    let world = Builder::new().await.start().await;
    let largest = world.invoke("largest").await;
    assert_eq!((largest.payload.len(), largest.function_error), (6_291_556, None));
    let too_large = world.invoke("too-large").await;
    assert_eq!(document(&too_large)["errorType"], "Function.ResponseSizeTooLarge");
    world.log.until(1, "too large: 413").await;
    assert!(world.invoke("echo").await.succeeded());
    world.host.stop().await;
}

#[tokio::test]
async fn streamed_responses_are_gathered_and_their_trailers_read() {
    let world = Builder::new().await.start().await;
    let streamed = world.invoke("stream").await;
    assert_eq!((document(&streamed), streamed.function_error), (json!([1, 2]), None));
    let failed = world.invoke("stream-and-fail").await;
    assert_eq!(document(&failed), json!({ "errorType": "Fixture.Broken" }));
    assert_eq!(failed.function_error.as_deref(), Some("Unhandled"));
    world.host.stop().await;
}

#[tokio::test]
async fn calls_that_a_runtime_should_not_make_are_refused() {
    let world = Builder::new().await.start().await;
    let statuses = json!({
        "same event again": true, "wrong request id": 400, "stale invocation id": 410, "unknown route": 404,
    });
    assert_eq!(document(&world.invoke("misbehave").await), statuses);
    world.log.until(1, "second response: 403").await;
    world.host.stop().await;
}

#[tokio::test]
async fn the_caller_does_not_wait_for_extensions_but_the_next_one_does() {
    let world = Builder::new().await.with_extension("slow").start().await;
    assert!(world.invoke("echo").await.succeeded());
    let mut extension = world.witness.birth("extension").await;
    assert_eq!(world.log.count("END RequestId"), 0, "the sandbox is not free yet");
    extension.release().await;
    world.log.until(1, "END RequestId").await;
    world.host.stop().await;
}

#[tokio::test]
async fn killed_between_invocations_a_sandbox_is_made_anew() {
    let world = Builder::new().await.with_extension("").start().await;
    for (victim, killed) in [(Victim::Runtime, 1), (Victim::Extensions, 1), (Victim::Everything, 2)] {
        assert!(world.invoke("echo").await.succeeded());
        world.host.settled().await;
        let lives = [world.witness.birth("runtime").await, world.witness.birth("extension").await];
        assert_eq!(world.host.kill(SandboxNumber(1), victim), killed);
        if victim == Victim::Everything {
            for life in lives {
                life.death().await;
            }
        }
        assert_eq!(world.host.kill(SandboxNumber(2), Victim::Everything), 0);
        // A kill that the host has not noticed yet fails one invocation, as on Lambda.
        let _ = world.invoke("echo").await;
        world.host.settled().await;
        assert!(world.invoke("echo").await.succeeded());
    }
    world.host.stop().await;
}

#[tokio::test]
async fn a_deaf_extension_is_killed_within_the_limit() {
    let world = Builder::new().await.with_extension("deaf").start().await;
    assert!(world.invoke("echo").await.succeeded());
    world.host.settled().await;
    let extension = world.witness.birth("extension").await;
    let begun = tokio::time::Instant::now();
    world.host.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(3));
    extension.death().await;
}

#[tokio::test]
async fn stopped_amid_an_invocation_no_process_is_left() {
    let world = Builder::new().await.with_extension("").with_variable("FIXTURE_RUNTIME", "with-child").start().await;
    // An event: nobody waits for it, so that the host can be stopped.
    world.host.invoke(event("hang").with_kind(InvocationKind::Event)).await;
    let witness = &world.witness;
    let lives = [witness.birth("runtime").await, witness.birth("extension").await, witness.birth("child").await];
    world.log.until(1, "handling").await;
    world.host.stop().await;
    for life in lives {
        life.death().await;
    }
}

#[tokio::test]
async fn dropped_no_process_is_left() {
    let world = Builder::new().await.with_extension("").with_variable("FIXTURE_RUNTIME", "with-child").start().await;
    assert!(world.invoke("echo").await.succeeded());
    let witness = world.witness;
    let lives = [witness.birth("runtime").await, witness.birth("extension").await, witness.birth("child").await];
    drop(world.host);
    for life in lives {
        life.death().await;
    }
}

#[tokio::test]
async fn processes_get_lambdas_environment() {
    let world = Builder::new().await.with_extension("").with_variable("COLOUR", "blue").start().await;
    let variables = document(&world.invoke("environment").await);
    for (name, value) in [
        ("AWS_LAMBDA_FUNCTION_NAME", "function"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_ACCESS_KEY_ID", "local"),
        ("_HANDLER", "function.handler"),
        ("COLOUR", "blue"),
    ] {
        assert_eq!(variables[name], value, "{name}");
    }
    let socket = variables["AFT_CONTROL_SOCKET"].as_str().unwrap();
    assert!(socket.len() <= 100 && socket.ends_with("/1/control.sock"), "{socket}");
    assert!(variables["AFT_PORT"].as_str().unwrap().parse::<u16>().is_ok());
    assert!(variables["CARGO_MANIFEST_DIR"].is_null(), "nothing else is inherited");
    let directory = std::path::Path::new(socket).ancestors().nth(2).unwrap().to_owned();
    assert!(directory.is_dir());
    world.host.stop().await;
    assert!(!directory.exists());
}

#[tokio::test]
async fn a_taken_port_and_a_missing_program_are_told_before_anything_starts() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let builder = Builder::new().await.configured(|config| config.port = taken.local_addr().unwrap().port());
    let error = Host::start(builder.config).await.unwrap_err();
    assert!(matches!(error, HostError::PortTaken { .. }) && error.to_string().contains("--port"), "{error}");

    let missing = Builder::new().await.configured(|config| config.command = aft_cli::Program::new("/no/such/program"));
    assert!(matches!(Host::start(missing.config).await.unwrap_err(), HostError::CommandNotFound(_)));
}

#[tokio::test]
async fn a_wrapper_starts_the_command() {
    let wrapper = aft_cli::Program::new("/bin/sh").with_arguments(["-c", r#"echo "wrapped"; exec "$@""#, "wrapper"]);
    let world = Builder::new()
        .await
        .with_extension("")
        .configured(|config| {
            let mut layer = config.layer.take().unwrap();
            layer.wrapper = Some(wrapper);
            config.layer = Some(layer);
            config.command = fixture("runtime");
        })
        .start()
        .await;
    assert!(world.invoke("echo").await.succeeded());
    assert_eq!(world.log.count("wrapped"), 1);
    let sources: Vec<_> = world.host.processes().into_iter().map(|process| process.source).collect();
    assert_eq!(sources, [Source::Function, Source::Extension("fixture-extension".into())]);
    world.host.stop().await;
}
