//! The only place that prints: the lines of `aft`, those of sandboxes coloured on a terminal only.

use std::io::{IsTerminal, Write};

use crate::arguments::Shown;
use crate::log::{LogLine, LogSink, Source};

/// Prints a line. A reader that went away (`aft local | head`) ends nothing.
pub fn print(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Prints a line to standard error.
pub fn print_error(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// A sink that prints the lines that are to be shown.
#[must_use]
pub fn sink(shown: Shown) -> LogSink {
    let coloured = std::io::stdout().is_terminal();
    LogSink::new(move |line| {
        if is_shown(shown, &line.source) {
            print(&if coloured { colour(line) } else { line.to_string() });
        }
    })
}

const fn is_shown(shown: Shown, source: &Source) -> bool {
    match source {
        Source::Platform => true,
        Source::Function => matches!(shown, Shown::Function | Shown::All),
        Source::Extension(_) => matches!(shown, Shown::Aft | Shown::All),
    }
}

fn colour(line: &LogLine) -> String {
    let colour = match line.source {
        Source::Platform => 90,
        Source::Function => 36,
        Source::Extension(_) => 35,
    };
    format!("\x1b[{colour}m{} {} |\x1b[0m {}", line.sandbox, line.source, line.text)
}
