//! The invocation that is open: its machine's state, and what is kept for it from one step to the next.

use std::process::ExitStatus;
use std::time::Duration;

use aft_protocol::id::{AttemptNumber, Fingerprint, TransactionId};
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use tokio::time::Instant;

use crate::body::Collected;
use crate::coordinator::Recorded;
use crate::delivery::Delivery;
use crate::identity::{Batch, Identity, Integration, Refusal, Rules, Source};
use crate::invocation::{Event, Impossible, State};
use crate::message::Reply;
use crate::platform;
use crate::relay::{Ended, Ending, Relay};
use crate::upstream::{Head, Post};

/// What Lambda is told, where it is not the runtime's own error.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) kind: &'static str,
    pub(super) message: String,
}

/// What the runtime ended its attempt with: held back until the commit.
#[derive(Debug)]
pub(super) struct Posted {
    /// Route and headers.
    pub(super) head: Head,
    pub(super) body: Collected,
}

/// A response that is passed on as it comes: Lambda has got bytes of it.
#[derive(Debug)]
pub(super) struct Flight {
    /// Route and headers.
    pub(super) head: Head,
    pub(super) relay: Relay,
    /// Its end on the runtime's side, which is held back.
    pub(super) ended: Option<Ended>,
}

#[derive(Debug)]
pub(super) struct Open {
    state: State,
    pub(super) delivery: Delivery,
    pub(super) transaction: TransactionId,
    pub(super) fingerprint: Fingerprint,
    /// What named the transaction.
    pub(super) source: Source,
    /// The HTTP integration that the event came through.
    pub(super) integration: Option<Integration>,
    /// The batch that it is, if that has the same name when it comes again.
    pub(super) batch: Option<Batch>,
    /// Why this request must not run, or gets no response of a handler.
    pub(super) refusal: Option<Refusal>,
    pub(super) attempt: AttemptNumber,
    /// How many attempts have met a conflict.
    pub(super) conflicts: u32,
    /// What the runtime posted in this attempt.
    pub(super) posted: Option<Posted>,
    /// What it streams instead.
    pub(super) flight: Option<Flight>,
    /// Where the answer to that goes.
    pub(super) reply: Option<Reply>,
    /// The response of an earlier commit.
    pub(super) recorded: Option<Recorded>,
    /// What went wrong, if it was not the handler.
    pub(super) fault: Option<Fault>,
    /// How the child ended.
    pub(super) exit: Option<ExitStatus>,
    /// Why a child that was started for this invocation could not start.
    pub(super) init_error: Option<Post>,
    /// When the attempt began, or got its event.
    pub(super) since: Instant,
    /// The child was killed because this attempt ran too long.
    pub(super) overdue: bool,
    /// What is waited before the next attempt.
    pub(super) pause: Duration,
}

impl Open {
    pub(super) fn new(delivery: Delivery, rules: &Rules) -> Self {
        let Identity { transaction, fingerprint, source, integration, batch, refusal, warning } =
            delivery.identity(rules);
        if let Some(why) = warning {
            tracing::warn!(transaction = %transaction, "AFT_TRANSACTION_KEY fails on this event: {why}");
        }
        Self {
            state: State::Beginning,
            transaction,
            fingerprint,
            source,
            integration,
            batch,
            refusal,
            delivery,
            attempt: AttemptNumber::FIRST,
            conflicts: 0,
            posted: None,
            flight: None,
            reply: None,
            recorded: None,
            fault: None,
            exit: None,
            init_error: None,
            since: Instant::now(),
            overdue: false,
            pause: Duration::ZERO,
        }
    }

    pub(super) const fn state(&self) -> State {
        self.state
    }

    pub(super) fn step(&mut self, event: Event) -> Result<(), Impossible> {
        self.state = self.state.on(event)?;
        tracing::debug!(transaction = %self.transaction, attempt = %self.attempt, "{event:?}: {:?}", self.state);
        Ok(())
    }

    /// The runtime ended the attempt with this post.
    pub(super) fn answered(&mut self, head: Head, body: Collected, reply: Reply) {
        self.posted = Some(Posted { head, body });
        self.reply = Some(reply);
    }

    /// How the response that is passed on ended, if it has.
    pub(super) fn flight_ending(&self) -> Option<Ending> {
        Some(self.flight.as_ref()?.ended.as_ref()?.ending)
    }

    /// What is to be done with the handler's response.
    pub(super) fn check(&self) -> Event {
        match (&self.flight, &self.posted) {
            (Some(Flight { ended: Some(ended), .. }), _) => match ended.ending {
                Ending::Complete if !platform::ended_in_error(Some(&ended.trailers)) => Event::Fits,
                Ending::Complete | Ending::BrokenOff | Ending::Refused => Event::Broken,
            },
            (None, Some(Posted { body: Collected::Whole(body), .. })) => {
                if platform::ended_in_error(body.trailers.as_ref()) { Event::Broken } else { Event::Fits }
            }
            (Some(Flight { ended: None, .. }), _) | (None, Some(Posted { body: Collected::TooLarge, .. }) | None) => {
                Event::TooLarge
            }
        }
    }

    /// What is recorded with the commit: the response and its content type.
    pub(super) fn response(&self) -> Option<(Option<HeaderValue>, Bytes)> {
        match (&self.flight, &self.posted) {
            (Some(Flight { head, ended: Some(ended), .. }), _) => Some(ended.recorded(head)),
            (None, Some(Posted { head, body: Collected::Whole(body) })) => {
                Some((head.headers.get(CONTENT_TYPE).cloned(), body.data.clone()))
            }
            (Some(Flight { ended: None, .. }), _) | (None, Some(Posted { body: Collected::TooLarge, .. }) | None) => {
                None
            }
        }
    }

    /// What the runtime calls the error that it posted.
    pub(super) fn error_types(&self) -> Vec<String> {
        match &self.posted {
            Some(Posted { head, body: Collected::Whole(body) }) => {
                let trailers = body.trailers.iter().flat_map(|trailers| platform::error_types(trailers, b""));
                platform::error_types(&head.headers, &body.data).into_iter().chain(trailers).collect()
            }
            Some(Posted { body: Collected::TooLarge, .. }) | None => Vec::new(),
        }
    }

    /// The next attempt starts from the event alone.
    pub(super) fn next_attempt(&mut self) {
        self.attempt = self.attempt.next();
        self.posted = None;
        self.flight = None;
        self.fault = None;
        self.exit = None;
        self.overdue = false;
        self.since = Instant::now();
    }
}
