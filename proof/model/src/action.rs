//! What can happen, and how it is put in words.

use crate::protocol::Protocol;
use crate::state::{Phase, Read, State, Ver};

/// One step. Attempts, keys and transactions are numbered from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// An attempt begins.
    Begin(usize),
    /// An attempt's look-up finds that its transaction has committed.
    Notice(usize),
    /// The head of a key is fetched, and judged if need be.
    Fetch(usize, usize),
    /// What was fetched is judged, with the records that this takes.
    Judge(usize, usize),
    /// A key is read once more, after its value was forgotten (or not).
    Again(usize, usize, bool),
    /// The handler is done: its record goes to the store. Where the version is taken at once, with its place.
    Send(usize, Option<u8>),
    /// A try arrives at the store, and its version has or takes this place; the reply may be lost.
    Arrive(usize, Option<u8>, Reply),
    /// The deadline comes, and no try was accepted.
    Refused(usize),
    /// The deadline comes while the outcome is unknown.
    Deadline(usize),
    /// A try arrives after all.
    Land(usize, Option<u8>),
    /// The caller gets a response.
    Answer(usize),
    /// The sandbox dies.
    Death(usize),
    /// The extension dies and is started again.
    Restart(usize),
    /// A record is applied to a key.
    Apply(By, usize, usize),
    /// An attempt moves a head to what no record says: only where a rule is off.
    Early(usize, usize, Option<u8>),
    /// A record expires.
    Expire(usize),
    /// An expired record is deleted.
    Delete(usize),
}

/// Whether a reply arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// It does.
    Arrives,
    /// It does not.
    IsLost,
}

/// Who applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The attempt that committed.
    Writer(usize),
    /// Another attempt of the same transaction.
    Duplicate(usize),
    /// A reader that has seen the record ahead of a head.
    Reader,
    /// An extension that was started again.
    Journal,
    /// The fault manager.
    FaultManager,
}

const KEY_NAMES: [&str; 3] = ["a", "b", "c"];

impl Protocol {
    /// An attempt's name: its transaction, and which attempt at it.
    fn attempt(&self, attempt: usize) -> String {
        let attempts = &self.scenario.attempts;
        let number = attempts[..=attempt].iter().filter(|other| **other == attempts[attempt]).count();
        let only = attempts.iter().filter(|other| **other == attempts[attempt]).count() == 1;
        let transaction = attempts[attempt] + 1;
        if only { format!("T{transaction}") } else { format!("T{transaction} (attempt {number})") }
    }

    fn version_name(&self, version: Ver) -> String {
        match version.attempt() {
            Some(attempt) => self.attempt(attempt),
            None if version == Ver::ZERO => "nothing".to_owned(),
            None if version == Ver::ANCIENT => "the version before the first".to_owned(),
            None => "the first version".to_owned(),
        }
    }

    /// The order of versions after a step, as far as it is of interest.
    fn order(&self, state: &State) -> String {
        let attempts = (0..self.scenario.attempts.len()).map(Ver::of);
        let mut taken: Vec<_> = attempts.filter(|version| state.rank_of(*version) > 0).collect();
        taken.sort_by_key(|version| state.rank_of(*version));
        let names: Vec<_> = taken.into_iter().map(|version| self.version_name(version)).collect();
        if names.len() < 2 { String::new() } else { format!("; versions: {}", names.join(" < ")) }
    }

    fn read_name(&self, attempt: usize, key: usize, after: &State) -> String {
        match (after.attempts[attempt].reads[key], after.attempts[attempt].phase) {
            (_, Phase::Conflicted) => ": nothing fits, a conflict".to_owned(),
            (Read::Fetched(head), _) => format!(": fetched a head at {}", self.version_name(head.current())),
            (Read::Seen(version) | Read::Alone(version), _) => format!(" and sees {}", self.version_name(version)),
            (Read::Not, _) => ", its last key".to_owned(),
        }
    }

    /// A step in words, given what it led to.
    #[must_use]
    pub fn words(&self, action: Action, before: &State, after: &State) -> String {
        let found = |attempt: usize| match after.attempts[attempt].phase {
            Phase::Recorded => "it is durable",
            Phase::Found => "there is one already",
            Phase::Conflicted => "refused: a conflict",
            Phase::Answered(_) => "what it has read is valid, and its caller has the response",
            Phase::Waiting | Phase::Open | Phase::Sent | Phase::Failed | Phase::Over => "no reply",
        };
        let key = |key: usize| KEY_NAMES[key];
        match action {
            Action::Begin(attempt) => format!("{} begins", self.attempt(attempt)),
            Action::Notice(attempt) => format!("{} finds that its transaction has committed", self.attempt(attempt)),
            Action::Fetch(attempt, name) | Action::Judge(attempt, name) => {
                format!("{} reads {}{}", self.attempt(attempt), key(name), self.read_name(attempt, name, after))
            }
            Action::Again(attempt, name, _) => format!("{} reads {} again", self.attempt(attempt), key(name)),
            Action::Send(attempt, _) => format!("{} sends its record{}", self.attempt(attempt), self.order(after)),
            Action::Arrive(attempt, _, _) => {
                let what = format!("the store gets the commit of {}: {}", self.attempt(attempt), found(attempt));
                let order = if before.rank == after.rank { String::new() } else { self.order(after) };
                format!("{what}{order}")
            }
            Action::Refused(attempt) => {
                format!("the caller of {} is told: failed, nothing written", self.attempt(attempt))
            }
            Action::Deadline(attempt) => format!("the caller of {} is told: outcome unknown", self.attempt(attempt)),
            Action::Land(attempt, _) => {
                format!("the record of {} arrives at the store after all{}", self.attempt(attempt), self.order(after))
            }
            Action::Answer(attempt) => match after.attempts[attempt].phase {
                Phase::Answered(other) if usize::from(other) != attempt => {
                    format!("{} is answered with the response of {}", self.attempt(attempt), self.attempt(other.into()))
                }
                _ => format!("{} is answered with its own response", self.attempt(attempt)),
            },
            Action::Death(attempt) => format!("the sandbox of {} dies", self.attempt(attempt)),
            Action::Restart(attempt) => format!("the extension of {} dies and is started again", self.attempt(attempt)),
            Action::Apply(by, transaction, name) => {
                let who = match by {
                    By::Writer(attempt) | By::Duplicate(attempt) => self.attempt(attempt),
                    By::Reader => "a reader".to_owned(),
                    By::Journal => "the extension that was started again".to_owned(),
                    By::FaultManager => "the fault manager".to_owned(),
                };
                format!("{who} moves the head of {} to T{}", key(name), transaction + 1)
            }
            Action::Early(attempt, name, _) => {
                format!("{} moves the head of {} to its own version", self.attempt(attempt), key(name))
            }
            Action::Expire(transaction) => format!("the record of T{} expires", transaction + 1),
            Action::Delete(transaction) => format!("the record of T{} is deleted", transaction + 1),
        }
    }
}
