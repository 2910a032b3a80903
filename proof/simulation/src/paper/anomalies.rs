//! What the paper counts (Sreekanti et al., *A Fault-Tolerance Shim for Serverless Computing*, EuroSys 2020, sections 3.2 and
//! 6.1.2): an anomaly is found by the marks in the values that a request's functions have read, all of them together.
//!
//! * **Read your writes**: a request reads a key that it has written before, and sees something else.
//! * **Fractured reads**: it reads a version of `k` whose request wrote `l` too, and an older version of `l`; or it reads one key
//!   twice and sees two versions ("fractured reads encompass repeatable reads").
//!
//! A request counts once for each kind, whatever it has seen of it, in any of its attempts. What it sees of its own writes is
//! no fractured read; and that it sees one key in two versions, the second after it has written the key, is counted as the
//! first kind only.

use aft_protocol::version::Version;

/// What was read of a key.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The key.
    pub key: usize,
    /// The version, in the order that the system under test has; zero: the key was never written.
    pub version: Version,
    /// The keys that the same request wrote.
    pub cowritten: Vec<usize>,
    /// Whether it is the reading request's own write.
    pub is_own: bool,
}

/// What one attempt at a request has seen.
#[derive(Debug, Default)]
pub struct Attempt {
    written: Vec<usize>,
    /// With whether the key had been written before.
    reads: Vec<(Seen, bool)>,
}

/// Which kinds there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Found {
    /// A request's own write was not seen.
    pub unread_write: bool,
    /// Reads were fractured.
    pub fractured: bool,
}

impl Found {
    /// Those of either.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self { unread_write: self.unread_write || other.unread_write, fractured: self.fractured || other.fractured }
    }
}

impl Attempt {
    /// A key is written.
    pub fn write(&mut self, key: usize) {
        self.written.push(key);
    }

    /// A key is read.
    pub fn read(&mut self, seen: Seen) {
        let written_before = self.written.contains(&seen.key);
        self.reads.push((seen, written_before));
    }

    /// What is wrong with what was read.
    #[must_use]
    pub fn found(&self) -> Found {
        let unread_write = self.reads.iter().any(|(seen, written_before)| *written_before && !seen.is_own);
        let others: Vec<_> = self.reads.iter().filter(|(seen, _)| !seen.is_own).collect();
        let fractured = others.iter().any(|(one, one_after)| {
            others.iter().any(|(other, other_after)| {
                if one.key == other.key {
                    one_after == other_after && one.version != other.version
                } else {
                    one.cowritten.contains(&other.key) && other.version < one.version
                }
            })
        });
        Found { unread_write, fractured }
    }
}

#[cfg(test)]
mod tests {
    use aft_protocol::id::TransactionId;
    use aft_protocol::version::{Timestamp, Version};

    use super::{Attempt, Found, Seen};

    const NEITHER: Found = Found { unread_write: false, fractured: false };
    const UNREAD: Found = Found { unread_write: true, fractured: false };
    const FRACTURED: Found = Found { unread_write: false, fractured: true };

    /// `key` as request `number` wrote it together with other keys; 0: as nobody wrote it.
    fn seen(key: usize, number: u64, cowritten: &[usize]) -> Seen {
        let version = Version::new(Timestamp::from_micros(number), TransactionId::from_bits(number.into()));
        let version = if number == 0 { Version::ZERO } else { version };
        Seen { key, version, cowritten: cowritten.to_vec(), is_own: number == 100 }
    }

    fn found(steps: &[Result<Seen, usize>]) -> Found {
        let mut attempt = Attempt::default();
        for step in steps {
            match step {
                Ok(seen) => attempt.read(seen.clone()),
                Err(written) => attempt.write(*written),
            }
        }
        attempt.found()
    }

    #[test]
    fn each_kind_is_what_the_paper_says() {
        for (steps, expected) in [
            (vec![Ok(seen(1, 1, &[1, 2])), Ok(seen(2, 1, &[1, 2]))], NEITHER),
            (vec![Ok(seen(1, 1, &[1, 2])), Ok(seen(2, 2, &[2]))], NEITHER),
            (vec![Ok(seen(1, 2, &[1, 2])), Ok(seen(2, 1, &[2]))], FRACTURED),
            (vec![Ok(seen(2, 1, &[2])), Ok(seen(1, 2, &[1, 2]))], FRACTURED),
            (vec![Ok(seen(2, 0, &[])), Ok(seen(1, 2, &[1, 2]))], FRACTURED),
            (vec![Ok(seen(1, 2, &[1])), Ok(seen(2, 1, &[2]))], NEITHER),
            (vec![Ok(seen(1, 1, &[1])), Ok(seen(1, 2, &[1]))], FRACTURED),
            (vec![Ok(seen(1, 1, &[1])), Ok(seen(1, 1, &[1]))], NEITHER),
            (vec![Err(1), Ok(seen(1, 100, &[1]))], NEITHER),
            (vec![Err(1), Ok(seen(1, 1, &[1]))], UNREAD),
            (vec![Ok(seen(1, 1, &[1])), Err(1), Ok(seen(1, 2, &[1]))], UNREAD),
            (vec![Ok(seen(1, 1, &[1])), Err(1), Ok(seen(1, 100, &[1, 2]))], NEITHER),
            (vec![Ok(seen(2, 1, &[2])), Err(1), Ok(seen(1, 100, &[1, 2]))], NEITHER),
        ] {
            assert_eq!(found(&steps), expected, "{steps:?}");
        }
    }
}
