//! The crate `adya`: an independent implementation of Elle's method. It builds the graph of dependencies between
//! transactions and looks for the cycles that a level forbids.
//!
//! It is told the order of each key's versions (their text's) and believes it. So it also rejects a history that would be
//! serializable if the versions were ordered otherwise: the store is wrong about the order, then.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use adya::history::{Interner, Mop, Op, OpType, ReadValue, Scalar};
use adya::{History, Opts, Valid, Workload};

use super::{Level, Verdict};
use aft_history::convert::{Lanes, Question, Target, convert};
use aft_history::format::{Attempt, Operation, Outcome, happened, operations};

/// What it says when no transaction depends on another: there is nothing to find.
const NO_DEPENDENCY: &str = "empty-transaction-graph";

/// Checks one history.
#[must_use]
pub fn check(history: &[Attempt], level: Level) -> Verdict {
    let operations = happened(&operations(history));
    if let Some(verdict) = unwritten(&operations, history) {
        return verdict;
    }
    let versions: BTreeSet<&str> = operations.iter().filter_map(|operation| operation.version).collect();
    let position: HashMap<&str, i64> = versions.into_iter().zip(0..).collect();
    let order = operations.iter().enumerate().filter_map(|(index, operation)| {
        Some((u64::try_from(index).expect("an index"), *position.get(operation.version?)?))
    });
    let options =
        Opts { models: vec![model(level).to_owned()], transaction_order: Some(order.collect()), ..Opts::default() };
    let report = adya::check(&events(&operations, history), Workload::RwRegister, &options);
    let types = report.anomaly_types.join(", ");
    match report.valid {
        Valid::True => Verdict::Accepted,
        Valid::Unknown if types == NO_DEPENDENCY => Verdict::Accepted,
        Valid::Unknown => Verdict::Undecided { reason: types },
        Valid::False => {
            let anomalies = || report.anomalies.values().flatten();
            let names = anomalies().flat_map(|anomaly| &anomaly.ops).filter_map(|index| {
                let index = usize::try_from(*index).ok()?;
                let aborted = || history.get(index.checked_sub(operations.len())?).map(Attempt::name);
                operations.get(index).map(|operation| operation.name.clone()).or_else(aborted)
            });
            let explanation = anomalies().next().map(|anomaly| anomaly.explanation.as_str()).unwrap_or_default();
            Verdict::rejected(format!("{types}: {explanation}"), names)
        }
    }
}

/// What it says of the same history as lists, in Elle's own format: its reader is not ours, and it is told no order but what lists
/// show. Whom it blames is not said: lists have their own numbers.
///
/// # Panics
/// If it cannot read them.
#[must_use]
pub fn check_lists(history: &[Attempt], level: Level) -> Verdict {
    let text = convert(history, Target::Elle, Lanes::Attempts, Question::Serializable);
    let lists = History::from_edn(&text).unwrap_or_else(|error| panic!("{error}:\n{text}"));
    let options = Opts { models: vec![model(level).to_owned()], ..Opts::default() };
    let report = adya::check(&lists, Workload::ListAppend, &options);
    let types = report.anomaly_types.join(", ");
    match report.valid {
        Valid::True => Verdict::Accepted,
        Valid::Unknown if types == NO_DEPENDENCY => Verdict::Accepted,
        Valid::Unknown => Verdict::Undecided { reason: types },
        Valid::False => Verdict::rejected(types, []),
    }
}

const fn model(level: Level) -> &'static str {
    match level {
        Level::Serializable => "serializable",
        Level::StrictlySerializable => "strict-serializable",
    }
}

/// It does not look for reads of what nobody wrote.
fn unwritten(operations: &[Operation<'_>], history: &[Attempt]) -> Option<Verdict> {
    let written = |key: &String, version: &str| {
        history.iter().any(|other| other.version.as_deref() == Some(version) && other.writes.contains(key))
    };
    operations.iter().find_map(|operation| {
        let read = operation.reads.iter().find(|read| {
            read.version
                .as_deref()
                .is_some_and(|version| !written(&read.key, version) || operation.version == Some(version))
        })?;
        let reason = format!("read key {:?} at version {:?}, which no other transaction wrote", read.key, read.version);
        Some(Verdict::rejected(reason, [operation.name.clone()]))
    })
}

/// In the order of time: what begins before what ends at the same moment. Each operation is a process of its own, because
/// transactions of one sandbox may overlap. The aborted ones come with numbers after all others.
fn events(operations: &[Operation<'_>], history: &[Attempt]) -> History {
    let mut interner = Interner::default();
    let mut events: BTreeMap<(u64, bool, u64), Op> = BTreeMap::new();
    let mut event = |moment: u64, number: usize, kind: OpType, value: Vec<Mop>| {
        let index = u64::try_from(number).expect("an index");
        let process = Some(i64::try_from(number).expect("an index"));
        events.insert((moment, kind != OpType::Invoke, index), Op { index, kind, process, value, time: None });
    };
    for (number, operation) in operations.iter().enumerate() {
        let value = micro_operations(&mut interner, operation);
        event(operation.began, number, OpType::Invoke, value.clone());
        event(operation.ended.unwrap_or(u64::MAX), number, OpType::Ok, value);
    }
    for (number, attempt) in history.iter().enumerate().filter(|(_, attempt)| attempt.outcome == Outcome::Aborted) {
        let version = attempt.version.as_deref();
        let (name, began, reads) = (attempt.name(), attempt.began, &[][..]);
        let writes = version.map_or(&[][..], |_| &attempt.writes);
        let aborted = Operation { name, began, ended: None, certain: true, reads, writes, version };
        let value = micro_operations(&mut interner, &aborted);
        event(began, operations.len() + number, OpType::Invoke, value.clone());
        event(attempt.ended, operations.len() + number, OpType::Fail, value);
    }
    History::from_ops(events.into_values().collect(), interner)
}

fn micro_operations(interner: &mut Interner, operation: &Operation<'_>) -> Vec<Mop> {
    let mut text = |text: &str| interner.intern(Scalar::Str(text.to_owned()));
    let mut all: Vec<Mop> = operation
        .reads
        .iter()
        .map(|read| Mop::Read {
            key: text(&read.key),
            value: read.version.as_ref().map_or(ReadValue::Nil, |version| ReadValue::Scalar(text(version))),
        })
        .collect();
    let version = operation.version.unwrap_or_default();
    all.extend(operation.writes.iter().map(|key| Mop::Write { key: text(key), value: text(version) }));
    all
}
