//! The life of the process: attach to the extension, start the runtime, conduct invocations, until SIGTERM.
//!
//! What fails before the runtime is started fails Lambda's init (closed): a function whose transactions cannot work must
//! not run without them.

use std::ffi::OsString;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::conductor::{self, Conductor, Snapshot, post_init_error};
use crate::config::{Bootstrap, Config};
use crate::coordinator::Coordinator;
use crate::error::AppError;
use crate::orphans;
use crate::supervisor::{self, Running, Supervisor};
use crate::upstream::Upstream;

/// What a child is given after SIGTERM; Lambda's SIGKILL comes after 300 ms to 2 s.
const GRACE: Duration = Duration::from_millis(1_500);
/// What telling Lambda of a failed init may take.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Runs the shim until SIGTERM, or until the runtime's own end is Lambda's. Returns the process's exit code.
///
/// # Errors
/// [`AppError`]; Lambda has been told, if it could be.
pub fn run(bootstrap: Bootstrap, variables: Vec<(String, String)>, arguments: &[OsString]) -> Result<u8, AppError> {
    // One thread: the death of the thread that starts a child is what the child's parent-death signal is about.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(AppError::Resources)?;
    runtime.block_on(async {
        let prepared = match Config::read(variables, arguments) {
            Ok(config) => prepare(config).await,
            Err(faults) => Err(faults.into()),
        };
        match prepared {
            Ok(prepared) => prepared.serve().await,
            Err(error) => {
                if let Some(api) = bootstrap.runtime_api {
                    fail_init(Upstream::new(api), &error).await;
                }
                Err(error)
            }
        }
    })
}

/// All that can fail before the runtime is started.
struct Prepared {
    config: Config,
    coordinator: Coordinator,
    attached: aft_protocol::wire::Attached,
    sigterm: Signal,
    child_ended: Signal,
}

async fn prepare(config: Config) -> Result<Prepared, AppError> {
    let sigterm = signal(SignalKind::terminate()).map_err(AppError::Resources)?;
    let child_ended = orphans::adopt().map_err(AppError::Resources)?;
    let attached = Coordinator::attach(&config.control_socket).await;
    let path = || config.control_socket.clone();
    let (coordinator, attached) = attached.map_err(|source| AppError::ExtensionUnreachable { path: path(), source })?;
    if let (Some(file), Some(token)) = (&config.token_file, &attached.token) {
        file.write(token).map_err(AppError::TokenFile)?;
    }
    tracing::debug!(sandbox = %attached.sandbox, "attached; the local endpoint is {}", attached.endpoint);
    Ok(Prepared { config, coordinator, attached, sigterm, child_ended })
}

impl Prepared {
    async fn serve(self) -> Result<u8, AppError> {
        let Self { config, coordinator, attached, sigterm, child_ended } = self;
        let upstream = Upstream::new(config.runtime_api);
        let (outbox, inbox) = mpsc::unbounded_channel();
        let supervisor = Supervisor::new(supervisor::Parts {
            command: config.command,
            attached,
            token_file: config.token_file.clone(),
            upstream: upstream.clone(),
            outbox: outbox.clone(),
            pass_streams: config.pass_streams,
        });
        let running = supervisor.running();
        tokio::spawn(orphans::reap(child_ended, running.pid()));
        let (stop, stopping) = watch::channel(false);
        let conductor = Conductor::new(conductor::Parts {
            rules: config.rules,
            policy: config.policy,
            coordinator,
            upstream,
            supervisor,
            outbox,
            stopping,
            snapshot: config.token_file.map(|file| Snapshot::new(config.control_socket, file)),
        });
        tokio::select! {
            ended = conductor.run(inbox) => ended,
            () = terminated(sigterm, stop, running) => Ok(0),
        }
    }
}

/// Ends after SIGTERM, when the child has ended too, or has had its time.
async fn terminated(mut sigterm: Signal, stop: watch::Sender<bool>, running: Running) {
    sigterm.recv().await;
    tracing::debug!("SIGTERM");
    stop.send_replace(true);
    if timeout(GRACE, running.terminate()).await.is_err() {
        tracing::warn!("the runtime did not end on SIGTERM, and is killed");
    }
    // Whatever is left of it, and of what it left behind.
    orphans::end_all().await;
}

async fn fail_init(upstream: Upstream, error: &AppError) {
    let message = error.to_string();
    match timeout(LAST_WORDS, post_init_error(&upstream, error.kind(), &message)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!("telling Lambda that the init failed: {error}"),
        Err(_) => tracing::error!("telling Lambda that the init failed: no answer within {LAST_WORDS:?}"),
    }
}
