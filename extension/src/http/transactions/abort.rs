//! `POST /v1/transactions/{id}:abort`: ends an explicit transaction without a trace (R-COMMIT-8).

use aft_store::Store;

use crate::http::Endpoint;
use crate::http::reply::{self, Answer};
use crate::session::Named;

pub(super) fn answer<S: Store>(endpoint: &Endpoint<S>, named: Named) -> Answer {
    endpoint.session.abort_explicit(named)?;
    Ok(reply::no_content())
}
