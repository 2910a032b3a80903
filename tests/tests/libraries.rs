//! The libraries for handlers, and that their fakes are as the real thing: the same scenarios on the fake and behind the shipped
//! layer, whose `--layer` directory is laid out as its zip is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, os};

use aft_cli::{Engine, Host, HostConfig, Invocation, Layer, LayerBinaries, LogSink, Program, Tables};
use aft_protocol::limits;
use aft_tests::layer;
use aft_tests::tools::{repository, tool};
use serde_json::{Value, json};

/// A directory of a test, removed in the end unless it failed.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("aft-libraries-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory of our own");
        Self(path)
    }

    /// One that is laid out as the layer's zip.
    fn layer(name: &str) -> Self {
        let directory = Self::new(name);
        let (binaries, sources) = (layer::binaries(), repository().join("layer"));
        directory.link(&binaries.extension, "extensions/aft-extension");
        directory.link(&binaries.shim, "aft-runtime-shim");
        directory.link(&sources.join("python/aft"), "python/aft");
        directory.link(&sources.join("nodejs/aft"), "nodejs/node_modules/aft");
        directory
    }

    fn link(&self, target: &Path, name: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("it is in the directory")).expect("a directory of our own");
        os::unix::fs::symlink(target, path).expect("a name of our own");
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            fs::remove_dir_all(&self.0).expect("the directory is our own");
        }
    }
}

/// What a command printed; all of it is shown if it fails.
fn output(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}\n{}\n{}", text(&output.stdout), text(&output.stderr));
    output
}

fn python() -> Command {
    let mut python = Command::new(tool("python").join("bin/python"));
    python.env("PYTHONPATH", repository().join("layer/python")).env("PYTHONDONTWRITEBYTECODE", "1");
    python
}

/// A language's scenarios.
struct Contract {
    name: &'static str,
    /// Runs them all on the fake.
    fake: Command,
    /// Runs one invocation.
    function: Program,
}

impl Contract {
    fn python() -> Self {
        let mut fake = python();
        fake.arg(repository().join("tests/functions/contract.py"));
        let runtime = Program::new(tool("python").join("bin/python"));
        let function = runtime.with_arguments(["-m", "awslambdaric", "contract.handler"]);
        Self { name: "python", fake, function }
    }

    fn node() -> Self {
        let script = repository().join("tests/functions/contract.cjs");
        let mut fake = Command::new("node");
        fake.arg(&script);
        let runtime = repository().join("tests/fixtures/runtime.mjs");
        let function = Program::new("node").with_arguments([runtime, script]);
        Self { name: "node", fake, function }
    }

    /// The fake's outcomes, in order.
    fn on_the_fake(&mut self, isolation: &str) -> Vec<Value> {
        let layer = Directory::layer(&format!("{}-{isolation}-fake", self.name));
        self.fake
            .arg(isolation)
            .env("PYTHONPATH", layer.0.join("python"))
            .env("NODE_PATH", layer.0.join("nodejs/node_modules"));
        serde_json::from_slice(&output(&mut self.fake).stdout).expect("the script prints JSON")
    }

    /// The same invocations behind the layer; and what was logged.
    async fn for_real(self, isolation: &str, plan: &[Value]) -> (Vec<Value>, String) {
        let directory = Directory::layer(&format!("{}-{isolation}", self.name));
        let mut config = HostConfig::new(self.function).expect("there is a working directory");
        config.working_directory = repository().join("tests/functions");
        // Frozen between invocations, and (once) restored before the first: connections and tokens go through that, too.
        config.freeze = true;
        config.snap_start = isolation == "serializable";
        // Patience for a busy machine.
        config.timeout = Duration::from_secs(300);
        config.init_limit = Duration::from_secs(60);
        config.layer = Some(Layer::aft(&LayerBinaries::found_in(&directory.0)).expect("both are there"));
        config.environment = BTreeMap::from(
            [
                ("AFT_ISOLATION", isolation),
                // Otherwise it is a matter of time how far the handler gets before a duplicate is found out.
                ("AFT_DUPLICATE_CHECK", "before"),
                ("AFT_MAX_ATTEMPTS", "1"),
                ("PYTHONDONTWRITEBYTECODE", "1"),
            ]
            .map(|(name, value)| (name.into(), value.into())),
        );
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let logged = Arc::clone(&lines);
        config.log = LogSink::new(move |line| logged.lock().expect("no writer panics").push(line.to_string()));
        let data = Engine::Memory.connect(&mut config, &Tables::default()).await.expect("the embedded engine starts");
        let host = Host::start(config).await.expect("the host starts");
        let mut outcomes = Vec::new();
        for invocation in plan {
            let event = json!({"scenario": invocation["scenario"], "step": invocation["step"]});
            let request = invocation["request"].as_str().expect("a text").replace(' ', "-");
            let result = host.invoke(Invocation::new(event.to_string()).with_request_id(request)).await;
            let answered = || serde_json::from_slice::<Value>(&result.payload).expect("a function answers with JSON");
            let outcome = if result.succeeded() { json!({"answered": answered()}) } else { json!({"failed": true}) };
            outcomes.push(json!({
                "scenario": invocation["scenario"], "step": invocation["step"], "request": invocation["request"],
                "outcome": outcome,
            }));
        }
        host.stop().await;
        data.stop().await.expect("the engine had not failed");
        let log = lines.lock().expect("no writer panics").join("\n");
        (outcomes, log)
    }
}

fn assert_same(expected: &[Value], (outcomes, log): &(Vec<Value>, String)) {
    assert_eq!(expected.len(), outcomes.len());
    for (expected, outcome) in expected.iter().zip(outcomes) {
        assert!(expected == outcome, "{log}\nexpected {expected:#}\nbut was  {outcome:#}");
    }
}

/// Fakes and real things, in both languages: they all answer the same.
async fn all_agree(isolation: &str) {
    let (mut python, mut node) = (Contract::python(), Contract::node());
    let fake = python.on_the_fake(isolation);
    assert_same(&fake, &(node.on_the_fake(isolation), String::new()));
    let (python, node) = tokio::join!(python.for_real(isolation, &fake), node.for_real(isolation, &fake));
    assert_same(&fake, &python);
    assert_same(&fake, &node);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_languages_and_their_fakes_are_as_the_real_thing() {
    all_agree("read-atomic").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_languages_and_their_fakes_are_as_the_real_thing_in_serializable_isolation() {
    all_agree("serializable").await;
}

#[test]
fn the_python_librarys_own_tests_pass() {
    output(
        python().args(["-W", "error", "-m", "unittest", "discover", "-s"]).arg(repository().join("layer/python/tests")),
    );
}

#[test]
fn the_node_librarys_own_tests_pass() {
    let tests = ["endpoint.test.mjs", "fake.test.mjs"].map(|name| repository().join("layer/nodejs/tests").join(name));
    output(Command::new("node").arg("--test").args(tests));
}

/// As somebody installs it beside a function, for types and for unit tests.
#[test]
fn the_node_library_is_installed_by_npm_and_its_types_hold() {
    let directory = Directory::new("typed");
    for file in ["handler.ts", "handler.cts", "package.json", "tsconfig.json"] {
        fs::copy(repository().join("tests/functions/typed").join(file), directory.0.join(file)).expect("a copy");
    }
    let mut npm = Command::new("npm");
    npm.args(["install", "--offline", "--no-audit", "--no-fund", "--loglevel=error"]);
    output(npm.arg(repository().join("layer/nodejs/aft")).current_dir(&directory.0));
    output(Command::new("node").arg(tool("typescript").join("bin/tsc")).arg("-p").arg(&directory.0));
    let script = "import aft, { get } from 'aft'; import { process } from 'aft/sqs'; import { Fake } from 'aft/testing'; \
                  console.log([aft.get === get, typeof process, typeof Fake].join())";
    let mut node = Command::new("node");
    node.args(["--input-type=module", "--eval", script]).current_dir(&directory.0);
    assert_eq!(output(&mut node).stdout, b"true,function,function\n");
}

/// The libraries refuse too large bodies by themselves, and the fakes whatever else is too large.
#[test]
fn the_libraries_limits_are_the_protocols() {
    let limits = [
        ("VALUE_BYTES", limits::VALUE_BYTES),
        ("RESPONSE_BYTES", limits::TRANSACTION_RESPONSE_BYTES),
        ("BATCH_BODY_BYTES", limits::BATCH_BODY_BYTES),
        ("BATCH_KEYS", limits::BATCH_KEYS),
        ("CONTENT_TYPE_BYTES", limits::CONTENT_TYPE_BYTES),
        ("KEY_BYTES", limits::KEY_BYTES),
        ("TRANSACTION_KEY_BYTES", limits::TRANSACTION_KEY_BYTES),
        ("SCOPE_BYTES", limits::SCOPE_BYTES),
        ("OPEN_TRANSACTIONS", limits::OPEN_TRANSACTIONS),
        ("FUNCTION_RESPONSE_BYTES", limits::RESPONSE_BYTES),
        ("TRANSACTION_BYTES", limits::TRANSACTION_BYTES),
        ("TRANSACTION_KEYS", limits::TRANSACTION_KEYS),
        ("SANDBOX_BYTES", limits::SANDBOX_BYTES),
        ("GUARDED_KEYS", limits::GUARDED_KEYS),
        ("GUARDED_BYTES", limits::GUARDED_BYTES),
    ];
    let expected = BTreeMap::from(limits.map(|(name, value)| (name.to_owned(), value)));
    assert_eq!(constants(&["python/aft/_values.py", "python/aft/_attempt.py", "python/aft/testing.py"]), expected);
    assert_eq!(
        constants(&["nodejs/aft/lib/values.js", "nodejs/aft/lib/attempt.js", "nodejs/aft/testing.js"]),
        expected
    );
}

/// The limits that these files of the libraries define: `NAME = 1_024`, with or without `const` and a semicolon.
fn constants(files: &[&str]) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for file in files {
        let text = fs::read_to_string(repository().join("layer").join(file)).expect("a file of the library");
        for (name, value) in text.lines().filter_map(|line| line.trim_start_matches("const ").split_once(" = ")) {
            let is_constant = name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
            // The fake's clock stands still: no limit.
            if !is_constant || name == "REMAINING_MS" {
                continue;
            }
            if let Ok(value) = value.trim_end_matches(';').replace('_', "").parse() {
                assert!(found.insert(name.to_owned(), value).is_none(), "{name} is defined twice");
            }
        }
    }
    found
}

#[test]
fn the_python_in_the_documents_does_what_they_say() {
    let said = output(python().arg(repository().join("tests/functions/snippets.py")).arg(repository()));
    assert!(String::from_utf8_lossy(&said.stdout).ends_with(" blocks\n"));
}
