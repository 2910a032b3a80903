//! What clients do: transfers between two accounts, and audits of ten; what comes of it.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::Error;
use crate::samples::Samples;
use aft_simulation::paper::random::{Random, Zipf};

/// Accounts that there are.
pub const ACCOUNTS: usize = 1_000;
/// Clients, each in a closed loop.
pub const CLIENTS: u64 = 16;
/// Accounts that an audit reads.
const AUDITED: usize = 10;
/// What everybody has who was never written.
const OPENING_BALANCE: i64 = 1_000;

/// What the clients do, how much of it, and over which keys.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Workload {
    /// The exponent of the Zipf distribution that accounts are drawn from.
    pub skew: f64,
    /// How many of a hundred transactions are audits.
    pub audits_percent: u64,
    /// Clients begin transactions until so many have committed.
    pub transactions: usize,
    /// Whatever is left to chance comes from this.
    pub seed: u64,
}

/// An account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// Its money.
    pub balance: i64,
    /// How often it was written: an update that was lost is missing here, whatever it did to the balance.
    pub updates: i64,
}

impl Default for Account {
    fn default() -> Self {
        Self { balance: OPENING_BALANCE, updates: 0 }
    }
}

impl Account {
    /// With so much more.
    #[must_use]
    pub const fn plus(self, amount: i64) -> Self {
        Self { balance: self.balance + amount, updates: self.updates + 1 }
    }

    /// As text.
    #[must_use]
    pub fn to_text(self) -> String {
        format!("{} {}", self.balance, self.updates)
    }

    /// From such text.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let text = std::str::from_utf8(text)?;
        let (balance, updates) = text.split_once(' ').ok_or("an account is two numbers")?;
        Ok(Self { balance: balance.parse()?, updates: updates.parse()? })
    }
}

/// The name of an account's key.
#[must_use]
pub fn name(account: usize) -> String {
    format!("account/{account:04}")
}

/// One transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Reads both and writes both.
    Transfer {
        /// Who pays.
        from: usize,
        /// Who is paid.
        to: usize,
        /// How much.
        amount: i64,
    },
    /// Reads them all, as they are at one moment.
    Audit(BTreeSet<usize>),
}

impl Work {
    /// Draws one.
    #[must_use]
    pub fn draw(workload: &Workload, zipf: &Zipf, random: &mut Random) -> Self {
        let wanted = if random.bits() % 100 < workload.audits_percent { AUDITED } else { 2 };
        let mut accounts = Vec::new();
        while accounts.len() < wanted {
            let account = zipf.draw(random);
            if !accounts.contains(&account) {
                accounts.push(account);
            }
        }
        match accounts[..] {
            [from, to] => Self::Transfer { from, to, amount: 1 + (random.bits() % 10) as i64 },
            _ => Self::Audit(accounts.into_iter().collect()),
        }
    }

    /// What it reads.
    #[must_use]
    pub fn accounts(&self) -> BTreeSet<usize> {
        match self {
            Self::Transfer { from, to, .. } => BTreeSet::from([*from, *to]),
            Self::Audit(accounts) => accounts.clone(),
        }
    }
}

/// How far all clients together have come.
#[derive(Debug)]
pub struct Progress {
    start: Instant,
    goal: usize,
    committed: AtomicUsize,
    took: OnceLock<Duration>,
}

impl Progress {
    /// They begin now.
    #[must_use]
    pub fn new(workload: &Workload) -> Self {
        let committed = AtomicUsize::new(0);
        Self { start: Instant::now(), goal: workload.transactions, committed, took: OnceLock::new() }
    }

    /// One more.
    pub fn advance(&self) {
        if self.committed.fetch_add(1, Ordering::Relaxed) + 1 == self.goal {
            // It happens once.
            let _ = self.took.set(self.start.elapsed());
        }
    }

    /// Whether that was all; what is under way goes on to its end.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.took.get().is_some()
    }

    /// How long it took until so many had committed.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.took.get().copied().unwrap_or_else(|| self.start.elapsed())
    }
}

/// What the clients' transactions came to.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// From the first attempt's begin to the commit.
    pub transfers: Samples,
    /// The same, of audits.
    pub audits: Samples,
    /// Attempts that ended in a conflict.
    pub aborted: usize,
    /// Transactions that were given up.
    pub given_up: usize,
    /// Attempts that a transaction took, at most.
    pub most_attempts: usize,
}

impl Tally {
    /// All that committed.
    #[must_use]
    pub fn committed(&self) -> usize {
        self.transfers.len() + self.audits.len()
    }

    /// A transaction has committed.
    pub fn commits(&mut self, work: &Work, latency: Duration, attempts: usize) {
        match work {
            Work::Transfer { .. } => self.transfers.push(latency),
            Work::Audit(_) => self.audits.push(latency),
        }
        self.most_attempts = self.most_attempts.max(attempts);
    }

    /// Both.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.transfers.append(other.transfers);
        self.audits.append(other.audits);
        self.aborted += other.aborted;
        self.given_up += other.given_up;
        self.most_attempts = self.most_attempts.max(other.most_attempts);
        self
    }
}

/// What the accounts show at the end, beside what they should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Losses {
    /// Updates that were acknowledged and are not there.
    pub updates: i64,
    /// Money that is there and should not be, or the other way round.
    pub money: i64,
}

impl Losses {
    /// After so many transfers.
    #[must_use]
    pub fn of(accounts: &[Account], transfers: usize) -> Self {
        let expected = 2 * i64::try_from(transfers).unwrap_or(i64::MAX);
        let updates: i64 = accounts.iter().map(|account| account.updates).sum();
        let money: i64 = accounts.iter().map(|account| account.balance - OPENING_BALANCE).sum();
        Self { updates: expected - updates, money }
    }

    /// Neither updates nor money.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.updates == 0 && self.money == 0
    }
}
