//! Every way in which a runtime's process can end, under the layer as it is shipped: the transaction happens once, and Lambda
//! never notices, because the shim lives on. And the extension's death in the middle of a commit, which Lambda does notice: it
//! starts the sandbox again in place.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use aft_cli::Victim;
use aft_tests::store_proxy::{Point, StoreRequest};
use aft_tests::witness::{Report, Rule};
use aft_tests::world::{FIRST, Setup, World, error_type, wrote};
use serde_json::json;
use tokio::task::JoinSet;

const FUNCTION: &str = env!("CARGO_BIN_EXE_witnessed-function");
const REQUEST: &str = "the-request";

/// As orders to the function. The signals are 1, 2, 3, 6, 9, 11, 13 and 15.
const ENDS: [&str; 10] =
    ["exit 0", "exit 1", "die HUP", "die INT", "die QUIT", "die ABRT", "die KILL", "die SEGV", "die PIPE", "die TERM"];

async fn world() -> World {
    World::start(Setup::new(FUNCTION)).await
}

/// The handler of the request is at this gate, and waits.
async fn at(world: &World, gate: &'static str) -> Report {
    world.witness.hold(FIRST, gate);
    world.witness.at(FIRST, gate).await
}

/// The request's transaction happened once, whole, after so many runs.
async fn assert_happened(world: &World, result: &aft_cli::InvokeResult, runs: usize, how: &str) {
    assert!(result.succeeded(), "{how}: {result:?}\n{}", world.log());
    assert_eq!(world.witness.runs(FIRST, REQUEST), runs, "{how}");
    let stored = world.stored().await;
    assert_eq!((stored.records, stored.heads), (1, [wrote(result), wrote(result)]), "{how}");
}

/// Nothing of the request is there.
async fn assert_nothing(world: &World) {
    let stored = world.stored().await;
    assert_eq!((stored.records, stored.heads), (0, [Some(world.old.clone()), Some(world.old.clone())]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_a_runtime_ends_its_transaction_happens_once() {
    let mut worlds = JoinSet::new();
    for order in ENDS {
        worlds.spawn(async move {
            let world = world().await;
            let caller = world.invoking(FIRST, REQUEST, &json!({ "do": "write" }));
            let report = at(&world, "between-writes").await;
            let before = world.processes();
            world.witness.rule([]);
            world.witness.order(report.process, order);
            let result = caller.await.unwrap();
            assert_happened(&world, &result, 2, order).await;
            assert_eq!(world.processes(), before, "{order}: the sandbox was not reset");
            world.stop().await;
        });
    }
    worlds.join_all().await;
}

/// The response is Lambda's; that the runtime then ends costs nobody anything, and the next event finds a new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runtime_that_ends_after_its_response_is_replaced_for_the_next_event() {
    let mut worlds = JoinSet::new();
    for order in ENDS {
        worlds.spawn(async move {
            let world = world().await;
            let caller = world.invoking(FIRST, REQUEST, &json!({ "do": "write" }));
            let report = at(&world, "responded").await;
            let before = world.processes();
            world.witness.rule([]);
            let result = caller.await.unwrap();
            world.witness.order(report.process, order);
            assert_happened(&world, &result, 1, order).await;
            let next = world.invoke(FIRST, "the-next", &json!({ "do": "write" })).await;
            assert!(next.succeeded(), "{order}: {next:?}");
            assert_ne!(world.witness.newest(FIRST), Some(report.process), "{order}");
            assert_eq!(world.processes(), before, "{order}: the sandbox was not reset");
            world.stop().await;
        });
    }
    worlds.join_all().await;
}

/// A runtime that was started for the next attempt and dies before it asks for the event has used up that attempt.
#[tokio::test]
async fn a_runtime_that_dies_while_it_starts_again_is_followed_by_another() {
    let world = world().await;
    let caller = world.invoking(FIRST, REQUEST, &json!({ "do": "write" }));
    let first = at(&world, "between-writes").await.process;
    world.witness.hold(FIRST, "init");
    world.witness.order(first, "die KILL");
    let second = world
        .witness
        .reports(1, "a second start", |report| report.at == "init" && report.side == FIRST && report.process != first);
    let second = second.await.process;
    world.witness.rule([]);
    world.witness.order(second, "exit 1");
    assert_happened(&world, &caller.await.unwrap(), 2, "killed, then dead at its start, then well").await;
    world.stop().await;
}

#[tokio::test]
async fn a_runtime_that_never_starts_again_leaves_nothing_and_says_so() {
    let world = world().await;
    let caller = world.invoking(FIRST, REQUEST, &json!({ "do": "write" }));
    let first = at(&world, "between-writes").await.process;
    world.witness.rule([Rule { side: Some(FIRST), at: "init", order: Some("exit 1") }]);
    world.witness.order(first, "die KILL");
    let result = caller.await.unwrap();
    assert_eq!(error_type(&result).as_deref(), Some("Runtime.ExitError"));
    assert_eq!(world.witness.runs(FIRST, REQUEST), 1);
    assert_nothing(&world).await;
    world.stop().await;
}

/// Lambda's init is not tried again by the shim: Lambda does that, with a new sandbox.
#[tokio::test]
async fn a_runtime_that_dies_in_lambdas_init_fails_it_and_the_next_sandbox_is_well() {
    for order in ["exit 0", "exit 1", "die KILL", "die SEGV"] {
        let world = world().await;
        world.witness.rule([Rule { side: Some(FIRST), at: "init", order: Some(order) }]);
        let failed = world.invoke(FIRST, REQUEST, &json!({ "do": "write" })).await;
        assert_eq!(error_type(&failed).as_deref(), Some("Runtime.ExitError"), "{order}");
        assert_nothing(&world).await;
        world.settled().await;
        world.witness.rule([]);
        let result = world.invoke(FIRST, REQUEST, &json!({ "do": "write" })).await;
        assert_happened(&world, &result, 1, order).await;
        world.stop().await;
    }
}

/// The kernel kills the runtime, and only it, for want of memory; where no control group can be had, its allocation fails and
/// it aborts.
#[tokio::test]
async fn a_runtime_that_runs_out_of_memory_is_run_again() {
    let world = world().await;
    let caller = world.invoking(FIRST, REQUEST, &json!({ "do": "write" }));
    let report = at(&world, "between-writes").await;
    let before = world.processes();
    let limit = MemoryLimit::of(report.process);
    println!("memory is limited by {}", limit.by());
    world.witness.rule([]);
    world.witness.order(report.process, &format!("allocate {}", 8 * LIMIT_BYTES));
    world.witness.gone(report.process).await;
    assert_happened(&world, &caller.await.unwrap(), 2, "out of memory").await;
    assert_eq!(world.processes(), before, "the sandbox was not reset");
    drop(limit);
    world.stop().await;
}

/// R-FM-4: the extension is killed between the record and the last head. Nobody sends the request again, nobody reads its
/// keys: the extension that Lambda starts in its place finishes the transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extension_that_dies_in_a_commit_finishes_it_when_it_is_started_again() {
    type Catches = fn(&StoreRequest) -> bool;
    let moves_b: Catches = |request| *request == StoreRequest::Head("b".to_owned());
    let is_record: Catches = |request| *request == StoreRequest::Record;
    let moves: Catches = |request| matches!(request, StoreRequest::Head(_));
    for (catches, point, records, moved) in [
        (is_record, Point::Arrived, 0, 0),
        (is_record, Point::Answered, 1, 0),
        (moves, Point::Arrived, 1, 0),
        (moves_b, Point::Arrived, 1, 1),
        (moves_b, Point::Answered, 1, 2),
    ] {
        let world = world().await;
        world.proxy.trap(catches, point);
        let caller = world.invoking(FIRST, REQUEST, &json!({ "do": "write" }));
        world.proxy.caught(1).await;
        if moved > 0 {
            world.proxy.done(&StoreRequest::Head("a".to_owned())).await;
        }
        world.kill(Victim::Extensions);
        assert!(!caller.await.unwrap().succeeded());
        world.settled().await;
        // What was on its way when the extension died never arrives.
        world.proxy.decide(&[]);
        let old = Some(world.old.clone());
        let left = world.stored().await;
        assert_eq!((left.records, left.heads.iter().filter(|head| **head != old).count()), (records, moved));

        let read = || ["a", "b"].map(|key| world.proxy.count(&StoreRequest::Read(key.to_owned())));
        let before = read();
        let unrelated = world.invoke(FIRST, "another-request", &json!({ "do": "read", "keys": ["c", "d"] })).await;
        assert!(unrelated.succeeded(), "{unrelated:?}\n{}", world.log());
        world.settled().await;
        let stored = world.stored().await;
        assert_eq!(stored.records, records, "nothing is made up");
        assert_eq!(stored.heads[0], stored.heads[1], "{records} {moved}\n{}", world.log());
        assert_eq!(stored.heads[0] == old, records == 0, "committed is visible\n{}", world.log());
        assert_eq!(world.witness.runs(FIRST, REQUEST), 1);
        assert_eq!(read(), before, "nobody has read these keys");
        world.stop().await;
    }
}

const LIMIT_BYTES: u64 = 64 * 1_024 * 1_024;

/// A limit on the memory of one process, and what enforces it.
enum MemoryLimit {
    /// A control group of its own, removed at the end.
    Group(PathBuf),
    /// A limit of the address space.
    AddressSpace,
}

impl MemoryLimit {
    fn of(process: u32) -> Self {
        // Version 2, then version 1.
        for (root, limit) in [("/sys/fs/cgroup", "memory.max"), ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")] {
            let group = PathBuf::from(root).join(format!("aft-test-{process}"));
            if fs::create_dir(&group).is_err() {
                continue;
            }
            // Not created: a file that is not there is no limit.
            let write = |name: &str, text: String| {
                fs::OpenOptions::new()
                    .write(true)
                    .open(group.join(name))
                    .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            };
            if write(limit, LIMIT_BYTES.to_string()).and_then(|()| write("cgroup.procs", process.to_string())).is_ok() {
                return Self::Group(group);
            }
            let _ = fs::remove_dir(&group);
        }
        let limited = Command::new("prlimit")
            .args(["--pid", &process.to_string(), &format!("--as={}", 2 * LIMIT_BYTES)])
            .status();
        assert!(limited.unwrap().success(), "neither a control group nor prlimit (util-linux) can be had");
        Self::AddressSpace
    }

    fn by(&self) -> String {
        match self {
            Self::Group(group) => format!("the control group {}", group.display()),
            Self::AddressSpace => "the size of its address space".to_owned(),
        }
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        if let Self::Group(group) = self {
            // Left behind only if the process still lives, and then the test has failed.
            let _ = fs::remove_dir(group);
        }
    }
}
