//! How far a recovery is: a bar on a terminal, a line now and then elsewhere, and a line for each record that is not as it
//! should be. Lines about records go to standard output, the bar and its like to standard error.

use std::fmt::Display;
use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use super::Summary;
use crate::console;

/// How often a line says how far it is.
const PERIOD: Duration = Duration::from_secs(10);

const WITH_TOTAL: &str = "{elapsed_precise} {wide_bar} {pos} of about {len} items, {eta} left  {msg}";
const WITHOUT_TOTAL: &str = "{elapsed_precise} {spinner} {pos} items  {msg}";

/// Counts and shows.
pub(crate) struct Progress {
    /// On a terminal only.
    bar: Option<ProgressBar>,
    state: Mutex<State>,
}

struct State {
    summary: Summary,
    last_line: Instant,
}

impl Progress {
    /// With about so many items to come, if that is known.
    pub(crate) fn new(items: Option<u64>) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| bar(items));
        Self { bar, state: Mutex::new(State { summary: Summary::default(), last_line: Instant::now() }) }
    }

    /// So many items of the table were read.
    pub(crate) fn scanned(&self, items: u64, read_units: Option<f64>) {
        let mut state = self.state();
        state.summary.items += items;
        state.summary.read_units += read_units.unwrap_or_default();
        match &self.bar {
            Some(bar) => {
                bar.set_position(state.summary.items);
                bar.set_message(state.summary.to_string());
            }
            None if state.last_line.elapsed() >= PERIOD => {
                state.last_line = Instant::now();
                console::print_error(&state.summary.to_string());
            }
            None => {}
        }
    }

    pub(crate) fn applied(&self) {
        self.state().summary.applied += 1;
    }

    pub(crate) fn past_recovery(&self, records: usize) {
        self.state().summary.past_recovery += records as u64;
    }

    pub(crate) fn behind(&self, record: &str) {
        self.state().summary.behind += 1;
        self.say(&format!("would roll forward {record}"));
    }

    pub(crate) fn rolled_forward(&self, record: &str) {
        self.state().summary.rolled_forward += 1;
        self.say(&format!("rolled forward {record}"));
    }

    pub(crate) fn failed(&self, what: &str, why: &dyn Display) {
        self.state().summary.failed += 1;
        self.say(&format!("could not apply {what}: {why}"));
    }

    /// The end.
    pub(crate) fn finish(self) -> Summary {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.state().summary
    }

    fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| console::print(line)),
            None => console::print(line),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bar(items: Option<u64>) -> ProgressBar {
    let (bar, template) = match items {
        Some(items) if items > 0 => (ProgressBar::new(items), WITH_TOTAL),
        Some(_) | None => (ProgressBar::new_spinner(), WITHOUT_TOTAL),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::{WITH_TOTAL, WITHOUT_TOTAL};

    #[test]
    fn the_bars_templates_are_templates() {
        for template in [WITH_TOTAL, WITHOUT_TOTAL] {
            indicatif::ProgressStyle::with_template(template).unwrap();
        }
    }
}
