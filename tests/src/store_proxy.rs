//! A DynamoDB endpoint in front of another one, that knows the store's requests and can be told to stop one: before the
//! engine gets it (it has no effect), or after the engine has answered (it has its effect, and nobody knows).
//!
//! A test sets one trap. What falls into it waits until the test decides, and so the test acts at exactly that instant.
//!
//! It also asks the engine what each request consumed ([`StoreProxy::consumed`]), which the store itself does not.

use std::collections::{BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1 as client;
use hyper::header::CONTENT_LENGTH;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::soon;

/// A request of the store's, as far as tests tell them apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreRequest {
    /// A read of commit records: the duplicate check, or a reader that needs one.
    Records,
    /// A read of this key's head.
    Read(String),
    /// A read of several heads.
    ReadMany,
    /// A chunk of a record is written.
    Chunk,
    /// A record is written, on its condition: the commit.
    Record,
    /// This key's head is moved.
    Head(String),
    /// A record is written and so many keys are checked or moved, in one step: the commit.
    Step(usize),
    /// So many keys are looked at at one moment.
    AtOnce(usize),
    /// Anything else: the probe of the tables.
    Other,
}

impl StoreRequest {
    fn of(operation: &str, body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |value: &Value| value["S"].as_str().unwrap_or_default().to_owned();
        let of_records = |key: &Value| key.get("part").is_some();
        match operation {
            "DynamoDB_20120810.GetItem" if of_records(&body["Key"]) => Self::Records,
            "DynamoDB_20120810.GetItem" => Self::Read(text(&body["Key"]["k"])),
            "DynamoDB_20120810.BatchGetItem" => {
                let tables = body["RequestItems"].as_object();
                let first = tables.and_then(|tables| tables.values().next()).map(|keys| &keys["Keys"][0]);
                if first.is_some_and(of_records) { Self::Records } else { Self::ReadMany }
            }
            "DynamoDB_20120810.PutItem" if text(&body["Item"]["part"]) == "commit" => Self::Record,
            "DynamoDB_20120810.PutItem" => Self::Chunk,
            "DynamoDB_20120810.UpdateItem" => Self::Head(text(&body["Key"]["k"])),
            "DynamoDB_20120810.TransactWriteItems" => Self::Step(actions(&body).count() - 1),
            "DynamoDB_20120810.TransactGetItems" => Self::AtOnce(actions(&body).count()),
            _ => Self::Other,
        }
    }
}

/// On which side of its effect a request is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The engine has not got it.
    Arrived,
    /// The engine has answered; the caller has not got that.
    Answered,
}

/// What becomes of a request that was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// Its connection breaks.
    Cut,
    /// It is answered by DynamoDB's "internal server error".
    Fail,
    /// It is answered by DynamoDB's "throughput exceeded".
    Throttle,
}

/// Which requests are stopped.
type Catches = fn(&StoreRequest) -> bool;

struct Trap {
    catches: Catches,
    point: Point,
    /// What has fallen into it.
    caught: usize,
    /// `None`: whatever falls into it waits. Used up: whatever falls into it goes on.
    verdicts: Option<VecDeque<Verdict>>,
}

#[derive(Default)]
struct State {
    trap: Option<Trap>,
    away: bool,
    /// What was answered and passed on, and the capacity units that it consumed, if the engine says so: it does not for a
    /// write that it refused.
    done: Vec<(StoreRequest, Option<f64>)>,
    /// Each operation that arrived, and its table.
    operations: BTreeSet<(String, String)>,
}

impl State {
    /// What is to become of a request; `None`: it waits. `counted`: it has been here before.
    fn decide(&mut self, request: &StoreRequest, point: Point, counted: &mut bool) -> Option<Verdict> {
        if self.away {
            return Some(Verdict::Cut);
        }
        let Some(trap) = self.trap.as_mut().filter(|trap| trap.point == point && (trap.catches)(request)) else {
            return Some(Verdict::Pass);
        };
        trap.caught += usize::from(!std::mem::replace(counted, true));
        trap.verdicts.as_mut().map(|verdicts| verdicts.pop_front().unwrap_or(Verdict::Pass))
    }
}

/// The proxy. It ends when this is dropped.
pub struct StoreProxy {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    server: JoinHandle<()>,
}

impl StoreProxy {
    /// A proxy in front of the engine at this URL. It lets everything pass until it is told otherwise.
    ///
    /// # Panics
    /// If there is no port.
    pub async fn start(engine: &str) -> Self {
        let engine = engine.trim_start_matches("http://").parse().expect("an engine on this machine has an address");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a port that was bound");
        let state = Arc::new(watch::Sender::new(State::default()));
        let proxied = Proxied { engine, state: Arc::clone(&state) };
        let server = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(proxied.clone().connection(stream));
            }
        });
        Self { address, state, server }
    }

    /// The URL to give to the layer.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on, requests that `catches` chooses wait at this point.
    pub fn trap(&self, catches: Catches, point: Point) {
        let trap = Trap { catches, point, caught: 0, verdicts: None };
        self.state.send_modify(|state| state.trap = Some(trap));
    }

    /// Waits until so many requests are in the trap.
    ///
    /// # Panics
    /// If that does not happen.
    pub async fn caught(&self, count: usize) {
        self.until("a request in the trap", |state| state.trap.as_ref().is_some_and(|trap| trap.caught >= count)).await;
    }

    /// Waits until the caller has got the answer to such a request.
    ///
    /// # Panics
    /// If that does not happen.
    pub async fn done(&self, wanted: &StoreRequest) {
        self.until("a request of the store", |state| state.done.iter().any(|(request, _)| request == wanted)).await;
    }

    /// Decides: the first requests in the trap get these verdicts, one each, and all others pass.
    pub fn decide(&self, verdicts: &[Verdict]) {
        self.state.send_modify(|state| {
            if let Some(trap) = &mut state.trap {
                trap.verdicts = Some(verdicts.iter().copied().collect());
            }
        });
    }

    /// From now on, every connection breaks, also those of requests that wait.
    pub fn go_away(&self) {
        self.state.send_modify(|state| state.away = true);
    }

    /// How many requests of this kind were answered and passed on.
    #[must_use]
    pub fn count(&self, wanted: &StoreRequest) -> usize {
        self.state.borrow().done.iter().filter(|(request, _)| request == wanted).count()
    }

    /// Every request that was answered and passed on, with the capacity units that it consumed, in order; forgets them.
    #[must_use]
    pub fn consumed(&self) -> Vec<(StoreRequest, Option<f64>)> {
        let mut done = Vec::new();
        self.state.send_if_modified(|state| {
            done = std::mem::take(&mut state.done);
            false
        });
        done
    }

    /// Each operation that was sent so far, and its table.
    #[must_use]
    pub fn operations(&self) -> BTreeSet<(String, String)> {
        self.state.borrow().operations.clone()
    }

    /// How many requests of any kind were.
    #[must_use]
    pub fn all(&self) -> usize {
        self.state.borrow().done.len()
    }

    async fn until(&self, what: &str, reached: impl FnMut(&State) -> bool) {
        let mut state = self.state.subscribe();
        soon(what, state.wait_for(reached)).await.expect("this proxy holds the sender");
    }
}

impl Drop for StoreProxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A connection breaks.
#[derive(Debug)]
struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection breaks, as it was told")
    }
}

impl std::error::Error for Broken {}

#[derive(Clone)]
struct Proxied {
    engine: SocketAddr,
    state: Arc<watch::Sender<State>>,
}

impl Proxied {
    async fn connection(self, stream: TcpStream) {
        // Fails only if the caller has gone.
        let _ = stream.set_nodelay(true);
        let service = service_fn(|request| self.answer(request));
        // Broken by the other side, or by us.
        let _ = server::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Broken> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Broken)?.to_bytes();
        let operation = head.headers.get("x-amz-target").and_then(|name| name.to_str().ok()).unwrap_or_default();
        let known = StoreRequest::of(operation, &body);
        let operations = operations(operation, &body);
        self.state.send_modify(|state| state.operations.extend(operations));
        if let Some(refused) = refusal(self.verdict(&known, Point::Arrived).await)? {
            return Ok(refused);
        }
        let request = Request::from_parts(head, Full::new(asking_what_it_consumes(&body)));
        let (answer, consumed) = self.forward(request).await.map_err(|_| Broken)?;
        if let Some(refused) = refusal(self.verdict(&known, Point::Answered).await)? {
            return Ok(refused);
        }
        self.state.send_modify(|state| state.done.push((known, consumed)));
        Ok(answer)
    }

    async fn verdict(&self, request: &StoreRequest, point: Point) -> Verdict {
        let mut changes = self.state.subscribe();
        let mut counted = false;
        loop {
            let mut decision = None;
            self.state.send_if_modified(|state| {
                let was = counted;
                decision = state.decide(request, point, &mut counted);
                counted != was
            });
            match decision {
                Some(verdict) => return verdict,
                // The sender is ours: it cannot be gone.
                None => drop(changes.changed().await),
            }
        }
    }

    async fn forward(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(Response<Full<Bytes>>, Option<f64>), hyper::Error> {
        // It has another length now, which hyper knows; and engines on this machine do not check signatures.
        request.headers_mut().remove(CONTENT_LENGTH);
        let stream = TcpStream::connect(self.engine).await.expect("the engine listens");
        let (mut sender, connection) = client::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        let consumed = consumed(&body);
        Ok((Response::from_parts(head, Full::new(body)), consumed))
    }
}

/// The request, with the wish to be told what it consumes.
fn asking_what_it_consumes(body: &Bytes) -> Bytes {
    match serde_json::from_slice(body) {
        Ok(Value::Object(mut fields)) => {
            fields.insert("ReturnConsumedCapacity".to_owned(), "TOTAL".into());
            Value::Object(fields).to_string().into()
        }
        Ok(_) | Err(_) => body.clone(),
    }
}

fn consumed(body: &[u8]) -> Option<f64> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let units = |table: &Value| table["CapacityUnits"].as_f64();
    match &answer["ConsumedCapacity"] {
        Value::Array(tables) => tables.iter().map(units).sum(),
        table => units(table),
    }
}

/// What a request asks of which table. A transaction asks for what its actions are, each by its own name: that is what must
/// be permitted.
fn operations(operation: &str, body: &[u8]) -> Vec<(String, String)> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let named = operation.rsplit('.').next().unwrap_or_default();
    let of = |name: &str, action: &Value| Some((name.to_owned(), action["TableName"].as_str()?.to_owned()));
    if let Some(tables) = body["RequestItems"].as_object() {
        return tables.keys().map(|table| (named.to_owned(), table.clone())).collect();
    }
    let actions = actions(&body).filter_map(|(name, action)| of(&format!("{name}Item"), action));
    actions.chain(of(named, &body)).collect()
}

/// What a transaction consists of.
fn actions(body: &Value) -> impl Iterator<Item = (&String, &Value)> {
    body["TransactItems"].as_array().into_iter().flatten().filter_map(Value::as_object).flatten()
}

/// The answer that a verdict gives; `None` if the request goes on.
fn refusal(verdict: Verdict) -> Result<Option<Response<Full<Bytes>>>, Broken> {
    let error = |status: StatusCode, code: &str| {
        let body = format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"as it was told"}}"#);
        let mut answer = Response::new(Full::from(body));
        *answer.status_mut() = status;
        Ok(Some(answer))
    };
    match verdict {
        Verdict::Pass => Ok(None),
        Verdict::Cut => Err(Broken),
        Verdict::Fail => error(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError"),
        Verdict::Throttle => error(StatusCode::BAD_REQUEST, "ProvisionedThroughputExceededException"),
    }
}
