//! Runs one cell: stops an invocation at an instant, lets a reader look, lets the cause strike, and looks at what came of it.
//!
//! Asserted of every cell, beside what the table says of it: a reader never sees half; what was acknowledged is durable and is
//! answered again without a run; in the end there is one commit record, and both heads are its own; no run of the handler
//! has read what another attempt wrote and did not commit.

use std::path::Path;
use std::time::Duration;

use aft_cli::{InvokeResult, Victim};
use aft_protocol::settings;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::instant::Stop;
use super::observation::{Caller, Held, Seen};
use super::{Cause, Instant, Observation};
use crate::store_proxy::{StoreRequest, Verdict};
use crate::witness::Rule;
use crate::world::{FIRST, SANDBOX, SECOND, Setup, World, error_type, wrote};

/// The request that things happen to.
const REQUEST: &str = "the-request";
/// Where a deadline must pass: long enough to get to the instant on a busy machine.
const SHORT: Duration = Duration::from_secs(3);
/// The same for an attempt's limit, in milliseconds.
const ATTEMPT_LIMIT_MS: &str = "3000";
/// A response that does not fit into the record's own item.
const LARGE: usize = 400_000;

/// Deaths that two parties report, either of which may be first.
const ALTERNATIVES: [&[&str]; 5] = [
    &["Extension.Crash", "Aft.OutcomeUnknown"],
    &["Runtime.ExitError", "Extension.Crash"],
    &["Aft.OutcomeUnknown", "Sandbox.Timedout"],
    &["Function.Refused", "Sandbox.Timedout"],
    &["Aft.CommitFailed", "Sandbox.Timedout"],
];

/// Which of them belong to a cause.
fn alternatives(cause: Cause, at: Instant) -> &'static [&'static [&'static str]] {
    match cause {
        Cause::ExtensionKilled if at.is_commit() => &ALTERNATIVES[0..1],
        Cause::SandboxKilled => &ALTERNATIVES[1..2],
        Cause::StoreAway if at == Instant::BeforeFirstWrite => &ALTERNATIVES[3..4],
        Cause::StoreAway if at == Instant::BeforeRecord => &ALTERNATIVES[4..5],
        Cause::StoreAway => &ALTERNATIVES[2..3],
        _ => &[],
    }
}

/// Runs the cell of this instant and this cause.
///
/// # Panics
/// If it cannot be run, or if what must hold of every cell does not.
pub async fn run(function: &Path, at: Instant, cause: Cause) -> Observation {
    let world = World::start(setup(function, at, cause)).await;
    let cell = Cell { world, at, cause, event: event(at) };
    let observation = cell.observe().await;
    cell.world.stop().await;
    observation
}

fn setup(function: &Path, at: Instant, cause: Cause) -> Setup {
    let mut setup = Setup::new(function);
    if cause.needs_the_deadline() {
        setup.timeout = SHORT;
        if at == Instant::Init {
            setup.init_limit = Duration::from_secs(1);
        }
    }
    if cause == Cause::HangsToAttemptLimit {
        setup = setup.first(settings::ATTEMPT_TIMEOUT.name, ATTEMPT_LIMIT_MS);
    }
    setup
}

fn event(at: Instant) -> Value {
    json!({ "do": "write", "padding": if at == Instant::BeforeRecord { LARGE } else { 0 } })
}

struct Cell {
    world: World,
    at: Instant,
    cause: Cause,
    event: Value,
}

impl Cell {
    async fn observe(&self) -> Observation {
        let world = &self.world;
        let stop = self.at.stop(self.cause.is_stores());
        let (result, during, there) = if let Stop::Nothing = stop {
            let warm = world.invoke(FIRST, "a-reader", &json!({ "do": "read", "keys": ["a", "b"] })).await;
            assert!(warm.succeeded(), "{warm:?}");
            world.settled().await;
            let during = world.read(["b", "a"]).await;
            self.strike_idle().await;
            (world.invoke(FIRST, REQUEST, &self.event).await, during, None)
        } else {
            let caller = self.stopped(stop).await;
            // The head that moves last is read first: then nothing makes the reader roll forward.
            let during = world.read(["b", "a"]).await;
            let (result, there) = self.strike(stop, caller).await;
            (result, during, there)
        };
        world.settled().await;
        let runs = (world.witness.runs(FIRST, REQUEST), there);
        let stored = world.stored().await;
        let held = self.held(&stored.heads, stored.records);
        let afterwards = world.read(["a", "b"]).await;
        let again = self.again(&result, held, there.unwrap_or_default()).await;
        let reader = (self.seen(during), self.seen(afterwards));
        self.assert_consistent(held, reader);
        let caller = match error_type(&result) {
            None => Caller::Response,
            Some(kind) => Caller::error(&kind, alternatives(self.cause, self.at)),
        };
        Observation { caller, runs, store: held, reader, again }
    }

    /// Sends the request, and waits until it is at its instant.
    async fn stopped(&self, stop: Stop) -> JoinHandle<InvokeResult> {
        let world = &self.world;
        match stop {
            Stop::Gate(at) => world.witness.hold(FIRST, at),
            Stop::Store(catches, point) => world.proxy.trap(catches, point),
            Stop::Nothing => {}
        }
        let caller = world.invoking(FIRST, REQUEST, &self.event);
        match stop {
            Stop::Gate(at) => drop(world.witness.at(FIRST, at).await),
            Stop::Store(..) => world.proxy.caught(1).await,
            Stop::Nothing => {}
        }
        if matches!(self.at, Instant::BetweenHeads | Instant::AfterLastHead) {
            world.proxy.done(&StoreRequest::Head("a".to_owned())).await;
        }
        caller
    }

    /// Between invocations.
    async fn strike_idle(&self) {
        match self.cause {
            Cause::ShimKilled => self.world.kill(Victim::Runtime),
            Cause::ExtensionKilled => self.world.kill(Victim::Extensions),
            Cause::SandboxKilled => self.world.kill(Victim::Everything),
            _ => return self.end_runtime().await,
        }
        self.world.first.until_broken(SANDBOX).await;
    }

    /// The cause strikes, and all goes on. Returns what the caller got, and how often the handler of a duplicate ran.
    async fn strike(&self, stop: Stop, caller: JoinHandle<InvokeResult>) -> (InvokeResult, Option<usize>) {
        let world = &self.world;
        let mut there = None;
        match self.cause {
            Cause::HandlerError => self.go_on("error"),
            Cause::HandlerErrorAlways => self.always(stop, "error"),
            Cause::KilledAlways => self.always(stop, "die KILL"),
            Cause::Exit0 | Cause::Exit1 | Cause::Killed | Cause::SegmentationFault => {
                world.witness.rule([]);
                self.end_runtime().await;
            }
            Cause::HangsToAttemptLimit => world.witness.rule([]),
            Cause::HangsToDeadline => {}
            Cause::ShimKilled => world.kill(Victim::Runtime),
            Cause::ExtensionKilled => world.kill(Victim::Extensions),
            Cause::SandboxKilled => world.kill(Victim::Everything),
            Cause::StoreDropsRequest | Cause::StoreLosesReply => world.proxy.decide(&[Verdict::Cut]),
            Cause::StoreFails => world.proxy.decide(&[Verdict::Fail]),
            Cause::StoreThrottles => world.proxy.decide(&[Verdict::Throttle, Verdict::Throttle]),
            Cause::StoreAway => world.proxy.go_away(),
            Cause::Duplicate => {
                let duplicate = world.invoke(SECOND, REQUEST, &self.event).await;
                assert!(duplicate.succeeded(), "{duplicate:?}");
                there = Some(world.witness.runs(SECOND, REQUEST));
            }
        }
        let kills = matches!(self.cause, Cause::ShimKilled | Cause::ExtensionKilled | Cause::SandboxKilled);
        if !kills && !self.cause.is_stores() && self.cause != Cause::HangsToDeadline {
            self.resume(stop);
        }
        if self.cause == Cause::StoreAway {
            self.resume(stop);
        }
        let result = caller.await.expect("the task of the caller");
        if kills {
            // What was on its way when the sandbox died never arrives.
            world.settled().await;
            world.proxy.go_away();
        }
        (result, there)
    }

    /// Whatever is stopped goes on.
    fn resume(&self, stop: Stop) {
        match stop {
            Stop::Gate(_) if matches!(self.cause, Cause::Duplicate | Cause::StoreAway) => self.go_on("go"),
            Stop::Gate(_) | Stop::Nothing => {}
            Stop::Store(..) => self.world.proxy.decide(&[]),
        }
    }

    /// The process that waits at its gate gets this order; nobody waits there any more.
    fn go_on(&self, order: &str) {
        self.world.witness.rule([]);
        if let Some(process) = self.world.witness.newest(FIRST) {
            self.world.witness.order(process, order);
        }
    }

    /// As [`Self::go_on`], and whoever comes there later gets it too.
    fn always(&self, stop: Stop, order: &'static str) {
        self.go_on(order);
        if let Stop::Gate(at) = stop {
            self.world.witness.rule([Rule { side: Some(FIRST), at, order: Some(order) }]);
        }
    }

    /// The runtime's process ends as the cause says.
    async fn end_runtime(&self) {
        let order = match self.cause {
            Cause::Exit0 => "exit 0",
            Cause::Exit1 => "exit 1",
            Cause::SegmentationFault => "die SEGV",
            _ => "die KILL",
        };
        let process = self.world.witness.newest(FIRST).expect("a runtime has started");
        self.world.witness.order(process, order);
        self.world.witness.gone(process).await;
    }

    /// The same request once more, in the other sandbox. Returns how often the handler ran for it.
    async fn again(&self, first: &InvokeResult, held: Held, before: usize) -> usize {
        let world = &self.world;
        let again = world.invoke(SECOND, REQUEST, &self.event).await;
        assert!(again.succeeded(), "{again:?}\n{}", world.log());
        let runs = world.witness.runs(SECOND, REQUEST) - before;
        assert_eq!(runs, usize::from(held == Held::Unchanged), "a commit is never run again, and else it runs once");
        if first.succeeded() {
            assert_eq!(held, Held::Record { heads: 2 }, "acknowledged is durable and visible\n{}", world.log());
            assert_eq!(first.payload, again.payload, "the same response, byte for byte");
        }
        let stored = world.stored().await;
        assert_eq!(stored.records, 1, "never twice");
        let mark = wrote(&again);
        assert_eq!(stored.heads, [mark.clone(), mark], "never half, and acknowledged is visible");
        runs
    }

    fn held(&self, heads: &[Option<String>; 2], records: usize) -> Held {
        let moved = heads.iter().filter(|head| head.as_deref() != Some(&self.world.old)).count();
        match records {
            0 => {
                assert_eq!(moved, 0, "no head without a record");
                Held::Unchanged
            }
            1 => Held::Record { heads: moved },
            many => panic!("{many} records of one transaction\n{}", self.world.log()),
        }
    }

    fn seen(&self, value: Option<String>) -> Seen {
        if value.as_deref() == Some(&self.world.old) { Seen::Old } else { Seen::New }
    }

    /// What must hold of every cell.
    fn assert_consistent(&self, held: Held, (_, afterwards): (Seen, Seen)) {
        let committed = held != Held::Unchanged;
        let visible = matches!(held, Held::Record { heads: 1.. });
        // A record of which no head has moved yet is found by who asks for its transaction, not by who reads its keys.
        assert_eq!(
            afterwards == Seen::New,
            visible,
            "who comes later sees all of what one head shows, and nothing else"
        );
        let reads = self.world.witness.all();
        let reads = reads.iter().filter(|report| report.at == "first-write" && report.request == REQUEST);
        for read in reads {
            assert_eq!(read.seen["a"], read.seen["b"], "the handler saw half of a transaction");
            let old = read.seen["a"].as_str() == Some(&self.world.old);
            assert!(old || committed, "the handler saw what was never committed: {read:?}");
        }
    }
}
