//! `GET /v1/health`: that the extension is up, whether the shim has attached, and how the cache of heads is doing.

use aft_store::Store;
use serde::Serialize;

use super::Endpoint;
use super::reply::{self, Answer};
use crate::session::CacheStatus;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    status: &'static str,
    version: &'static str,
    shim_attached: bool,
    cache: Cache,
}

/// Since the sandbox began.
#[derive(Serialize)]
struct Cache {
    heads: usize,
    bytes: usize,
    hits: u64,
    misses: u64,
}

pub(super) fn answer<S: Store>(endpoint: &Endpoint<S>) -> Answer {
    let shim_attached = endpoint.session.shim_attached();
    let CacheStatus { heads, bytes, hits, misses } = endpoint.session.cache_status();
    let cache = Cache { heads, bytes, hits, misses };
    Ok(reply::json(&Document { status: "ok", version: env!("CARGO_PKG_VERSION"), shim_attached, cache }))
}
