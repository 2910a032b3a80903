//! The invocation that is open: its machine's state, and what is kept for it from one step to the next.

use std::process::ExitStatus;

use aft_protocol::id::{AttemptNumber, Fingerprint, Scope, TransactionId};

use crate::body::Whole;
use crate::coordinator::Recorded;
use crate::delivery::Delivery;
use crate::invocation::{Event, Impossible, State};
use crate::message::Reply;
use crate::platform;
use crate::upstream::{Head, Post};

/// What Lambda is told, where it is not the runtime's own error.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) kind: &'static str,
    pub(super) message: String,
}

#[derive(Debug)]
pub(super) struct Open {
    state: State,
    pub(super) delivery: Delivery,
    pub(super) transaction: TransactionId,
    pub(super) fingerprint: Fingerprint,
    pub(super) attempt: AttemptNumber,
    /// What the runtime posted in this attempt: route and headers, and a body unless it was too large.
    pub(super) posted: Option<(Head, Option<Whole>)>,
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
}

impl Open {
    pub(super) fn new(delivery: Delivery, function: &Scope) -> Self {
        let fingerprint = delivery.fingerprint();
        Self {
            state: State::Beginning,
            transaction: TransactionId::for_request(function, delivery.request(), fingerprint),
            fingerprint,
            delivery,
            attempt: AttemptNumber::FIRST,
            posted: None,
            reply: None,
            recorded: None,
            fault: None,
            exit: None,
            init_error: None,
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
    pub(super) fn answered(&mut self, head: Head, body: Option<Whole>, reply: Reply) {
        self.posted = Some((head, body));
        self.reply = Some(reply);
    }

    /// What is to be done with the handler's response.
    pub(super) fn check(&self) -> Event {
        match &self.posted {
            Some((_, Some(body))) if platform::ended_in_error(body) => Event::Broken,
            Some((_, Some(_))) => Event::Fits,
            Some((_, None)) | None => Event::TooLarge,
        }
    }

    /// The next attempt starts from the event alone.
    pub(super) fn next_attempt(&mut self) {
        self.attempt = self.attempt.next();
        self.posted = None;
        self.fault = None;
        self.exit = None;
    }
}
