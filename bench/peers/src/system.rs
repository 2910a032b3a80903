//! The systems: what users would pick, and this project; each a function of its own in the same local Lambda.

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aft_cli::{Host, HostConfig, Layer, LayerBinaries, LogSink, Program, Source};
use aft_store::dynamodb::{Config, Credentials, DynamoDb, ReadConsistency};
use aft_tests::store;
use aft_tests::tools::tool;
use serde_json::json;

use crate::Error;
use crate::storage::Storage;

/// The table of the functions without AFT.
pub const TABLE: &str = "plain";
/// Their records.
pub const RECORDS: &str = "records";

/// How the Rust function works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It does nothing: what Lambda itself takes.
    Nothing,
    /// `PutItem` after `PutItem`.
    Sequential,
    /// `BatchWriteItem`.
    Batch,
    /// `TransactWriteItems` with a client token.
    Transaction,
    /// The request pattern of AFT as published: versions, then the record.
    Published,
    /// The local endpoint.
    Aft,
    /// The same, with reads that may be a minute old.
    AftCached,
}

const WAYS: [(Way, &str); 7] = [
    (Way::Nothing, "nothing"),
    (Way::Sequential, "sequential"),
    (Way::Batch, "batch"),
    (Way::Transaction, "transaction"),
    (Way::Published, "published"),
    (Way::Aft, "aft"),
    (Way::AftCached, "aft-cached"),
];

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(WAYS.iter().find(|(way, _)| way == self).map_or("", |(_, name)| name))
    }
}

impl FromStr for Way {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = WAYS.iter().find(|(_, name)| *name == text);
        found.map(|(way, _)| *way).ok_or_else(|| format!("{text:?} is no way to write"))
    }
}

/// A system under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum System {
    /// A function that does nothing.
    Nothing,
    /// Plain writes, one after the other.
    Sequential,
    /// Plain `BatchWriteItem`.
    Batch,
    /// `TransactWriteItems` with a client token.
    Transaction,
    /// AFT as it was published, by its request pattern.
    Published,
    /// Plain writes by a function in Python.
    PlainPython,
    /// The same within Powertools for AWS Lambda (Python).
    Powertools,
    /// This project, `AFT_ACK=visible`.
    Visible,
    /// This project, `AFT_ACK=durable`.
    Durable,
    /// This project, durable, with `AFT_WRITE_LOOK_UP=false`: clocks are trusted, as AFT as published trusts them.
    Trusting,
    /// This project, durable, with reads out of the sandbox's cache.
    Cached,
}

impl System {
    /// Every one, in the order of the tables.
    pub const ALL: [Self; 11] = [
        Self::Nothing,
        Self::Sequential,
        Self::Batch,
        Self::Transaction,
        Self::Published,
        Self::PlainPython,
        Self::Powertools,
        Self::Visible,
        Self::Durable,
        Self::Trusting,
        Self::Cached,
    ];

    /// Its name in tables and plots.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "empty function",
            Self::Sequential => "plain writes, sequential",
            Self::Batch => "BatchWriteItem",
            Self::Transaction => "TransactWriteItems",
            Self::Published => "AFT as published",
            Self::PlainPython => "plain writes, Python",
            Self::Powertools => "Powertools and plain writes, Python",
            Self::Visible => "this project, visible",
            Self::Durable => "this project, durable",
            Self::Trusting => "this project, durable, no look-ups",
            Self::Cached => "this project, durable, cached reads",
        }
    }

    const fn way(self) -> Option<Way> {
        match self {
            Self::Nothing => Some(Way::Nothing),
            Self::Sequential => Some(Way::Sequential),
            Self::Batch => Some(Way::Batch),
            Self::Transaction => Some(Way::Transaction),
            Self::Published => Some(Way::Published),
            Self::PlainPython | Self::Powertools => None,
            Self::Visible | Self::Durable | Self::Trusting => Some(Way::Aft),
            Self::Cached => Some(Way::AftCached),
        }
    }

    /// Whether it is this project.
    #[must_use]
    pub const fn is_aft(self) -> bool {
        matches!(self, Self::Visible | Self::Durable | Self::Trusting | Self::Cached)
    }
}

/// What the worlds are made of.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The layer.
    pub layer: LayerBinaries,
    /// `bin/peer-function.rs`.
    pub function: PathBuf,
    /// The folder of the functions in Python.
    pub python: PathBuf,
}

/// A folder with a file for each request, as long as it has had attempts; removed with it.
struct Attempts(PathBuf);

impl Attempts {
    fn new() -> Result<Self, Error> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("aft-peers-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Attempts {
    fn drop(&mut self) {
        // What is left there is empty files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A local Lambda that runs one system, with its door to the storage.
pub struct World {
    /// Which.
    pub system: System,
    /// The Lambda.
    pub host: Host,
    /// The door.
    pub storage: Storage,
    runs: Arc<AtomicUsize>,
    /// The end of the log, for who must explain a failure.
    log: Arc<Mutex<VecDeque<String>>>,
    /// Where functions count their attempts.
    _attempts: Attempts,
}

impl World {
    /// Starts it, with tables of its own name at the storage.
    ///
    /// # Errors
    /// If anything that it needs is missing.
    pub async fn start(
        system: System,
        programs: &Programs,
        storage: Storage,
        engine: &str,
        sandboxes: u32,
    ) -> Result<Self, Error> {
        let attempts = Attempts::new()?;
        let mut config = match system.way() {
            Some(way) => {
                let mut config = HostConfig::new(Program::new(&programs.function))?;
                config.environment.insert("PEER_SYSTEM".to_owned(), way.to_string());
                config
            }
            None => python(system, programs)?,
        };
        config.sandboxes = sandboxes;
        // A full processor, and nothing limits it here.
        config.memory_mb = 1_769;
        // Lambda's default. Powertools takes a request that was cut off to be in progress for as long.
        config.timeout = Duration::from_secs(3);
        let (runs, log): (Arc<AtomicUsize>, Arc<Mutex<VecDeque<String>>>) = Default::default();
        config.log = LogSink::new({
            let (runs, log) = (Arc::clone(&runs), Arc::clone(&log));
            move |line| {
                if line.text == "ran" {
                    runs.fetch_add(1, Ordering::Relaxed);
                } else if line.source != Source::Platform {
                    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                    log.push_back(line.to_string());
                    if log.len() > 20 {
                        log.pop_front();
                    }
                }
            }
        });
        let place = attempts.0.display().to_string();
        config.environment.insert("PEER_ATTEMPTS".to_owned(), place);
        // As many callers wait as there may be clients.
        config.queue_limit = 1_000;
        config.environment.insert("PEER_DYNAMODB".to_owned(), storage.endpoint());
        if system.is_aft() {
            config.layer = Some(Layer::aft(&programs.layer)?);
            let ack = if system == System::Visible { "visible" } else { "durable" };
            for (name, value) in [
                ("AFT_DYNAMODB_ENDPOINT", storage.endpoint()),
                ("AFT_DATA_TABLE", "data".to_owned()),
                ("AFT_ACK", ack.to_owned()),
                ("AFT_WRITE_LOOK_UP", (system != System::Trusting).to_string()),
            ] {
                config.environment.insert(name.to_owned(), value);
            }
        }
        make_tables(engine).await?;
        let host = Host::start(config).await?;
        Ok(Self { system, host, storage, runs, log, _attempts: attempts })
    }

    /// How often the handler has run since the last call.
    #[must_use]
    pub fn runs(&self) -> usize {
        self.runs.swap(0, Ordering::Relaxed)
    }

    /// What its processes have said last.
    #[must_use]
    pub fn last_words(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().map(|line| format!("\n  {line}")).collect()
    }

    /// Processor time that the layer's processes have used so far, in microseconds: the extension's, the shim's.
    ///
    /// # Errors
    /// If it is more than can be.
    pub fn processor_micros(&self) -> Result<(u64, u64), Error> {
        let mut used = (0, 0);
        for process in self.host.processes() {
            // A process may have ended since.
            let time = aft_bench::process::processor_time(process.pid).unwrap_or_default();
            let micros = u64::try_from(time.as_micros())?;
            match process.source {
                Source::Extension(_) => used.0 += micros,
                // The process that Lambda starts is the shim; without the layer, the function.
                Source::Function if self.system.is_aft() => used.1 += micros,
                Source::Function | Source::Platform => {}
            }
        }
        Ok(used)
    }
}

fn python(system: System, programs: &Programs) -> Result<HostConfig, Error> {
    let interpreter = Program::new(tool("python").join("bin/python"));
    let mut config = HostConfig::new(interpreter.with_arguments(["-m", "awslambdaric", "app.handler"]))?;
    config.working_directory.clone_from(&programs.python);
    config.handler = "app.handler".to_owned();
    let how = if system == System::Powertools { "powertools" } else { "plain" };
    for (name, value) in [
        ("PEER_SYSTEM", how.to_owned()),
        ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
        ("PYTHONPATH", tool("powertools").display().to_string()),
    ] {
        config.environment.insert(name.to_owned(), value);
    }
    Ok(config)
}

/// Both kinds of tables, if they are not there yet, past the door.
async fn make_tables(engine: &str) -> Result<(), Error> {
    let aft = Config {
        data_table: "data".to_owned(),
        transaction_table: "data-transactions".to_owned(),
        region: "us-east-1".to_owned(),
        endpoint: Some(engine.parse()?),
        credentials: Credentials::Keys {
            access_key_id: "local".to_owned(),
            secret_access_key: "local".to_owned(),
            session_token: None,
        },
        reads: ReadConsistency::Strong,
        ca_bundle: None,
    };
    let store: DynamoDb = store::patient(&aft);
    store.create_tables().await?;
    let there = store::ask(engine, "DynamoDB_20120810.ListTables", &json!({})).await;
    for (table, key) in [(TABLE, "k"), (RECORDS, "id")] {
        let tables = there["TableNames"].as_array().into_iter().flatten();
        if !tables.into_iter().any(|name| name == table) {
            store::make_plain_table(engine, table, key).await;
        }
    }
    Ok(())
}
