//! The commit: one conditional write of the record, then the heads. What insists on what it has read writes both in one step
//! (`step.rs`).
//!
//! R-COMMIT-1: heads move only after the record is durable. R-COMMIT-2: at most one record; a loser answers with the
//! winner's response. R-COMMIT-4: a write whose outcome is unknown is repeated with the same content, and never called
//! failed. R-COMMIT-6: what is acknowledged is visible, or at least durable. R-FM-2: commits of one sandbox take turns. R-COMMIT-3:
//! the timestamp is taken when the heads of all written keys are known.

use std::sync::Arc;

use aft_protocol::attempt::{Attempt, Identity, Intent, Phase, Refusal};
use aft_protocol::id::{AttemptNumber, Nonce, SandboxId, TransactionId};
use aft_protocol::limits;
use aft_protocol::record::{CommitRecord, Response, Writes};
use aft_protocol::step;
use aft_protocol::version::Version;
use aft_protocol::wire::ErrorCode;
use aft_store::retry::out_of_time;
use aft_store::{Committed, ErrorKind, Store, StoreError, Terms};
use tokio::task::JoinError;
use tokio::time::Instant;

use super::apply::wait_for;
use super::retry::last_moment;
use super::{Ack, Named, Open, Session, SessionError};

/// How a commit ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitResult {
    /// Release the handler's response.
    Committed,
    /// The transaction had committed before: release this response.
    Duplicate(Response),
    /// The transaction had committed before, with another payload: this attempt wrote nothing, and gets no response.
    Mismatch,
    /// Nothing was written; run the handler again.
    Conflict(ErrorCode, String),
    /// Nothing was written.
    Failed(ErrorCode, String),
    /// It may have been written, or was written and is not visible yet: release no response. The same transaction ID
    /// resolves it.
    Unknown(ErrorCode, String),
}

/// How writing the record ended.
pub(super) enum Recorded {
    Mine,
    Anothers(Box<CommitRecord>),
}

impl Recorded {
    /// The record that is there, whoever wrote it; `own` is what was to be written.
    pub(super) fn of(existing: Box<CommitRecord>, own: &CommitRecord) -> Self {
        if existing.nonce == own.nonce { Self::Mine } else { Self::Anothers(existing) }
    }
}

impl<S: Store> Session<S> {
    /// Commits what the attempt has buffered, with the handler's response.
    ///
    /// Runs to its end even if the caller goes away: a half-finished commit would be left to others.
    ///
    /// # Errors
    /// [`SessionError`] if no such attempt is open.
    pub async fn commit(
        &self,
        transaction: TransactionId,
        number: AttemptNumber,
        response: Response,
    ) -> Result<CommitResult, SessionError> {
        let open = self.take(transaction, number)?;
        let session = self.clone();
        let commit = tokio::spawn(async move { session.run_commit(&open, response).await });
        Ok(commit.await.unwrap_or_else(|error| cut_off(&error)))
    }

    /// Whether the transaction has committed before, as far as the look-up beside the handler tells: what committing nothing
    /// would come to. The attempt stays open.
    ///
    /// # Errors
    /// [`SessionError`] if no such attempt is open.
    pub async fn known(&self, transaction: TransactionId, number: AttemptNumber) -> Result<CommitResult, SessionError> {
        let open = self.find(Named { transaction: Some(transaction), attempt: Some(number) })?;
        Ok(self.earlier_commit(&open).await.unwrap_or(CommitResult::Committed))
    }

    pub(super) async fn run_commit(&self, open: &Open, response: Response) -> CommitResult {
        let (started, discarded, identity) = {
            let mut attempt = open.attempt();
            let discarded = attempt.phase() == Phase::Discarded;
            (attempt.start_commit(), discarded, attempt.identity().clone())
        };
        let intent = match started {
            Ok(intent) => intent,
            Err(Refusal::NotOpen(Phase::Doomed)) => {
                let mut attempt = open.attempt();
                attempt.close();
                return CommitResult::Conflict(ErrorCode::ReadConflict, doom(&attempt));
            }
            Err(refusal) => return CommitResult::Failed(ErrorCode::TransactionClosed, refusal.to_string()),
        };
        if response.content_type.as_ref().is_some_and(|text| text.len() > limits::CONTENT_TYPE_BYTES) {
            open.attempt().close();
            let most = limits::CONTENT_TYPE_BYTES;
            let detail = format!("the response's content type has more than {most} bytes; nothing was written");
            return CommitResult::Failed(ErrorCode::InvalidContentType, detail);
        }
        // An explicit transaction always leaves its record: it is what the next delivery of the same key finds.
        let memoized = self.inner.behaviour.memoize_always || open.is_explicit();
        let records_nothing = intent.writes.is_empty() && (discarded || !memoized);
        let result = if records_nothing {
            self.commit_nothing(open, &intent).await
        } else {
            self.commit_writes(open, identity, intent, response).await
        };
        let mut attempt = open.attempt();
        if matches!(result, CommitResult::Conflict(..)) {
            // What it has read is old: the next attempt must not begin with it.
            self.cache().forget(attempt.keys_read());
        }
        attempt.close();
        drop(attempt);
        result
    }

    /// R-COMMIT-7: nothing to write, nothing written. But a handler that was delivered twice may have had nothing left to
    /// do: then the recorded response is the answer.
    async fn commit_nothing(&self, open: &Open, intent: &Intent) -> CommitResult {
        match self.earlier_commit(open).await {
            Some(answer) => answer,
            None if intent.is_proven => CommitResult::Committed,
            None => {
                let result = Box::pin(self.validate(open, &intent.guards)).await;
                if matches!(result, CommitResult::Conflict(..)) {
                    let transaction = open.attempt().identity().transaction;
                    self.change(|state| state.read_in_vain = Some(transaction));
                }
                result
            }
        }
    }

    /// What an earlier commit of the same transaction has left to answer, if the look-up beside the handler has found one.
    async fn earlier_commit(&self, open: &Open) -> Option<CommitResult> {
        let unavailable = |why: String| Some(CommitResult::Failed(ErrorCode::StoreUnavailable, why));
        let mut look_up = open.look_up.clone()?;
        let record = match look_up.wait_for(Option::is_some).await {
            Ok(found) => match &*found {
                Some(Ok(record)) => record.clone(),
                Some(Err(error)) => return unavailable(error.clone()),
                None => None,
            },
            Err(_) => return unavailable("the look-up was cut off".to_owned()),
        };
        Some(self.answer_from(&*record?, open).await)
    }

    async fn commit_writes(&self, open: &Open, identity: Identity, intent: Intent, response: Response) -> CommitResult {
        let not_yet = |what: &str, error: &StoreError| {
            let detail = format!("this sandbox's {what}, so nothing was written: {error}");
            CommitResult::Failed(ErrorCode::StoreUnavailable, detail)
        };
        if let Err(error) = open.known.complete(open.deadline).await {
            return not_looked_up(&error);
        }
        // R-FM-2: from here to the start of the apply, one at a time.
        let turn = tokio::time::timeout_at(last_moment(open.deadline), self.inner.turn.lock()).await;
        let Ok(turn) = turn else { return not_yet("other commits are not done yet", &out_of_time()) };
        if let Err(error) = self.settle_previous(open.deadline).await {
            return not_yet("previous transaction is not applied yet", &error);
        }
        let before = open.known.before(&intent.writes);
        let mut record = self.record(identity, intent.writes, response);
        let moves =
            step::moves(&record, &intent.guards, intent.checked_bytes, intent.isolation, &before, self.now_seconds());
        let mut terms = Terms { guards: intent.guards, moves };
        // R-FM-4: who is started here after a death finds it.
        self.inner.journal.note(record.sandbox, record.version);
        let written = if terms.is_none() {
            self.write_record(&record, open.deadline).await
        } else {
            Box::pin(self.write_step(&mut record, &mut terms, open.deadline)).await
        };
        let applying = match written {
            Err(failed) => {
                if matches!(failed, CommitResult::Unknown(..)) {
                    // The record may be there, now or in a moment: it must stay the last one under this name.
                    self.inner.applies.go_on_as(SandboxId::from_bits(self.inner.sources.random()));
                } else {
                    self.inner.journal.settled(record.version);
                }
                return failed;
            }
            Ok(Recorded::Anothers(existing)) => {
                self.inner.journal.settled(record.version);
                drop(turn);
                return self.answer_from(&existing, open).await;
            }
            Ok(Recorded::Mine) => {
                self.outlived(record.transaction());
                self.start_rest(Arc::new(record), &terms, before)
            }
        };
        drop(turn);
        match self.inner.behaviour.ack {
            Ack::Durable => CommitResult::Committed,
            Ack::Visible => match wait_for(applying, open.deadline).await {
                Ok(()) => CommitResult::Committed,
                Err(error) => not_visible(&error),
            },
        }
    }

    /// R-COMMIT-2: discard one's own, make sure that the existing record is applied, answer with its response; but not if it
    /// answered something else.
    async fn answer_from(&self, existing: &CommitRecord, open: &Open) -> CommitResult {
        self.observe(existing.version);
        if existing.fingerprint != open.attempt().identity().fingerprint {
            return CommitResult::Mismatch;
        }
        self.outlived(existing.transaction());
        match self.finish_apply(existing, open.deadline).await {
            Ok(()) => CommitResult::Duplicate(existing.response.clone()),
            Err(error) => not_visible(&error),
        }
    }

    fn record(&self, identity: Identity, writes: Writes, response: Response) -> CommitRecord {
        let now = self.inner.sources.now();
        let (sandbox, applied_through) = self.inner.applies.mark();
        CommitRecord {
            version: Version::new(self.tick(), identity.transaction),
            nonce: Nonce::from_bits(self.inner.sources.random()),
            writes,
            response,
            fingerprint: identity.fingerprint,
            origin: identity.origin,
            sandbox,
            applied_through,
            expires_at_seconds: now.as_micros() / 1_000_000 + self.inner.behaviour.retention_seconds,
        }
    }

    /// R-COMMIT-4: repeats the write until the store says how it stands, or time is up.
    async fn write_record(&self, record: &CommitRecord, deadline: Instant) -> Result<Recorded, CommitResult> {
        let until = last_moment(deadline);
        let mut may_have_applied = false;
        let mut tries = self.patience(until).tries();
        loop {
            let error = match tries.run(self.inner.store.commit(record)).await {
                Ok(Committed::Now) => return Ok(Recorded::Mine),
                Ok(Committed::Before(existing)) => return Ok(Recorded::of(existing, record)),
                Err(error) => error,
            };
            may_have_applied |= error.kind().may_have_applied();
            tracing::warn!(transaction = %record.transaction(), "writing the commit record: {error}");
            if !tries.another(&error).await {
                return Err(not_recorded(&error, may_have_applied));
            }
        }
    }
}

pub(super) fn cut_off(error: &JoinError) -> CommitResult {
    CommitResult::Unknown(ErrorCode::OutcomeUnknown, format!("the commit was cut off: {error}"))
}

pub(super) fn not_recorded(error: &StoreError, may_have_applied: bool) -> CommitResult {
    if may_have_applied {
        let detail = format!(
            "the transaction may have committed: {error}. Send the same request again (the same transaction ID): it \
             is answered from the commit if there was one, and runs if there was none"
        );
        return CommitResult::Unknown(ErrorCode::OutcomeUnknown, detail);
    }
    failed(error)
}

/// A failure without an effect.
pub(super) fn failed(error: &StoreError) -> CommitResult {
    CommitResult::Failed(code_of(error.kind()), format!("nothing was written: {error}"))
}

/// Why a doomed attempt cannot commit.
pub(super) fn doom(attempt: &Attempt) -> String {
    let (key, newest) = match attempt.doom() {
        Some((key, newest)) => (format!("{key:?}"), newest.to_string()),
        None => ("a key".to_owned(), "another version".to_owned()),
    };
    format!("{key} is at {newest} now, and no version of it fits what this attempt had read before")
}

/// R-COMMIT-3: without the heads of the written keys, the clock may be behind what they hold.
fn not_looked_up(error: &StoreError) -> CommitResult {
    let detail = format!("the heads of the written keys could not be looked up, so nothing was written: {error}");
    CommitResult::Failed(code_of(error.kind()), detail)
}

/// Of a failure without an effect.
fn code_of(kind: ErrorKind) -> ErrorCode {
    match kind {
        ErrorKind::Unavailable | ErrorKind::Unknown => ErrorCode::StoreUnavailable,
        ErrorKind::Rejected | ErrorKind::Malformed => ErrorCode::StoreRejected,
    }
}

fn not_visible(error: &StoreError) -> CommitResult {
    let detail = format!(
        "the transaction committed and is never lost, but not every write is visible yet: {error}. Send the same \
         request again (the same transaction ID) to have it finished and answered"
    );
    CommitResult::Unknown(ErrorCode::NotVisible, detail)
}
