//! `GET` and `HEAD /v1/kv/{key}`: what this transaction sees of a key.

use std::collections::BTreeSet;

use aft_protocol::key::Key;
use aft_protocol::wire::ErrorCode;
use aft_store::Store;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, ETAG, HeaderValue};
use hyper::{Request, Response};

use super::reply::{Answer, Refused};
use super::{Endpoint, request};

pub(super) async fn answer<S: Store, B>(endpoint: &Endpoint<S>, request: &Request<B>, key: Key) -> Answer {
    let named = request::named(request.headers())?;
    let seen = endpoint.session.read(named, BTreeSet::from([key.clone()])).await?;
    let found = seen.get(&key).and_then(|seen| Some((seen.value()?, seen.etag()?)));
    let Some((value, etag)) = found else {
        return Err(Refused::new(ErrorCode::KeyNotFound, format!("{key:?} does not exist for this transaction")));
    };
    let mut reply = Response::new(Full::new(value.bytes().clone()));
    let headers = reply.headers_mut();
    // Both were checked when they were made: visible ASCII.
    if let Ok(content_type) = HeaderValue::from_str(value.content_type().as_str()) {
        headers.insert(CONTENT_TYPE, content_type);
    }
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{etag}\"")) {
        headers.insert(ETAG, etag);
    }
    Ok(reply)
}
