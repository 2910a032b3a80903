//! How long things take in this sandbox, learnt from how long they took: so that no attempt is started that cannot end, with
//! its commit, before the deadline. Pure.

use std::time::Duration;

/// A running mean and mean deviation of one kind of duration, and the time that the next one most likely stays below: mean
/// and four deviations, as TCP estimates its round trips (RFC 6298, section 2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Estimate {
    learnt: Option<Learnt>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Learnt {
    mean: Duration,
    deviation: Duration,
}

impl Estimate {
    /// One more took this long.
    pub fn observe(&mut self, took: Duration) {
        *self = self.and(took);
    }

    /// This and one more, which took this long.
    #[must_use]
    pub fn and(self, took: Duration) -> Self {
        let learnt = Some(match self.learnt {
            None => Learnt { mean: took, deviation: took / 2 },
            Some(Learnt { mean, deviation }) => Learnt {
                deviation: (deviation.saturating_mul(3) + mean.abs_diff(took)) / 4,
                mean: (mean.saturating_mul(7) + took) / 8,
            },
        });
        Self { learnt }
    }

    /// What the next one most likely stays below; `None` if there was none yet.
    #[must_use]
    pub fn bound(&self) -> Option<Duration> {
        self.learnt.map(|Learnt { mean, deviation }| mean.saturating_add(deviation.saturating_mul(4)))
    }
}

/// What another attempt is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pace {
    /// From the start of a runtime process to its first `/next`.
    pub start: Estimate,
    /// From the event in the runtime's hands to its response.
    pub attempt: Estimate,
    /// From the commit's request to its outcome.
    pub commit: Estimate,
}

impl Pace {
    /// What another attempt and its commit most likely take, after one that `failed` after that long and before that has
    /// ever been answered; with a runtime process to be started first, if there is none that runs.
    #[must_use]
    pub fn needed(&self, failed: Duration, limit: Option<Duration>, is_up: bool) -> Duration {
        // The one that failed is all that is known at first, and is taken for the first sample.
        let first = || Estimate::default().and(failed).bound().unwrap_or(failed);
        let attempt = self.attempt.bound().unwrap_or_else(first).min(limit.unwrap_or(Duration::MAX));
        let start = if is_up { Duration::ZERO } else { self.start.bound().unwrap_or_default() };
        start.saturating_add(attempt).saturating_add(self.commit.bound().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Estimate, Pace};

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn what_always_takes_the_same_is_expected_to() {
        let mut estimate = Estimate::default();
        assert_eq!(estimate.bound(), None);
        estimate.observe(ms(100));
        assert_eq!(estimate.bound(), Some(ms(300)), "after one, nothing is known of the spread");
        for _ in 0..50 {
            estimate.observe(ms(100));
        }
        assert!(estimate.bound().unwrap() < ms(101), "{estimate:?}");
    }

    #[test]
    fn what_varies_is_given_room_and_what_changes_is_followed() {
        let mut estimate = Estimate::default();
        for n in 0..100 {
            estimate.observe(ms(if n % 2 == 0 { 50 } else { 150 }));
        }
        let bound = estimate.bound().unwrap();
        assert!((ms(250)..ms(350)).contains(&bound), "{bound:?}");
        for _ in 0..50 {
            estimate.observe(ms(1_000));
        }
        let bound = estimate.bound().unwrap();
        assert!((ms(990)..ms(1_100)).contains(&bound), "{bound:?}");
    }

    #[test]
    fn an_attempt_is_its_start_its_run_and_its_commit() {
        let mut pace = Pace::default();
        assert_eq!(pace.needed(ms(70), None, true), ms(210), "nothing is known but how long the failed one ran");
        pace.start.observe(ms(10));
        pace.attempt.observe(ms(100));
        pace.commit.observe(ms(4));
        assert_eq!(pace.needed(ms(70), None, true), ms(300 + 12));
        assert_eq!(pace.needed(ms(70), None, false), ms(30 + 300 + 12));
        assert_eq!(pace.needed(ms(70), Some(ms(200)), true), ms(200 + 12), "no attempt runs longer than its limit");
    }
}
