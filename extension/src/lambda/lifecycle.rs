//! INVOKE after INVOKE until SHUTDOWN.
//!
//! Lambda may freeze the sandbox once the runtime and every extension are in `/next`. So this loop asks for the next event
//! only when the shim has ended the invocation and no apply is pending.

use std::time::Duration;

use aft_store::Store;

use super::api::{ApiError, Event, Registration};
use crate::session::Session;
use crate::sources::Sources;

/// Given to pending applies after SHUTDOWN, of the 2 seconds that Lambda leaves.
const LAST_APPLIES: Duration = Duration::from_millis(1_500);

/// Follows the sandbox through its invocations. Returns after SHUTDOWN.
///
/// # Errors
/// [`ApiError`] if the Extensions API fails: Lambda ends the sandbox then.
pub async fn run<S: Store>(me: &mut Registration, session: &Session<S>, sources: &Sources) -> Result<(), ApiError> {
    loop {
        match me.next().await? {
            Event::Invoke { request, deadline_ms } => {
                if !session.shim_attached() {
                    tracing::error!(
                        request = %request,
                        "the runtime shim is not there, so nothing of this invocation is transactional and the local \
                         endpoint refuses every request: set AWS_LAMBDA_EXEC_WRAPPER=/opt/aft-runtime-shim"
                    );
                }
                session.quiet(&request, sources.until_epoch_ms(deadline_ms)).await;
            }
            Event::Shutdown { reason } => {
                tracing::debug!("SHUTDOWN ({reason})");
                if tokio::time::timeout(LAST_APPLIES, session.applied()).await.is_err() {
                    tracing::warn!("SHUTDOWN with an apply pending: whoever reads its keys goes on");
                }
                return Ok(());
            }
            Event::Other(kind) => tracing::debug!("passing over an event of type {kind:?}"),
        }
    }
}
