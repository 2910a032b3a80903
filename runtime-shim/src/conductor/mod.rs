//! Conducts one invocation after the other: hears messages, steps the invocation's machine, does what its state says.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | messages: calls and ends of the child, events of Lambda |
//! | `child.rs` | the child's starts and ends, and its time limit |
//! | `open.rs` | the invocation that is open, and what is kept for it |
//! | `restore.rs` | SnapStart: everything anew after a restore |
//! | `effects.rs` | what each state of the machine asks for |
//! | `report.rs` | the answer that Lambda gets |
//! | `stream.rs` | responses that are passed on as they come |
//!
//! Everything happens in one task, one message at a time: while a commit is under way nothing else is decided, so a child
//! that dies meanwhile changes nothing about it.

mod child;
mod effects;
mod open;
mod report;
mod restore;
mod stream;

use aft_protocol::id::RequestId;
use hyper::{Method, StatusCode};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::body::{Collected, Whole};
use crate::coordinator::Coordinator;
use crate::delivery::Delivery;
use crate::error::AppError;
use crate::estimate::Pace;
use crate::identity::Rules;
use crate::invocation::{Event, State};
use crate::message::{Call, Ending, Inbox, Message, Outbox, Reply};
use crate::platform;
use crate::retry::Policy;
use crate::supervisor::Supervisor;
use crate::upstream::{Head, Polled, Post, Upstream, UpstreamError, own_head};
use open::Open;

pub use restore::Snapshot;

/// The child, as far as its calls tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Child {
    /// There is none.
    Down,
    /// It has not asked for an event yet.
    Starting,
    /// It has.
    Up,
}

/// The runtime's `/next` that waits for an event.
#[derive(Debug)]
struct Waiting {
    head: Box<Head>,
    reply: Reply,
}

/// Conducts.
#[derive(Debug)]
pub struct Conductor {
    rules: Rules,
    policy: Policy,
    coordinator: Coordinator,
    upstream: Upstream,
    supervisor: Supervisor,
    outbox: Outbox,
    stopping: watch::Receiver<bool>,
    child: Child,
    /// When the newest child was started.
    started: Instant,
    pace: Pace,
    /// Some child has asked for an event: Lambda's init is over.
    initialised: bool,
    /// The first child said itself why it could not start.
    init_error_posted: bool,
    /// Children that died in a row without having taken an event.
    idle_deaths: u32,
    polling: bool,
    /// If this sandbox is restored from a snapshot: how far that is.
    snapshot: Option<Snapshot>,
    /// Lambda's last answer to `/next` was an error: it is ending the sandbox.
    refused: Option<StatusCode>,
    waiting: Option<Waiting>,
    open: Option<Box<Open>>,
    /// The request that was answered last.
    last: Option<RequestId>,
}

/// What a conductor works with.
#[derive(Debug)]
pub struct Parts {
    /// How events are named.
    pub rules: Rules,
    /// When another attempt starts.
    pub policy: Policy,
    /// The extension.
    pub coordinator: Coordinator,
    /// Lambda.
    pub upstream: Upstream,
    /// The child.
    pub supervisor: Supervisor,
    /// Where polls leave their answers.
    pub outbox: Outbox,
    /// True once the process is to end.
    pub stopping: watch::Receiver<bool>,
    /// If this sandbox is restored from a snapshot.
    pub snapshot: Option<Snapshot>,
}

impl Conductor {
    /// A conductor without an invocation.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self {
            rules: parts.rules,
            policy: parts.policy,
            coordinator: parts.coordinator,
            upstream: parts.upstream,
            supervisor: parts.supervisor,
            outbox: parts.outbox,
            stopping: parts.stopping,
            snapshot: parts.snapshot,
            child: Child::Down,
            started: Instant::now(),
            pace: Pace::default(),
            initialised: false,
            init_error_posted: false,
            idle_deaths: 0,
            polling: false,
            refused: None,
            waiting: None,
            open: None,
            last: None,
        }
    }

    /// Starts the child, and conducts until there is nothing more to conduct. Returns the process's exit code.
    ///
    /// # Errors
    /// [`AppError`].
    pub async fn run(mut self, mut inbox: Inbox) -> Result<u8, AppError> {
        self.start_child()?;
        loop {
            let heard = match self.attempt_limit() {
                Some(limit) => timeout_at(limit, inbox.recv()).await,
                None => Ok(inbox.recv().await),
            };
            let over = match heard {
                Err(_) => {
                    self.attempt_is_overdue();
                    None
                }
                // Not reached: this conductor holds an outbox.
                Ok(None) => Some(0),
                Ok(Some(message)) => self.heard(message).await?,
            };
            if let Some(code) = over {
                return Ok(code);
            }
        }
    }

    /// Returns the process's exit code when it is to end.
    async fn heard(&mut self, message: Message) -> Result<Option<u8>, AppError> {
        match message {
            Message::Called { child, call, reply } => {
                // Not the living child: dropping the reply closes its connection.
                if self.child != Child::Down && self.supervisor.newest() == child {
                    self.called(call, reply).await?;
                }
                Ok(None)
            }
            Message::Streamed { child, ended } if self.supervisor.newest() == child => {
                self.stream_ended(ended).await?;
                Ok(None)
            }
            Message::Exited { child, status } if self.supervisor.newest() == child => self.exited(status).await,
            Message::Streamed { .. } | Message::Exited { .. } => Ok(None),
            Message::Polled(polled) => self.polled(polled).await,
            Message::Restored(answer) => self.restored(answer).await.map(|()| None),
        }
    }

    async fn called(&mut self, call: Call, reply: Reply) -> Result<(), AppError> {
        match call {
            Call::Next { head } => {
                if self.child == Child::Starting {
                    self.pace.start.observe(self.started.elapsed());
                }
                self.child = Child::Up;
                self.initialised = true;
                self.waiting = Some(Waiting { head, reply });
                match self.open.take() {
                    Some(mut open) => {
                        Self::broken_off_and_alive(&mut open)?;
                        self.look_before_handing(&mut open).await?;
                        self.conduct(open).await?;
                    }
                    None => self.poll(),
                }
            }
            Call::Stream { request, head, stream } => match self.refusal(&request, &head) {
                Some((status, kind, message)) => {
                    tracing::warn!(request = %request, "refusing the runtime's {}: {message}", head.uri.path());
                    // The runtime may have gone.
                    let _ = stream.drain(reply).send(platform::refused(status, kind, message));
                }
                None => self.stream_began(*head, stream, reply).await?,
            },
            Call::End { ending, request, head, body } => match self.refusal(&request, &head) {
                Some((status, kind, message)) => {
                    tracing::warn!(request = %request, "refusing the runtime's {}: {message}", head.uri.path());
                    // The runtime may have gone.
                    let _ = reply.send(platform::refused(status, kind, message));
                }
                None => self.ended(ending, *head, body, reply).await?,
            },
            Call::Restore { head } => self.restore_asked(*head, reply),
            Call::InitError(post) => self.init_failed(*post, reply).await,
        }
        Ok(())
    }

    /// Why the runtime may not end this request now, in Lambda's words; `None` if it may.
    fn refusal(&self, request: &RequestId, head: &Head) -> Option<(StatusCode, &'static str, &'static str)> {
        let invalid_id = (StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID");
        let invalid_state = (StatusCode::FORBIDDEN, "InvalidStateTransition", "State transition is not allowed");
        let stale = (StatusCode::GONE, "InvalidInvocationID", "The invocation is over");
        let Some(open) = &self.open else {
            return Some(if self.last.as_ref() == Some(request) { invalid_state } else { invalid_id });
        };
        let named = head.headers.get(&platform::INVOCATION_ID);
        if named.is_some() && open.delivery.invocation().is_some() && named != open.delivery.invocation() {
            // First, because a retry of Lambda's has the same request ID as the invocation that it follows.
            return Some(stale);
        }
        if open.delivery.request() != request {
            return Some(invalid_id);
        }
        (open.state() != State::Delivered).then_some(invalid_state)
    }

    async fn ended(&mut self, ending: Ending, head: Head, body: Collected, reply: Reply) -> Result<(), AppError> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let event = match ending {
            Ending::Response => Event::Responded,
            Ending::Error => Event::HandlerFailed,
        };
        let body = match (ending, body) {
            (Ending::Error, Collected::TooLarge) => Collected::Whole(Whole::from(platform::posted_error(
                "Aft.ErrorTooLarge",
                "the runtime's own error is larger than Lambda takes",
            ))),
            (Ending::Response | Ending::Error, body) => body,
        };
        open.answered(head, body, reply);
        open.step(event)?;
        self.conduct(open).await
    }

    /// Asks Lambda for the next event, in the name of the child that waits for it, if one does.
    fn poll(&mut self) {
        if self.awaits_restore() {
            return self.restore_unasked();
        }
        if self.polling {
            return;
        }
        self.polling = true;
        let head = self.waiting.as_ref().map(|waiting| (*waiting.head).clone());
        let (upstream, outbox) = (self.upstream.clone(), self.outbox.clone());
        tokio::spawn(async move {
            // Nobody hears it only when the process ends.
            let _ = outbox.send(Message::Polled(upstream.next(head).await));
        });
    }

    async fn polled(&mut self, polled: Result<Polled, UpstreamError>) -> Result<Option<u8>, AppError> {
        self.polling = false;
        match polled? {
            Polled::Event(delivery) => {
                self.refused = None;
                self.deliver(delivery).await?;
            }
            Polled::Refused(response) => {
                let status = response.status();
                tracing::error!("Lambda answered {status} to /next");
                self.refused = Some(status);
                match self.waiting.take() {
                    // The runtime may have gone; then its end is heard next.
                    Some(waiting) => drop(waiting.reply.send(response)),
                    None if self.child == Child::Down => return Err(AppError::NoMoreEvents(status)),
                    None => {}
                }
            }
        }
        Ok(None)
    }

    async fn deliver(&mut self, delivery: Delivery) -> Result<(), AppError> {
        if self.child == Child::Down {
            self.start_child()?;
        }
        let open = Box::new(Open::new(delivery, &self.rules));
        self.conduct(open).await
    }
}

/// Tells Lambda that the init failed.
///
/// # Errors
/// [`UpstreamError`].
pub async fn post_init_error(upstream: &Upstream, kind: &'static str, message: &str) -> Result<(), UpstreamError> {
    let mut head = own_head(Method::POST, platform::INIT_ERROR);
    head.headers = platform::error_headers(kind);
    let body = Whole::from(platform::posted_error(kind, message));
    upstream.post(&Post { head, body }).await.map(drop)
}
