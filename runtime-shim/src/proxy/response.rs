//! `POST …/invocation/{id}/response`: the handler's response, held back until the commit is durable; or, if the function asked
//! for that, a stream whose end alone is held back.

use aft_protocol::id::RequestId;
use hyper::body::Incoming;
use hyper::{Request, Response};

use super::{Caller, Gone};
use crate::body::{Body, Collected};
use crate::message::{Call, Ending};
use crate::platform;
use crate::relay::{Opening, Stream};

pub(super) async fn answer(
    caller: &Caller,
    named: RequestId,
    request: Request<Incoming>,
) -> Result<Response<Body>, Gone> {
    if !caller.pass_streams || !platform::is_streamed(request.headers()) {
        return caller.end(Ending::Response, named, request).await;
    }
    let (head, incoming) = request.into_parts();
    let opening = Stream::open(incoming).await.map_err(|error| {
        tracing::warn!(request = %named, "the runtime broke off its response: {error}");
        Gone
    })?;
    let head = Box::new(head);
    caller
        .ask(match opening {
            Opening::Stream(stream) => Call::Stream { request: named, head, stream },
            Opening::Whole(body) => {
                Call::End { ending: Ending::Response, request: named, head, body: Collected::Whole(body) }
            }
        })
        .await
}
