//! The protocol as a model: which steps are possible in a state, and what promises are held against it. What a step does is in
//! [`crate::effect`].

use stateright::{Model, Property};

use crate::action::{Action, By, Reply};
use crate::product::{Product, Unfit};
use crate::property;
use crate::rules::{Rule, Rules};
use crate::scenario::{Reading, Scenario, Start, each};
use crate::situation::Met;
use crate::state::{ATTEMPTS, Attempt, DEPTH, Head, KEYS, Life, Phase, Read, State, TRANSACTIONS, Ver};

/// A scenario under rules.
#[derive(Debug)]
pub struct Protocol {
    /// Who does what.
    pub scenario: Scenario,
    /// By which rules.
    pub rules: Rules,
    /// The product's functions.
    pub product: Product,
    /// What was met.
    pub met: Met,
}

impl Protocol {
    /// A scenario under rules.
    ///
    /// # Errors
    /// [`Unfit`].
    pub fn new(scenario: Scenario, rules: Rules) -> Result<Self, Unfit> {
        Ok(Self { product: Product::new(scenario.clone(), rules.clone())?, scenario, rules, met: Met::default() })
    }

    /// Whether a rule holds.
    #[must_use]
    pub fn has(&self, rule: Rule) -> bool {
        self.rules.hold(rule)
    }

    /// The transaction's record of an attempt's transaction.
    fn is_committed(&self, state: &State, attempt: usize) -> bool {
        state.records[self.scenario.attempts[attempt]].committed()
    }

    /// Whether this attempt's own record is there.
    #[must_use]
    pub fn is_own(&self, state: &State, attempt: usize) -> bool {
        let record = state.records[self.scenario.attempts[attempt]];
        record.committed() && usize::from(record.by) == attempt
    }

    /// Whether every head that a transaction writes is at its version or past it.
    #[must_use]
    pub fn is_applied(&self, state: &State, transaction: usize) -> bool {
        let rank = state.rank_of(state.records[transaction].version());
        each(self.scenario.programs[transaction].writes).all(|key| state.rank_of(state.heads[key].current()) >= rank)
    }

    /// R-FM-2: whether a later record of the same sandbox says that this one is applied.
    #[must_use]
    pub fn is_settled(&self, state: &State, transaction: usize) -> bool {
        let own = state.records[transaction];
        self.scenario.one_sandbox
            && state.records.iter().any(|other| {
                let through = state.rank_of(other.through);
                other.committed()
                    && other.name == own.name
                    && through < state.rank_of(other.version())
                    && through >= state.rank_of(own.version())
            })
    }

    /// R-FM-2: everything under the sandbox's present name through this version is applied, as far as the sandbox knows.
    #[must_use]
    pub fn mark(&self, state: &State) -> Ver {
        let known = |transaction: &usize| {
            let record = state.records[*transaction];
            let phase = state.attempts[usize::from(record.by)].phase;
            record.committed()
                && record.name == state.sandboxes[0].name
                && matches!(phase, Phase::Recorded | Phase::Answered(_))
                && self.is_applied(state, *transaction)
        };
        let versions = (0..TRANSACTIONS).filter(known).map(|transaction| state.records[transaction].version());
        versions.fold(Ver::ZERO, |highest, version| state.max(highest, version))
    }

    /// Whether every key is at the version at which the attempt has read it (R-SER-1).
    #[must_use]
    pub fn is_current(&self, state: &State, attempt: usize) -> bool {
        let reads = state.attempts[attempt].reads.iter().zip(&state.heads);
        reads.filter_map(|(read, head)| Some((read.seen()?, head))).all(|(seen, head)| seen == head.current())
    }

    /// What a new version of this attempt comes behind.
    #[must_use]
    pub fn floor(&self, state: &State, attempt: usize) -> u8 {
        let mut floor = state.rank_of(state.attempts[attempt].clock);
        if self.scenario.one_sandbox && self.has(Rule::ClockPassesOwn) {
            floor = floor.max(state.rank_of(state.sandboxes[0].clock));
        }
        if self.scenario.serializable && self.has(Rule::PassesHeads) {
            let written = each(self.scenario.program(attempt).writes);
            let heads = written.map(|key| state.rank_of(state.heads[key].current()));
            floor = floor.max(heads.max().unwrap_or(0));
        }
        floor
    }

    /// The places that a new version of this attempt may take, whatever its clock shows; `None` if it has one.
    fn places(&self, state: &State, attempt: usize) -> Vec<Option<u8>> {
        if state.rank_of(Ver::of(attempt)) > 0 || self.scenario.program(attempt).writes == 0 {
            return vec![None];
        }
        (self.floor(state, attempt) + 1..=state.last_place()).map(Some).collect()
    }

    fn attempt_actions(&self, state: &State, index: usize, actions: &mut Vec<Action>) {
        let attempt = &state.attempts[index];
        let is_committed = self.is_committed(state, index);
        let writes = self.scenario.program(index).writes != 0;
        match attempt.phase {
            Phase::Waiting if self.may_begin(state, index) => actions.push(Action::Begin(index)),
            Phase::Open => self.open_actions(state, index, actions),
            Phase::Sent => self.sent_actions(state, index, actions),
            Phase::Recorded | Phase::Found => {
                let rule = if attempt.phase == Phase::Recorded { Rule::VisibleFirst } else { Rule::LoserApplies };
                if !self.has(rule) || self.is_applied(state, self.scenario.attempts[index]) {
                    actions.push(Action::Answer(index));
                }
                if attempt.phase == Phase::Found && !self.has(Rule::LoserDiscards) {
                    self.early_actions(state, index, actions);
                }
            }
            Phase::Waiting | Phase::Answered(_) | Phase::Conflicted | Phase::Failed | Phase::Over => {}
        }
        if attempt.adrift && attempt.phase != Phase::Sent {
            let lands = !is_committed || !self.has(Rule::OneRecord);
            if lands {
                actions.extend(self.places(state, index).into_iter().map(|place| Action::Land(index, place)));
            }
        }
        let lives = matches!(attempt.phase, Phase::Open | Phase::Sent | Phase::Recorded | Phase::Found);
        if lives && writes && self.scenario.deaths {
            actions.push(Action::Death(index));
        }
        if lives && writes && self.scenario.restarts && attempt.phase != Phase::Open {
            actions.push(Action::Restart(index));
        }
    }

    fn may_begin(&self, state: &State, index: usize) -> bool {
        let Some(before) = self.scenario.attempt_before(index) else { return true };
        let phase = state.attempts[before].phase;
        match self.scenario.program(index).writes {
            0 => phase == Phase::Conflicted,
            _ => phase != Phase::Waiting,
        }
    }

    fn open_actions(&self, state: &State, index: usize, actions: &mut Vec<Action>) {
        let program = self.scenario.program(index);
        let reads = &state.attempts[index].reads;
        if program.writes != 0 && self.is_committed(state, index) {
            actions.push(Action::Notice(index));
        }
        let is_waiting = reads.iter().any(|read| matches!(read, Read::Fetched(_)));
        for key in each(program.reads) {
            match reads[key] {
                Read::Not if is_waiting && self.scenario.reading == Reading::OneByOne => {}
                Read::Not => actions.push(Action::Fetch(index, key)),
                Read::Fetched(_) => actions.push(Action::Judge(index, key)),
                Read::Seen(_) | Read::Alone(_) if self.scenario.again => {
                    actions.extend([false, true].map(|forgotten| Action::Again(index, key, forgotten)));
                }
                Read::Seen(_) | Read::Alone(_) => {}
            }
        }
        let has_read = each(program.reads).all(|key| reads[key].seen().is_some());
        if !has_read {
            return;
        }
        if self.scenario.again {
            let written = each(program.writes).filter(|key| program.reads & 1 << key == 0);
            actions.extend(written.map(|key| Action::Again(index, key, false)));
        }
        if self.scenario.one_sandbox {
            if self.is_its_turn(state) {
                actions.extend(self.places(state, index).into_iter().map(|place| Action::Send(index, place)));
            }
        } else {
            actions.push(Action::Send(index, None));
        }
    }

    /// R-FM-2 and R-FM-4: whether the sandbox may send its next record.
    fn is_its_turn(&self, state: &State) -> bool {
        let is_clear = (0..self.scenario.attempts.len()).all(|other| match state.attempts[other].phase {
            Phase::Sent => false,
            Phase::Recorded => self.is_applied(state, self.scenario.attempts[other]),
            _ => true,
        });
        (is_clear || !self.has(Rule::Turns)) && (state.journaled == 0 || !self.has(Rule::Journal))
    }

    fn sent_actions(&self, state: &State, index: usize, actions: &mut Vec<Action>) {
        let is_committed = self.is_committed(state, index);
        let writes = self.scenario.program(index).writes != 0;
        let takes_effect = writes && (!is_committed || !self.has(Rule::OneRecord));
        let places = if takes_effect { self.places(state, index) } else { vec![None] };
        for place in places {
            actions.push(Action::Arrive(index, place, Reply::Arrives));
            if takes_effect {
                actions.push(Action::Arrive(index, place, Reply::IsLost));
            }
        }
        if !writes {
            return;
        }
        let is_own = self.is_own(state, index);
        if !is_own || !self.has(Rule::UnknownIsNotFailed) {
            actions.push(Action::Refused(index));
        }
        if self.scenario.one_sandbox && (is_own || (self.scenario.timeouts && !is_committed)) {
            actions.push(Action::Deadline(index));
        }
        if !self.has(Rule::RecordFirst) && !is_committed {
            self.early_actions(state, index, actions);
        }
    }

    fn early_actions(&self, state: &State, index: usize, actions: &mut Vec<Action>) {
        for key in each(self.scenario.program(index).writes) {
            actions.extend(self.places(state, index).into_iter().map(|place| Action::Early(index, key, place)));
        }
    }

    /// Who, of all that may, applies a transaction's record.
    fn applier(&self, state: &State, transaction: usize) -> Option<By> {
        let attempts =
            || (0..self.scenario.attempts.len()).filter(|other| self.scenario.attempts[*other] == transaction);
        let writer = attempts().find(|other| state.attempts[*other].phase == Phase::Recorded);
        let duplicate = attempts().find(|other| state.attempts[*other].phase == Phase::Found);
        let bit = 1 << transaction;
        if let Some(writer) = writer {
            Some(By::Writer(writer))
        } else if let Some(duplicate) = duplicate.filter(|_| self.has(Rule::LoserApplies)) {
            Some(By::Duplicate(duplicate))
        } else if state.seen_ahead & bit != 0 && self.has(Rule::ReadersRollForward) {
            Some(By::Reader)
        } else if state.journaled & bit != 0 && self.has(Rule::Journal) {
            Some(By::Journal)
        } else if self.scenario.fault_manager && self.has(Rule::FaultManager) && !self.is_settled(state, transaction) {
            Some(By::FaultManager)
        } else {
            None
        }
    }

    fn record_actions(&self, state: &State, transaction: usize, actions: &mut Vec<Action>) {
        let record = &state.records[transaction];
        if record.readable()
            && let Some(by) = self.applier(state, transaction)
        {
            // Also to heads that are there or further: that it changes nothing is R-COMMIT-5, and the product's to say.
            let keys = each(self.scenario.programs[transaction].writes);
            actions.extend(keys.map(|key| Action::Apply(by, transaction, key)));
        }
        if !self.scenario.expiry {
            return;
        }
        let bit = 1 << transaction;
        let is_past = state.attempts.iter().all(|attempt| {
            let lives = matches!(attempt.phase, Phase::Open | Phase::Sent | Phase::Recorded | Phase::Found);
            !lives || attempt.over & bit != 0
        });
        if record.life == Life::There
            && self.is_applied(state, transaction)
            && (is_past || !self.has(Rule::RecordOutlivesReaders))
        {
            actions.push(Action::Expire(transaction));
        }
        if record.life == Life::Expired {
            actions.push(Action::Delete(transaction));
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut state = State { attempts: [Attempt::default(); ATTEMPTS], ..State::default() };
        state.rank[usize::from(Ver::ANCIENT.0)] = 1;
        state.rank[usize::from(Ver::BEFORE.0)] = 2;
        let mut versions = [Ver::ZERO; DEPTH];
        if self.scenario.start != Start::Empty {
            versions[..2].copy_from_slice(&[Ver::BEFORE, Ver::ANCIENT]);
        }
        state.heads = [Head { versions, inline: true }; KEYS];
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken != 0 {
            return;
        }
        for attempt in 0..self.scenario.attempts.len() {
            self.attempt_actions(state, attempt, actions);
        }
        for transaction in 0..TRANSACTIONS {
            self.record_actions(state, transaction, actions);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        self.after(last, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        property::of(self)
    }
}
