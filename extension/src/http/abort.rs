//! `POST /v1/transaction:abort`: succeed without committing. The response is released and nothing is written.

use aft_store::Store;
use hyper::Request;

use super::reply::{self, Answer};
use super::{Endpoint, request};

pub(super) fn answer<S: Store, B>(endpoint: &Endpoint<S>, request: &Request<B>) -> Answer {
    endpoint.session.discard(request::named(request.headers())?)?;
    Ok(reply::no_content())
}
