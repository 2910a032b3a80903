//! Responses that are passed on as they come (`AFT_STREAMING=pass-through`): the commit comes at their end, and what goes
//! wrong after their first byte is told in an error trailer.

use aft_protocol::wire::RESPONSE_OMITTED;
use hyper::header::CONTENT_TYPE;
use hyper::{HeaderMap, Response, StatusCode};

use super::Conductor;
use super::open::{Fault, Flight, Open};
use crate::body::{Body, Collected, Whole};
use crate::coordinator::{Answer, Recorded};
use crate::error::AppError;
use crate::invocation::{Event, Failure, State, Whose};
use crate::message::Reply;
use crate::platform;
use crate::relay::{Ended, Ending, Relay, Stream};
use crate::retry::Cause;
use crate::upstream::{Head, UpstreamError};

impl Conductor {
    /// The first bytes of a response are here. What has committed before is asked first: after the first byte it would be too
    /// late.
    pub(super) async fn stream_began(&mut self, head: Head, stream: Stream, reply: Reply) -> Result<(), AppError> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let event = match self.coordinator.known(open.transaction, open.attempt).await {
            Ok(Answer::Opened) => Event::StreamBegan,
            Ok(Answer::Duplicate(recorded)) => {
                open.recorded = Some(recorded);
                Event::Duplicate
            }
            Ok(Answer::Failed(detail) | Answer::Conflict(detail) | Answer::Unknown(detail)) => {
                look_up_failed(&mut open, &detail)
            }
            Ok(Answer::Refused(refusal)) => super::effects::refused(&mut open, refusal),
            Ok(answer @ (Answer::Committed | Answer::Aborted)) => {
                look_up_failed(&mut open, &super::effects::unfit(&answer))
            }
            Err(error) => look_up_failed(&mut open, &error.to_string()),
        };
        if event == Event::StreamBegan {
            let (child, upstream) = (self.supervisor.newest(), self.upstream.clone());
            let relay = stream.start(head.clone(), child, upstream, self.outbox.clone());
            open.flight = Some(Flight { head, relay, ended: None });
            open.reply = Some(reply);
        } else {
            // Nothing of it is kept: what is released has another source.
            open.answered(head, Collected::Whole(Whole::default()), stream.drain(reply));
        }
        open.step(event)?;
        self.conduct(open).await
    }

    /// A response that was passed on has come to its end, from the runtime's side.
    pub(super) async fn stream_ended(&mut self, ended: Ended) -> Result<(), AppError> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        if open.state() != State::Streaming {
            self.open = Some(open);
            return Ok(());
        }
        let ending = ended.ending;
        if let Some(flight) = &mut open.flight {
            flight.ended = Some(ended);
        }
        if ending == Ending::BrokenOff && self.waiting.is_none() {
            // Whether the runtime died or lives on is heard next: its end, or its next call.
            tracing::warn!(transaction = %open.transaction, attempt = %open.attempt, "the runtime broke off its response");
            self.open = Some(open);
            return Ok(());
        }
        if ending == Ending::BrokenOff {
            broken_off(&mut open);
        }
        open.step(Event::Responded)?;
        self.conduct(open).await
    }

    /// The runtime lives and asks for the next event, although it broke off its response.
    pub(super) fn broken_off_and_alive(open: &mut Open) -> Result<(), AppError> {
        if open.flight_ending() == Some(Ending::BrokenOff) {
            broken_off(open);
            open.step(Event::Responded)?;
        }
        Ok(())
    }
}

/// For the case that the runtime lives on: its death would be told in Lambda's words.
fn broken_off(open: &mut Open) {
    let message = "the runtime broke off its streamed response".to_owned();
    open.fault = Some(Fault { kind: "Aft.StreamBroken", message });
}

fn look_up_failed(open: &mut Open, why: &str) -> Event {
    let message =
        format!("whether this transaction has committed before could not be learnt, so no byte was released: {why}");
    open.fault = Some(Fault { kind: "Aft.CommitFailed", message });
    Event::LookUpFailed
}

/// Ends what Lambda has begun to receive, and returns its answer.
pub(super) async fn end(relay: Relay, trailers: HeaderMap) -> Response<Body> {
    match relay.end(trailers).await {
        Ok(answer) => answer,
        Err(error) => unanswered(&error),
    }
}

/// What the runtime is told when Lambda gave no answer.
pub(super) fn unanswered(error: &UpstreamError) -> Response<Body> {
    platform::refused(StatusCode::BAD_GATEWAY, "Aft.RuntimeApi", &error.to_string())
}

/// The trailers of a response that is released: the runtime's own. Those of an error, if another delivery's commit came
/// first and its response is not what was passed on (R-COMMIT-2).
pub(super) fn released(head: &Head, ended: &Ended, whose: Whose, recorded: Option<&Recorded>) -> HeaderMap {
    let same = |recorded: &Recorded| {
        ended.is(&recorded.body) && recorded.content_type.as_ref() == head.headers.get(CONTENT_TYPE)
    };
    match whose {
        Whose::Handlers => ended.trailers.clone(),
        Whose::Recorded if recorded.is_some_and(same) => ended.trailers.clone(),
        Whose::Recorded => platform::error_trailers(
            "Aft.DuplicateCommitted",
            "another delivery of this transaction committed first, with another response than the bytes above: they must \
             not be used; the same request again gets the recorded response",
        ),
    }
}

/// The trailers of a response that failed after its first byte: the runtime's own error if it sent one.
pub(super) fn failed(ended: Option<&Ended>, failure: Failure, fault: &Fault) -> HeaderMap {
    match ended {
        Some(ended) if failure == Failure::Attempt(Cause::Error) && platform::ended_in_error(Some(&ended.trailers)) => {
            ended.trailers.clone()
        }
        Some(_) | None => platform::error_trailers(fault.kind, &fault.message),
    }
}

/// The response of an earlier commit, unless it was too large to be kept.
pub(super) fn kept(recorded: Option<Recorded>) -> Result<Recorded, Fault> {
    let Some(recorded) = recorded else { return Err(super::report::lost()) };
    if recorded.content_type.as_ref().is_some_and(|kind| kind == RESPONSE_OMITTED) {
        let note = String::from_utf8_lossy(&recorded.body).into_owned();
        let message = format!(
            "this transaction has committed, once and whole, but its response was passed on as it came and was too large \
             to be recorded ({note}): nothing was run again, and there is no response to repeat"
        );
        return Err(Fault { kind: "Aft.ResponseNotRecorded", message });
    }
    Ok(recorded)
}
