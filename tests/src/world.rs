//! Two Lambda hosts with the layer as it is shipped, over one embedded DynamoDB: the one that things happen to, whose way to
//! the store is a [`StoreProxy`], and another with one sandbox, which reads, and gets duplicates.
//!
//! Both run `witnessed-function`. The second host looks for an earlier commit before it runs a handler
//! (`AFT_DUPLICATE_CHECK=before`), so that "the handler did not run" is the same every time.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aft_cli::{
    Connected, Engine, Host, HostConfig, Invocation, InvokeResult, LogSink, Program, SandboxNumber, Tables, Victim,
};
use aft_protocol::key::Key;
use aft_store::Store;
use aft_store::dynamodb::DynamoDb;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::layer;
use crate::soon;
use crate::store::ask;
use crate::store_proxy::StoreProxy;
use crate::witness::Witness;

/// The host that things happen to.
pub const FIRST: &str = "first";
/// The other one.
pub const SECOND: &str = "second";
/// The only sandbox of either.
pub const SANDBOX: SandboxNumber = SandboxNumber(1);

/// What a world is to be like.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The `witnessed-function`.
    pub function: PathBuf,
    /// The first host's time limit for an invocation.
    pub timeout: Duration,
    /// The first host's time limit for an init.
    pub init_limit: Duration,
    /// The first host's settings of the layer.
    pub first: Vec<(&'static str, &'static str)>,
    /// The second host's.
    pub second: Vec<(&'static str, &'static str)>,
}

impl Setup {
    /// With time enough and the layer's defaults.
    pub fn new(function: impl Into<PathBuf>) -> Self {
        let function = function.into();
        let second = vec![("AFT_DUPLICATE_CHECK", "before")];
        let (timeout, init_limit) = (Duration::from_secs(60), Duration::from_secs(60));
        Self { function, timeout, init_limit, first: Vec::new(), second }
    }

    /// With the same `AFT_DUPLICATE_CHECK` for both hosts.
    #[must_use]
    pub fn duplicate_check(mut self, when: &'static str) -> Self {
        self.first = vec![("AFT_DUPLICATE_CHECK", when)];
        self.second = self.first.clone();
        self
    }

    /// With a setting for the first host.
    #[must_use]
    pub fn first(mut self, name: &'static str, value: &'static str) -> Self {
        self.first.push((name, value));
        self
    }
}

/// What the tables hold of what was written after the world began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Commit records.
    pub records: usize,
    /// What the heads of the two keys hold.
    pub heads: [Option<String>; 2],
}

/// Two hosts.
pub struct World {
    /// The host that things happen to.
    pub first: Arc<Host>,
    /// The other one.
    pub second: Arc<Host>,
    /// The first host's way to the store.
    pub proxy: StoreProxy,
    /// Where the functions of both report.
    pub witness: Witness,
    /// What both keys hold at the beginning.
    pub old: String,
    log: Log,
    engine: Connected,
    tables: Tables,
    store: DynamoDb,
}

type Log = Arc<Mutex<Vec<String>>>;

impl World {
    /// A world in which the second host has written both keys.
    ///
    /// # Panics
    /// If it cannot be had: a binary of the layer is missing, say.
    pub async fn start(setup: Setup) -> Self {
        let log = Log::default();
        let witness = Witness::start().await;
        let tables = Tables { data: "data".to_owned(), transactions: "transactions".to_owned() };

        let mut second = config(&setup, SECOND, &witness, &log);
        let engine = Engine::Memory.connect(&mut second, &tables).await.expect("an engine in memory");
        let proxy = StoreProxy::start(&engine.endpoint().to_string()).await;
        let mut first = config(&setup, FIRST, &witness, &log);
        first.timeout = setup.timeout;
        first.init_limit = setup.init_limit;
        let url = proxy.endpoint().parse().expect("the proxy has an address");
        let proxied = Engine::Endpoint { url, create_tables: false };
        proxied.connect(&mut first, &tables).await.expect("nothing is asked of it");

        let store = crate::store::patient(&crate::store::config(
            &engine.endpoint().to_string(),
            &tables.data,
            &tables.transactions,
        ));
        let first = Arc::new(Host::start(first).await.expect("the first host"));
        let second = Arc::new(Host::start(second).await.expect("the second host"));
        let mut world = Self { first, second, proxy, witness, old: String::new(), log, engine, tables, store };
        let written = world.invoke(SECOND, "the-old", &json!({ "do": "write" })).await;
        assert!(written.succeeded(), "{written:?}");
        world.old = wrote(&written).expect("it says what it wrote");
        world
    }

    /// Invokes the function on one side.
    pub async fn invoke(&self, side: &str, request: &str, event: &Value) -> InvokeResult {
        let host = if side == FIRST { &self.first } else { &self.second };
        soon("an answer", host.invoke(invocation(request, event))).await
    }

    /// Invokes the function on one side, and goes on.
    #[must_use]
    pub fn invoking(&self, side: &str, request: &str, event: &Value) -> JoinHandle<InvokeResult> {
        let host = Arc::clone(if side == FIRST { &self.first } else { &self.second });
        let invocation = invocation(request, event);
        tokio::spawn(async move { soon("an answer", host.invoke(invocation)).await })
    }

    /// What a transaction in the second host's sandbox reads, in this order; asserted to be of one transaction.
    ///
    /// # Panics
    /// If it is a mix.
    pub async fn read(&self, keys: [&str; 2]) -> Option<String> {
        let request = format!("reader-{}", self.witness.all().len());
        let result = self.invoke(SECOND, &request, &json!({ "do": "read", "keys": keys })).await;
        assert!(result.succeeded(), "{result:?}");
        let values: Value = serde_json::from_slice(&result.payload).expect("the function answers in JSON");
        assert_eq!(values["a"], values["b"], "half of a transaction is visible\n{}", self.log());
        values["a"].as_str().map(str::to_owned)
    }

    /// What the tables hold, asked for by another program's request: nothing that the store itself would not find is
    /// missed.
    ///
    /// # Panics
    /// If the engine does not answer.
    pub async fn stored(&self) -> Stored {
        let keys = ["a", "b"].map(|key| Key::new(key).expect("a short key"));
        let heads = self.store.heads(&BTreeSet::from(keys.clone())).await.expect("the engine answers");
        let value = |key: &Key| {
            let value = heads.get(key)?.current.value.as_ref()?;
            Some(String::from_utf8_lossy(value.bytes()).into_owned())
        };
        // One is the old one.
        let records = self.count_records().await.checked_sub(1).expect("the record of the old values");
        Stored { records, heads: [value(&keys[0]), value(&keys[1])] }
    }

    /// Page by page: a page has 1 MB.
    async fn count_records(&self) -> usize {
        let mut query = json!({
            "TableName": self.tables.transactions,
            "ConsistentRead": true,
            "Select": "COUNT",
            "FilterExpression": "part = :commit",
            "ExpressionAttributeValues": { ":commit": { "S": "commit" } },
        });
        let mut count = 0;
        loop {
            let page = self.ask("Scan", &query).await;
            count += page["Count"].as_u64().and_then(|count| usize::try_from(count).ok()).expect("a scan counts");
            match page.get("LastEvaluatedKey") {
                Some(last) => query["ExclusiveStartKey"] = last.clone(),
                None => return count,
            }
        }
    }

    /// A request of our own to the engine.
    async fn ask(&self, operation: &str, query: &Value) -> Value {
        ask(&self.engine.endpoint().to_string(), &format!("DynamoDB_20120810.{operation}"), query).await
    }

    /// The processes of the first host's sandbox that Lambda knows of: while they are the same, it was not reset.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        self.first.processes().into_iter().map(|process| process.pid).collect()
    }

    /// SIGKILL to a process of the first host's sandbox.
    ///
    /// # Panics
    /// If there is no such process.
    pub fn kill(&self, victim: Victim) {
        assert!(self.first.kill(SANDBOX, victim) > 0, "{victim:?} was not there to be killed\n{}", self.log());
    }

    /// Waits until the first host's sandbox serves nothing.
    pub async fn settled(&self) {
        soon("the first host to settle", self.first.settled()).await;
    }

    /// What the hosts logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// Ends both hosts and the engine.
    ///
    /// # Panics
    /// If the engine had failed.
    pub async fn stop(self) {
        for host in [self.first, self.second] {
            if let Some(host) = Arc::into_inner(host) {
                host.stop().await;
            }
        }
        self.engine.stop().await.expect("the engine ran to its end");
    }
}

/// The mark of the run that gave this response.
#[must_use]
pub fn wrote(result: &InvokeResult) -> Option<String> {
    let document: Value = serde_json::from_slice(&result.payload).ok()?;
    document["wrote"].as_str().map(str::to_owned)
}

/// The error that the caller got, if it got one.
#[must_use]
pub fn error_type(result: &InvokeResult) -> Option<String> {
    let document: Value = serde_json::from_slice(&result.payload).ok()?;
    result.function_error.as_ref()?;
    Some(document["errorType"].as_str().unwrap_or("no error type").to_owned())
}

fn invocation(request: &str, event: &Value) -> Invocation {
    Invocation::new(event.to_string()).with_request_id(request)
}

fn config(setup: &Setup, side: &'static str, witness: &Witness, log: &Log) -> HostConfig {
    let mut config = HostConfig::new(Program::new(&setup.function)).expect("a working directory");
    let mut layer = layer::shipped();
    let own = if side == FIRST { &setup.first } else { &setup.second };
    layer.settings.extend(own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    config.layer = Some(layer);
    let variables = [("FUNCTION_WITNESS", witness.address.as_str()), ("FUNCTION_SIDE", side)];
    config.environment.extend(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let (side, lines) = (side.to_owned(), Arc::clone(log));
    config.log = LogSink::new(move |line| {
        lines.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{side} {line}"));
    });
    config
}
