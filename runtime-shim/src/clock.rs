//! The wall clock: read here and nowhere else.

use std::time::{Duration, SystemTime};

/// How long it is until a moment given in milliseconds since the epoch; zero if it has passed.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the one place of this process that reads the wall clock")]
pub fn until_epoch_ms(epoch_ms: u64) -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Duration::from_millis(epoch_ms).saturating_sub(now)
}
