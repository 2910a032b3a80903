//! One state of the world, small enough to be kept by the million: both tables, every attempt, every sandbox.
//!
//! Versions are named by who committed them; their order is a permutation ([`State::rank`]), because nothing but the order of
//! versions matters to the protocol. So a clock that is wrong by anything is a new version that takes any place above what
//! its sandbox has seen.

/// Keys.
pub const KEYS: usize = 3;
/// Transactions.
pub const TRANSACTIONS: usize = 3;
/// Most attempts of all transactions together.
pub const ATTEMPTS: usize = 6;
/// Most sandboxes that run more than one transaction.
pub const SANDBOXES: usize = 1;
/// Versions in a head: the current one, the previous one, and the older identifiers.
pub const DEPTH: usize = 2 + aft_protocol::head::OLDER;

/// A version: none, one of two that were there before anything began, or that of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Ver(pub u8);

impl Ver {
    /// The key was never written.
    pub const ZERO: Self = Self(0);
    /// What all keys had before [`Self::BEFORE`].
    pub const ANCIENT: Self = Self(1);
    /// What all keys have when everything begins, unless they do not exist.
    pub const BEFORE: Self = Self(2);
    /// How many there are.
    pub const COUNT: usize = 3 + ATTEMPTS;

    /// What this attempt commits.
    #[must_use]
    pub const fn of(attempt: usize) -> Self {
        Self(3 + attempt as u8)
    }

    /// Whose it is.
    #[must_use]
    pub fn attempt(self) -> Option<usize> {
        usize::from(self.0).checked_sub(3)
    }
}

/// The item of a key: versions, newest first, and whether the previous one is inline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Head {
    /// The current version, the previous one, and the older identifiers.
    pub versions: [Ver; DEPTH],
    /// Whether the previous version is inline.
    pub inline: bool,
}

impl Head {
    /// The newest applied version.
    #[must_use]
    pub fn current(&self) -> Ver {
        self.versions[0]
    }
}

/// How a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Life {
    /// It was never written.
    #[default]
    None,
    /// It is there.
    There,
    /// It has expired, and is there.
    Expired,
    /// It has expired, and is gone.
    Deleted,
}

/// A transaction's commit record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Record {
    /// Whether it is there.
    pub life: Life,
    /// Which attempt wrote it: its nonce, its writes and its response.
    pub by: u8,
    /// Under which name of its sandbox.
    pub name: u8,
    /// Everything under that name through this version is applied.
    pub through: Ver,
}

impl Record {
    /// Whether the transaction has committed.
    #[must_use]
    pub fn committed(&self) -> bool {
        self.life != Life::None
    }

    /// Whether it can be read.
    #[must_use]
    pub fn readable(&self) -> bool {
        matches!(self.life, Life::There | Life::Expired)
    }

    /// The version that was committed.
    #[must_use]
    pub fn version(&self) -> Ver {
        Ver::of(self.by.into())
    }
}

/// Where an attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Phase {
    /// It has not begun.
    #[default]
    Waiting,
    /// It reads.
    Open,
    /// Its record, or what is to be validated, is on its way, or was, and no answer is known.
    Sent,
    /// It knows that its own record is durable.
    Recorded,
    /// It knows that another attempt's record is durable.
    Found,
    /// Its caller has the response of this attempt.
    Answered(u8),
    /// Its caller was told of a conflict: nothing was written.
    Conflicted,
    /// Its caller was told of a failure: nothing was written.
    Failed,
    /// It died, or its caller was told that the outcome is unknown; or nothing depends any more on how it ended.
    Over,
}

/// What an attempt has of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Read {
    /// Nothing.
    #[default]
    Not,
    /// The head, as it was then.
    Fetched(Head),
    /// This version, with its cowritten list.
    Seen(Ver),
    /// This version, whose cowritten list could not be had.
    Alone(Ver),
}

impl Read {
    /// The version that was read.
    #[must_use]
    pub fn seen(&self) -> Option<Ver> {
        match self {
            Self::Seen(version) | Self::Alone(version) => Some(*version),
            Self::Not | Self::Fetched(_) => None,
        }
    }
}

/// One execution of a transaction's handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Attempt {
    /// Where it is.
    pub phase: Phase,
    /// Whether a copy of its record's write may still arrive at the store.
    pub adrift: bool,
    /// What it has read.
    pub reads: [Read; KEYS],
    /// What its version must be greater than, by R-COMMIT-3.
    pub must_pass: Ver,
    /// What its clock knows of.
    pub clock: Ver,
    /// Which transactions were over when it began: applied everywhere, or (serializable) answered.
    pub over: u8,
    /// What its record says of its sandbox's name and low-water mark.
    pub name: u8,
    /// The low-water mark.
    pub through: Ver,
}

/// A sandbox that runs several transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Sandbox {
    /// Its name: it changes.
    pub name: u8,
    /// Everything under this name through this version is applied.
    pub through: Ver,
    /// The transaction, by its number from 1, that was committed last under this name, if it may be unapplied.
    pub last: u8,
    /// The newest version that it has read, written or seen.
    pub clock: Ver,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct State {
    /// Each version's place in the order of versions; 0: not taken yet.
    pub rank: [u8; Ver::COUNT],
    /// The data table.
    pub heads: [Head; KEYS],
    /// The transaction table.
    pub records: [Record; TRANSACTIONS],
    /// All attempts.
    pub attempts: [Attempt; ATTEMPTS],
    /// Sandboxes.
    pub sandboxes: [Sandbox; SANDBOXES],
    /// Transactions whose records a reader has seen ahead of a head: a bit each.
    pub seen_ahead: u8,
    /// Transactions that a journal named when its extension died: a bit each.
    pub journaled: u8,
    /// What a step has broken: a bit for each promise of [`crate::property`].
    pub broken: u8,
}

impl State {
    /// The place of a version in the order of versions.
    #[must_use]
    pub fn rank_of(&self, version: Ver) -> u8 {
        self.rank[usize::from(version.0)]
    }

    /// The greater one.
    #[must_use]
    pub fn max(&self, one: Ver, other: Ver) -> Ver {
        if self.rank_of(other) > self.rank_of(one) { other } else { one }
    }

    /// The place behind all.
    #[must_use]
    pub fn last_place(&self) -> u8 {
        self.rank.iter().max().map_or(1, |rank| rank + 1)
    }

    /// Puts a new version at a place; what is there or behind moves on by one.
    pub fn put(&mut self, version: Ver, place: u8) {
        for rank in &mut self.rank {
            if *rank >= place {
                *rank += 1;
            }
        }
        self.rank[usize::from(version.0)] = place;
    }

    /// The version at a place.
    #[must_use]
    pub fn at_place(&self, place: u64) -> Option<Ver> {
        let index = self.rank.iter().position(|rank| u64::from(*rank) == place)?;
        u8::try_from(index).ok().map(Ver)
    }
}
