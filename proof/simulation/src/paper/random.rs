//! Seeded chance: keys by a Zipf distribution, times by a log-normal one.

use std::f64::consts::TAU;
use std::time::Duration;

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The sequence of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let bits = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// 128 bits.
    pub fn wide_bits(&mut self) -> u128 {
        u128::from(self.bits()) << 64 | u128::from(self.bits())
    }

    /// From 0 to `bound` - 1.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.bits() % bound
    }

    /// From nothing to the longest: full jitter.
    pub fn up_to(&mut self, longest: Duration) -> Duration {
        let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.bits() % micros.saturating_add(1))
    }

    /// At least 0, less than 1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A standard normal deviate (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.unit()).ln()).sqrt() * (TAU * self.unit()).cos()
    }

    /// Half of all are not above the median, 99 % not above `e^(2.33 × spread)` times it. In whole milliseconds, as tokio's
    /// timer counts; 1 at least.
    pub fn log_normal(&mut self, median: Duration, spread: f64) -> Duration {
        let millis = median.as_secs_f64() * 1e3 * (spread * self.normal()).exp();
        Duration::from_millis((millis.round() as u64).max(1))
    }
}

/// Numbers from 0, of which the n-th is drawn `n^exponent` times less often than the first.
#[derive(Debug, Clone)]
pub struct Zipf(Vec<f64>);

impl Zipf {
    /// So many numbers; an exponent of 0 makes all of them alike.
    #[must_use]
    pub fn new(numbers: usize, exponent: f64) -> Self {
        let weights = (1..=numbers).scan(0.0, |sum, rank| {
            *sum += (rank as f64).powf(-exponent);
            Some(*sum)
        });
        Self(weights.collect())
    }

    /// One of them.
    pub fn draw(&self, random: &mut Random) -> usize {
        let all = self.0.last().copied().unwrap_or_default();
        let at = random.unit() * all;
        self.0.partition_point(|sum| *sum <= at).min(self.0.len().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Random, Zipf};

    #[test]
    fn the_exponent_is_the_skew() {
        // The first key's share, by the definition, in 1,000 keys.
        for (exponent, share) in [(0.0, 0.001), (1.0, 0.1336), (1.5, 0.3924), (2.0, 0.6083)] {
            let (zipf, mut random) = (Zipf::new(1_000, exponent), Random::new(1));
            let drawn: Vec<_> = (0..200_000).map(|_| zipf.draw(&mut random)).collect();
            let first = drawn.iter().filter(|key| **key == 0).count() as f64 / drawn.len() as f64;
            assert!((first - share).abs() < 0.005, "{exponent}: {first}");
            assert!(drawn.iter().all(|key| *key < 1_000));
        }
    }

    #[test]
    fn times_have_their_median_and_their_tail() {
        let mut random = Random::new(1);
        let mut times: Vec<_> = (0..100_000).map(|_| random.log_normal(Duration::from_millis(20), 0.5)).collect();
        times.sort_unstable();
        assert_eq!(times[50_000], Duration::from_millis(20));
        // 20 × e^(2.326 × 0.5).
        assert_eq!(times[99_000].as_millis() / 2, 64 / 2);
    }
}
