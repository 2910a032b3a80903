//! Answers, and errors as problem documents (RFC 9457).

use aft_protocol::id::TransactionId;
use aft_protocol::wire::{ErrorCode, PROBLEM_JSON, Problem};
use aft_store::ErrorKind;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

use crate::session::SessionError;

/// An answer on its way out.
pub type Reply = Response<Full<Bytes>>;

/// What a route returns.
pub type Answer = Result<Reply, Refused>;

/// A request that was refused: why, and what to do. Nothing has changed.
#[derive(Debug)]
pub struct Refused {
    code: ErrorCode,
    detail: String,
    allow: Option<&'static str>,
}

impl Refused {
    /// A refusal with its code and explanation.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), allow: None }
    }

    /// A route does not take this method.
    #[must_use]
    pub fn method(allow: &'static str) -> Self {
        let detail = format!("this route takes {allow}");
        Self { code: ErrorCode::MethodNotAllowed, detail, allow: Some(allow) }
    }

    /// The problem document, which names the open transaction.
    #[must_use]
    pub fn into_reply(self, transaction: Option<TransactionId>) -> Reply {
        let mut reply = json(&Problem::new(self.code, self.detail, transaction));
        *reply.status_mut() = status(self.code);
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(allow) = self.allow {
            reply.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
        }
        reply
    }
}

impl From<SessionError> for Refused {
    fn from(error: SessionError) -> Self {
        Self::new(code_of(&error), error.to_string())
    }
}

/// The stable code of a session's error.
pub(crate) fn code_of(error: &SessionError) -> ErrorCode {
    match error {
        SessionError::NoTransaction => ErrorCode::NoTransaction,
        SessionError::OtherTransaction(_) => ErrorCode::OtherTransaction,
        SessionError::Closed(_) => ErrorCode::TransactionClosed,
        SessionError::TooLarge(_) => ErrorCode::TransactionTooLarge,
        SessionError::AlreadyCommitted => ErrorCode::AlreadyCommitted,
        SessionError::InProgress(_) => ErrorCode::InProgress,
        SessionError::TooManyOpen => ErrorCode::TooManyTransactions,
        SessionError::BuffersFull { .. } => ErrorCode::BuffersFull,
        SessionError::PayloadMismatch => ErrorCode::PayloadMismatch,
        SessionError::ReadConflict(_) => ErrorCode::ReadConflict,
        SessionError::PreconditionFailed(_) => ErrorCode::PreconditionFailed,
        SessionError::Store(error) => match error.kind() {
            ErrorKind::Unavailable | ErrorKind::Unknown => ErrorCode::StoreUnavailable,
            ErrorKind::Rejected | ErrorKind::Malformed => ErrorCode::StoreRejected,
        },
    }
}

/// The HTTP status of an error code.
pub(crate) fn status(code: ErrorCode) -> StatusCode {
    StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// 204.
pub(super) fn no_content() -> Reply {
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = StatusCode::NO_CONTENT;
    reply
}

/// 200 with a JSON document.
pub(super) fn json(document: &impl Serialize) -> Reply {
    // Our documents are structs of strings and numbers: they always serialise.
    let mut reply = Response::new(Full::from(serde_json::to_vec(document).unwrap_or_default()));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}
