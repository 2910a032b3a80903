//! What the conductor hears: calls of the child, ends of the child, answers of Lambda.

use std::process::ExitStatus;

use aft_protocol::id::RequestId;
use hyper::Response;
use tokio::sync::{mpsc, oneshot};

use crate::body::{Body, Collected};
use crate::relay::{Ended, Stream};
use crate::upstream::{Head, Polled, Post, UpstreamError};

/// Which child: what a dead one still says must not act on the attempt of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generation(pub u64);

/// Where the answer to a call goes. Dropped: the call's connection is closed.
pub type Reply = oneshot::Sender<Response<Body>>;

/// Which of the two ends of an invocation the runtime posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// `/response`.
    Response,
    /// `/error`.
    Error,
}

/// A call of the child.
#[derive(Debug)]
pub enum Call {
    /// `/next`.
    Next {
        /// Its headers, for Lambda's own `/next`.
        head: Box<Head>,
    },
    /// `/response` or `/error`.
    End {
        /// Which.
        ending: Ending,
        /// Whom it names.
        request: RequestId,
        /// Route and headers.
        head: Box<Head>,
        /// The body.
        body: Collected,
    },
    /// `/response`, as a stream that is to be passed on.
    Stream {
        /// Whom it names.
        request: RequestId,
        /// Route and headers.
        head: Box<Head>,
        /// What follows.
        stream: Stream,
    },
    /// `/restore/next`.
    Restore {
        /// Its headers, for Lambda's own.
        head: Box<Head>,
    },
    /// `/init/error`.
    InitError(Box<Post>),
}

/// What the conductor hears.
#[derive(Debug)]
pub enum Message {
    /// A child calls.
    Called {
        /// Which child.
        child: Generation,
        /// What it says.
        call: Call,
        /// Where the answer goes.
        reply: Reply,
    },
    /// A response that is passed on has come to its end, from its child's side.
    Streamed {
        /// Which child.
        child: Generation,
        /// How it ended, and what it was.
        ended: Ended,
    },
    /// A child is dead, and everything that it had said before is heard.
    Exited {
        /// Which child.
        child: Generation,
        /// How; `None` if that could not be learnt.
        status: Option<ExitStatus>,
    },
    /// Lambda answered the poll for the next event.
    Polled(Result<Polled, UpstreamError>),
    /// Lambda answered the wait for a restore.
    Restored(Result<Response<Body>, UpstreamError>),
}

/// Where messages go.
pub type Outbox = mpsc::UnboundedSender<Message>;
/// Where they are heard.
pub type Inbox = mpsc::UnboundedReceiver<Message>;
