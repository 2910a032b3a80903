//! The calls of the Extensions API (2020-01-01), on plain hyper: see `docs/adr/0001-plain-hyper-for-the-extensions-api.md`.

use std::io;
use std::time::Duration;

use aft_protocol::id::RequestId;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

const REGISTER: &str = "/2020-01-01/extension/register";
const NEXT: &str = "/2020-01-01/extension/event/next";
const INIT_ERROR: &str = "/2020-01-01/extension/init/error";
const EXIT_ERROR: &str = "/2020-01-01/extension/exit/error";

/// How often `event/next` is tried in a row, and with which pause.
const NEXT_TRIES: u32 = 20;
const NEXT_PAUSE: Duration = Duration::from_millis(50);

const IDENTIFIER: &str = "lambda-extension-identifier";
const ERROR_TYPE: &str = "lambda-extension-function-error-type";

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The API cannot be reached.
    #[error("the Extensions API at {address} cannot be reached: {source}")]
    Unreachable {
        /// `AWS_LAMBDA_RUNTIME_API`.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The exchange broke off.
    #[error("the Extensions API broke off {call}: {source}")]
    Broken {
        /// The call.
        call: &'static str,
        /// Why.
        source: hyper::Error,
    },
    /// The API refused.
    #[error("the Extensions API answered {call} with {status}: {body}")]
    Refused {
        /// The call.
        call: &'static str,
        /// Its status.
        status: StatusCode,
        /// What it said.
        body: String,
    },
    /// The answer is not understood.
    #[error("the Extensions API answered {call} with something else than documented: {what}")]
    Malformed {
        /// The call.
        call: &'static str,
        /// What is wrong.
        what: String,
    },
}

/// What Lambda tells an extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An invocation begins.
    Invoke {
        /// Its request ID.
        request: RequestId,
        /// When Lambda ends it, in milliseconds since the epoch.
        deadline_ms: u64,
    },
    /// The sandbox ends.
    Shutdown {
        /// Why: for people, since documentation and platform differ.
        reason: String,
    },
    /// Something that this version does not know; it is passed over.
    Other(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventDocument {
    event_type: String,
    #[serde(default)]
    request_id: String,
    #[serde(default)]
    deadline_ms: u64,
    #[serde(default)]
    shutdown_reason: String,
}

/// The Extensions API at an address.
pub struct Api {
    address: String,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Api {
    /// The API at `AWS_LAMBDA_RUNTIME_API`, a host and a port.
    #[must_use]
    pub fn new(address: impl Into<String>) -> Self {
        Self { address: address.into(), connection: None }
    }

    /// Registers under `name`, which must be the executable's file name.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn register(mut self, name: &str, events: &[&str]) -> Result<Registration, ApiError> {
        let body = serde_json::json!({ "events": events }).to_string();
        let request = Request::builder().method(Method::POST).uri(REGISTER).header("lambda-extension-name", name);
        let (parts, _) = self.call("register", request, body.into()).await?;
        let identifier = parts.headers.get(IDENTIFIER).and_then(|text| text.to_str().ok());
        let what = || "there is no Lambda-Extension-Identifier".to_owned();
        let identifier = identifier.ok_or_else(|| ApiError::Malformed { call: "register", what: what() })?.to_owned();
        Ok(Registration { api: self, identifier })
    }

    async fn call(
        &mut self,
        call: &'static str,
        request: hyper::http::request::Builder,
        body: Bytes,
    ) -> Result<(hyper::http::response::Parts, Bytes), ApiError> {
        let request = request.header(HOST, &self.address).header(CONTENT_TYPE, "application/json");
        let what = |error: hyper::http::Error| ApiError::Malformed { call, what: error.to_string() };
        let request = request.body(Full::new(body)).map_err(what)?;
        let broken = |source| ApiError::Broken { call, source };
        let response = self.connection().await?.send_request(request).await.map_err(broken)?;
        let (parts, body): (_, hyper::body::Incoming) = Response::into_parts(response);
        let body = body.collect().await.map_err(broken)?.to_bytes();
        if !parts.status.is_success() {
            let body = String::from_utf8_lossy(&body).into_owned();
            return Err(ApiError::Refused { call, status: parts.status, body });
        }
        Ok((parts, body))
    }

    /// The kept connection if it still works, or a new one.
    async fn connection(&mut self) -> Result<&mut SendRequest<Full<Bytes>>, ApiError> {
        let usable = match &mut self.connection {
            Some(connection) => connection.ready().await.is_ok(),
            None => false,
        };
        if !usable {
            self.connection = None;
        }
        let address = &self.address;
        match &mut self.connection {
            Some(connection) => Ok(connection),
            none => {
                let unreachable = |source| ApiError::Unreachable { address: address.clone(), source };
                let stream = TcpStream::connect(address.as_str()).await.map_err(unreachable)?;
                stream.set_nodelay(true).map_err(unreachable)?;
                let handshake = http1::handshake(TokioIo::new(stream)).await;
                let (sender, connection) = handshake.map_err(|source| ApiError::Broken { call: "connect", source })?;
                // Its end shows in the next call.
                tokio::spawn(connection);
                Ok(none.insert(sender))
            }
        }
    }
}

/// This extension, registered.
pub struct Registration {
    api: Api,
    identifier: String,
}

impl Registration {
    /// Waits for the next event; no time limit. A connection that broke meanwhile (while the sandbox was frozen, say) is
    /// made anew: to ask again is harmless.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn next(&mut self) -> Result<Event, ApiError> {
        let mut tries = 0;
        let body = loop {
            let started = Instant::now();
            let request = Request::builder().uri(NEXT).header(IDENTIFIER, &self.identifier);
            let error = match self.api.call("event/next", request, Bytes::new()).await {
                Ok((_, body)) => break body,
                Err(error) => error,
            };
            // A connection that broke after a long wait says nothing about the next one.
            tries = if started.elapsed() > NEXT_PAUSE * NEXT_TRIES { 1 } else { tries + 1 };
            // Lambda refuses a second call until it has noticed the end of the first.
            let may_pass = tries > 1 || matches!(error, ApiError::Broken { .. } | ApiError::Unreachable { .. });
            if !may_pass || tries >= NEXT_TRIES {
                return Err(error);
            }
            tracing::debug!("{error}; trying again");
            sleep(NEXT_PAUSE).await;
        };
        let what = |error: serde_json::Error| ApiError::Malformed { call: "event/next", what: error.to_string() };
        let event: EventDocument = serde_json::from_slice(&body).map_err(what)?;
        Ok(if event.event_type.eq_ignore_ascii_case("invoke") {
            Event::Invoke { request: RequestId::new(event.request_id), deadline_ms: event.deadline_ms }
        } else if event.event_type.eq_ignore_ascii_case("shutdown") {
            Event::Shutdown { reason: event.shutdown_reason }
        } else {
            Event::Other(event.event_type)
        })
    }

    /// Reports that this extension cannot start. Nothing can be called afterwards.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn init_error(&mut self, kind: &str, message: &str) -> Result<(), ApiError> {
        self.report("init/error", INIT_ERROR, kind, message).await
    }

    /// Reports that this extension must end. Nothing can be called afterwards.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn exit_error(&mut self, kind: &str, message: &str) -> Result<(), ApiError> {
        self.report("exit/error", EXIT_ERROR, kind, message).await
    }

    async fn report(&mut self, call: &'static str, path: &str, kind: &str, message: &str) -> Result<(), ApiError> {
        let body = serde_json::json!({ "errorType": kind, "errorMessage": message, "stackTrace": [] }).to_string();
        let request = Request::builder().method(Method::POST).uri(path);
        let request = request.header(IDENTIFIER, &self.identifier).header(ERROR_TYPE, kind);
        self.api.call(call, request, body.into()).await.map(drop)
    }
}
