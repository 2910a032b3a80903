//! What the tests share: a host over fixture processes, its log to wait on, and witnesses of which processes live.
//!
//! Every fixture process holds a connection to its test's witness from its first instant to its last, so that a test can
//! wait for a birth and for a death instead of sleeping and looking.

#![allow(dead_code, reason = "no test file uses all of it")]

pub mod fixture;
pub mod wire;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aft_cli::{ExtensionProgram, Host, HostConfig, Invocation, InvokeResult, Layer, LogLine, LogSink, Program};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Longer than anything that is expected to happen takes.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The fixture of this name, in this test's executable.
pub fn fixture(name: &str) -> Program {
    let arguments = ["--exact", &format!("world::fixture::{name}"), "--nocapture", "--quiet"];
    Program::new(std::env::current_exe().unwrap()).with_arguments(arguments)
}

/// A host and what it can be observed by.
pub struct World {
    pub host: Host,
    pub log: Log,
    pub witness: Witness,
}

/// A host to be.
pub struct Builder {
    pub config: HostConfig,
    log: Log,
    witness: Witness,
}

impl Builder {
    /// A fixture runtime and nothing else.
    pub async fn new() -> Self {
        let (log, witness) = (Log::default(), Witness::start().await);
        let mut config = HostConfig::new(fixture("runtime")).unwrap();
        config.log = log.sink();
        config.event_retry_delay = Duration::from_millis(1);
        config.environment.insert("FIXTURE_WITNESS".into(), witness.address.clone());
        Self { config, log, witness }
    }

    /// With a fixture extension that does as it is told.
    pub fn with_extension(mut self, what: &str) -> Self {
        let extension = ExtensionProgram { name: "fixture-extension".into(), program: fixture("extension") };
        self.config.layer = Some(Layer { extensions: vec![extension], ..Layer::default() });
        self.with_variable("FIXTURE_EXTENSION", what)
    }

    /// With a variable for the processes.
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.config.environment.insert(name.into(), value.into());
        self
    }

    /// With another configuration.
    pub fn configured(mut self, change: impl FnOnce(&mut HostConfig)) -> Self {
        change(&mut self.config);
        self
    }

    pub async fn start(self) -> World {
        World { host: Host::start(self.config).await.unwrap(), log: self.log, witness: self.witness }
    }
}

impl World {
    /// Invokes the function with `{"do": what}`.
    pub async fn invoke(&self, what: &str) -> InvokeResult {
        self.host.invoke(event(what)).await
    }
}

pub fn event(what: &str) -> Invocation {
    Invocation::new(json!({ "do": what }).to_string())
}

/// A payload as JSON.
pub fn document(result: &InvokeResult) -> Value {
    serde_json::from_slice(&result.payload).unwrap()
}

/// Every line that a host logged.
#[derive(Clone)]
pub struct Log(Arc<watch::Sender<Vec<LogLine>>>);

impl Default for Log {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Vec::new())))
    }
}

impl Log {
    fn sink(&self) -> LogSink {
        let lines = Arc::clone(&self.0);
        LogSink::new(move |line| lines.send_modify(|lines| lines.push(line.clone())))
    }

    /// How many lines contain this.
    pub fn count(&self, text: &str) -> usize {
        self.0.borrow().iter().filter(|line| line.text.contains(text)).count()
    }

    /// Waits for that many lines that contain this.
    pub async fn until(&self, count: usize, text: &str) {
        let mut lines = self.0.subscribe();
        let there = |lines: &Vec<LogLine>| lines.iter().filter(|line| line.text.contains(text)).count() >= count;
        let waited = tokio::time::timeout(PATIENCE, lines.wait_for(there)).await;
        assert!(waited.is_ok(), "{count} × {text:?} in:\n{self}");
    }
}

impl std::fmt::Display for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.borrow().iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// Where fixture processes report.
pub struct Witness {
    pub address: String,
    listener: TcpListener,
    seen: Mutex<Vec<Life>>,
}

/// A process that reported.
pub struct Life {
    pub name: String,
    connection: BufReader<TcpStream>,
}

impl Witness {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        Self { address, listener, seen: Mutex::default() }
    }

    /// Waits for the next process of this name.
    pub async fn birth(&self, name: &str) -> Life {
        let next = async {
            loop {
                {
                    let mut seen = self.seen.lock().unwrap();
                    if let Some(position) = seen.iter().position(|life| life.name == name) {
                        return seen.remove(position);
                    }
                }
                let (connection, _) = self.listener.accept().await.unwrap();
                let mut connection = BufReader::new(connection);
                let mut line = String::new();
                connection.read_line(&mut line).await.unwrap();
                self.seen.lock().unwrap().push(Life { name: line.trim().to_owned(), connection });
            }
        };
        tokio::time::timeout(PATIENCE, next).await.unwrap_or_else(|_| panic!("no {name} started"))
    }
}

impl Life {
    /// Waits until the process is dead.
    pub async fn death(mut self) {
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, self.connection.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "{} is still alive", self.name);
    }

    /// Lets a process go on that waits for it.
    pub async fn release(&mut self) {
        self.connection.write_all(b"go\n").await.unwrap();
    }
}
