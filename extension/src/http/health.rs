//! `GET /v1/health`: that the extension is up, and whether the shim has attached.

use aft_store::Store;
use serde::Serialize;

use super::Endpoint;
use super::reply::{self, Answer};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    status: &'static str,
    version: &'static str,
    shim_attached: bool,
}

pub(super) fn answer<S: Store>(endpoint: &Endpoint<S>) -> Answer {
    let shim_attached = endpoint.session.shim_attached();
    Ok(reply::json(&Document { status: "ok", version: env!("CARGO_PKG_VERSION"), shim_attached }))
}
