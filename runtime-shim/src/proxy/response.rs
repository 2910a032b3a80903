//! `POST …/invocation/{id}/response`: the handler's response, held back until the commit is durable.

use aft_protocol::id::RequestId;
use hyper::body::Incoming;
use hyper::{Request, Response};

use super::{Caller, Gone};
use crate::body::Body;
use crate::message::Ending;

pub(super) async fn answer(
    caller: &Caller,
    named: RequestId,
    request: Request<Incoming>,
) -> Result<Response<Body>, Gone> {
    caller.end(Ending::Response, named, request).await
}
