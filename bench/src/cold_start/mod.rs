//! Cold starts, with the layer and without it, with a whole processor and with the share that a small function has.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | many of them, in turns, and their tables |
//! | [`sandbox`] | one of them |
//! | [`share`] | a share of a processor |
//!
//! Each is a sandbox of its own, from exec on. The worlds take turns, so that what else the machine does hits all of them. The
//! programs are in the page cache, the store is on the same machine, and no name is looked up: on Lambda, loading the layer, the
//! network and DNS come on top, with AFT and without.

pub mod sandbox;
pub mod share;

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::Error;
use crate::report::{Quantity, aligned};
use sandbox::{Figures, INIT, Place, World, cold_start};

/// A world, and what it is called.
#[derive(Debug, Clone)]
pub struct Contender {
    /// For the head of a column.
    pub name: String,
    /// What is started.
    pub world: World,
}

/// What so many cold starts of each contender came to, in their order.
#[derive(Debug)]
pub struct Measured {
    names: Vec<String>,
    starts: Vec<Vec<Figures>>,
}

/// Adds the public roots to a bundle: who uses DynamoDB itself trusts as many, and reading them is a part of every cold start.
///
/// # Errors
/// If the file cannot be written.
pub fn add_public_roots(bundle: &Path) -> io::Result<()> {
    let mut file = io::BufWriter::new(std::fs::OpenOptions::new().append(true).open(bundle)?);
    for root in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        writeln!(file, "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----", STANDARD.encode(root))?;
    }
    file.flush()
}

/// Measures, in turns; the first turn does not count.
///
/// # Errors
/// If one fails.
pub async fn measure(contenders: &[Contender], place: &Place<'_>, turns: usize) -> Result<Measured, Error> {
    let mut starts: Vec<_> = contenders.iter().map(|_| Vec::new()).collect();
    for turn in 0..=turns {
        // There and back: whoever comes after another of its kind finds the caches warm.
        let there_and_back = |place| if turn % 2 == 0 { place } else { contenders.len() - 1 - place };
        for index in (0..contenders.len()).map(there_and_back) {
            let contender = &contenders[index];
            let figures = cold_start(&contender.world, place).await;
            let figures = figures.map_err(|error| format!("a cold start of {}: {error}", contender.name))?;
            if turn > 0 {
                starts[index].push(figures);
            }
        }
    }
    Ok(Measured { names: contenders.iter().map(|contender| contender.name.clone()).collect(), starts })
}

impl Measured {
    /// A line for each figure, a column for each contender: the median, and between which two figures half of all are. What
    /// differs from the contender before is told for what everybody has.
    #[must_use]
    pub fn table(&self) -> String {
        let mut head = vec!["what".to_owned()];
        head.extend(self.names.iter().cloned());
        let all: Vec<&'static str> = self.figures_of_most();
        let lines = all.into_iter().map(|figure| {
            let cells = self.starts.iter().map(|starts| quartiles(starts, figure).map(shown).unwrap_or_default());
            std::iter::once(figure.to_owned()).chain(cells).collect::<Vec<_>>()
        });
        aligned(&head, lines)
    }

    /// How much longer the median cold start of one contender takes than that of another, as a line; by their numbers.
    #[must_use]
    pub fn added(&self, to: usize, by: usize) -> String {
        let median = |contender: usize, figure| {
            let [_, median, _] = quartiles(&self.starts[contender], figure).unwrap_or([Quantity::Count(0); 3]);
            match median {
                Quantity::Time(time) => time.as_secs_f64() * 1e3,
                Quantity::Size(_) | Quantity::Count(_) => 0.0,
            }
        };
        let figures = [
            (INIT, "init"),
            (sandbox::FIRST, "first invocation"),
            (sandbox::COLD, "both"),
            (sandbox::SECOND, "second invocation"),
        ];
        let added =
            figures.map(|(figure, called)| format!("{called} {:+.2} ms", median(by, figure) - median(to, figure)));
        format!("{} over {}: {}", self.names[by], self.names[to], added.join(", "))
    }

    fn figures_of_most(&self) -> Vec<&'static str> {
        let mut longest: Vec<&'static str> = Vec::new();
        for start in self.starts.iter().filter_map(|starts| starts.first()) {
            if start.len() > longest.len() {
                longest = start.iter().map(|(name, _)| *name).collect();
            }
        }
        longest
    }
}

/// The figure below which a quarter, a half and three quarters of the starts are.
fn quartiles(starts: &[Figures], figure: &str) -> Option<[Quantity; 3]> {
    let of_start = |start: &Figures| start.iter().find(|(name, _)| *name == figure).map(|(_, quantity)| *quantity);
    let mut all: Vec<_> = starts.iter().filter_map(of_start).collect();
    all.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    let at = |quarters: usize| all.get((all.len() * quarters).div_ceil(4).max(1) - 1).copied();
    Some([at(1)?, at(2)?, at(3)?])
}

fn shown([low, median, high]: [Quantity; 3]) -> String {
    match median {
        Quantity::Time(_) if low < high => format!("{} ({} to {})", millis(median), millis(low), millis(high)),
        Quantity::Time(_) => millis(median),
        Quantity::Size(_) | Quantity::Count(_) => median.to_string(),
    }
}

/// All durations of a table in one unit, so that they can be compared at a glance.
fn millis(quantity: Quantity) -> String {
    match quantity {
        Quantity::Time(time) if time < Duration::from_millis(100) => format!("{:.2} ms", time.as_secs_f64() * 1e3),
        Quantity::Time(time) => format!("{:.0} ms", time.as_secs_f64() * 1e3),
        Quantity::Size(_) | Quantity::Count(_) => quantity.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Measured, sandbox};
    use crate::report::Quantity;

    #[test]
    fn medians_stand_side_by_side_with_quartiles() {
        let time = |millis| Quantity::Time(Duration::from_millis(millis));
        let starts = |times: [u64; 4], also: bool| {
            let of = |millis| {
                let mut figures = vec![(sandbox::INIT, time(millis))];
                figures.extend(also.then_some(("extension: memory", Quantity::Size(2_000_000))));
                figures
            };
            times.map(of).to_vec()
        };
        let names = ["without".to_owned(), "with".to_owned()].to_vec();
        let measured = Measured { names, starts: vec![starts([4, 1, 3, 2], false), starts([30, 10, 20, 140], true)] };
        let expected = "\
| what                | without                      | with                            |
| ------------------- | ---------------------------- | ------------------------------- |
| init: exec to ready | 2.00 ms (1.00 ms to 3.00 ms) | 20.00 ms (10.00 ms to 30.00 ms) |
| extension: memory   |                              | 2.0 MB                          |
";
        assert_eq!(measured.table(), expected);
        assert!(measured.added(0, 1).starts_with("with over without: init +18.00 ms"), "{}", measured.added(0, 1));
    }
}
