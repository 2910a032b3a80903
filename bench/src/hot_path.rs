//! The paths that every invocation, request or transaction goes, each to be gone as often as is asked for, with nothing else in
//! between: for who counts their instructions, and for who looks where their time goes.
//!
//! What is not the same in each turn happens before, or in each of them: all keys are written, and their heads looked up, in the
//! warm-up. Requests come one after the other, so that nothing depends on what happens to run at the same time.

use std::process::Stdio;

use aft_cli::Program;
use aft_protocol::settings;
use aft_protocol::wire::{header, route};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::HOST;
use hyper::{Method, Request};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::process::Child;

use crate::Error;
use crate::connection::Connection;
use crate::control::Control;
use crate::lambda::{Call, Lambda};
use crate::setup::{Programs, Setup, SocketDirectory, end};

const VALUE_BYTES: usize = 1_024;
/// Keys that are put and got, in turn.
const KEYS: u32 = 100;
/// Turns of a transaction, or invocations, before those that count.
const WARM_UP: u32 = 20;

/// A path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HotPath {
    /// One PUT of 1 KB to the write buffer.
    Put,
    /// One GET of 1 KB from the write buffer.
    Get,
    /// Begin, commit and end of a transaction that does nothing and whose record is not looked up.
    Nothing,
    /// The same, in which the record is looked up: one request to DynamoDB.
    LookUp,
    /// A transaction that reads one key of 1 KB.
    Read,
    /// A transaction that writes one key of 1 KB, durable and visible.
    WriteOne,
    /// A transaction that writes ten keys of 1 KB, durable and visible.
    WriteTen,
    /// One invocation through the shim, of 1 KB there and back, which reads and writes nothing.
    Invocation,
}

/// A process of the layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// `aft-extension`.
    Extension,
    /// `aft-runtime-shim`.
    Shim,
}

impl HotPath {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Put,
        Self::Get,
        Self::Nothing,
        Self::LookUp,
        Self::Read,
        Self::WriteOne,
        Self::WriteTen,
        Self::Invocation,
    ];

    /// Its name, for files and people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Nothing => "commit-nothing",
            Self::LookUp => "commit-looked-up",
            Self::Read => "transaction-read-1",
            Self::WriteOne => "transaction-write-1",
            Self::WriteTen => "transaction-write-10",
            Self::Invocation => "invocation",
        }
    }

    /// Whose path it is.
    #[must_use]
    pub const fn process(self) -> Process {
        match self {
            Self::Invocation => Process::Shim,
            _ => Process::Extension,
        }
    }

    /// Starts the process under a tool, goes the path so often, and ends the process by SIGTERM, which the tools take as the
    /// moment to write what they have seen.
    ///
    /// # Errors
    /// If a process does not start, or a request fails.
    pub async fn go(self, programs: Programs, tool: &Program, times: u32) -> Result<(), Error> {
        let mut setup = Setup::new(programs).await?;
        let layer = setup.config.layer.as_mut().ok_or("the configuration has no layer")?;
        let program = match self.process() {
            Process::Extension => layer.extensions.first_mut().map(|extension| &mut extension.program),
            Process::Shim => layer.wrapper.as_mut(),
        };
        let program = program.ok_or("the layer lacks the program")?;
        *program = program.wrapped_in(tool);

        let directory = SocketDirectory::new(&format!("{}-{times}", self.name()));
        let mut lambda = Lambda::start().await?;
        let mut extension = setup.extension(&lambda, &directory.socket())?;
        let check = if self == Self::Nothing { "commit-only" } else { settings::DUPLICATE_CHECK.default };
        let extension = extension.env(settings::DUPLICATE_CHECK.name, check).spawn()?;
        lambda.called(Call::Register).await?;
        lambda.called(Call::Next).await?;
        if self == Self::Invocation {
            let shim = setup.shim(&lambda, &directory.socket())?.stdin(Stdio::null()).spawn()?;
            invocations(&mut lambda, times).await?;
            terminate(shim).await?;
            end(extension).await?;
        } else {
            let control = Control::attach(&directory.socket()).await?;
            Handler::connect(control).await?.go(self, times).await?;
            terminate(extension).await?;
        }
        setup.stop().await
    }
}

async fn terminate(mut process: Child) -> Result<(), Error> {
    let pid = process.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    kill_process(pid.ok_or("the process ended before its time")?, Signal::TERM)?;
    process.wait().await?;
    Ok(())
}

async fn invocations(lambda: &mut Lambda, times: u32) -> Result<(), Error> {
    lambda.called(Call::RuntimeNext).await?;
    for number in 0..WARM_UP + times {
        lambda.invoke(format!("request-{number}"));
        lambda.responded().await?;
        // What follows an answer belongs to its invocation.
        lambda.called(Call::RuntimeNext).await?;
        lambda.called(Call::Next).await?;
    }
    Ok(())
}

/// In the handler's place, and in the shim's.
struct Handler {
    control: Control,
    connection: Connection,
    host: String,
    token: String,
    transactions: u32,
}

impl Handler {
    async fn connect(control: Control) -> Result<Self, Error> {
        let host = control.attached.endpoint.strip_prefix("http://").unwrap_or_default().to_owned();
        let token = control.attached.token.clone().unwrap_or_default();
        let connection = Connection::tcp(host.parse()?).await?;
        Ok(Self { control, connection, host, token, transactions: 0 })
    }

    async fn go(&mut self, path: HotPath, times: u32) -> Result<(), Error> {
        match path {
            HotPath::Put | HotPath::Get => {
                self.begin().await?;
                // Written through once, so that every head was looked up: the last one before the first that counts.
                for key in 0..KEYS {
                    self.put(key).await?;
                }
                for number in 0..times {
                    match path {
                        HotPath::Put => self.put(number % KEYS).await?,
                        _ => self.get(number % KEYS).await?,
                    }
                }
            }
            HotPath::Read => {
                self.transaction(HotPath::WriteOne).await?;
                for _ in 0..WARM_UP + times {
                    self.transaction(path).await?;
                }
            }
            _ => {
                for _ in 0..WARM_UP + times {
                    self.transaction(path).await?;
                }
            }
        }
        Ok(())
    }

    async fn begin(&mut self) -> Result<(), Error> {
        self.transactions += 1;
        self.control.begin(self.transactions).await
    }

    async fn transaction(&mut self, path: HotPath) -> Result<(), Error> {
        self.begin().await?;
        match path {
            HotPath::Read => self.get(0).await?,
            HotPath::WriteOne => self.put(0).await?,
            HotPath::WriteTen => self.put_ten().await?,
            _ => {}
        }
        self.control.commit(self.transactions).await?;
        self.control.end(self.transactions).await
    }

    async fn put(&mut self, key: u32) -> Result<(), Error> {
        let value = Bytes::from_static(&[b'v'; VALUE_BYTES]);
        self.call(Method::PUT, &format!("{}key-{key:04}", route::KV), value).await.map(drop)
    }

    async fn get(&mut self, key: u32) -> Result<(), Error> {
        let value = self.call(Method::GET, &format!("{}key-{key:04}", route::KV), Bytes::new()).await?;
        if value.len() == VALUE_BYTES { Ok(()) } else { Err(format!("key {key} has another value: {value:?}").into()) }
    }

    /// In one request: of ten, it would be chance how many share a look-up of heads.
    async fn put_ten(&mut self) -> Result<(), Error> {
        let value = STANDARD.encode([b'v'; VALUE_BYTES]);
        let write = |key: u32| json!({ "key": format!("key-{key:04}"), "valueBase64": value });
        let document = json!({ "writes": (0..10).map(write).collect::<Vec<_>>() });
        self.call(Method::POST, route::BATCH_WRITE, document.to_string().into()).await.map(drop)
    }

    async fn call(&mut self, method: Method, uri: &str, body: Bytes) -> Result<Bytes, Error> {
        let request = Request::builder().method(method).uri(uri).header(HOST, &self.host);
        let request = request.header(header::TOKEN, &self.token).body(Full::new(body))?;
        let answer = self.connection.call(request).await?;
        if answer.status().is_success() {
            return Ok(answer.into_body());
        }
        Err(format!("{uri} was answered with {}: {:?}", answer.status(), answer.body()).into())
    }
}
