//! Every scenario that does not take minutes, to its last state; and every rule, taken away.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;

use aft_model::explore::{self, REMOVED};
use aft_model::rules::Rule;
use aft_model::scenario::Scenario;

/// Scenario and number of states, from the table in `docs/model.md`.
fn recorded() -> BTreeMap<String, usize> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/model.md")).unwrap();
    let rows = text.lines().skip_while(|line| !line.starts_with("| scenario | promises | steps | states |")).skip(2);
    let cells = rows.take_while(|line| line.starts_with('|')).map(|line| line.split('|').map(str::trim).collect());
    cells.map(|row: Vec<_>| (row[1].trim_matches('`').to_owned(), row[4].replace(',', "").parse().unwrap())).collect()
}

/// By all rules nothing breaks in any state that can be reached, every situation is met, and there are as many states as the
/// documentation says: a model that has lost some of them would be noticed.
#[test]
fn by_all_rules_every_promise_holds_in_every_state() {
    let recorded = recorded();
    for scenario in Scenario::EVERY {
        assert!(recorded.contains_key(scenario.name), "{} is not in docs/model.md", scenario.name);
        if scenario.is_long {
            continue;
        }
        let explored = explore::to_the_end(scenario).unwrap();
        assert!(explored.broken.is_empty(), "{}: {:#?}", scenario.name, explored.broken);
        for (situation, words, times) in explored.met {
            assert!(times > 0 || !scenario.situations.contains(&situation), "{}: never {words}", scenario.name);
        }
        assert_eq!(explored.states, recorded[scenario.name], "{}", scenario.name);
    }
    assert_eq!(recorded.len(), Scenario::EVERY.len());
}

/// Without this rule a promise breaks, and the explorer says how.
fn breaks(rule: Rule) -> String {
    let (_, name, promise) = REMOVED.iter().find(|(removed, ..)| *removed == rule).unwrap();
    let found = explore::without(rule, &Scenario::named(name).unwrap()).unwrap();
    let found = found.unwrap_or_else(|| panic!("{name} is the same without {rule:?}"));
    assert!(found.promises.iter().any(|broken| broken.starts_with(promise)), "{name} without {rule:?}: {found:#?}");
    format!("without {rule:?}, {:?}: {:#?}", found.promises, found.steps)
}

macro_rules! taken_away {
    ($($name:ident: $rule:ident,)+) => {
        mod without {
            use super::{Rule, breaks};

            $(#[test]
            fn $name() {
                println!("{}", breaks(Rule::$rule));
            })+

            /// No rule is left out.
            #[test]
            fn every_rule_is_one_of_these() {
                assert_eq!(Rule::EVERY, [$(Rule::$rule),+]);
            }
        }
    };
}

taken_away! {
    record_first: RecordFirst,
    one_record: OneRecord,
    loser_discards: LoserDiscards,
    loser_answers_from_record: LoserAnswersFromRecord,
    loser_applies: LoserApplies,
    clock_passes_reads: ClockPassesReads,
    clock_passes_written: ClockPassesWritten,
    clock_passes_own: ClockPassesOwn,
    unknown_is_not_failed: UnknownIsNotFailed,
    nonce: Nonce,
    forward_only: ForwardOnly,
    visible_first: VisibleFirst,
    no_trace: NoTrace,
    lower_bound: LowerBound,
    cowritten_check: CowrittenCheck,
    absent_counts: AbsentCounts,
    repeatable: Repeatable,
    own_writes: OwnWrites,
    conflict_is_not_absence: ConflictIsNotAbsence,
    record_outlives_readers: RecordOutlivesReaders,
    fault_manager: FaultManager,
    turns: Turns,
    new_name: NewName,
    readers_roll_forward: ReadersRollForward,
    journal: Journal,
    guards: Guards,
    passes_heads: PassesHeads,
    validated: Validated,
    conflict_is_certain: ConflictIsCertain,
}
