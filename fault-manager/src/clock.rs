//! The only place that reads the wall clock or draws random numbers. Durations are measured on tokio's clock instead, which
//! tests can pause.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the epoch: Lambda's form of a deadline.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the one place of this process that reads the wall clock")]
pub fn epoch_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

/// 128 random bits, for the jitter of retries: zeros if the system has none, which only costs the jitter.
#[must_use]
pub fn random() -> u128 {
    let mut bytes = [0; 16];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u128::from_ne_bytes(bytes),
        Err(_) => 0,
    }
}
