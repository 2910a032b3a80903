//! Where the model asks the product: states become the product's types, its functions are called, and what they say becomes
//! states again.
//!
//! The read rule is [`ReadSet::read`], the move of a head is [`Head::moved_to`], a version's cowritten list and a record's
//! entries are [`CommitRecord::entry`]'s, the write buffer is [`Attempt`]'s. A read rule that is taken away ([`Rule`]) is
//! taken away in what these functions are given.

use std::collections::BTreeMap;

use aft_protocol::atomic_read::{Choice, ReadSet, Records};
use aft_protocol::attempt::{Attempt, Identity, Refusal, Seen};
use aft_protocol::head::{Cowritten, Entry, Head, Keep, Move, Previous};
use aft_protocol::id::{AttemptNumber, Fingerprint, Nonce, SandboxId, TransactionId};
use aft_protocol::isolation::Isolation;
use aft_protocol::key::{InvalidKey, Key};
use aft_protocol::record::{CommitRecord, Response, Writes};
use aft_protocol::value::{ContentType, Value, ValueTooLarge};
use aft_protocol::version::{Timestamp, Version};

use crate::rules::{Rule, Rules};
use crate::scenario::{ALL, Keys, Layout, Scenario, Start, each};
use crate::state::{self, DEPTH, KEYS, Life, Read, State, Ver};

/// What time it always is, in seconds. What has expired, has expired before; what has not, will after.
const NOW_SECONDS: u64 = 1_000;
const EXPIRED_SECONDS: u64 = 500;
const EXPIRES_SECONDS: u64 = 3_000;
/// A previous version is left to a record that is there until then.
const UNTIL_SECONDS: u64 = 2_000;

/// The product's view of a scenario.
#[derive(Debug)]
pub struct Product {
    scenario: Scenario,
    rules: Rules,
    keys: Vec<Key>,
    /// By version.
    values: Vec<Value>,
    /// By version and key: entries with their whole cowritten lists, which do not depend on the state.
    entries: Vec<[Entry; KEYS]>,
}

/// Why the scenario cannot be put in the product's types.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// A key.
    #[error(transparent)]
    Key(#[from] InvalidKey),
    /// A value.
    #[error(transparent)]
    Value(#[from] ValueTooLarge),
}

/// What a read comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// This.
    Accept(Accepted),
    /// Records must be looked up.
    Consult,
    /// Nothing fits.
    Conflict,
}

/// What a read sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// What joins the read set.
    pub read: Read,
    /// The version.
    pub version: Ver,
    /// Whether the value is that version's.
    pub is_value: bool,
}

impl Product {
    /// The product's view of a scenario, without the read rules that are off.
    ///
    /// # Errors
    /// [`Unfit`].
    pub fn new(scenario: Scenario, rules: Rules) -> Result<Self, Unfit> {
        let keys = ["a", "b", "c"].into_iter().map(Key::new).collect::<Result<_, _>>()?;
        let value = |version| Value::new(vec![version], ContentType::default());
        let values = (0..Ver::COUNT as u8).map(value).collect::<Result<_, _>>()?;
        let mut product = Self { scenario, rules, keys, values, entries: Vec::new() };
        let entry = |version, key: usize| {
            let record = product.record(&State::default(), version, product.written(version) | (1_u8 << key));
            record.entry(&product.keys[key]).unwrap_or_else(Entry::absent)
        };
        let versions = (0..Ver::COUNT as u8).map(Ver).filter(|version| product.exists(*version));
        product.entries = versions.map(|version| std::array::from_fn(|key| entry(version, key))).collect();
        Ok(product)
    }

    /// Whether there is such an attempt.
    fn exists(&self, version: Ver) -> bool {
        version.attempt().is_none_or(|attempt| attempt < self.scenario.attempts.len())
    }

    /// What a version's transaction wrote.
    #[must_use]
    pub fn written(&self, version: Ver) -> Keys {
        match version.attempt() {
            Some(attempt) => self.scenario.program(attempt).writes,
            None if version == Ver::ZERO => 0,
            None => ALL,
        }
    }

    /// How a version's record is.
    #[must_use]
    pub fn life(&self, state: &State, version: Ver) -> Life {
        let Some(attempt) = version.attempt() else {
            return match (self.scenario.start, version) {
                (_, Ver::ZERO) | (Start::Empty, _) => Life::None,
                (Start::Recorded, _) => Life::There,
                (Start::Expired, Ver::ANCIENT) => Life::Expired,
                (Start::Expired, _) => Life::Deleted,
            };
        };
        let record = state.records[self.scenario.attempts[attempt]];
        if usize::from(record.by) == attempt { record.life } else { Life::None }
    }

    fn version(&self, state: &State, version: Ver) -> Version {
        if version == Ver::ZERO {
            return Version::ZERO;
        }
        Version::new(Timestamp::from_micros(state.rank_of(version).into()), self.transaction(version))
    }

    fn transaction(&self, version: Ver) -> TransactionId {
        let bits = match version.attempt() {
            Some(attempt) => self.scenario.attempts[attempt] as u128 + 1,
            None => 100 + u128::from(version.0),
        };
        TransactionId::from_bits(bits)
    }

    fn expires(&self, state: &State, version: Ver) -> u64 {
        match self.life(state, version) {
            Life::Expired | Life::Deleted => EXPIRED_SECONDS,
            Life::There | Life::None => EXPIRES_SECONDS,
        }
    }

    /// A version's record, as it is or would be, with these of its writes.
    fn record(&self, state: &State, version: Ver, keys: Keys) -> CommitRecord {
        let value = self.values[usize::from(version.0)].clone();
        let writes: Writes = each(keys).map(|key| (self.keys[key].clone(), Some(value.clone()))).collect();
        CommitRecord {
            version: self.version(state, version),
            nonce: Nonce::from_bits(version.0.into()),
            writes,
            response: Response { content_type: None, body: Vec::new().into() },
            fingerprint: Fingerprint::from_bits(0),
            origin: String::new(),
            sandbox: SandboxId::from_bits(0),
            applied_through: Version::ZERO,
            expires_at_seconds: self.expires(state, version),
        }
    }

    /// A version of a key with its whole cowritten list.
    fn entry(&self, state: &State, version: Ver, key: usize) -> Entry {
        if version == Ver::ZERO {
            return Entry::absent();
        }
        Entry {
            version: self.version(state, version),
            record_expires_at_seconds: self.expires(state, version),
            ..self.entries[usize::from(version.0)][key].clone()
        }
    }

    /// A version of a key as a head has it.
    fn head_entry(&self, state: &State, version: Ver, key: usize) -> Entry {
        let entry = self.entry(state, version, key);
        let is_alone = self.written(version) & !(1 << key) == 0;
        let cowritten = match self.scenario.layout {
            _ if !self.rules.hold(Rule::CowrittenCheck) => Cowritten::none(),
            Layout::InRecord if !is_alone => Cowritten::InRecord,
            Layout::InRecord | Layout::Inline => return entry,
        };
        Entry { cowritten, ..entry }
    }

    fn head(&self, state: &State, head: &state::Head, key: usize) -> Head {
        let [current, previous, older @ ..] = head.versions;
        let previous = if head.inline || previous == Ver::ZERO {
            Previous::Inline(self.head_entry(state, previous, key))
        } else {
            Previous::InRecord(self.version(state, previous))
        };
        Head {
            current: self.head_entry(state, current, key),
            previous,
            older: older.map(|version| self.version(state, version)),
        }
    }

    /// R-COMMIT-5: what a head is after a move to a version; `None` if it does not move.
    #[must_use]
    pub fn moved(&self, state: &State, key: usize, to: Ver) -> Option<state::Head> {
        let before = self.head(state, &state.heads[key], key);
        let entry = self.head_entry(state, to, key);
        let keep = match self.scenario.layout {
            Layout::Inline => Keep::Inline,
            Layout::InRecord => Keep::InRecord { until_seconds: UNTIL_SECONDS },
        };
        let moved = match before.moved_to(entry.clone(), keep) {
            // As the product's stores do: the version before must be carried then.
            Move::RecordExpires => before.moved_to(entry, Keep::Inline),
            moved => moved,
        };
        let Move::To(head) = moved else { return None };
        let mut versions = [Ver::ZERO; DEPTH];
        let names = [head.current.version, head.previous.version()].into_iter().chain(head.older);
        for (version, name) in versions.iter_mut().zip(names) {
            *version = self.back(state, name);
        }
        Some(state::Head { versions, inline: matches!(head.previous, Previous::Inline(_)) })
    }

    fn back(&self, state: &State, version: Version) -> Ver {
        if version.is_zero() {
            return Ver::ZERO;
        }
        state.at_place(version.timestamp().as_micros()).unwrap_or_default()
    }

    /// What an attempt has read, as the product keeps it.
    fn read_set(&self, state: &State, attempt: usize, except: Option<usize>) -> ReadSet {
        let mut set = ReadSet::default();
        for (key, read) in state.attempts[attempt].reads.iter().enumerate() {
            let Some(version) = read.seen().filter(|_| Some(key) != except) else { continue };
            let counts = version != Ver::ZERO || self.rules.hold(Rule::AbsentCounts);
            if !counts {
                continue;
            }
            let mut entry = self.entry(state, version, key);
            if matches!(read, Read::Alone(_)) || !self.rules.hold(Rule::LowerBound) {
                entry.cowritten = Cowritten::none();
            }
            set.insert(self.keys[key].clone(), entry);
        }
        set
    }

    /// R-READ-1…3: what an attempt's first read of a key comes to, given its head, and the records if they are looked up.
    #[must_use]
    pub fn read(&self, state: &State, attempt: usize, key: usize, head: &state::Head, look_up: bool) -> Outcome {
        let set = self.read_set(state, attempt, None);
        self.ask(state, &set, key, head, look_up)
    }

    /// R-READ-2: what another read of a key comes to, after its value was forgotten or not.
    #[must_use]
    pub fn again(&self, state: &State, attempt: usize, key: usize, forgotten: bool) -> Outcome {
        let is_off = !self.rules.hold(Rule::Repeatable);
        let mut set = self.read_set(state, attempt, is_off.then_some(key));
        if forgotten {
            set.keep_at_most(0);
        }
        self.ask(state, &set, key, &state.heads[key], true)
    }

    fn ask(&self, state: &State, set: &ReadSet, key: usize, head: &state::Head, look_up: bool) -> Outcome {
        let (name, head) = (&self.keys[key], self.head(state, head, key));
        let mut records = Records::new();
        loop {
            match set.read(name, &head, &records, NOW_SECONDS) {
                Choice::Accept(entry) => return self.accepted(state, key, &entry),
                Choice::Conflict if self.rules.hold(Rule::ConflictIsNotAbsence) => return Outcome::Conflict,
                Choice::Conflict => return self.accepted(state, key, &Entry::absent()),
                Choice::Consult(_) if !look_up => return Outcome::Consult,
                Choice::Consult(wanted) => {
                    records.extend(wanted.into_iter().map(|id| (id, self.look_up(state, id, key))));
                }
            }
        }
    }

    /// The record of a transaction, if it is there.
    fn look_up(&self, state: &State, id: TransactionId, key: usize) -> Option<CommitRecord> {
        let of_attempts = state.records.iter().map(state::Record::version);
        let version = [Ver::ANCIENT, Ver::BEFORE].into_iter().chain(of_attempts).find(|version| {
            self.transaction(*version) == id && matches!(self.life(state, *version), Life::There | Life::Expired)
        })?;
        let written = self.written(version);
        let keys = if self.rules.hold(Rule::CowrittenCheck) { written } else { written & 1 << key };
        Some(self.record(state, version, keys))
    }

    fn accepted(&self, state: &State, key: usize, entry: &Entry) -> Outcome {
        let version = self.back(state, entry.version);
        let own = self.entry(state, version, key);
        let is_whole = !self.rules.hold(Rule::CowrittenCheck)
            || own.cowritten == entry.cowritten
            || self.expires(state, version) == EXPIRED_SECONDS;
        let read = if is_whole { Read::Seen(version) } else { Read::Alone(version) };
        Outcome::Accept(Accepted { read, version, is_value: own.value == entry.value })
    }

    /// R-READ-2: whether an attempt that has written its keys, each of them twice, sees in each what it wrote last, and would
    /// commit just that.
    #[must_use]
    pub fn sees_own_writes(&self, state: &State, attempt: usize, key: usize) -> bool {
        if !self.rules.hold(Rule::OwnWrites) {
            return matches!(self.again(state, attempt, key, false), Outcome::Accept(seen) if seen.version == Ver::of(attempt));
        }
        self.buffered(attempt, key).unwrap_or(false)
    }

    fn buffered(&self, attempt: usize, key: usize) -> Result<bool, Refusal> {
        let identity = Identity {
            transaction: self.transaction(Ver::of(attempt)),
            number: AttemptNumber::FIRST,
            fingerprint: Fingerprint::from_bits(0),
            origin: String::new(),
        };
        let mut real = Attempt::new(identity, Isolation::ReadAtomic);
        let (first, last) = (&self.values[0], &self.values[usize::from(Ver::of(attempt).0)]);
        for value in [first, last] {
            let keys = each(self.scenario.program(attempt).writes);
            real.write(keys.map(|key| (self.keys[key].clone(), Some(value.clone()))).collect())?;
        }
        let seen = real.recall(&self.keys[key])?;
        let sees_last = matches!(seen, Some(Seen::Written(Some(value), _)) if value == *last);
        let writes: BTreeMap<_, _> = real.start_commit()?.writes;
        Ok(sees_last && writes.get(&self.keys[key]) == Some(&Some(last.clone())))
    }
}
