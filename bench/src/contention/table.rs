//! The cells as a table in Markdown.

use std::time::Duration;

use super::Cell;

const HEAD: [&str; 12] = [
    "skew",
    "who",
    "committed/s",
    "aborted attempts each",
    "p50",
    "p99",
    "max",
    "most attempts",
    "given up",
    "write, read units each",
    "hottest item, write units/s",
    "lost",
];

/// The cells as a table in Markdown, in their order. What is *each* is for a committed transaction.
#[must_use]
pub fn of(cells: &[Cell]) -> String {
    let mut text = line(&HEAD.map(str::to_owned));
    text.push_str(&line(&HEAD.map(|_| "---".to_owned())));
    for cell in cells {
        text.push_str(&line(&row(cell)));
    }
    text
}

fn row(cell: &Cell) -> [String; 12] {
    let tally = &cell.tally;
    let committed = tally.committed().max(1) as f64;
    let each = |what: f64| what / committed;
    let (units, hottest) = match cell.usage {
        None => (String::new(), String::new()),
        Some(usage) => (
            format!("{:.1}, {:.1}", each(usage.writes), each(usage.reads)),
            format!("{:.0}", usage.hottest / cell.took.as_secs_f64()),
        ),
    };
    let lost = match (cell.contestant.keeps_updates(), cell.losses.is_none()) {
        (_, true) => "nothing".to_owned(),
        (is_broken, false) => {
            let share = 50.0 * cell.losses.updates as f64 / tally.transfers.len().max(1) as f64;
            let broken = if is_broken { "BROKEN: " } else { "" };
            format!("{broken}{} updates ({share:.1} %), money off by {}", cell.losses.updates, cell.losses.money)
        }
    };
    let percentile = |percent| {
        let millis = |duration: Duration| format!("{:.0}", duration.as_secs_f64() * 1e3);
        let transfers = millis(tally.transfers.percentile(percent));
        if tally.audits.is_empty() {
            return format!("{transfers} ms");
        }
        format!("{transfers}, {} ms", millis(tally.audits.percentile(percent)))
    };
    [
        format!("{:.1}", cell.workload.skew),
        cell.contestant.name().to_owned(),
        format!("{:.0}", cell.workload.transactions as f64 / cell.took.as_secs_f64()),
        format!("{:.2}", each(tally.aborted as f64)),
        percentile(50),
        percentile(99),
        percentile(100),
        tally.most_attempts.to_string(),
        tally.given_up.to_string(),
        units,
        hottest,
        lost,
    ]
}

fn line(cells: &[String; 12]) -> String {
    format!("| {} |\n", cells.join(" | "))
}
