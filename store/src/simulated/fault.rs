//! What may become of a request, and with which bytes DynamoDB says so.

use std::time::Duration;
use std::{fmt, io};

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::ErrorKind;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::StreamBody;
use hyper::body::Frame;

/// On which side of its effect something happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// It has no effect.
    Before,
    /// It has its effect.
    After,
}

/// How DynamoDB refuses what is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Throttle {
    /// `ProvisionedThroughputExceededException`: a table with provisioned capacity, or a partition.
    Provisioned,
    /// `ThrottlingException`: a table on demand.
    OnDemand,
    /// `RequestLimitExceeded`: the account.
    Account,
}

/// Why a transaction is cancelled that nothing was wrong with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancellation {
    /// `TransactionConflict`: another transaction, which nobody here knows of, is in flight on one of its items.
    Conflict,
    /// `ProvisionedThroughputExceeded`.
    Provisioned,
    /// `ThrottlingError`.
    OnDemand,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It takes effect and is answered, at once.
    None,
    /// The same, and it is not in the trace.
    Unseen,
    /// It takes effect after the first time and is answered after the second. A caller that gives up meanwhile does not
    /// stop it.
    Slow(Duration, Duration),
    /// There is no connection to be had: it never leaves.
    Unconnected,
    /// Its connection breaks.
    Lost(Side),
    /// It takes effect, and its connection breaks in the middle of the answer.
    CutOff,
    /// DynamoDB answers with an internal error.
    Failed(Side),
    /// DynamoDB's front end answers that it is not available (HTTP 503); it has no effect.
    Unavailable,
    /// DynamoDB refuses it; it has no effect.
    Throttled(Throttle),
    /// Of a batch, the keys whose bits are set come back unprocessed. Other requests take effect and are answered.
    Unprocessed(u64),
    /// It is never answered: its packets vanish.
    Silent(Side),
    /// An eventually consistent read is answered with what was there so long ago, a second at most. Other requests take
    /// effect and are answered.
    Stale(Duration),
    /// A transaction is cancelled because of the item at this position (modulo their number), and a plain write conflicts
    /// if that is the reason; it has no effect. Other requests take effect and are answered.
    Cancelled(Cancellation, usize),
}

impl Fault {
    /// The same, and a `TransactWriteItems` is in flight for as long: its items become visible one after the other within
    /// this time, counted from its effect. What is answered is answered after that.
    #[must_use]
    pub const fn in_flight(self, within: Duration) -> Fate {
        Fate { fault: self, in_flight: within }
    }
}

/// What becomes of a request, and for how long it is in flight.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fate {
    pub(super) fault: Fault,
    pub(super) in_flight: Duration,
}

impl From<Fault> for Fate {
    fn from(fault: Fault) -> Self {
        fault.in_flight(Duration::ZERO)
    }
}

impl fmt::Debug for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.fault)?;
        if !self.in_flight.is_zero() {
            write!(f, ", in flight {:?}", self.in_flight)?;
        }
        Ok(())
    }
}

/// What comes back to the SDK.
pub(super) type Reply = Result<HttpResponse, ConnectorError>;

/// An answer of DynamoDB.
pub(super) fn answer(status: u16, body: impl Into<SdkBody>) -> Reply {
    let status = StatusCode::try_from(status).map_err(|error| ConnectorError::user(error.into()))?;
    let mut answer = HttpResponse::new(status, body.into());
    answer.headers_mut().insert("content-type", "application/x-amz-json-1.0");
    Ok(answer)
}

fn error(status: u16, kind: &str, message: &str) -> Reply {
    answer(status, format!(r#"{{"__type":"{kind}","message":"{message}"}}"#))
}

/// HTTP 500: "the write may have succeeded".
pub(super) fn failed() -> Reply {
    error(500, "com.amazonaws.dynamodb.v20120810#InternalServerError", "Internal server error")
}

pub(super) fn unavailable() -> Reply {
    error(503, "com.amazon.coral.availability#ServiceUnavailableException", "The service is temporarily unavailable")
}

pub(super) fn throttled(throttle: Throttle) -> Reply {
    match throttle {
        Throttle::Provisioned => error(
            400,
            "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
            "The level of configured provisioned throughput for the table was exceeded",
        ),
        Throttle::OnDemand => error(
            400,
            "com.amazon.coral.availability#ThrottlingException",
            "Throughput exceeds the current capacity of your table or index",
        ),
        Throttle::Account => error(
            400,
            "com.amazonaws.dynamodb.v20120810#RequestLimitExceeded",
            "Throughput exceeds the current throughput limit for your account",
        ),
    }
}

/// The first half of an answer, and then the end of the connection.
pub(super) fn cut_off(status: u16, body: &[u8]) -> Reply {
    let half = Bytes::copy_from_slice(&body[..body.len() / 2]);
    let broken = io::Error::new(io::ErrorKind::UnexpectedEof, "end of file before message length reached");
    let frames = stream::iter([Ok(Frame::data(half)), Err(broken)]);
    answer(status, SdkBody::from_body_1_x(StreamBody::new(frames)))
}

/// What the SDK's own connector says of a connection that was refused.
pub(super) fn unconnected() -> Reply {
    Err(ConnectorError::io(io::Error::new(io::ErrorKind::ConnectionRefused, "tcp connect error").into()))
}

/// What the SDK's own connector says of a connection that ended before the answer began.
pub(super) fn lost() -> Reply {
    let closed = io::Error::new(io::ErrorKind::ConnectionReset, "connection closed before message completed");
    Err(ConnectorError::other(closed.into(), Some(ErrorKind::TransientError)))
}

/// What the SDK's own connector says when the answer does not begin in time.
pub(super) fn timed_out(limit: Duration) -> Reply {
    let late = io::Error::new(io::ErrorKind::TimedOut, format!("HTTP read timeout occurred after {limit:?}"));
    Err(ConnectorError::timeout(late.into()))
}
