//! How long DynamoDB is taken to need: log-normal times by kind of request, whose parameters are inputs.
//!
//! The defaults are those of Figure 2 of *A Fault-Tolerance Shim for Serverless Computing* (EuroSys 2020), measured from Lambda: one
//! item 3.0 ms at the median and 5.5 at the 99th percentile, a batch of 5 items 4.7 and 11.7, of 10 items 6.8 and 15.2.
//! Between these sizes, and beyond them, a line. A transactional write takes twice as long as a write of one item.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use aft_simulation::paper::random::Random;
use serde::{Serialize, Serializer};

/// How many standard deviations of a normal distribution the 99th percentile is above the median.
const SIGMAS_TO_P99: f64 = 2.326_348;

/// A log-normal distribution of times, by what one reads off a dashboard.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Times {
    /// Milliseconds at the median.
    pub median: f64,
    /// Milliseconds at the 99th percentile.
    pub p99: f64,
}

impl Times {
    fn draw(self, normal: f64) -> Duration {
        let sigma = (self.p99 / self.median).ln() / SIGMAS_TO_P99;
        Duration::from_secs_f64(self.median * (sigma * normal).exp() / 1e3)
    }

    fn times(self, factor: f64) -> Self {
        Self { median: self.median * factor, p99: self.p99 * factor }
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.median, self.p99)
    }
}

/// What is no pair of times.
#[derive(Debug)]
pub struct InvalidTimes(String);

impl fmt::Display for InvalidTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no MEDIAN/P99 in milliseconds, as in 3.0/5.5, of which the second is the larger", self.0)
    }
}

impl std::error::Error for InvalidTimes {}

impl FromStr for Times {
    type Err = InvalidTimes;

    fn from_str(text: &str) -> Result<Self, InvalidTimes> {
        let number = |text: &str| text.trim().parse::<f64>().ok().filter(|ms| *ms > 0.0 && ms.is_finite());
        text.split_once('/')
            .and_then(|(median, p99)| Some(Self { median: number(median)?, p99: number(p99)? }))
            .filter(|times| times.p99 > times.median)
            .ok_or_else(|| InvalidTimes(text.to_owned()))
    }
}

impl Serialize for Times {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The model, as programs take it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, clap::Args)]
pub struct Model {
    /// One item: median and 99th percentile, in milliseconds.
    #[arg(long, default_value_t = Self::default().one)]
    pub one: Times,
    /// A batch of 5 items.
    #[arg(long, default_value_t = Self::default().five)]
    pub five: Times,
    /// A batch of 10 items.
    #[arg(long, default_value_t = Self::default().ten)]
    pub ten: Times,
    /// How many times as long as one item a transactional request takes.
    #[arg(long, default_value_t = Self::default().transaction)]
    pub transaction: f64,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            one: Times { median: 3.0, p99: 5.5 },
            five: Times { median: 4.7, p99: 11.7 },
            ten: Times { median: 6.8, p99: 15.2 },
            transaction: 2.0,
        }
    }
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One item.
    One,
    /// So many items, each by itself.
    Batch(usize),
    /// Items in one transaction.
    Transaction,
}

impl Model {
    /// How long this request takes.
    pub fn draw(&self, kind: Kind, random: &mut Random) -> Duration {
        self.times(kind).draw(random.normal())
    }

    /// How such requests are distributed.
    #[must_use]
    pub fn times(&self, kind: Kind) -> Times {
        match kind {
            Kind::One => self.one,
            Kind::Batch(items) if items <= 5 => between((1, self.one), (5, self.five), items),
            Kind::Batch(items) => between((5, self.five), (10, self.ten), items),
            Kind::Transaction => self.one.times(self.transaction),
        }
    }
}

/// On the line through two points.
#[allow(clippy::cast_precision_loss, reason = "a batch has at most a hundred items")]
fn between((from, at_from): (usize, Times), (to, at_to): (usize, Times), items: usize) -> Times {
    let share = (items.max(1) as f64 - from as f64) / (to - from) as f64;
    let at = |from: f64, to: f64| from + (to - from) * share;
    Times { median: at(at_from.median, at_to.median), p99: at(at_from.p99, at_to.p99) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Kind, Model, Times};
    use aft_simulation::paper::random::Random;

    #[test]
    fn what_is_drawn_has_the_median_and_the_percentile_that_were_asked_for() {
        let model = Model::default();
        for (kind, expected) in [
            (Kind::One, Times { median: 3.0, p99: 5.5 }),
            (Kind::Batch(1), Times { median: 3.0, p99: 5.5 }),
            (Kind::Batch(5), Times { median: 4.7, p99: 11.7 }),
            (Kind::Batch(10), Times { median: 6.8, p99: 15.2 }),
            (Kind::Transaction, Times { median: 6.0, p99: 11.0 }),
        ] {
            let mut random = Random::new(7);
            let mut drawn: Vec<_> = (0..100_000).map(|_| model.draw(kind, &mut random).as_secs_f64() * 1e3).collect();
            drawn.sort_unstable_by(f64::total_cmp);
            for (at, wanted) in [(50_000, expected.median), (99_000, expected.p99)] {
                assert!((drawn[at] / wanted - 1.0).abs() < 0.03, "{kind:?}: {} is not {wanted}", drawn[at]);
            }
        }
    }

    #[test]
    fn larger_batches_take_longer() {
        let model = Model::default();
        let medians: Vec<_> = [1, 3, 5, 7, 10, 25].map(|items| model.times(Kind::Batch(items)).median).into();
        assert!(medians.is_sorted_by(|one, next| one < next), "{medians:?}");
    }

    #[test]
    fn times_are_read_as_they_are_written() {
        for text in ["3/5.5", "0.5/12"] {
            assert_eq!(text.parse::<Times>().unwrap().to_string(), text);
        }
        for text in ["", "3", "3/2", "-1/2", "x/y", "3/inf"] {
            assert!(text.parse::<Times>().unwrap_err().to_string().contains("MEDIAN/P99"), "{text}");
        }
    }
}
