//! HTTP bodies: whole ones, which can be sent again with their trailers, and those on their way, which cannot.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::sync::mpsc;

/// A body that is all there. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Whole {
    /// Its bytes.
    pub data: Bytes,
    /// What came after them.
    pub trailers: Option<HeaderMap>,
    /// Whether it came, and so is to go, without a length.
    pub chunked: bool,
}

impl From<Bytes> for Whole {
    fn from(data: Bytes) -> Self {
        Self { data, trailers: None, chunked: false }
    }
}

/// What came of reading a body to its end.
#[derive(Debug)]
pub enum Collected {
    /// All of it.
    Whole(Whole),
    /// It was longer than allowed.
    TooLarge,
}

/// Reads a body to its end, so that the other side can read the reply, but keeps at most `limit` bytes.
///
/// # Errors
/// If the connection breaks before the end.
pub async fn collect(mut incoming: Incoming, limit: usize) -> Result<Collected, hyper::Error> {
    let length = incoming.size_hint().exact();
    let chunked = length.is_none();
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    let mut trailers = None;
    let mut too_large = false;
    while let Some(frame) = incoming.frame().await {
        match frame?.into_data() {
            Ok(data) if too_large || first.len() + all.len() + data.len() > limit => {
                too_large = true;
                (first, all) = (Bytes::new(), BytesMut::new());
            }
            // The common case is one frame, and costs no copy.
            Ok(data) if first.is_empty() && all.is_empty() => first = data,
            Ok(data) => {
                if all.is_empty() {
                    let announced = length.and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
                    all.reserve(announced.min(limit).max(first.len() + data.len()));
                    all.extend_from_slice(&std::mem::take(&mut first));
                }
                all.extend_from_slice(&data);
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    if too_large {
        return Ok(Collected::TooLarge);
    }
    let data = if all.is_empty() { first } else { all.freeze() };
    Ok(Collected::Whole(Whole { data, trailers, chunked }))
}

/// A body to be sent.
#[derive(Debug)]
pub enum Body {
    /// All there.
    Whole(Whole),
    /// On its way, untouched.
    Streaming(Incoming),
    /// On its way, frame by frame; it ends when the sender is dropped.
    Relayed(mpsc::Receiver<Frame<Bytes>>),
}

impl Default for Body {
    fn default() -> Self {
        Self::Whole(Whole::default())
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Streaming(incoming) => Pin::new(incoming).poll_frame(context),
            Self::Relayed(frames) => frames.poll_recv(context).map(|frame| frame.map(Ok)),
            Self::Whole(whole) if !whole.data.is_empty() => {
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut whole.data)))))
            }
            Self::Whole(whole) => Poll::Ready(whole.trailers.take().map(|trailers| Ok(Frame::trailers(trailers)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Streaming(incoming) => incoming.is_end_stream(),
            Self::Relayed(_) => false,
            // An empty body that came in chunks goes in chunks.
            Self::Whole(whole) => !whole.chunked && whole.data.is_empty() && whole.trailers.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Streaming(incoming) => incoming.size_hint(),
            Self::Relayed(_) => SizeHint::default(),
            Self::Whole(whole) if whole.chunked || whole.trailers.is_some() => SizeHint::default(),
            Self::Whole(whole) => SizeHint::with_exact(whole.data.len() as u64),
        }
    }
}
