//! `PUT /v1/kv/{key}`: buffers a value.

use aft_protocol::key::Key;
use aft_protocol::limits;
use aft_protocol::value::Value;
use aft_protocol::wire::ErrorCode;
use aft_store::Store;
use bytes::Bytes;
use hyper::Request;
use hyper::body::Incoming;

use super::reply::{self, Answer, Refused};
use super::{Endpoint, request};

pub(super) async fn answer<S: Store>(endpoint: &Endpoint<S>, request: Request<Incoming>, key: Key) -> Answer {
    let named = request::named(request.headers())?;
    let precondition = request::precondition(request.headers())?;
    let content_type = request::content_type(request.headers())?;
    let bytes = request::body(request.into_body(), limits::VALUE_BYTES, ErrorCode::ValueTooLarge).await?;
    // A copy: what arrived is a slice of the connection's read buffer, and a small value would keep all of that alive.
    let value = Value::new(Bytes::copy_from_slice(&bytes), content_type);
    let value = value.map_err(|error| Refused::new(ErrorCode::ValueTooLarge, error.to_string()))?;
    endpoint.session.write_if(named, key, Some(value), precondition).await?;
    Ok(reply::no_content())
}
