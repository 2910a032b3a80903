//! Whether a failed attempt is followed by another: pure, so that every case is in one table.

use std::fmt;
use std::time::Duration;

use aft_protocol::id::AttemptNumber;

/// Why an attempt failed. It left no trace (R-COMMIT-8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The handler said so.
    Error,
    /// The runtime process ended, with whatever code or signal.
    Crash,
    /// The commit, or a read before it, met another transaction.
    Conflict,
    /// The store did not take the commit.
    CommitFailed,
    /// The response is larger than Lambda takes: it would be so again.
    TooLarge,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 5] = [Self::Error, Self::Crash, Self::Conflict, Self::CommitFailed, Self::TooLarge];
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "the handler reported an error",
            Self::Crash => "the runtime process ended",
            Self::Conflict => "it conflicted with another transaction",
            Self::CommitFailed => "the commit failed",
            Self::TooLarge => "the response is too large",
        })
    }
}

/// What follows a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The same event again, as the next attempt at the same transaction.
    Redeliver,
    /// Lambda is told.
    Report,
}

/// When another attempt starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// `AFT_MAX_ATTEMPTS`.
    pub max_attempts: u32,
    /// `AFT_RETRY_RESERVE_MS`: what must be left before the deadline.
    pub reserve: Duration,
}

/// Decides what follows `attempt`, which failed because of `cause` with `time_left` before the deadline.
#[must_use]
pub fn decide(attempt: AttemptNumber, cause: Cause, time_left: Duration, policy: Policy) -> Decision {
    let may_help = match cause {
        Cause::Error | Cause::Crash | Cause::Conflict | Cause::CommitFailed => true,
        Cause::TooLarge => false,
    };
    if may_help && attempt.get() < policy.max_attempts && time_left >= policy.reserve {
        Decision::Redeliver
    } else {
        Decision::Report
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aft_protocol::id::AttemptNumber;

    use super::{Cause, Decision, Policy, decide};

    const POLICY: Policy = Policy { max_attempts: 3, reserve: Duration::from_millis(500) };

    #[test]
    fn a_retry_needs_an_attempt_and_the_time_for_it() {
        let enough = Duration::from_millis(500);
        let too_little = Duration::from_micros(499_999);
        for (attempt, time_left, expected) in [
            (1, enough, Decision::Redeliver),
            (2, enough, Decision::Redeliver),
            (3, enough, Decision::Report),
            (4, Duration::MAX, Decision::Report),
            (1, too_little, Decision::Report),
            (1, Duration::ZERO, Decision::Report),
        ] {
            let number = (1..attempt).fold(AttemptNumber::FIRST, |number, _| number.next());
            for cause in Cause::ALL {
                let expected = if cause == Cause::TooLarge { Decision::Report } else { expected };
                assert_eq!(decide(number, cause, time_left, POLICY), expected, "{attempt} {cause:?} {time_left:?}");
            }
        }
    }

    #[test]
    fn one_attempt_is_one_attempt() {
        let once = Policy { max_attempts: 1, reserve: Duration::ZERO };
        for cause in Cause::ALL {
            assert_eq!(decide(AttemptNumber::FIRST, cause, Duration::MAX, once), Decision::Report);
        }
    }
}
