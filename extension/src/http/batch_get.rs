//! `POST /v1/kv:batchGet`: what this transaction sees of many keys, in one round trip to the store.

use std::collections::BTreeSet;

use aft_protocol::attempt::Seen;
use aft_protocol::key::Key;
use aft_protocol::limits;
use aft_store::Store;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::Request;
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};

use super::reply::{self, Answer};
use super::{Endpoint, freshness, request};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    keys: Vec<String>,
}

#[derive(Serialize)]
struct Found {
    items: Vec<Item>,
}

/// One key of the answer, in the order that was asked; text as it is, other bytes in base64.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    key: String,
    found: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

pub(super) async fn answer<S: Store>(endpoint: &Endpoint<S>, request: Request<Incoming>) -> Answer {
    let named = request::named(request.headers())?;
    let freshness = freshness::of(request.headers());
    let wanted: Wanted = request::json(request, limits::BATCH_BODY_BYTES).await?;
    request::batch_size(wanted.keys.len())?;
    let keys: Vec<Key> = wanted.keys.iter().map(|text| request::checked_key(text)).collect::<Result<_, _>>()?;
    let asked = BTreeSet::from_iter(keys.iter().cloned());
    let answers = endpoint.session.read_with(named, asked, freshness.unwrap_or_default()).await?;
    let items = keys.iter().map(|key| item(key, answers.get(key).map(|answer| &answer.seen))).collect();
    let mut reply = reply::json(&Found { items });
    if freshness.is_some() {
        freshness::label(&mut reply, answers.values().map(|answer| answer.source));
    }
    Ok(reply)
}

fn item(key: &Key, seen: Option<&Seen>) -> Item {
    let value = seen.and_then(Seen::value);
    let text = value.and_then(|value| std::str::from_utf8(value.bytes()).ok());
    Item {
        key: key.as_str().to_owned(),
        found: value.is_some(),
        etag: seen.and_then(Seen::etag),
        content_type: value.map(|value| value.content_type().as_str().to_owned()),
        value: text.map(str::to_owned),
        value_base64: value.filter(|_| text.is_none()).map(|value| STANDARD.encode(value.bytes())),
    }
}
