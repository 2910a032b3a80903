//! The life of the process: what fails its start, what ends it, and what it takes with it.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::process::Signal;

use super::support::world::{NEXT, World, directory, lambda, shim};
use super::support::{Answer, soon};

const INIT_ERROR: &str = "/2018-06-01/runtime/init/error";

/// Runs a shim that cannot start; returns what it told Lambda, its exit code and its log.
async fn fails_to_start(settings: &[(&str, &str)], command: &[&str]) -> (Answer, Option<i32>, String) {
    let (api, mut calls, _task) = lambda(false).await;
    let mut process = shim(&api);
    process.envs(settings.iter().copied()).args(command);
    let output = tokio::spawn(process.output());
    let call = soon("the init error", calls.recv()).await.unwrap();
    assert_eq!(call.path, INIT_ERROR);
    let told = Answer { status: 0, headers: call.headers.clone(), body: call.body.clone() };
    call.accept();
    let output = soon("the shim's end", output).await.unwrap().unwrap();
    (told, output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn without_the_extension_the_init_fails() {
    let directory = directory();
    let socket = directory.join("nobody.sock");
    let settings = [("AFT_CONTROL_SOCKET", socket.to_str().unwrap())];
    let (told, code, log) = fails_to_start(&settings, &["sh", "-c", "touch ran"]).await;
    assert_eq!(told.header("lambda-runtime-function-error-type"), "Aft.ExtensionUnreachable");
    let message = told.json()["errorMessage"].as_str().unwrap().to_owned();
    assert!(message.contains("nobody.sock") && message.contains("check that the layer"), "{message}");
    assert_eq!(code, Some(1));
    assert!(log.contains("Aft.ExtensionUnreachable"), "{log}");
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test]
async fn every_fault_of_the_configuration_is_told_in_one_line() {
    let settings = [
        ("AFT_MAX_ATTEMPTS", "0"),
        ("AFT_RETRY_RESERVE_MS", "soon"),
        ("AFT_MAX_ATTEMPT", "3"),
        ("AWS_LAMBDA_MAX_CONCURRENCY", "16"),
    ];
    let (told, code, log) = fails_to_start(&settings, &[]).await;
    assert_eq!(told.header("lambda-runtime-function-error-type"), "Aft.Configuration");
    let message = told.json()["errorMessage"].as_str().unwrap().to_owned();
    assert_eq!(message.lines().count(), 1);
    let named =
        ["5 fault(s)", "AFT_MAX_ATTEMPTS", "AFT_RETRY_RESERVE_MS", "AFT_MAX_ATTEMPT is not", "managed", "command"];
    assert!(named.iter().all(|part| message.contains(part)), "{message}");
    assert_eq!(code, Some(1));
    assert_eq!(log.lines().filter(|line| line.contains("Aft.Configuration")).count(), 1, "{log}");
}

#[tokio::test]
async fn switched_off_it_becomes_the_command() {
    let script = "echo $$ $AWS_LAMBDA_RUNTIME_API $AFT_ENDPOINT; exit 7";
    let mut process = shim("127.0.0.1:9");
    process.env("AFT_ENABLED", "false").args(["sh", "-c", script]).stdout(std::process::Stdio::piped());
    let process = process.spawn().unwrap();
    let pid = process.id().unwrap();
    let output = soon("the command's end", process.wait_with_output()).await.unwrap();
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{pid} 127.0.0.1:9\n"));
}

/// A shell script of this test's own.
fn script(directory: &Path, name: &str, lines: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{lines}\n")).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn another_wrapper_comes_between_the_shim_and_the_runtime() {
    let directory = directory();
    let wrapper = script(&directory, "wrapper", "SET_BY_THE_OTHER_WRAPPER=yes exec \"$@\"");
    let mut world = World::start(&[("AFT_NEXT_WRAPPER", &wrapper)]).await;
    let (runtime, _) = world.delivered("r-1", b"{}").await;
    assert_eq!(runtime.environment["SET_BY_THE_OTHER_WRAPPER"], "yes");
    assert_ne!(runtime.api(), "", "the runtime talks to the shim");
    // Started again, it is behind the wrapper again.
    runtime.die("KILL").await;
    world.abort(1).await.outcome("aborted");
    let runtime = world.runtime().await;
    assert_eq!(runtime.environment["SET_BY_THE_OTHER_WRAPPER"], "yes");
    world.begin(2).await.outcome("open");
    world.received(runtime.next()).await;
    world.succeed(&runtime, "r-1", 2).await;
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test]
async fn a_wrapper_that_is_not_there_fails_the_init_in_one_line() {
    let (told, code, log) = fails_to_start(&[("AFT_NEXT_WRAPPER", "/nowhere/wrapper")], &["sh"]).await;
    assert_eq!(told.header("lambda-runtime-function-error-type"), "Aft.Configuration");
    let expected = "1 fault(s) in the configuration: AFT_NEXT_WRAPPER: /nowhere/wrapper is not there";
    assert_eq!(told.json()["errorMessage"], expected);
    assert_eq!(code, Some(1));
    assert_eq!(log.lines().count(), 1, "{log}");
}

#[tokio::test]
async fn a_bootstrap_without_a_program_fails_the_init_in_one_line() {
    let settings = [("LAMBDA_TASK_ROOT", "/nowhere"), ("_HANDLER", "app.handler")];
    let (told, code, log) = fails_to_start(&settings, &["--bootstrap"]).await;
    let message = told.json()["errorMessage"].as_str().unwrap().to_owned();
    assert!(message.contains("/nowhere/app.handler is not there") && message.contains("AFT_BOOTSTRAP"), "{message}");
    assert_eq!((code, message.lines().count()), (Some(1), 1), "{log}");
}

#[tokio::test]
async fn managed_instances_fail_the_init_in_one_line() {
    let settings = [("AWS_LAMBDA_INITIALIZATION_TYPE", "lambda-managed-instances")];
    let (told, code, log) = fails_to_start(&settings, &["sh"]).await;
    let message = told.json()["errorMessage"].as_str().unwrap().to_owned();
    assert!(message.starts_with("1 fault(s)") && message.contains("managed instances run several"), "{message}");
    assert_eq!((code, log.lines().count()), (Some(1), 1), "{log}");
}

/// Also as the layer's `bootstrap`, and with another wrapper; whatever else is wrong.
#[tokio::test]
async fn switched_off_it_becomes_what_it_would_have_started() {
    let directory = directory();
    let wrapper = script(&directory, "wrapper", "echo wrapped; exec \"$@\"");
    script(&directory, "main", "echo $AFT_ENDPOINT$AWS_LAMBDA_RUNTIME_API");
    let mut process = shim("127.0.0.1:9");
    process.envs([("AFT_ENABLED", "false"), ("AFT_NEXT_WRAPPER", &wrapper), ("_HANDLER", "main"), ("AFT_PORT", "x")]);
    process.env("LAMBDA_TASK_ROOT", &directory).arg("--bootstrap").stdout(std::process::Stdio::piped());
    let output = soon("the command's end", process.spawn().unwrap().wait_with_output()).await.unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "wrapped\n127.0.0.1:9\n");
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test]
async fn sigterm_reaches_the_runtime_and_ends_both() {
    let mut world = World::start(&[]).await;
    let mut runtime = world.runtime().await;
    runtime.order("heed SIGTERM").await;
    assert_eq!(runtime.line().await, "ready");
    world.kill_shim(Signal::TERM);
    assert_eq!(runtime.line().await, "SIGTERM");
    runtime.gone().await;
    assert_eq!(world.shim_ended().await.code(), Some(0));
    world.nothing_more_heard();
}

/// It is given its time, and then killed: nothing of it outlives the sandbox.
#[tokio::test]
async fn a_runtime_that_ignores_sigterm_is_killed() {
    let mut world = World::start(&[]).await;
    let mut runtime = world.runtime().await;
    runtime.order("ignore SIGTERM").await;
    assert_eq!(runtime.line().await, "ready");
    world.kill_shim(Signal::TERM);
    world.logged("did not end on SIGTERM, and is killed").await;
    runtime.gone().await;
    assert_eq!(world.shim_ended().await.code(), Some(0));
}

/// An invocation that SIGTERM cut off is not tried again.
#[tokio::test]
async fn sigterm_in_an_invocation_starts_no_other_attempt() {
    let mut world = World::start(&[]).await;
    let (runtime, _) = world.delivered("r-1", b"{}").await;
    world.kill_shim(Signal::TERM);
    runtime.gone().await;
    assert_eq!(world.shim_ended().await.code(), Some(0));
    world.nothing_more_heard();
}

#[tokio::test]
async fn a_killed_shim_takes_the_runtime_with_it() {
    let mut world = World::start(&[]).await;
    let (runtime, _) = world.delivered("r-1", b"{}").await;
    world.kill_shim(Signal::KILL);
    runtime.gone().await;
    assert!(!world.shim_ended().await.success());
}

#[tokio::test]
async fn without_lambda_there_is_nothing_to_live_for() {
    let mut world = World::start(&[]).await;
    let runtime = world.runtime().await;
    let next = runtime.next();
    let poll = world.lambda(NEXT).await;
    world.lambda_dies();
    drop(poll);
    assert_eq!(world.shim_ended().await.code(), Some(1));
    next.abort();
    runtime.gone().await;
}
