//! Lambda's own runtime clients, each with the function of `tests/clients/<language>`; and one that shows every byte that
//! it is sent.
//!
//! What a client is known to do with and without the shim alike is said here, checked by the tests, and told in
//! `docs/clients.md`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tools::{Missing, optional_tool, repository};

/// What becomes of bytes that are no JSON when the function answers with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    /// They are the response.
    Raw,
    /// They are what follows the status and the headers of a streamed response.
    Streamed,
    /// The client has no way for them; the function answers with Base64.
    Base64,
}

/// A client and its function, ready to run.
#[derive(Debug, Clone)]
pub struct Client {
    /// Its language, and what is special about it.
    pub name: &'static str,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// What `_HANDLER` says.
    pub handler: &'static str,
    /// What its environment has beside Lambda's variables.
    pub environment: Vec<(&'static str, OsString)>,
    /// Where it runs.
    pub directory: PathBuf,
    /// Whether an echo is the event byte for byte; otherwise it is the same JSON.
    pub echoes_bytes: bool,
    /// What becomes of bytes that are no JSON.
    pub binary: Binary,
    /// Whether an error of the handler ends a response, as its trailers, instead of being posted to `/error`.
    pub errors_in_trailers: bool,
    /// Whether a handler that is not there fails the init; otherwise it fails every invocation.
    pub tells_init_errors: bool,
    /// Whether `Lambda-Runtime-Invocation-Id` comes back.
    pub names_invocation: bool,
    /// Whether its process goes on after a 410.
    pub survives_gone: bool,
    /// The events that end its process without an answer.
    pub fatal: &'static [&'static str],
}

impl Client {
    /// The same client, told to run a handler that is not there; `None` if handlers are part of its program.
    #[must_use]
    pub fn without_a_handler(&self) -> Option<Self> {
        let mut client = Self { handler: "missing.handler", ..self.clone() };
        *client.arguments.last_mut()? = "missing.handler".into();
        Some(client)
    }
}

/// The name of the one that is no library.
pub const RAW: &str = "raw";

/// The Java client's.
const MAIN: &str = "com.amazonaws.services.lambda.runtime.api.client.AWSLambda";
/// The property that says where its native part is.
const JNI: &str = "com.amazonaws.services.lambda.runtime.api.client.runtimeapi.NativeClient.JNI";

/// How a client is had, and by which name it is called until then.
pub type Recipe = (&'static str, fn() -> Result<Client, Missing>);

/// Those that this machine may not have.
pub const OPTIONAL: [Recipe; 5] =
    [("python", python), ("node", node), ("node-streaming", node_streaming), ("java", java), ("go", go)];

fn folder(language: &str) -> PathBuf {
    repository().join("tests/clients").join(language)
}

fn python() -> Result<Client, Missing> {
    let program = optional_tool("python")?.join("bin/python");
    Ok(Client {
        name: "python",
        program,
        arguments: ["-m", "awslambdaric", "app.handler"].map(OsString::from).into(),
        handler: "app.handler",
        environment: vec![("PYTHONDONTWRITEBYTECODE", "1".into())],
        directory: folder("python"),
        echoes_bytes: false,
        binary: Binary::Raw,
        errors_in_trailers: false,
        tells_init_errors: true,
        names_invocation: true,
        survives_gone: false,
        fatal: &[],
    })
}

fn node() -> Result<Client, Missing> {
    let client = optional_tool("node-client")?.join("node_modules/aws-lambda-ric/index.mjs");
    Ok(Client {
        name: "node",
        program: "node".into(),
        arguments: vec![client.into(), "app.handler".into()],
        handler: "app.handler",
        environment: Vec::new(),
        directory: folder("node"),
        echoes_bytes: false,
        binary: Binary::Base64,
        errors_in_trailers: false,
        tells_init_errors: true,
        names_invocation: false,
        survives_gone: true,
        fatal: &["an empty payload", "no JSON"],
    })
}

fn node_streaming() -> Result<Client, Missing> {
    let (handler, binary) = ("app.streaming", Binary::Streamed);
    Ok(Client { name: "node-streaming", handler, binary, errors_in_trailers: true, ..node()? })
}

/// Compiled anew each time: it takes a second.
fn java() -> Result<Client, Missing> {
    let jars = optional_tool("java-client")?;
    let classes = output("java");
    let class_path = format!("{}:{}/*", classes.display(), jars.display());
    let mut javac = Command::new("javac");
    javac.args(["-encoding", "UTF-8", "-d"]).arg(&classes).args(["-cp", &class_path]);
    build(javac.arg(folder("java").join("Function.java")));
    // By itself each process would unpack it to one and the same file in /tmp, under the feet of the others.
    let arch = if cfg!(target_arch = "aarch64") { "aarch_64" } else { "x86_64" };
    let native = jars.join(format!("jni/libaws-lambda-jni.linux-{arch}.so"));
    let native = format!("-D{JNI}={}", native.display());
    Ok(Client {
        name: "java",
        program: "java".into(),
        // As on Lambda: a start matters more than speed.
        arguments: [
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            "-Xshare:auto",
            &native,
            "-cp",
            &class_path,
            MAIN,
            "Function",
        ]
        .map(OsString::from)
        .into(),
        handler: "app.handler",
        environment: Vec::new(),
        directory: classes,
        echoes_bytes: true,
        binary: Binary::Raw,
        errors_in_trailers: false,
        tells_init_errors: false,
        names_invocation: false,
        survives_gone: false,
        fatal: &[],
    })
}

fn go() -> Result<Client, Missing> {
    let modules = optional_tool("go-client")?;
    let program = output("go").join("function");
    build_go(&folder("go"), &modules, &program);
    Ok(Client {
        name: "go",
        program,
        arguments: Vec::new(),
        handler: "app.handler",
        environment: Vec::new(),
        directory: folder("go"),
        echoes_bytes: true,
        binary: Binary::Raw,
        errors_in_trailers: false,
        tells_init_errors: false,
        names_invocation: false,
        survives_gone: false,
        fatal: &[],
    })
}

/// `lambda_runtime`: `clients/rust/main.rs`, which Cargo built.
#[must_use]
pub fn rust(program: &Path) -> Client {
    Client {
        name: "rust",
        program: program.to_owned(),
        arguments: Vec::new(),
        handler: "app.handler",
        environment: Vec::new(),
        directory: folder("rust"),
        echoes_bytes: true,
        binary: Binary::Streamed,
        errors_in_trailers: false,
        tells_init_errors: false,
        names_invocation: true,
        survives_gone: true,
        fatal: &["headers in Unicode"],
    }
}

/// No library: `clients/raw/main.rs`, which answers with every byte that it was sent.
#[must_use]
pub fn raw(program: &Path) -> Client {
    Client { name: RAW, directory: folder("raw"), names_invocation: false, fatal: &[], ..rust(program) }
}

/// A folder for what is built, which `make clean` removes.
pub(crate) fn output(language: &str) -> PathBuf {
    let folder = repository().join("target/clients").join(language);
    std::fs::create_dir_all(&folder).expect("the target folder can be written");
    folder
}

/// Builds the Go program in `folder` from what was fetched and checked, nothing else.
pub(crate) fn build_go(folder: &Path, modules: &Path, program: &Path) {
    let mut go = Command::new("go");
    go.args(["build", "-trimpath", "-buildvcs=false", "-o"]).arg(program).arg(".").current_dir(folder);
    go.env("GOMODCACHE", modules).env("GOPROXY", "off").env("GOTOOLCHAIN", "local").env("CGO_ENABLED", "0");
    build(go.env("GOFLAGS", "-mod=readonly -modcacherw"));
}

fn build(command: &mut Command) {
    let built = command.output().unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
    assert!(built.status.success(), "{command:?}: {}", String::from_utf8_lossy(&built.stderr));
}
