//! `POST …/init/error`: the runtime could not start. The first child's goes to Lambda as it is; a later child's is kept by
//! the conductor, because Lambda's own init is long over, and becomes the error of the invocation that it was started for.

use aft_protocol::limits;
use hyper::body::Incoming;
use hyper::{Request, Response};

use super::{Caller, Gone};
use crate::body::{Body, Collected, collect};
use crate::message::Call;
use crate::platform;
use crate::upstream::Post;

pub(super) async fn answer(caller: &Caller, request: Request<Incoming>) -> Result<Response<Body>, Gone> {
    let (head, incoming) = request.into_parts();
    match collect(incoming, limits::RESPONSE_BYTES).await {
        Ok(Collected::Whole(body)) => caller.ask(Call::InitError(Box::new(Post { head, body }))).await,
        Ok(Collected::TooLarge) => Ok(platform::too_large()),
        Err(_) => Err(Gone),
    }
}
