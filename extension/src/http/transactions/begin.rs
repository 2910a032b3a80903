//! `POST /v1/transactions`: begins the transaction of a key, unless it has committed before.

use aft_protocol::id::{Fingerprint, Scope, TransactionId};
use aft_protocol::isolation::Isolation;
use aft_protocol::limits;
use aft_protocol::wire::ErrorCode;
use aft_store::Store;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use serde::Deserialize;

use super::Document;
use crate::http::reply::{self, Answer, Refused};
use crate::http::{Endpoint, request};
use crate::session::{Explicit, Started};

/// At most one of `payload` (text) and `payloadBase64` (bytes).
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Wanted {
    key: String,
    scope: Option<String>,
    payload: Option<String>,
    payload_base64: Option<String>,
    /// As the header `X-Aft-Isolation`.
    isolation: Option<String>,
}

pub(super) async fn answer<S: Store>(endpoint: &Endpoint<S>, request: Request<Incoming>) -> Answer {
    let named = request::named(request.headers())?;
    let header = request::isolation(request.headers())?;
    let wanted: Wanted = request::json(request, limits::BATCH_BODY_BYTES).await?;
    let fingerprint = fingerprint(&wanted)?;
    let scope = scope(wanted.scope, &endpoint.function)?;
    let key = key(&wanted.key)?;
    let transaction = TransactionId::for_key(&scope, key);
    let isolation = isolation(header, wanted.isolation.as_deref())?;
    let explicit = Explicit { transaction, fingerprint, origin: format!("{scope}/{key}"), isolation };
    Ok(match endpoint.session.begin_explicit(named, explicit).await? {
        Started::Committed(response) => reply::json(&Document::new(transaction, "committed").with(&response)),
        Started::Open(number) => {
            let open = Document { attempt: Some(number.get()), ..Document::new(transaction, "open") };
            let mut created = reply::json(&open);
            *created.status_mut() = StatusCode::CREATED;
            created
        }
    })
}

/// What the header or the body says, who must not say two things.
fn isolation(header: Option<Isolation>, body: Option<&str>) -> Result<Option<Isolation>, Refused> {
    let Some(text) = body else { return Ok(header) };
    let malformed = |detail: String| Refused::new(ErrorCode::MalformedBody, detail);
    let level = request::isolation_level(text).map_err(malformed)?;
    match header {
        Some(other) if other != level => {
            Err(malformed(format!("the header X-Aft-Isolation says {other}, the body {level}")))
        }
        Some(_) | None => Ok(Some(level)),
    }
}

fn key(text: &str) -> Result<&str, Refused> {
    let most = limits::TRANSACTION_KEY_BYTES;
    match text.len() {
        bytes if bytes == 0 || bytes > most => {
            let detail = format!("a transaction's key has 1 to {most} bytes; this one has {bytes}");
            Err(Refused::new(ErrorCode::MalformedKey, detail))
        }
        _ => Ok(text),
    }
}

fn scope(given: Option<String>, function: &Scope) -> Result<Scope, Refused> {
    let most = limits::SCOPE_BYTES;
    match given {
        None => Ok(function.clone()),
        Some(text) if text.is_empty() || text.len() > most => {
            let detail = format!("a scope has 1 to {most} bytes; this one has {}", text.len());
            Err(Refused::new(ErrorCode::MalformedBody, detail))
        }
        Some(text) => Ok(Scope::new(text)),
    }
}

fn fingerprint(wanted: &Wanted) -> Result<Fingerprint, Refused> {
    let malformed = |detail: String| Refused::new(ErrorCode::MalformedBody, detail);
    match (&wanted.payload, &wanted.payload_base64) {
        (None, None) => Ok(Fingerprint::of(b"")),
        (Some(text), None) => Ok(Fingerprint::of(text.as_bytes())),
        (None, Some(text)) => {
            let bytes = STANDARD.decode(text).map_err(|error| malformed(format!("payloadBase64: {error}")))?;
            Ok(Fingerprint::of(&bytes))
        }
        (Some(_), Some(_)) => Err(malformed("give payload or payloadBase64, not both".to_owned())),
    }
}
