//! PUT and GET from the write buffer, over loopback: the extension as it is shipped, beside a server that only says hello.
//!
//! Client, extension and the other server share one processor, so a figure holds all the work of a request, the client's
//! too, and none of it hides behind a second processor. The two servers take turns in short blocks: what else the machine
//! does hits both.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use aft_protocol::id::{AttemptNumber, Fingerprint, RequestId, TransactionId};
use aft_protocol::wire::{Attached, Begin, Outcome, control, header, route};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::HOST;
use hyper::{Method, Request, Response};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::Error;
use crate::connection::Connection;
use crate::lambda::{Call, Lambda};
use crate::process::OneCore;
use crate::report::{Quantity, Row};
use crate::samples::Samples;
use crate::setup::{Programs, Setup, SocketDirectory, end};

const VALUE_BYTES: usize = 1_024;
/// As many keys as fit into the write buffer several times over.
const KEYS: usize = 1_000;
const BLOCKS: usize = 40;
/// Requests of one kind to one server in a block: 20,000 in all.
const BLOCK: usize = 500;
const WARM_UP_BLOCKS: usize = 4;
const TARGET: Quantity = Quantity::Time(Duration::from_micros(100));
/// Longer than the run, and all of it belongs to one transaction.
const DEADLINE: Duration = Duration::from_secs(600);

/// A server, and what its answers took.
struct Server {
    connection: Connection,
    host: String,
    token: String,
    puts: Samples,
    gets: Samples,
}

impl Server {
    async fn connect(address: SocketAddr, token: String) -> Result<Self, Error> {
        let connection = Connection::tcp(address).await?;
        let (puts, gets) = (Samples::default(), Samples::default());
        Ok(Self { connection, host: address.to_string(), token, puts, gets })
    }

    /// Takes PUTs, then GETs of what was put.
    async fn block(&mut self, number: usize, value: &Bytes) -> Result<(), Error> {
        for method in [Method::PUT, Method::GET] {
            for count in 0..BLOCK {
                let key = (number * BLOCK + count) % KEYS;
                let body = if method == Method::PUT { value.clone() } else { Bytes::new() };
                let started = Instant::now();
                let answer = self.connection.call(self.request(&method, key, body)?).await?;
                let samples = if method == Method::PUT { &mut self.puts } else { &mut self.gets };
                samples.since(started);
                check(&answer, &method)?;
            }
        }
        Ok(())
    }

    fn request(&self, method: &Method, key: usize, body: Bytes) -> Result<Request<Full<Bytes>>, Error> {
        let uri = format!("{}key-{key:04}", route::KV);
        let request = Request::builder().method(method).uri(uri).header(HOST, &self.host);
        Ok(request.header(header::TOKEN, &self.token).body(Full::new(body))?)
    }

    fn forget(&mut self) {
        (self.puts, self.gets) = (Samples::default(), Samples::default());
    }
}

/// A refusal would be fast.
fn check(answer: &Response<Bytes>, method: &Method) -> Result<(), Error> {
    let whole = method != Method::GET || answer.body().len() == VALUE_BYTES;
    if answer.status().is_success() && whole {
        return Ok(());
    }
    Err(format!("{method} was answered with {}: {:?}", answer.status(), answer.body()).into())
}

/// Measures.
///
/// # Errors
/// If a process does not start or a request fails.
pub async fn rows(programs: &Programs) -> Result<Vec<Row>, Error> {
    // Before the core is taken: the engine's own threads stay off it.
    let setup = Setup::new(programs).await?;
    let core = OneCore::take()?;
    let (hello, hello_address) = start_hello(programs).await?;
    let directory = SocketDirectory::new("buffer");
    let mut lambda = Lambda::start().await?;
    let extension = setup.extension(&lambda, &directory.socket())?.spawn()?;
    lambda.called(Call::Register).await?;
    lambda.called(Call::Next).await?;
    let (_control, attached) = begin(&directory).await?;

    let address = attached.endpoint.strip_prefix("http://").unwrap_or_default().parse()?;
    let mut bare = Server::connect(hello_address, String::new()).await?;
    let mut aft = Server::connect(address, attached.token.unwrap_or_default()).await?;
    let value = Bytes::from(vec![b'v'; VALUE_BYTES]);
    for number in 0..WARM_UP_BLOCKS + BLOCKS {
        if number == WARM_UP_BLOCKS {
            bare.forget();
            aft.forget();
        }
        bare.block(number, &value).await?;
        aft.block(number, &value).await?;
    }
    end(extension).await?;
    end(hello).await?;
    let row = |what: &str, samples: &Samples, floor: &Samples| {
        let times = samples.median().as_secs_f64() / floor.median().as_secs_f64();
        let floor = Quantity::Time(floor.median());
        let what = format!("{what}, 1 KB, on processor {}", core.number());
        Row::of(what, samples).beside(format!("hello: {floor}, so {times:.2}×")).target(TARGET)
    };
    Ok(vec![
        row("PUT to the write buffer", &aft.puts, &bare.puts),
        row("GET from the write buffer", &aft.gets, &bare.gets),
    ])
}

async fn start_hello(programs: &Programs) -> Result<(Child, SocketAddr), Error> {
    let mut command = Command::new(&programs.hello);
    let mut hello = command.arg(VALUE_BYTES.to_string()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let mut address = String::new();
    let output = hello.stdout.take().ok_or("hello has no output")?;
    BufReader::new(output).read_line(&mut address).await?;
    Ok((hello, address.trim().parse()?))
}

/// Does what the shim does before the handler runs. The transaction is open for as long as the connection is.
async fn begin(directory: &SocketDirectory) -> Result<(Connection, Attached), Error> {
    let mut control = Connection::unix(&directory.socket()).await?;
    let post = |path, body: Vec<u8>| Request::post(path).header(HOST, "aft").body(Full::from(body));
    let attached = control.call(post(control::ATTACH, Vec::new())?).await?;
    let deadline = SystemTime::UNIX_EPOCH.elapsed()? + DEADLINE;
    let begin = Begin {
        request: RequestId::new("bench"),
        transaction: TransactionId::from_bits(1),
        attempt: AttemptNumber::FIRST,
        fingerprint: Fingerprint::of(b"{}"),
        origin: "bench".to_owned(),
        deadline_ms: u64::try_from(deadline.as_millis())?,
    };
    let begun = control.call(post(control::BEGIN, serde_json::to_vec(&begin)?)?).await?;
    let outcome = begun.headers().get(header::OUTCOME).and_then(|text| text.to_str().ok());
    if outcome != Some(Outcome::Open.as_str()) {
        return Err(format!("no transaction was begun: {begun:?}").into());
    }
    Ok((control, serde_json::from_slice(attached.body())?))
}
