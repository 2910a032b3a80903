//! Whether a failed attempt is followed by another, and after which pause: pure, so that every case is in one table.

use std::fmt;
use std::time::Duration;

use aft_protocol::id::{AttemptNumber, TransactionId};

/// No pause between two attempts is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// After a conflict, no pause is longer than this many times the attempt that met it: `docs/adr/0020`.
const MOST_ATTEMPTS_WAITED: u32 = 16;

macro_rules! causes {
    ($($(#[$doc:meta])* $cause:ident $name:literal, $said:literal;)*) => {
        /// Why an attempt failed. It left no trace (R-COMMIT-8).
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Cause {
            $($(#[$doc])* $cause,)*
        }

        impl Cause {
            /// Every cause.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$cause),*];

            /// Its name in `AFT_RETRY_ON`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$cause => $name,)* }
            }
        }

        impl fmt::Display for Cause {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$cause => $said,)* })
            }
        }
    };
}

causes! {
    /// The handler said so.
    Error "error", "the handler reported an error";
    /// The runtime process ended, with whatever code or signal.
    Crash "crash", "the runtime process ended";
    /// It ran longer than an attempt may, and was ended.
    AttemptTimeout "attempt-timeout", "the attempt ran longer than it may";
    /// The commit, or a read before it, met another transaction.
    Conflict "conflict", "it conflicted with another transaction";
    /// The store did not take the commit.
    CommitFailed "commit-failed", "the commit failed";
    /// The response is larger than Lambda takes: it would be so again.
    TooLarge "too-large", "the response is too large";
}

/// The causes that another attempt may make up for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Causes([bool; Cause::ALL.len()]);

impl Causes {
    /// Reads `AFT_RETRY_ON`: names of causes, separated by commas, or `none`. `None` if one is no name, or is too-large.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut causes = Self::default();
        if text == "none" {
            return Some(causes);
        }
        for name in text.split(',').map(str::trim) {
            let index = Cause::ALL.iter().position(|cause| *cause != Cause::TooLarge && cause.name() == name)?;
            causes.0[index] = true;
        }
        Some(causes)
    }

    fn contains(self, cause: Cause) -> bool {
        Cause::ALL.into_iter().zip(self.0).any(|(each, is_in)| each == cause && is_in)
    }
}

/// When another attempt starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// `AFT_MAX_ATTEMPTS`: how many may fail. Those that met a conflict have not.
    pub max_attempts: u32,
    /// `AFT_MAX_CONFLICTS`: how many conflicts are followed by another attempt.
    pub max_conflicts: u32,
    /// `AFT_RETRY_ON`.
    pub retried: Causes,
    /// `AFT_RETRY_NEVER`: error types that another attempt would not make up for.
    pub never: Vec<String>,
    /// `AFT_RETRY_RESERVE_MS`: what must be left before the deadline, at least.
    pub reserve: Duration,
    /// `AFT_RETRY_BACKOFF_MS`: the longest pause after the first failure; it doubles with each. Not after conflicts.
    pub backoff: Duration,
    /// `AFT_ATTEMPT_TIMEOUT_MS`: how long an attempt may run.
    pub attempt_limit: Option<Duration>,
}

/// An attempt that failed.
#[derive(Debug, Clone, Copy)]
pub struct Failed<'a> {
    /// At what.
    pub transaction: TransactionId,
    /// Which.
    pub attempt: AttemptNumber,
    /// Why.
    pub cause: Cause,
    /// How many attempts have met a conflict so far, this one included.
    pub conflicts: u32,
    /// How long this one ran, its commit included.
    pub took: Duration,
    /// What the runtime calls its error, in the header and in the document: two names or fewer.
    pub error_types: &'a [String],
    /// Whether Lambda has got the first bytes of its response.
    pub released: bool,
    /// What is left before the deadline.
    pub time_left: Duration,
    /// What another attempt and its commit most likely take.
    pub needed: Duration,
}

/// What follows a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The same event again, as the next attempt at the same transaction.
    Redeliver,
    /// Lambda is told.
    Report,
}

/// The decision, with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Another attempt, after this pause.
    Again(Duration),
    /// No other attempt, for this reason.
    Enough(Reason),
}

impl Verdict {
    /// The decision alone.
    #[must_use]
    pub const fn decision(&self) -> Decision {
        match self {
            Self::Again(_) => Decision::Redeliver,
            Self::Enough(_) => Decision::Report,
        }
    }
}

/// Why there is no other attempt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// There were as many as there may be.
    #[error("there were {0} attempts without a conflict, as many as AFT_MAX_ATTEMPTS allows")]
    Attempts(u32),
    /// There were more conflicts than may be made up for.
    #[error("there were {0} conflicts, more than AFT_MAX_CONFLICTS allows")]
    Conflicts(u32),
    /// It would not help, or is not wanted.
    #[error("AFT_RETRY_ON does not name \"{0}\"")]
    Cause(&'static str),
    /// A response that is too large would be so again.
    #[error("another attempt's response would be too large again")]
    TooLarge,
    /// The error would be the same.
    #[error("AFT_RETRY_NEVER names {0:?}")]
    ErrorType(String),
    /// What is left is not enough.
    #[error("{} ms are left before the deadline, and another attempt with its commit needs {} ms", left.as_millis(), needed.as_millis())]
    Time {
        /// What is left.
        left: Duration,
        /// What would be needed.
        needed: Duration,
    },
    /// Lambda has bytes of this attempt already.
    #[error("Lambda has got the first bytes of this attempt's response")]
    Released,
    /// The sandbox is ending.
    #[error("the sandbox is ending")]
    Stopping,
}

/// Decides what follows a failed attempt.
#[must_use]
pub fn decide(failed: &Failed<'_>, policy: &Policy) -> Verdict {
    let longest =
        if failed.cause == Cause::Conflict { longest_of_conflict(failed) } else { longest_of_failure(failed, policy) };
    let pause = spread(failed, longest.min(LONGEST_PAUSE));
    match obstacle(failed, policy, pause) {
        Some(reason) => Verdict::Enough(reason),
        None => Verdict::Again(pause),
    }
}

/// Why there can be no other attempt after this pause, if there is a reason.
fn obstacle(failed: &Failed<'_>, policy: &Policy, pause: Duration) -> Option<Reason> {
    if failed.released {
        return Some(Reason::Released);
    }
    if failed.cause == Cause::TooLarge {
        return Some(Reason::TooLarge);
    }
    if !policy.retried.contains(failed.cause) {
        return Some(Reason::Cause(failed.cause.name()));
    }
    if failed.cause == Cause::Conflict {
        // What the handler made of it does not matter: it did not fail by itself.
        if failed.conflicts > policy.max_conflicts {
            return Some(Reason::Conflicts(failed.conflicts));
        }
    } else {
        if let Some(kind) = failed.error_types.iter().find(|kind| policy.never.contains(kind)) {
            return Some(Reason::ErrorType(kind.clone()));
        }
        if failures(failed) >= policy.max_attempts {
            return Some(Reason::Attempts(failures(failed)));
        }
    }
    let needed = failed.needed.max(policy.reserve).saturating_add(pause);
    (failed.time_left < needed).then_some(Reason::Time { left: failed.time_left, needed })
}

/// Attempts that failed by themselves.
fn failures(failed: &Failed<'_>) -> u32 {
    failed.attempt.get().saturating_sub(failed.conflicts)
}

/// Exponential backoff.
fn longest_of_failure(failed: &Failed<'_>, policy: &Policy) -> Duration {
    policy.backoff.saturating_mul(1 << failures(failed).saturating_sub(1).min(16))
}

/// What it takes for others to be done is what the attempt itself took: the first conflict is followed by a pause of up to one
/// such time, and it doubles to sixteen. Longer pauses would let those starve who have waited.
fn longest_of_conflict(failed: &Failed<'_>) -> Duration {
    let doublings = failed.conflicts.saturating_sub(1).min(16);
    failed.took.saturating_mul((1 << doublings).min(MOST_ATTEMPTS_WAITED))
}

/// Full jitter: anything from nothing to the longest. It comes from the transaction's own ID, a hash: attempts at different
/// transactions that met each other part, and a test gets the same pause each time.
fn spread(failed: &Failed<'_>, longest: Duration) -> Duration {
    let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(mixed(failed.transaction, failed.attempt) % micros.saturating_add(1))
}

/// SplitMix64's finalizer (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014) over both.
fn mixed(transaction: TransactionId, attempt: AttemptNumber) -> u64 {
    let mut bits = transaction.low_bits() ^ u64::from(attempt.get()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod contention;
#[cfg(test)]
mod tests;
