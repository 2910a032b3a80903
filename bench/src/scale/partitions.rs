//! The limits of DynamoDB's partitions: each has a bucket of write units and one of read units, filled by the second.
//!
//! 1,000 write units and 3,000 read units a second are DynamoDB's (developer guide, "Best practices for designing and using partition
//! keys effectively"); so is what a partition has not used in the last five minutes and may use later ("Burst and adaptive capacity").
//! That one is an input here, and nothing by default: it delays a ceiling, and does not lift it.

use std::collections::HashMap;

use tokio::time::Instant;

/// What a partition can do, and how keys are spread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Write units a second.
    pub writes: f64,
    /// Read units a second.
    pub reads: f64,
    /// How many seconds' worth of unused units a partition may have saved.
    pub burst_seconds: f64,
    /// How many partitions each table has; `None`: every key has one to itself, which is the most that adaptive capacity can do.
    pub partitions: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { writes: 1_000.0, reads: 3_000.0, burst_seconds: 0.0, partitions: None }
    }
}

impl Limits {
    /// An engine that has none.
    pub const NONE: Self = Self { writes: f64::INFINITY, reads: f64::INFINITY, burst_seconds: 0.0, partitions: None };
}

/// What a request takes of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Write units.
    Writes(usize),
    /// Read units.
    Reads(usize),
}

/// One table's partitions.
#[derive(Debug)]
pub struct Partitions {
    limits: Limits,
    since: Instant,
    used: HashMap<u64, Partition>,
}

#[derive(Debug)]
struct Partition {
    writes: Bucket,
    reads: Bucket,
}

#[derive(Debug)]
struct Bucket {
    units: f64,
    at: Instant,
}

impl Bucket {
    /// Takes so many units, or none if there are fewer.
    fn take(&mut self, units: usize, a_second: f64, burst_seconds: f64) -> bool {
        let now = Instant::now();
        let most = a_second * (1.0 + burst_seconds);
        self.units = most.min(self.units + a_second * (now - self.at).as_secs_f64());
        self.at = now;
        let units = units as f64;
        if self.units < units {
            return false;
        }
        self.units -= units;
        true
    }
}

impl Partitions {
    /// Partitions that have saved what they may, and begin now: a window must not begin with a second's worth for nothing.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, since: Instant::now(), used: HashMap::new() }
    }

    /// Whether the partition of this key can do it now. If it cannot, nothing is taken.
    pub fn admit(&mut self, key: &[u8], takes: Takes) -> bool {
        let Limits { writes, reads, burst_seconds, partitions } = self.limits;
        if writes.is_infinite() && reads.is_infinite() {
            return true;
        }
        let hash = hash(key);
        let since = self.since;
        let partition = self.used.entry(partitions.map_or(hash, |count| hash % count)).or_insert_with(|| {
            let bucket = |a_second: f64| Bucket { units: a_second * burst_seconds, at: since };
            Partition { writes: bucket(writes), reads: bucket(reads) }
        });
        match takes {
            Takes::Writes(units) => partition.writes.take(units, writes, burst_seconds),
            Takes::Reads(units) => partition.reads.take(units, reads, burst_seconds),
        }
    }
}

/// FNV-1a, and the last step of SplitMix64 so that its low bits are as good as the others: the same on every machine.
#[must_use]
pub fn hash(key: &[u8]) -> u64 {
    let fnv = key
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let mixed = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::{Limits, Partitions, Takes};

    /// How many writes of so many units one key takes in ten seconds, tried every millisecond.
    async fn admitted(limits: Limits, units: usize) -> usize {
        let mut table = Partitions::new(limits);
        let mut admitted = 0;
        for _ in 0..10_000 {
            while table.admit(b"hot", Takes::Writes(units)) {
                admitted += 1;
            }
            advance(Duration::from_millis(1)).await;
        }
        admitted
    }

    #[tokio::test(start_paused = true)]
    async fn one_key_takes_no_more_than_its_partition_gives() {
        assert_eq!(admitted(Limits::default(), 1).await, 9_999);
        assert_eq!(admitted(Limits::default(), 5).await, 1_999);
        let burst = Limits { burst_seconds: 5.0, ..Limits::default() };
        assert_eq!(admitted(burst, 1).await, 14_999);
    }

    #[tokio::test(start_paused = true)]
    async fn reads_and_writes_and_other_keys_are_limited_by_themselves() {
        let mut table = Partitions::new(Limits::default());
        let mut one = Partitions::new(Limits { partitions: Some(1), ..Limits::default() });
        assert!(!table.admit(b"a", Takes::Writes(1)), "nothing is saved");
        advance(Duration::from_secs(60)).await;
        assert!(table.admit(b"a", Takes::Writes(1_000)), "and a second's worth at the most");
        assert!(!table.admit(b"a", Takes::Writes(1)));
        assert!(table.admit(b"a", Takes::Reads(3_000)));
        assert!(!table.admit(b"a", Takes::Reads(1)));
        assert!(table.admit(b"b", Takes::Writes(1_000)));
        assert!(one.admit(b"a", Takes::Writes(1_000)));
        assert!(!one.admit(b"b", Takes::Writes(1)), "all keys are in one");
    }

    #[test]
    fn keys_are_spread_evenly() {
        let mut counts = [0_usize; 40];
        for number in 0..100_000 {
            counts[(super::hash(format!("key-{number:06}").as_bytes()) % 40) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (2_250..2_750).contains(count)), "{counts:?}");
    }
}
