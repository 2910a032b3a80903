//! Versions: a total order over committed transactions, and the hybrid logical clock that makes them (R-COMMIT-3).
//!
//! The clock is that of Kulkarni et al., *Logical Physical Clocks* (2014), folded into one 64-bit number: microseconds,
//! pushed forward past anything seen.

use std::fmt;
use std::str::FromStr;

use crate::id::TransactionId;
use crate::radix32;

/// A point on the hybrid logical clock: microseconds since the Unix epoch, possibly ahead of any wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Before everything.
    pub const ZERO: Self = Self(0);
    /// The last point that is accepted from a store or a wall clock: in the year 38,505, with room to count on.
    pub const MAX: Self = Self(1 << 60);

    /// A wall-clock reading, in microseconds since the epoch; capped at [`Timestamp::MAX`].
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        if micros > Self::MAX.0 { Self::MAX } else { Self(micros) }
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }
}

/// `(commit timestamp, transaction ID)`: compared in that order. The text form has a fixed width and sorts bytewise.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    timestamp: Timestamp,
    transaction: TransactionId,
}

impl Version {
    /// The version of a key that was never written: below every other.
    pub const ZERO: Self = Self { timestamp: Timestamp::ZERO, transaction: TransactionId::from_bits(0) };

    /// The version that `transaction` commits at `timestamp`.
    #[must_use]
    pub const fn new(timestamp: Timestamp, transaction: TransactionId) -> Self {
        Self { timestamp, transaction }
    }

    /// When, on the hybrid logical clock.
    #[must_use]
    pub const fn timestamp(&self) -> Timestamp {
        self.timestamp
    }

    /// Which transaction, and so where its commit record is.
    #[must_use]
    pub const fn transaction(&self) -> TransactionId {
        self.transaction
    }

    /// Whether the key was never written.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", radix32::encode(self.timestamp.0.into(), radix32::WIDTH_64), self.transaction)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a version: expected 13 and 26 characters of 0-9a-v joined by a hyphen, before the year 38,505"
)]
pub struct MalformedVersion {
    text: String,
}

impl FromStr for Version {
    type Err = MalformedVersion;

    fn from_str(text: &str) -> Result<Self, MalformedVersion> {
        let parse = || {
            let (timestamp, transaction) = text.split_once('-')?;
            let micros = u64::try_from(radix32::decode(timestamp, radix32::WIDTH_64)?).ok()?;
            let transaction = transaction.parse().ok()?;
            (micros <= Timestamp::MAX.0).then_some(Self::new(Timestamp(micros), transaction))
        };
        parse().ok_or_else(|| MalformedVersion { text: text.chars().take(64).collect() })
    }
}

/// A sandbox's hybrid logical clock.
#[derive(Debug)]
pub struct Clock {
    last: Timestamp,
}

impl Default for Clock {
    fn default() -> Self {
        Self { last: Timestamp::ZERO }
    }
}

impl Clock {
    /// Takes note of a version that this sandbox has read, written or seen.
    pub fn observe(&mut self, version: Version) {
        self.last = self.last.max(version.timestamp);
    }

    /// The timestamp of a commit: at least `now`, and greater than every version observed and every earlier tick
    /// (R-COMMIT-3).
    pub fn tick(&mut self, now: Timestamp) -> Timestamp {
        self.last = now.max(Timestamp(self.last.0 + 1));
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::{Clock, Timestamp, Version};
    use crate::id::TransactionId;

    fn version(micros: u64, transaction: u128) -> Version {
        Version::new(Timestamp::from_micros(micros), TransactionId::from_bits(transaction))
    }

    #[test]
    fn text_sorts_bytewise_as_versions_do_and_has_a_fixed_width() {
        let versions = [
            version(0, 0),
            version(0, 1),
            version(1, 0),
            version(31, u128::MAX),
            version(32, 0),
            version(1_790_000_000_000_000, 7),
            version(u64::MAX, u128::MAX),
        ];
        assert!(versions.is_sorted());
        let texts: Vec<_> = versions.iter().map(ToString::to_string).collect();
        assert!(texts.is_sorted());
        for (version, text) in versions.iter().zip(&texts) {
            assert_eq!(text.len(), 40);
            assert_eq!(text.parse(), Ok(*version));
        }
    }

    #[test]
    fn garbage_and_the_far_future_are_refused() {
        for text in
            ["", "-", "0", "vvvvvvvvvvvvv-00000000000000000000000000", "0000000000000_00000000000000000000000000"]
        {
            assert!(text.parse::<Version>().is_err(), "{text:?}");
        }
    }

    /// R-COMMIT-3: at least the local clock.
    #[test]
    fn a_tick_is_never_behind_the_local_clock() {
        assert_eq!(Clock::default().tick(Timestamp::from_micros(5)), Timestamp::from_micros(5));
    }

    /// R-COMMIT-3: greater than every version seen, even from a sandbox whose clock is ahead; and a clock that is set
    /// back does not order a later commit before an earlier one.
    #[test]
    fn a_tick_passes_everything_seen_and_every_earlier_tick() {
        let mut clock = Clock::default();
        clock.observe(version(1_000, 1));
        clock.observe(version(10, 1));
        let first = clock.tick(Timestamp::from_micros(500));
        let second = clock.tick(Timestamp::from_micros(400));
        assert!(first > Timestamp::from_micros(1_000));
        assert!(second > first);
    }

    #[test]
    fn the_greatest_timestamp_that_a_store_may_hold_does_not_overflow_the_clock() {
        let mut clock = Clock::default();
        clock.observe(version(u64::MAX, 1));
        assert!(clock.tick(Timestamp::ZERO) > Timestamp::MAX);
    }
}
