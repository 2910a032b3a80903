//! `POST /v1/transactions/{id}:commit`: commits an explicit transaction, with the work's response as the body.

use aft_protocol::id::TransactionId;
use aft_protocol::limits;
use aft_protocol::record::Response as Recorded;
use aft_protocol::wire::ErrorCode;
use aft_store::Store;
use bytes::Bytes;
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;

use super::Document;
use crate::http::reply::{self, Answer, Refused};
use crate::http::{Endpoint, request};
use crate::session::{CommitResult, Named, SessionError};

pub(super) async fn answer<S: Store>(
    endpoint: &Endpoint<S>,
    request: Request<Incoming>,
    transaction: TransactionId,
    named: Named,
) -> Answer {
    let content_type = match request.headers().get(CONTENT_TYPE) {
        None => None,
        Some(_) => Some(request::content_type(request.headers())?.as_str().to_owned()),
    };
    let most = limits::TRANSACTION_RESPONSE_BYTES;
    let body = request::body(request.into_body(), most, ErrorCode::ResponseTooLarge).await?;
    // A copy, so that the read buffer that it came in does not live as long as the record.
    let response = Recorded { content_type, body: Bytes::copy_from_slice(&body) };
    let result = endpoint.session.commit_explicit(named, response).await?;
    match result {
        CommitResult::Committed => Ok(reply::json(&Document::new(transaction, "committed"))),
        CommitResult::Duplicate(response) => Ok(reply::json(&Document::new(transaction, "duplicate").with(&response))),
        CommitResult::Mismatch => Err(SessionError::PayloadMismatch.into()),
        CommitResult::Conflict(code, detail)
        | CommitResult::Failed(code, detail)
        | CommitResult::Unknown(code, detail) => Err(Refused::new(code, detail)),
    }
}
