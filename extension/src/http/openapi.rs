//! `GET /v1/openapi.json`: the endpoint's own description.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderValue};

use super::reply::Answer;

/// OpenAPI 3.1, beside this file.
pub(super) const DOCUMENT: &str = include_str!("openapi.json");

pub(super) fn answer() -> Answer {
    let mut reply = Response::new(Full::new(Bytes::from_static(DOCUMENT.as_bytes())));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(reply)
}
