//! `POST /v1/kv:batchWrite`: buffers many writes: all of them or, if one is refused, none.

use aft_protocol::limits;
use aft_protocol::record::Writes;
use aft_protocol::value::{ContentType, Value};
use aft_protocol::wire::ErrorCode;
use aft_store::Store;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::Request;
use hyper::body::Incoming;
use serde::Deserialize;

use super::reply::{self, Answer, Refused};
use super::{Endpoint, request};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    writes: Vec<Item>,
}

/// One write: exactly one of `value` (text), `valueBase64` (bytes) and `delete: true`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Item {
    key: String,
    content_type: Option<String>,
    value: Option<String>,
    value_base64: Option<String>,
    #[serde(default)]
    delete: bool,
}

pub(super) async fn answer<S: Store>(endpoint: &Endpoint<S>, request: Request<Incoming>) -> Answer {
    let named = request::named(request.headers())?;
    let batch: Batch = request::json(request, limits::BATCH_BODY_BYTES).await?;
    request::batch_size(batch.writes.len())?;
    let mut writes = Writes::new();
    for item in batch.writes {
        let key = request::checked_key(&item.key)?;
        let value = value(item)?;
        if let Some(twice) = writes.insert(key.clone(), value).map(|_| key) {
            return Err(Refused::new(ErrorCode::MalformedBody, format!("the batch writes {twice:?} twice")));
        }
    }
    endpoint.session.write(named, writes)?;
    Ok(reply::no_content())
}

fn value(item: Item) -> Result<Option<Value>, Refused> {
    let malformed = |detail: String| Refused::new(ErrorCode::MalformedBody, detail);
    let bytes = match (item.value, item.value_base64, item.delete) {
        (Some(text), None, false) => Bytes::from(text),
        (None, Some(text), false) => {
            let bytes = STANDARD.decode(text);
            Bytes::from(bytes.map_err(|error| malformed(format!("valueBase64 of {:?}: {error}", item.key)))?)
        }
        (None, None, true) => return Ok(None),
        _ => {
            let detail =
                format!("the write of {:?} needs exactly one of value, valueBase64 and delete: true", item.key);
            return Err(malformed(detail));
        }
    };
    let content_type = match item.content_type {
        Some(text) => request::checked_content_type(&text)?,
        None => ContentType::default(),
    };
    let value = Value::new(bytes, content_type);
    value.map(Some).map_err(|error| Refused::new(ErrorCode::ValueTooLarge, format!("{:?}: {error}", item.key)))
}
