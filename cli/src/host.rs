//! The host: hands invocations to sandboxes, as many at a time as there may be, and keeps Lambda's promises about retries.

use std::fs::DirBuilder;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::config::HostConfig;
use crate::error::HostError;
use crate::freezer::{Freezer, Why};
use crate::invocation::{
    Invocation, InvocationKind, InvokeResult, MAX_EVENT_PAYLOAD_BYTES, MAX_PAYLOAD_BYTES, Refusal, Request,
};
use crate::lifecycle::ShutdownReason;
use crate::log::{SandboxNumber, Source};
use crate::process::{LiveProcess, ProcessTable};
use crate::sandbox::{Sandbox, World, control_socket};
use crate::{api, clock, invoke_api};

/// How often Lambda retries an asynchronous invocation that failed.
const EVENT_RETRIES: u32 = 2;
/// How many asynchronous invocations may be under way or waiting.
const MAX_EVENTS: usize = 1000;
/// Bytes that a Unix socket's path may have, so that it fits on every system.
const MAX_SOCKET_PATH_BYTES: usize = 100;

/// A Lambda host on this machine. Dropped, it kills every process of every sandbox; [`Host::stop`] is the gentle way.
#[derive(Debug)]
pub struct Host {
    shared: Arc<Shared>,
    address: SocketAddr,
    server: JoinHandle<()>,
}

/// Whom a test kills. Only the named process itself: what dies with it is what the test wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// The process that was started as the runtime: the shim, if there is one.
    Runtime,
    /// Every extension.
    Extensions,
    /// The runtime and every extension at the same time.
    Everything,
}

impl Host {
    /// Checks the configuration and listens. Sandboxes start when there is something to serve, as on Lambda.
    ///
    /// # Errors
    /// [`HostError`]: what is wrong with the configuration or the machine.
    pub async fn start(config: HostConfig) -> Result<Self, HostError> {
        config.check()?;
        let port = config.port;
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|source| not_listening(port, source))?;
        let address = listener.local_addr().map_err(|source| not_listening(port, source))?;

        let run_directory = config.temporary_directory.join(format!("aft-{:08x}", clock::random_bits() >> 96));
        let numbers = (1..=config.sandboxes).map(SandboxNumber);
        for number in numbers.clone() {
            make_socket_directory(&control_socket(&run_directory, number))?;
        }
        let processes = Arc::new(ProcessTable::new(&run_directory).map_err(HostError::Guard)?);
        let sandboxes = config.sandboxes as usize;
        let freezer = Freezer::new(Arc::clone(&processes));
        let world = Arc::new(World { config, processes, freezer, apis: Mutex::default(), run_directory });
        let free = numbers.map(|number| Sandbox::new(Arc::clone(&world), number)).collect();
        let shared = Arc::new(Shared {
            world,
            free: Mutex::new(free),
            permits: Arc::new(Semaphore::new(sandboxes)),
            queued: watch::Sender::new(0),
            events: watch::Sender::new(0),
            busy: watch::Sender::new(0),
            stopping: watch::Sender::new(false),
        });
        let server = tokio::spawn(api::serve(listener, invoke_api::routes(Arc::clone(&shared))));
        Ok(Self { shared, address, server })
    }

    /// Where the Invoke API listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL that invokes the function.
    #[must_use]
    pub fn invoke_url(&self) -> String {
        format!("http://{}{}", self.address, invoke_api::path(&self.shared.config().function_name))
    }

    /// Invokes the function. It runs to its end even if the returned future is dropped once it has a sandbox.
    pub async fn invoke(&self, invocation: Invocation) -> InvokeResult {
        self.shared.invoke(invocation).await
    }

    /// Waits until no invocation is under way, no asynchronous one waits for a retry, and every sandbox is free.
    pub async fn settled(&self) {
        self.shared.settled().await;
    }

    /// The processes that Lambda would know of.
    #[must_use]
    pub fn processes(&self) -> Vec<LiveProcess> {
        self.shared.world.processes.live()
    }

    /// SIGKILL, for tests. Returns how many processes were killed.
    pub fn kill(&self, sandbox: SandboxNumber, victim: Victim) -> usize {
        self.shared.world.processes.kill(|number, source| {
            number == sandbox
                && match source {
                    Source::Function => matches!(victim, Victim::Runtime | Victim::Everything),
                    Source::Extension(_) => matches!(victim, Victim::Extensions | Victim::Everything),
                    Source::Platform => false,
                }
        })
    }

    /// Whether a sandbox is frozen.
    #[must_use]
    pub fn is_frozen(&self, sandbox: SandboxNumber) -> bool {
        self.shared.world.freezer.why(sandbox).is_some()
    }

    /// Freezes a sandbox whatever it is doing, for tests: Lambda never does that. The time limit of the invocation that it
    /// is serving does not run until [`Host::thaw`], but its processes find that time has passed.
    pub fn freeze(&self, sandbox: SandboxNumber) {
        self.shared.world.freezer.freeze(sandbox, Why::Forced);
    }

    /// Ends a freeze.
    pub fn thaw(&self, sandbox: SandboxNumber) {
        self.shared.world.freezer.thaw(sandbox);
    }

    /// Where a sandbox's Runtime API listens, for a test that puts something in between; `None` before its first start.
    #[must_use]
    pub fn runtime_api(&self, sandbox: SandboxNumber) -> Option<SocketAddr> {
        self.shared.world.apis.lock().unwrap_or_else(PoisonError::into_inner).get(&sandbox).copied()
    }

    /// Waits until the sandbox, which serves nothing now, has noticed that it is broken: that one of its processes has
    /// ended. For tests that kill between invocations; at once if the sandbox is not there.
    pub async fn until_broken(&self, sandbox: SandboxNumber) {
        let found = self.shared.free().iter().find(|free| free.number() == sandbox).and_then(Sandbox::lifecycle);
        if let Some(lifecycle) = found {
            lifecycle.until(|lifecycle| lifecycle.fault()).await;
        }
    }

    /// Ends every sandbox as Lambda does, within two seconds, and leaves no process. Invocations under way are refused
    /// an answer.
    pub async fn stop(self) {
        self.server.abort();
        self.shared.stopping.send_replace(true);
        self.shared.permits.close();
        self.shared.settled().await;
        let mut sandboxes = JoinSet::new();
        for mut sandbox in self.shared.free().drain(..) {
            sandboxes.spawn(async move { sandbox.end(ShutdownReason::Spindown).await });
        }
        sandboxes.join_all().await;
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.server.abort();
        self.shared.stopping.send_replace(true);
        self.shared.permits.close();
        self.shared.world.processes.close();
    }
}

/// What the host's tasks share.
#[derive(Debug)]
pub(crate) struct Shared {
    world: Arc<World>,
    /// Sandboxes that serve nothing now.
    free: Mutex<Vec<Sandbox>>,
    /// As many as there are sandboxes; closed when the host stops.
    permits: Arc<Semaphore>,
    queued: watch::Sender<usize>,
    events: watch::Sender<usize>,
    busy: watch::Sender<usize>,
    stopping: watch::Sender<bool>,
}

impl Shared {
    pub(crate) fn config(&self) -> &HostConfig {
        &self.world.config
    }

    pub(crate) async fn invoke(self: &Arc<Self>, invocation: Invocation) -> InvokeResult {
        let id = invocation.request_id.clone().unwrap_or_else(clock::request_id);
        let payload = match checked_payload(&invocation) {
            Ok(payload) => payload,
            Err(refusal) => return InvokeResult::refused(&refusal, id),
        };
        let request = Request { id: id.clone(), payload, client_context: invocation.client_context };
        match invocation.kind {
            InvocationKind::DryRun => InvokeResult::empty(204, id),
            InvocationKind::Event => match Count::up_to(&self.events, MAX_EVENTS) {
                None => InvokeResult::refused(&Refusal::TooManyRequests, id),
                Some(count) => {
                    tokio::spawn(Arc::clone(self).run_event(request, count));
                    InvokeResult::empty(202, id)
                }
            },
            InvocationKind::RequestResponse => {
                // Only who has to wait counts as waiting.
                let limit = self.config().queue_limit + self.permits.available_permits();
                match Count::up_to(&self.queued, limit) {
                    None => InvokeResult::refused(&Refusal::TooManyRequests, id),
                    Some(queued) => self.run(request, Some(queued)).await,
                }
            }
        }
    }

    /// An asynchronous invocation: the same request again, with the same id, until it succeeds or has been tried
    /// often enough.
    async fn run_event(self: Arc<Self>, request: Request, _count: Count) {
        for retry in 0..=EVENT_RETRIES {
            let result = self.run(request.clone(), None).await;
            if result.succeeded() || result.error_type.is_some() {
                return;
            }
            if retry < EVENT_RETRIES {
                let delay = self.config().event_retry_delay * (retry + 1);
                tokio::select! {
                    () = tokio::time::sleep(delay) => {}
                    () = self.stopped() => return,
                }
            }
        }
    }

    /// Runs a request in the next free sandbox.
    async fn run(self: &Arc<Self>, request: Request, queued: Option<Count>) -> InvokeResult {
        let id = request.id.clone();
        let stopping = InvokeResult::refused(&Refusal::Stopping, id.clone());
        let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else { return stopping };
        drop(queued);
        let Some(mut sandbox) = self.take_free() else { return stopping };
        let log = sandbox.log();
        let (answered, answer) = oneshot::channel();
        let busy = Count::one(&self.busy);
        let shared = Arc::clone(self);
        // A task of its own: neither a caller that hangs up nor the answer ends the sandbox's work.
        tokio::spawn(async move {
            sandbox.serve(request, answered, shared.stopped()).await;
            shared.free().push(sandbox);
            drop((permit, busy));
        });
        match answer.await {
            Err(_) => stopping,
            Ok(answer) => InvokeResult {
                function_error: answer.failed.then(|| "Unhandled".to_owned()),
                payload: answer.payload,
                log_tail: log.tail(),
                ..InvokeResult::empty(200, id)
            },
        }
    }

    /// A warm sandbox if there is one, else the first.
    fn take_free(&self) -> Option<Sandbox> {
        let mut free = self.free();
        let best = free.iter().enumerate().min_by_key(|(_, sandbox)| (!sandbox.is_warm(), sandbox.number()));
        let position = best.map(|(position, _)| position)?;
        Some(free.swap_remove(position))
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Vec<Sandbox>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn stopped(&self) {
        // The sender is ours: it cannot be gone.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    async fn settled(&self) {
        // An event that ends may be followed by nothing, a sandbox that is free by an event's next try: look at both
        // until both are idle at once.
        loop {
            let _ = self.events.subscribe().wait_for(|events| *events == 0).await;
            let _ = self.busy.subscribe().wait_for(|busy| *busy == 0).await;
            if *self.events.borrow() == 0 && *self.busy.borrow() == 0 {
                return;
            }
        }
    }
}

/// One in a count, for as long as it lives.
#[derive(Debug)]
struct Count(watch::Sender<usize>);

impl Count {
    fn one(counter: &watch::Sender<usize>) -> Self {
        counter.send_modify(|count| *count += 1);
        Self(counter.clone())
    }

    /// `None` if there are `limit` already.
    fn up_to(counter: &watch::Sender<usize>, limit: usize) -> Option<Self> {
        let counted = counter.send_if_modified(|count| {
            let free = *count < limit;
            *count += usize::from(free);
            free
        });
        counted.then(|| Self(counter.clone()))
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

fn checked_payload(invocation: &Invocation) -> Result<bytes::Bytes, Refusal> {
    let limit = match invocation.kind {
        InvocationKind::Event => MAX_EVENT_PAYLOAD_BYTES,
        InvocationKind::RequestResponse | InvocationKind::DryRun => MAX_PAYLOAD_BYTES,
    };
    let bytes = invocation.payload.len();
    if bytes > limit {
        return Err(Refusal::PayloadTooLarge { bytes, limit });
    }
    if bytes == 0 {
        return Ok(bytes::Bytes::from_static(b"{}"));
    }
    serde_json::from_slice::<serde::de::IgnoredAny>(&invocation.payload).map_err(Refusal::NotJson)?;
    Ok(invocation.payload.clone())
}

fn not_listening(port: u16, source: io::Error) -> HostError {
    match source.kind() {
        io::ErrorKind::AddrInUse => HostError::PortTaken { port, source },
        _ => HostError::Listen { port, source },
    }
}

fn make_socket_directory(socket: &Path) -> Result<(), HostError> {
    if socket.as_os_str().len() > MAX_SOCKET_PATH_BYTES {
        return Err(HostError::SocketPathTooLong { path: socket.to_owned() });
    }
    let Some(directory) = socket.parent() else { return Ok(()) };
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|source| HostError::RunDirectory { path: directory.to_owned(), source })
}
