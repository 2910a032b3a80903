//! The client of Lambda's real Runtime API.
//!
//! Connections are kept and used again. One may have died meanwhile (a thaw): a request that was not sent goes out on a
//! new one. What was sent is sent again only where Lambda itself makes that harmless: `/next` answers the same event
//! while an invocation is open, and a second `/response` or `/error` is refused.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderValue, TRAILER};
use hyper::{Method, Request, Response, Uri, Version};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::body::{self, Body, Collected, Whole};
use crate::delivery::{Delivery, MalformedEvent};
use crate::platform;

/// Connections kept: one for posts and `/next`, one for what runs beside them.
const IDLE_CONNECTIONS: usize = 2;
/// How often `/next` is tried on a Runtime API that does not answer at all, and with which pause.
const NEXT_TRIES: u32 = 20;
const NEXT_PAUSE: Duration = Duration::from_millis(100);
/// Larger than any event: Lambda's own limit is 6 MB, 1 MB for asynchronous ones.
const EVENT_BYTES: usize = 16 * 1_024 * 1_024;

/// Why the Runtime API gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// It cannot be reached.
    #[error("it cannot be reached: {0}")]
    Connect(#[source] std::io::Error),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(#[from] hyper::Error),
    /// What came is larger than anything that Lambda sends.
    #[error("its answer is larger than {EVENT_BYTES} bytes")]
    TooLarge,
    /// The process is ending.
    #[error("nobody waits for its answer any more")]
    Unanswered,
    /// An event without what every event has.
    #[error("{0}")]
    Event(#[from] MalformedEvent),
}

/// What came of `/next`.
#[derive(Debug)]
pub enum Polled {
    /// An event.
    Event(Delivery),
    /// Lambda gives none.
    Refused(Response<Body>),
}

/// The head of a request: all but its body.
pub type Head = http::request::Parts;

/// A request of the runtime's, or of our own, that is all there.
#[derive(Debug, Clone)]
pub struct Post {
    /// Route and headers.
    pub head: Head,
    /// The body.
    pub body: Whole,
}

impl Post {
    fn request(&self) -> Request<Body> {
        let mut head = self.head.clone();
        platform::strip_hop_by_hop(&mut head.headers, Some(self.body.data.len()));
        if let Some(trailers) = &self.body.trailers
            && !head.headers.contains_key(TRAILER)
        {
            // Trailers that were not announced would be left out.
            head.headers.extend(trailers.keys().map(|name| (TRAILER, HeaderValue::from(name.clone()))));
        }
        Request::from_parts(head, Body::Whole(self.body.clone()))
    }
}

/// The Runtime API. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Upstream {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    authority: String,
    host: Option<HeaderValue>,
    idle: Mutex<Vec<SendRequest<Body>>>,
}

impl Upstream {
    /// The Runtime API at `authority`: host and port.
    #[must_use]
    pub fn new(authority: String) -> Self {
        let host = HeaderValue::from_str(&authority).ok();
        Self { inner: Arc::new(Inner { authority, host, idle: Mutex::default() }) }
    }

    /// Keeps none of the connections that there are.
    pub fn forget_connections(&self) {
        self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Waits, without a limit, for the next event.
    ///
    /// # Errors
    /// [`UpstreamError`] if Lambda is gone.
    pub async fn next(&self, head: Option<Head>) -> Result<Polled, UpstreamError> {
        let post = Post { head: head.unwrap_or_else(|| own_head(Method::GET, platform::NEXT)), body: Whole::default() };
        let mut tries = 0;
        loop {
            let started = Instant::now();
            let error = match self.try_next(&post).await {
                Ok(polled) => return Ok(polled),
                Err(error @ (UpstreamError::TooLarge | UpstreamError::Event(_) | UpstreamError::Unanswered)) => {
                    return Err(error);
                }
                Err(error @ (UpstreamError::Connect(_) | UpstreamError::Broken(_))) => error,
            };
            // A connection that broke after a long wait says nothing about the next one.
            tries = if started.elapsed() > NEXT_PAUSE * NEXT_TRIES { 1 } else { tries + 1 };
            if tries >= NEXT_TRIES {
                return Err(error);
            }
            tracing::debug!("/next, try {tries}: {error}");
            sleep(NEXT_PAUSE).await;
        }
    }

    async fn try_next(&self, post: &Post) -> Result<Polled, UpstreamError> {
        let (head, incoming) = self.send(post.request()).await?.into_parts();
        let Collected::Whole(whole) = body::collect(incoming, EVENT_BYTES).await? else {
            return Err(UpstreamError::TooLarge);
        };
        if !head.status.is_success() {
            return Ok(Polled::Refused(whole_response(head, whole)));
        }
        Ok(Polled::Event(Delivery::new(head, whole)?))
    }

    /// Posts an answer and waits for Lambda's.
    ///
    /// # Errors
    /// [`UpstreamError`] if Lambda does not answer, twice.
    pub async fn post(&self, post: &Post) -> Result<Response<Body>, UpstreamError> {
        match self.try_post(post).await {
            Ok(response) => Ok(response),
            Err(error) => {
                tracing::warn!("posting {}: {error}; trying once more", post.head.uri);
                self.try_post(post).await
            }
        }
    }

    async fn try_post(&self, post: &Post) -> Result<Response<Body>, UpstreamError> {
        self.exchange(post.request()).await
    }

    /// Sends a request, once, and waits for the whole answer.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn exchange(&self, request: Request<Body>) -> Result<Response<Body>, UpstreamError> {
        let (head, incoming) = self.send(request).await?.into_parts();
        match body::collect(incoming, EVENT_BYTES).await? {
            Collected::Whole(whole) => Ok(whole_response(head, whole)),
            Collected::TooLarge => Err(UpstreamError::TooLarge),
        }
    }

    /// Sends a request whose headers are those of one connection no more.
    ///
    /// # Errors
    /// [`UpstreamError`] if the request could not be sent, even on a new connection, or broke off.
    pub async fn send(&self, mut request: Request<Body>) -> Result<Response<Incoming>, UpstreamError> {
        if let Some(host) = &self.inner.host {
            request.headers_mut().insert(HOST, host.clone());
        }
        // The runtime's own HTTP version and form of target belong to its own connection.
        *request.version_mut() = Version::HTTP_11;
        if let Some(target) = request.uri().path_and_query().cloned() {
            *request.uri_mut() = target.into();
        }
        while let Some(mut kept) = self.take_idle() {
            match kept.try_send_request(request).await {
                Ok(response) => return Ok(self.keep(kept, response)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(error.into_error().into()),
                },
            }
        }
        let mut fresh = self.connect().await?;
        let response = fresh.try_send_request(request).await.map_err(TrySendError::into_error)?;
        Ok(self.keep(fresh, response))
    }

    async fn connect(&self) -> Result<SendRequest<Body>, UpstreamError> {
        let stream = TcpStream::connect(&self.inner.authority).await.map_err(UpstreamError::Connect)?;
        // Costs 40 ms a post where it is missing; a connection that refuses it works all the same.
        let _ = stream.set_nodelay(true);
        let mut builder = http1::Builder::new();
        // Names as the runtime wrote them. Where that is lost (in trailers), as Lambda writes its own.
        builder.preserve_header_case(true).title_case_headers(true);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("a connection to the Runtime API broke: {error}");
            }
        });
        Ok(sender)
    }

    /// A kept connection that is free and, as far as is known, alive.
    fn take_idle(&self) -> Option<SendRequest<Body>> {
        let mut idle = self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|sender| !sender.is_closed());
        let free = idle.iter().position(SendRequest::is_ready)?;
        Some(idle.swap_remove(free))
    }

    fn keep(&self, sender: SendRequest<Body>, response: Response<Incoming>) -> Response<Incoming> {
        let mut idle = self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_CONNECTIONS {
            idle.push(sender);
        }
        response
    }
}

/// The head of a request of our own.
#[must_use]
pub fn own_head(method: Method, path: &str) -> Head {
    let mut request = Request::new(());
    *request.method_mut() = method;
    // Request IDs come from a header of Lambda's, or from the runtime's own route.
    *request.uri_mut() = path.parse().unwrap_or_else(|_| Uri::from_static("/"));
    request.into_parts().0
}

fn whole_response(mut head: http::response::Parts, body: Whole) -> Response<Body> {
    platform::strip_hop_by_hop(&mut head.headers, Some(body.data.len()));
    Response::from_parts(head, Body::Whole(body))
}
