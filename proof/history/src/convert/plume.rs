//! Plume's lines: `r(key,value,session,transaction)` and `w(…)`, whole numbers; a session's transactions and a transaction's
//! operations are in the order of their lines. Value 0 is what was there at the beginning; transaction -1 is one that was
//! aborted, of which only the writes count.

use std::fmt::Write;

use super::plan::{Event, Fate, News, Plan};

/// Plume's name for whatever was aborted.
const ABORTED: i128 = -1;

/// What an aborted attempt read it was promised as much as others, so that is left as a transaction that wrote nothing; but not
/// what it read of its own writes, which are not there.
pub(super) fn text(plan: &Plan) -> String {
    let mut text = String::new();
    for transaction in &plan.transactions {
        let (session, number) = (transaction.session, i128::from(transaction.number));
        let aborted = transaction.fate == Fate::Aborted;
        for event in &transaction.events {
            // Into a text nothing fails.
            let _ = match event {
                Event::Read { news: News::Own, .. } if aborted => Ok(()),
                Event::Read { key, value, .. } => {
                    writeln!(text, "r({key},{},{session},{number})", value.unwrap_or_default())
                }
                Event::Write { key, value } => {
                    writeln!(text, "w({key},{value},{session},{})", if aborted { ABORTED } else { number })
                }
            };
        }
    }
    text
}
