//! The table. A target that was missed is shown, and nothing more.

use std::fmt;
use std::time::Duration;

use crate::samples::Samples;

/// What is measured, and what is promised of it: at most this.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub enum Quantity {
    /// A duration.
    Time(Duration),
    /// Bytes.
    Size(u64),
    /// How many.
    Count(u64),
}

impl Quantity {
    fn exceeds(self, target: Self) -> bool {
        match (self, target) {
            (Self::Time(time), Self::Time(target)) => time > target,
            (Self::Size(size), Self::Size(target)) => size > target,
            (Self::Count(count), Self::Count(target)) => count > target,
            (Self::Time(_) | Self::Size(_) | Self::Count(_), _) => true,
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match *self {
            Self::Time(time) if time < Duration::from_millis(1) => format!("{:.1} µs", time.as_secs_f64() * 1e6),
            Self::Time(time) => format!("{:.2} ms", time.as_secs_f64() * 1e3),
            Self::Size(bytes) => format!("{:.1} MB", bytes as f64 / 1e6),
            Self::Count(count) => count.to_string(),
        };
        f.pad(&text)
    }
}

/// One line.
#[derive(Debug, Clone)]
pub struct Row {
    what: String,
    figure: Quantity,
    p99: Option<Quantity>,
    beside: String,
    added: Option<Quantity>,
    target: Option<Quantity>,
}

impl Row {
    /// One figure.
    pub fn new(what: impl Into<String>, figure: Quantity) -> Self {
        Self { what: what.into(), figure, p99: None, beside: String::new(), added: None, target: None }
    }

    /// Median and 99th percentile.
    pub fn of(what: impl Into<String>, samples: &Samples) -> Self {
        let p99 = Some(Quantity::Time(samples.percentile(99)));
        Self { p99, ..Self::new(what, Quantity::Time(samples.median())) }
    }

    /// With what it is to be seen beside.
    #[must_use]
    pub fn beside(mut self, text: impl Into<String>) -> Self {
        self.beside = text.into();
        self
    }

    /// With more of that.
    #[must_use]
    pub fn and_beside(self, text: impl fmt::Display) -> Self {
        let beside = format!("{}; {text}", self.beside);
        self.beside(beside)
    }

    /// With how much of the figure is the layer's. A target is then for that.
    #[must_use]
    pub fn added(self, added: Quantity) -> Self {
        Self { added: Some(added), ..self.beside(format!("adds {added}")) }
    }

    /// With what is promised.
    #[must_use]
    pub fn target(mut self, target: Quantity) -> Self {
        self.target = Some(target);
        self
    }

    fn cells(&self) -> [String; 6] {
        let or_nothing = |quantity: Option<Quantity>| quantity.map(|quantity| quantity.to_string()).unwrap_or_default();
        let verdict = match self.target {
            None => "",
            Some(target) if self.added.unwrap_or(self.figure).exceeds(target) => "missed",
            Some(_) => "met",
        };
        let judged = if self.added.is_some() { "adds " } else { "" };
        let target = self.target.map(|target| format!("{judged}≤ {target}")).unwrap_or_default();
        let (figure, p99) = (self.figure.to_string(), or_nothing(self.p99));
        [self.what.clone(), figure, p99, self.beside.clone(), target, verdict.to_owned()]
    }
}

const HEAD: [&str; 6] = ["what", "p50", "p99", "beside it", "target", ""];

/// The rows as a table in Markdown, aligned for the eye.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    aligned(&HEAD.map(str::to_owned), rows.iter().map(Row::cells))
}

/// Lines beneath a head as a table in Markdown, aligned for the eye.
pub fn aligned<Line: AsRef<[String]>>(head: &[String], lines: impl IntoIterator<Item = Line>) -> String {
    let lines: Vec<_> = lines.into_iter().collect();
    let all = || std::iter::once(head).chain(lines.iter().map(AsRef::as_ref));
    let width = |column: usize| all().map(|cells| cells[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        format!("| {} |\n", padded.collect::<Vec<_>>().join(" | "))
    };
    let rule: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
    let mut text = String::new();
    for (number, cells) in all().enumerate() {
        text.push_str(&line(cells));
        if number == 0 {
            text.push_str(&line(&rule));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Quantity, Row, table};

    #[test]
    fn a_missed_target_is_shown() {
        let time = |micros| Quantity::Time(Duration::from_micros(micros));
        let rows = [
            Row::new("invocation", time(900)).added(time(400)).target(time(500)),
            Row::new("PUT", time(50)).target(time(100)).beside("20.0 µs: 2.5×"),
            Row::new("start", time(12_345)).target(time(10_000)),
            Row::new("memory", Quantity::Size(12_390_000)),
        ];
        let expected = "\
| what       | p50      | p99 | beside it     | target          |        |
| ---------- | -------- | --- | ------------- | --------------- | ------ |
| invocation | 900.0 µs |     | adds 400.0 µs | adds ≤ 500.0 µs | met    |
| PUT        | 50.0 µs  |     | 20.0 µs: 2.5× | ≤ 100.0 µs      | met    |
| start      | 12.35 ms |     |               | ≤ 10.00 ms      | missed |
| memory     | 12.4 MB  |     |               |                 |        |
";
        assert_eq!(table(&rows), expected);
    }
}
