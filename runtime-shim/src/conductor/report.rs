//! The answer that Lambda gets: the handler's response, the recorded one, the runtime's own error, or one of ours.

use aft_protocol::limits;
use aft_protocol::wire::End;
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Method, Response, StatusCode};

use super::open::{Fault, Open};
use super::{Child, Conductor};
use crate::body::{Body, Whole};
use crate::invocation::{Failure, Whose};
use crate::platform;
use crate::retry::Cause;
use crate::upstream::{Head, Post, own_head};

impl Conductor {
    /// Lambda gets a response: that of the commit.
    pub(super) async fn release(&mut self, mut open: Open, whose: Whose) {
        let post = match whose {
            Whose::Handlers => open.posted.take().map(|(head, body)| Post { head, body: body.unwrap_or_default() }),
            Whose::Recorded => {
                tracing::info!(
                    transaction = %open.transaction,
                    attempt = %open.attempt,
                    "the transaction had committed before: its recorded response is released"
                );
                Some(recorded(&mut open))
            }
        };
        self.answer(open, post, None).await;
    }

    /// Lambda gets an error.
    pub(super) async fn report(&mut self, mut open: Open, failure: Failure) {
        let post = match failure {
            Failure::Attempt(Cause::Error) => {
                open.posted.take().map(|(head, body)| Post { head, body: body.unwrap_or_default() })
            }
            Failure::Attempt(Cause::Crash) => Some(crash(&open)),
            Failure::Attempt(Cause::TooLarge) => Some(error_post(&open, &too_large())),
            Failure::NotBegun | Failure::Unknown | Failure::Attempt(Cause::Conflict | Cause::CommitFailed) => {
                open.fault.take().map(|fault| error_post(&open, &described(&open, fault)))
            }
        };
        let to_runtime = (failure == Failure::Attempt(Cause::TooLarge)).then(platform::too_large);
        self.answer(open, post, to_runtime).await;
    }

    /// Posts, answers the runtime with Lambda's answer (or with `to_runtime`), and ends the invocation.
    async fn answer(&mut self, mut open: Open, post: Option<Post>, to_runtime: Option<Response<Body>>) {
        let post = post.unwrap_or_else(|| error_post(&open, &lost()));
        let route = post.head.uri.path().to_owned();
        let answer = match self.upstream.post(&post).await {
            Ok(answer) => answer,
            Err(error) => platform::refused(StatusCode::BAD_GATEWAY, "Aft.RuntimeApi", &error.to_string()),
        };
        let (transaction, attempt) = (open.transaction, open.attempt);
        if answer.status().is_success() {
            tracing::debug!(transaction = %transaction, attempt = %attempt, "Lambda took {route}");
        } else {
            let status = answer.status();
            tracing::error!(transaction = %transaction, attempt = %attempt, "Lambda answered {status} to {route}");
        }
        if let Some(reply) = open.reply.take() {
            // The runtime may have gone.
            let _ = reply.send(to_runtime.unwrap_or(answer));
        }
        let request = open.delivery.request().clone();
        if let Err(error) = self.coordinator.end(&End { request: request.clone() }).await {
            tracing::error!(transaction = %transaction, attempt = %attempt, "ending the invocation: {error}");
        }
        self.last = Some(request);
        if self.waiting.is_some() || self.child == Child::Down {
            self.poll();
        }
    }
}

fn path(open: &Open, ending: &str) -> String {
    format!("{}{}/{ending}", platform::INVOCATION, open.delivery.request())
}

/// A post of our own for this invocation.
fn own_post(open: &Open, ending: &str, mut headers: HeaderMap, body: Bytes) -> Post {
    let invocation = open.delivery.invocation().cloned();
    headers.extend(invocation.map(|invocation| (platform::INVOCATION_ID, invocation)));
    let mut head = own_head(Method::POST, &path(open, ending));
    head.headers = headers;
    Post { head, body: Whole::from(body) }
}

fn error_post(open: &Open, fault: &Fault) -> Post {
    let document = platform::posted_error(fault.kind, &fault.message);
    own_post(open, "error", platform::error_headers(fault.kind), document)
}

/// R-COMMIT-2: the response of the earlier commit, under this invocation.
fn recorded(open: &mut Open) -> Post {
    let Some(recorded) = open.recorded.take() else { return error_post(open, &lost()) };
    let mut headers: HeaderMap = recorded.content_type.map(|kind| (CONTENT_TYPE, kind)).into_iter().collect();
    let is_stream = |head: &Head| platform::is_streaming(&head.headers);
    let streaming = platform::is_streaming(&headers) || open.posted.as_ref().is_some_and(|(head, _)| is_stream(head));
    if streaming {
        headers.insert(platform::RESPONSE_MODE, HeaderValue::from_static("streaming"));
    }
    let mut post = own_post(open, "response", headers, recorded.body);
    post.body.chunked = streaming;
    post
}

/// The runtime's own words if it had any, else Lambda's.
fn crash(open: &Open) -> Post {
    match &open.init_error {
        Some(Post { head, body }) => {
            let mut head = Head::clone(head);
            head.uri = own_head(Method::POST, &path(open, "error")).uri;
            let invocation = open.delivery.invocation().cloned();
            head.headers.extend(invocation.map(|invocation| (platform::INVOCATION_ID, invocation)));
            Post { head, body: body.clone() }
        }
        None => {
            let message = platform::exit_message(Some(open.delivery.request()), open.exit);
            error_post(open, &Fault { kind: "Runtime.ExitError", message })
        }
    }
}

fn too_large() -> Fault {
    let message =
        format!("Response payload size exceeded maximum allowed payload size ({} bytes).", limits::RESPONSE_BYTES);
    Fault { kind: "Function.ResponseSizeTooLarge", message }
}

fn described(open: &Open, fault: Fault) -> Fault {
    let Fault { kind, message } = fault;
    Fault { kind, message: format!("{message} (transaction {}, attempt {})", open.transaction, open.attempt) }
}

/// A fault of this program that is told rather than hidden.
fn lost() -> Fault {
    Fault { kind: "Aft.Impossible", message: "aft-runtime-shim lost the answer of this invocation".to_owned() }
}
