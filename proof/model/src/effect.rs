//! What a step does, and what it breaks: promises about a step (which order a version takes, what is answered) are checked here,
//! by their definitions, where it happens; promises about a state are in [`crate::property`]. Reads are in [`crate::reading`].

use crate::action::{Action, By, Reply};
use crate::property::Broken;
use crate::protocol::Protocol;
use crate::rules::Rule;
use crate::scenario::each;
use crate::situation::Situation;
use crate::state::{Attempt, DEPTH, Head, KEYS, Life, Phase, Read, Record, State, TRANSACTIONS, Ver};

impl Protocol {
    /// The state after a step; `None` if nothing changes.
    pub(crate) fn after(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Begin(index) => self.begin(&mut state, index),
            Action::Notice(index) => self.end(&mut state, index, Phase::Found),
            Action::Fetch(index, key) => self.fetch(&mut state, index, key),
            Action::Judge(index, key) => {
                let Read::Fetched(head) = state.attempts[index].reads[key] else { return None };
                self.judge(&mut state, index, key, &head, true);
            }
            Action::Again(index, key, forgotten) => self.again(&mut state, index, key, forgotten)?,
            Action::Send(index, place) => self.send(&mut state, index, place),
            Action::Arrive(index, place, reply) => self.arrive(&mut state, index, place, reply),
            Action::Refused(index) => {
                // Where what is unknown passes for failed, a try may still be under way.
                let is_committed = state.records[self.scenario.attempts[index]].committed();
                state.attempts[index].adrift = !self.has(Rule::UnknownIsNotFailed) && !is_committed;
                self.end(&mut state, index, Phase::Failed);
            }
            Action::Deadline(index) => {
                let is_committed = state.records[self.scenario.attempts[index]].committed();
                state.attempts[index].adrift = !is_committed;
                self.end(&mut state, index, Phase::Over);
                if self.has(Rule::NewName) {
                    state.sandboxes[0].name += 1;
                }
            }
            Action::Land(index, place) => self.land(&mut state, index, place),
            Action::Answer(index) => self.answer(&mut state, index),
            Action::Death(index) => self.death(&mut state, index, false),
            Action::Restart(index) => self.death(&mut state, index, true),
            Action::Apply(by, transaction, key) => {
                let version = state.records[transaction].version();
                if !self.move_head(&mut state, key, version) {
                    return None;
                }
                match by {
                    By::Reader => self.met.count(Situation::RolledForward),
                    By::Journal => self.met.count(Situation::JournalFinished),
                    By::FaultManager => self.met.count(Situation::FaultManagerMoved),
                    By::Writer(_) | By::Duplicate(_) => {}
                }
            }
            Action::Early(index, key, place) => {
                self.take_version(&mut state, index, place);
                self.move_head(&mut state, key, Ver::of(index));
            }
            Action::Expire(transaction) => state.records[transaction].life = Life::Expired,
            Action::Delete(transaction) => state.records[transaction].life = Life::Deleted,
        }
        for transaction in 0..TRANSACTIONS {
            if state.records[transaction].committed() && self.is_applied(&state, transaction) {
                state.seen_ahead &= !(1 << transaction);
                state.journaled &= !(1 << transaction);
            }
        }
        Some(state)
    }

    fn begin(&self, state: &mut State, index: usize) {
        let program = self.scenario.program(index);
        let written = each(program.writes).map(|key| (key, state.heads[key].current()));
        let visible = written.clone().fold(Ver::ZERO, |newest, (_, version)| state.max(newest, version));
        let unread = written.filter(|(key, _)| program.reads & 1 << key == 0);
        let looked_up = unread.fold(Ver::ZERO, |newest, (_, version)| state.max(newest, version));
        let over = self.over(state);
        let attempt = &mut state.attempts[index];
        attempt.must_pass = visible;
        if self.has(Rule::ClockPassesWritten) {
            attempt.clock = looked_up;
        }
        attempt.over = over;
        attempt.phase = Phase::Open;
        if program.reads == 0 && !self.scenario.one_sandbox {
            self.send(state, index, None);
        }
    }

    /// Which transactions are over, as far as anything depends on it.
    fn over(&self, state: &State) -> u8 {
        let is_over = |transaction: &usize| {
            let answered = |other: usize| matches!(state.attempts[other].phase, Phase::Answered(_));
            let mut attempts =
                (0..self.scenario.attempts.len()).filter(|other| self.scenario.attempts[*other] == *transaction);
            (self.scenario.serializable && attempts.any(answered))
                || (self.scenario.expiry
                    && state.records[*transaction].committed()
                    && self.is_applied(state, *transaction))
        };
        (0..TRANSACTIONS).filter(is_over).fold(0, |bits, transaction| bits | 1 << transaction)
    }

    fn send(&self, state: &mut State, index: usize, place: Option<u8>) {
        if self.scenario.one_sandbox {
            let through = self.mark(state);
            let attempt = &mut state.attempts[index];
            attempt.through = through;
            attempt.name = state.sandboxes[0].name;
            self.take_version(state, index, place);
        }
        if !self.scenario.serializable {
            state.attempts[index].reads = [Read::Not; KEYS];
        }
        state.attempts[index].phase = Phase::Sent;
    }

    /// A version takes its place in the order (R-COMMIT-3).
    fn take_version(&self, state: &mut State, index: usize, place: Option<u8>) {
        let (Some(place), version) = (place, Ver::of(index)) else { return };
        if place < state.last_place() {
            self.met.count(Situation::CommittedBelow);
        }
        state.put(version, place);
        let own = state.rank_of(version);
        let is_behind = |other: Ver| own > state.rank_of(other);
        if !is_behind(state.attempts[index].must_pass) || !is_behind(state.sandboxes[0].clock) {
            Broken::Order.mark(state);
        }
        if self.scenario.one_sandbox {
            state.sandboxes[0].clock = state.max(state.sandboxes[0].clock, version);
        }
    }

    fn arrive(&self, state: &mut State, index: usize, place: Option<u8>, reply: Reply) {
        let is_committed = state.records[self.scenario.attempts[index]].committed();
        if self.scenario.serializable && (!is_committed || !self.has(Rule::ConflictIsCertain)) {
            let is_refused = self.has(Rule::Guards) && !self.is_current(state, index);
            if is_refused {
                self.met.count(Situation::StepRefused);
                state.attempts[index].adrift = false;
                return self.end(state, index, Phase::Conflicted);
            }
        }
        if self.scenario.program(index).writes == 0 {
            return self.end(state, index, Phase::Answered(index as u8));
        }
        if !is_committed || !self.has(Rule::OneRecord) {
            self.commit(state, index, place);
        }
        if reply == Reply::IsLost {
            return;
        }
        if is_committed && self.is_own(state, index) {
            self.met.count(Situation::OwnRecordFound);
        }
        let is_mine = self.is_own(state, index) || !self.has(Rule::Nonce);
        self.end(state, index, if is_mine { Phase::Recorded } else { Phase::Found });
    }

    fn land(&self, state: &mut State, index: usize, place: Option<u8>) {
        let is_refused = self.scenario.serializable && self.has(Rule::Guards) && !self.is_current(state, index);
        state.attempts[index].adrift = false;
        if !is_refused {
            self.commit(state, index, place);
            self.met.count(Situation::LateRecord);
        }
        self.forget(state, index);
    }

    /// The record's write takes effect.
    fn commit(&self, state: &mut State, index: usize, place: Option<u8>) {
        let transaction = self.scenario.attempts[index];
        let before = state.records[transaction];
        if before.committed() && usize::from(before.by) != index {
            Broken::SecondRecord.mark(state);
        }
        let clock = state.attempts[index].clock;
        self.take_version(state, index, place);
        let Attempt { name, through, .. } = state.attempts[index];
        state.records[transaction] = Record { life: Life::There, by: index as u8, name, through };
        if self.scenario.serializable {
            for key in each(self.scenario.program(index).writes) {
                if state.rank_of(state.heads[key].current()) > state.rank_of(clock) {
                    self.met.count(Situation::Overtaken);
                }
                self.move_head(state, key, Ver::of(index));
            }
        }
        if self.has(Rule::OneRecord) {
            // Copies that are still under way find it, and do nothing.
            for other in 0..self.scenario.attempts.len() {
                if self.scenario.attempts[other] == transaction {
                    state.attempts[other].adrift = false;
                    self.forget(state, other);
                }
            }
        }
    }

    /// Whether it moves.
    fn move_head(&self, state: &mut State, key: usize, version: Ver) -> bool {
        if let Some(head) = self.product.moved(state, key, version) {
            state.heads[key] = head;
            return true;
        }
        if !self.has(Rule::ForwardOnly) && state.heads[key].current() != version {
            let mut versions = [version; DEPTH];
            versions[1..].copy_from_slice(&state.heads[key].versions[..DEPTH - 1]);
            state.heads[key] = Head { versions, inline: true };
            return true;
        }
        false
    }

    fn answer(&self, state: &mut State, index: usize) {
        let recorded = state.records[self.scenario.attempts[index]].by;
        let is_own = state.attempts[index].phase == Phase::Recorded || !self.has(Rule::LoserAnswersFromRecord);
        if recorded != index as u8 {
            self.met.count(Situation::DuplicateAnswered);
        }
        let answer = if is_own { index as u8 } else { recorded };
        if answer != recorded {
            Broken::SecondAnswer.mark(state);
        }
        if !self.is_applied(state, self.scenario.attempts[index]) {
            Broken::Invisible.mark(state);
        }
        self.end(state, index, Phase::Answered(answer));
    }

    /// The sandbox dies, or the extension alone; with a sandbox of its own, an attempt dies alone.
    fn death(&self, state: &mut State, index: usize, restarts: bool) {
        let dies = |other: &usize| {
            let phase = state.attempts[*other].phase;
            (self.scenario.one_sandbox || *other == index)
                && matches!(phase, Phase::Open | Phase::Sent | Phase::Recorded | Phase::Found)
        };
        for other in (0..self.scenario.attempts.len()).filter(dies).collect::<Vec<_>>() {
            let transaction = self.scenario.attempts[other];
            let is_committed = state.records[transaction].committed();
            if state.attempts[other].phase == Phase::Sent {
                let is_under_way = !is_committed || !self.has(Rule::OneRecord);
                state.attempts[other].adrift = self.scenario.timeouts && is_under_way;
            }
            if restarts && self.is_own(state, other) && !self.is_applied(state, transaction) {
                state.journaled |= 1 << transaction;
            }
            self.end(state, other, Phase::Over);
        }
        if self.scenario.one_sandbox {
            // Who comes after goes by another name, and with a new clock.
            state.sandboxes[0].name += 1;
            state.sandboxes[0].clock = Ver::ZERO;
            if !restarts {
                state.journaled = 0;
            }
        }
    }

    pub(crate) fn end(&self, state: &mut State, index: usize, phase: Phase) {
        state.attempts[index].phase = phase;
        self.forget(state, index);
    }

    /// Drops what nothing depends on any more, so that states which differ in nothing else are one.
    fn forget(&self, state: &mut State, index: usize) {
        let attempt = state.attempts[index];
        let needed = attempt.adrift || matches!(attempt.phase, Phase::Waiting | Phase::Open | Phase::Sent);
        if needed {
            return;
        }
        let counts = self.is_own(state, index) || attempt.phase == Phase::Answered(index as u8);
        let kept = if self.scenario.serializable && counts {
            Attempt { reads: attempt.reads, over: attempt.over, ..Attempt::default() }
        } else if self.scenario.expiry {
            Attempt { over: attempt.over, ..Attempt::default() }
        } else {
            Attempt::default()
        };
        // How a writer ended matters as long as it may turn out to have been told what is not so.
        let is_settled =
            !self.scenario.serializable && !self.scenario.one_sandbox && self.scenario.program(index).writes != 0;
        let phase = match attempt.phase {
            Phase::Failed | Phase::Conflicted if is_settled && !self.is_own(state, index) => Phase::Over,
            Phase::Answered(_) if is_settled => Phase::Over,
            phase => phase,
        };
        state.attempts[index] = Attempt { phase, ..kept };
        let is_over = !matches!(attempt.phase, Phase::Recorded | Phase::Found);
        if is_over && self.scenario.expiry {
            state.attempts[index].over = 0;
        }
    }
}
