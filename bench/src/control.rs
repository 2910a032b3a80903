//! What the shim says to the extension, without a shim: begin, commit and end over the control socket.
//!
//! An invocation waits for two of these round trips, begin and commit; the rest of what the layer adds is the way through
//! the shim's own process.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use aft_protocol::id::{AttemptNumber, Fingerprint, RequestId, TransactionId};
use aft_protocol::settings;
use aft_protocol::wire::{Attached, Begin, End, Outcome, control, header};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::HOST;
use hyper::{Request, Response};

use crate::Error;
use crate::connection::Connection;
use crate::lambda::{Call, Lambda};
use crate::report::Row;
use crate::samples::Samples;
use crate::setup::{Setup, SocketDirectory, end};

/// Longer than any run.
const DEADLINE: Duration = Duration::from_secs(600);
const TRANSACTIONS: u32 = 5_000;
const WARM_UP: u32 = 500;

/// In the shim's place. What it has begun is open for as long as its connection is.
#[derive(Debug)]
pub struct Control {
    connection: Connection,
    /// What the extension told it.
    pub attached: Attached,
}

impl Control {
    /// Connects and says hello.
    ///
    /// # Errors
    /// If the extension does not listen.
    pub async fn attach(socket: &Path) -> Result<Self, Error> {
        let mut connection = Connection::unix(socket).await?;
        let attached = connection.call(post(control::ATTACH, None, Vec::new())?).await?;
        let attached = serde_json::from_slice(attached.body())?;
        Ok(Self { connection, attached })
    }

    /// Begins the transaction of this number.
    ///
    /// # Errors
    /// If it is not open then.
    pub async fn begin(&mut self, number: u32) -> Result<(), Error> {
        let deadline = SystemTime::UNIX_EPOCH.elapsed()? + DEADLINE;
        let begin = Begin {
            request: request(number),
            transaction: transaction(number),
            attempt: AttemptNumber::FIRST,
            fingerprint: Fingerprint::of(b"{}"),
            origin: "bench".to_owned(),
            deadline_ms: u64::try_from(deadline.as_millis())?,
        };
        let begun = self.connection.call(post(control::BEGIN, None, serde_json::to_vec(&begin)?)?).await?;
        ended(&begun, Outcome::Open)
    }

    /// Commits it.
    ///
    /// # Errors
    /// If it has not committed then.
    pub async fn commit(&mut self, number: u32) -> Result<(), Error> {
        let committed = self.connection.call(post(control::COMMIT, Some(number), b"{}".to_vec())?).await?;
        ended(&committed, Outcome::Committed)
    }

    /// Ends the invocation that it was of.
    ///
    /// # Errors
    /// If the connection broke.
    pub async fn end(&mut self, number: u32) -> Result<(), Error> {
        let document = serde_json::to_vec(&End { request: request(number) })?;
        self.connection.call(post(control::END, None, document)?).await?;
        Ok(())
    }
}

/// Measures transactions that do nothing.
///
/// # Errors
/// If the extension does not start or refuses a call.
pub async fn rows(setup: &Setup) -> Result<Vec<Row>, Error> {
    let (begins, commits, ends) = round_trips(setup, "commit-only").await?;
    let (_, look_ups, _) = round_trips(setup, "parallel").await?;
    Ok(vec![
        Row::of("control: begin", &begins),
        Row::of("control: commit of nothing", &commits),
        Row::of("control: commit of nothing that waits for a look-up", &look_ups),
        Row::of("control: end", &ends),
    ])
}

/// What begin, commit and end take with this `AFT_DUPLICATE_CHECK`.
async fn round_trips(setup: &Setup, duplicate_check: &str) -> Result<(Samples, Samples, Samples), Error> {
    let directory = SocketDirectory::new(duplicate_check);
    let mut lambda = Lambda::start().await?;
    let mut command = setup.extension(&lambda, &directory.socket())?;
    let extension = command.env(settings::DUPLICATE_CHECK.name, duplicate_check).spawn()?;
    lambda.called(Call::Register).await?;
    lambda.called(Call::Next).await?;
    let mut control = Control::attach(&directory.socket()).await?;
    let (mut begins, mut commits, mut ends) = (Samples::default(), Samples::default(), Samples::default());
    for number in 0..WARM_UP + TRANSACTIONS {
        let started = Instant::now();
        control.begin(number).await?;
        let begun = Instant::now();
        control.commit(number).await?;
        let committed = Instant::now();
        control.end(number).await?;
        if number >= WARM_UP {
            ends.since(committed);
            commits.push(committed - begun);
            begins.push(begun - started);
        }
    }
    end(extension).await?;
    Ok((begins, commits, ends))
}

fn request(number: u32) -> RequestId {
    RequestId::new(format!("bench-{number}"))
}

fn transaction(number: u32) -> TransactionId {
    TransactionId::from_bits(number.into())
}

fn post(path: &str, attempt: Option<u32>, body: Vec<u8>) -> Result<Request<Full<Bytes>>, Error> {
    let mut post = Request::post(path).header(HOST, "aft");
    if let Some(number) = attempt {
        let attempt = AttemptNumber::FIRST.get();
        post = post.header(header::TRANSACTION, transaction(number).to_string()).header(header::ATTEMPT, attempt);
    }
    Ok(post.body(Full::from(body))?)
}

fn ended(answer: &Response<Bytes>, expected: Outcome) -> Result<(), Error> {
    let outcome = answer.headers().get(header::OUTCOME).and_then(|text| text.to_str().ok());
    if outcome == Some(expected.as_str()) {
        return Ok(());
    }
    Err(format!("the extension was to answer {expected}; it answered {answer:?}").into())
}
