//! One sandbox: its processes and its listener, started when there is something to serve, reused while healthy, and
//! ended as Lambda ends one.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aft_protocol::id::RequestId;
use rustix::process::Signal;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use crate::api::{Api, ApiServer, Credentials, Function};
use crate::clock;
use crate::config::HostConfig;
use crate::environment::{self, Place};
use crate::fault::Fault;
use crate::freezer::{Freezer, Why};
use crate::invocation::{Answer, Event, Request};
use crate::lifecycle::{Lifecycle, ShutdownReason};
use crate::log::{SandboxLog, SandboxNumber, Source};
use crate::port::free_port;
use crate::process::{Process, ProcessTable, Program, Start};
use crate::watched::Watched;

/// How long Lambda waits for a sandbox with extensions to end by itself. Without extensions it does not wait.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(2);
/// The runtime's part of it, which comes first.
const RUNTIME_SHUTDOWN_LIMIT: Duration = Duration::from_millis(600);

/// What the sandboxes of a host share.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) config: HostConfig,
    pub(crate) processes: Arc<ProcessTable>,
    pub(crate) freezer: Freezer,
    /// Where the sandboxes' Runtime APIs listen.
    pub(crate) apis: Mutex<BTreeMap<SandboxNumber, SocketAddr>>,
    pub(crate) run_directory: PathBuf,
}

#[derive(Debug)]
pub(crate) struct Sandbox {
    world: Arc<World>,
    number: SandboxNumber,
    log: Arc<SandboxLog>,
    control_socket: PathBuf,
    running: Option<Running>,
}

/// A sandbox's processes, from their start to their end.
#[derive(Debug)]
struct Running {
    lifecycle: Arc<Watched<Lifecycle>>,
    /// Listens for as long as it is here.
    _api: ApiServer,
    runtime: Option<Process>,
    extensions: Vec<(String, Process)>,
}

/// Whether the sandbox can serve another invocation.
enum Verdict {
    Reuse,
    End(ShutdownReason),
}

/// A sandbox that waits for its event, and by when it must be done with it.
struct Ready {
    lifecycle: Arc<Watched<Lifecycle>>,
    /// How long the start took, if there was one.
    init: Option<Duration>,
    begun: Instant,
    deadline: Instant,
}

enum NotReady {
    Broken(Fault),
    TimedOut,
}

impl Sandbox {
    pub(crate) fn new(world: Arc<World>, number: SandboxNumber) -> Self {
        let log = Arc::new(SandboxLog::new(number, world.config.log.clone()));
        let control_socket = control_socket(&world.run_directory, number);
        Self { world, number, log, control_socket, running: None }
    }

    pub(crate) const fn number(&self) -> SandboxNumber {
        self.number
    }

    pub(crate) const fn is_warm(&self) -> bool {
        self.running.is_some()
    }

    /// Its state, if it runs.
    pub(crate) fn lifecycle(&self) -> Option<Arc<Watched<Lifecycle>>> {
        self.running.as_ref().map(|running| Arc::clone(&running.lifecycle))
    }

    pub(crate) fn log(&self) -> Arc<SandboxLog> {
        Arc::clone(&self.log)
    }

    /// Serves one invocation. `answered` gets the answer as soon as there is one; the sandbox is free when this returns,
    /// ended if it broke or if `stopping` resolved first.
    pub(crate) async fn serve(
        &mut self,
        request: Request,
        answered: oneshot::Sender<Answer>,
        stopping: impl Future<Output = ()>,
    ) {
        let verdict = tokio::select! {
            biased;
            verdict = self.run(request, answered) => verdict,
            () = stopping => Verdict::End(ShutdownReason::Spindown),
        };
        match verdict {
            Verdict::End(reason) => self.end(reason).await,
            Verdict::Reuse if self.world.config.freeze => self.world.freezer.freeze(self.number, Why::Idle),
            Verdict::Reuse => {}
        }
    }

    async fn run(&mut self, request: Request, answered: oneshot::Sender<Answer>) -> Verdict {
        let id = request.id.clone();
        // A caller that hung up does not end its invocation.
        let answer = |answer: Answer| drop(answered.send(answer));
        self.log.clear_tail();
        self.log.platform(format!("START RequestId: {id} Version: {}", crate::api::VERSION));
        let ready = match self.make_ready().await {
            Ok(ready) => ready,
            Err(NotReady::TimedOut) => {
                answer(Answer::timed_out(&id, self.world.config.timeout));
                self.log.platform(format!("END RequestId: {id}"));
                return Verdict::End(ShutdownReason::Timeout);
            }
            Err(NotReady::Broken(fault)) => {
                self.log.platform(format!("INIT_REPORT Status: error: {fault}"));
                answer(fault.answer(&id));
                self.log.platform(format!("END RequestId: {id}"));
                return Verdict::End(ShutdownReason::Failure);
            }
        };
        let (verdict, status) = self.invoke(&ready, request, answer).await;
        self.report(&id, &ready, &status);
        verdict
    }

    /// One invocation in a sandbox that is ready for it. Returns what the log says of how it ended, too.
    async fn invoke(&self, ready: &Ready, request: Request, answer: impl FnOnce(Answer)) -> (Verdict, String) {
        let id = request.id.clone();
        let event = Event {
            request,
            invocation_id: clock::uuid(),
            trace_id: trace_id(),
            deadline_ms: clock::epoch_ms(ready.deadline.saturating_duration_since(Instant::now())),
        };
        ready.lifecycle.update(|lifecycle| lifecycle.begin(event));
        match self.within(ready.deadline, ready.lifecycle.until(|lifecycle| lifecycle.answered())).await {
            Some(Ok(response)) => answer(response),
            Some(Err(fault)) => {
                answer(fault.answer(&id));
                return (Verdict::End(ShutdownReason::Failure), format!("error: {fault}"));
            }
            None => {
                answer(Answer::timed_out(&id, self.world.config.timeout));
                return (Verdict::End(ShutdownReason::Timeout), "timeout".to_owned());
            }
        }
        match self.within(ready.deadline, ready.lifecycle.until(|lifecycle| lifecycle.settled())).await {
            Some(Ok(())) => (Verdict::Reuse, String::new()),
            Some(Err(fault)) => (Verdict::End(ShutdownReason::Failure), format!("error after the response: {fault}")),
            None => (Verdict::End(ShutdownReason::Timeout), "timeout after the response".to_owned()),
        }
    }

    /// Waits, but not past the deadline; one that passes while a test holds the sandbox frozen is set anew at the thaw.
    async fn within<T>(&self, mut deadline: Instant, event: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(event);
        loop {
            if let Ok(event) = timeout_at(deadline, &mut event).await {
                return Some(event);
            }
            if self.world.freezer.why(self.number) != Some(Why::Forced) {
                return None;
            }
            self.world.freezer.thawed(self.number).await;
            deadline = Instant::now() + self.world.config.timeout;
        }
    }

    fn report(&self, id: &RequestId, ready: &Ready, status: &str) {
        self.log.platform(format!("END RequestId: {id}"));
        let mut line = format!("REPORT RequestId: {id} Duration: {:.2} ms", milliseconds(ready.begun.elapsed()));
        if let Some(init) = ready.init {
            line.push_str(&format!(" Init Duration: {:.2} ms", milliseconds(init)));
        }
        if !status.is_empty() {
            line.push_str(&format!(" Status: {status}"));
        }
        self.log.platform(line);
    }

    /// Reuses the processes, or starts them: within the init limit, or once more within the invocation's own time.
    async fn make_ready(&mut self) -> Result<Ready, NotReady> {
        self.world.freezer.thaw(self.number);
        let limit = self.world.config.timeout;
        if let Some(running) = &self.running {
            let lifecycle = Arc::clone(&running.lifecycle);
            match lifecycle.read(|lifecycle| lifecycle.fault()) {
                None => {
                    let begun = Instant::now();
                    return Ok(Ready { lifecycle, init: None, begun, deadline: begun + limit });
                }
                Some(fault) => {
                    self.log.platform(format!("the sandbox broke between invocations: {fault}"));
                    self.end(ShutdownReason::Failure).await;
                }
            }
        }
        let started = Instant::now();
        if let Ok(initialized) = timeout(self.world.config.init_limit, self.init()).await {
            let lifecycle = initialized.map_err(NotReady::Broken)?;
            let begun = Instant::now();
            return Ok(Ready { lifecycle, init: Some(begun - started), begun, deadline: begun + limit });
        }
        self.log.platform("INIT_REPORT Status: timeout: started once more within the invocation");
        self.end(ShutdownReason::Timeout).await;
        let begun = Instant::now();
        let initialized = timeout(limit, self.init()).await.map_err(|_| NotReady::TimedOut)?;
        let lifecycle = initialized.map_err(NotReady::Broken)?;
        Ok(Ready { lifecycle, init: Some(begun.elapsed()), begun, deadline: begun + limit })
    }

    /// Starts every extension, waits until all have registered, starts the runtime, waits until all want their first
    /// event.
    async fn init(&mut self) -> Result<Arc<Watched<Lifecycle>>, Fault> {
        let world = Arc::clone(&self.world);
        let config = &world.config;
        let layer = config.layer.clone().unwrap_or_default();
        let names = layer.extensions.iter().map(|extension| extension.name.clone()).collect();
        let lifecycle = Arc::new(Watched::new(Lifecycle::new(names, config.snap_start)));
        let function = Function {
            name: config.function_name.clone(),
            arn: crate::invoke_api::arn(&config.region, &config.function_name),
            handler: config.handler.clone(),
        };
        let listen = |source| not_started("the sandbox's Runtime API".to_owned(), source);
        let credentials = config.snap_start.then(|| Credentials::new(&config.inherited));
        let secret = credentials.as_ref().map(|credentials| credentials.token.clone());
        let api = Api { lifecycle: Arc::clone(&lifecycle), function, credentials };
        let api = ApiServer::start(api).await.map_err(listen)?;
        world.apis.lock().unwrap_or_else(PoisonError::into_inner).insert(self.number, api.address);
        let port = free_port().map_err(listen)?;
        // A socket that a killed extension left would be in its successor's way.
        let _ = std::fs::remove_file(&self.control_socket);
        let control_socket = self.control_socket.clone();
        let place = Place {
            sandbox: self.number,
            runtime_api: api.address,
            port,
            control_socket: &control_socket,
            credentials: secret.as_deref(),
        };
        // Known from here on, so that `end` finds whatever has been started when a time limit cuts this short.
        let running = self.running.insert(Running {
            lifecycle: Arc::clone(&lifecycle),
            _api: api,
            runtime: None,
            extensions: Vec::new(),
        });

        let launch = Launch { world: &world, log: &self.log, sandbox: self.number, lifecycle: &lifecycle };
        for extension in &layer.extensions {
            let name = extension.name.clone();
            let fault = {
                let name = name.clone();
                move |status| Fault::ExtensionExited { name, status }
            };
            let environment = environment::of_extension(config, place);
            let process = launch.start(&extension.program, environment, Source::Extension(name.clone()), fault)?;
            running.extensions.push((name, process));
        }
        lifecycle.until(|lifecycle| lifecycle.registered()).await?;

        let command = match &layer.wrapper {
            Some(wrapper) => config.command.wrapped_in(wrapper),
            None => config.command.clone(),
        };
        let fault = |status| Fault::RuntimeExited { status };
        let environment = environment::of_runtime(config, place);
        running.runtime = Some(launch.start(&command, environment, Source::Function, fault)?);
        if config.snap_start {
            self.snapshot_and_restore(&lifecycle).await?;
        }
        lifecycle.until(|lifecycle| lifecycle.initialized()).await?;
        Ok(lifecycle)
    }

    /// SnapStart, as far as one sandbox can show it: everything waits, is frozen, and goes on as if it had been restored.
    async fn snapshot_and_restore(&self, lifecycle: &Watched<Lifecycle>) -> Result<(), Fault> {
        lifecycle.until(|lifecycle| lifecycle.ready_for_snapshot()).await?;
        self.world.freezer.freeze(self.number, Why::Idle);
        self.log.platform("RESTORE_START");
        self.world.freezer.thaw(self.number);
        lifecycle.update(Lifecycle::restore);
        Ok(())
    }

    /// Ends the sandbox's processes as Lambda does: SIGTERM to the runtime, `SHUTDOWN` to the extensions, SIGKILL to what
    /// is left after two seconds; at once if there are no extensions. None is alive when this returns.
    pub(crate) async fn end(&mut self, reason: ShutdownReason) {
        let Some(running) = &mut self.running else { return };
        // Who is stopped hears no SIGTERM.
        self.world.freezer.thaw(self.number);
        let deadline = Instant::now() + SHUTDOWN_LIMIT;
        if !running.extensions.is_empty() {
            if let Some(runtime) = &mut running.runtime {
                runtime.signal_group(Signal::TERM);
                // What does not end in its time is killed below.
                let _ = timeout(RUNTIME_SHUTDOWN_LIMIT, runtime.ended()).await;
                runtime.signal_group(Signal::KILL);
            }
            running.lifecycle.update(|lifecycle| lifecycle.shut_down(reason, clock::epoch_ms(SHUTDOWN_LIMIT)));
            for (name, process) in &mut running.extensions {
                if running.lifecycle.read(|lifecycle| lifecycle.wants_shutdown(name)) {
                    let _ = timeout_at(deadline, process.ended()).await;
                }
            }
        }
        let extensions = running.extensions.iter_mut().map(|(_, process)| process);
        for process in running.runtime.iter_mut().chain(extensions) {
            process.signal_group(Signal::KILL);
            process.ended().await;
        }
        self.running = None;
        // Gone already if the extension ended by itself.
        let _ = std::fs::remove_file(&self.control_socket);
    }
}

/// What every start of a process of one sandbox has in common.
struct Launch<'a> {
    world: &'a World,
    log: &'a Arc<SandboxLog>,
    sandbox: SandboxNumber,
    lifecycle: &'a Arc<Watched<Lifecycle>>,
}

impl Launch<'_> {
    /// Starts a process whose end, whenever it comes, is a fault of the sandbox.
    fn start(
        &self,
        program: &Program,
        environment: BTreeMap<String, String>,
        source: Source,
        fault: impl FnOnce(Option<ExitStatus>) -> Fault + Send + 'static,
    ) -> Result<Process, Fault> {
        let directory = &self.world.config.working_directory;
        let start = Start { program, directory, environment, sandbox: self.sandbox, source };
        let lifecycle = Arc::clone(self.lifecycle);
        let on_exit = move |status| lifecycle.update(|lifecycle| lifecycle.fail(fault(status)));
        let started = self.world.processes.start(start, self.log, on_exit);
        started.map_err(|source| not_started(program.executable.to_string_lossy().into_owned(), source))
    }
}

/// Where a sandbox's control socket lies.
pub(crate) fn control_socket(run_directory: &Path, sandbox: SandboxNumber) -> PathBuf {
    run_directory.join(sandbox.0.to_string()).join("control.sock")
}

fn not_started(program: String, source: io::Error) -> Fault {
    Fault::NotStarted { program, source: Arc::new(source) }
}

/// An X-Ray trace id, not sampled.
fn trace_id() -> String {
    let seconds = clock::epoch_ms(Duration::ZERO) / 1000;
    let bits = format!("{:032x}{:08x}", clock::random_bits(), seconds & 0xffff_ffff);
    format!("Root=1-{}-{};Parent={}{};Sampled=0", &bits[32..], &bits[..24], &bits[24..32], &bits[..8])
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
