//! `GET` and `HEAD /v1/kv/{key}`: what this transaction sees of a key.

use std::collections::BTreeSet;

use aft_protocol::key::Key;
use aft_protocol::value::Value;
use aft_protocol::wire::ErrorCode;
use aft_store::Store;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, ETAG, HeaderValue};
use hyper::{Request, Response};

use super::reply::{Answer, Refused, Reply};
use super::{Endpoint, freshness, request};

pub(super) async fn answer<S: Store, B>(endpoint: &Endpoint<S>, request: &Request<B>, key: Key) -> Answer {
    let named = request::named(request.headers())?;
    let freshness = freshness::of(request.headers());
    let keys = BTreeSet::from([key.clone()]);
    let answers = endpoint.session.read_with(named, keys, freshness.unwrap_or_default()).await?;
    let found = answers.get(&key).and_then(|answer| Some((answer.seen.value()?, answer.seen.etag()?)));
    let mut reply = match found {
        Some((value, etag)) => found_reply(value, &etag),
        None => Refused::new(ErrorCode::KeyNotFound, format!("{key:?} does not exist for this transaction"))
            .into_reply(endpoint.session.open_transaction()),
    };
    if freshness.is_some() {
        freshness::label(&mut reply, answers.values().map(|answer| answer.source));
    }
    Ok(reply)
}

fn found_reply(value: &Value, etag: &str) -> Reply {
    let mut reply = Response::new(Full::new(value.bytes().clone()));
    let headers = reply.headers_mut();
    // Both were checked when they were made: visible ASCII.
    if let Ok(content_type) = HeaderValue::from_str(value.content_type().as_str()) {
        headers.insert(CONTENT_TYPE, content_type);
    }
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{etag}\"")) {
        headers.insert(ETAG, etag);
    }
    reply
}
