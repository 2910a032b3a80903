//! The store contract: two tables behind a handful of operations, and what each promises.
//!
//! | file | what |
//! |---|---|
//! | [`error`] | failures, classified by what the caller must do |
//! | [`retry`] | trying a call again, with a deadline |
//! | [`roll_forward`](mod@roll_forward) | moving every head to what a commit record says |
//! | [`recovery`] | finding the records that are not applied, and rolling them forward |
//! | [`dynamodb`] | the production store, through aws-sdk-dynamodb |
//! | `memory` | the contract in its plainest form, for protocol tests (feature `testing`) |
//! | `faults` | a store that fails on purpose, before or after the effect (feature `testing`) |
//! | `simulated` | DynamoDB without a network: the real client over an engine in this process, on virtual time (feature `testing`) |
//! | `watched` | a store that watches over R-FM-2 (feature `testing`) |
//! | `conformance` | what every store must pass (feature `testing`) |

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;

use aft_protocol::atomic_read::Records;
use aft_protocol::claim::Claim;
use aft_protocol::head::{Entry, Head, Keep};
use aft_protocol::id::TransactionId;
use aft_protocol::isolation::Guards;
use aft_protocol::key::Key;
use aft_protocol::record::CommitRecord;
use aft_protocol::version::Version;

#[cfg(feature = "testing")]
pub mod conformance;
pub mod dynamodb;
pub mod error;
#[cfg(feature = "testing")]
pub mod faults;
#[cfg(feature = "testing")]
pub mod memory;
pub mod recovery;
pub mod retry;
pub mod roll_forward;
#[cfg(feature = "testing")]
pub mod simulated;
#[cfg(feature = "testing")]
pub mod watched;

pub use error::{ErrorKind, Pace, StoreError};
pub use roll_forward::{is_past_recovery, roll_forward};

/// How a conditional write of a commit record ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// The record is durable.
    Now,
    /// The transaction has a record already, and this is it: compare the nonce to tell one's own from another's.
    Before(Box<CommitRecord>),
}

/// What a commit record is written together with, all or nothing: at most [`GUARDED_KEYS`](aft_protocol::limits::GUARDED_KEYS)
/// keys in all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// Versions at which keys must still be.
    pub guards: Guards,
    /// Heads of written keys that move in the same step, and what to do with the version before. One without a guard moves if
    /// the record's version is newer (R-SER-2).
    pub moves: BTreeMap<Key, Keep>,
}

impl Terms {
    /// Whether the record is written alone.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.guards.is_empty() && self.moves.is_empty()
    }

    /// Every key that is checked or moved.
    pub fn keys(&self) -> BTreeSet<&Key> {
        self.guards.keys().chain(self.moves.keys()).collect()
    }
}

/// How a commit under [`Terms`] ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stepped {
    /// The record is durable and the heads have moved.
    Now,
    /// The transaction has a record already, and this is it: compare the nonce to tell one's own from another's.
    Before(Box<CommitRecord>),
    /// Nothing was written.
    Refused(Obstacles),
}

/// Whether several keys were at the expected versions at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Validated {
    /// They were.
    Holds,
    /// They were not, or it could not be told.
    Refused(Obstacles),
}

/// Several heads as they were at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AtOnce {
    /// These; one entry a key.
    Heads(BTreeMap<Key, Head>),
    /// It could not be told.
    Refused(Obstacles),
}

/// What stood in the way of a step that is taken whole or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Obstacles {
    /// Keys that are not as they must be, and the versions at which they are; zero: there is no such key. A key that is at the
    /// very version of its guard could not move for another reason: the version before was to be left to a record that may be
    /// gone too soon. Keep it inline.
    pub changed: BTreeMap<Key, Version>,
    /// Keys at which another such step is under way: that may have come to nothing by the next try.
    pub contended: BTreeSet<Key>,
    /// The same of the record: another attempt at the same transaction.
    pub is_record_contended: bool,
}

impl Obstacles {
    /// Whether anything is under way.
    #[must_use]
    pub fn is_contended(&self) -> bool {
        self.is_record_contended || !self.contended.is_empty()
    }
}

impl fmt::Display for Obstacles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let contended = self.contended.iter().map(|key| format!("another transaction is at {key:?}"));
        let changed = self.changed.iter().map(|(key, version)| format!("{key:?} is at {version}"));
        let record =
            self.is_record_contended.then(|| "another attempt at the same transaction is under way".to_owned());
        f.write_str(&changed.chain(contended).chain(record).collect::<Vec<_>>().join(", "))
    }
}

/// How an apply ended. The first two are success (R-COMMIT-5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// The head moved.
    Moved,
    /// The head was at this version already, or at a newer one.
    NotNewer,
    /// Nothing happened: the version before was to be left to a record that may be gone too soon. Keep it inline.
    RecordExpires,
}

/// How an attempt to take a claim ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// It is taken.
    Now,
    /// Another invocation holds it.
    ByAnother,
}

/// Two tables: heads by key, commit records by transaction.
///
/// Every write is conditional, and atomic for one item; only [`Store::commit_if`] writes several at once. Calls may run at the same
/// time. An error whose [`ErrorKind::may_have_applied`] is true says nothing about the effect.
pub trait Store: Send + Sync + 'static {
    /// Whether the tables are there and can be used; warms the connection.
    fn probe(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Drops every connection and every cached credential: those that a snapshot holds are not this sandbox's. The next
    /// call makes new ones. To be called while nothing is under way.
    fn reconnect(&self) {}

    /// Leaves the connections behind, because they may have died unnoticed; what is under way on them goes on. The next
    /// call makes new ones.
    fn leave_connections(&self) {}

    /// The heads of `keys`, [`Head::absent`] for keys never written: one entry a key. Each head is a consistent
    /// snapshot of one item; the set of them is not. One round trip up to 100 keys.
    fn heads(&self, keys: &BTreeSet<Key>) -> impl Future<Output = Result<BTreeMap<Key, Head>, StoreError>> + Send;

    /// As [`Self::heads`], and strongly consistent however the store was told to read: every move that was answered before
    /// this call is in the answer.
    fn latest_heads(
        &self,
        keys: &BTreeSet<Key>,
    ) -> impl Future<Output = Result<BTreeMap<Key, Head>, StoreError>> + Send;

    /// The commit records of `transactions`, complete with what overflowed into chunks; one entry a transaction, `None`
    /// where there is no record. Always strongly consistent.
    fn records(
        &self,
        transactions: &BTreeSet<TransactionId>,
    ) -> impl Future<Output = Result<Records, StoreError>> + Send;

    /// Writes a commit record unless its transaction has one (R-COMMIT-2). When it returns [`Committed::Now`], the record
    /// and everything it names are durable (R-COMMIT-1).
    fn commit(&self, record: &CommitRecord) -> impl Future<Output = Result<Committed, StoreError>> + Send;

    /// Writes a commit record, unless its transaction has one, together with what the terms say: every guard holds and every head
    /// has moved, or nothing has happened (R-SER-1). What overflows into chunks is written before.
    fn commit_if(
        &self,
        record: &CommitRecord,
        terms: &Terms,
    ) -> impl Future<Output = Result<Stepped, StoreError>> + Send;

    /// The heads of these keys, 100 at most, as they were at one and the same moment, with no commit of several heads half
    /// visible. Costs twice as much as [`Self::latest_heads`]; large heads may be too much for it, which is
    /// [`ErrorKind::Rejected`].
    fn heads_at_once(&self, keys: &BTreeSet<Key>) -> impl Future<Output = Result<AtOnce, StoreError>> + Send;

    /// Whether every one of these keys, 100 at most, is at its version at one and the same moment, with no commit of several
    /// heads half visible (R-SER-3).
    fn validate(&self, guards: &Guards) -> impl Future<Output = Result<Validated, StoreError>> + Send;

    /// Moves the head of `key` to `entry` if that is newer (R-COMMIT-5), and does with the version before it as it is told. A
    /// deleted key's head may be forgotten after [`Entry::tombstone_expires_at_seconds`].
    fn apply(&self, key: &Key, entry: &Entry, keep: Keep) -> impl Future<Output = Result<Applied, StoreError>> + Send;

    /// Takes the claim on a transaction, if nobody holds it: there is none, it was released, it expired before
    /// `now_seconds` (since the epoch), or it is this owner's already. Says nothing about commit records.
    fn claim(&self, claim: &Claim, now_seconds: u64) -> impl Future<Output = Result<Claimed, StoreError>> + Send;

    /// Gives a claim back; does nothing to another owner's.
    fn release(&self, claim: &Claim) -> impl Future<Output = Result<(), StoreError>> + Send;
}
