//! Freeze and thaw: the shipped layer in a host that stops every process of a sandbox between two invocations, breaks its
//! connections meanwhile, and, which Lambda never does, stops it in the middle of a commit.

#![allow(clippy::unwrap_used, reason = "what cannot be had fails the test")]

use std::fs;
use std::time::{Duration, Instant};

use aft_cli::Invocation;
use aft_tests::local::{Local, PATIENCE, SANDBOX, document, transfer};
use aft_tests::wire::Fate;
use serde_json::{Value, json};
use tokio::time::timeout;

const KEYS: [&str; 3] = ["account/c1/checking", "account/c1/savings", "ledger/c1/t1"];
const RECORD: &str = "DynamoDB_20120810.PutItem";
const HEAD: &str = "DynamoDB_20120810.UpdateItem";

async fn world(settings: &[(&str, &str)], limit: Duration) -> Local {
    Local::start("examples/transfer-python", "app.handler", |config| {
        config.timeout = limit;
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        config.environment.extend(settings);
    })
    .await
}

/// Every process of the sandbox, whoever started it, and the kernel's letter for its state.
fn states(world: &Local) -> Vec<(u32, char)> {
    let groups: Vec<_> = world.host().processes().iter().map(|process| process.pid).collect();
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let state = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // After the name, which may have spaces: state, parent, group.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let (state, group) = (fields.next()?.chars().next()?, fields.nth(1)?.parse().ok()?);
        groups.contains(&group).then_some((pid, state))
    };
    processes.filter_map(state).collect()
}

async fn statement(world: &Local) -> Value {
    world.succeed(json!({"do": "audit", "customer": "c1", "transfers": ["t1", "t2", "t3"]})).await
}

#[tokio::test]
async fn a_sandbox_that_has_nothing_to_do_is_frozen_whole() {
    let limit = Duration::from_secs(2);
    let world = world(&[], limit).await;
    world.succeed(transfer("t1")).await;
    world.settled().await;
    assert!(world.host().is_frozen(SANDBOX));
    let stopped = async {
        // The kernel stops processes in its own time.
        while states(&world).iter().any(|(_, state)| *state != 'T') {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, stopped).await.unwrap();
    let before = states(&world);
    assert!(before.len() >= 3, "extension, shim and runtime: {before:?}");

    // Longer than an invocation may take: no timer of the last one is left to fire at the thaw.
    assert!(!world.says_something_within(limit + limit / 2).await, "{}", world.log());
    world.succeed(transfer("t2")).await;
    let after: Vec<_> = states(&world).into_iter().map(|(pid, _)| pid).collect();
    assert!(before.iter().all(|(pid, _)| after.contains(pid)), "nothing was started anew");
    assert_eq!(statement(&world).await["ledger"], json!(["t1", "t2"]));

    world.settled().await;
    let log = world.stop().await;
    assert!(log.contains("SHUTDOWN (spindown)"), "a frozen sandbox is thawed to be shut down: {log}");
}

#[tokio::test]
async fn connections_that_die_in_a_freeze_cost_nothing() {
    let world = world(&[], Duration::from_secs(20)).await;
    let mut processes = Vec::new();
    for name in ["t1", "t2", "t3"] {
        world.succeed(transfer(name)).await;
        world.settled().await;
        assert!(world.host().is_frozen(SANDBOX));
        world.database.break_connections().await;
        world.lambda.break_connections().await;
        processes.push(world.host().processes());
    }
    assert_eq!(statement(&world).await["checking"], json!({"balance": 700, "transfers": ["t1", "t2", "t3"]}));
    assert!(processes.iter().all(|each| *each == processes[0]), "nothing was started anew: {}", world.log());
}

/// Packets vanish: nobody is told, and the freeze was too short for a clock to tell. A function with Lambda's default time limit
/// has its answer well within it.
#[tokio::test]
async fn connections_that_vanish_in_a_freeze_cost_a_part_of_the_time_limit() {
    let limit = Duration::from_secs(3);
    let world = world(&[], limit).await;
    world.succeed(transfer("t1")).await;
    world.settled().await;
    world.database.silence_connections();
    let started = Instant::now();
    world.succeed(transfer("t2")).await;
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}: {}", started.elapsed(), world.log());
    assert_eq!(statement(&world).await["ledger"], json!(["t1", "t2"]));
}

/// The runtime does not wait for the store: the extension registers, then probes. And what the probe has connected, the first
/// invocation uses.
#[tokio::test]
async fn the_probe_comes_after_the_registration_and_leaves_its_connections_to_the_first_invocation() {
    let world = world(&[], Duration::from_secs(20)).await;
    let mut register = world.lambda.hold("/extension/register");
    let mut probe = world.database.hold("DynamoDB_20120810.GetItem");
    let host = world.shared_host();
    let audit = json!({"do": "audit", "customer": "c1", "transfers": ["t1"]}).to_string();
    let first = tokio::spawn(async move { host.invoke(Invocation::new(audit)).await });
    register.seen().await;
    assert_eq!(world.database.accepted(), 0, "nothing before the registration");
    register.decide(Fate::Passed);
    probe.seen().await;
    probe.decide(Fate::Passed);
    let first = timeout(PATIENCE, first).await.unwrap().unwrap();
    assert!(first.succeeded(), "{}", world.log());
    assert_eq!(world.database.accepted(), 2, "the probe's, one a table: {}", world.log());
}

#[tokio::test]
async fn no_freeze_before_the_heads_are_applied() {
    let world = world(&[("AFT_ACK", "durable")], Duration::from_secs(20)).await;
    statement(&world).await;
    world.settled().await;
    let mut held = world.database.hold(HEAD);
    world.succeed(transfer("t1")).await;
    held.seen().await;
    assert!(!world.host().is_frozen(SANDBOX));
    let early = timeout(Duration::from_millis(500), world.host().settled()).await;
    assert!(early.is_err() && !world.host().is_frozen(SANDBOX), "an apply is pending: {}", world.log());

    held.decide(Fate::Passed);
    world.settled().await;
    assert!(world.host().is_frozen(SANDBOX));
    let versions = world.heads(KEYS).await.map(|head| head.current.version);
    assert!(!versions[0].is_zero() && versions.iter().all(|version| *version == versions[0]), "{versions:?}");
}

/// What the caller was told and what the store holds agree, and the same request again resolves it.
async fn cut_off(fate: Fate) {
    let limit = Duration::from_secs(3);
    let world = world(&[], limit).await;
    statement(&world).await;
    world.settled().await;
    let request = || Invocation::new(transfer("t1").to_string()).with_request_id("request-1");
    let mut held = world.database.hold(RECORD);
    let host = world.shared_host();
    let mut invocation = tokio::spawn(async move { host.invoke(request()).await });
    held.seen().await;
    world.host().freeze(SANDBOX);
    held.decide(fate);
    // Until the deadline has passed, and nobody noticed.
    assert!(timeout(limit, &mut invocation).await.is_err(), "who is frozen does not answer");
    world.host().thaw(SANDBOX);

    let first = timeout(PATIENCE, invocation).await.unwrap().unwrap();
    assert!(!first.succeeded(), "the deadline had passed: {}", document(&first));
    assert_eq!(document(&first)["errorType"], "Aft.OutcomeUnknown", "{}", world.log());
    world.settled().await;
    let versions = world.heads(KEYS).await.map(|head| head.current.version);
    assert!(versions.iter().all(|version| *version == versions[0]), "all or nothing: {versions:?}");

    let second = world.host().invoke(request()).await;
    let entry = json!({"transfer": "t1", "amount": 100, "checking": 900, "savings": 100});
    assert_eq!(document(&second), entry, "{}", world.log());
    let statement = statement(&world).await;
    assert_eq!(statement["checking"], json!({"balance": 900, "transfers": ["t1"]}), "once");
    assert_eq!(statement["savings"], json!({"balance": 100, "transfers": ["t1"]}), "whole");
}

#[tokio::test]
async fn a_record_whose_reply_a_freeze_swallows_is_found_by_the_duplicate() {
    cut_off(Fate::Passed).await;
}

#[tokio::test]
async fn a_record_that_a_freeze_keeps_from_the_store_is_written_by_the_duplicate() {
    cut_off(Fate::Lost).await;
}
