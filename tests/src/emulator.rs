//! AWS's own Runtime Interface Emulator, which runs the layer as it is shipped, under `/opt`, and behind the shim AWS's own Python runtime client with `examples/transfer-python`.
//!
//! One emulator is one sandbox. It lives in namespaces of its own: `/opt` is mounted for it alone, so that the host has
//! nothing to prepare and several run at once, and its processes end together with the shell that is the first of them.
//! That shell holds a pipe whose other end is here: they end with the test process, whatever ends that.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aft_cli::LayerBinaries;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::layer;
use crate::tools::{free_port, repository, tool};

/// The function's own time limit, as Lambda would set it.
const FUNCTION_TIMEOUT: Duration = Duration::from_secs(20);

/// An answer later than this never comes: the emulator answers a function that ran out of time.
const ANSWER_LIMIT: Duration = Duration::from_secs(40);

/// A start takes a tenth of a second, many more on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Where the layer's shim is.
pub const SHIM: &str = "/opt/aft-runtime-shim";

/// The first process in its namespace. With it, all others end: when the pipe closes, or when the emulator ends.
const GUARD_SCRIPT: &str = r#"
mount --bind "$1" /opt || exit 1
shift
exec 3<&0 </dev/null
"$@" 3<&- &
emulator=$!
{ read -r _ <&3; kill -KILL "$emulator"; } &
exec 3<&-
wait "$emulator"
"#;

/// A sandbox.
#[derive(Debug)]
pub struct Emulator {
    address: SocketAddr,
    /// `opt/`, the private temporary directory `tmp/`, and the log.
    directory: PathBuf,
    guard: Child,
}

/// What an invocation came to.
#[derive(Debug)]
pub struct Answer {
    /// 200 if the runtime answered, also with an error; 502 if it, or the extension, ended.
    pub status: u16,
    /// The function's response, or the error.
    pub body: Value,
}

impl Emulator {
    /// A sandbox whose layer has these settings, without `AFT_PORT` and `AFT_CONTROL_SOCKET`. Neither the extension nor
    /// the runtime starts before the first invocation.
    ///
    /// # Panics
    /// If it cannot be had: a binary of the layer or a tool is missing, namespaces are not allowed, or it does not answer.
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_python("examples/transfer-python", "app.handler", settings).await
    }

    /// The same with another Python function: a folder of the repository, and a handler.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub async fn start_python(folder: &str, handler: &str, settings: &[(&str, &str)]) -> Self {
        let python = tool("python").join("bin/python");
        let command = [SHIM, &python.to_string_lossy(), "-m", "awslambdaric", handler];
        Self::start_command(&command, &repository().join(folder), settings).await
    }

    /// The same with another command, run in this directory.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub async fn start_command(command: &[&str], function: &Path, settings: &[(&str, &str)]) -> Self {
        let emulator = tool("rie").join("aws-lambda-rie");
        let [port, runtime_api_port, aft_port] = [(); 3].map(|()| free_port());
        let directory = std::env::temp_dir().join(format!("aft-emulator-{}-{port}", std::process::id()));
        lay_out(&directory).unwrap_or_else(|error| panic!("{} cannot be laid out: {error}", directory.display()));
        let log = File::create(directory.join("log")).expect("a file in a directory of our own");

        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let guard = Command::new("unshare")
            .args(namespaces())
            .args(["sh", "-c", GUARD_SCRIPT, "sh"])
            .arg(directory.join("opt"))
            .arg(emulator)
            .args(["--runtime-api-address", &format!("127.0.0.1:{runtime_api_port}")])
            .args(["--runtime-interface-emulator-address", &address.to_string()])
            .args(["--log-level", "info"])
            .args(command)
            .current_dir(function)
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("TMPDIR", directory.join("tmp"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("AWS_LAMBDA_FUNCTION_NAME", "transfer")
            .env("AWS_LAMBDA_FUNCTION_TIMEOUT", FUNCTION_TIMEOUT.as_secs().to_string())
            .envs([("AWS_REGION", "us-east-1"), ("AWS_DEFAULT_REGION", "us-east-1")])
            .envs([("AWS_ACCESS_KEY_ID", "local"), ("AWS_SECRET_ACCESS_KEY", "local")])
            .env("AFT_PORT", aft_port.to_string())
            .env("AFT_CONTROL_SOCKET", directory.join("tmp/aft.sock"))
            .envs(settings.iter().copied())
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("a second handle of the log"))
            .stderr(log)
            .spawn()
            .expect("unshare can be started (util-linux)");
        let mut sandbox = Self { address, directory, guard };
        sandbox.until_it_answers().await;
        sandbox
    }

    /// One invocation; the emulator bears no second one beside it, hence `&mut`.
    ///
    /// # Panics
    /// If there is no answer, or one that is not JSON.
    pub async fn invoke(&mut self, event: &Value) -> Answer {
        let request = Request::post("/2015-03-31/functions/function/invocations")
            .body(event.to_string())
            .expect("a method, a path and a body");
        let (status, body) = send(self.address, request).await;
        let body = serde_json::from_slice(&body)
            .unwrap_or_else(|error| panic!("{status}, {error}: {}", String::from_utf8_lossy(&body)));
        Answer { status, body }
    }

    async fn until_it_answers(&mut self) {
        let limit = Instant::now() + START_LIMIT;
        while TcpStream::connect(self.address).await.is_err() {
            if let Some(status) = self.guard.try_wait().expect("the guard is our child") {
                panic!("the emulator ended, {status}: its log follows; `unshare` must be allowed to make namespaces");
            }
            assert!(Instant::now() < limit, "the emulator did not answer at {} in {START_LIMIT:?}", self.address);
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Emulator {
    /// Ends every process of the sandbox; a test that fails shows what they wrote.
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        if let Err(error) = self.guard.wait() {
            eprintln!("the sandbox may still run: {error}");
        }
        if std::thread::panicking() {
            let log = fs::read(self.directory.join("log")).unwrap_or_default();
            eprintln!("The sandbox wrote:\n{}", String::from_utf8_lossy(&log));
        }
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            eprintln!("{} is left behind: {error}", self.directory.display());
        }
    }
}

/// Sends one request on a connection of its own; returns status and body.
///
/// # Panics
/// If there is no answer within 40 seconds.
pub async fn send(address: SocketAddr, mut request: Request<String>) -> (u16, Bytes) {
    let host = address.to_string().parse().expect("an address is a header's value");
    request.headers_mut().insert(hyper::header::HOST, host);
    let exchange = async {
        let stream = TcpStream::connect(address).await.expect("the address is listened on");
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("a client's side of HTTP");
        tokio::spawn(connection);
        let answer = sender.send_request(request.map(Full::<Bytes>::from)).await.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.into_body().collect().await.expect("the whole answer").to_bytes())
    };
    timeout(ANSWER_LIMIT, exchange).await.unwrap_or_else(|_| panic!("no answer from {address} in {ANSWER_LIMIT:?}"))
}

/// Makes the directory with `tmp` and an `opt` that holds what the layer's zip would.
fn lay_out(directory: &Path) -> io::Result<()> {
    let LayerBinaries { shim, extension } = layer::binaries();
    fs::create_dir_all(directory.join("opt/extensions"))?;
    fs::create_dir(directory.join("tmp"))?;
    symlink(shim, directory.join("opt/aft-runtime-shim"))?;
    symlink(repository().join("layer/bootstrap"), directory.join("opt/bootstrap"))?;
    symlink(extension, directory.join("opt/extensions/aft-extension"))
}

/// A private `/opt` and, so that nothing outlives the sandbox, process numbers of its own. Who is not root is root in a
/// user namespace.
fn namespaces() -> Vec<&'static str> {
    let user = Command::new("id").arg("-u").output().expect("id can be started").stdout;
    let mut flags = vec!["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"];
    if user.trim_ascii() != b"0" {
        flags.extend(["--user", "--map-root-user"]);
    }
    flags
}
