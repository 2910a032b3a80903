//! The storage under test: a DynamoDB engine behind a door that makes every request as slow as the model says, and writes down
//! what went through it.
//!
//! A request is answered when the engine has answered and the model's time is over, whichever is later: so the engine's own
//! time does not count, as long as it is the smaller one, and [`Traffic::overruns`] says how often it was not.
//!
//! Engines on one machine do a transaction in one instant. DynamoDB takes time for it, in which who else writes the same items is
//! refused: `TransactionCanceledException` with the reason `TransactionConflict` for a transaction, `TransactionConflictException`
//! for a single write. So with a model the door refuses: for the second half of a `TransactWriteItems`, its items are taken.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Add;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aft_simulation::paper::random::Random;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
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

    /// What was asked before this moment.
    #[must_use]
    pub fn before(&self, moment: Instant) -> Self {
        Self(self.0.iter().filter(|request| request.from < moment).cloned().collect())
    }

    /// For how long at least one request was under way, as far as that was before this moment.
    #[must_use]
    pub fn busy(&self, until: Instant) -> Duration {
        let mut requests: Vec<_> = self.0.iter().map(|request| (request.from, request.to.min(until))).collect();
        requests.sort_unstable();
        let mut busy = (Duration::ZERO, None);
        for (from, to) in requests {
            let from = busy.1.map_or(from, |end: Instant| from.max(end));
            busy = (busy.0 + to.saturating_duration_since(from), Some(to.max(from)));
        }
        busy.0
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
    /// Items that a transaction has taken.
    taken: Mutex<HashSet<String>>,
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
        let random = Mutex::new(Random::new(seed));
        let door = Door { engine, model, random, passed: Mutex::default(), taken: Mutex::default() };
        let door = Arc::new(door);
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
    let items = door.model.map_or_else(Vec::new, |_| written(&operation, &document));
    let note = |to, units, content: usize, overran, refused| {
        let bytes = body.len() + content;
        let operation = operation.clone();
        lock(&door.passed).push(Passed { operation, from, to, units, bytes, overran, refused });
    };
    if kind == Kind::Transaction {
        pause(wanted / 2).await?;
    }
    // Taken until this request has its answer.
    let taken = match door.take(&items, kind) {
        Ok(taken) => taken,
        Err(conflicts) => {
            pause(wanted.saturating_sub(from.elapsed())).await?;
            let refusal = refusal(kind, &conflicts);
            note(Instant::now(), 0.0, refusal.len(), false, true);
            let answer = Response::builder().status(StatusCode::BAD_REQUEST);
            return Ok(answer.header(CONTENT_TYPE, "application/x-amz-json-1.0").body(Full::new(refusal))?);
        }
    };
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
    pause(wanted.saturating_sub(took)).await?;
    drop(taken);
    let overran = door.model.is_some() && took > wanted;
    note(Instant::now(), consumed(&content), content.len(), overran, head.status != StatusCode::OK);
    Ok(Response::from_parts(head, Full::new(content)))
}

/// The runtime's own timer counts in whole milliseconds.
#[allow(clippy::disallowed_methods, reason = "on a thread that is there for blocking")]
async fn pause(time: Duration) -> Result<(), Error> {
    if !time.is_zero() {
        spawn_blocking(move || std::thread::sleep(time)).await?;
    }
    Ok(())
}

/// Items of a transaction that is under way.
struct Taken<'a> {
    door: &'a Door,
    items: &'a [String],
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut taken = lock(&self.door.taken);
        self.items.iter().for_each(|item| _ = taken.remove(item));
    }
}

impl Door {
    /// Takes a transaction's items; of a single write, looks whether they are free. Which are not, if any.
    fn take<'a>(&'a self, items: &'a [String], kind: Kind) -> Result<Taken<'a>, Vec<bool>> {
        let mut taken = lock(&self.taken);
        let conflicts: Vec<_> = items.iter().map(|item| taken.contains(item)).collect();
        if conflicts.contains(&true) {
            return Err(conflicts);
        }
        let items = if kind == Kind::Transaction { items } else { &[] };
        taken.extend(items.iter().cloned());
        Ok(Taken { door: self, items })
    }
}

/// What DynamoDB says to who meets a transaction.
fn refusal(kind: Kind, conflicts: &[bool]) -> Bytes {
    let document = if kind == Kind::Transaction {
        let reason = |conflict: &bool| match conflict {
            true => json!({ "Code": "TransactionConflict", "Message": "Transaction is ongoing for the item" }),
            false => json!({ "Code": "None" }),
        };
        json!({
            "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
            "Message": "Transaction cancelled, please refer cancellation reasons for specific reasons",
            "CancellationReasons": conflicts.iter().map(reason).collect::<Vec<_>>(),
        })
    } else {
        json!({
            "__type": "com.amazonaws.dynamodb.v20120810#TransactionConflictException",
            "message": "Transaction is ongoing for the item",
        })
    };
    document.to_string().into()
}

/// The items that a request writes, or insists on in a transaction: table and key.
fn written(operation: &str, request: &Value) -> Vec<String> {
    let one = |action: &Value| {
        let table = action["TableName"].as_str().unwrap_or_default();
        let key = ["k", "id", "part"].map(|name| {
            let key = if action["Key"].is_object() { &action["Key"] } else { &action["Item"] };
            key[name]["S"].as_str().unwrap_or_default()
        });
        format!("{table} {}", key.join(" "))
    };
    match operation {
        "TransactWriteItems" => {
            let actions = request["TransactItems"].as_array().into_iter().flatten();
            actions.filter_map(|action| action.as_object()?.values().next()).map(one).collect()
        }
        "PutItem" | "UpdateItem" | "DeleteItem" => vec![one(request)],
        _ => Vec::new(),
    }
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

    use super::{Door, Kind, Passed, Traffic, kind, lock, written};
    use aft_simulation::paper::random::Random;
    use std::sync::Mutex;

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
    fn the_storage_is_busy_while_anything_is_under_way() {
        let start = Instant::now();
        let busy = |times: &[(u64, u64)], until: u64| {
            let traffic = Traffic(times.iter().map(|(from, to)| passed(start, *from, *to)).collect());
            traffic.busy(start + Duration::from_millis(until)).as_millis()
        };
        assert_eq!(busy(&[], 10), 0);
        assert_eq!(busy(&[(0, 3), (5, 9)], 10), 7);
        assert_eq!(busy(&[(0, 5), (1, 2), (4, 8)], 10), 8);
        assert_eq!(busy(&[(0, 5), (7, 12)], 10), 8, "what comes after the answer does not count");
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

    #[test]
    fn an_item_belongs_to_one_transaction_at_a_time() {
        let engine = "127.0.0.1:1".parse().unwrap();
        let (random, passed, taken) = (Mutex::new(Random::new(1)), Mutex::default(), Mutex::default());
        let door = Door { engine, model: None, random, passed, taken };
        let put = |key| json!({ "Put": { "TableName": "t", "Item": { "k": { "S": key } } } });
        let update = json!({ "TableName": "t", "Key": { "k": { "S": "b" } } });
        let first = written("TransactWriteItems", &json!({ "TransactItems": [put("a"), { "Update": update }] }));
        assert_eq!(first, ["t a  ", "t b  "]);
        let held = door.take(&first, Kind::Transaction).unwrap();
        let second = written("TransactWriteItems", &json!({ "TransactItems": [put("c"), put("b")] }));
        assert_eq!(door.take(&second, Kind::Transaction).err(), Some(vec![false, true]));
        assert_eq!(door.take(&written("UpdateItem", &update), Kind::One).err(), Some(vec![true]));
        drop(held);
        assert!(door.take(&second, Kind::Transaction).is_ok());
        assert!(lock(&door.taken).is_empty());
    }
}
