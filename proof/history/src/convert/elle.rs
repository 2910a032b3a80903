//! Elle's EDN for list-append: every key as a list to which each write appends its value. A line is an operation, two for each
//! transaction: what it was about to do, and what came of it.
//!
//! Our keys are no lists. But a version says what was written before it, so a read of it is a read of all of the key's values up
//! to it. What a transaction rightly reads of its own writes is left out: the list would say that it had seen what was before
//! its write, and it had not.

use std::fmt::Write;

use super::plan::{Event, Fate, News, Plan, Transaction};

struct Operation<'p> {
    moment: u64,
    /// Beginnings first: equal moments are at the same time.
    is_end: bool,
    transaction: &'p Transaction,
}

pub(super) fn edn(plan: &Plan) -> String {
    let ends = plan.transactions.iter().map(|transaction| transaction.ended.unwrap_or(transaction.began));
    let last = ends.max().unwrap_or_default().saturating_add(1);
    let mut operations = Vec::with_capacity(2 * plan.transactions.len());
    for transaction in &plan.transactions {
        let ended = transaction.ended.unwrap_or(last);
        operations.push(Operation { moment: transaction.began, is_end: false, transaction });
        operations.push(Operation { moment: ended, is_end: true, transaction });
    }
    operations.sort_by_key(|operation| (operation.moment, operation.is_end));
    let mut text = String::new();
    for (index, operation) in operations.iter().enumerate() {
        let Operation { moment, is_end, transaction } = operation;
        let kind = match (is_end, transaction.fate) {
            (false, _) => "invoke",
            (true, Fate::Committed) => "ok",
            (true, Fate::Aborted) => "fail",
        };
        let value = value(plan, transaction, kind == "ok");
        // Into a text nothing fails.
        let _ = writeln!(
            text,
            "{{:type :{kind}, :f :txn, :value [{value}], :process {}, :time {moment}, :index {index}}}",
            transaction.session
        );
    }
    text
}

/// What came of reads is said of those only that ended well.
fn value(plan: &Plan, transaction: &Transaction, is_filled_in: bool) -> String {
    let part = |event: &Event| match event {
        Event::Read { news: News::Own, .. } => None,
        Event::Read { key, value, .. } => {
            let list = value.filter(|_| is_filled_in).map_or_else(|| "nil".to_owned(), |value| list(plan, *key, value));
            Some(format!("[:r {key} {list}]"))
        }
        Event::Write { key, value } => Some(format!("[:append {key} {value}]")),
    };
    transaction.events.iter().filter_map(part).collect::<Vec<_>>().join(" ")
}

fn list(plan: &Plan, key: u64, value: u64) -> String {
    let order = usize::try_from(key).ok().and_then(|key| plan.order.get(key)).map_or(&[][..], Vec::as_slice);
    let before = &order[..plan.before.get(&value).copied().unwrap_or_default().min(order.len())];
    let nobodys = [value];
    let own = plan.together.get(&value).map_or(&nobodys[..], Vec::as_slice);
    let values: Vec<String> = before.iter().chain(own).map(u64::to_string).collect();
    format!("[{}]", values.join(" "))
}
