//! The one clock of all processes: nanoseconds of `CLOCK_MONOTONIC`, which [`Instant`] is made of, too, and does not show.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Now, as another process can be told.
#[must_use]
pub fn nanos() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)).unwrap_or_default()
}

/// What another process has told.
#[must_use]
pub fn instant(told: u64) -> Instant {
    Instant::now() - Duration::from_nanos(nanos().saturating_sub(told))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{instant, nanos};

    #[test]
    fn what_is_told_is_when_it_was() {
        let (before, told, after) = (Instant::now(), nanos(), Instant::now());
        let slack = Duration::from_millis(1);
        assert!(instant(told) + slack >= before && instant(told) <= after + slack);
    }
}
