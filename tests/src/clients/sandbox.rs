//! A sandbox with one function in it: by itself, or behind the layer as it is shipped.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aft_cli::embedded::{Embedded, Storage};
use aft_protocol::key::Key;
use aft_protocol::version::Version;
use aft_store::Store;
use aft_store::dynamodb::DynamoDb;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::client::Client;
use super::lambda::{Event, Lambda, NEXT};
use super::wire::Request;
use crate::layer;
use crate::tools::free_port;

/// A start of Java takes a second, many more on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

static SANDBOXES: AtomicU32 = AtomicU32::new(0);

/// What the function wrote under one key.
#[derive(Debug, PartialEq, Eq)]
pub struct Written {
    /// By which transaction.
    pub version: Version,
    /// The value, as text.
    pub value: String,
}

/// A sandbox. Dropped, its processes are killed; a test that fails shows what they wrote.
#[derive(Debug)]
pub struct Sandbox {
    /// The Lambda around it.
    pub lambda: Lambda,
    /// The process that Lambda started as the runtime.
    runtime: Child,
    layer: Option<Layer>,
    directory: PathBuf,
}

#[derive(Debug)]
struct Layer {
    store: DynamoDb,
    _extension: Child,
    _engine: Embedded,
}

impl Sandbox {
    /// The client alone.
    ///
    /// # Panics
    /// If it cannot be started.
    pub async fn bare(client: &Client) -> Self {
        let lambda = Lambda::start().await;
        let directory = directory();
        let mut command = Command::new(&client.program);
        command.args(&client.arguments);
        let runtime = spawn(command, client, &lambda, &directory, &[]);
        Self { lambda, runtime, layer: None, directory }
    }

    /// The client behind the shim, beside the extension, over an embedded engine.
    ///
    /// # Panics
    /// If something of it cannot be started; most likely the layer was not built.
    pub async fn with_layer(client: &Client) -> Self {
        Self::with_layer_and(client, "buffered").await
    }

    /// The same with this `AFT_STREAMING`.
    ///
    /// # Panics
    /// As [`Self::with_layer`].
    pub async fn with_layer_and(client: &Client, streaming: &str) -> Self {
        let lambda = Lambda::start().await;
        let directory = directory();
        let engine = Embedded::start(Storage::Memory).await.expect("the engine starts in memory");
        let store = store(&engine);
        store.create_tables().await.expect("the engine makes tables");
        let settings = [
            ("AFT_DATA_TABLE", "client".to_owned()),
            ("AFT_TRANSACTION_TABLE", "client-transactions".to_owned()),
            ("AFT_DYNAMODB_ENDPOINT", engine.endpoint()),
            ("AFT_PORT", free_port().to_string()),
            ("AFT_STREAMING", streaming.to_owned()),
            ("AFT_CONTROL_SOCKET", directory.join("aft.sock").display().to_string()),
        ];
        let binaries = layer::binaries();
        let extension = spawn(Command::new(&binaries.extension), client, &lambda, &directory, &settings);
        timeout(PATIENCE, lambda.registered()).await.expect("the extension registers");
        let mut command = Command::new(&binaries.shim);
        command.arg(&client.program).args(&client.arguments);
        let runtime = spawn(command, client, &lambda, &directory, &settings);
        let layer = Some(Layer { store, _extension: extension, _engine: engine });
        Self { lambda, runtime, layer, directory }
    }

    /// Delivers an event, and waits for the post that ends its invocation. Returns what was heard up to then, that post
    /// last; `None` if the runtime's process ended instead.
    ///
    /// # Panics
    /// If neither happens.
    pub async fn invoke(&mut self, event: &Event) -> Option<Vec<Request>> {
        let route = format!("/2018-06-01/runtime/invocation/{}/", event.request);
        self.lambda.deliver(event.clone());
        let Self { lambda, runtime, .. } = self;
        let ended = async {
            let mut heard = Vec::new();
            loop {
                tokio::select! {
                    biased;
                    request = lambda.heard() => heard.push(request),
                    _ = runtime.wait() => return None,
                }
                if heard.last().is_some_and(|request: &Request| request.target().starts_with(&route)) {
                    return Some(heard);
                }
            }
        };
        let limit = timeout(PATIENCE, ended).await;
        limit.unwrap_or_else(|_| panic!("{}: no answer in {PATIENCE:?}", event.name))
    }

    /// The post that ends the event's invocation.
    ///
    /// # Panics
    /// If there is none.
    pub async fn answer(&mut self, event: &Event) -> Request {
        let heard = self.invoke(event).await;
        heard.and_then(|mut heard| heard.pop()).unwrap_or_else(|| panic!("{}: the process ended", event.name))
    }

    /// What was heard until the runtime asks for an event, that included, or until the process that Lambda started as the
    /// runtime ends, with its exit code.
    ///
    /// # Panics
    /// If neither happens, or it is killed.
    pub async fn begins(&mut self) -> (Vec<Request>, Option<i32>) {
        let Self { lambda, runtime, .. } = self;
        let begun = async {
            let mut heard: Vec<Request> = Vec::new();
            loop {
                tokio::select! {
                    biased;
                    request = lambda.heard() => heard.push(request),
                    status = runtime.wait() => {
                        let code = status.expect("the runtime is our child").code();
                        return (heard, Some(code.expect("the runtime is not killed")));
                    }
                }
                if heard.last().is_some_and(|request| request.target() == NEXT) {
                    return (heard, None);
                }
            }
        };
        timeout(PATIENCE, begun).await.expect("the runtime begins, or ends")
    }

    /// Waits until the runtime asks for its next event, or its process ends; says whether it asked.
    ///
    /// # Panics
    /// If neither happens.
    pub async fn goes_on(&mut self) -> bool {
        let Self { lambda, runtime, .. } = self;
        let next = async {
            loop {
                tokio::select! {
                    biased;
                    request = lambda.heard() => if request.target() == NEXT { return true },
                    _ = runtime.wait() => return false,
                }
            }
        };
        timeout(PATIENCE, next).await.expect("the runtime goes on, or ends")
    }

    /// What the store holds under these keys, `None` for a key that was never written.
    ///
    /// # Panics
    /// If there is no layer, or the engine broke.
    pub async fn written(&self, keys: [&str; 2]) -> [Option<Written>; 2] {
        let layer = self.layer.as_ref().expect("the sandbox has a layer");
        let keys = keys.map(|key| Key::new(key).expect("a short key"));
        let heads = layer.store.heads(&BTreeSet::from(keys.clone())).await.expect("the engine answers");
        keys.map(|key| {
            let entry = &heads[&key].current;
            let value = entry.value.as_ref()?;
            let value = String::from_utf8(value.bytes().to_vec()).expect("the functions write text");
            Some(Written { version: entry.version, value })
        })
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read(self.directory.join("log")).unwrap_or_default();
            eprintln!("The sandbox wrote:\n{}", String::from_utf8_lossy(&log));
        }
        // Files of a process that is about to be killed may come after this; they lie in a temporary directory.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Starts a process of the sandbox with Lambda's environment, and nothing of ours but the path.
fn spawn(
    mut command: Command,
    client: &Client,
    lambda: &Lambda,
    directory: &std::path::Path,
    settings: &[(&str, String)],
) -> Child {
    let open = |options: &mut std::fs::OpenOptions| options.create(true).append(true).open(directory.join("log"));
    let log: File = open(&mut File::options()).expect("a file in a directory of our own");
    command
        .current_dir(&client.directory)
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .env("TMPDIR", directory)
        .env("AWS_LAMBDA_RUNTIME_API", lambda.address().to_string())
        .env("LAMBDA_TASK_ROOT", &client.directory)
        .env("_HANDLER", client.handler)
        .envs([("LANG", "en_US.UTF-8"), ("TZ", ":UTC")])
        .envs([("AWS_LAMBDA_FUNCTION_NAME", "client"), ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")])
        .envs([("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"), ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")])
        .envs([
            ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/client"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "2026/01/01/[$LATEST]1"),
        ])
        .envs([("AWS_REGION", "us-east-1"), ("AWS_ACCESS_KEY_ID", "local"), ("AWS_SECRET_ACCESS_KEY", "local")])
        .envs(client.environment.iter().map(|(name, value)| (name, value)))
        .envs(settings.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a second handle of the log"))
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"))
}

fn directory() -> PathBuf {
    let number = SANDBOXES.fetch_add(1, Ordering::Relaxed);
    let directory = std::env::temp_dir().join(format!("aft-client-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory of our own");
    directory
}

fn store(engine: &Embedded) -> DynamoDb {
    crate::store::patient(&crate::store::config(&engine.endpoint(), "client", "client-transactions"))
}
