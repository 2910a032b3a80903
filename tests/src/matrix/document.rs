//! The section of `docs/failure-modes.md` that the observations make: one table for each instant.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Cause, Instant, Observation};

const BEGIN: &str =
    "<!-- The failure matrix begins: written by UPDATE_DOCS=1 cargo test -p aft-tests --test failure_matrix -->";
const END: &str = "<!-- The failure matrix ends. -->";

/// The section's text.
///
/// # Panics
/// If an observation is missing.
#[must_use]
pub fn render(observed: &BTreeMap<(Instant, Cause), Observation>) -> String {
    let mut text = String::new();
    for (number, instant) in Instant::ALL.into_iter().enumerate() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n### {}. {}\n", number + 1, instant.title());
        text.push_str(
            "| cause | Lambda's caller | the handler | the store | a second reader | the same request again |\n",
        );
        text.push_str("|---|---|---|---|---|---|\n");
        let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for cause in Cause::ALL {
            match cause.impossible(instant) {
                Some(reason) => reasons.entry(reason).or_default().push(cause.title()),
                None => {
                    let cells = observed[&(instant, cause)].cells().join(" | ");
                    let _ = writeln!(text, "| {} | {cells} |", cause.title());
                }
            }
        }
        if !reasons.is_empty() {
            text.push_str("\nWhat cannot happen here, and why:\n\n");
        }
        for (reason, causes) in reasons {
            let _ = writeln!(text, "* *{reason}*: {}", causes.join("; "));
        }
    }
    text
}

/// The document with another section.
///
/// # Panics
/// If the document has no place for it.
#[must_use]
pub fn replace(document: &str, section: &str) -> String {
    let (before, rest) = document.split_once(BEGIN).expect("the document says where the matrix begins");
    let (_, after) = rest.split_once(END).expect("the document says where the matrix ends");
    format!("{before}{BEGIN}\n{section}\n{END}{after}")
}
