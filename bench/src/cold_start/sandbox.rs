//! One cold start: a sandbox from its first process to its second answer, and what was seen of it.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use aft_cli::LayerBinaries;
use aft_protocol::settings;
use aft_tests::tls::Tls;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use super::share::{Group, Share};
use crate::lambda::{Call, Lambda};
use crate::process::{most_resident_bytes, processor_time, proportional_bytes, resident_bytes};
use crate::report::Quantity;
use crate::setup::{Setup, SocketDirectory};
use crate::{Error, clock};

/// What a cold start is of.
#[derive(Debug, Clone)]
pub enum World {
    /// The function by itself, which writes nothing.
    Without,
    /// The function by itself, which writes with a DynamoDB client of its own.
    OwnClient,
    /// The function under a layer.
    Aft(LayerBinaries),
}

/// Where a cold start is.
#[derive(Debug)]
pub struct Place<'a> {
    /// The engine, and what the processes are told.
    pub setup: &'a Setup,
    /// TLS in front of the engine; without it the processes use plain HTTP.
    pub tls: Option<&'a Tls>,
    /// `bin/in-share.rs`.
    pub in_share: &'a Path,
    /// `bin/one-put.rs`.
    pub one_put: &'a Path,
    /// What the sandbox has of a processor; all there are if `None`.
    pub share: Option<Share>,
}

/// What was measured, by name.
pub type Figures = Vec<(&'static str, Quantity)>;

/// What the function answers with.
#[derive(Debug, Deserialize)]
struct Told {
    pid: u32,
    began: u64,
    writing: u64,
    written: u64,
}

/// A process that is ready to become what it is to be.
struct Waiting {
    process: Child,
    go: ChildStdin,
}

impl Waiting {
    fn spawn(
        place: &Place<'_>,
        group: Option<&Group>,
        command: &[&Path],
        environment: &[(String, String)],
    ) -> Result<Self, Error> {
        let procs = group.map_or_else(|| "-".into(), Group::procs);
        let mut process = Command::new(place.in_share)
            .arg(procs)
            .args(command)
            .env_clear()
            .envs(environment.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let go = process.stdin.take().ok_or("a process without an input")?;
        Ok(Self { process, go })
    }

    async fn go(self) -> Result<Running, Error> {
        let Self { mut process, mut go } = self;
        go.write_all(b"go\n").await?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().ok_or("a process without an output")?).read_line(&mut line).await?;
        let pid = process.id().ok_or("a process ended at once")?;
        let (started, busy) = line.trim().split_once(' ').ok_or("a process that does not say when it began")?;
        let (started, busy_before) = (clock::instant(started.parse()?), Duration::from_nanos(busy.parse()?));
        Ok(Running { process, pid, started, busy_before })
    }
}

/// A process, when it was exec'd, and what it had had of a processor by then, as another program.
struct Running {
    process: Child,
    pid: u32,
    started: Instant,
    busy_before: Duration,
}

impl Running {
    fn busy(&self) -> Result<Duration, Error> {
        Ok(processor_time(self.pid)?.saturating_sub(self.busy_before))
    }

    async fn end(mut self, signal: Signal) -> Result<(), Error> {
        let pid = Pid::from_raw(i32::try_from(self.pid)?).ok_or("no process")?;
        // It may have ended by itself.
        let _ = kill_process(pid, signal);
        self.process.wait().await?;
        Ok(())
    }
}

/// Starts a sandbox, invokes its function twice, and ends it.
///
/// # Errors
/// If a process does not start, or something fails.
pub async fn cold_start(world: &World, place: &Place<'_>) -> Result<Figures, Error> {
    let group = place.share.map(Group::new).transpose()?;
    let directory = SocketDirectory::new("cold");
    let mut lambda = Lambda::start().await?;
    let environment = environment(world, place, &lambda, &directory.socket())?;
    let spawn = |command: &[&Path]| Waiting::spawn(place, group.as_ref(), command, &environment);
    // What is written, so that every first write is of a new key.
    let name = clock::nanos();
    let mut figures = Figures::new();

    let (extension, runtime) = match world {
        World::Without => (None, spawn(&[place.one_put, "none".as_ref()])?),
        World::OwnClient => (None, spawn(&[place.one_put, "own".as_ref()])?),
        World::Aft(layer) => (Some(spawn(&[&layer.extension])?), spawn(&[&layer.shim, place.one_put, "aft".as_ref()])?),
    };
    let handshakes = || place.tls.map(Tls::handshakes).unwrap_or_default();
    let at_start = handshakes();
    let mut init = Duration::ZERO;
    let extension = match extension {
        Some(extension) => {
            let extension = extension.go().await?;
            let registered = lambda.called(Call::Register).await?;
            init += registered - extension.started;
            time(&mut figures, "extension: exec to registered", registered - extension.started);
            Some(extension)
        }
        None => None,
    };
    let runtime = runtime.go().await?;
    let asked = lambda.called(Call::RuntimeNext).await?;
    let mut ready = asked;
    if let Some(extension) = &extension {
        let extension_ready = lambda.called(Call::Next).await?;
        time(&mut figures, "extension: exec to ready (tables probed)", extension_ready - extension.started);
        time(&mut figures, "shim: exec to the runtime's first `/next`", asked - runtime.started);
        ready = ready.max(extension_ready);
    }
    init += ready.saturating_duration_since(runtime.started);
    time(&mut figures, INIT, init);
    let processes: Vec<_> = extension.iter().chain([&runtime]).collect();
    let at_ready = handshakes();
    let busy_at_ready = busy(&processes)?;
    if let Some(extension) = &extension {
        memory(&mut figures, EXTENSION_READY, extension.pid)?;
        memory(&mut figures, SHIM_READY, runtime.pid)?;
        figures.push(("TLS handshakes until ready", count(at_ready.0 - at_start.0)));
    }

    let first = invoke(&mut lambda, &format!("first-{name}"), extension.is_some()).await?;
    let told = &first.told;
    time(&mut figures, FIRST, first.answered);
    time(&mut figures, COLD, init + first.answered);
    time(&mut figures, "first invocation, until the sandbox is free", first.free);
    let at_first = handshakes();
    let busy_at_first = busy(&processes)?;
    if let Some(extension) = &extension {
        time(&mut figures, "shim: exec to the runtime's `main`", clock::instant(told.began) - runtime.started);
        memory(&mut figures, EXTENSION_FIRST, extension.pid)?;
        memory(&mut figures, SHIM_FIRST, runtime.pid)?;
        time(&mut figures, "extension: processor time until ready", busy_at_ready[0]);
        time(&mut figures, "extension: processor time of the first invocation", busy_at_first[0] - busy_at_ready[0]);
        time(&mut figures, "shim: processor time until ready", busy_at_ready[1]);
        time(&mut figures, "shim: processor time of the first invocation", busy_at_first[1] - busy_at_ready[1]);
        figures.push(("TLS handshakes of the first invocation, in full", count(at_first.0 - at_ready.0)));
        figures.push(("TLS handshakes of the first invocation, resumed", count(at_first.1 - at_ready.1)));
    }
    // Under AFT the function is a process of its own, the shim's child.
    let of_child = if extension.is_some() { processor_time(told.pid)? } else { Duration::ZERO };
    time(&mut figures, "processor time until then, all processes", busy_at_first.iter().sum::<Duration>() + of_child);

    let second = invoke(&mut lambda, &format!("second-{name}"), extension.is_some()).await?;
    time(&mut figures, SECOND, second.answered);
    if !matches!(world, World::Without) {
        for (invocation, write, response) in [
            (&first, "the handler's first write", "from the first handler's end to its answer at Lambda"),
            (&second, "the handler's second write", "from the second handler's end to its answer at Lambda"),
        ] {
            time(&mut figures, write, Duration::from_nanos(invocation.told.written - invocation.told.writing));
            time(&mut figures, response, invocation.answered_at - clock::instant(invocation.told.written));
        }
    }
    runtime.end(Signal::TERM).await?;
    if let Some(extension) = extension {
        extension.end(Signal::KILL).await?;
    }
    if let Some(group) = group {
        group.end().await;
    }
    Ok(figures)
}

/// What the sandbox's processes are told.
fn environment(
    world: &World,
    place: &Place<'_>,
    lambda: &Lambda,
    socket: &Path,
) -> Result<Vec<(String, String)>, Error> {
    let config = &place.setup.config;
    let layer = config.layer.as_ref().ok_or("the configuration has no layer")?;
    let mut settings = layer.settings.clone();
    if let Some(tls) = place.tls {
        settings.insert(settings::DYNAMODB_ENDPOINT.name.to_owned(), tls.endpoint());
        settings.insert(settings::CA_BUNDLE.name.to_owned(), tls.bundle().to_string_lossy().into_owned());
    }
    let mut environment: Vec<_> = config.inherited.clone().into_iter().collect();
    let mut set = |name: &str, value: String| environment.push((name.to_owned(), value));
    set("AWS_REGION", config.region.clone());
    set("AWS_LAMBDA_FUNCTION_NAME", config.function_name.clone());
    set("AWS_LAMBDA_RUNTIME_API", lambda.address().to_string());
    match world {
        World::Without => {}
        World::OwnClient => {
            let setting = |setting: settings::Setting| settings.get(setting.name).cloned().unwrap_or_default();
            set("TABLE", setting(settings::DATA_TABLE));
            set("ENDPOINT", setting(settings::DYNAMODB_ENDPOINT));
            if place.tls.is_some() {
                set("CA_BUNDLE", setting(settings::CA_BUNDLE));
            }
        }
        World::Aft(_) => {
            set(settings::PORT.name, aft_cli::port::free_port()?.to_string());
            set(settings::CONTROL_SOCKET.name, socket.to_string_lossy().into_owned());
            environment.extend(settings);
        }
    }
    Ok(environment)
}

/// How an invocation went.
struct Invoked {
    told: Told,
    answered: Duration,
    answered_at: Instant,
    /// Everybody has asked for the next event.
    free: Duration,
}

async fn invoke(lambda: &mut Lambda, request: &str, with_extension: bool) -> Result<Invoked, Error> {
    let given = Instant::now();
    lambda.invoke(request);
    let (answered_at, body) = lambda.responded().await?;
    let told = serde_json::from_slice(&body)?;
    let mut free_at = lambda.called(Call::RuntimeNext).await?;
    if with_extension {
        free_at = free_at.max(lambda.called(Call::Next).await?);
    }
    Ok(Invoked { told, answered: answered_at - given, answered_at, free: free_at - given })
}

fn busy(processes: &[&Running]) -> Result<Vec<Duration>, Error> {
    processes.iter().map(|process| process.busy()).collect()
}

fn time(figures: &mut Figures, name: &'static str, duration: Duration) {
    figures.push((name, Quantity::Time(duration)));
}

fn count(number: usize) -> Quantity {
    Quantity::Count(u64::try_from(number).unwrap_or(u64::MAX))
}

/// From the first exec until extension and runtime have asked for an event.
pub const INIT: &str = "init: exec to ready";
/// From then on, until Lambda has the answer.
pub const FIRST: &str = "first invocation, until answered";
/// Both.
pub const COLD: &str = "cold start: init and first invocation";
/// The same without a start.
pub const SECOND: &str = "second invocation, until answered";
type Names = [&'static str; 3];
const EXTENSION_READY: Names =
    ["extension: memory when ready", "extension: peak until ready", "extension: proportional memory when ready"];
const EXTENSION_FIRST: Names = [
    "extension: memory after the first commit",
    "extension: peak until after the first commit",
    "extension: proportional memory after the first commit",
];
const SHIM_READY: Names = ["shim: memory when ready", "shim: peak until ready", "shim: proportional memory when ready"];
const SHIM_FIRST: Names = [
    "shim: memory after the first commit",
    "shim: peak until after the first commit",
    "shim: proportional memory after the first commit",
];

fn memory(figures: &mut Figures, names: Names, pid: u32) -> Result<(), Error> {
    let bytes = [resident_bytes(pid)?, most_resident_bytes(pid)?, proportional_bytes(pid)?];
    figures.extend(names.into_iter().zip(bytes.map(Quantity::Size)));
    Ok(())
}
