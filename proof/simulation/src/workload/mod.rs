//! What functions do, and what must hold of it whatever else happens.
//!
//! | file | what |
//! |---|---|
//! | [`pairs`] | pairs of keys that only ever change together, and auditors |
//! | [`bank`] | transfers between any two accounts, and auditors of the whole sum |
//! | [`ledger`] | every request appends an entry, once |
//! | [`registers`] | reading, changing and writing, with a setup and with witnesses of the order |
//! | [`anything`] | reads, writes, deletions and conditional writes of a few keys, and transactions within transactions |

use aft_protocol::isolation::Isolation;

use crate::chance::Chance;
use crate::ground::Ground;
use crate::job::{Job, Stop};

pub mod anything;
pub mod bank;
pub mod ledger;
pub mod pairs;
pub mod registers;

/// What functions do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Workload {
    /// Pairs of keys that only ever change together: every pair agrees in every read, in either isolation.
    Pairs,
    /// Transfers between any accounts: every sum is the whole sum.
    Bank,
    /// The same without the promise: read atomic, so that sums may be wrong. What is counted is that they are.
    Purse,
    /// Every request appends to one list.
    Ledger,
    /// Read-modify-write of a few registers.
    Registers,
    /// Anything, in both isolations.
    Anything,
}

impl Workload {
    /// All of them, some twice as often.
    pub const ALL: [Self; 8] = [
        Self::Pairs,
        Self::Pairs,
        Self::Bank,
        Self::Purse,
        Self::Ledger,
        Self::Registers,
        Self::Anything,
        Self::Anything,
    ];

    /// What a sandbox promises its transactions.
    #[must_use]
    pub fn isolation(self, chance: &Chance) -> Isolation {
        match self {
            Self::Bank | Self::Ledger => Isolation::Serializable,
            Self::Purse => Isolation::ReadAtomic,
            Self::Pairs if !chance.one_in(4) => Isolation::ReadAtomic,
            Self::Registers if !chance.one_in(3) => Isolation::Serializable,
            Self::Pairs | Self::Registers | Self::Anything => {
                chance.of(&[Isolation::ReadAtomic, Isolation::Serializable])
            }
        }
    }

    /// Whether all that an attempt writes is large, so that its record overflows. The memory knows no sizes.
    #[must_use]
    pub fn is_large(self, ground: &str, chance: &Chance) -> bool {
        self == Self::Anything && ground == "dynamodb" && chance.one_in(16)
    }

    /// How much is added to a value, in bytes: some are left to their records when the next one comes.
    #[must_use]
    pub fn padding(self, is_large: bool, chance: &Chance) -> usize {
        match self {
            Self::Ledger => 0,
            _ if is_large => 180_000,
            _ if chance.one_in(3) => 700,
            _ => 0,
        }
    }

    /// One attempt.
    ///
    /// # Errors
    /// [`Stop`]: how the handler ends.
    pub async fn handle<G: Ground>(self, job: &mut Job<'_, G>) -> Result<(), Stop> {
        match self {
            Self::Pairs => pairs::handle(job).await,
            Self::Bank | Self::Purse => bank::handle(job, self == Self::Bank).await,
            Self::Ledger => ledger::handle(job).await,
            Self::Registers => registers::handle(job).await,
            Self::Anything => anything::handle(job).await,
        }
    }
}
