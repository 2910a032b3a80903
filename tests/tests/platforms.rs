//! The variants of the platform: SnapStart and another extension in the local host; OS-only runtimes, images, another
//! wrapper and a switched-off layer under AWS's own emulator.

#![allow(clippy::unwrap_used, reason = "what cannot be had fails the test")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use aft_cli::{ExtensionProgram, Invocation};
use aft_tests::emulator::{Emulator, SHIM};
use aft_tests::local::{Local, PATIENCE, SANDBOX, document, python, transfer};
use aft_tests::store;
use aft_tests::tools::repository;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

async fn snap_start() -> Local {
    Local::start("tests/functions", "snap_start.handler", |config| config.snap_start = true).await
}

/// The sandbox's identity in each line of the log that has this text.
fn sandboxes(log: &str, text: &str) -> Vec<String> {
    let lines = log.lines().filter(|line| line.contains(text));
    let named = lines.filter_map(|line| line.split_once("sandbox=")?.1.split(' ').next());
    named.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_restored_sandbox_is_another_and_its_first_invocation_commits() {
    let world = snap_start().await;
    let answer = world.succeed(json!({})).await;
    assert_ne!(answer["at_init"], answer["now"], "{answer}");
    assert_eq!((&answer["put_with_the_inits"], &answer["put_with_the_restored"]), (&json!(403), &json!(204)));
    assert_eq!(answer["keys_in_the_environment"], json!([]), "the extension had to ask for credentials");
    let [old, new] = world.heads(["old", "new"]).await;
    assert!(old.current.version.is_zero() && !new.current.version.is_zero());

    let log = world.log();
    let (before, after) = (sandboxes(&log, "attached; "), sandboxes(&log, "restored from a snapshot"));
    assert_eq!(before.len(), 1, "{log}");
    assert!(!after.is_empty() && after.iter().all(|sandbox| *sandbox == after[0]), "{log}");
    assert_ne!(before[0], after[0]);
}

/// The Python example, which does not know whether it is in a snapshot.
#[tokio::test]
async fn the_example_works_under_snap_start() {
    let world = Local::start("examples/transfer-python", "app.handler", |config| config.snap_start = true).await;
    assert_eq!(world.succeed(transfer("t1")).await["checking"], 900);
    world.settled().await;
    assert_eq!(world.succeed(transfer("t2")).await["checking"], 800);
}

/// The runtime that takes a killed one's place says that it is ready for a snapshot, and is not kept waiting.
#[tokio::test]
async fn a_runtime_that_dies_after_the_restore_is_replaced() {
    let world = snap_start().await;
    let answer = world.succeed(json!({"kill": true})).await;
    assert_eq!(answer["put_with_the_restored"], 204);
    assert_eq!(answer["at_init"], answer["now"], "it was started after the restore");
    world.settled().await;
    let second = world.succeed(json!({})).await;
    assert_eq!(second["now"], answer["now"], "one restore, one token");
}

/// Another extension, which the test holds at each of its events.
struct Other(BufReader<TcpStream>);

impl Other {
    async fn arrives(stage: &TcpListener) -> Self {
        let (stream, _) = timeout(PATIENCE, stage.accept()).await.unwrap().unwrap();
        Self(BufReader::new(stream))
    }

    async fn hears(&mut self) -> String {
        let mut line = String::new();
        timeout(PATIENCE, self.0.read_line(&mut line)).await.unwrap().unwrap();
        line.trim_end().to_owned()
    }

    async fn goes_on(&mut self) {
        self.0.write_all(b"\n").await.unwrap();
    }
}

#[tokio::test]
async fn another_slow_extension_delays_no_response_and_hears_the_shutdown() {
    let stage = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = stage.local_addr().unwrap().to_string();
    let world = Local::start("examples/transfer-python", "app.handler", |config| {
        let program = python().with_arguments([repository().join("tests/functions/other_extension.py")]);
        let other = ExtensionProgram { name: "other-extension".to_owned(), program };
        config.layer.as_mut().unwrap().extensions.push(other);
        config.environment.insert("TEST_STAGE".to_owned(), address);
    })
    .await;
    // The caller has its answer, and the other extension is not even done with the event.
    world.succeed(transfer("t1")).await;
    let mut other = Other::arrives(&stage).await;
    assert_eq!(other.hears().await, "INVOKE");
    assert!(!world.host().is_frozen(SANDBOX), "a sandbox with a busy extension is not free");
    other.goes_on().await;
    world.settled().await;
    assert!(world.host().is_frozen(SANDBOX));

    let host = world.shared_host();
    let second = host.invoke(Invocation::new(transfer("t2").to_string())).await;
    assert_eq!(document(&second)["checking"], 800, "{}", world.log());
    drop(host);
    assert_eq!(other.hears().await, "INVOKE");
    other.goes_on().await;
    world.settled().await;
    let log = world.stop().await;
    assert_eq!(other.hears().await, "SHUTDOWN");
    assert!(log.contains("SHUTDOWN (spindown)"), "AFT's extension hears it, too: {log}");
}

#[tokio::test]
async fn managed_instances_are_refused_by_extension_and_shim() {
    let world = Local::start("examples/transfer-python", "app.handler", |config| {
        config.environment.insert("AWS_LAMBDA_MAX_CONCURRENCY".to_owned(), "16".to_owned());
    })
    .await;
    let result = world.host().invoke(Invocation::new("{}")).await;
    // Whichever process Lambda heard first.
    assert!(!result.succeeded() && document(&result).to_string().contains("Aft.Configuration"), "{result:?}");
    world.settled().await;
    let log = world.log();
    let told = log.lines().filter(|line| line.contains("aft_extension") || line.contains("aft-extension |"));
    let errors: Vec<_> = told.filter(|line| line.contains("ERROR")).collect();
    assert!(errors.len() == 1 && errors[0].contains("managed instances run several"), "one clear line: {log}");
}

/// A Rust binary that speaks the Runtime API by itself, as on `provided.al2023`.
fn rust_function() -> std::path::PathBuf {
    let program = repository().join("target/debug/transfer");
    assert!(program.is_file(), "{} is missing: make examples", program.display());
    program
}

/// The settings of a layer over tables of its own on AWS's own DynamoDB.
async fn tables(name: &str) -> Vec<(&'static str, String)> {
    let endpoint = aft_tests::dynamodb_local::DynamoDbLocal::shared().await.endpoint();
    let (data_table, transaction_table) = (format!("{name}-data"), format!("{name}-transactions"));
    let store = store::patient(&store::config(&endpoint, &data_table, &transaction_table));
    store.create_tables().await.unwrap();
    vec![
        ("AFT_DATA_TABLE", data_table),
        ("AFT_TRANSACTION_TABLE", transaction_table),
        ("AFT_DYNAMODB_ENDPOINT", endpoint),
    ]
}

/// The first attempt fails between its writes; what the caller and an audit see is one whole transfer.
async fn transfers_once(mut emulator: Emulator) {
    let mut event = transfer("t1");
    event["faults"] = json!([{"after": 2, "how": "kill"}]);
    let answer = emulator.invoke(&event).await;
    let entry = json!({"transfer": "t1", "amount": 100, "checking": 900, "savings": 100});
    assert_eq!((answer.status, &answer.body), (200, &entry));
    let audit = emulator.invoke(&json!({"do": "audit", "customer": "c1", "transfers": ["t1"]})).await;
    assert_eq!(audit.body["checking"], json!({"balance": 900, "transfers": ["t1"]}));
}

async fn emulator(name: &str, command: &[&str], settings: &[(&str, &str)]) -> Emulator {
    let tables = tables(name).await;
    let tables = tables.iter().map(|(name, value)| (*name, value.as_str()));
    let settings: Vec<_> = tables.chain(settings.iter().copied()).collect();
    let function = rust_function();
    Emulator::start_command(command, function.parent().unwrap(), &settings).await
}

#[tokio::test]
async fn an_images_entrypoint_starts_the_function_behind_the_shim() {
    let function = rust_function();
    transfers_once(emulator("image", &[SHIM, function.to_str().unwrap()], &[]).await).await;
}

#[tokio::test]
async fn an_os_only_runtime_starts_the_function_by_the_layers_bootstrap() {
    let root = rust_function().parent().unwrap().to_str().unwrap().to_owned();
    let settings = [("LAMBDA_TASK_ROOT", root.as_str()), ("_HANDLER", "transfer")];
    transfers_once(emulator("bootstrap", &["/opt/bootstrap"], &settings).await).await;
}

#[tokio::test]
async fn another_wrapper_starts_the_function_behind_the_shim() {
    let directory = std::env::temp_dir().join(format!("aft-wrapper-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let wrapper = directory.join("wrapper");
    fs::write(&wrapper, "#!/bin/sh\ntouch \"$0-ran\"\nexec \"$@\"\n").unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    let function = rust_function();
    let settings = [("AFT_NEXT_WRAPPER", wrapper.to_str().unwrap())];
    transfers_once(emulator("wrapper", &[SHIM, function.to_str().unwrap()], &settings).await).await;
    assert!(directory.join("wrapper-ran").is_file());
    fs::remove_dir_all(directory).unwrap();
}

#[tokio::test]
async fn switched_off_the_layer_is_not_there_whatever_else_is_set() {
    let broken = [
        ("AFT_ENABLED", "false"),
        ("AFT_DATA_TABLE", ""),
        ("AFT_MAX_ATTEMPTS", "none"),
        ("AFT_NO_SUCH_SETTING", "1"),
        ("AFT_DYNAMODB_ENDPOINT", "nowhere"),
    ];
    let mut emulator = Emulator::start_python("tests/functions", "environment.handler", &broken).await;
    for _ in 0..2 {
        let answer = emulator.invoke(&json!({})).await;
        assert_eq!((answer.status, answer.body), (200, Value::Array(Vec::new())));
    }
}
