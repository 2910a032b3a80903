//! The real runtime as a child process, one after the other, each with a Runtime API of its own.
//!
//! A child's listener ends with it, and its calls carry its generation: a dead child's late request reaches nobody. What
//! it had said before it died is heard before its death.

use std::ffi::OsString;
use std::io;
use std::net::Ipv4Addr;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use aft_protocol::settings::{HANDLER_ENDPOINT, HANDLER_TOKEN, HANDLER_TOKEN_FILE};
use aft_protocol::wire::Attached;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::launcher;
use crate::message::{Generation, Message, Outbox};
use crate::orphans;
use crate::proxy::{Caller, Proxy};
use crate::token_file::TokenFile;
use crate::upstream::Upstream;

/// This program; `/proc` because it may have been started by any name.
const SELF: &str = "/proc/self/exe";
/// How long a dead child's last calls are waited for: they are in the socket's buffer already, unless a process that it
/// left behind holds its connections open.
const LAST_CALLS: Duration = Duration::from_millis(50);

/// What children are started with.
#[derive(Debug)]
pub struct Parts {
    /// The real runtime's program and arguments.
    pub command: Vec<OsString>,
    /// What the extension said about its endpoint.
    pub attached: Attached,
    /// Where they find their token, if it can change.
    pub token_file: Option<TokenFile>,
    /// Lambda.
    pub upstream: Upstream,
    /// Who hears their calls and their end.
    pub outbox: Outbox,
    /// `AFT_STREAMING=pass-through`.
    pub pass_streams: bool,
}

/// Starts children.
#[derive(Debug)]
pub struct Supervisor {
    parts: Parts,
    generation: Generation,
    running: watch::Sender<Option<Pid>>,
}

impl Supervisor {
    /// A supervisor without a child.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self { parts, generation: Generation(0), running: watch::Sender::new(None) }
    }

    /// The child that runs, for SIGTERM.
    #[must_use]
    pub fn running(&self) -> Running {
        Running { pid: self.running.subscribe() }
    }

    /// The newest child.
    #[must_use]
    pub const fn newest(&self) -> Generation {
        self.generation
    }

    /// Kills the child that runs, if one does. Its end comes as [`Message::Exited`].
    pub fn kill(&self) {
        if let Some(pid) = *self.running.borrow() {
            // Fails only if it has just ended.
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    /// Whether this is the newest child.
    #[must_use]
    pub fn is_newest(&self, child: Generation) -> bool {
        self.generation == child
    }

    /// Starts a child. Its end comes as [`Message::Exited`].
    ///
    /// # Errors
    /// If there is no port, or no process, to be had.
    pub fn spawn(&mut self) -> io::Result<()> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let mut command = Command::new(SELF);
        command
            .arg0("aft-runtime-shim")
            .args(launcher::arguments(std::process::id()))
            .args(&self.parts.command)
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env(HANDLER_ENDPOINT, &self.parts.attached.endpoint)
            .env_remove(HANDLER_TOKEN)
            .env_remove(HANDLER_TOKEN_FILE)
            .envs(self.token())
            .env_remove("AWS_LAMBDA_EXEC_WRAPPER")
            .stdin(Stdio::inherit())
            .kill_on_drop(true);
        let process = command.spawn()?;
        self.generation.0 += 1;
        self.running.send_replace(process.id().and_then(pid));
        let caller = Caller {
            child: self.generation,
            outbox: self.parts.outbox.clone(),
            upstream: self.parts.upstream.clone(),
            pass_streams: self.parts.pass_streams,
            snap_start: self.parts.token_file.is_some(),
        };
        let proxy = Proxy::start(TcpListener::from_std(listener)?, caller.clone());
        tokio::spawn(watch_over(process, proxy, caller, self.running.clone()));
        Ok(())
    }

    /// The variable by which a child finds its token, if it needs one.
    fn token(&self) -> Option<(&'static str, OsString)> {
        let token = self.parts.attached.token.as_ref()?;
        Some(match &self.parts.token_file {
            Some(file) => (HANDLER_TOKEN_FILE, file.path().into()),
            None => (HANDLER_TOKEN, token.into()),
        })
    }
}

async fn watch_over(mut process: Child, mut proxy: Proxy, caller: Caller, running: watch::Sender<Option<Pid>>) {
    let status: Option<ExitStatus> = process.wait().await.ok();
    // No await between the wait and this: the process id is free from now on.
    running.send_replace(None);
    orphans::end_all().await;
    let _ = timeout(LAST_CALLS, proxy.last_calls()).await;
    drop(proxy);
    // The conductor hears until the process ends.
    let _ = caller.outbox.send(Message::Exited { child: caller.child, status });
}

fn pid(id: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(id).ok()?)
}

/// The child that runs, if one does.
#[derive(Debug, Clone)]
pub struct Running {
    pid: watch::Receiver<Option<Pid>>,
}

impl Running {
    /// Its process id, as it changes.
    #[must_use]
    pub fn pid(&self) -> watch::Receiver<Option<Pid>> {
        self.pid.clone()
    }

    /// Asks the child to end, and waits until it has.
    pub async fn terminate(mut self) {
        if let Some(pid) = *self.pid.borrow() {
            // Fails only if it has just ended.
            let _ = kill_process(pid, Signal::TERM);
        }
        // Fails only if the supervisor is gone, and then so is the child.
        let _ = self.pid.wait_for(Option::is_none).await;
    }
}
