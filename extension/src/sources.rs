//! The two things that a pure core cannot have: the wall clock and randomness. Tests hand in their own.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aft_protocol::version::Timestamp;

/// Where time and randomness come from.
#[derive(Clone)]
pub struct Sources {
    /// The wall clock.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// 128 random bits.
    pub random: Arc<dyn Fn() -> u128 + Send + Sync>,
}

impl Sources {
    /// The operating system's.
    #[must_use]
    pub fn system() -> Self {
        Self { now: Arc::new(wall_clock), random: Arc::new(system_random) }
    }

    /// The wall clock, now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.now)()
    }

    /// 128 random bits.
    #[must_use]
    pub fn random(&self) -> u128 {
        (self.random)()
    }

    /// How long it is until a moment given in milliseconds since the epoch; zero if it has passed.
    #[must_use]
    pub fn until_epoch_ms(&self, epoch_ms: u64) -> Duration {
        Duration::from_micros(epoch_ms.saturating_mul(1_000).saturating_sub(self.now().as_micros()))
    }
}

#[allow(clippy::disallowed_methods, reason = "the one place of this process that reads the wall clock")]
fn wall_clock() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX))
}

#[allow(clippy::expect_used, reason = "a process without randomness must not hand out tokens or nonces")]
fn system_random() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    u128::from_ne_bytes(bytes)
}
