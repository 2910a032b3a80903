//! Logical requests: two functions, one after the other, each of which reads two keys and writes one.

use aft_protocol::id::TransactionId;
use aft_protocol::version::{Timestamp, Version};

use super::Error;
use super::random::{Random, Zipf};

/// How many keys there are.
const KEYS: usize = 1_000;
const EXPONENT: f64 = 1.0;
/// What a value is beside its metadata.
const PAYLOAD_BYTES: usize = 4 << 10;
const READS: usize = 2;
const FUNCTIONS: usize = 2;

/// What a function does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It reads this key.
    Read(usize),
    /// It writes this key.
    Write(usize),
}

/// A logical request.
#[derive(Debug, Clone)]
pub struct Logical {
    /// Its name.
    pub id: TransactionId,
    /// What its functions do: two reads and a write, and two reads and a write.
    pub steps: Vec<Step>,
}

/// Draws requests.
#[derive(Debug)]
pub struct Requests {
    zipf: Zipf,
    random: Random,
}

impl Requests {
    /// Those of this sequence.
    #[must_use]
    pub fn new(random: Random) -> Self {
        Self { zipf: Zipf::new(KEYS, EXPONENT), random }
    }

    /// The next one.
    pub fn draw(&mut self) -> Logical {
        let id = TransactionId::from_bits(self.random.wide_bits());
        let mut steps = Vec::with_capacity(FUNCTIONS * (READS + 1));
        for _ in 0..FUNCTIONS {
            steps.extend((0..READS).map(|_| Step::Read(self.zipf.draw(&mut self.random))));
            steps.push(Step::Write(self.zipf.draw(&mut self.random)));
        }
        Logical { id, steps }
    }
}

impl Logical {
    /// The keys that its functions write, between them.
    #[must_use]
    pub fn written(&self) -> Vec<usize> {
        let written = self.steps.iter().filter_map(|step| match step {
            Step::Write(key) => Some(*key),
            Step::Read(_) => None,
        });
        written.collect()
    }
}

/// What the paper embeds in values to find anomalies: a timestamp, a unique ID and the keys that the same request writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// When the request began, and which it is.
    pub version: Version,
    /// The keys that it writes.
    pub cowritten: Vec<usize>,
}

impl Mark {
    /// Of a request that began at this time, in microseconds since the epoch.
    #[must_use]
    pub fn of(logical: &Logical, began_micros: u64) -> Self {
        let version = Version::new(Timestamp::from_micros(began_micros), logical.id);
        Self { version, cowritten: logical.written() }
    }

    /// A value with this mark and the payload.
    #[must_use]
    pub fn value(&self) -> Vec<u8> {
        let keys: Vec<_> = self.cowritten.iter().map(ToString::to_string).collect();
        let mut value = format!("{} {}\n", self.version, keys.join(",")).into_bytes();
        value.resize(value.len() + PAYLOAD_BYTES, b'.');
        value
    }

    /// The mark in a value.
    ///
    /// # Errors
    /// If there is none.
    pub fn parse(value: &[u8]) -> Result<Self, Error> {
        let head = value.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let (version, keys) = std::str::from_utf8(head)?.split_once(' ').ok_or("a value without a mark")?;
        let cowritten = keys.split(',').map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { version: version.parse()?, cowritten })
    }
}

/// What a key is called.
#[must_use]
pub fn name(key: usize) -> String {
    format!("key-{key:04}")
}

#[cfg(test)]
mod tests {
    use super::{Mark, PAYLOAD_BYTES, Random, Requests};

    #[test]
    fn a_mark_is_found_in_its_value() {
        let logical = Requests::new(Random::new(1)).draw();
        let mark = Mark::of(&logical, 1_700_000_000_000_000);
        let value = mark.value();
        assert_eq!(Mark::parse(&value).unwrap(), mark);
        // The paper's marks take about 70 bytes.
        assert!((40..100).contains(&(value.len() - PAYLOAD_BYTES)), "{}", value.len());
        assert!(Mark::parse(b"....").is_err());
    }
}
