//! Scenarios: who does what to which keys, and what can go wrong. Each is explored to its last state.

use crate::situation::Situation;

/// Keys, a bit each.
pub type Keys = u8;

/// What one transaction's handler does: it reads its keys in any order, then writes its keys.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// What it reads.
    pub reads: Keys,
    /// What it writes.
    pub writes: Keys,
}

/// What was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Nothing: no key exists.
    Empty,
    /// Every key has two versions, each written by one transaction; both records are there.
    Recorded,
    /// The same; both records have expired, and only the older one is still there: DynamoDB deletes in any order.
    Expired,
}

/// Where a head has its previous version and its cowritten list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// In the head.
    Inline,
    /// In the commit record.
    InRecord,
}

/// How the reads of one attempt overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// One after the other.
    OneByOne,
    /// At the same time: a head may be fetched long before it is judged, as one out of a cache is.
    AtOnce,
}

/// Who does what, and what can go wrong.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// What it covers, in words.
    pub covers: &'static str,
    /// The three transactions.
    pub programs: [Program; 3],
    /// The transaction of each attempt. A further attempt of one that writes may begin as soon as the one before it has begun (a
    /// duplicate, or a retry); of one that only reads, after a conflict.
    pub attempts: &'static [usize],
    /// What was there before.
    pub start: Start,
    /// Where heads have what does not fit.
    pub layout: Layout,
    /// How reads overlap.
    pub reading: Reading,
    /// Whether what was read is read again.
    pub again: bool,
    /// Whether a sandbox may die at any step.
    pub deaths: bool,
    /// Whether an extension may die at any step and be started again in its sandbox.
    pub restarts: bool,
    /// Whether a record write may time out and arrive later, or never.
    pub timeouts: bool,
    /// Whether the fault manager comes at all; if not, it is late.
    pub fault_manager: bool,
    /// Whether records expire.
    pub expiry: bool,
    /// Whether one sandbox runs all.
    pub one_sandbox: bool,
    /// Whether commits are one step.
    pub serializable: bool,
    /// Whether it takes minutes: then no test explores it.
    pub is_long: bool,
    /// What must happen in it.
    pub situations: &'static [Situation],
}

const A: Keys = 1;
const B: Keys = 2;
const C: Keys = 4;
/// All keys.
pub const ALL: Keys = A | B | C;

const fn writes(writes: Keys) -> Program {
    Program { reads: 0, writes }
}

const fn reads(reads: Keys) -> Program {
    Program { reads, writes: 0 }
}

const QUIET: Scenario = Scenario {
    name: "",
    covers: "",
    programs: [writes(ALL); 3],
    attempts: &[0, 1, 2],
    start: Start::Empty,
    layout: Layout::Inline,
    reading: Reading::OneByOne,
    again: false,
    deaths: false,
    restarts: false,
    timeouts: false,
    fault_manager: true,
    expiry: false,
    one_sandbox: false,
    serializable: false,
    is_long: false,
    situations: &[],
};

impl Scenario {
    /// Every one.
    pub const EVERY: &[Self] = &[
        Self {
            name: "commit",
            covers: "three writers, one of them twice; lost replies, late records, deaths",
            programs: [writes(A | B), writes(B | C), writes(C)],
            attempts: &[0, 1, 2, 0],
            deaths: true,
            timeouts: true,
            situations: &[
                Situation::DuplicateAnswered,
                Situation::OwnRecordFound,
                Situation::LateRecord,
                Situation::FaultManagerMoved,
                Situation::CommittedBelow,
            ],
            ..QUIET
        },
        Self {
            name: "commit-wide",
            covers: "the same with one that writes every key",
            programs: [writes(ALL), writes(A | B), writes(B | C)],
            attempts: &[0, 1, 2, 0],
            deaths: true,
            timeouts: true,
            is_long: true,
            situations: &[Situation::DuplicateAnswered, Situation::LateRecord, Situation::CommittedBelow],
            ..QUIET
        },
        Self {
            name: "duplicates",
            covers: "three writers, two of them twice; lost replies, deaths",
            programs: [writes(A | B), writes(B | C), writes(C)],
            attempts: &[0, 1, 2, 0, 1],
            deaths: true,
            is_long: true,
            situations: &[Situation::DuplicateAnswered, Situation::OwnRecordFound, Situation::CommittedBelow],
            ..QUIET
        },
        Self {
            name: "read",
            covers: "two writers, one of every key, and a reader of every key, its reads at the same time; no key exists before",
            programs: [writes(ALL), writes(A | B), reads(ALL)],
            reading: Reading::AtOnce,
            situations: &[Situation::PreviousAccepted, Situation::AbsentAccepted, Situation::AheadAccepted],
            ..QUIET
        },
        Self {
            name: "read-wide",
            covers: "the same with two writers of every key",
            programs: [writes(ALL), writes(ALL), reads(ALL)],
            reading: Reading::AtOnce,
            is_long: true,
            situations: &[Situation::PreviousAccepted, Situation::AbsentAccepted, Situation::AheadAccepted],
            ..QUIET
        },
        Self {
            name: "read-again",
            covers: "two writers and a reader of every key, which reads each again after its value was forgotten, and its retry after a \
                     conflict; old records have expired, lists and previous versions are in records; no fault manager, deaths",
            programs: [writes(ALL), writes(ALL), reads(ALL)],
            attempts: &[0, 1, 2, 2],
            start: Start::Expired,
            layout: Layout::InRecord,
            again: true,
            deaths: true,
            fault_manager: false,
            situations: &[
                Situation::ReadConflict,
                Situation::PreviousAccepted,
                Situation::AheadAccepted,
                Situation::RolledForward,
            ],
            ..QUIET
        },
        Self {
            name: "audit",
            covers: "one writer of every key, twice, and two readers of every key; lost replies, late records; old records are there, \
                     lists and previous versions in records",
            programs: [writes(ALL), reads(ALL), reads(ALL)],
            attempts: &[0, 1, 2, 0],
            start: Start::Recorded,
            layout: Layout::InRecord,
            deaths: true,
            timeouts: true,
            situations: &[Situation::AheadAccepted, Situation::DuplicateAnswered, Situation::LateRecord],
            ..QUIET
        },
        Self {
            name: "read-write",
            covers: "three that read and write, one of them twice; each reads what it wrote; old records have expired",
            programs: [
                Program { reads: A | B, writes: A | C },
                Program { reads: A, writes: A | B },
                Program { reads: C, writes: B },
            ],
            attempts: &[0, 1, 2, 0],
            start: Start::Expired,
            again: true,
            situations: &[Situation::ReadConflict, Situation::DuplicateAnswered, Situation::CommittedBelow],
            ..QUIET
        },
        Self {
            name: "expiry",
            covers: "two writers and a reader of every key, its reads at the same time; records expire, and go in any order",
            programs: [writes(ALL), writes(ALL), reads(ALL)],
            start: Start::Expired,
            reading: Reading::AtOnce,
            expiry: true,
            situations: &[Situation::ReadConflict, Situation::PreviousAccepted],
            ..QUIET
        },
        Self {
            name: "one-sandbox",
            covers: "three writers in one sandbox; late records, deaths and restarts; the fault manager goes by the low-water mark",
            programs: [writes(A | B), writes(B | C), writes(C)],
            one_sandbox: true,
            timeouts: true,
            deaths: true,
            restarts: true,
            situations: &[
                Situation::LateRecord,
                Situation::FaultManagerMoved,
                Situation::JournalFinished,
                Situation::OwnRecordFound,
            ],
            ..QUIET
        },
        Self {
            name: "one-sandbox-wide",
            covers: "the same with writers of every key",
            one_sandbox: true,
            timeouts: true,
            deaths: true,
            restarts: true,
            is_long: true,
            situations: &[Situation::LateRecord, Situation::FaultManagerMoved, Situation::JournalFinished],
            ..QUIET
        },
        Self {
            name: "restart",
            covers: "three writers in one sandbox whose extension dies and is started again; no fault manager",
            programs: [writes(ALL), writes(A | B), writes(B | C)],
            one_sandbox: true,
            restarts: true,
            fault_manager: false,
            situations: &[Situation::JournalFinished],
            ..QUIET
        },
        Self {
            name: "serializable",
            covers: "three serializable transactions that read and write, one of them twice; lost replies, late records, deaths",
            programs: [
                Program { reads: A, writes: B },
                Program { reads: B, writes: C },
                Program { reads: C, writes: A },
            ],
            attempts: &[0, 1, 2, 0],
            serializable: true,
            timeouts: true,
            deaths: true,
            situations: &[Situation::StepRefused, Situation::OwnRecordFound, Situation::DuplicateAnswered],
            ..QUIET
        },
        Self {
            name: "serializable-audit",
            covers: "two serializable transactions that write, one of them unread keys, and one that only reads",
            programs: [Program { reads: A, writes: B | C }, writes(A | C), reads(ALL)],
            serializable: true,
            situations: &[Situation::ReadConflict, Situation::StepRefused, Situation::Overtaken],
            ..QUIET
        },
        Self {
            name: "serializable-wide",
            covers: "the same with more keys, a duplicate of a writer, the reader's retry, its reads at the same time, deaths",
            programs: [Program { reads: A, writes: B | C }, writes(A | B), reads(ALL)],
            attempts: &[0, 1, 2, 2, 0],
            serializable: true,
            reading: Reading::AtOnce,
            deaths: true,
            is_long: true,
            situations: &[Situation::StepRefused, Situation::Overtaken, Situation::DuplicateAnswered],
            ..QUIET
        },
    ];

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::EVERY.iter().find(|scenario| scenario.name == name).cloned()
    }

    /// What an attempt does.
    #[must_use]
    pub fn program(&self, attempt: usize) -> Program {
        self.programs[self.attempts[attempt]]
    }

    /// The attempt of the same transaction before this one.
    #[must_use]
    pub fn attempt_before(&self, attempt: usize) -> Option<usize> {
        (0..attempt).rev().find(|other| self.attempts[*other] == self.attempts[attempt])
    }
}

/// The keys of a set.
pub fn each(keys: Keys) -> impl Iterator<Item = usize> + Clone {
    (0..crate::state::KEYS).filter(move |key| keys & (1 << key) != 0)
}
