//! The promises: what must hold in every state, each named by its rule.

use stateright::{Model, Property};

use crate::action::Action;
use crate::protocol::Protocol;
use crate::scenario::each;
use crate::state::{KEYS, Phase, State, TRANSACTIONS, Ver};

/// Promises about a step, which it broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// R-READ-1.
    Fractured = 1,
    /// R-READ-2.
    Unrepeatable = 2,
    /// R-READ-3.
    FalseAbsence = 4,
    /// R-COMMIT-2.
    SecondRecord = 8,
    /// R-COMMIT-3.
    Order = 16,
    /// R-COMMIT-2.
    SecondAnswer = 32,
    /// R-COMMIT-6.
    Invisible = 64,
}

impl Broken {
    pub(crate) fn mark(self, state: &mut State) {
        state.broken |= self as u8;
    }

    fn is_marked(self, state: &State) -> bool {
        state.broken & self as u8 != 0
    }
}

/// What is promised in a scenario.
pub(crate) fn of(protocol: &Protocol) -> Vec<Property<Protocol>> {
    let scenario = &protocol.scenario;
    let mut properties = vec![
        Property::always("R-READ-1: no fractured read", |_, state| !Broken::Fractured.is_marked(state)),
        Property::always("R-READ-2: reads are repeatable, see own writes, and only what is committed", |_, state| {
            !Broken::Unrepeatable.is_marked(state)
        }),
        Property::always("R-READ-3: no conflict passes for an absent key", |_, state| {
            !Broken::FalseAbsence.is_marked(state)
        }),
        Property::always("R-COMMIT-1: nothing is in a head without its record", has_records),
        Property::always("R-COMMIT-2: one record and one answer", |_, state| {
            !Broken::SecondRecord.is_marked(state) && !Broken::SecondAnswer.is_marked(state)
        }),
        Property::always("R-COMMIT-3: a version is behind what was read and visible", |_, state| {
            !Broken::Order.is_marked(state)
        }),
        Property::always("R-COMMIT-4: what failed was not written", |protocol, state| {
            wrote_nothing(protocol, state, Phase::Failed)
        }),
        Property::always("R-COMMIT-5: heads move forward", move_forward),
        Property::always("R-COMMIT-6: what was answered is visible", |_, state| !Broken::Invisible.is_marked(state)),
    ];
    properties.push(if scenario.serializable {
        Property::always("R-SER-4: a conflict left no trace", |protocol, state| {
            wrote_nothing(protocol, state, Phase::Conflicted)
        })
    } else {
        Property::always("R-COMMIT-8: a conflict left no trace", |protocol, state| {
            wrote_nothing(protocol, state, Phase::Conflicted)
        })
    });
    if scenario.serializable {
        properties.push(Property::always("R-SER-1…3: strictly serializable", is_serializable));
    }
    if scenario.fault_manager {
        properties.push(Property::always("R-FM-1: at rest, all that is committed is applied", |protocol, state| {
            at_rest_applied(protocol, state, |_, _| true)
        }));
    } else {
        properties.push(Property::always("R-FM-3: at rest, what a reader saw ahead is applied", |protocol, state| {
            at_rest_applied(protocol, state, |state, transaction| state.seen_ahead & 1 << transaction != 0)
        }));
        properties.push(Property::always("R-FM-4: at rest, what a journal named is applied", |protocol, state| {
            at_rest_applied(protocol, state, |state, transaction| state.journaled & 1 << transaction != 0)
        }));
    }
    if scenario.one_sandbox {
        properties.push(Property::always("R-FM-2: what a mark covers is applied", |protocol, state| {
            committed(state)
                .all(|transaction| !protocol.is_settled(state, transaction) || protocol.is_applied(state, transaction))
        }));
    }
    properties
}

fn committed(state: &State) -> impl Iterator<Item = usize> {
    (0..TRANSACTIONS).filter(|transaction| state.records[*transaction].committed())
}

/// R-COMMIT-1 (and R-COMMIT-8: what never committed is nowhere).
fn has_records(protocol: &Protocol, state: &State) -> bool {
    let versions = state.heads.iter().flat_map(|head| head.versions);
    versions.filter_map(Ver::attempt).all(|attempt| protocol.is_own(state, attempt))
}

/// R-COMMIT-4, R-COMMIT-8, R-SER-4: who was told that nothing was written has no record.
fn wrote_nothing(protocol: &Protocol, state: &State, phase: Phase) -> bool {
    let attempts = 0..protocol.scenario.attempts.len();
    attempts.into_iter().all(|attempt| state.attempts[attempt].phase != phase || !protocol.is_own(state, attempt))
}

/// R-COMMIT-5: each version in a head is greater than the one that it took the place of.
fn move_forward(_: &Protocol, state: &State) -> bool {
    state.heads.iter().all(|head| {
        head.versions.windows(2).all(|pair| pair[1] == Ver::ZERO || state.rank_of(pair[0]) > state.rank_of(pair[1]))
    })
}

/// R-FM-1, R-FM-3, R-FM-4: when nothing can happen any more, these transactions are applied.
fn at_rest_applied(protocol: &Protocol, state: &State, which: fn(&State, usize) -> bool) -> bool {
    let mut open =
        committed(state).filter(|transaction| which(state, *transaction) && !protocol.is_applied(state, *transaction));
    if open.next().is_none() || state.broken != 0 {
        return true;
    }
    let mut actions = Vec::new();
    protocol.actions(state, &mut actions);
    let can_happen = |action: &Action| match action {
        Action::Apply(_, transaction, key) => {
            let version = state.records[*transaction].version();
            state.rank_of(state.heads[*key].current()) < state.rank_of(version)
        }
        _ => true,
    };
    actions.iter().any(can_happen)
}

/// R-SER-1…3: there is an order of all that committed, or only read and were answered, in which each reads what those before it
/// have written, and who began after another was answered comes after it.
fn is_serializable(protocol: &Protocol, state: &State) -> bool {
    let is_done = |attempt: &usize| {
        let reads_only = protocol.scenario.program(*attempt).writes == 0;
        protocol.is_own(state, *attempt) || (reads_only && matches!(state.attempts[*attempt].phase, Phase::Answered(_)))
    };
    let done: Vec<_> = (0..protocol.scenario.attempts.len()).filter(is_done).collect();
    let before = protocol.init_states().swap_remove(0).heads.map(|head| head.current());
    can_run(protocol, state, &done, 0, before)
}

/// Whether those that have not run can, one after the other, from these versions on.
fn can_run(protocol: &Protocol, state: &State, done: &[usize], ran: u8, versions: [Ver; KEYS]) -> bool {
    let left: Vec<_> = done.iter().filter(|attempt| ran & 1 << **attempt == 0).collect();
    left.is_empty()
        || left.iter().any(|next| {
            let attempt = &state.attempts[**next];
            let must_be_later =
                left.iter().any(|other| other != next && attempt.over & 1 << protocol.scenario.attempts[**other] != 0);
            let reads = attempt.reads.iter().zip(versions);
            let reads_so = reads.into_iter().all(|(read, version)| read.seen().is_none_or(|seen| seen == version));
            let mut after = versions;
            each(protocol.scenario.program(**next).writes).for_each(|key| after[key] = Ver::of(**next));
            !must_be_later && reads_so && can_run(protocol, state, done, ran | 1 << **next, after)
        })
}
