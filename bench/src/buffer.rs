//! PUT and GET from the write buffer, over loopback: the extension as it is shipped, beside a server that only says hello.
//!
//! Client, extension and the other server share one processor, so a figure holds all the work of a request, the client's
//! too, and none of it hides behind a second processor. The two servers take turns in short blocks: what else the machine
//! does hits both.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use aft_protocol::wire::{header, route};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::HOST;
use hyper::{Method, Request, Response};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::Error;
use crate::connection::Connection;
use crate::control::Control;
use crate::lambda::{Call, Lambda};
use crate::process::{MEMORY_TARGET, OneCore, resident_bytes};
use crate::report::{Quantity, Row};
use crate::samples::Samples;
use crate::setup::{Setup, SocketDirectory, end};

const VALUE_BYTES: usize = 1_024;
/// As many as fill the write buffer: 4 MB, of which a kilobyte of value and its key and type are 1,056 bytes.
const KEYS: usize = 3_900;
const BLOCKS: usize = 40;
/// Requests of one kind to one server in a block: 20,000 in all.
const BLOCK: usize = 500;
const WARM_UP_BLOCKS: usize = 4;
const TARGET: Quantity = Quantity::Time(Duration::from_micros(100));

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
pub async fn rows(setup: &Setup) -> Result<Vec<Row>, Error> {
    let core = OneCore::take()?;
    let (hello, hello_address) = start_hello(setup).await?;
    let directory = SocketDirectory::new("buffer");
    let mut lambda = Lambda::start().await?;
    let extension = setup.extension(&lambda, &directory.socket())?.spawn()?;
    lambda.called(Call::Register).await?;
    lambda.called(Call::Next).await?;
    // All requests belong to one transaction.
    let mut control = Control::attach(&directory.socket()).await?;
    control.begin(1).await?;

    let address = control.attached.endpoint.strip_prefix("http://").unwrap_or_default().parse()?;
    let mut bare = Server::connect(hello_address, String::new()).await?;
    let mut aft = Server::connect(address, control.attached.token.clone().unwrap_or_default()).await?;
    let value = Bytes::from(vec![b'v'; VALUE_BYTES]);
    for number in 0..WARM_UP_BLOCKS + BLOCKS {
        if number == WARM_UP_BLOCKS {
            bare.forget();
            aft.forget();
        }
        bare.block(number, &value).await?;
        aft.block(number, &value).await?;
    }
    let resident = resident_bytes(extension.id().ok_or("the extension ended")?)?;
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
        Row::new("extension: memory with a full write buffer", Quantity::Size(resident)).target(MEMORY_TARGET),
    ])
}

async fn start_hello(setup: &Setup) -> Result<(Child, SocketAddr), Error> {
    let mut command = Command::new(&setup.programs.hello);
    let mut hello = command.arg(VALUE_BYTES.to_string()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let mut address = String::new();
    let output = hello.stdout.take().ok_or("hello has no output")?;
    BufReader::new(output).read_line(&mut address).await?;
    Ok((hello, address.trim().parse()?))
}
