//! Trying a store call again while that makes sense, until a moment. Why so: docs/adr/0017-retries-for-a-deadline.md.
//!
//! The stores themselves never repeat anything: only their callers know until when a try is worth it, and a first try that
//! may have taken effect must not be forgotten when a second one is refused (R-COMMIT-4).
//!
//! How long to wait depends on what went wrong ([`Pace`]). Pauses double and have jitter in their upper half only, so that
//! the number of tries is bounded by the time that there is. A request may be without an answer for a share of the time
//! left, so that there is time for another.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use crate::{ErrorKind, Pace, StoreError};

/// After a failure that may pass at once: doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// After a refusal for being too much: capacity comes back by the second.
const FIRST_THROTTLED_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_THROTTLED_PAUSE: Duration = Duration::from_secs(2);

/// A pause that would end later than this before the end ends then, for one last try.
const LAST_TRY: Duration = Duration::from_millis(250);

/// A request may be without an answer for this share of the time left, within these bounds: the first covers a new
/// connection of a small function, the second whatever is not lost.
const SHARE: u32 = 3;
const LEAST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

tokio::task_local! {
    static ANSWER_LIMIT: Duration;
}

/// How long a request of the try under way may be without an answer; `None` outside a try.
pub(crate) fn answer_limit() -> Option<Duration> {
    ANSWER_LIMIT.try_with(|limit| *limit).ok()
}

/// Until when to try, and where jitter comes from: 128 random bits a call.
#[derive(Clone, Copy)]
pub struct Patience<'a> {
    /// The last moment at which an answer is of use.
    pub until: Instant,
    /// Randomness.
    pub random: &'a (dyn Fn() -> u128 + Send + Sync),
}

impl<'a> Patience<'a> {
    /// Calls until there is an answer, a refusal, or no time. Only for calls that may happen twice.
    ///
    /// # Errors
    /// The last [`StoreError`]: one that is not retryable, or the one after which there was no time.
    pub async fn retrying<T, F>(self, call: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut tries = self.tries();
        loop {
            match tries.run(call()).await {
                Ok(answer) => return Ok(answer),
                Err(error) if !tries.another(&error).await => return Err(error),
                Err(_) => {}
            }
        }
    }

    /// Tries one by one, for who must look at each failure.
    #[must_use]
    pub fn tries(self) -> Tries<'a> {
        Tries { patience: self, failed: 0, last: None }
    }
}

/// The tries of one call.
pub struct Tries<'a> {
    patience: Patience<'a>,
    failed: u32,
    last: Option<String>,
}

impl Tries<'_> {
    /// One try.
    ///
    /// # Errors
    /// Its [`StoreError`]; one that says what went wrong before, if this one got no answer in time.
    pub async fn run<T>(&self, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let left = self.patience.until.saturating_duration_since(Instant::now());
        let limit = (left / SHARE).clamp(LEAST_WAIT, LONGEST_WAIT);
        match timeout_at(self.patience.until, ANSWER_LIMIT.scope(limit, call)).await {
            Ok(result) => result,
            Err(_) => Err(self.last.as_ref().map_or_else(out_of_time, |last| {
                StoreError::new(ErrorKind::Unknown, "deadline", format!("no answer in time; before that: {last}"))
            })),
        }
    }

    /// Waits until it is time for another try; false if this failure is final, or there is no time left.
    pub async fn another(&mut self, error: &StoreError) -> bool {
        if !error.kind().is_retryable() {
            return false;
        }
        let now = Instant::now();
        let mut next = now + self.pause(error.pace());
        let latest = self.patience.until.checked_sub(LAST_TRY).unwrap_or(now);
        if now < latest {
            next = next.min(latest);
        }
        if next >= self.patience.until {
            return false;
        }
        self.failed += 1;
        self.last = Some(error.to_string());
        sleep_until(next).await;
        true
    }

    fn pause(&self, pace: Pace) -> Duration {
        let (first, longest) = match pace {
            Pace::AtOnce if self.failed == 0 => return Duration::ZERO,
            Pace::AtOnce | Pace::Soon => (FIRST_PAUSE, LONGEST_PAUSE),
            Pace::Later => (FIRST_THROTTLED_PAUSE, LONGEST_THROTTLED_PAUSE),
        };
        let full = longest.min(first * 2_u32.pow(self.failed.min(16)));
        let half = u64::try_from(full.as_micros() / 2).unwrap_or(u64::MAX);
        Duration::from_micros(half) + Duration::from_micros(((self.patience.random)() % u128::from(half + 1)) as u64)
    }
}

/// No answer came in time: whether the call had its effect is unknown.
#[must_use]
pub fn out_of_time() -> StoreError {
    StoreError::new(ErrorKind::Unknown, "deadline", "no answer in the time that there was")
}
