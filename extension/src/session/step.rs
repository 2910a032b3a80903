//! The commit of an attempt that insists on what it has read: record, checks and heads in one step (R-SER-1, R-SER-5); and the
//! validation of one that only read (R-SER-3).
//!
//! A conflict is certain, even after a try whose outcome is unknown: a head never comes back to a version that it has left, so
//! no try of this attempt can take effect any more, and if one has, its record is there. R-SER-4: so a conflict is "nothing
//! was written", never "perhaps".
//!
//! What is under way elsewhere at the same keys may come to nothing, so it is waited for a few times, and not taken for a
//! conflict at once: two transactions that only read a key are in each other's way at the store, and in no other way.

use std::collections::BTreeSet;
use std::fmt::Write;

use aft_protocol::attempt::Intent;
use aft_protocol::head::Keep;
use aft_protocol::id::{Nonce, TransactionId};
use aft_protocol::isolation::Guards;
use aft_protocol::key::Key;
use aft_protocol::record::CommitRecord;
use aft_protocol::version::Version;
use aft_protocol::wire::ErrorCode;
use aft_store::retry::Tries;
use aft_store::{ErrorKind, Obstacles, Stepped, Store, StoreError, Terms, Validated};
use tokio::time::Instant;

use super::commit::{Recorded, failed, not_recorded};
use super::retry::last_moment;
use super::{CommitResult, Open, Session};

/// How often a step is tried again because of others that are under way, or were faster.
pub(super) const MORE_TRIES: u32 = 5;

/// Keys that a conflict's explanation names.
const NAMED_KEYS: usize = 5;

impl<S: Store> Session<S> {
    /// Writes the record and what the terms say, in one step.
    pub(super) async fn write_step(
        &self,
        record: &mut CommitRecord,
        terms: &mut Terms,
        deadline: Instant,
    ) -> Result<Recorded, CommitResult> {
        let mut may_have_applied = false;
        let mut refused = 0;
        let mut tries = self.patience(last_moment(deadline)).tries();
        loop {
            let error = match tries.run(self.inner.store.commit_if(record, terms)).await {
                Ok(Stepped::Now) => return Ok(Recorded::Mine),
                Ok(Stepped::Before(existing)) => return Ok(Recorded::of(existing, record)),
                Ok(Stepped::Refused(obstacles)) => {
                    obstacles.changed.values().for_each(|version| self.observe(*version));
                    let conflict = explained(&terms.guards, &obstacles);
                    // Half of what is under way may be an earlier try of this very attempt.
                    let is_certain = !may_have_applied || !obstacles.is_contended();
                    if let Some(conflict) = conflict.filter(|_| is_certain) {
                        return self.after_all(record, may_have_applied, conflict, deadline).await;
                    }
                    let error = in_the_way(&obstacles);
                    if !obstacles.is_contended() {
                        self.give_way_to(&obstacles, record, terms);
                    }
                    refused += 1;
                    if refused <= MORE_TRIES && (!obstacles.is_contended() || tries.another(&error).await) {
                        // Whoever was faster may be an earlier try of this very attempt, whose record is not to be seen yet.
                        if !may_have_applied
                            && let Some(conflict) = self.overtaken(&terms.guards, &obstacles, &tries).await
                        {
                            return Err(conflict_of(record.transaction(), &conflict));
                        }
                        continue;
                    }
                    if may_have_applied {
                        return Err(not_recorded(&error, may_have_applied));
                    }
                    return Err(conflict_of(record.transaction(), &error.to_string()));
                }
                Err(error) => error,
            };
            may_have_applied |= error.kind().may_have_applied();
            tracing::warn!(transaction = %record.transaction(), "writing the commit record: {error}");
            if !tries.another(&error).await {
                return Err(not_recorded(&error, may_have_applied));
            }
        }
    }

    /// What was under way has changed, by now, something that is insisted on: then another try would be refused. To look costs a
    /// read of the keys in question; a try costs two writes for every key, on the hottest one there is. A look that fails
    /// tells nothing.
    async fn overtaken(&self, guards: &Guards, obstacles: &Obstacles, tries: &Tries<'_>) -> Option<String> {
        let keys: BTreeSet<_> = obstacles.contended.iter().filter(|key| guards.contains_key(*key)).cloned().collect();
        if keys.is_empty() {
            return None;
        }
        let heads = tries.run(self.inner.store.latest_heads(&keys)).await.ok()?;
        let changed = heads.into_iter().map(|(key, head)| (key, head.current.version)).collect();
        explained(guards, &Obstacles { changed, ..Obstacles::default() })
    }

    /// R-SER-2: a head is further than was known, or what it would leave to a record may be gone too soon. Neither is anybody's
    /// conflict: the record gets a greater version, and those heads keep what was before inline. Whatever becomes of the earlier
    /// content, which is the same but for its version: at most one of them takes effect.
    fn give_way_to(&self, obstacles: &Obstacles, record: &mut CommitRecord, terms: &mut Terms) {
        for key in obstacles.changed.keys() {
            terms.moves.entry(key.clone()).and_modify(|keep| *keep = Keep::Inline);
        }
        let earlier = record.version;
        record.version = Version::new(self.tick(), record.transaction());
        record.nonce = Nonce::from_bits(self.inner.sources.random());
        self.inner.journal.note(record.sandbox, record.version);
        self.inner.journal.settled(earlier);
    }

    /// R-SER-4: there is a conflict; but an earlier try of this attempt may have been what changed those heads.
    async fn after_all(
        &self,
        record: &CommitRecord,
        may_have_applied: bool,
        conflict: String,
        deadline: Instant,
    ) -> Result<Recorded, CommitResult> {
        if may_have_applied {
            match self.record_of(record.transaction(), deadline).await {
                Ok(Some(existing)) => return Ok(Recorded::of(Box::new(existing), record)),
                Ok(None) => {}
                Err(error) => return Err(not_recorded(&error, may_have_applied)),
            }
        }
        Err(conflict_of(record.transaction(), &conflict))
    }

    /// R-SER-3: whether what was read was there at one moment.
    pub(super) async fn validate(&self, open: &Open, guards: &Guards) -> CommitResult {
        let transaction = open.attempt().identity().transaction;
        let mut tries = self.patience(last_moment(open.deadline)).tries();
        let mut refused = 0;
        loop {
            let error = match tries.run(self.inner.store.validate(guards)).await {
                Ok(Validated::Holds) => return CommitResult::Committed,
                Ok(Validated::Refused(obstacles)) => {
                    obstacles.changed.values().for_each(|version| self.observe(*version));
                    if let Some(conflict) = explained(guards, &obstacles) {
                        return conflict_of(transaction, &conflict);
                    }
                    refused += 1;
                    let error = in_the_way(&obstacles);
                    if refused > MORE_TRIES || !tries.another(&error).await {
                        return conflict_of(transaction, &error.to_string());
                    }
                    if let Some(conflict) = self.overtaken(guards, &obstacles, &tries).await {
                        return conflict_of(transaction, &conflict);
                    }
                    continue;
                }
                Err(error) => error,
            };
            tracing::warn!(%transaction, "validating what was read: {error}");
            if !tries.another(&error).await {
                return failed(&error);
            }
        }
    }
}

impl<S: Store> Session<S> {
    /// R-SER-3, for an attempt that failed: its error, too, may come of what never was at one moment. What has changed, then. One
    /// look; what cannot be told is not held against the handler.
    pub(super) async fn saw_what_never_was(&self, open: &Open, intent: &Intent) -> Option<String> {
        if intent.is_proven || !intent.isolation.is_serializable() {
            return None;
        }
        let tries = self.patience(last_moment(open.deadline)).tries();
        let Ok(Validated::Refused(obstacles)) = tries.run(self.inner.store.validate(&intent.guards)).await else {
            return None;
        };
        let why = explained(&intent.guards, &obstacles)?;
        self.cache().forget(intent.guards.keys());
        Some(why)
    }
}

/// What was read and has changed, if anything has: which key, from which version to which.
fn explained(guards: &Guards, obstacles: &Obstacles) -> Option<String> {
    let changed = obstacles.changed.iter().filter_map(|(key, found)| Some((key, *guards.get(key)?, *found)));
    let changed: Vec<_> = changed.filter(|(_, read, found)| read != found).collect();
    let mut text = changed.iter().take(NAMED_KEYS).map(|change| described(*change)).collect::<Vec<_>>().join(", ");
    if changed.len() > NAMED_KEYS {
        // Writing to a string cannot fail.
        let _ = write!(text, ", and {} more", changed.len() - NAMED_KEYS);
    }
    (!changed.is_empty()).then_some(text)
}

fn described((key, read, found): (&Key, Version, Version)) -> String {
    let at = |version: Version| if version.is_zero() { "absent".to_owned() } else { format!("at {version}") };
    format!("{key:?} was {} when it was read and is {} now", at(read), at(found))
}

pub(super) fn in_the_way(obstacles: &Obstacles) -> StoreError {
    StoreError::new(ErrorKind::Unavailable, "commit", obstacles.to_string())
}

fn conflict_of(transaction: TransactionId, why: &str) -> CommitResult {
    tracing::info!(%transaction, "conflict, nothing was written: {why}");
    CommitResult::Conflict(ErrorCode::CommitConflict, why.to_owned())
}
