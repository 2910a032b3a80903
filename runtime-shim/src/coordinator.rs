//! The control API of the extension: begin, commit, abort, end, over one connection for life.
//!
//! The extension takes the end of the connection for the end of the shim, and aborts what was begun. So a connection that
//! broke is not made anew: what follows fails closed, and Lambda ends a sandbox whose extension has died. Only after a
//! restore from a snapshot, when nothing can have been begun, another one takes its place.

use std::io;
use std::path::Path;
use std::time::Duration;

use aft_protocol::id::{AttemptNumber, TransactionId};
use aft_protocol::limits;
use aft_protocol::wire::{Attached, Begin, End, Outcome, Problem, UnknownOutcome, control, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout_at};

use crate::identity::Refusal;

/// How long the extension is waited for at the start. It listens before Lambda starts the runtime; this is for hosts that
/// start both at once.
const ATTACH_LIMIT: Duration = Duration::from_secs(2);
const ATTACH_PAUSE: Duration = Duration::from_millis(10);

/// A response that was recorded with an earlier commit.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The `Content-Type` that the runtime posted then, if any.
    pub content_type: Option<HeaderValue>,
    /// The body.
    pub body: Bytes,
}

/// The extension's answer to begin, commit or abort: an [`Outcome`] with what comes along, where it matters. Texts are
/// for people.
#[derive(Debug)]
pub enum Answer {
    /// [`Outcome::Open`].
    Opened,
    /// [`Outcome::Committed`].
    Committed,
    /// [`Outcome::Aborted`].
    Aborted,
    /// [`Outcome::Duplicate`].
    Duplicate(Recorded),
    /// [`Outcome::Conflict`].
    Conflict(String),
    /// [`Outcome::Failed`].
    Failed(String),
    /// [`Outcome::Unknown`].
    Unknown(String),
    /// [`Outcome::Mismatch`] or [`Outcome::InProgress`].
    Refused(Refusal),
}

/// A control call that came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The socket is not there, or nobody listens.
    #[error("{0}")]
    Connect(#[from] io::Error),
    /// Nothing was sent, so nothing was done.
    #[error("the connection to the extension is closed, and nothing was sent")]
    NotSent,
    /// It may have been done.
    #[error("the connection to the extension broke: {0}")]
    Lost(#[from] hyper::Error),
    /// The answer is none.
    #[error("the extension's answer has no outcome: extension and shim are of different versions")]
    NoOutcome,
    /// The answer is none of this version.
    #[error("{0}")]
    UnknownOutcome(#[from] UnknownOutcome),
    /// A document that is not what it should be.
    #[error("extension and shim are of different versions: {0}")]
    Document(#[from] serde_json::Error),
    /// The answer is larger than any response can be, or broke off.
    #[error("the extension's answer cannot be read: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// It took too long.
    #[error("no answer within {ATTACH_LIMIT:?}")]
    TimedOut,
}

/// The extension, as the shim sees it.
#[derive(Debug)]
pub struct Coordinator {
    sender: SendRequest<Full<Bytes>>,
}

impl Coordinator {
    /// Connects and says hello.
    ///
    /// # Errors
    /// [`ControlError`] if the extension does not answer within two seconds.
    pub async fn attach(path: &Path) -> Result<(Self, Attached), ControlError> {
        Self::connect(path, control::ATTACH).await
    }

    /// Connects after a restore from a snapshot: the extension becomes one of this sandbox's own first.
    ///
    /// # Errors
    /// [`ControlError`] if the extension does not answer within two seconds.
    pub async fn restore(path: &Path) -> Result<(Self, Attached), ControlError> {
        Self::connect(path, control::RESTORE).await
    }

    async fn connect(path: &Path, hello: &'static str) -> Result<(Self, Attached), ControlError> {
        let until = Instant::now() + ATTACH_LIMIT;
        let stream = loop {
            match UnixStream::connect(path).await {
                Ok(stream) => break stream,
                Err(error) if Instant::now() + ATTACH_PAUSE >= until => return Err(error.into()),
                Err(_) => sleep(ATTACH_PAUSE).await,
            }
        };
        timeout_at(until, Self::hello(stream, hello)).await.unwrap_or(Err(ControlError::TimedOut))
    }

    /// Says hello over a connection that is there already, whatever it runs over.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<(Self, Attached), ControlError> {
        Self::hello(stream, control::ATTACH).await
    }

    async fn hello(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        hello: &'static str,
    ) -> Result<(Self, Attached), ControlError> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("the control connection broke: {error}");
            }
        });
        let mut coordinator = Self { sender };
        let reply = coordinator.call(hello, HeaderMap::new(), Bytes::new()).await?;
        let attached = serde_json::from_slice(&body(reply).await?)?;
        Ok((coordinator, attached))
    }

    /// Begins an attempt.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn begin(&mut self, begin: &Begin) -> Result<Answer, ControlError> {
        let document = serde_json::to_vec(begin)?;
        answer(self.call(control::BEGIN, HeaderMap::new(), document.into()).await?).await
    }

    /// Commits an attempt with the handler's response. After [`ControlError::NotSent`] it did not happen; after any other
    /// error it may have.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn commit(
        &mut self,
        transaction: TransactionId,
        attempt: AttemptNumber,
        content_type: Option<HeaderValue>,
        response: Bytes,
    ) -> Result<Answer, ControlError> {
        let mut headers = attempt_headers(transaction, attempt);
        headers.extend(content_type.map(|content_type| (CONTENT_TYPE, content_type)));
        answer(self.call(control::COMMIT, headers, response).await?).await
    }

    /// Asks whether the attempt's transaction has committed before: [`Answer::Opened`] if there is nothing of that.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn known(&mut self, transaction: TransactionId, attempt: AttemptNumber) -> Result<Answer, ControlError> {
        let headers = attempt_headers(transaction, attempt);
        answer(self.call(control::KNOWN, headers, Bytes::new()).await?).await
    }

    /// Aborts an attempt.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn abort(&mut self, transaction: TransactionId, attempt: AttemptNumber) -> Result<Answer, ControlError> {
        let headers = attempt_headers(transaction, attempt);
        answer(self.call(control::ABORT, headers, Bytes::new()).await?).await
    }

    /// Ends an invocation.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn end(&mut self, end: &End) -> Result<(), ControlError> {
        let document = serde_json::to_vec(end)?;
        let reply = self.call(control::END, HeaderMap::new(), document.into()).await?;
        // Read to its end, so that the connection can take the next call.
        body(reply).await?;
        Ok(())
    }

    async fn call(
        &mut self,
        path: &'static str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<hyper::body::Incoming>, ControlError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = hyper::Method::POST;
        *request.uri_mut() = hyper::Uri::from_static(path);
        *request.headers_mut() = headers;
        request.headers_mut().insert(HOST, HeaderValue::from_static("aft"));
        self.sender.ready().await.map_err(|_| ControlError::NotSent)?;
        self.sender.try_send_request(request).await.map_err(|mut error| match error.take_message() {
            Some(_) => ControlError::NotSent,
            None => ControlError::Lost(error.into_error()),
        })
    }
}

fn attempt_headers(transaction: TransactionId, attempt: AttemptNumber) -> HeaderMap {
    let texts = [(header::TRANSACTION, transaction.to_string()), (header::ATTEMPT, attempt.to_string())];
    let pairs = texts.into_iter().filter_map(|(name, text)| {
        Some((hyper::header::HeaderName::from_static(name), HeaderValue::from_str(&text).ok()?))
    });
    pairs.collect()
}

async fn answer(reply: Response<hyper::body::Incoming>) -> Result<Answer, ControlError> {
    let text = reply.headers().get(header::OUTCOME).and_then(|text| text.to_str().ok());
    let outcome: Outcome = text.ok_or(ControlError::NoOutcome)?.parse()?;
    let content_type = reply.headers().get(CONTENT_TYPE).cloned();
    let body = body(reply).await?;
    Ok(match outcome {
        Outcome::Open => Answer::Opened,
        Outcome::Committed => Answer::Committed,
        Outcome::Aborted => Answer::Aborted,
        Outcome::Duplicate => Answer::Duplicate(Recorded { content_type, body }),
        Outcome::Conflict => Answer::Conflict(detail(&body)),
        Outcome::Failed => Answer::Failed(detail(&body)),
        Outcome::Unknown => Answer::Unknown(detail(&body)),
        Outcome::Mismatch => Answer::Refused(Refusal::Mismatch(detail(&body))),
        Outcome::InProgress => Answer::Refused(Refusal::InProgress(detail(&body))),
    })
}

/// What the problem document says; a document that cannot be read is shown as it is.
fn detail(body: &Bytes) -> String {
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => format!("{} ({})", problem.detail, problem.code),
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    }
}

async fn body(reply: Response<hyper::body::Incoming>) -> Result<Bytes, ControlError> {
    let collected = Limited::new(reply.into_body(), limits::RESPONSE_BYTES).collect().await;
    collected.map(|collected| collected.to_bytes()).map_err(ControlError::Body)
}
