//! The control API for the shim, on a Unix socket that only this user can open.
//!
//! The end of the shim's connection is the end of the shim: what it had begun is aborted, and the lifecycle does not wait
//! for it any longer.

use std::convert::Infallible;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::OnceLock;

use aft_protocol::id::{AttemptNumber, TransactionId};
use aft_protocol::limits;
use aft_protocol::record::Response as Recorded;
use aft_protocol::wire::{Attached, Begin, End, ErrorCode, Outcome, PROBLEM_JSON, Problem, control, header};
use aft_store::Store;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixListener;

use crate::http;
use crate::session::{Aborted, Begun, CommitResult, Session, SessionError};

type Reply = Response<Full<Bytes>>;

/// Binds the control socket, in a directory that only this user can enter.
///
/// # Errors
/// If the path cannot be used, or another extension is listening there.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent().filter(|directory| !directory.exists()) {
        fs::create_dir_all(directory)?;
        fs::set_permissions(directory, Permissions::from_mode(0o700))?;
    }
    if BlockingStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another extension is listening there"));
    }
    match fs::remove_file(path) {
        // Left behind by an extension that was killed.
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// What the control API serves from.
pub struct Control<S> {
    session: Session<S>,
    endpoint: String,
    token: Option<http::Token>,
}

impl<S: Store> Control<S> {
    /// The control API of `session`, whose local endpoint has this base URL and secret.
    #[must_use]
    pub fn new(session: Session<S>, endpoint: String, token: Option<http::Token>) -> Self {
        Self { session, endpoint, token }
    }

    /// Serves connections for as long as the process lives.
    pub async fn serve(self, listener: UnixListener) {
        let control = Arc::new(self);
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let control = Arc::clone(&control);
                    tokio::spawn(async move { control.converse(stream).await });
                }
                Err(error) => {
                    tracing::warn!("accepting a control connection: {error}");
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Serves one shim, whatever its connection runs over, to its end.
    pub async fn converse(&self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let shim = OnceLock::new();
        let service = service_fn(|request| self.answer(request, &shim));
        if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await {
            tracing::debug!("a control connection broke: {error}");
        }
        if let Some(shim) = shim.get() {
            self.session.detach(*shim);
        }
    }

    async fn answer(&self, request: Request<Incoming>, shim: &OnceLock<u64>) -> Result<Reply, Infallible> {
        let path = request.uri().path().to_owned();
        let reply = match (request.method(), path.as_str()) {
            (&Method::POST, control::ATTACH) => Ok(self.attach(shim)),
            (&Method::POST, control::RESTORE) => Ok(self.restore(shim)),
            (&Method::POST, control::BEGIN) => self.begin(request).await,
            (&Method::POST, control::KNOWN) => self.known(&request).await,
            (&Method::POST, control::COMMIT) => self.commit(request).await,
            (&Method::POST, control::ABORT) => self.abort(&request).await,
            (&Method::POST, control::END) => self.end(request).await,
            (method, path) => Err(Malformed(format!("{method} {path} is not a control call of this version"))),
        };
        Ok(reply.unwrap_or_else(|Malformed(detail)| {
            let mut reply = problem(Outcome::Failed, ErrorCode::MalformedRequest, &detail, None);
            *reply.status_mut() = StatusCode::BAD_REQUEST;
            reply
        }))
    }

    fn attach(&self, shim: &OnceLock<u64>) -> Reply {
        shim.get_or_init(|| self.session.attach());
        document(&Attached {
            endpoint: self.endpoint.clone(),
            token: self.token.as_ref().map(|token| token.reveal()),
            sandbox: self.session.sandbox(),
        })
    }

    /// Nothing of before the snapshot counts any more: others may have been restored from the same one.
    fn restore(&self, shim: &OnceLock<u64>) -> Reply {
        self.session.restore();
        if let Some(token) = &self.token {
            token.renew(self.session.random());
        }
        tracing::info!(sandbox = %self.session.sandbox(), "restored from a snapshot");
        self.attach(shim)
    }

    async fn begin(&self, request: Request<Incoming>) -> Result<Reply, Malformed> {
        let begin: Begin = json(request).await?;
        let transaction = begin.transaction;
        Ok(match self.session.begin(begin).await {
            Ok(Begun::Open) => outcome(Outcome::Open),
            Ok(Begun::Duplicate(response)) => recorded(&response),
            Ok(Begun::Mismatch) => mismatch(transaction),
            Ok(Begun::InProgress) => {
                let detail = "another invocation is at this transaction: this one did not run, and nothing was written. \
                              Send the same request again, later";
                problem(Outcome::InProgress, ErrorCode::InProgress, detail, Some(transaction))
            }
            Err(error) => failed(&error, transaction),
        })
    }

    async fn commit(&self, request: Request<Incoming>) -> Result<Reply, Malformed> {
        let (transaction, attempt) = which(&request)?;
        // Kept byte for byte, ASCII or not; what is no text at all cannot be kept.
        let content_type = request.headers().get(CONTENT_TYPE).map(|text| text.as_bytes().to_vec());
        let content_type = content_type.and_then(|bytes| String::from_utf8(bytes).ok());
        let body = body(request).await?;
        let result = self.session.commit(transaction, attempt, Recorded { content_type, body }).await;
        Ok(ended(result, Outcome::Committed, transaction))
    }

    async fn known(&self, request: &Request<Incoming>) -> Result<Reply, Malformed> {
        let (transaction, attempt) = which(request)?;
        let result = self.session.known(transaction, attempt).await;
        Ok(ended(result, Outcome::Open, transaction))
    }

    async fn abort(&self, request: &Request<Incoming>) -> Result<Reply, Malformed> {
        let (transaction, attempt) = which(request)?;
        Ok(match self.session.abort(transaction, attempt).await {
            Ok(Aborted::Gone) => outcome(Outcome::Aborted),
            Ok(Aborted::Duplicate(response)) => recorded(&response),
            Ok(Aborted::Mismatch) => mismatch(transaction),
            Ok(Aborted::Conflict(detail)) => {
                problem(Outcome::Conflict, ErrorCode::ReadConflict, &detail, Some(transaction))
            }
            Err(error) => failed(&error, transaction),
        })
    }

    async fn end(&self, request: Request<Incoming>) -> Result<Reply, Malformed> {
        let end: End = json(request).await?;
        self.session.release(&end.request).await;
        self.session.end(end.request);
        let mut reply = Reply::default();
        *reply.status_mut() = StatusCode::NO_CONTENT;
        Ok(reply)
    }
}

/// A control call that extension and shim of the same version never make.
struct Malformed(String);

fn which(request: &Request<Incoming>) -> Result<(TransactionId, AttemptNumber), Malformed> {
    let text = |name| request.headers().get(name).and_then(|text| text.to_str().ok()).unwrap_or_default();
    let transaction = text(header::TRANSACTION).parse().map_err(|error| Malformed(format!("{error}")))?;
    let attempt = http::attempt_number(text(header::ATTEMPT));
    Ok((transaction, attempt.ok_or_else(|| Malformed("no attempt is named".to_owned()))?))
}

async fn body(request: Request<Incoming>) -> Result<Bytes, Malformed> {
    let collected = Limited::new(request.into_body(), limits::RESPONSE_BYTES).collect().await;
    Ok(collected.map_err(|error| Malformed(format!("the body: {error}")))?.to_bytes())
}

async fn json<T: serde::de::DeserializeOwned>(request: Request<Incoming>) -> Result<T, Malformed> {
    serde_json::from_slice(&body(request).await?).map_err(|error| Malformed(format!("the document: {error}")))
}

fn outcome(outcome: Outcome) -> Reply {
    let mut reply = Reply::default();
    reply.headers_mut().insert(header::OUTCOME, HeaderValue::from_static(outcome.as_str()));
    reply
}

fn recorded(response: &Recorded) -> Reply {
    let mut reply = outcome(Outcome::Duplicate);
    if let Some(content_type) = response.content_type.as_ref().and_then(|text| HeaderValue::from_str(text).ok()) {
        reply.headers_mut().insert(CONTENT_TYPE, content_type);
    }
    *reply.body_mut() = Full::new(response.body.clone());
    reply
}

fn problem(ended: Outcome, code: ErrorCode, detail: &str, transaction: Option<TransactionId>) -> Reply {
    let document = Problem::new(code, detail, transaction);
    let mut reply = outcome(ended);
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    *reply.body_mut() = Full::from(serde_json::to_vec(&document).unwrap_or_default());
    reply
}

/// The reply to a commit, or to the question what it would find; `happy` if nothing was in its way.
fn ended(result: Result<CommitResult, SessionError>, happy: Outcome, transaction: TransactionId) -> Reply {
    let unhappy = |outcome, code, detail: &str| problem(outcome, code, detail, Some(transaction));
    match result {
        Ok(CommitResult::Committed) => outcome(happy),
        Ok(CommitResult::Duplicate(response)) => recorded(&response),
        Ok(CommitResult::Mismatch) => mismatch(transaction),
        Ok(CommitResult::Conflict(code, detail)) => unhappy(Outcome::Conflict, code, &detail),
        Ok(CommitResult::Failed(code, detail)) => unhappy(Outcome::Failed, code, &detail),
        Ok(CommitResult::Unknown(code, detail)) => unhappy(Outcome::Unknown, code, &detail),
        Err(error) => failed(&error, transaction),
    }
}

fn mismatch(transaction: TransactionId) -> Reply {
    let detail = "this key has been used with another payload. Nothing was written, and the answer to the other payload \
                  is not given to this one: use a new key for a new request, or send the first one again as it was";
    problem(Outcome::Mismatch, ErrorCode::PayloadMismatch, detail, Some(transaction))
}

fn failed(error: &SessionError, transaction: TransactionId) -> Reply {
    problem(Outcome::Failed, http::code_of(error), &error.to_string(), Some(transaction))
}

fn document(document: &impl serde::Serialize) -> Reply {
    let mut reply = Reply::new(Full::from(serde_json::to_vec(document).unwrap_or_default()));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}
