//! The apps of `examples/` as they are, under `aft local`'s host or AWS's emulator, with [`Faults`] around them; and their versions
//! without AFT, straight on DynamoDB.
//!
//! An app's settings are read from its own `template.yaml`: what is tested is what is deployed.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::{fs, io};

use aft_cli::{Connected, Engine, Host, HostConfig, Invocation, InvokeResult, LogSink, Program, Tables};
use aft_protocol::key::Key;
use aft_store::Store;
use aft_store::dynamodb::DynamoDb;
use serde_json::{Value, json};

use crate::dynamodb_local::DynamoDbLocal;
use crate::emulator::{Emulator, SHIM};
use crate::faults::Faults;
use crate::local::python;
use crate::tools::{repository, tool};
use crate::{layer, store};

/// The table of the versions without AFT.
const PLAIN_TABLE: &str = "plain";

/// A function of an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Function {
    /// Its folder, which holds its template, too; its version without AFT is in `before/`.
    pub folder: &'static str,
    /// Its handler, with the file's name.
    pub handler: &'static str,
    /// What it is written in.
    pub language: Language,
}

/// What examples are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// With AWS's own runtime client.
    Python,
    /// With a small runtime under the local host, and with AWS's own under the emulator.
    Node,
}

/// One DynamoDB and what goes wrong, for any number of functions.
pub struct World {
    /// What goes wrong.
    pub faults: Faults,
    engine: Connected,
    store: DynamoDb,
    log: Log,
}

/// What sandboxes wrote, shown if the test fails.
#[derive(Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Drop for Log {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|line| eprintln!("{line}"));
        }
    }
}

impl World {
    /// Empty tables in memory.
    ///
    /// # Panics
    /// If they cannot be had.
    pub async fn start() -> Self {
        let mut config = HostConfig::new(Program::new("true")).expect("a working directory");
        let engine = Engine::Memory.connect(&mut config, &Tables::default()).await.expect("an engine in memory");
        let Tables { data, transactions } = Tables::default();
        let store = store::patient(&store::config(&engine.endpoint().to_string(), &data, &transactions));
        Self { faults: Faults::start().await, engine, store, log: Log::default() }
    }

    /// A function with the layer and the settings of its template, in up to so many sandboxes.
    ///
    /// # Panics
    /// If a binary of the layer or a tool is missing.
    pub async fn with_aft(&self, function: Function, sandboxes: u32) -> Host {
        let mut config = self.config(function, &repository().join(function.folder), sandboxes);
        config.layer = Some(layer::shipped());
        config.environment.extend(settings(function));
        let engine = Engine::Endpoint { url: self.engine.endpoint().clone(), create_tables: false };
        engine.connect(&mut config, &Tables::default()).await.expect("nothing is asked of it");
        Host::start(config).await.expect("the host starts")
    }

    /// The function's version without AFT, over a table that is made now if it is not there.
    ///
    /// # Panics
    /// If a tool is missing.
    pub async fn before_aft(&self, function: Function, sandboxes: u32) -> Host {
        let folder = repository().join(function.folder).join("before");
        let mut config = self.config(function, &folder, sandboxes);
        config.environment.insert("TABLE".to_owned(), PLAIN_TABLE.to_owned());
        config.environment.insert("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), self.engine.endpoint().to_string());
        let tables = self.ask("ListTables", &json!({})).await;
        if !tables["TableNames"].as_array().expect("a list").contains(&json!(PLAIN_TABLE)) {
            store::make_plain_table(&self.engine.endpoint().to_string(), PLAIN_TABLE, "pk").await;
        }
        Host::start(config).await.expect("the host starts")
    }

    /// What is committed under a key.
    ///
    /// # Panics
    /// If the engine does not answer.
    pub async fn value(&self, key: &str) -> Option<Value> {
        value(&self.store, key).await
    }

    /// All that the version without AFT has written, with plain values.
    ///
    /// # Panics
    /// If there is more than a page of it.
    pub async fn plain_items(&self) -> Vec<Value> {
        let page = self.ask("Scan", &json!({"TableName": PLAIN_TABLE, "ConsistentRead": true})).await;
        assert!(page.get("LastEvaluatedKey").is_none(), "more than a page");
        page["Items"].as_array().expect("a list").iter().map(plain).collect()
    }

    async fn ask(&self, operation: &str, query: &Value) -> Value {
        store::ask(&self.engine.endpoint().to_string(), &format!("DynamoDB_20120810.{operation}"), query).await
    }

    fn config(&self, function: Function, folder: &std::path::Path, sandboxes: u32) -> HostConfig {
        let mut config = HostConfig::new(function.program()).expect("a working directory");
        config.function_name = function.name();
        function.handler.clone_into(&mut config.handler);
        config.working_directory = folder.to_owned();
        config.sandboxes = sandboxes;
        config.environment.extend(function.environment(Some(&self.faults)));
        let lines = Arc::clone(&self.log.0);
        config.log = LogSink::new(move |line| {
            lines.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_string());
        });
        config
    }
}

/// An app under AWS's own emulator, over AWS's own DynamoDB Local, with AWS's own runtime client.
pub struct Emulated {
    emulator: Emulator,
    store: DynamoDb,
}

impl Emulated {
    /// A function with the layer and the settings of its template, over tables of this name.
    ///
    /// # Panics
    /// If a binary of the layer or a tool is missing.
    pub async fn start(function: Function, tables: &str, faults: &Faults) -> Self {
        let endpoint = DynamoDbLocal::shared().await.endpoint();
        let (data, transactions) = (format!("{tables}-data"), format!("{tables}-transactions"));
        let store = store::patient(&store::config(&endpoint, &data, &transactions));
        store.create_tables().await.expect("DynamoDB Local makes tables");
        let mut environment = settings(function);
        environment.extend(function.environment(Some(faults)));
        let folder = repository().join(function.folder);
        environment.push(("LAMBDA_TASK_ROOT".to_owned(), folder.display().to_string()));
        environment.push(("AWS_LAMBDA_FUNCTION_NAME".to_owned(), function.name()));
        let own =
            [("AFT_DATA_TABLE", data), ("AFT_TRANSACTION_TABLE", transactions), ("AFT_DYNAMODB_ENDPOINT", endpoint)];
        environment.extend(own.map(|(name, value)| (name.to_owned(), value)));
        let environment: Vec<(&str, &str)> =
            environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let command = function.emulated();
        let command: Vec<&str> = [SHIM].into_iter().chain(command.iter().map(String::as_str)).collect();
        let emulator = Emulator::start_command(&command, &folder, &environment).await;
        Self { emulator, store }
    }

    /// The response to an event, or the error.
    ///
    /// # Panics
    /// If there is none.
    pub async fn invoke(&mut self, event: &Value) -> Value {
        let answer = self.emulator.invoke(event).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    /// What is committed under a key.
    ///
    /// # Panics
    /// If the engine does not answer.
    pub async fn value(&self, key: &str) -> Option<Value> {
        value(&self.store, key).await
    }
}

impl Function {
    /// One of the example's own events.
    ///
    /// # Panics
    /// If it is not there.
    #[must_use]
    pub fn event(&self, name: &str) -> Value {
        let path = repository().join(self.folder).join("events").join(name);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Runs the example's own unit tests, on the library's fake.
    ///
    /// # Panics
    /// If they fail, or are none.
    pub fn unit_tests(&self) {
        let mut command = match self.language {
            Language::Python => {
                let mut command = Command::new(tool("python").join("bin/python"));
                command.args(["-m", "unittest", "--verbose"]);
                command
            }
            Language::Node => {
                let mut command = Command::new("node");
                command.args(["--test", "--test-reporter=tap"]);
                command
            }
        };
        command.envs(self.environment(None)).current_dir(repository().join(self.folder));
        let run = command.output().expect("the language's own test runner");
        let [out, error] = [&run.stdout, &run.stderr].map(|bytes| String::from_utf8_lossy(bytes));
        assert!(run.status.success(), "{out}{error}");
        let passed = error.matches("... ok").count() + out.lines().filter(|line| line.starts_with("ok ")).count();
        assert!(passed >= 2, "{out}{error}");
    }

    fn name(&self) -> String {
        self.handler.replace('.', "-")
    }

    /// Without its suffix.
    fn file(&self) -> &'static str {
        self.handler.split('.').next().unwrap_or(self.handler)
    }

    fn program(&self) -> Program {
        match self.language {
            Language::Python => python().with_arguments(["-m", "awslambdaric", self.handler]),
            Language::Node => {
                let runtime = repository().join("tests/fixtures/runtime.mjs");
                Program::new("node").with_arguments([runtime, PathBuf::from(format!("{}.mjs", self.file()))])
            }
        }
    }

    /// The command with AWS's own runtime client.
    fn emulated(&self) -> Vec<String> {
        let text = |path: PathBuf| path.display().to_string();
        match self.language {
            Language::Python => {
                let python = text(tool("python").join("bin/python"));
                vec![python, "-m".to_owned(), "awslambdaric".to_owned(), self.handler.to_owned()]
            }
            Language::Node => {
                let client = text(tool("node-client").join("node_modules/aws-lambda-ric/index.mjs"));
                vec!["node".to_owned(), client, self.handler.to_owned()]
            }
        }
    }

    /// Where the faults are, and what Lambda's runtimes find by themselves: the layer's library and the AWS SDK.
    fn environment(&self, faults: Option<&Faults>) -> Vec<(String, String)> {
        let path = |name: &str| repository().join(name).display().to_string();
        let variables = match self.language {
            Language::Python => vec![
                ("PYTHONPATH", format!("{}:{}", path("layer/python"), path("tests/faults"))),
                ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
            ],
            Language::Node => {
                let imports = ["tests/fixtures/node-path.mjs", "tests/faults/faults.mjs"].map(path);
                let packages =
                    [node_modules(), tool("node-sdk").join("node_modules")].map(|path| path.display().to_string());
                vec![
                    ("NODE_PATH", packages.join(":")),
                    ("NODE_OPTIONS", imports.map(|path| format!("--import={path}")).join(" ")),
                ]
            }
        };
        let faults = faults.map(|faults| ("FAULTS", faults.address.clone()));
        variables.into_iter().chain(faults).map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// The settings that an example's template says in so many words; the names of tables it only refers to.
fn settings(function: Function) -> Vec<(String, String)> {
    if !function.folder.starts_with("examples/") {
        return Vec::new();
    }
    let path = repository().join(function.folder).join("template.yaml");
    let template = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let literal = |line: &str| {
        let (name, value) = line.trim().split_once(": ")?;
        let is_setting = name.starts_with("AFT_") && !value.starts_with('!');
        is_setting.then(|| (name.to_owned(), value.trim_matches(['"', '\'']).to_owned()))
    };
    template.lines().filter_map(literal).collect()
}

/// A folder of packages with AFT's library in it, as `/opt/nodejs/node_modules` is on Lambda.
fn node_modules() -> PathBuf {
    let packages = repository().join("target/nodejs/node_modules");
    fs::create_dir_all(&packages).unwrap_or_else(|error| panic!("{}: {error}", packages.display()));
    match symlink(repository().join("layer/nodejs/aft"), packages.join("aft")) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => panic!("{}: {error}", packages.display()),
        _ => packages,
    }
}

/// An item of DynamoDB's without the names of its types.
fn plain(item: &Value) -> Value {
    let fields = item.as_object().expect("an item is a map");
    Value::Object(fields.iter().map(|(name, typed)| (name.clone(), untyped(typed))).collect())
}

fn untyped(typed: &Value) -> Value {
    let (kind, value) = typed.as_object().and_then(|typed| typed.iter().next()).expect("a type and a value");
    match kind.as_str() {
        "N" => value.as_str().and_then(|number| number.parse().ok()).map_or(Value::Null, Value::Number),
        "M" => plain(value),
        "L" => value.as_array().expect("a list").iter().map(untyped).collect(),
        _ => value.clone(),
    }
}

async fn value(store: &DynamoDb, key: &str) -> Option<Value> {
    let heads = store.heads(&BTreeSet::from([Key::new(key).expect("a short key")])).await.expect("the engine answers");
    let value = heads.into_values().next()?.current.value?;
    Some(serde_json::from_slice(value.bytes()).expect("examples write JSON"))
}

/// Invokes a function once, as a request of its own or as this one.
pub async fn invoke(host: &Host, event: &Value, request_id: Option<&str>) -> InvokeResult {
    let invocation = Invocation::new(event.to_string());
    host.invoke(request_id.into_iter().fold(invocation, |invocation, id| invocation.with_request_id(id))).await
}

/// What a function answers that must not fail.
///
/// # Panics
/// If it does.
pub async fn succeed(host: &Host, event: &Value) -> Value {
    let result = invoke(host, event, None).await;
    assert!(result.succeeded(), "{result:?}");
    document(&result)
}

/// A result's payload.
///
/// # Panics
/// If it is not JSON.
#[must_use]
pub fn document(result: &InvokeResult) -> Value {
    serde_json::from_slice(&result.payload).unwrap_or_else(|error| panic!("{error}: {result:?}"))
}
