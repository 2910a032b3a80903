//! A host with several sandboxes whose invocations change the same keys, and how often each ran.
//!
//! How often is taken from what the shim logs, as an operator would: the handler does not know that it is run again.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aft_cli::{Connected, Engine, Host, HostConfig, Invocation, InvokeResult, LogSink, Program, Tables};
use aft_protocol::key::Key;
use aft_store::Store;
use serde_json::Value;

use crate::layer;

static WORLDS: AtomicU32 = AtomicU32::new(0);

/// A host, its function, and an engine in memory.
pub struct Contended {
    /// The host.
    pub host: Host,
    engine: Connected,
    tables: Tables,
    directory: PathBuf,
    runs: Runs,
    log: Arc<Mutex<Vec<String>>>,
}

/// How often the shim says that it runs a transaction's handler again.
#[derive(Debug, Clone, Default)]
struct Runs(Arc<Mutex<Counted>>);

#[derive(Debug, Default)]
struct Counted {
    /// The number of the last attempt, by transaction; the first is not logged.
    attempts: HashMap<String, u32>,
    conflicts: usize,
    others: usize,
}

/// How often handlers ran for one transaction, and why again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempts {
    /// One for each transaction, sorted: attempts of the delivery that had most.
    pub sorted: Vec<u32>,
    /// Attempts that followed a conflict.
    pub conflicts: usize,
    /// Attempts that followed anything else.
    pub others: usize,
}

impl Attempts {
    /// What so many thousandths of them needed, at most.
    #[must_use]
    pub fn at(&self, thousandths: usize) -> u32 {
        let last = self.sorted.len().saturating_sub(1);
        self.sorted.get((self.sorted.len() * thousandths / 1_000).min(last)).copied().unwrap_or_default()
    }

    /// Attempts for each transaction.
    #[must_use]
    pub fn mean(&self) -> f64 {
        f64::from(self.sorted.iter().sum::<u32>()) / f64::from(u32::try_from(self.sorted.len().max(1)).unwrap_or(1))
    }
}

impl Contended {
    /// A host for this function with these settings of the layer.
    ///
    /// # Panics
    /// If it cannot be had: a binary of the layer is missing, say.
    pub async fn start(function: &str, sandboxes: u32, settings: &[(&str, &str)]) -> Self {
        let mut config = HostConfig::new(Program::new(function)).expect("a working directory");
        config.sandboxes = sandboxes;
        config.queue_limit = 1_000;
        let mut layer = layer::shipped();
        layer.settings.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        config.layer = Some(layer);
        let tables = Tables { data: "data".to_owned(), transactions: "transactions".to_owned() };
        let engine = Engine::Memory.connect(&mut config, &tables).await.expect("an engine in memory");
        // Where the function counts its attempts.
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("aft-contended-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory for temporary files");
        config.environment.insert("TMPDIR".to_owned(), directory.display().to_string());
        let (runs, log) = (Runs::default(), Arc::<Mutex<Vec<String>>>::default());
        let (heard, lines) = (runs.clone(), Arc::clone(&log));
        config.log = LogSink::new(move |line| {
            heard.hear(&line.text);
            lines.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_string());
        });
        let host = Host::start(config).await.expect("the host starts");
        Self { host, engine, tables, directory, runs, log }
    }

    /// Invokes the function; the platform chooses the request's ID unless one is given.
    pub async fn invoke(&self, request: Option<&str>, event: &Value) -> InvokeResult {
        let invocation = Invocation::new(event.to_string());
        self.host
            .invoke(match request {
                Some(request) => invocation.with_request_id(request),
                None => invocation,
            })
            .await
    }

    /// What the function answers to this event.
    ///
    /// # Panics
    /// If it fails.
    pub async fn succeed(&self, event: &Value) -> Value {
        let result = self.invoke(None, event).await;
        assert!(result.succeeded(), "{result:?}\n{}", self.log());
        serde_json::from_slice(&result.payload).expect("the function answers in JSON")
    }

    /// What a key holds, read past the layer.
    ///
    /// # Panics
    /// If the engine does not answer.
    pub async fn value(&self, key: &str) -> Option<String> {
        let endpoint = self.engine.endpoint().to_string();
        let store =
            crate::store::patient(&crate::store::config(&endpoint, &self.tables.data, &self.tables.transactions));
        let key = Key::new(key).expect("a short key");
        let heads = store.heads(&[key.clone()].into()).await.expect("the engine answers");
        let value = heads.get(&key)?.current.value.as_ref()?;
        Some(String::from_utf8_lossy(value.bytes()).into_owned())
    }

    /// How often the handlers ran of so many transactions.
    #[must_use]
    pub fn attempts(&self, transactions: usize) -> Attempts {
        let counted = self.runs.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sorted: Vec<_> = counted.attempts.values().copied().collect();
        sorted.resize(transactions.max(sorted.len()), 1);
        sorted.sort_unstable();
        Attempts { sorted, conflicts: counted.conflicts, others: counted.others }
    }

    /// What was logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// Ends it.
    ///
    /// # Panics
    /// If the engine had failed.
    pub async fn stop(self) {
        self.host.stop().await;
        self.engine.stop().await.expect("the engine ran to its end");
        // Left behind if the system does not let go of it: it is in the temporary directory.
        let _ = std::fs::remove_dir_all(self.directory);
    }
}

impl Runs {
    fn hear(&self, line: &str) {
        if !line.contains("the handler runs again") {
            return;
        }
        let field = |name: &str| line.split(name).nth(1)?.split_whitespace().next();
        let (Some(transaction), Some(attempt)) = (field("transaction="), field("attempt=")) else { return };
        let next = attempt.parse::<u32>().unwrap_or_default() + 1;
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let most = counted.attempts.entry(transaction.to_owned()).or_default();
        *most = next.max(*most);
        if line.contains("conflicted") { counted.conflicts += 1 } else { counted.others += 1 }
    }
}
