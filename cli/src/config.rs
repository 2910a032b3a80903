//! What a host is told, who asks AWS, and the only place of this crate that reads the environment.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aft_protocol::settings::{self, Faults, Reader};
use aft_store::dynamodb::Credentials;

use crate::error::HostError;
use crate::log::LogSink;
use crate::process::Program;

/// The name of AFT's extension, which is its file's name: Lambda demands it.
pub const AFT_EXTENSION: &str = "aft-extension";
/// The file name of AFT's runtime shim.
pub const AFT_SHIM: &str = "aft-runtime-shim";

/// What a process inherits from the user. Everything else would be there on one machine and missing on Lambda.
const INHERITED: [&str; 3] = ["PATH", "HOME", "LANG"];
pub(crate) const CREDENTIALS: [&str; 3] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];
/// The embedded engine asks for credentials and does not look at them.
const LOCAL_CREDENTIALS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "local"), ("AWS_SECRET_ACCESS_KEY", "local")];

/// Who asks a DynamoDB, and in which region.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) region: String,
    pub(crate) credentials: Credentials,
}

/// As AWS's own tools say it in the environment; all faults at once.
pub(crate) fn account() -> Result<Account, Faults> {
    let mut variables: BTreeMap<_, _> = env::vars().filter(|(name, _)| name.starts_with("AWS_")).collect();
    if let Some(region) = variables.get("AWS_DEFAULT_REGION").cloned() {
        variables.entry("AWS_REGION".to_owned()).or_insert(region);
    }
    let mut reader = Reader::new(variables);
    let region = reader.required_variable("AWS_REGION", "name the region of the tables");
    let credentials = Credentials::read(&mut reader);
    reader.finish().map(|()| Account { region, credentials })
}

/// The same for an engine that may not care: where the environment says nothing, anything will do.
pub(crate) fn local_account() -> Account {
    let [id, secret] = LOCAL_CREDENTIALS.map(|(name, value)| env::var(name).unwrap_or_else(|_| value.to_owned()));
    let session_token = env::var("AWS_SESSION_TOKEN").ok();
    let region = env::var("AWS_REGION").or_else(|_| env::var("AWS_DEFAULT_REGION")).unwrap_or("us-east-1".into());
    Account { region, credentials: Credentials::Keys { access_key_id: id, secret_access_key: secret, session_token } }
}

/// What a host runs, and how.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// The function's name.
    pub function_name: String,
    /// `_HANDLER`.
    pub handler: String,
    /// The runtime process, without the layer's wrapper.
    pub command: Program,
    /// Where processes run; also `LAMBDA_TASK_ROOT`.
    pub working_directory: PathBuf,
    /// How many sandboxes may run at the same time.
    pub sandboxes: u32,
    /// The Invoke API's port on 127.0.0.1; 0 for any free one.
    pub port: u16,
    /// How long an invocation may take.
    pub timeout: Duration,
    /// How long a sandbox may take to start before the start is tried once more within the invocation.
    pub init_limit: Duration,
    /// The memory size that the function is told; nothing limits it.
    pub memory_mb: u32,
    /// How many synchronous invocations may wait for a sandbox.
    pub queue_limit: usize,
    /// After how long a failed asynchronous invocation is retried first; twice as long before the second retry.
    pub event_retry_delay: Duration,
    /// Whether a sandbox is frozen while it has nothing to do, as on Lambda. Off in [`HostConfig::new`], because a debugger
    /// that is attached to a function does not bear it.
    pub freeze: bool,
    /// Whether sandboxes start as under SnapStart: initialised, frozen, and restored before their first event.
    pub snap_start: bool,
    /// The region that the function is told.
    pub region: String,
    /// Variables of the user's environment that every process gets.
    pub inherited: BTreeMap<String, String>,
    /// The function's own variables, which count more than any other.
    pub environment: BTreeMap<String, String>,
    /// The extensions and the wrapper; `None` for a bare function.
    pub layer: Option<Layer>,
    /// Where the host makes its run directory.
    pub temporary_directory: PathBuf,
    /// Where log lines go.
    pub log: LogSink,
}

impl HostConfig {
    /// A host for a command: one sandbox, any free port, Lambda's limits, no layer, no log.
    ///
    /// # Errors
    /// [`HostError::WorkingDirectory`] if there is none.
    pub fn new(command: Program) -> Result<Self, HostError> {
        let inherited = INHERITED.into_iter().filter_map(|name| Some((name.to_owned(), env::var(name).ok()?)));
        let local = LOCAL_CREDENTIALS.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok(Self {
            function_name: "function".to_owned(),
            handler: "function.handler".to_owned(),
            command,
            working_directory: env::current_dir().map_err(HostError::WorkingDirectory)?,
            sandboxes: 1,
            port: 0,
            timeout: Duration::from_secs(30),
            init_limit: Duration::from_secs(10),
            memory_mb: 128,
            queue_limit: 100,
            event_retry_delay: Duration::from_secs(1),
            freeze: false,
            snap_start: false,
            region: env::var("AWS_REGION").or_else(|_| env::var("AWS_DEFAULT_REGION")).unwrap_or("us-east-1".into()),
            inherited: inherited.chain(local).collect(),
            environment: BTreeMap::new(),
            layer: None,
            temporary_directory: env::temp_dir(),
            log: LogSink::discard(),
        })
    }

    /// Hands the user's AWS credentials to the processes, if there are any, for an endpoint that checks them.
    pub fn inherit_credentials(&mut self) {
        let user: BTreeMap<_, _> =
            CREDENTIALS.into_iter().filter_map(|name| Some((name.to_owned(), env::var(name).ok()?))).collect();
        if !user.is_empty() {
            self.inherited.retain(|name, _| !CREDENTIALS.contains(&name.as_str()));
            self.inherited.extend(user);
        }
    }

    /// The faults that can be seen before anything starts.
    pub(crate) fn check(&self) -> Result<(), HostError> {
        if self.command.executable.as_os_str().is_empty() {
            return Err(HostError::NoCommand);
        }
        if !is_found(&self.command.executable, &self.working_directory, self.inherited.get("PATH")) {
            return Err(HostError::CommandNotFound(self.command.executable.clone()));
        }
        if self.sandboxes == 0 {
            return Err(HostError::NoSandboxes);
        }
        if self.timeout.is_zero() {
            return Err(HostError::NoTime);
        }
        let own = [settings::PORT.name, settings::CONTROL_SOCKET.name];
        match own.into_iter().find(|name| self.sandboxes > 1 && self.environment.contains_key(*name)) {
            Some(name) => Err(HostError::SharedVariable { name, sandboxes: self.sandboxes }),
            None => Ok(()),
        }
    }
}

/// An extension: a process that Lambda starts beside the runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtensionProgram {
    /// The name it registers with, on Lambda its file's name.
    pub name: String,
    /// What is started.
    pub program: Program,
}

/// What a Lambda layer adds to a function.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layer {
    /// Its extensions, all started before the runtime.
    pub extensions: Vec<ExtensionProgram>,
    /// What is put before the runtime's command, in the manner of `AWS_LAMBDA_EXEC_WRAPPER`.
    pub wrapper: Option<Program>,
    /// Its settings. `AFT_PORT` and `AFT_CONTROL_SOCKET` are added, for each sandbox its own.
    pub settings: BTreeMap<String, String>,
    /// Folders of libraries, by the variable with which Lambda lets the function's language find them.
    pub libraries: BTreeMap<&'static str, PathBuf>,
}

impl Layer {
    /// AFT's layer, from its two binaries; [`crate::Engine::connect`] adds the settings that it needs.
    ///
    /// # Errors
    /// [`HostError::LayerIncomplete`] if one of them is missing.
    pub fn aft(binaries: &LayerBinaries) -> Result<Self, HostError> {
        for path in [&binaries.extension, &binaries.shim] {
            if !path.is_file() {
                return Err(HostError::LayerIncomplete(path.clone()));
            }
        }
        let extension = ExtensionProgram { name: AFT_EXTENSION.to_owned(), program: Program::new(&binaries.extension) };
        let wrapper = Some(Program::new(&binaries.shim));
        let libraries = binaries.shim.parent().map(libraries_in).unwrap_or_default();
        Ok(Self { extensions: vec![extension], wrapper, libraries, ..Self::default() })
    }
}

/// Where AFT's two binaries lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerBinaries {
    /// The extension.
    pub extension: PathBuf,
    /// The runtime shim.
    pub shim: PathBuf,
}

impl LayerBinaries {
    /// In a layer's directory, with the extension under `extensions/`; or side by side, as Cargo builds them.
    #[must_use]
    pub fn found_in(directory: &Path) -> Self {
        let extensions = directory.join("extensions");
        let shim = absolute(&directory.join(AFT_SHIM));
        let extension = if extensions.is_dir() { extensions } else { directory.to_owned() }.join(AFT_EXTENSION);
        Self { extension: absolute(&extension), shim }
    }

    /// Both beside the running executable.
    #[must_use]
    pub fn beside_this_executable() -> Self {
        let executable = env::current_exe().unwrap_or_default();
        Self::found_in(executable.parent().unwrap_or(Path::new(".")))
    }
}

/// Those of Lambda's folders for libraries that the layer's directory has.
fn libraries_in(directory: &Path) -> BTreeMap<&'static str, PathBuf> {
    let folders = [("PYTHONPATH", "python"), ("NODE_PATH", "nodejs/node_modules")];
    let folders = folders.map(|(variable, folder)| (variable, directory.join(folder)));
    folders.into_iter().filter(|(_, folder)| folder.is_dir()).collect()
}

/// Processes are started in the function's directory, where a relative path would mean another file.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Whether a program can be started: a path as it stands, a bare name in `PATH`.
fn is_found(program: &Path, directory: &Path, search: Option<&String>) -> bool {
    if program.components().count() > 1 {
        return directory.join(program).is_file();
    }
    let search = search.map(OsString::from).unwrap_or_default();
    env::split_paths(&search).any(|directory| directory.join(program).is_file())
}
