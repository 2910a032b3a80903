//! What a read does: the head is fetched, the product's rule is asked, and what it says is held against the promises by their
//! definitions.

use crate::product::{Accepted, Outcome};
use crate::property::Broken;
use crate::protocol::Protocol;
use crate::rules::Rule;
use crate::scenario::{Reading, Start, each};
use crate::situation::Situation;
use crate::state::{Head, Phase, Read, State, Ver};

impl Protocol {
    pub(crate) fn fetch(&self, state: &mut State, index: usize, key: usize) {
        let head = state.heads[key];
        self.see(state, index, head.current(), false);
        state.attempts[index].reads[key] = Read::Fetched(head);
        if self.scenario.reading == Reading::OneByOne {
            self.judge(state, index, key, &head, false);
        }
    }

    /// R-COMMIT-3: a version was seen, or read.
    fn see(&self, state: &mut State, index: usize, version: Ver, is_read: bool) {
        if self.scenario.program(index).writes == 0 {
            return;
        }
        if is_read {
            state.attempts[index].must_pass = state.max(state.attempts[index].must_pass, version);
        }
        if self.has(Rule::ClockPassesReads) {
            state.attempts[index].clock = state.max(state.attempts[index].clock, version);
        }
    }

    pub(crate) fn judge(&self, state: &mut State, index: usize, key: usize, head: &Head, look_up: bool) {
        match self.product.read(state, index, key, head, look_up) {
            Outcome::Consult => {}
            // R-SER-1: the commit would be refused.
            Outcome::Accept(Accepted { version, .. })
                if self.scenario.serializable && state.rank_of(version) < state.rank_of(head.current()) =>
            {
                self.read_conflict(state, index, head.current());
            }
            Outcome::Accept(accepted) => self.accept(state, index, key, head, accepted),
            Outcome::Conflict => self.read_conflict(state, index, head.current()),
        }
    }

    fn accept(&self, state: &mut State, index: usize, key: usize, head: &Head, accepted: Accepted) {
        let Accepted { read, version, is_value } = accepted;
        state.attempts[index].reads[key] = read;
        self.see(state, index, version, true);
        let is_ahead = state.rank_of(version) > state.rank_of(head.current());
        if is_ahead {
            self.met.count(Situation::AheadAccepted);
        } else if version != head.current() {
            let absent = version == Ver::ZERO;
            self.met.count(if absent { Situation::AbsentAccepted } else { Situation::PreviousAccepted });
        }
        if is_ahead {
            self.seen_ahead(state, version);
        }
        if !is_value || !self.is_clean(state, version) {
            Broken::Unrepeatable.mark(state);
        }
        if version == Ver::ZERO && self.scenario.start != Start::Empty {
            Broken::FalseAbsence.mark(state);
        }
        if self.is_fractured(state, index) {
            Broken::Fractured.mark(state);
        }
        let program = self.scenario.program(index);
        let is_done = each(program.reads).all(|key| state.attempts[index].reads[key].seen().is_some());
        if program.writes == 0 && is_done {
            let phase = if self.scenario.serializable && self.has(Rule::Validated) {
                Phase::Sent
            } else {
                Phase::Answered(index as u8)
            };
            self.end(state, index, phase);
        }
    }

    /// R-READ-2: whether a version is that of its transaction's record.
    fn is_clean(&self, state: &State, version: Ver) -> bool {
        version.attempt().is_none_or(|attempt| self.is_own(state, attempt))
    }

    /// R-READ-1, by its definition: some k was read at v, l was written with it, and l was read at something older than v.
    fn is_fractured(&self, state: &State, index: usize) -> bool {
        let reads = state.attempts[index].reads;
        reads.iter().filter_map(Read::seen).any(|version| {
            let cowritten = each(self.product.written(version)).filter_map(|key| reads[key].seen());
            cowritten.into_iter().any(|other| state.rank_of(other) < state.rank_of(version))
        })
    }

    /// R-FM-3: a reader has seen a transaction's record ahead of a head.
    fn seen_ahead(&self, state: &mut State, version: Ver) {
        if let Some(attempt) = version.attempt()
            && state.records[self.scenario.attempts[attempt]].readable()
        {
            state.seen_ahead |= 1 << self.scenario.attempts[attempt];
        }
    }

    fn read_conflict(&self, state: &mut State, index: usize, newest: Ver) {
        self.seen_ahead(state, newest);
        self.met.count(Situation::ReadConflict);
        // Without R-COMMIT-8 what the attempt would have written goes its way all the same.
        state.attempts[index].adrift = self.scenario.program(index).writes != 0 && !self.has(Rule::NoTrace);
        self.end(state, index, Phase::Conflicted);
    }

    pub(crate) fn again(&self, state: &mut State, index: usize, key: usize, forgotten: bool) -> Option<()> {
        let reads = state.attempts[index].reads;
        let has_read = each(self.scenario.program(index).reads).all(|key| reads[key].seen().is_some());
        if self.scenario.program(index).writes & 1 << key != 0 && has_read {
            if !self.product.sees_own_writes(state, index, key) {
                Broken::Unrepeatable.mark(state);
                return Some(());
            }
            reads[key].seen()?;
        }
        match self.product.again(state, index, key, forgotten) {
            Outcome::Accept(seen) if Some(seen.version) == reads[key].seen() && seen.is_value => None,
            Outcome::Accept(_) | Outcome::Consult => {
                Broken::Unrepeatable.mark(state);
                Some(())
            }
            Outcome::Conflict => {
                self.read_conflict(state, index, state.heads[key].current());
                Some(())
            }
        }
    }
}
