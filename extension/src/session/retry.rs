//! Until when this session tries store calls again: for an error to reach the caller before Lambda ends everything.

use std::future::Future;
use std::time::Duration;

use aft_store::retry::Patience;
use aft_store::{Store, StoreError};
use tokio::time::Instant;

use super::Session;

/// Kept back from the invocation's deadline, so that an error can still reach the caller before Lambda ends everything.
const TIME_TO_ANSWER: Duration = Duration::from_millis(100);

impl<S: Store> Session<S> {
    /// Calls the store until it answers, refuses, or time is up. Only for calls that may happen twice.
    pub(super) async fn retrying<T, F>(&self, deadline: Instant, call: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        self.patience(last_moment(deadline)).retrying(call).await
    }

    /// Trying until this moment.
    pub(super) fn patience(&self, until: Instant) -> Patience<'_> {
        Patience { until, random: &*self.inner.sources.random }
    }
}

/// When to stop trying, for an answer to arrive by `deadline`.
pub(super) fn last_moment(deadline: Instant) -> Instant {
    deadline.checked_sub(TIME_TO_ANSWER).unwrap_or(deadline)
}
