//! A streamed response on its way from the runtime to Lambda, byte by byte as it comes, with its end held back: what Lambda
//! takes for the end of the response is said only once the transaction has committed, or why it has not.
//!
//! What passes is kept, up to the size of a buffered response, for the commit record.

use std::pin::pin;

use aft_protocol::limits;
use aft_protocol::wire::RESPONSE_OMITTED;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, TRAILER};
use hyper::{HeaderMap, Request, Response};
use tokio::sync::{mpsc, oneshot};

use crate::body::{Body, Whole};
use crate::message::{Generation, Message, Outbox, Reply};
use crate::platform;
use crate::upstream::{Head, Upstream, UpstreamError};

/// Frames between the runtime and Lambda. More would only take memory: Lambda sets the pace.
const FRAMES: usize = 2;

/// What came of waiting for the first byte.
#[derive(Debug)]
pub enum Opening {
    /// It ended without one: nothing is on its way yet.
    Whole(Whole),
    /// It has begun.
    Stream(Stream),
}

/// A response whose first bytes are here and have not been passed on.
#[derive(Debug)]
pub struct Stream {
    first: Bytes,
    incoming: Incoming,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// As the runtime meant it to.
    Complete,
    /// The runtime's connection broke.
    BrokenOff,
    /// Lambda answered before the end.
    Refused,
}

/// A stream that ended on the runtime's side.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub ending: Ending,
    /// What passed, if it was not too much to keep.
    kept: Option<Bytes>,
    bytes: u64,
    /// The runtime's own trailers.
    pub trailers: HeaderMap,
}

impl Ended {
    /// What is recorded with the commit: the response and its content type, or that it is not kept.
    #[must_use]
    pub fn recorded(&self, head: &Head) -> (Option<HeaderValue>, Bytes) {
        match &self.kept {
            Some(body) => (head.headers.get(CONTENT_TYPE).cloned(), body.clone()),
            None => {
                let note = serde_json::json!({ "bytes": self.bytes }).to_string();
                (Some(HeaderValue::from_static(RESPONSE_OMITTED)), note.into())
            }
        }
    }

    /// Whether exactly these bytes passed.
    #[must_use]
    pub fn is(&self, body: &Bytes) -> bool {
        self.kept.as_ref() == Some(body)
    }
}

/// A stream that is on its way; its [`Ended`] comes as [`Message::Streamed`].
#[derive(Debug)]
pub struct Relay {
    end: oneshot::Sender<HeaderMap>,
    answer: oneshot::Receiver<Result<Response<Body>, UpstreamError>>,
}

impl Relay {
    /// Lets the response end with these trailers, and waits for Lambda's answer.
    ///
    /// # Errors
    /// [`UpstreamError`]: the connection to Lambda broke.
    pub async fn end(self, trailers: HeaderMap) -> Result<Response<Body>, UpstreamError> {
        // Fails only if Lambda has answered already.
        let _ = self.end.send(trailers);
        self.answer.await.unwrap_or(Err(UpstreamError::Unanswered))
    }
}

impl Stream {
    /// Waits for the first byte.
    ///
    /// # Errors
    /// If the runtime breaks it off before.
    pub async fn open(mut incoming: Incoming) -> Result<Opening, hyper::Error> {
        let mut trailers = None;
        while let Some(frame) = incoming.frame().await {
            match frame?.into_data() {
                Ok(first) if first.is_empty() => {}
                Ok(first) => return Ok(Opening::Stream(Self { first, incoming })),
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        Ok(Opening::Whole(Whole { data: Bytes::new(), trailers, chunked: true }))
    }

    /// Passes nothing on: reads to the end, and only then gives the runtime what is sent to the returned reply. A client
    /// that still writes would not read it.
    #[must_use]
    pub fn drain(mut self, reply: Reply) -> Reply {
        let (sooner, answer) = oneshot::channel();
        tokio::spawn(async move {
            drain(&mut self.incoming).await;
            if let Ok(answer) = answer.await {
                // The runtime may have gone.
                let _ = reply.send(answer);
            }
        });
        sooner
    }

    /// Starts passing it on, under this head.
    #[must_use]
    pub fn start(self, mut head: Head, child: Generation, upstream: Upstream, outbox: Outbox) -> Relay {
        platform::strip_hop_by_hop(&mut head.headers, None);
        head.headers.remove(CONTENT_LENGTH);
        announce_error_trailers(&mut head.headers);
        let (frames, body) = mpsc::channel(FRAMES);
        let (end, ending) = oneshot::channel();
        let (answered, answer) = oneshot::channel();
        let request = Request::from_parts(head, Body::Relayed(body));
        let ended = move |ended| drop(outbox.send(Message::Streamed { child, ended }));
        let Self { first, mut incoming } = self;
        tokio::spawn(async move {
            let answer = run(first, &mut incoming, upstream.exchange(request), frames, ended, ending).await;
            // Nobody waits only if the process ends.
            let _ = answered.send(answer);
            // If Lambda answered before the end: the runtime reads what it is told only once it has written all.
            drain(&mut incoming).await;
        });
        Relay { end, answer }
    }
}

async fn run(
    first: Bytes,
    incoming: &mut Incoming,
    exchange: impl Future<Output = Result<Response<Body>, UpstreamError>>,
    frames: mpsc::Sender<Frame<Bytes>>,
    ended: impl FnOnce(Ended),
    end: oneshot::Receiver<HeaderMap>,
) -> Result<Response<Body>, UpstreamError> {
    let mut exchange = pin!(exchange);
    let passed = tokio::select! {
        passed = pass(first, incoming, &frames) => passed,
        early = &mut exchange => {
            ended(Ended { ending: Ending::Refused, kept: None, bytes: 0, trailers: HeaderMap::new() });
            return early;
        }
    };
    ended(passed);
    let finish = async move {
        if let Some(trailers) = end.await.ok().filter(|trailers| !trailers.is_empty()) {
            // Lambda may have hung up: then its answer says so.
            let _ = frames.send(Frame::trailers(trailers)).await;
        }
        // The body ends where its sender is dropped: here.
    };
    tokio::join!(exchange, finish).0
}

/// Passes frames on to the end, and keeps them.
async fn pass(first: Bytes, incoming: &mut Incoming, frames: &mpsc::Sender<Frame<Bytes>>) -> Ended {
    let mut kept = Some(BytesMut::new());
    let mut bytes = 0;
    let mut trailers = HeaderMap::new();
    let mut next = Some(Ok(Frame::data(first)));
    let ending = loop {
        let Some(frame) = next else { break Ending::Complete };
        let Ok(frame) = frame else { break Ending::BrokenOff };
        match frame.into_data() {
            Ok(data) => {
                bytes += data.len() as u64;
                match &mut kept {
                    Some(all) if all.len() + data.len() <= limits::RESPONSE_BYTES => all.extend_from_slice(&data),
                    Some(_) | None => kept = None,
                }
                if frames.send(Frame::data(data)).await.is_err() {
                    // Lambda hung up; its answer is on its way.
                    std::future::pending::<()>().await;
                }
            }
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
        next = incoming.frame().await;
    };
    Ended { ending, kept: kept.map(BytesMut::freeze), bytes, trailers }
}

async fn drain(incoming: &mut Incoming) {
    while let Some(Ok(_)) = incoming.frame().await {}
}

/// An error can be told at the end only if it was announced (RFC 9110, section 6.6.2), and hyper leaves out what was not.
fn announce_error_trailers(headers: &mut HeaderMap) {
    let announced = |headers: &HeaderMap, name: &str| {
        let texts = headers.get_all(TRAILER).iter().filter_map(|text| text.to_str().ok());
        texts.flat_map(|text| text.split(',')).any(|each| each.trim().eq_ignore_ascii_case(name))
    };
    for name in [platform::ERROR_TYPE, platform::ERROR_BODY] {
        if !announced(headers, name.as_str()) {
            headers.append(TRAILER, HeaderValue::from(name));
        }
    }
}
