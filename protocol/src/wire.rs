//! What travels between processes: the local endpoint's routes, headers and error codes, and the control API that the
//! shim speaks to the extension over a Unix socket (so that a forged URL fetch in the handler cannot reach it).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::{AttemptNumber, Fingerprint, RequestId, SandboxId, TransactionId};

/// The local endpoint's paths.
pub mod route {
    /// Followed by a percent-encoded key.
    pub const KV: &str = "/v1/kv/";
    /// Read many keys.
    pub const BATCH_GET: &str = "/v1/kv:batchGet";
    /// Write many keys.
    pub const BATCH_WRITE: &str = "/v1/kv:batchWrite";
    /// What the transaction has done so far.
    pub const TRANSACTION: &str = "/v1/transaction";
    /// Succeed without committing.
    pub const ABORT: &str = "/v1/transaction:abort";
    /// Begins an explicit transaction. Followed by a slash and a transaction ID: what that one has done so far.
    pub const TRANSACTIONS: &str = "/v1/transactions";
    /// After an explicit transaction's ID: commits it.
    pub const COMMIT_SUFFIX: &str = ":commit";
    /// After an explicit transaction's ID: ends it without a trace.
    pub const ABORT_SUFFIX: &str = ":abort";
    /// Whether the extension is up.
    pub const HEALTH: &str = "/v1/health";
    /// The endpoint's own description.
    pub const OPENAPI: &str = "/v1/openapi.json";
}

/// Headers, in lower case.
pub mod header {
    /// The handler's secret.
    pub const TOKEN: &str = "x-aft-token";
    /// A transaction ID.
    pub const TRANSACTION: &str = "x-aft-transaction";
    /// An attempt's number.
    pub const ATTEMPT: &str = "x-aft-attempt";
    /// The isolation of an explicit transaction, where it begins.
    pub const ISOLATION: &str = "x-aft-isolation";
    /// How a control call ended: an [`super::Outcome`].
    pub const OUTCOME: &str = "x-aft-outcome";
}

/// The content type that is recorded in place of a response that was passed on as it came and is larger than
/// [`crate::limits::RESPONSE_BYTES`]: the transaction committed, and a duplicate cannot be answered.
pub const RESPONSE_OMITTED: &str = "application/vnd.aft.response-omitted";

/// The media type of errors (RFC 9457).
pub const PROBLEM_JSON: &str = "application/problem+json";

macro_rules! error_codes {
    ($($variant:ident $code:literal $status:literal $title:literal;)*) => {
        /// Why a request was refused. The text is stable: `docs/errors/<code>.md` explains each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $(#[doc = $title] $variant,)*
        }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The code's text.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// The HTTP status that goes with it.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// A short summary for people.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

error_codes! {
    KeyNotFound "key-not-found" 404 "The key does not exist";
    UnknownRoute "unknown-route" 404 "There is no such route";
    MethodNotAllowed "method-not-allowed" 405 "The route does not take this method";
    MalformedRequest "malformed-request" 400 "The request is not well formed";
    MalformedKey "malformed-key" 400 "The key is not well formed";
    MalformedBody "malformed-body" 400 "The body is not what the route takes";
    InvalidContentType "invalid-content-type" 400 "The content type cannot be stored";
    TooManyKeys "too-many-keys" 400 "The batch names too many keys";
    ValueTooLarge "value-too-large" 413 "The value is too large";
    TransactionTooLarge "transaction-too-large" 413 "The transaction would be too large";
    BodyTooLarge "body-too-large" 413 "The body is too large";
    HostNotAllowed "host-not-allowed" 421 "The request is addressed to another host";
    ForwardedRequest "forwarded-request" 403 "Forwarded requests are refused";
    TokenMissing "token-missing" 401 "The token is missing";
    TokenWrong "token-wrong" 403 "The token is wrong";
    PreconditionFailed "precondition-failed" 412 "The key is not at the version that was asked for";
    NoTransaction "no-transaction" 409 "No transaction is open";
    OtherTransaction "other-transaction" 409 "Another transaction or attempt is open";
    TransactionClosed "transaction-closed" 409 "The transaction takes no more operations";
    AlreadyCommitted "already-committed" 409 "The transaction has already committed";
    TooManyTransactions "too-many-transactions" 409 "Too many transactions are open";
    BuffersFull "buffers-full" 409 "The open transactions buffer too much together";
    ReadConflict "read-conflict" 409 "No version of the key fits what was read";
    CommitConflict "commit-conflict" 409 "What was read has changed since";
    StoreUnavailable "store-unavailable" 503 "The store did not answer";
    StoreRejected "store-rejected" 502 "The store refused the request";
    OutcomeUnknown "outcome-unknown" 503 "The commit's outcome is unknown";
    NotVisible "not-visible" 503 "The transaction committed but is not visible yet";
    ResponseTooLarge "response-too-large" 413 "The function's response is too large";
    PayloadMismatch "payload-mismatch" 422 "The key was used with another payload";
    InProgress "in-progress" 409 "The same request is in progress";
    MalformedIdempotencyKey "malformed-idempotency-key" 400 "The idempotency key is not well formed";
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The body of every error (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Names the documentation page.
    #[serde(rename = "type")]
    pub kind: String,
    /// [`ErrorCode::title`].
    pub title: String,
    /// [`ErrorCode::status`].
    pub status: u16,
    /// [`ErrorCode::as_str`].
    pub code: String,
    /// What happened, and what to do.
    pub detail: String,
    /// To which transaction, where one is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<TransactionId>,
}

impl Problem {
    /// An error's body.
    #[must_use]
    pub fn new(code: ErrorCode, detail: impl Into<String>, transaction: Option<TransactionId>) -> Self {
        Self {
            kind: format!("urn:aft:error:{code}"),
            title: code.title().to_owned(),
            status: code.status(),
            code: code.as_str().to_owned(),
            detail: detail.into(),
            transaction,
        }
    }
}

/// The control API, over HTTP/1.1 on a Unix socket. All calls are `POST`; the extension treats the end of the shim's
/// connection as the end of the shim, and aborts what it had begun.
pub mod control {
    /// The shim says hello: answered with [`super::Attached`].
    pub const ATTACH: &str = "/control/v1/attach";
    /// A shim whose sandbox was restored from a snapshot says hello again, on a new connection: the extension takes a new
    /// identity and new connections first. Answered with [`super::Attached`].
    pub const RESTORE: &str = "/control/v1/restore";
    /// An attempt starts: takes [`super::Begin`]. `open`, or `duplicate` with the recorded response, or `mismatch`,
    /// `in-progress` with a problem document.
    pub const BEGIN: &str = "/control/v1/begin";
    /// The attempt is about to release the first bytes of its response: with `X-Aft-Transaction` and `X-Aft-Attempt`. Waits
    /// for the look-up of an earlier commit: `open` if there is none, `duplicate` with the recorded response, or `failed`.
    pub const KNOWN: &str = "/control/v1/known";
    /// The handler answered: takes its response as the body, with `Content-Type`, `X-Aft-Transaction` and
    /// `X-Aft-Attempt`. `committed`, or `duplicate` with the recorded response, or `conflict`, `failed`, `unknown`,
    /// `mismatch` with a problem document.
    pub const COMMIT: &str = "/control/v1/commit";
    /// The attempt failed: with `X-Aft-Transaction` and `X-Aft-Attempt`. `aborted`, or `duplicate` with the recorded
    /// response if the transaction is known to have committed elsewhere, or `mismatch` if that was with another payload.
    pub const ABORT: &str = "/control/v1/abort";
    /// The invocation is over, from the shim's side: takes [`super::End`]. No content.
    pub const END: &str = "/control/v1/end";
}

/// What the shim learns when it attaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// The local endpoint's base URL, for the handler's environment.
    pub endpoint: String,
    /// The handler's secret; `None` if none is required.
    pub token: Option<String>,
    /// This sandbox.
    pub sandbox: SandboxId,
}

/// An attempt that starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// Lambda's request ID, which the extension also hears from Lambda.
    pub request: RequestId,
    /// Its transaction.
    pub transaction: TransactionId,
    /// Which attempt at it.
    pub attempt: AttemptNumber,
    /// The event's fingerprint, over what every delivery of it repeats.
    pub fingerprint: Fingerprint,
    /// For people: function and request.
    pub origin: String,
    /// When Lambda ends the invocation, in milliseconds since the epoch.
    pub deadline_ms: u64,
}

/// An invocation that is over: nothing of it will be begun, committed or aborted any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Lambda's request ID.
    pub request: RequestId,
}

/// How a control call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The attempt may run.
    Open,
    /// The transaction committed (or had nothing to commit): release the handler's response.
    Committed,
    /// The transaction had committed before: release the recorded response instead.
    Duplicate,
    /// The attempt left no trace.
    Aborted,
    /// The attempt left no trace because of a conflict: run it again.
    Conflict,
    /// The attempt left no trace because the store failed it.
    Failed,
    /// It may have committed. The same transaction ID resolves it; the response must not be released.
    Unknown,
    /// The transaction had committed before, with another payload: release nothing of either (the attempt left no trace).
    Mismatch,
    /// Another invocation is at this transaction, and this one is not to run beside it.
    InProgress,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 9] = [
        Self::Open,
        Self::Committed,
        Self::Duplicate,
        Self::Aborted,
        Self::Conflict,
        Self::Failed,
        Self::Unknown,
        Self::Mismatch,
        Self::InProgress,
    ];

    /// The header's text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Committed => "committed",
            Self::Duplicate => "duplicate",
            Self::Aborted => "aborted",
            Self::Conflict => "conflict",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Mismatch => "mismatch",
            Self::InProgress => "in-progress",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Text that is not an outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an outcome: extension and shim are of different versions")]
pub struct UnknownOutcome(String);

impl FromStr for Outcome {
    type Err = UnknownOutcome;

    fn from_str(text: &str) -> Result<Self, UnknownOutcome> {
        let outcome = Self::ALL.into_iter().find(|outcome| outcome.as_str() == text);
        outcome.ok_or_else(|| UnknownOutcome(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::{ErrorCode, Outcome};

    #[test]
    fn outcomes_round_trip() {
        for outcome in Outcome::ALL {
            assert_eq!(outcome.as_str().parse(), Ok(outcome));
        }
        assert!("perhaps".parse::<Outcome>().is_err());
    }

    #[test]
    fn error_codes_are_distinct_and_errors() {
        let mut codes: Vec<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), ErrorCode::ALL.len());
        assert!(ErrorCode::ALL.iter().all(|code| (400..600).contains(&code.status())));
    }
}
