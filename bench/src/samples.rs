//! Durations, and what they say.

use std::time::{Duration, Instant};

/// Durations of one operation, each measured by itself.
#[derive(Debug, Clone, Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// Notes how long ago `start` was.
    pub fn since(&mut self, start: Instant) {
        self.0.push(start.elapsed());
    }

    /// Notes a duration.
    pub fn push(&mut self, duration: Duration) {
        self.0.push(duration);
    }

    /// Takes over all of these.
    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The smallest sample that at least `percent` % of all are not above (nearest rank); zero if there are none.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied().unwrap_or_default()
    }

    /// How many are this long, or longer.
    #[must_use]
    pub fn at_least(&self, duration: Duration) -> usize {
        self.0.iter().filter(|sample| **sample >= duration).count()
    }

    /// Half of all samples are not above this.
    #[must_use]
    pub fn median(&self) -> Duration {
        self.percentile(50)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Samples;

    #[test]
    fn percentiles_are_samples_by_nearest_rank() {
        let mut samples = Samples::default();
        assert_eq!(samples.median(), Duration::ZERO);
        (1..=200).rev().for_each(|micros| samples.push(Duration::from_micros(micros)));
        assert_eq!(samples.median(), Duration::from_micros(100));
        assert_eq!(samples.percentile(99), Duration::from_micros(198));
        assert_eq!(samples.percentile(100), Duration::from_micros(200));
        assert_eq!(samples.at_least(Duration::from_micros(198)), 3);
    }
}
