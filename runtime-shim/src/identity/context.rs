//! A transaction context that the caller passed. Only its key, so far: it names the transaction, for every function that
//! shares the transaction table. (Drafts of a transaction that spans functions are not built.)
//!
//! In the client context it is a flat text, because AWS's runtime clients for Java and Rust read `custom` as a map of texts
//! and would fail on anything else.

use hyper::HeaderMap;
use hyper::header::HeaderName;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The client context, as JSON.
const CLIENT_CONTEXT: HeaderName = HeaderName::from_static("lambda-runtime-client-context");

#[derive(Deserialize)]
struct ClientContext {
    custom: Custom,
}

#[derive(Deserialize)]
struct Custom {
    #[serde(rename = "aft.transaction")]
    transaction: String,
}

#[derive(Deserialize)]
struct Payload {
    transaction: String,
}

/// The key in Lambda's client context: `{"custom": {"aft.transaction": "…"}}`.
pub(super) fn of_client(headers: &HeaderMap) -> Option<String> {
    let context = headers.get(&CLIENT_CONTEXT)?.as_bytes();
    let context: ClientContext = serde_json::from_slice(context).ok()?;
    Some(context.custom.transaction).filter(|key| !key.is_empty())
}

/// The key in the payload: `{"aft": {"transaction": "…"}}`, given the value of `aft`.
pub(super) fn of_payload(aft: &RawValue) -> Option<String> {
    let payload: Payload = serde_json::from_str(aft.get()).ok()?;
    Some(payload.transaction).filter(|key| !key.is_empty())
}
