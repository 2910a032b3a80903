//! The local key-value endpoint: HTTP/1.1 on the loopback interface, one file per route.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | connections, and which file answers which route |
//! | `guard.rs` | who may ask: host, token, no proxies |
//! | `reply.rs` | answers, and errors as problem documents (RFC 9457) |
//! | `request.rs` | what all routes read: keys, conditions, bodies with a limit |
//! | `freshness.rs` | `Cache-Control` of reads, and what an answer says of the cache |
//! | `get.rs` `put.rs` `delete.rs` `batch_get.rs` `batch_write.rs` | keys |
//! | `transaction.rs` `abort.rs` | the invocation's transaction |
//! | `transactions/` | explicit transactions |
//! | `health.rs` `openapi.rs` | about the endpoint itself |

mod abort;
mod batch_get;
mod batch_write;
mod delete;
mod freshness;
mod get;
mod guard;
mod health;
mod openapi;
mod put;
mod reply;
mod request;
mod transaction;
mod transactions;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use aft_protocol::id::Scope;
use aft_protocol::wire::{ErrorCode, route};
use aft_store::Store;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::session::Session;

pub use guard::Token;
pub(crate) use reply::code_of;
use reply::{Answer, Refused, Reply};
pub(crate) use request::attempt_number;

/// Connections at the same time; more wait to be accepted.
const CONNECTIONS: usize = 256;

/// What every route may use.
pub struct Endpoint<S> {
    session: Session<S>,
    address: SocketAddr,
    token: Option<Token>,
    function: Scope,
}

impl<S: Store> Endpoint<S> {
    /// An endpoint at `address`; without a token, none is asked for. Keys of explicit transactions are unique within
    /// `function`, unless a request gives another scope.
    #[must_use]
    pub fn new(session: Session<S>, address: SocketAddr, token: Option<Token>, function: Scope) -> Self {
        Self { session, address, token, function }
    }

    /// Serves connections for as long as the process lives.
    pub async fn serve(self, listener: TcpListener) {
        let endpoint = Arc::new(self);
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!("accepting a connection to the local endpoint: {error}");
                    tokio::task::yield_now().await;
                    continue;
                }
            };
            // Without it, Nagle and delayed acknowledgements cost 40 ms on some answers.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!("setting TCP_NODELAY: {error}");
            }
            let endpoint = Arc::clone(&endpoint);
            tokio::spawn(async move {
                endpoint.converse(stream).await;
                drop(permit);
            });
        }
    }

    /// Serves one connection, whatever it runs over, to its end.
    pub async fn converse(&self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let service = service_fn(|request| self.answer(request));
        // A client that hangs up is no event: what it asked for is done or not begun.
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Reply, Infallible> {
        let answer = match guard::admit(self, &request) {
            Ok(()) => self.route(request).await,
            Err(refused) => Err(refused),
        };
        Ok(answer.unwrap_or_else(|refused| refused.into_reply(self.session.open_transaction())))
    }

    async fn route(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path();
        if request.uri().query().is_some() {
            return Err(Refused::new(
                ErrorCode::MalformedRequest,
                "no route takes a query; a question mark in a key is written %3F",
            ));
        }
        let method = request.method().clone();
        if let Some(encoded) = path.strip_prefix(route::KV) {
            let key = request::key(encoded)?;
            return match method {
                Method::GET | Method::HEAD => get::answer(self, &request, key).await,
                Method::PUT => put::answer(self, request, key).await,
                Method::DELETE => delete::answer(self, &request, key).await,
                _ => Err(Refused::method("GET, HEAD, PUT, DELETE")),
            };
        }
        if let Some(rest) =
            path.strip_prefix(route::TRANSACTIONS).filter(|rest| rest.is_empty() || rest.starts_with('/'))
        {
            let rest = rest.to_owned();
            return transactions::answer(self, request, &rest).await;
        }
        match (path, method) {
            (route::BATCH_GET, Method::POST) => batch_get::answer(self, request).await,
            (route::BATCH_WRITE, Method::POST) => batch_write::answer(self, request).await,
            (route::ABORT, Method::POST) => abort::answer(self, &request),
            (route::TRANSACTION, Method::GET | Method::HEAD) => transaction::answer(self, &request),
            (route::HEALTH, Method::GET | Method::HEAD) => health::answer(self),
            (route::OPENAPI, Method::GET | Method::HEAD) => openapi::answer(),
            (route::BATCH_GET | route::BATCH_WRITE | route::ABORT, _) => Err(Refused::method("POST")),
            (route::TRANSACTION | route::HEALTH | route::OPENAPI, _) => Err(Refused::method("GET, HEAD")),
            (other, _) => Err(Refused::new(
                ErrorCode::UnknownRoute,
                format!("{other:?} is not a route; GET {} lists them", route::OPENAPI),
            )),
        }
    }
}

#[cfg(test)]
mod tests;
