//! `DELETE /v1/kv/{key}`: buffers a deletion; deleting what does not exist is fine.

use aft_protocol::key::Key;
use aft_store::Store;
use hyper::Request;

use super::reply::{self, Answer};
use super::{Endpoint, request};

pub(super) async fn answer<S: Store, B>(endpoint: &Endpoint<S>, request: &Request<B>, key: Key) -> Answer {
    let named = request::named(request.headers())?;
    let precondition = request::precondition(request.headers())?;
    endpoint.session.write_if(named, key, None, precondition).await?;
    Ok(reply::no_content())
}
