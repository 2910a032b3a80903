//! What the function is asked, and what it keeps.

use serde::{Deserialize, Serialize};

use crate::faults::Fault;

/// What a checking account, or one of the bank, holds before its first transfer.
pub const OPENING_BALANCE: i64 = 1_000;

/// What the function is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum Event {
    /// Move money.
    Transfer(Transfer),
    /// Read a customer's accounts and ledger.
    Audit(Audit),
    /// Add one to a counter.
    Count(Count),
    /// Move money between any two accounts of a bank.
    Pay(Pay),
    /// Read many accounts of the bank.
    Bank(Bank),
}

/// Add one to a counter.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Count {
    /// Its key.
    pub counter: String,
    /// As of a transfer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
}

/// Move `amount` from one account to another, if it is there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pay {
    /// From which.
    pub from: String,
    /// To which.
    pub to: String,
    /// How much.
    pub amount: i64,
    /// An account that may cover what the first lacks; it is only read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cover: Option<String>,
    /// As of a transfer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
}

/// Whether it was there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paid {
    /// Whether the money has moved.
    pub paid: bool,
}

/// Read these accounts of the bank.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bank {
    /// Which.
    pub accounts: Vec<String>,
    /// By one request for each, and not one for all.
    #[serde(default)]
    pub one_by_one: bool,
}

/// What they hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Total {
    /// Together.
    pub total: i64,
    /// The least that one of them holds.
    pub least: i64,
}

/// Move `amount` from checking to savings.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Transfer {
    /// Whose accounts.
    pub customer: String,
    /// Names the ledger entry.
    pub transfer: String,
    /// How much.
    pub amount: i64,
    /// How to fail: the first attempt by the first of these, the second by the second, …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
}

/// Read a customer's accounts, and the ledger entries of these transfers and of the last one booked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Audit {
    /// Whose.
    pub customer: String,
    /// Which ledger entries.
    #[serde(default)]
    pub transfers: Vec<String>,
}

/// One account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// What it holds.
    pub balance: i64,
    /// Every transfer that was booked on it, in order.
    pub transfers: Vec<String>,
}

impl Account {
    /// A checking account before its first transfer.
    #[must_use]
    pub fn opening() -> Self {
        Self { balance: OPENING_BALANCE, transfers: Vec::new() }
    }

    /// Books a transfer.
    pub fn book(&mut self, amount: i64, transfer: &str) {
        self.balance += amount;
        self.transfers.push(transfer.to_owned());
    }
}

/// One line of the ledger: the transfer, and both balances after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// Which transfer.
    pub transfer: String,
    /// How much.
    pub amount: i64,
    /// Checking, afterwards.
    pub checking: i64,
    /// Savings, afterwards.
    pub savings: i64,
}

/// What an audit saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// The checking account.
    pub checking: Account,
    /// The savings account.
    pub savings: Account,
    /// The ledger entry of the checking account's last transfer.
    pub last: Option<LedgerEntry>,
    /// Which of the transfers asked for have a ledger entry.
    pub ledger: Vec<String>,
}

impl Statement {
    /// Whether this shows a part of a transfer without the rest.
    #[must_use]
    pub fn is_torn(&self) -> bool {
        let last_matches = match (&self.last, self.checking.transfers.last()) {
            (None, None) => true,
            (Some(entry), Some(transfer)) => {
                entry.transfer == *transfer
                    && (entry.checking, entry.savings) == (self.checking.balance, self.savings.balance)
            }
            (Some(_), None) | (None, Some(_)) => false,
        };
        self.checking.transfers != self.savings.transfers
            || self.checking.balance + self.savings.balance != OPENING_BALANCE
            || !last_matches
    }
}

#[cfg(test)]
mod tests {
    use super::{Account, LedgerEntry, Statement};

    fn statement() -> Statement {
        let (mut checking, mut savings) = (Account::opening(), Account::default());
        checking.book(-5, "t");
        savings.book(5, "t");
        let last = Some(LedgerEntry { transfer: "t".to_owned(), amount: 5, checking: 995, savings: 5 });
        Statement { checking, savings, last, ledger: Vec::new() }
    }

    #[test]
    fn a_statement_is_torn_if_any_part_is_missing_or_doubled() {
        assert!(!statement().is_torn());
        let mut without_ledger = statement();
        without_ledger.last = None;
        let mut without_savings = statement();
        without_savings.savings = Account::default();
        let mut twice = statement();
        twice.checking.book(-5, "t");
        for torn in [without_ledger, without_savings, twice] {
            assert!(torn.is_torn(), "{torn:?}");
        }
    }
}
