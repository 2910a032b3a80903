//! A shim with Lambda above, the extension beside and a runtime below it.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, UnixListener};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use super::runtime::{ARGUMENTS, STAGE};
use super::{Answer, Call, Runtime, call, soon};

pub const SHIM: &str = env!("CARGO_BIN_EXE_aft-runtime-shim");
pub const NEXT: &str = "/2018-06-01/runtime/invocation/next";

static WORLDS: AtomicU32 = AtomicU32::new(0);

pub struct World {
    log: mpsc::UnboundedReceiver<String>,
    lambda: mpsc::UnboundedReceiver<Call>,
    extension: mpsc::UnboundedReceiver<Call>,
    extension_task: JoinHandle<()>,
    lambda_task: JoinHandle<()>,
    stage: TcpListener,
    shim: Child,
    directory: PathBuf,
}

/// A shim's command line before its own settings.
pub fn shim(runtime_api: &str) -> Command {
    let mut command = Command::new(SHIM);
    command
        .env("AWS_LAMBDA_RUNTIME_API", runtime_api)
        .env("AWS_LAMBDA_FUNCTION_NAME", "transfer")
        .env("AWS_LAMBDA_EXEC_WRAPPER", SHIM)
        .env("AFT_LOG", "debug")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// A directory of this test's own.
pub fn directory() -> PathBuf {
    let number = WORLDS.fetch_add(1, Ordering::Relaxed);
    let directory = std::env::temp_dir().join(format!("aft-shim-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// A scripted Lambda: its address, and what it hears; streamed responses as they come, if the test reads them `live`.
pub async fn lambda(live: bool) -> (String, mpsc::UnboundedReceiver<Call>, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (heard, calls) = mpsc::unbounded_channel();
    let task = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            connections.spawn(call::serve(stream, heard.clone(), live));
        }
    });
    (address, calls, task)
}

impl World {
    /// A world whose shim has attached. The runtime is on its way.
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        let live = settings.contains(&("AFT_STREAMING", "pass-through"));
        let (api, lambda, lambda_task) = lambda(live).await;
        Self::start_with(&api, lambda, lambda_task, settings).await
    }

    pub async fn start_with(
        api: &str,
        lambda: mpsc::UnboundedReceiver<Call>,
        lambda_task: JoinHandle<()>,
        settings: &[(&str, &str)],
    ) -> Self {
        let directory = directory();
        let socket = directory.join("control.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let (heard, extension) = mpsc::unbounded_channel();
        let extension_task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(call::serve(stream, heard.clone(), false));
            }
        });
        let stage = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut command = shim(api);
        command
            .env("AFT_CONTROL_SOCKET", &socket)
            .env(STAGE, stage.local_addr().unwrap().to_string())
            .envs(settings.iter().copied())
            .arg(std::env::current_exe().unwrap())
            .args(ARGUMENTS);
        let mut shim = command.spawn().unwrap();
        let mut lines = BufReader::new(shim.stderr.take().unwrap()).lines();
        let (logged, log) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                // Shown by a test that fails.
                eprintln!("{line}");
                let _ = logged.send(line);
            }
        });
        let mut world = Self { log, lambda, extension, extension_task, lambda_task, stage, shim, directory };
        world.greet("/control/v1/attach", "secret").await;
        world
    }

    /// The extension answers the shim's hello.
    pub async fn greet(&mut self, path: &str, token: &str) {
        let hello = self.control(path).await;
        let sandbox = "0".repeat(26);
        let attached = serde_json::json!({ "endpoint": "http://127.0.0.1:7321", "token": token, "sandbox": sandbox });
        hello.answer(200, &[("Content-Type", "application/json")], attached.to_string());
    }

    /// The next runtime process that the shim starts.
    pub async fn runtime(&self) -> Runtime {
        let (stream, _) = soon("a runtime", self.stage.accept()).await.unwrap();
        Runtime::new(stream).await
    }

    /// What Lambda hears next.
    pub async fn lambda(&mut self, path: &str) -> Call {
        let call = soon(path, self.lambda.recv()).await.unwrap();
        assert_eq!(call.path, path);
        call
    }

    /// What the extension hears next.
    pub async fn control(&mut self, path: &str) -> Call {
        let call = soon(path, self.extension.recv()).await.unwrap();
        assert_eq!((call.method.as_str(), call.path.as_str()), ("POST", path));
        call
    }

    pub async fn begin(&mut self, attempt: u64) -> Call {
        let call = self.control("/control/v1/begin").await;
        assert_eq!(call.json()["attempt"], attempt);
        call
    }

    /// The shim asks, before the first byte of a stream, whether the transaction has committed before.
    pub async fn known(&mut self, attempt: u64) -> Call {
        let call = self.control("/control/v1/known").await;
        assert_eq!(call.header("x-aft-attempt"), attempt.to_string());
        call
    }

    pub async fn commit(&mut self, attempt: u64) -> Call {
        let call = self.control("/control/v1/commit").await;
        assert_eq!(call.header("x-aft-attempt"), attempt.to_string());
        call
    }

    pub async fn abort(&mut self, attempt: u64) -> Call {
        let call = self.control("/control/v1/abort").await;
        assert_eq!(call.header("x-aft-attempt"), attempt.to_string());
        call
    }

    /// The shim ends the invocation, after Lambda has its answer.
    pub async fn ended(&mut self, request: &str) {
        let call = self.control("/control/v1/end").await;
        assert_eq!(call.json(), serde_json::json!({ "request": request }));
        call.answer(204, &[], "");
    }

    /// Lambda hears an answer to this request, and takes it.
    pub async fn taken(&mut self, request: &str, ending: &str) -> Call {
        let path = format!("/2018-06-01/runtime/invocation/{request}/{ending}");
        soon(&path, self.lambda.recv()).await.inspect(|call| assert_eq!(call.path, path)).unwrap()
    }

    /// The shim's log says so.
    pub async fn logged(&mut self, text: &str) {
        while !soon(text, self.log.recv()).await.unwrap().contains(text) {}
    }

    /// Neither Lambda nor the extension has heard anything that the test has not asked for.
    pub fn nothing_more_heard(&mut self) {
        let paths = [self.lambda.try_recv(), self.extension.try_recv()].map(|call| call.ok().map(|call| call.path));
        assert_eq!(paths, [None, None]);
    }

    /// A runtime with an event, in its first attempt.
    pub async fn delivered(&mut self, request: &str, body: &'static [u8]) -> (Runtime, Answer) {
        let runtime = self.runtime().await;
        let event = self.deliver(&runtime, request, body).await;
        (runtime, event)
    }

    /// Gives the next event to this runtime.
    pub async fn deliver(&mut self, runtime: &Runtime, request: &str, body: &'static [u8]) -> Answer {
        let next = runtime.next();
        event(self.lambda(NEXT).await, request, body);
        self.begin(1).await.outcome("open");
        self.received(next).await
    }

    pub async fn received(&self, next: JoinHandle<Answer>) -> Answer {
        let event = soon("the event", next).await.unwrap();
        assert_eq!(event.status, 200);
        event
    }

    /// The sandbox goes on: another runtime takes the next event, and answers it.
    pub async fn lives_on(&mut self) {
        let runtime = self.runtime().await;
        self.deliver(&runtime, "r-2", b"{}").await;
        self.succeed(&runtime, "r-2", 1).await;
    }

    /// The event, for a runtime that was not there when the first attempt at it began: the look-up is asked first.
    pub async fn received_late(&mut self, runtime: &Runtime) -> Answer {
        let next = runtime.next();
        self.known(1).await.outcome("open");
        self.received(next).await
    }

    /// From the handler's response to the end of the invocation, with nothing in the way.
    pub async fn succeed(&mut self, runtime: &Runtime, request: &str, attempt: u64) {
        let response = runtime.respond(request, "\"done\"");
        self.commit(attempt).await.outcome("committed");
        let taken = self.taken(request, "response").await;
        assert_eq!(taken.body, "\"done\"");
        taken.accept();
        assert_eq!(soon("the answer", response).await.unwrap().status, 202);
        self.ended(request).await;
    }

    pub fn kill_shim(&self, signal: Signal) {
        let pid = i32::try_from(self.shim_id()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    pub async fn shim_ended(&mut self) -> ExitStatus {
        soon("the shim's end", self.shim.wait()).await.unwrap()
    }

    pub fn shim_id(&self) -> u32 {
        self.shim.id().unwrap()
    }
    /// The extension dies.
    pub fn extension_dies(&self) {
        self.extension_task.abort();
    }

    /// Lambda is no more.
    pub fn lambda_dies(&self) {
        self.lambda_task.abort();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Answers `/next` with an event whose deadline is a minute away.
pub fn event(call: Call, request: &str, body: &'static [u8]) {
    event_within(call, request, body, Duration::from_secs(60));
}

/// Answers `/next` with an event whose deadline is that far away.
pub fn event_within(call: Call, request: &str, body: &'static [u8], left: Duration) {
    let deadline = deadline_ms(left).to_string();
    let headers = [
        ("Lambda-Runtime-Aws-Request-Id", request),
        ("Lambda-Runtime-Invocation-Id", &format!("invocation-of-{request}")),
        ("Lambda-Runtime-Deadline-Ms", &deadline),
        ("Lambda-Runtime-Trace-Id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700"),
        ("X-Unknown", "kept"),
        ("Content-Type", "application/json"),
    ];
    call.answer(200, &headers, body);
}

#[allow(clippy::disallowed_methods, reason = "deadlines are told in wall-clock time")]
fn deadline_ms(left: Duration) -> u128 {
    (SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() + left).as_millis()
}
