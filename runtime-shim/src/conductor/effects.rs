//! What each state of the machine asks for.

use aft_protocol::id::AttemptNumber;
use aft_protocol::wire::Begin;
use tokio::time::{Instant, sleep};

use super::open::{Fault, Open};
use super::{Child, Conductor, report};
use crate::coordinator::{Answer, ControlError};
use crate::error::AppError;
use crate::identity::{Refusal, Source};
use crate::invocation::{Event, State};
use crate::retry::{self, Cause, Decision, Failed, Reason, Verdict};
use crate::{clock, platform};

impl Conductor {
    /// Does what the invocation's state says, until it waits for the runtime or is over.
    pub(super) async fn conduct(&mut self, mut open: Box<Open>) -> Result<(), AppError> {
        loop {
            let event = match open.state() {
                State::Beginning => self.begin(&mut open).await,
                State::Begun | State::Delivered => {
                    if !self.hand(&mut open) {
                        self.open = Some(open);
                        return Ok(());
                    }
                    Event::Handed
                }
                State::Streaming => {
                    self.open = Some(open);
                    return Ok(());
                }
                State::Responded => {
                    self.pace.attempt.observe(open.since.elapsed());
                    open.check()
                }
                State::Committing => self.commit(&mut open).await,
                State::Aborting(cause) => self.abort(&mut open, cause).await,
                State::Redeliver => self.redeliver(&mut open).await?,
                State::Released(whose) => {
                    self.release(*open, whose).await;
                    return Ok(());
                }
                State::Failed(failure) => {
                    self.report(*open, failure).await;
                    return Ok(());
                }
            };
            open.step(event)?;
        }
    }

    /// The handler runs only in an attempt that has begun.
    async fn begin(&mut self, open: &mut Open) -> Event {
        if open.delivery.is_durable_execution() {
            let message = "this is a durable function, whose events cannot be delivered again: AFT does not support it; \
                           set AFT_ENABLED=false";
            open.fault = Some(Fault { kind: "Aft.DurableFunction", message: message.to_owned() });
            return Event::NotBegun;
        }
        if open.refusal.is_some() {
            return Event::Refused;
        }
        let begin = Begin {
            request: open.delivery.request().clone(),
            transaction: open.transaction,
            attempt: open.attempt,
            fingerprint: open.fingerprint,
            origin: self.origin(open),
            deadline_ms: open.delivery.deadline_ms(),
        };
        let why = match self.coordinator.begin(&begin).await {
            Ok(Answer::Opened) => return Event::Opened,
            Ok(Answer::Duplicate(recorded)) => {
                open.recorded = Some(recorded);
                return Event::Duplicate;
            }
            Ok(Answer::Refused(refusal)) => return refused(open, refusal),
            Ok(Answer::Failed(detail) | Answer::Conflict(detail) | Answer::Unknown(detail)) => detail,
            Ok(answer @ (Answer::Committed | Answer::Aborted)) => unfit(&answer),
            Err(error) => error.to_string(),
        };
        let message = format!("no attempt could begin, and the handler did not run: {why}");
        open.fault = Some(Fault { kind: "Aft.BeginFailed", message });
        Event::NotBegun
    }

    /// For people: function, request, and what named the transaction if it was not the request.
    fn origin(&self, open: &Open) -> String {
        let (function, request) = (&self.rules.function, open.delivery.request());
        match open.source {
            Source::Request => format!("{function} {request}"),
            source => format!("{function} {request} ({source})"),
        }
    }

    /// The runtime was not there when the attempt began: the look-up beside it has most likely ended by now, and a handler
    /// whose transaction has committed before need not run.
    pub(super) async fn look_before_handing(&mut self, open: &mut Open) -> Result<(), AppError> {
        // A later attempt begins with a look-up.
        if open.state() != State::Begun || open.attempt != AttemptNumber::FIRST {
            return Ok(());
        }
        let event = match self.coordinator.known(open.transaction, open.attempt).await {
            Ok(Answer::Duplicate(recorded)) => {
                open.recorded = Some(recorded);
                Event::Duplicate
            }
            Ok(Answer::Refused(refusal)) => refused(open, refusal),
            // Not known, or not to be learnt: the commit will find out.
            Ok(
                Answer::Opened
                | Answer::Committed
                | Answer::Aborted
                | Answer::Conflict(_)
                | Answer::Failed(_)
                | Answer::Unknown(_),
            )
            | Err(_) => return Ok(()),
        };
        Ok(open.step(event)?)
    }

    /// Gives the event to the runtime, if it waits for one.
    fn hand(&mut self, open: &mut Open) -> bool {
        let waiting = self.waiting.take();
        let handed = waiting.is_some_and(|waiting| waiting.reply.send(open.delivery.response()).is_ok());
        if handed {
            self.idle_deaths = 0;
            open.since = Instant::now();
        }
        handed
    }

    async fn commit(&mut self, open: &mut Open) -> Event {
        let Some((content_type, body)) = open.response() else {
            return unknown(open, unresolved("the shim lost the response"));
        };
        if open.batch.as_ref().is_some_and(|batch| batch.comes_again(&body)) {
            return self.withdraw(open).await;
        }
        let asked = Instant::now();
        let answer = self.coordinator.commit(open.transaction, open.attempt, content_type, body).await;
        self.pace.commit.observe(asked.elapsed());
        let (cause, why) = match answer {
            Ok(Answer::Committed) => return Event::Committed,
            Ok(Answer::Duplicate(recorded)) => {
                open.recorded = Some(recorded);
                return Event::Duplicate;
            }
            Ok(Answer::Refused(refusal)) => return refused(open, refusal),
            Ok(Answer::Conflict(detail)) => (Cause::Conflict, detail),
            Ok(Answer::Failed(detail)) => (Cause::CommitFailed, detail),
            Err(error @ ControlError::NotSent) => (Cause::CommitFailed, error.to_string()),
            Ok(Answer::Unknown(detail)) => return unknown(open, detail),
            Ok(answer @ (Answer::Opened | Answer::Aborted)) => return unknown(open, unresolved(&unfit(&answer))),
            Err(error) => return unknown(open, unresolved(&error.to_string())),
        };
        if cause == Cause::Conflict {
            return self.conflicted(open, &why);
        }
        let decision = self.decide(open, cause);
        open.fault = Some(Fault { kind: "Aft.CommitFailed", message: format!("{cause}, nothing was written: {why}") });
        Event::CommitFailed(decision)
    }

    /// Another transaction has changed what this attempt has read; `why` names keys and versions.
    fn conflicted(&mut self, open: &mut Open, why: &str) -> Event {
        let (transaction, attempt) = (open.transaction, open.attempt);
        tracing::info!(%transaction, %attempt, "conflict: {why}");
        open.conflicts += 1;
        let verdict = self.verdict(open, Cause::Conflict);
        if let Verdict::Enough(reason) = &verdict {
            open.fault = Some(Fault { kind: "Aft.Conflict", message: report::conflict(open, why, reason) });
        }
        Event::Conflicted(verdict.decision())
    }

    /// The response says that the batch failed, and is to be released: nothing is written, and nothing recorded that would
    /// answer for the next delivery.
    async fn withdraw(&mut self, open: &mut Open) -> Event {
        let (transaction, attempt) = (open.transaction, open.attempt);
        tracing::info!(%transaction, %attempt, "the handler reports its batch as failed: nothing is committed");
        match self.coordinator.abort(transaction, attempt).await {
            Ok(Answer::Duplicate(recorded)) => {
                open.recorded = Some(recorded);
                Event::Duplicate
            }
            Ok(Answer::Refused(refusal)) => refused(open, refusal),
            Ok(Answer::Aborted) => Event::Committed,
            // Nothing was committed all the same: only a commit does.
            Ok(Answer::Opened | Answer::Committed | Answer::Conflict(_) | Answer::Failed(_) | Answer::Unknown(_))
            | Err(_) => Event::Committed,
        }
    }

    async fn abort(&mut self, open: &mut Open, cause: Cause) -> Event {
        let why = match self.coordinator.abort(open.transaction, open.attempt).await {
            Ok(Answer::Aborted) => return Event::Aborted(self.decide(open, cause)),
            Ok(Answer::Duplicate(recorded)) => {
                open.recorded = Some(recorded);
                return Event::Duplicate;
            }
            Ok(Answer::Refused(refusal)) => return refused(open, refusal),
            // What the handler made of the refused read does not matter. A hang or a response that is too large does.
            Ok(Answer::Conflict(why)) if matches!(cause, Cause::Error | Cause::Crash) => {
                return self.conflicted(open, &why);
            }
            Ok(Answer::Conflict(_)) => return Event::Aborted(self.decide(open, cause)),
            Ok(Answer::Failed(detail) | Answer::Unknown(detail)) => detail,
            Ok(answer @ (Answer::Opened | Answer::Committed)) => unfit(&answer),
            Err(error) => {
                // Without the extension there is no other attempt. Nothing of this one was committed: only a commit does.
                log_abort(open, &error.to_string());
                return Event::Aborted(Decision::Report);
            }
        };
        log_abort(open, &why);
        Event::Aborted(self.decide(open, cause))
    }

    fn decide(&self, open: &mut Open, cause: Cause) -> Decision {
        self.verdict(open, cause).decision()
    }

    fn verdict(&self, open: &mut Open, cause: Cause) -> Verdict {
        let limit = self.policy.attempt_limit;
        let failed = Failed {
            transaction: open.transaction,
            attempt: open.attempt,
            cause,
            conflicts: open.conflicts,
            took: open.since.elapsed(),
            error_types: &open.error_types(),
            released: open.flight.is_some(),
            time_left: clock::until_epoch_ms(open.delivery.deadline_ms()),
            needed: self.pace.needed(open.since.elapsed(), limit, self.child == Child::Up),
        };
        let verdict = match retry::decide(&failed, &self.policy) {
            Verdict::Again(_) if *self.stopping.borrow() => Verdict::Enough(Reason::Stopping),
            verdict => verdict,
        };
        let (transaction, attempt, left) = (open.transaction, open.attempt, failed.time_left.as_millis());
        match &verdict {
            Verdict::Again(pause) => {
                open.pause = *pause;
                tracing::info!(%transaction, %attempt, "{cause}; the handler runs again after {pause:?} ({left} ms are left)");
            }
            Verdict::Enough(reason) => {
                tracing::info!(%transaction, %attempt, "{cause}; no other attempt follows: {reason} ({left} ms are left)");
            }
        }
        verdict
    }

    async fn redeliver(&mut self, open: &mut Open) -> Result<Event, AppError> {
        if let Some(reply) = open.reply.take() {
            // The runtime may have gone.
            let _ = reply.send(platform::accepted());
        }
        if self.child == Child::Down {
            self.start_child()?;
        }
        sleep(open.pause).await;
        open.next_attempt();
        Ok(Event::NextAttempt)
    }
}

fn log_abort(open: &Open, why: &str) {
    tracing::warn!(transaction = %open.transaction, attempt = %open.attempt, "aborting the attempt: {why}");
}

pub(super) fn refused(open: &mut Open, refusal: Refusal) -> Event {
    open.refusal = Some(refusal);
    Event::Refused
}

fn unknown(open: &mut Open, message: String) -> Event {
    open.fault = Some(Fault { kind: "Aft.OutcomeUnknown", message });
    Event::Unknown
}

fn unresolved(why: &str) -> String {
    format!(
        "the transaction may have committed: {why}. Send the same request again (the same transaction ID): it is \
         answered from the commit if there was one, and runs if there was none"
    )
}

pub(super) fn unfit(answer: &Answer) -> String {
    format!("the extension answered {answer:?}, which is no answer to that: it is of another version")
}
