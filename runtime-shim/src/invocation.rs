//! The state machine of one invocation: all attempts at one transaction, from the event to Lambda's answer. Pure; the
//! conductor does what each state says and comes back with an event.
//!
//! ```text
//!               open            /next             /response             it fits             committed
//!   ► Beginning ────► Begun ─────────► Delivered ────────────► Responded ─────► Committing ─────────► Released
//!       ▲   │           │               │  │  │ first byte       ▲    │          │   │  │
//!       │   │ not       │               │  │  └──► Streaming ────┘    │          │   │  │ unknown
//!       │   │ begun     │ crash,        │  │           │ crash,  end  │ too      │   │  └─────► Failed
//!       │   ▼           │ hung   /error,│  └ /next     │ hung         │ large,   │   │
//!       │ Failed        │   crash, hung │    again     │              │ error    │   │ conflict, failed:
//!       │   ▲           └───────┬───────┴──────────────┴──────────────┘ trailer  │   │ report
//!       │   │ report            ▼                                                │   └─────────► Failed
//!       │   └─────────────── Aborting                                            │
//!       │                       │ redeliver                                      │ conflict, failed:
//!       └────────────────── Redeliver ◄──────────────────────────────────────────┘ redeliver
//!          next attempt
//!
//!   Beginning, Begun, Delivered, Committing, Aborting ── duplicate ──► Released, refused ──► Failed
//! ```
//!
//! `Streaming` is there only if the function asked for responses that are passed on as they come. Its look-up of an earlier
//! commit comes before its first byte, so a duplicate goes from `Delivered` to `Released`. What fails after that byte is
//! never redelivered: `retry::decide` sees to it.
//!
//! `Aborting` because of an error or a crash may turn out to be a conflict: the handler was told that its reads were refused, and
//! ended by that, or what it had read was never there at one moment. Then it counts as one, whatever the handler made of it.
//!
//! From `Begun`, that is for a runtime that was not there when the attempt began: the look-up may have won.
//!
//! Invariants: a response is released only from `Released`, and only a commit, or the record of an earlier one, leads
//! there. No attempt starts before the one before it is aborted, or is known to have left no trace. `Released` and
//! `Failed` are the ends: Lambda is told once.

use crate::retry::{Cause, Decision};

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

/// Where an invocation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The extension is to begin the attempt.
    Beginning,
    /// The attempt has begun; the runtime gets the event with its next `/next`.
    Begun,
    /// The runtime has the event.
    Delivered,
    /// Lambda gets the handler's response as it comes. No other attempt can follow.
    Streaming,
    /// The handler's response is here, and is to be checked.
    Responded,
    /// The extension is to commit.
    Committing,
    /// The extension is to abort the attempt.
    Aborting(Cause),
    /// Another attempt is to start.
    Redeliver,
    /// Lambda is to get a response.
    Released(Whose),
    /// Lambda is to get an error.
    Failed(Failure),
}

/// Whose response is released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// This attempt's.
    Handlers,
    /// That of the earlier commit of the same transaction (R-COMMIT-2).
    Recorded,
}

/// Which error Lambda gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No attempt could begin.
    NotBegun,
    /// The last attempt failed.
    Attempt(Cause),
    /// The transaction may have committed (R-COMMIT-4).
    Unknown,
    /// The request must not be answered by a handler; an HTTP client is told so in a response.
    Refused,
}

/// What happens to an invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The extension has begun the attempt.
    Opened,
    /// The extension could not begin it.
    NotBegun,
    /// The extension knows the transaction's earlier commit.
    Duplicate,
    /// Its key is none or was used with another payload, or the same request is in progress.
    Refused,
    /// The runtime took the event.
    Handed,
    /// The first bytes of a response that is passed on arrived, and there is no earlier commit.
    StreamBegan,
    /// The same, but whether there is an earlier commit could not be learnt.
    LookUpFailed,
    /// The handler's response arrived, to its end.
    Responded,
    /// The response can be committed and released.
    Fits,
    /// The response is larger than Lambda takes.
    TooLarge,
    /// The response ended in an error (a trailer says so).
    Broken,
    /// The runtime reported an error.
    HandlerFailed,
    /// The runtime process ended.
    Crashed,
    /// The attempt ran longer than it may, and the runtime process was ended.
    TimedOut,
    /// The transaction committed, or had nothing to commit.
    Committed,
    /// The attempt left no trace because of a conflict, which its commit met or a read of its before.
    Conflicted(Decision),
    /// The attempt left no trace because the commit failed.
    CommitFailed(Decision),
    /// The commit's outcome is unknown.
    Unknown,
    /// The attempt left no trace.
    Aborted(Decision),
    /// The next attempt's turn.
    NextAttempt,
}

/// An event that cannot happen in that state: a fault of this program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} cannot happen to an invocation in state {state:?}: this is a fault of aft-runtime-shim")]
pub struct Impossible {
    state: State,
    event: Event,
}

impl State {
    /// The state after `event`.
    ///
    /// # Errors
    /// [`Impossible`].
    pub const fn on(self, event: Event) -> Result<Self, Impossible> {
        let next = match (self, event) {
            (Self::Beginning, Event::Opened) => Self::Begun,
            (Self::Beginning, Event::NotBegun) => Self::Failed(Failure::NotBegun),
            (
                Self::Beginning | Self::Begun | Self::Delivered | Self::Committing | Self::Aborting(_),
                Event::Duplicate,
            ) => Self::Released(Whose::Recorded),
            (
                Self::Beginning | Self::Begun | Self::Delivered | Self::Committing | Self::Aborting(_),
                Event::Refused,
            ) => Self::Failed(Failure::Refused),
            (Self::Begun | Self::Delivered, Event::Handed) => Self::Delivered,
            (Self::Begun | Self::Delivered | Self::Streaming, Event::Crashed) => Self::Aborting(Cause::Crash),
            (Self::Begun | Self::Delivered | Self::Streaming, Event::TimedOut) => Self::Aborting(Cause::AttemptTimeout),
            (Self::Delivered, Event::StreamBegan) => Self::Streaming,
            (Self::Delivered, Event::LookUpFailed) => Self::Aborting(Cause::CommitFailed),
            (Self::Delivered | Self::Streaming, Event::Responded) => Self::Responded,
            (Self::Delivered, Event::HandlerFailed) | (Self::Responded, Event::Broken) => Self::Aborting(Cause::Error),
            (Self::Responded, Event::Fits) => Self::Committing,
            (Self::Responded, Event::TooLarge) => Self::Aborting(Cause::TooLarge),
            (Self::Committing, Event::Committed) => Self::Released(Whose::Handlers),
            (Self::Committing | Self::Aborting(Cause::Error | Cause::Crash), Event::Conflicted(decision)) => {
                Self::after(Cause::Conflict, decision)
            }
            (Self::Committing, Event::CommitFailed(decision)) => Self::after(Cause::CommitFailed, decision),
            (Self::Committing, Event::Unknown) => Self::Failed(Failure::Unknown),
            (Self::Aborting(cause), Event::Aborted(decision)) => Self::after(cause, decision),
            (Self::Redeliver, Event::NextAttempt) => Self::Beginning,
            (state, event) => return Err(Impossible { state, event }),
        };
        Ok(next)
    }

    const fn after(cause: Cause, decision: Decision) -> Self {
        match decision {
            Decision::Redeliver => Self::Redeliver,
            Decision::Report => Self::Failed(Failure::Attempt(cause)),
        }
    }
}
