//! A session as a sandbox has it, in a runtime whose time is paused: without the HTTP and the control socket before it.

use std::sync::{Arc, Mutex, PoisonError};

use aft_extension::session::{Ack, Begun, Behaviour, DuplicateCheck, Session};
use aft_extension::sources::Sources;
use aft_protocol::id::{AttemptNumber, Fingerprint, RequestId, TransactionId};
use aft_protocol::isolation::Isolation;
use aft_protocol::version::Timestamp;
use aft_protocol::wire::Begin;
use aft_simulation::paper::random::Random;
use aft_store::Store;
use tokio::time::Instant;

use crate::Error;

/// The wall clock when a run begins, in microseconds since the epoch: any will do.
pub const EPOCH_MICROS: u64 = 1_790_000_000_000_000;

/// The settings that count where nothing is set, on a processor of its own.
#[must_use]
pub const fn shipped() -> Behaviour {
    Behaviour {
        duplicate_check: DuplicateCheck::Parallel,
        ack: Ack::Visible,
        memoize_always: false,
        retention_seconds: 604_800,
        reads_strongly: true,
        look_ups: 10,
        cache_bytes: 4 << 20,
        isolation: Isolation::ReadAtomic,
        refuse_in_progress: false,
    }
}

/// One sandbox.
pub struct Sandbox<S> {
    session: Session<S>,
    sources: Sources,
}

impl<S: Store> Sandbox<S> {
    /// A sandbox whose clock began at `start`, and whose chance is this.
    #[must_use]
    pub fn new(store: S, behaviour: Behaviour, start: Instant, random: Random) -> Self {
        let random = Mutex::new(random);
        let sources = Sources {
            now: Arc::new(move || {
                let elapsed = u64::try_from(start.elapsed().as_micros()).unwrap_or_default();
                Timestamp::from_micros(EPOCH_MICROS + elapsed)
            }),
            random: Arc::new(move || random.lock().unwrap_or_else(PoisonError::into_inner).wide_bits()),
        };
        Self { session: Session::new(store, behaviour, sources.clone()), sources }
    }

    /// Its session.
    #[must_use]
    pub const fn session(&self) -> &Session<S> {
        &self.session
    }

    /// Begins an attempt at a transaction of its own.
    ///
    /// # Errors
    /// If it is not open then.
    pub async fn open(
        &self,
        transaction: TransactionId,
        attempt: AttemptNumber,
        deadline: Instant,
    ) -> Result<(), Error> {
        let left = deadline.saturating_duration_since(Instant::now());
        let deadline = u128::from(self.sources.now().as_micros() / 1_000) + left.as_millis();
        let begin = Begin {
            request: RequestId::new(transaction.to_string()),
            transaction,
            attempt,
            fingerprint: Fingerprint::of(b"{}"),
            origin: format!("bench/{transaction}"),
            deadline_ms: u64::try_from(deadline)?,
        };
        match self.session.begin(begin).await? {
            Begun::Open => Ok(()),
            other => Err(format!("a transaction of this client's own could not begin: {other:?}").into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use aft_protocol::settings;

    use super::shipped;

    #[test]
    fn what_is_shipped_is_what_the_settings_say() {
        let behaviour = shipped();
        assert_eq!(settings::RETENTION.default, behaviour.retention_seconds.to_string());
        assert_eq!(settings::CACHE_BYTES.default, behaviour.cache_bytes.to_string());
        assert_eq!(settings::DUPLICATE_CHECK.default, "parallel");
        assert_eq!(settings::ACK.default, "visible");
        assert_eq!(settings::READ.default, "strong");
        assert_eq!(settings::ISOLATION.default, "read-atomic");
        assert_eq!(settings::WRITE_LOOK_UP.default, (behaviour.look_ups > 0).to_string());
    }
}
