//! The local host with the layer as it is shipped, AWS's own Python runtime client, and an embedded engine. What the
//! sandbox says to the engine and to Lambda goes through proxies, which a test can break or hold.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aft_cli::{Connected, Engine, Host, HostConfig, Invocation, InvokeResult, LogSink, Program};
use aft_cli::{SandboxNumber, Tables};
use aft_protocol::head::Head;
use aft_protocol::key::Key;
use aft_store::Store;
use aft_store::dynamodb::DynamoDb;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::layer;
use crate::store;
use crate::tools::repository;
use crate::tools::tool;
use crate::wire::Wire;

/// Longer than anything that is expected to happen takes.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The one sandbox that there is.
pub const SANDBOX: SandboxNumber = SandboxNumber(1);

/// A host and what is around it.
pub struct Local {
    host: Arc<Host>,
    /// Between the sandbox and Lambda.
    pub lambda: Wire,
    /// Between the sandbox and DynamoDB.
    pub database: Wire,
    store: DynamoDb,
    lines: watch::Receiver<Vec<String>>,
    _engine: Connected,
}

/// AWS's Python interpreter for tests.
#[must_use]
pub fn python() -> Program {
    Program::new(tool("python").join("bin/python"))
}

impl Local {
    /// A host for a Python function, one sandbox, frozen when it has nothing to do.
    ///
    /// # Panics
    /// If it cannot be had: a binary of the layer or a tool is missing.
    pub async fn start(folder: &str, handler: &str, change: impl FnOnce(&mut HostConfig)) -> Self {
        let mut config =
            HostConfig::new(python().with_arguments(["-m", "awslambdaric", handler])).expect("a directory");
        config.working_directory = repository().join(folder);
        config.handler = handler.to_owned();
        config.freeze = true;
        config.layer = Some(layer::shipped());
        let (logged, lines) = watch::channel(Vec::new());
        config.log = LogSink::new(move |line| logged.send_modify(|lines| lines.push(line.to_string())));

        let tables = Tables::default();
        let engine = Engine::Memory.connect(&mut config, &tables).await.expect("an engine in memory");
        let store = direct_store(&engine, &tables);
        let address = engine.endpoint().to_string();
        let address = address.trim_start_matches("http://").parse().expect("the endpoint is an address");
        let database = Wire::new(move || Some(address)).await;
        let known: Arc<OnceLock<std::sync::Weak<Host>>> = Arc::default();
        let host = Arc::clone(&known);
        let lambda = Wire::new(move || host.get()?.upgrade()?.runtime_api(SANDBOX)).await;
        for (name, value) in [
            ("AFT_DYNAMODB_ENDPOINT", format!("http://{}", database.address())),
            ("AWS_LAMBDA_RUNTIME_API", lambda.address().to_string()),
            ("AFT_LOG", "debug".to_owned()),
            ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
        ] {
            config.environment.insert(name.to_owned(), value);
        }
        change(&mut config);
        let host = Arc::new(Host::start(config).await.expect("the host starts"));
        known.set(Arc::downgrade(&host)).expect("only set here");
        Self { host, lambda, database, store, lines, _engine: engine }
    }

    /// The host.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Another hand on the host, for a task.
    #[must_use]
    pub fn shared_host(&self) -> Arc<Host> {
        Arc::clone(&self.host)
    }

    /// Invokes the function.
    ///
    /// # Panics
    /// If it fails.
    pub async fn succeed(&self, event: Value) -> Value {
        let result = self.host.invoke(Invocation::new(event.to_string())).await;
        assert!(result.succeeded(), "{}\n{}", document(&result), self.log());
        document(&result)
    }

    /// Waits until nothing is under way.
    ///
    /// # Panics
    /// If that takes too long.
    pub async fn settled(&self) {
        let settled = timeout(PATIENCE, self.host.settled()).await;
        assert!(settled.is_ok(), "the sandbox is not free:\n{}", self.log());
    }

    /// Ends the sandbox as Lambda does; the log stays.
    ///
    /// # Panics
    /// If somebody else has a hand on the host.
    pub async fn stop(self) -> String {
        let Self { host, lines, lambda: _lambda, .. } = self;
        Arc::into_inner(host).expect("nobody else has the host").stop().await;
        lines.borrow().join("\n")
    }

    /// Heads, read past the proxy.
    ///
    /// # Panics
    /// If the engine does not answer.
    pub async fn heads<const N: usize>(&self, keys: [&str; N]) -> [Head; N] {
        let keys = keys.map(|key| Key::new(key).expect("a short key"));
        let heads = self.store.heads(&BTreeSet::from(keys.clone())).await.expect("the engine answers");
        keys.map(|key| heads[&key].clone())
    }

    /// Everything that was logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.lines.borrow().join("\n")
    }

    /// Waits for another line, but only for so long; whether one came.
    pub async fn says_something_within(&self, limit: Duration) -> bool {
        let mut lines = self.lines.clone();
        lines.mark_unchanged();
        timeout(limit, lines.changed()).await.is_ok()
    }
}

/// A result's payload.
///
/// # Panics
/// If it is not JSON.
#[must_use]
pub fn document(result: &InvokeResult) -> Value {
    serde_json::from_slice(&result.payload).unwrap_or_else(|error| panic!("{error}: {result:?}"))
}

/// An event of the transfer example.
#[must_use]
pub fn transfer(name: &str) -> Value {
    json!({"do": "transfer", "customer": "c1", "transfer": name, "amount": 100})
}

fn direct_store(engine: &Connected, tables: &Tables) -> DynamoDb {
    store::patient(&store::config(&engine.endpoint().to_string(), &tables.data, &tables.transactions))
}
