//! An invocation: as a caller asks for it, as the runtime gets it, and how it ends.

use std::time::Duration;

use aft_protocol::id::RequestId;
use bytes::Bytes;
use serde_json::json;

/// Bytes that a synchronous invocation's payload may have.
pub const MAX_PAYLOAD_BYTES: usize = 6 * 1024 * 1024;
/// Bytes that an asynchronous invocation's payload may have.
pub const MAX_EVENT_PAYLOAD_BYTES: usize = 1024 * 1024;
/// Bytes that a buffered response may have: Lambda allows 100 more than for the payload.
pub const MAX_RESPONSE_BYTES: usize = MAX_PAYLOAD_BYTES + 100;
/// Bytes that a streamed response may have.
pub const MAX_STREAMED_RESPONSE_BYTES: usize = 200 * 1024 * 1024;

/// How a caller wants a function invoked (`X-Amz-Invocation-Type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InvocationKind {
    /// The caller waits for the answer.
    #[default]
    RequestResponse,
    /// The caller gets 202 at once; Lambda retries a failure twice, with the same request id.
    Event,
    /// Only the request is checked.
    DryRun,
}

/// What a caller asks for.
#[derive(Debug, Clone, Default)]
pub struct Invocation {
    /// The event, as JSON; empty counts as `{}`.
    pub payload: Bytes,
    /// The request id; a random one if not given. Two invocations with one id are what a Lambda retry looks like.
    pub request_id: Option<RequestId>,
    /// The client context, as JSON.
    pub client_context: Option<String>,
    /// Whether the caller waits.
    pub kind: InvocationKind,
}

impl Invocation {
    /// A synchronous invocation.
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Self { payload: payload.into(), ..Self::default() }
    }

    /// With a request id of the caller's choice.
    #[must_use]
    pub fn with_request_id(mut self, request_id: impl Into<String>) -> Self {
        self.request_id = Some(RequestId::new(request_id));
        self
    }

    /// Of another kind.
    #[must_use]
    pub fn with_kind(mut self, kind: InvocationKind) -> Self {
        self.kind = kind;
        self
    }
}

/// What the caller gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvokeResult {
    /// The HTTP status: 200, also when the function failed; 202 for an event; 204 for a dry run; 4xx and 5xx if Lambda
    /// itself refused or could not serve.
    pub status: u16,
    /// `X-Amz-Function-Error`: set if the function failed.
    pub function_error: Option<String>,
    /// `X-Amzn-ErrorType`: set if Lambda itself refused.
    pub error_type: Option<&'static str>,
    /// The response, or the error's document.
    pub payload: Bytes,
    /// The request's id.
    pub request_id: RequestId,
    /// The end of what the invocation logged, at most 4 KB.
    pub log_tail: String,
}

impl InvokeResult {
    /// Whether the function ran and answered without an error.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.status == 200 && self.function_error.is_none()
    }

    /// A result without a body.
    pub(crate) fn empty(status: u16, request_id: RequestId) -> Self {
        Self {
            status,
            function_error: None,
            error_type: None,
            payload: Bytes::new(),
            request_id,
            log_tail: String::new(),
        }
    }

    /// A refusal by Lambda itself.
    pub(crate) fn refused(refusal: &Refusal, request_id: RequestId) -> Self {
        let document = json!({ "Type": refusal.at_fault(), "Message": refusal.to_string() });
        Self {
            error_type: Some(refusal.error_type()),
            payload: document.to_string().into(),
            ..Self::empty(refusal.status(), request_id)
        }
    }
}

/// Why Lambda itself refused an invocation.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("Function not found: {arn}")]
    FunctionNotFound { arn: String },
    #[error("{bytes} byte payload is too large for this invocation type (limit {limit} bytes)")]
    PayloadTooLarge { bytes: usize, limit: usize },
    #[error("Could not parse request body into json: {0}")]
    NotJson(#[source] serde_json::Error),
    #[error("Invalid {header} header: {expected}")]
    InvalidHeader { header: &'static str, expected: &'static str },
    #[error("Rate Exceeded.")]
    TooManyRequests,
    #[error("the host is stopping")]
    Stopping,
}

impl Refusal {
    const fn status(&self) -> u16 {
        match self {
            Self::FunctionNotFound { .. } => 404,
            Self::PayloadTooLarge { .. } => 413,
            Self::NotJson(_) | Self::InvalidHeader { .. } => 400,
            Self::TooManyRequests => 429,
            Self::Stopping => 503,
        }
    }

    const fn error_type(&self) -> &'static str {
        match self {
            Self::FunctionNotFound { .. } => "ResourceNotFoundException",
            Self::PayloadTooLarge { .. } => "RequestTooLargeException",
            Self::NotJson(_) => "InvalidRequestContentException",
            Self::InvalidHeader { .. } => "InvalidParameterValueException",
            Self::TooManyRequests => "TooManyRequestsException",
            Self::Stopping => "ServiceException",
        }
    }

    const fn at_fault(&self) -> &'static str {
        if self.status() < 500 { "User" } else { "Service" }
    }
}

/// What a sandbox is asked to run.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) id: RequestId,
    pub(crate) payload: Bytes,
    pub(crate) client_context: Option<String>,
}

/// What the runtime and the extensions get of it.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) request: Request,
    /// Unique per invocation, where a request id may come again.
    pub(crate) invocation_id: String,
    pub(crate) trace_id: String,
    pub(crate) deadline_ms: u64,
}

/// How the function ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) failed: bool,
    pub(crate) payload: Bytes,
}

impl Answer {
    pub(crate) const fn response(payload: Bytes) -> Self {
        Self { failed: false, payload }
    }

    /// The document of an error that the function reported itself.
    pub(crate) const fn reported(payload: Bytes) -> Self {
        Self { failed: true, payload }
    }

    /// The document of an error that Lambda found.
    pub(crate) fn platform_error(error_type: &str, message: &str) -> Self {
        Self { failed: true, payload: json!({ "errorType": error_type, "errorMessage": message }).to_string().into() }
    }

    pub(crate) fn timed_out(id: &RequestId, limit: Duration) -> Self {
        let message = format!("RequestId: {id} Error: Task timed out after {:.2} seconds", limit.as_secs_f64());
        Self::platform_error("Sandbox.Timedout", &message)
    }

    pub(crate) fn response_too_large(limit: usize) -> Self {
        let message = format!("Response payload size exceeded maximum allowed payload size ({limit} bytes).");
        Self::platform_error("Function.ResponseSizeTooLarge", &message)
    }
}
