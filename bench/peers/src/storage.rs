//! The storage under test: a DynamoDB engine behind a door that makes every request as slow as the model says, and writes down
//! what went through it.
//!
//! A request is answered when the engine has answered and the model's time is over, whichever is later: so the engine's own
//! time does not count, as long as it is the smaller one, and [`Traffic::overruns`] says how often it was not.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Add;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aft_simulation::paper::random::Random;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, HOST};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::Error;
use crate::latency::{Kind, Model};

/// One request that was answered.
#[derive(Debug, Clone)]
pub struct Passed {
    /// DynamoDB's name of the operation.
    pub operation: String,
    /// When it came.
    pub from: Instant,
    /// When it was answered.
    pub to: Instant,
    /// Capacity units, as far as the engine says.
    pub units: f64,
    /// Bodies, both ways.
    pub bytes: usize,
    /// Whether the engine took longer than the model's time.
    pub overran: bool,
    /// Whether the engine refused it.
    pub refused: bool,
}

impl Passed {
    fn is_read(&self) -> bool {
        self.operation.contains("Get") || self.operation == "Query"
    }
}

/// What went through.
#[derive(Debug, Clone, Default)]
pub struct Traffic(Vec<Passed>);

impl Traffic {
    /// How many requests.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.0.len()
    }

    /// Write units.
    #[must_use]
    pub fn write_units(&self) -> f64 {
        self.0.iter().filter(|request| !request.is_read()).map(|request| request.units).fold(0.0, Add::add)
    }

    /// Read units.
    #[must_use]
    pub fn read_units(&self) -> f64 {
        self.0.iter().filter(|request| request.is_read()).map(|request| request.units).fold(0.0, Add::add)
    }

    /// Bodies of requests and answers.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|request| request.bytes).sum()
    }

    /// Requests that the engine refused.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.0.iter().filter(|request| request.refused).count()
    }

    /// Requests for which the engine took longer than the model.
    #[must_use]
    pub fn overruns(&self) -> usize {
        self.0.iter().filter(|request| request.overran).count()
    }

    /// The longest chain of requests each of which began after the one before it was answered.
    #[must_use]
    pub fn round_trips(&self) -> usize {
        let mut requests: Vec<_> = self.0.iter().map(|request| (request.to, request.from)).collect();
        requests.sort_unstable();
        let mut chain = (0, None);
        for (to, from) in requests {
            if chain.1.is_none_or(|end| from >= end) {
                chain = (chain.0 + 1, Some(to));
            }
        }
        chain.0
    }
}

struct Door {
    engine: SocketAddr,
    model: Option<Model>,
    random: Mutex<Random>,
    passed: Mutex<Vec<Passed>>,
}

/// The storage; its door closes when this is dropped.
pub struct Storage {
    address: SocketAddr,
    door: Arc<Door>,
    server: JoinHandle<()>,
}

impl Storage {
    /// The engine at this URL behind a door; without a model as fast as it is.
    ///
    /// # Errors
    /// If the URL names no address of this machine, or there is no port.
    pub async fn start(engine: &str, model: Option<Model>, seed: u64) -> Result<Self, Error> {
        let engine = engine.trim_start_matches("http://").parse()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let door = Arc::new(Door { engine, model, random: Mutex::new(Random::new(seed)), passed: Mutex::default() });
        let server = tokio::spawn(serve(listener, Arc::clone(&door)));
        Ok(Self { address, door, server })
    }

    /// Its URL.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What went through since the last call.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        Traffic(std::mem::take(&mut lock(&self.door.passed)))
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, door: Arc<Door>) {
    while let Ok((stream, _)) = listener.accept().await {
        // Fails only if the caller has gone.
        let _ = stream.set_nodelay(true);
        let door = Arc::clone(&door);
        tokio::spawn(async move {
            // A connection of its own to the engine for each of the caller's: what is slow in one is slow in no other.
            let Ok(engine) = Engine::connect(door.engine).await else { return };
            let engine = tokio::sync::Mutex::new(engine);
            let service = service_fn(|request| pass(&door, &engine, request));
            // A caller that was killed is no event.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

struct Engine(hyper::client::conn::http1::SendRequest<Full<Bytes>>);

impl Engine {
    async fn connect(address: SocketAddr) -> Result<Self, Error> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }
}

async fn pass(
    door: &Door,
    engine: &tokio::sync::Mutex<Engine>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Error> {
    let from = Instant::now();
    let (mut head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let target = head.headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
    let mut document: Value = serde_json::from_slice(&body).unwrap_or_default();
    let kind = kind(&operation, &document);
    let wanted = door.model.map_or(Duration::ZERO, |model| model.draw(kind, &mut lock(&door.random)));
    if let (Some(fields), true) = (document.as_object_mut(), is_metered(&operation)) {
        fields.insert("ReturnConsumedCapacity".to_owned(), "TOTAL".into());
    }
    head.headers.remove(CONTENT_LENGTH);
    head.headers.insert(HOST, door.engine.to_string().parse()?);
    let forwarded = Request::from_parts(head, Full::new(Bytes::from(document.to_string())));
    let mut engine = engine.lock().await;
    let answer = match engine.0.ready().await {
        Ok(()) => engine.0.send_request(forwarded).await?,
        Err(_) => {
            *engine = Engine::connect(door.engine).await?;
            engine.0.send_request(forwarded).await?
        }
    };
    let (head, content) = answer.into_parts();
    let content = content.collect().await?.to_bytes();
    drop(engine);
    let took = from.elapsed();
    let left = wanted.saturating_sub(took);
    if !left.is_zero() {
        // The runtime's own timer counts in whole milliseconds.
        spawn_blocking(move || std::thread::sleep(left)).await?;
    }
    lock(&door.passed).push(Passed {
        operation,
        from,
        to: Instant::now(),
        units: consumed(&content),
        bytes: body.len() + content.len(),
        overran: door.model.is_some() && took > wanted,
        refused: head.status != StatusCode::OK,
    });
    Ok(Response::from_parts(head, Full::new(content)))
}

fn is_metered(operation: &str) -> bool {
    operation.ends_with("Item") || operation.ends_with("Items")
}

fn kind(operation: &str, request: &Value) -> Kind {
    match operation {
        "TransactWriteItems" | "TransactGetItems" => Kind::Transaction,
        "BatchWriteItem" | "BatchGetItem" => {
            let tables = request["RequestItems"].as_object().into_iter().flatten();
            let count = |wanted: &Value| wanted.as_array().or(wanted["Keys"].as_array()).map_or(0, Vec::len);
            Kind::Batch(tables.map(|(_, wanted)| count(wanted)).sum())
        }
        _ => Kind::One,
    }
}

fn consumed(answer: &[u8]) -> f64 {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let units = |table: &Value| table["CapacityUnits"].as_f64().unwrap_or_default();
    match &answer["ConsumedCapacity"] {
        Value::Array(tables) => tables.iter().map(units).sum(),
        table => units(table),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::{Duration, Instant};

    use serde_json::json;

    use super::{Kind, Passed, Traffic, kind};

    fn passed(start: Instant, from: u64, to: u64) -> Passed {
        let at = |ms| start + Duration::from_millis(ms);
        let (from, to) = (at(from), at(to));
        Passed { operation: "PutItem".to_owned(), from, to, units: 1.0, bytes: 1, overran: false, refused: false }
    }

    #[test]
    fn what_is_under_way_at_the_same_time_is_one_round_trip() {
        let start = Instant::now();
        let chain = |times: &[(u64, u64)]| {
            Traffic(times.iter().map(|(from, to)| passed(start, *from, *to)).collect()).round_trips()
        };
        assert_eq!(chain(&[]), 0);
        assert_eq!(chain(&[(0, 3), (3, 6), (7, 9)]), 3);
        assert_eq!(chain(&[(0, 3), (1, 4), (2, 5)]), 1);
        // One long one beside two short ones.
        assert_eq!(chain(&[(0, 10), (1, 4), (5, 9)]), 2);
    }

    #[test]
    fn a_batch_is_as_large_as_its_items_are_many() {
        let write = json!({ "RequestItems": { "a": [{}, {}], "b": [{}] } });
        assert_eq!(kind("BatchWriteItem", &write), Kind::Batch(3));
        let read = json!({ "RequestItems": { "a": { "Keys": [{}, {}, {}, {}] } } });
        assert_eq!(kind("BatchGetItem", &read), Kind::Batch(4));
        assert_eq!(kind("TransactWriteItems", &json!({})), Kind::Transaction);
        assert_eq!(kind("UpdateItem", &json!({})), Kind::One);
    }
}
