//! `GET /v1/transaction`: what the open transaction has done so far.

use aft_protocol::id::{AttemptNumber, TransactionId};
use aft_store::Store;
use hyper::Request;
use serde::Serialize;

use super::reply::{self, Answer};
use super::{Endpoint, request};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    transaction: TransactionId,
    attempt: AttemptNumber,
    origin: String,
    isolation: &'static str,
    reads: usize,
    writes: usize,
    buffered_bytes: usize,
    remaining_ms: u64,
}

pub(super) fn answer<S: Store, B>(endpoint: &Endpoint<S>, request: &Request<B>) -> Answer {
    let status = endpoint.session.status(request::named(request.headers())?)?;
    Ok(reply::json(&Document {
        transaction: status.identity.transaction,
        attempt: status.identity.number,
        origin: status.identity.origin,
        isolation: "read-atomic",
        reads: status.reads,
        writes: status.writes,
        buffered_bytes: status.buffered_bytes,
        remaining_ms: status.remaining_ms,
    }))
}
