//! Explores scenarios: to the last state if every rule holds, to the shortest counterexample if one is taken away.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model, Property};

use crate::product::Unfit;
use crate::protocol::Protocol;
use crate::rules::{Rule, Rules};
use crate::scenario::Scenario;
use crate::situation::Situation;

/// What came of exploring a scenario to its end.
#[derive(Debug)]
pub struct Explored {
    /// Steps that were taken: states with repetition.
    pub steps: usize,
    /// Different states.
    pub states: usize,
    /// Of the longest way that is shortest to its state.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// What is promised.
    pub promises: Vec<&'static str>,
    /// How many steps of each situation were taken.
    pub met: Vec<(Situation, &'static str, usize)>,
    /// Promises that are broken, each with a way there in words.
    pub broken: BTreeMap<&'static str, Vec<String>>,
}

/// Explores a scenario by all rules to its last state.
///
/// # Errors
/// [`Unfit`].
pub fn to_the_end(scenario: &Scenario) -> Result<Explored, Unfit> {
    let began = Instant::now();
    let protocol = Protocol::new(scenario.clone(), Rules::ALL)?;
    let checker = protocol.checker().finish_when(HasDiscoveries::Any).spawn_bfs().join();
    let protocol = checker.model();
    let met = |(situation, words): &(Situation, &'static str)| (*situation, *words, protocol.met.times(*situation));
    let mut explored = Explored {
        steps: checker.state_count(),
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        took: began.elapsed(),
        promises: protocol.properties().into_iter().map(|promise| promise.name).collect(),
        met: Situation::EVERY.iter().map(met).collect(),
        broken: BTreeMap::new(),
    };
    for (promise, path) in checker.discoveries() {
        explored.broken.insert(promise, in_words(protocol, path.into_vec()));
    }
    Ok(explored)
}

/// A shortest way to break a promise.
#[derive(Debug)]
pub struct Counterexample {
    /// Which promises its last step breaks.
    pub promises: Vec<&'static str>,
    /// Step by step.
    pub steps: Vec<String>,
}

/// A shortest way to break a promise in a scenario without a rule; `None` if there is none.
///
/// # Errors
/// [`Unfit`].
pub fn without(rule: Rule, scenario: &Scenario) -> Result<Option<Counterexample>, Unfit> {
    let mut found = None;
    let mut depth = usize::MAX;
    // What is found first is not always the shortest: the explorer looks at states in blocks. So it is asked for a shorter one
    // until there is none.
    loop {
        let protocol = Protocol::new(scenario.clone(), Rules::without(rule))?;
        let builder = protocol.checker().finish_when(HasDiscoveries::Any).target_max_depth(depth);
        let checker = builder.spawn_bfs().join();
        let paths = checker.discoveries().into_values().map(stateright::Path::into_vec);
        let Some(path) = paths.min_by_key(Vec::len) else { return Ok(found) };
        depth = path.len();
        let protocol = checker.model();
        let is_broken =
            |promise: &Property<Protocol>| path.last().is_some_and(|(state, _)| !(promise.condition)(protocol, state));
        let promises = protocol.properties().into_iter().filter(is_broken).map(|promise| promise.name).collect();
        found = Some(Counterexample { promises, steps: in_words(protocol, path) });
    }
}

fn in_words(protocol: &Protocol, path: Vec<(crate::state::State, Option<crate::action::Action>)>) -> Vec<String> {
    let steps = path.windows(2).filter_map(|pair| {
        let [(before, Some(action)), (after, _)] = pair else { return None };
        Some(protocol.words(*action, before, after))
    });
    steps.collect()
}

/// Each rule, a scenario that shows what it is for, and a promise that breaks there without it (by its beginning).
pub const REMOVED: &[(Rule, &str, &str)] = &[
    (Rule::RecordFirst, "commit", "R-COMMIT-1"),
    (Rule::OneRecord, "commit", "R-COMMIT-2"),
    (Rule::LoserDiscards, "commit", "R-COMMIT-1"),
    (Rule::LoserAnswersFromRecord, "commit", "R-COMMIT-2"),
    (Rule::LoserApplies, "commit", "R-COMMIT-6"),
    (Rule::ClockPassesReads, "read-write", "R-COMMIT-3"),
    (Rule::ClockPassesWritten, "commit", "R-COMMIT-3"),
    (Rule::ClockPassesOwn, "one-sandbox", "R-COMMIT-3"),
    (Rule::UnknownIsNotFailed, "commit", "R-COMMIT-4"),
    (Rule::Nonce, "commit", "R-COMMIT-2"),
    (Rule::ForwardOnly, "commit", "R-COMMIT-5"),
    (Rule::VisibleFirst, "commit", "R-COMMIT-6"),
    (Rule::NoTrace, "read-write", "R-COMMIT-8"),
    (Rule::LowerBound, "read", "R-READ-1"),
    (Rule::CowrittenCheck, "read", "R-READ-1"),
    (Rule::AbsentCounts, "read", "R-READ-1"),
    (Rule::Repeatable, "read-again", "R-READ-2"),
    (Rule::OwnWrites, "read-write", "R-READ-2"),
    (Rule::ConflictIsNotAbsence, "expiry", "R-READ-3"),
    (Rule::RecordOutlivesReaders, "expiry", "R-READ-1"),
    (Rule::FaultManager, "commit", "R-FM-1"),
    (Rule::Turns, "one-sandbox", "R-FM-2"),
    (Rule::NewName, "one-sandbox", "R-FM-2"),
    (Rule::ReadersRollForward, "read-again", "R-FM-3"),
    (Rule::Journal, "restart", "R-FM-4"),
    (Rule::Guards, "serializable", "R-SER-1"),
    (Rule::PassesHeads, "serializable-audit", "R-SER-1"),
    (Rule::Validated, "serializable-audit", "R-SER-1"),
    (Rule::ConflictIsCertain, "serializable", "R-SER-4"),
];
