//! The answer to a request that must not run, or whose response must not be released: never another request's answer.
//!
//! An HTTP client gets a problem document as the function's *successful* response, in its integration's format, because a
//! function error would become a 502. Everybody else gets a function error, so that queues and asynchronous events come again.

use aft_protocol::wire::{ErrorCode, PROBLEM_JSON, Problem};
use bytes::Bytes;
use serde_json::json;

use super::Integration;

/// Why a request is refused. Texts are for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Its key was used with another payload.
    Mismatch(String),
    /// The same request is in progress.
    InProgress(String),
    /// Its key is none.
    MalformedKey(String),
}

impl Refusal {
    /// The problem document's code.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Mismatch(_) => ErrorCode::PayloadMismatch,
            Self::InProgress(_) => ErrorCode::InProgress,
            Self::MalformedKey(_) => ErrorCode::MalformedIdempotencyKey,
        }
    }

    /// The function error's type.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Mismatch(_) => "Aft.PayloadMismatch",
            Self::InProgress(_) => "Aft.InProgress",
            Self::MalformedKey(_) => "Aft.MalformedIdempotencyKey",
        }
    }

    /// What happened, and what to do.
    #[must_use]
    pub fn detail(&self) -> &str {
        match self {
            Self::Mismatch(detail) | Self::InProgress(detail) | Self::MalformedKey(detail) => detail,
        }
    }

    /// The function's response to an HTTP integration.
    #[must_use]
    pub fn response(&self, integration: Integration) -> Bytes {
        let problem = Problem::new(self.code(), self.detail(), None);
        let status = problem.status;
        let body = json!(problem).to_string();
        let document = match integration {
            Integration::V1 | Integration::V2 => {
                json!({ "statusCode": status, "headers": { "content-type": PROBLEM_JSON }, "body": body })
            }
            Integration::LoadBalancer { multi_value: false } => json!({
                "statusCode": status,
                "statusDescription": description(status),
                "isBase64Encoded": false,
                "headers": { "content-type": PROBLEM_JSON },
                "body": body,
            }),
            Integration::LoadBalancer { multi_value: true } => json!({
                "statusCode": status,
                "statusDescription": description(status),
                "isBase64Encoded": false,
                "multiValueHeaders": { "content-type": [PROBLEM_JSON] },
                "body": body,
            }),
        };
        document.to_string().into()
    }
}

/// "409 Conflict".
fn description(status: u16) -> String {
    hyper::StatusCode::from_u16(status).map(|status| status.to_string()).unwrap_or_default()
}
