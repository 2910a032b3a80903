//! The answer that Lambda gets: the handler's response, the recorded one, the runtime's own error, or one of ours.

use aft_protocol::limits;
use aft_protocol::wire::End;
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Method, Response};

use super::open::{Fault, Flight, Open, Posted};
use super::{Child, Conductor, stream};
use crate::body::{Body, Collected, Whole};
use crate::identity::Refusal;
use crate::invocation::{Failure, Whose};
use crate::platform;
use crate::retry::{Cause, Reason};
use crate::upstream::{Head, Post, own_head};

/// Characters of a handler's own error that are told beside a conflict.
const MOST_OF_A_HANDLERS_WORDS: usize = 500;

impl Conductor {
    /// Lambda gets a response: that of the commit.
    pub(super) async fn release(&mut self, mut open: Open, whose: Whose) {
        if whose == Whose::Recorded {
            tracing::info!(
                transaction = %open.transaction,
                attempt = %open.attempt,
                "the transaction had committed before: its recorded response is released"
            );
        }
        if let Some(Flight { head, relay, ended }) = open.flight.take() {
            let trailers = match &ended {
                Some(ended) => stream::released(&head, ended, whose, open.recorded.as_ref()),
                None => lost_trailers(),
            };
            let answer = stream::end(relay, trailers).await;
            return self.over(open, &head, answer, None).await;
        }
        let post = match whose {
            Whose::Handlers => own_words(&mut open),
            Whose::Recorded => recorded(&mut open),
        };
        self.answer(open, post, None).await;
    }

    /// Lambda gets an error.
    pub(super) async fn report(&mut self, mut open: Open, failure: Failure) {
        if let Some(Flight { head, relay, ended }) = open.flight.take() {
            let fault = self.fault(&mut open, failure);
            let answer = stream::end(relay, stream::failed(ended.as_ref(), failure, &fault)).await;
            return self.over(open, &head, answer, None).await;
        }
        let post = match (failure, &open.init_error) {
            (Failure::Attempt(Cause::Error), _) => own_words(&mut open),
            (Failure::Refused, _) => refused(&mut open),
            (Failure::Attempt(Cause::Crash), Some(init_error)) => reported_init_error(&open, init_error),
            (
                Failure::NotBegun
                | Failure::Unknown
                | Failure::Attempt(
                    Cause::Crash | Cause::AttemptTimeout | Cause::Conflict | Cause::CommitFailed | Cause::TooLarge,
                ),
                _,
            ) => {
                let fault = self.fault(&mut open, failure);
                error_post(&open, &fault)
            }
        };
        let to_runtime = (failure == Failure::Attempt(Cause::TooLarge)).then(platform::too_large);
        self.answer(open, post, to_runtime).await;
    }

    /// The error in our words, or in those that Lambda would find.
    fn fault(&self, open: &mut Open, failure: Failure) -> Fault {
        match failure {
            Failure::Attempt(Cause::Crash) => {
                let message = platform::exit_message(Some(open.delivery.request()), open.exit);
                Fault { kind: "Runtime.ExitError", message }
            }
            Failure::Attempt(Cause::AttemptTimeout) => {
                let limit = self.policy.attempt_limit.unwrap_or_default().as_millis();
                let message = format!("the attempt ran longer than AFT_ATTEMPT_TIMEOUT_MS ({limit} ms) and was ended");
                described(open, Fault { kind: "Aft.AttemptTimeout", message })
            }
            Failure::Attempt(Cause::TooLarge) => too_large(open),
            Failure::Refused => described(open, refusal_fault(open.refusal.as_ref())),
            Failure::NotBegun
            | Failure::Unknown
            | Failure::Attempt(Cause::Error | Cause::Conflict | Cause::CommitFailed) => {
                let fault = open.fault.take().unwrap_or_else(lost);
                described(open, fault)
            }
        }
    }

    /// Posts, and ends the invocation.
    async fn answer(&mut self, open: Open, post: Post, to_runtime: Option<Response<Body>>) {
        let answer = match self.upstream.post(&post).await {
            Ok(answer) => answer,
            Err(error) => stream::unanswered(&error),
        };
        self.over(open, &post.head, answer, to_runtime).await;
    }

    /// Answers the runtime with Lambda's answer (or with `to_runtime`), and ends the invocation.
    async fn over(&mut self, mut open: Open, head: &Head, answer: Response<Body>, to_runtime: Option<Response<Body>>) {
        let (transaction, attempt, route) = (open.transaction, open.attempt, head.uri.path());
        if answer.status().is_success() {
            tracing::debug!(%transaction, %attempt, "Lambda took {route}");
        } else {
            tracing::error!(%transaction, %attempt, "Lambda answered {} to {route}", answer.status());
        }
        if let Some(reply) = open.reply.take() {
            // The runtime may have gone.
            let _ = reply.send(to_runtime.unwrap_or(answer));
        }
        let request = open.delivery.request().clone();
        if let Err(error) = self.coordinator.end(&End { request: request.clone() }).await {
            tracing::error!(%transaction, %attempt, "ending the invocation: {error}");
        }
        self.last = Some(request);
        if self.waiting.is_some() || self.child == Child::Down {
            self.poll();
        }
    }
}

/// The runtime's own post, byte for byte.
fn own_words(open: &mut Open) -> Post {
    match open.posted.take() {
        Some(Posted { head, body: Collected::Whole(body) }) => Post { head, body },
        Some(Posted { .. }) | None => error_post(open, &lost()),
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

/// A problem document for an HTTP client, which is a response; a function error for all others.
fn refused(open: &mut Open) -> Post {
    let (transaction, source) = (open.transaction, open.source);
    let Some(refusal) = open.refusal.take() else { return error_post(open, &lost()) };
    tracing::info!(transaction = %transaction, "refused ({source}): {}", refusal.detail());
    match open.integration {
        Some(integration) => {
            let json = HeaderValue::from_static("application/json");
            own_post(open, "response", HeaderMap::from_iter([(CONTENT_TYPE, json)]), refusal.response(integration))
        }
        None => {
            let fault = refusal_fault(Some(&refusal));
            error_post(open, &described(open, fault))
        }
    }
}

fn refusal_fault(refusal: Option<&Refusal>) -> Fault {
    refusal.map_or_else(lost, |refusal| Fault { kind: refusal.kind(), message: refusal.detail().to_owned() })
}

/// R-COMMIT-2: the response of the earlier commit, under this invocation.
fn recorded(open: &mut Open) -> Post {
    let recorded = match stream::kept(open.recorded.take()) {
        Ok(recorded) => recorded,
        Err(fault) => return error_post(open, &described(open, fault)),
    };
    let mut headers: HeaderMap = recorded.content_type.map(|kind| (CONTENT_TYPE, kind)).into_iter().collect();
    let posted_stream = open.posted.as_ref().is_some_and(|posted| platform::is_streaming(&posted.head.headers));
    let streaming = platform::is_streaming(&headers) || posted_stream;
    if streaming {
        headers.insert(platform::RESPONSE_MODE, HeaderValue::from_static("streaming"));
    }
    let mut post = own_post(open, "response", headers, recorded.body);
    post.body.chunked = streaming;
    post
}

/// A child that could not start said why: its own words are worth more than its exit code.
fn reported_init_error(open: &Open, Post { head, body }: &Post) -> Post {
    let mut head = Head::clone(head);
    head.uri = own_head(Method::POST, &path(open, "error")).uri;
    let invocation = open.delivery.invocation().cloned();
    head.headers.extend(invocation.map(|invocation| (platform::INVOCATION_ID, invocation)));
    Post { head, body: body.clone() }
}

fn too_large(open: &Open) -> Fault {
    let mut message =
        format!("Response payload size exceeded maximum allowed payload size ({} bytes).", limits::RESPONSE_BYTES);
    if open.posted.as_ref().is_some_and(|posted| platform::is_streamed(&posted.head.headers)) {
        message.push_str(" A streamed one of any size is passed on as it comes with AFT_STREAMING=pass-through.");
    }
    Fault { kind: "Function.ResponseSizeTooLarge", message }
}

/// What the last of the attempts met, if that was another transaction: `why` names keys and versions.
pub(super) fn conflict(open: &Open, why: &str, reason: &Reason) -> String {
    let (attempts, conflicts) = (open.attempt, open.conflicts);
    let said = handlers_words(open).map(|said| format!(" The handler made of it: {said}")).unwrap_or_default();
    format!(
        "another transaction was faster, nothing was written: {why}. Attempts: {attempts}, of them {conflicts} ended by a \
         conflict; no other follows: {reason}. Send the same request again; if this comes often, see to it that fewer \
         requests change these keys at the same time.{said}"
    )
}

/// What the handler posted as its error, or the beginning of it.
fn handlers_words(open: &Open) -> Option<String> {
    match &open.posted {
        Some(Posted { head, body: Collected::Whole(body) }) if head.uri.path().ends_with("/error") => {
            let words = String::from_utf8_lossy(&body.data);
            Some(words.chars().take(MOST_OF_A_HANDLERS_WORDS).collect())
        }
        Some(Posted { .. }) | None => None,
    }
}

fn described(open: &Open, fault: Fault) -> Fault {
    let Fault { kind, message } = fault;
    Fault { kind, message: format!("{message} (transaction {}, attempt {})", open.transaction, open.attempt) }
}

/// A fault of this program that is told rather than hidden.
pub(super) fn lost() -> Fault {
    Fault { kind: "Aft.Impossible", message: "aft-runtime-shim lost the answer of this invocation".to_owned() }
}

fn lost_trailers() -> HeaderMap {
    let Fault { kind, message } = lost();
    platform::error_trailers(kind, &message)
}
