//! Just enough of Lambda's two APIs for one sandbox: an extension registers, extension and runtime ask for events, and get those
//! that they are given.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::Error;
use crate::process::PATIENCE;

/// How long an invocation may take.
const DEADLINE: Duration = Duration::from_secs(30);
const ARN: &str = "arn:aws:lambda:us-east-1:111122223333:function:function";

/// A call of one of the processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// `/extension/register`.
    Register,
    /// `/extension/event/next`: it is ready.
    Next,
    /// `/runtime/invocation/next`: so is the runtime.
    RuntimeNext,
    /// `/runtime/invocation/ID/response`.
    Response,
    /// Something else, most likely `init/error`.
    Other,
}

/// A call, when it came, and what it said.
#[derive(Debug, Clone)]
struct Noted {
    call: Call,
    at: Instant,
    body: Bytes,
}

/// What is given to whom.
#[derive(Debug)]
struct Events {
    /// Request IDs.
    given: watch::Sender<Vec<String>>,
    to_extension: AtomicUsize,
    to_runtime: AtomicUsize,
}

impl Events {
    /// The next event for who has had so many, once it is given.
    async fn next(&self, had: &AtomicUsize) -> Response<Full<Bytes>> {
        let index = had.fetch_add(1, Ordering::SeqCst);
        let mut given = self.given.subscribe();
        // Fails only without a sender, and that is here.
        let given = given.wait_for(|given| given.len() > index).await;
        given.ok().and_then(|given| given.get(index).map(|request| event(request))).unwrap_or_default()
    }
}

/// The APIs; they listen for as long as this lives.
#[derive(Debug)]
pub struct Lambda {
    address: SocketAddr,
    events: Arc<Events>,
    calls: UnboundedReceiver<Noted>,
    passed: VecDeque<Noted>,
    server: JoinHandle<()>,
}

impl Lambda {
    /// Listens on a free port.
    ///
    /// # Errors
    /// If there is none.
    pub async fn start() -> Result<Self, Error> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (noted, calls) = unbounded_channel();
        let (to_extension, to_runtime) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let events = Arc::new(Events { given: watch::Sender::default(), to_extension, to_runtime });
        let server = tokio::spawn(serve(listener, noted, Arc::clone(&events)));
        Ok(Self { address, events, calls, passed: VecDeque::new(), server })
    }

    /// What `AWS_LAMBDA_RUNTIME_API` says.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Gives an event to each process that asks for one.
    pub fn invoke(&self, request: impl Into<String>) {
        self.events.given.send_modify(|given| given.push(request.into()));
    }

    /// Waits for the next call of this kind, and says when it came. Others are kept for who waits for them.
    ///
    /// # Errors
    /// If none came, or one that Lambda would call a failure.
    pub async fn called(&mut self, expected: Call) -> Result<Instant, Error> {
        Ok(self.noted(expected).await?.at)
    }

    /// Waits for the next response, and says when it came, and what it was.
    ///
    /// # Errors
    /// As [`Lambda::called`].
    pub async fn responded(&mut self) -> Result<(Instant, Bytes), Error> {
        let Noted { at, body, .. } = self.noted(Call::Response).await?;
        Ok((at, body))
    }

    async fn noted(&mut self, expected: Call) -> Result<Noted, Error> {
        let passed = self.passed.iter().position(|noted| noted.call == expected);
        if let Some(noted) = passed.and_then(|index| self.passed.remove(index)) {
            return Ok(noted);
        }
        loop {
            match timeout(PATIENCE, self.calls.recv()).await {
                Ok(Some(noted)) if noted.call == expected => return Ok(noted),
                Ok(Some(Noted { call: Call::Other, body, .. })) => {
                    return Err(format!("{expected:?} was to come; a failure came: {body:?}").into());
                }
                Ok(Some(other)) => self.passed.push_back(other),
                Ok(None) | Err(_) => return Err(format!("{expected:?} did not come").into()),
            }
        }
    }
}

impl Drop for Lambda {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, noted: UnboundedSender<Noted>, events: Arc<Events>) {
    while let Ok((stream, _)) = listener.accept().await {
        // A connection that refuses it works all the same, only later.
        let _ = stream.set_nodelay(true);
        tokio::spawn(connection(stream, noted.clone(), Arc::clone(&events)));
    }
}

async fn connection(stream: TcpStream, noted: UnboundedSender<Noted>, events: Arc<Events>) {
    let service = service_fn(|request| answer(request, &noted, &events));
    // A process that was killed is no event.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: Request<Incoming>,
    noted: &UnboundedSender<Noted>,
    events: &Events,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let at = Instant::now();
    let call = match request.uri().path() {
        "/2020-01-01/extension/register" => Call::Register,
        "/2020-01-01/extension/event/next" => Call::Next,
        "/2018-06-01/runtime/invocation/next" => Call::RuntimeNext,
        path if path.starts_with("/2018-06-01/runtime/invocation/") && path.ends_with("/response") => Call::Response,
        _ => Call::Other,
    };
    if matches!(call, Call::Next | Call::RuntimeNext) {
        // Nobody may be waiting any more.
        let _ = noted.send(Noted { call, at, body: Bytes::new() });
        let had = if call == Call::Next { &events.to_extension } else { &events.to_runtime };
        return Ok(events.next(had).await);
    }
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let _ = noted.send(Noted { call, at: if call == Call::Response { Instant::now() } else { at }, body });
    let mut response = Response::new(Full::from("{}"));
    let identifier = hyper::header::HeaderValue::from_static("bench");
    response.headers_mut().insert("lambda-extension-identifier", identifier);
    Ok(response)
}

/// Headers for the runtime and a document for the extension: either passes over what is the other's.
fn event(request: &str) -> Response<Full<Bytes>> {
    let deadline = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default() + DEADLINE;
    let deadline_ms = u64::try_from(deadline.as_millis()).unwrap_or_default();
    let document = json!({
        "eventType": "INVOKE", "deadlineMs": deadline_ms, "requestId": request, "invokedFunctionArn": ARN,
        "tracing": { "type": "X-Amzn-Trace-Id", "value": "" },
    });
    let headers =
        [("aws-request-id", request), ("deadline-ms", &deadline_ms.to_string()), ("invoked-function-arn", ARN)];
    let response = headers
        .into_iter()
        .fold(Response::builder(), |response, (name, value)| response.header(format!("lambda-runtime-{name}"), value));
    // A request ID that cannot be a header is answered with nothing, which no process takes for an event.
    response.body(Full::from(document.to_string())).unwrap_or_default()
}
