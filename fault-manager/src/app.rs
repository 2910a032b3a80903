//! The life of the process: configuration, store, invocations.
//!
//! Tables that cannot be used fail the init in one line. What may pass, throttling at a cold start say, does not: the batch
//! has its own patience.

use std::convert::Infallible;
use std::time::Duration;

use aft_store::Store;
use aft_store::dynamodb::DynamoDb;
use aft_store::retry::Patience;
use lambda_runtime::{LambdaEvent, service_fn};
use tokio::time::Instant;

use crate::batch;
use crate::clock;
use crate::config::Config;
use crate::error::AppError;
use crate::event::{Answer, Event};

/// Kept of an invocation's time, to report what was not done.
const RESERVE: Duration = Duration::from_secs(1);

/// Serves invocations until Lambda ends the process.
///
/// # Errors
/// [`AppError`].
pub async fn run(config: Config) -> Result<(), AppError> {
    let store = DynamoDb::new(&config.store);
    match store.probe().await {
        Ok(()) => {}
        Err(error) if error.kind().is_retryable() => tracing::warn!("the first look at the tables failed: {error}"),
        Err(error) => return Err(error.into()),
    }
    let serve = service_fn(|event: LambdaEvent<Event>| {
        let store = store.clone();
        async move {
            let now_ms = clock::epoch_ms();
            let until = Instant::now() + time_for(event.context.deadline, now_ms);
            let patience = Patience { until, random: &clock::random };
            Ok::<Answer, Infallible>(batch::recover(&store, event.payload, now_ms / 1_000, patience).await)
        }
    });
    lambda_runtime::run(serve).await.map_err(AppError::Lambda)
}

/// How long an invocation may work that Lambda ends at `deadline_ms`; both in milliseconds since the epoch.
fn time_for(deadline_ms: u64, now_ms: u64) -> Duration {
    Duration::from_millis(deadline_ms.saturating_sub(now_ms)).saturating_sub(RESERVE)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::time_for;

    #[test]
    fn a_second_is_kept_to_report() {
        assert_eq!(time_for(61_000, 1_000), Duration::from_secs(59));
        assert_eq!(time_for(1_500, 1_000), Duration::ZERO);
        assert_eq!(time_for(0, 1_000), Duration::ZERO, "late");
    }
}
