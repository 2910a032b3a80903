//! The Runtime API for one child, on a port of its own; one file per route.
//!
//! | file | what |
//! |---|---|
//! | `next.rs` | the next event, or the same one again |
//! | `response.rs` | the handler's response |
//! | `error.rs` | the handler's error |
//! | `restore.rs` | the wait for a restore, under SnapStart |
//! | `init_error.rs` | the runtime could not start |
//! | `passthrough.rs` | everything else, untouched |
//!
//! Each route says to the conductor what was called, and answers with what the conductor says.

mod error;
mod init_error;
mod next;
mod passthrough;
mod response;
mod restore;

use aft_protocol::id::RequestId;
use aft_protocol::limits;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use crate::body::{Body, collect};
use crate::message::{Call, Ending, Generation, Message, Outbox};
use crate::platform;
use crate::upstream::Upstream;

/// Who calls, and whom a route asks.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Which child.
    pub child: Generation,
    /// The conductor's.
    pub outbox: Outbox,
    /// Lambda's, for what is passed through.
    pub upstream: Upstream,
    /// `AFT_STREAMING=pass-through`.
    pub pass_streams: bool,
    /// Whether the sandbox is restored from a snapshot.
    pub snap_start: bool,
}

/// A call that is not to be answered: its connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the call broke off, or nobody waits for its answer any more")]
pub struct Gone;

impl Caller {
    async fn ask(&self, call: Call) -> Result<Response<Body>, Gone> {
        let (reply, answer) = oneshot::channel();
        self.outbox.send(Message::Called { child: self.child, call, reply }).map_err(|_| Gone)?;
        answer.await.map_err(|_| Gone)
    }

    /// The runtime ends an invocation: heard once its body is all there.
    async fn end(&self, ending: Ending, named: RequestId, request: Request<Incoming>) -> Result<Response<Body>, Gone> {
        let (head, incoming) = request.into_parts();
        let body = collect(incoming, limits::RESPONSE_BYTES).await.map_err(|error| {
            // As if it had not begun: the runtime posts again, or dies.
            tracing::warn!(request = %named, "the runtime broke off {}: {error}", head.uri.path());
            Gone
        })?;
        self.ask(Call::End { ending, request: named, head: Box::new(head), body }).await
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Body>, Gone> {
        match Route::of(request.method(), request.uri().path()) {
            Route::Next => next::answer(&self, request).await,
            Route::Response(named) => response::answer(&self, named, request).await,
            Route::Error(named) => error::answer(&self, named, request).await,
            Route::Restore if self.snap_start => restore::answer(&self, request).await,
            Route::Restore => passthrough::answer(&self, request).await,
            Route::InitError => init_error::answer(&self, request).await,
            Route::UnknownOfInvocation => {
                let message = format!(
                    "{} {} is not a route of the Runtime API 2018-06-01: to pass it through would go round the \
                     transaction",
                    request.method(),
                    request.uri().path()
                );
                tracing::error!("{message}");
                Ok(platform::refused(StatusCode::NOT_FOUND, "Aft.UnknownRoute", &message))
            }
            Route::Other => passthrough::answer(&self, request).await,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Route {
    Next,
    Response(RequestId),
    Error(RequestId),
    Restore,
    InitError,
    UnknownOfInvocation,
    Other,
}

impl Route {
    fn of(method: &Method, path: &str) -> Self {
        if *method == Method::GET && path == platform::NEXT {
            return Self::Next;
        }
        if *method == Method::GET && path == platform::RESTORE_NEXT {
            return Self::Restore;
        }
        if *method == Method::POST && path == platform::INIT_ERROR {
            return Self::InitError;
        }
        let of_one = path.strip_prefix(platform::INVOCATION).and_then(|rest| rest.split_once('/'));
        match of_one {
            Some((request, "response")) if *method == Method::POST => Self::Response(RequestId::new(request)),
            Some((request, "error")) if *method == Method::POST => Self::Error(RequestId::new(request)),
            // Also of a version to come: it must not go round the transaction unseen.
            Some(_) | None if decoded(path).contains("/runtime/invocation") => Self::UnknownOfInvocation,
            Some(_) | None => Self::Other,
        }
    }
}

/// A path as whoever decodes it before routing it would read it; what is not well formed stays as it is.
fn decoded(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        let escaped = digit(0).zip(digit(1)).filter(|_| *first == b'%');
        let escaped = escaped.and_then(|(high, low)| u8::try_from(16 * high + low).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = &after[if escaped.is_some() { 2 } else { 0 }..];
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The Runtime API of one child; dropped, it breaks its connections and takes no more.
#[derive(Debug)]
pub struct Proxy {
    serving: JoinHandle<()>,
    no_more: Option<oneshot::Sender<()>>,
}

impl Proxy {
    /// Starts serving.
    #[must_use]
    pub fn start(listener: TcpListener, caller: Caller) -> Self {
        let (no_more, closed) = oneshot::channel();
        Self { serving: tokio::spawn(serve(listener, caller, closed)), no_more: Some(no_more) }
    }

    /// Takes no more connections, and waits for those that are there to end.
    pub async fn last_calls(&mut self) {
        self.no_more = None;
        // Fails only if the task panicked, and then its connections are gone.
        let _ = (&mut self.serving).await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, caller: Caller, mut closed: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(connection(stream, caller.clone()))),
                Err(error) => {
                    tracing::warn!("accepting a connection of the runtime: {error}");
                    tokio::task::yield_now().await;
                }
            },
            Some(_) = connections.join_next() => {}
            _ = &mut closed => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(stream: TcpStream, caller: Caller) {
    // Costs 40 ms a call where it is missing; a connection that refuses it works all the same.
    let _ = stream.set_nodelay(true);
    converse(stream, caller).await;
}

/// Serves one connection of a child, whatever it runs over, to its end.
pub async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, caller: Caller) {
    let service = service_fn(|request| caller.clone().answer(request));
    let mut builder = http1::Builder::new();
    // As Lambda wrote it, and nothing added.
    builder.preserve_header_case(true).auto_date_header(false);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!("a connection of the runtime broke: {error}");
    }
}

#[cfg(test)]
mod tests {
    use aft_protocol::id::RequestId;
    use hyper::Method;

    use super::Route;

    #[test]
    fn nothing_of_an_invocation_is_passed_through() {
        let one = || RequestId::new("r-1");
        for (method, path, route) in [
            (Method::GET, "/2018-06-01/runtime/invocation/next", Route::Next),
            (Method::POST, "/2018-06-01/runtime/invocation/r-1/response", Route::Response(one())),
            (Method::POST, "/2018-06-01/runtime/invocation/r-1/error", Route::Error(one())),
            (Method::POST, "/2018-06-01/runtime/init/error", Route::InitError),
            (Method::PUT, "/2018-06-01/runtime/invocation/r-1/response", Route::UnknownOfInvocation),
            (Method::POST, "/2018-06-01/runtime/invocation/r-1/response/", Route::UnknownOfInvocation),
            (Method::POST, "/2018-06-01/runtime/invocation/next", Route::UnknownOfInvocation),
            (Method::POST, "//2018-06-01/runtime/invocation/r-1/response", Route::UnknownOfInvocation),
            (Method::GET, "/2030-01-01/runtime/invocation/next", Route::UnknownOfInvocation),
            // Once, these were passed on, to a server that may decode a path before it routes it.
            (Method::POST, "/2018-06-01/runtime/%69nvocation/r-1/response", Route::UnknownOfInvocation),
            (Method::POST, "/2018-06-01/runtime%2Finvocation%2fr-1/response", Route::UnknownOfInvocation),
            (Method::GET, "/2018-06-01/runtime/restore/next", Route::Restore),
            (Method::POST, "/2018-06-01/runtime/restore/error", Route::Other),
            (Method::PUT, "/2022-07-01/telemetry", Route::Other),
        ] {
            assert_eq!(Route::of(&method, path), route, "{method} {path}");
        }
    }
}
