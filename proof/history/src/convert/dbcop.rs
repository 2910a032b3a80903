//! dbcop's JSON: a header, and sessions of transactions of events. A read of `null` is of what was there at the beginning; what is
//! not `committed` did not take place. The header's figures are the largest of their kind, and its times say nothing: a
//! history's moments are no times of day.
//!
//! A read that says nothing new is left out, as dbcop takes it amiss: of what the transaction read before (its writer would have to
//! come before itself), or wrote itself (if it wrote the key again, or was aborted, nobody may read that). What is not as it
//! should be is left in.

use serde::Serialize;

use super::plan::{Event, Fate, News, Plan};

#[derive(Serialize)]
struct History {
    params: Params,
    info: &'static str,
    start: &'static str,
    end: &'static str,
    data: Vec<Vec<Transaction>>,
}

#[derive(Serialize)]
struct Params {
    id: u64,
    n_node: usize,
    n_variable: usize,
    n_transaction: usize,
    n_event: usize,
}

#[derive(Serialize)]
struct Transaction {
    events: Vec<Operation>,
    committed: bool,
}

#[derive(Serialize)]
enum Operation {
    Read { variable: u64, version: Option<u64> },
    Write { variable: u64, version: u64 },
}

const INFO: &str = "converted by aft history convert";
const NO_TIME: &str = "1970-01-01T00:00:00+00:00";

pub(super) fn json(plan: &Plan) -> String {
    let mut data: Vec<Vec<Transaction>> = Vec::new();
    data.resize_with(plan.sessions, Vec::new);
    for transaction in &plan.transactions {
        let operation = |event: &Event| match event {
            Event::Read { key, value, news: News::Others } => Some(Operation::Read { variable: *key, version: *value }),
            Event::Read { .. } => None,
            Event::Write { key, value } => Some(Operation::Write { variable: *key, version: *value }),
        };
        data[transaction.session].push(Transaction {
            events: transaction.events.iter().filter_map(operation).collect(),
            committed: transaction.fate == Fate::Committed,
        });
    }
    let params = Params {
        id: 0,
        n_node: plan.sessions,
        n_variable: plan.keys,
        n_transaction: data.iter().map(Vec::len).max().unwrap_or_default(),
        n_event: data.iter().flatten().map(|transaction| transaction.events.len()).max().unwrap_or_default(),
    };
    let history = History { params, info: INFO, start: NO_TIME, end: NO_TIME, data };
    // Of numbers and fixed texts: it has no way to fail.
    serde_json::to_string(&history).map(|text| text + "\n").unwrap_or_default()
}
