//! Trying a store call again while that makes sense: exponential backoff with full jitter, until a moment.
//!
//! The stores themselves never repeat anything: only their callers know until when a try is worth it, and a first try that
//! may have taken effect must not be forgotten when a second one is refused (R-COMMIT-4).

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use crate::{ErrorKind, StoreError};

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Until when to try, and where jitter comes from: 128 random bits a call.
#[derive(Clone, Copy)]
pub struct Patience<'a> {
    /// The last moment at which an answer is of use.
    pub until: Instant,
    /// Randomness.
    pub random: &'a (dyn Fn() -> u128 + Send + Sync),
}

impl Patience<'_> {
    /// Calls until there is an answer, a refusal, or no time. Only for calls that may happen twice.
    ///
    /// # Errors
    /// The last [`StoreError`]: one that is not retryable, or the one after which there was no time.
    pub async fn retrying<T, F>(self, call: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut tries = 0;
        loop {
            let error = match timeout_at(self.until, call()).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error,
                Err(_) => return Err(out_of_time()),
            };
            if !error.kind().is_retryable() || !self.pause(tries).await {
                return Err(error);
            }
            tries += 1;
        }
    }

    /// Waits before try number `tries + 2`; false if there is no time left for it.
    pub async fn pause(self, tries: u32) -> bool {
        let longest = LONGEST_PAUSE.min(FIRST_PAUSE * 2_u32.saturating_pow(tries.min(16)));
        let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
        let jittered = Duration::from_micros(((self.random)() % u128::from(micros + 1)) as u64);
        let next = Instant::now() + jittered;
        if next >= self.until {
            return false;
        }
        sleep_until(next).await;
        true
    }
}

/// No answer came in time: whether the call had its effect is unknown.
#[must_use]
pub fn out_of_time() -> StoreError {
    StoreError::new(ErrorKind::Unknown, "deadline", "no answer in the time that there was")
}
