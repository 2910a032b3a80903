//! Everything that is not an invocation's: to Lambda and back untouched, but for what belongs to one connection.

use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};

use super::{Caller, Gone};
use crate::body::Body;
use crate::platform;

pub(super) async fn answer(caller: &Caller, request: Request<Incoming>) -> Result<Response<Body>, Gone> {
    let mut request = request.map(Body::Streaming);
    platform::strip_hop_by_hop(request.headers_mut(), None);
    let route = format!("{} {}", request.method(), request.uri().path());
    match caller.upstream.send(request).await {
        Ok(response) => {
            let mut response = response.map(Body::Streaming);
            platform::strip_hop_by_hop(response.headers_mut(), None);
            Ok(response)
        }
        Err(error) => {
            tracing::error!("passing {route} through: {error}");
            Ok(platform::refused(StatusCode::BAD_GATEWAY, "Aft.RuntimeApi", &error.to_string()))
        }
    }
}
