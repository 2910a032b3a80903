//! `GET /v1/transaction`: what the invocation's transaction has done so far.

use aft_protocol::id::{AttemptNumber, TransactionId};
use aft_store::Store;
use hyper::Request;
use serde::Serialize;

use super::reply::{self, Answer};
use super::{Endpoint, request};
use crate::session::Named;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    transaction: TransactionId,
    attempt: AttemptNumber,
    origin: String,
    isolation: &'static str,
    reads: usize,
    read_bytes: usize,
    writes: usize,
    buffered_bytes: usize,
    remaining_ms: u64,
}

pub(super) fn answer<S: Store, B>(endpoint: &Endpoint<S>, request: &Request<B>) -> Answer {
    document(endpoint, request::named(request.headers())?)
}

/// The document of the transaction that is named, explicit or not.
pub(super) fn document<S: Store>(endpoint: &Endpoint<S>, named: Named) -> Answer {
    let status = endpoint.session.status(named)?;
    Ok(reply::json(&Document {
        transaction: status.identity.transaction,
        attempt: status.identity.number,
        origin: status.identity.origin,
        isolation: status.isolation.as_str(),
        reads: status.reads,
        read_bytes: status.read_bytes,
        writes: status.writes,
        buffered_bytes: status.buffered_bytes,
        remaining_ms: status.remaining_ms,
    }))
}
