//! Who may ask: the handler, and nobody that merely got it to fetch a URL.
//!
//! A request must be addressed to this endpoint by exactly one `Host` (DNS rebinding, request smuggling), must not have
//! come through a proxy, and must carry the secret that only the handler's environment has (forged URL fetches cannot set
//! headers). The same rules as AWS's own secrets agent. A `Content-Length` beside a `Transfer-Encoding` is dropped by hyper
//! (RFC 9112, section 6.3) before it can be seen here.

use std::sync::{Arc, PoisonError, RwLock};

use aft_protocol::wire::{ErrorCode, header as aft};
use aft_store::Store;
use hyper::Request;
use hyper::header::{HOST, HeaderMap};
use subtle::ConstantTimeEq;

use super::Endpoint;
use super::reply::Refused;

/// The handler's secret. Clones share it.
#[derive(Clone)]
pub struct Token(Arc<RwLock<String>>);

impl Token {
    /// A secret from 128 random bits.
    #[must_use]
    pub fn from_random(bits: u128) -> Self {
        Self(Arc::new(RwLock::new(text(bits))))
    }

    /// Another secret takes this one's place.
    pub fn renew(&self, bits: u128) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = text(bits);
    }

    /// The header's text.
    #[must_use]
    pub fn reveal(&self) -> String {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn text(bits: u128) -> String {
    format!("{bits:032x}")
}

/// Whether a request may be answered.
pub(super) fn admit<S: Store, B>(endpoint: &Endpoint<S>, request: &Request<B>) -> Result<(), Refused> {
    let headers = request.headers();
    addressed_here(endpoint, request)?;
    if let Some(name) = headers.keys().find(|name| is_forwarding(name.as_str())) {
        let detail = format!("the header {name} says that a proxy forwarded this request; call the endpoint directly");
        return Err(Refused::new(ErrorCode::ForwardedRequest, detail));
    }
    match &endpoint.token {
        Some(token) => authorised(headers, token),
        None => Ok(()),
    }
}

fn addressed_here<S: Store, B>(endpoint: &Endpoint<S>, request: &Request<B>) -> Result<(), Refused> {
    let wrong = |detail: String| Err(Refused::new(ErrorCode::HostNotAllowed, detail));
    if request.uri().authority().is_some() {
        return wrong("the request line has a whole URL, as for a proxy; it must have a path".to_owned());
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return wrong("a request has exactly one Host header".to_owned());
    };
    let port = endpoint.address.port();
    let allowed = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
    if allowed.iter().any(|allowed| host.as_bytes().eq_ignore_ascii_case(allowed.as_bytes())) {
        return Ok(());
    }
    wrong(format!("the Host header is {host:?}; it must be {} or {}", allowed[0], allowed[1]))
}

fn is_forwarding(name: &str) -> bool {
    name == "forwarded" || name == "via" || name.starts_with("x-forwarded-")
}

fn authorised(headers: &HeaderMap, token: &Token) -> Result<(), Refused> {
    let remedy = "send the environment variable AFT_TOKEN of the handler (under SnapStart: what the file AFT_TOKEN_FILE \
                  holds now) as the header X-Aft-Token";
    match headers.get(aft::TOKEN) {
        None => Err(Refused::new(ErrorCode::TokenMissing, format!("there is no token: {remedy}"))),
        Some(given) if bool::from(given.as_bytes().ct_eq(token.reveal().as_bytes())) => Ok(()),
        Some(_) => Err(Refused::new(ErrorCode::TokenWrong, format!("the token is not this sandbox's: {remedy}"))),
    }
}
