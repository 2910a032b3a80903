//! Trying a store call again while that makes sense: exponential backoff with full jitter, until a deadline.

use std::future::Future;
use std::time::Duration;

use aft_store::{ErrorKind, Store, StoreError};
use tokio::time::Instant;

use super::Session;

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Kept back from the invocation's deadline, so that an error can still reach the caller before Lambda ends everything.
const TIME_TO_ANSWER: Duration = Duration::from_millis(100);

impl<S: Store> Session<S> {
    /// Calls the store until it answers, refuses, or time is up. Only for calls that may happen twice.
    pub(super) async fn retrying<T, F>(&self, deadline: Instant, call: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let until = last_moment(deadline);
        let mut tries = 0;
        loop {
            let error = match tokio::time::timeout_at(until, call()).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error,
                Err(_) => return Err(out_of_time()),
            };
            if !error.kind().is_retryable() || !self.pause(tries, until).await {
                return Err(error);
            }
            tries += 1;
        }
    }

    /// Waits before try number `tries + 2`; false if there is no time left for it.
    pub(super) async fn pause(&self, tries: u32, until: Instant) -> bool {
        let longest = LONGEST_PAUSE.min(FIRST_PAUSE * 2_u32.saturating_pow(tries.min(16)));
        let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
        let jittered = Duration::from_micros((self.inner.sources.random() % u128::from(micros + 1)) as u64);
        let next = Instant::now() + jittered;
        if next >= until {
            return false;
        }
        tokio::time::sleep_until(next).await;
        true
    }
}

/// When to stop trying, for an answer to arrive by `deadline`.
pub(super) fn last_moment(deadline: Instant) -> Instant {
    deadline.checked_sub(TIME_TO_ANSWER).unwrap_or(deadline)
}

pub(super) fn out_of_time() -> StoreError {
    StoreError::new(ErrorKind::Unknown, "deadline", "no answer before the invocation's deadline")
}
