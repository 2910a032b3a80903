//! `GET …/invocation/next`: the next event, or the same one again.

use hyper::body::Incoming;
use hyper::{Request, Response};

use super::{Caller, Gone};
use crate::body::Body;
use crate::message::Call;

pub(super) async fn answer(caller: &Caller, request: Request<Incoming>) -> Result<Response<Body>, Gone> {
    let (head, _) = request.into_parts();
    caller.ask(Call::Next { head: Box::new(head) }).await
}
