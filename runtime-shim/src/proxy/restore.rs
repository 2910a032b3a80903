//! `GET …/restore/next`: the runtime is ready for a snapshot, and waits until it is restored from one. Lambda's answer goes
//! to it only when everything that was made before the snapshot has been made anew: see `conductor/restore.rs`.

use hyper::body::Incoming;
use hyper::{Request, Response};

use super::{Caller, Gone};
use crate::body::Body;
use crate::message::Call;

pub(super) async fn answer(caller: &Caller, request: Request<Incoming>) -> Result<Response<Body>, Gone> {
    let (head, _) = request.into_parts();
    caller.ask(Call::Restore { head: Box::new(head) }).await
}
