//! `/v1/transactions…`: explicit transactions, several within one invocation.
//!
//! `POST /v1/transactions` begins one; `POST /v1/transactions/{id}:commit` and `:abort` end it; `GET /v1/transactions/{id}`
//! looks at it. In between, the routes of keys take its ID in `X-Aft-Transaction`.

mod abort;
mod begin;
mod commit;

use aft_protocol::id::TransactionId;
use aft_protocol::record::Response as Recorded;
use aft_protocol::wire::{ErrorCode, route};
use aft_store::Store;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Method, Request};
use serde::Serialize;

use super::reply::{Answer, Refused};
use super::{Endpoint, request, transaction};
use crate::session::Named;

/// Where a transaction stands: what begin and commit answer.
#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Document {
    transaction: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    /// The recorded response: text as it is, other bytes in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
}

impl Document {
    fn new(transaction: TransactionId, state: &'static str) -> Self {
        Self { transaction: transaction.to_string(), state, ..Self::default() }
    }

    fn with(self, recorded: &Recorded) -> Self {
        let text = std::str::from_utf8(&recorded.body).ok();
        Self {
            response: text.map(str::to_owned),
            response_base64: text.is_none().then(|| STANDARD.encode(&recorded.body)),
            content_type: recorded.content_type.clone(),
            ..self
        }
    }
}

/// Answers a request whose path is the route and then `rest`.
pub(super) async fn answer<S: Store>(endpoint: &Endpoint<S>, request: Request<Incoming>, rest: &str) -> Answer {
    let method = request.method().clone();
    let Some(one) = rest.strip_prefix('/') else {
        return match method {
            Method::POST => begin::answer(endpoint, request).await,
            _ => Err(Refused::method("POST")),
        };
    };
    if let Some(id) = one.strip_suffix(route::COMMIT_SUFFIX) {
        let (transaction, named) = named(id, request.headers())?;
        return match method {
            Method::POST => commit::answer(endpoint, request, transaction, named).await,
            _ => Err(Refused::method("POST")),
        };
    }
    if let Some(id) = one.strip_suffix(route::ABORT_SUFFIX) {
        let (_, named) = named(id, request.headers())?;
        return match method {
            Method::POST => abort::answer(endpoint, named),
            _ => Err(Refused::method("POST")),
        };
    }
    let (_, named) = named(one, request.headers())?;
    match method {
        Method::GET | Method::HEAD => transaction::document(endpoint, named),
        _ => Err(Refused::method("GET, HEAD")),
    }
}

/// The transaction that the path names, and the attempt that the header does.
fn named(id: &str, headers: &HeaderMap) -> Result<(TransactionId, Named), Refused> {
    let malformed = |detail: String| Refused::new(ErrorCode::MalformedRequest, detail);
    let transaction: TransactionId = id.parse().map_err(|error| malformed(format!("the path: {error}")))?;
    let headers = request::named(headers)?;
    match headers.transaction {
        Some(other) if other != transaction => {
            Err(malformed(format!("the path names transaction {transaction}, the header X-Aft-Transaction {other}")))
        }
        Some(_) | None => Ok((transaction, Named { transaction: Some(transaction), ..headers })),
    }
}

#[cfg(test)]
mod tests;
