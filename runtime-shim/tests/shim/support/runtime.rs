//! The runtime: a process that the shim starts and that does as it is told, and its calls, made by the test in its name.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use hyper::client::conn::http1;
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::{Answer, soon};

/// Tells a process of this binary that it is a runtime, and where to report.
pub const STAGE: &str = "SHIM_TEST_STAGE";
/// The arguments that make this binary a runtime.
pub const ARGUMENTS: [&str; 3] = ["--exact", "support::runtime::runtime_process", "--nocapture"];
const SHOWN: [&str; 6] = [
    "AWS_LAMBDA_RUNTIME_API",
    "AFT_ENDPOINT",
    "AFT_TOKEN",
    "AFT_TOKEN_FILE",
    "AWS_LAMBDA_EXEC_WRAPPER",
    "SET_BY_THE_OTHER_WRAPPER",
];

/// Not a test: the runtime process itself.
#[test]
fn runtime_process() {
    let Ok(stage) = std::env::var(STAGE) else { return };
    let mut stage = std::net::TcpStream::connect(stage).unwrap();
    let shown: BTreeMap<_, _> = SHOWN.iter().filter_map(|name| Some((*name, std::env::var(name).ok()?))).collect();
    let hello = serde_json::json!({ "environment": shown, "pid": std::process::id() });
    writeln!(stage, "{hello}").unwrap();
    for order in BufReader::new(stage.try_clone().unwrap()).lines() {
        match order.unwrap().split_once(' ') {
            Some(("exit", code)) => std::process::exit(code.parse().unwrap()),
            // Not by this process's own Rust, which has a handler for SIGSEGV.
            Some(("die", signal)) => {
                let error = Command::new("sh").args(["-c", &format!("kill -{signal} $$")]).exec();
                panic!("{error}")
            }
            Some(("heed", "SIGTERM")) => heed_sigterm(&mut stage),
            Some(("ignore", "SIGTERM")) => ignore_sigterm(&stage),
            Some(("leave", "orphan")) => leave_orphan(&mut stage),
            Some(("wait", milliseconds)) => wait(&mut stage, milliseconds.parse().unwrap()),
            order => panic!("{order:?}"),
        }
    }
}

/// Becomes a process that ignores SIGTERM and holds the stage open.
fn ignore_sigterm(stage: &std::net::TcpStream) -> ! {
    let stage = std::os::fd::OwnedFd::from(stage.try_clone().unwrap());
    let script = "trap '' TERM; echo ready; while :; do sleep 1000; done";
    panic!("{}", Command::new("sh").args(["-c", script]).stdout(stage).exec())
}

/// Leaves a process in a session of its own behind, as a daemon forks twice. It holds the stage open for as long as it lives.
fn leave_orphan(stage: &mut std::net::TcpStream) {
    let held = std::os::fd::OwnedFd::from(stage.try_clone().unwrap());
    let script = "setsid sleep 1000 & echo left $!";
    let mut middle = Command::new("sh").args(["-c", script]).stdout(held).spawn().unwrap();
    middle.wait().unwrap();
}

/// Time passes.
fn wait(stage: &mut std::net::TcpStream, milliseconds: u64) {
    stage.set_read_timeout(Some(std::time::Duration::from_millis(milliseconds))).unwrap();
    let _ = std::io::Read::read(stage, &mut [0]);
    stage.set_read_timeout(None).unwrap();
    writeln!(stage, "waited").unwrap();
}

fn heed_sigterm(stage: &mut std::net::TcpStream) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut sigterm = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
        writeln!(stage, "ready").unwrap();
        sigterm.recv().await;
        writeln!(stage, "SIGTERM").unwrap();
    });
    std::process::exit(0);
}

/// A runtime process, as the test sees it.
pub struct Runtime {
    pub environment: BTreeMap<String, String>,
    pub pid: u32,
    stage: tokio::io::BufReader<TcpStream>,
}

impl Runtime {
    pub async fn new(stage: TcpStream) -> Self {
        let mut stage = tokio::io::BufReader::new(stage);
        let mut line = String::new();
        soon("the runtime's hello", stage.read_line(&mut line)).await.unwrap();
        let hello: serde_json::Value = serde_json::from_str(&line).unwrap();
        let environment = serde_json::from_value(hello["environment"].clone()).unwrap();
        let pid = serde_json::from_value(hello["pid"].clone()).unwrap();
        Self { environment, pid, stage }
    }

    pub fn api(&self) -> String {
        self.environment["AWS_LAMBDA_RUNTIME_API"].clone()
    }

    pub async fn order(&mut self, order: &str) {
        self.stage.get_mut().write_all(format!("{order}\n").as_bytes()).await.unwrap();
    }

    pub async fn line(&mut self) -> String {
        let mut line = String::new();
        soon("a line of the runtime", self.stage.read_line(&mut line)).await.unwrap();
        line.trim_end().to_owned()
    }

    /// Waits until the process is gone.
    pub async fn gone(mut self) {
        let mut rest = Vec::new();
        // A killed process's end may come as a reset.
        let _ = soon("the runtime's end", self.stage.read_to_end(&mut rest)).await;
    }

    pub async fn exit(mut self, code: u8) {
        self.order(&format!("exit {code}")).await;
        self.gone().await;
    }

    /// Dies by this signal: `KILL`, say.
    pub async fn die(mut self, signal: &str) {
        self.order(&format!("die {signal}")).await;
        self.gone().await;
    }

    /// Asks for an event, and goes on.
    pub fn next(&self) -> JoinHandle<Answer> {
        let api = self.api();
        let request = Request::get("/2018-06-01/runtime/invocation/next").header("User-Agent", "test-runtime/1");
        let request = request.body(Full::<Bytes>::default()).unwrap();
        tokio::spawn(async move { call(&api, request).await.unwrap() })
    }

    /// Says that it is ready for a snapshot, and goes on.
    pub fn restore(&self) -> JoinHandle<Answer> {
        let request = Request::get("/2018-06-01/runtime/restore/next").body(Full::<Bytes>::default()).unwrap();
        let api = self.api();
        tokio::spawn(async move { call(&api, request).await.unwrap() })
    }

    /// Posts, and goes on.
    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> JoinHandle<Answer> {
        let mut request = Request::post(format!("/2018-06-01/runtime/{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (api, request) = (self.api(), request.body(Full::new(body.into())).unwrap());
        tokio::spawn(async move { call(&api, request).await.unwrap() })
    }

    /// The handler of this request answers.
    pub fn respond(&self, request: &str, body: impl Into<Bytes>) -> JoinHandle<Answer> {
        self.post(&format!("invocation/{request}/response"), &[("Content-Type", "application/json")], body)
    }

    /// The handler of this request fails.
    pub fn fail(&self, request: &str) -> JoinHandle<Answer> {
        let path = format!("invocation/{request}/error");
        self.post(&path, &[("Lambda-Runtime-Function-Error-Type", "Handler.Oops")], HANDLER_ERROR)
    }

    /// A response with trailers, in chunks.
    pub fn stream(&self, request: &str, body: &'static str, trailers: HeaderMap) -> JoinHandle<Answer> {
        let names: Vec<_> = trailers.keys().map(|name| name.as_str()).collect();
        let head = Request::post(format!("/2018-06-01/runtime/invocation/{request}/response"))
            .header("Content-Type", "application/vnd.awslambda.http-integration-response")
            .header("Lambda-Runtime-Function-Response-Mode", "streaming")
            .header("Transfer-Encoding", "chunked")
            .header("Trailer", names.join(", "));
        let body = Full::new(Bytes::from(body)).with_trailers(std::future::ready(Some(Ok(trailers))));
        let (api, request) = (self.api(), head.body(body).unwrap());
        tokio::spawn(async move { call(&api, request).await.unwrap() })
    }
}

/// What [`Runtime::fail`] posts: not the bytes that any JSON library would write.
pub const HANDLER_ERROR: &str = r#"{ "errorType":"Handler.Oops",  "errorMessage" : "no\u0020money" }"#;

/// One call on a connection of its own.
pub async fn call<B>(api: &str, mut request: Request<B>) -> Result<Answer, hyper::Error>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    request.headers_mut().insert("Host", api.parse().unwrap());
    let stream = TcpStream::connect(api).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let (head, incoming) = sender.send_request(request).await?.into_parts();
    let body = incoming.collect().await?.to_bytes();
    connection.abort();
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
}
