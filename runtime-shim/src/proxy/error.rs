//! `POST …/invocation/{id}/error`: the runtime's error, which another attempt may make up for.

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
    caller.end(Ending::Error, named, request).await
}
