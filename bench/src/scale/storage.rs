//! The two tables as one sandbox reaches them: the plain store of `aft_store`, behind DynamoDB's times, units and limits.
//!
//! What is over a partition's limit is refused as DynamoDB refuses it, after the time of a request: a write or a single read as a
//! whole, of a batch the keys that are over it (the rest is asked for again, as the production store does). The session repeats what
//! was refused, at its own pace.
//!
//! Read atomic only. A step of several items conflicts with others that are in flight, which is what
//! [`contention`](crate::contention) is about.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aft_protocol::atomic_read::Records;
use aft_protocol::claim::Claim;
use aft_protocol::head::{Entry, Head, Keep, Move};
use aft_protocol::id::TransactionId;
use aft_protocol::isolation::Guards;
use aft_protocol::key::Key;
use aft_protocol::limits;
use aft_protocol::record::CommitRecord;
use aft_simulation::paper::random::Random;
use aft_store::memory::Memory;
use aft_store::{Applied, AtOnce, Claimed, Committed, ErrorKind, Pace, Stepped, Store, StoreError, Terms, Validated};
use tokio::time::{Instant, sleep};

use super::partitions::{Limits, Partitions, Takes, hash};
use super::units;
use crate::latency::{Kind, Model};

/// What went over the tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Write units of the data table.
    pub data_writes: usize,
    /// Read units of the data table.
    pub data_reads: usize,
    /// Write units of the transaction table.
    pub transaction_writes: usize,
    /// Read units of the transaction table.
    pub transaction_reads: usize,
    /// Requests, and keys of a batch, that were over a limit.
    pub throttled: usize,
    /// Commit records: what the stream delivers.
    pub records: usize,
    /// What their items take.
    pub record_bytes: usize,
    by_key: HashMap<u64, usize>,
}

impl Usage {
    /// Write units of both tables.
    #[must_use]
    pub const fn writes(&self) -> usize {
        self.data_writes + self.transaction_writes
    }

    /// Read units of both tables.
    #[must_use]
    pub const fn reads(&self) -> usize {
        self.data_reads + self.transaction_reads
    }

    /// Those write units that went to the one key with most of them.
    #[must_use]
    pub fn hottest_writes(&self) -> usize {
        self.by_key.values().copied().max().unwrap_or_default()
    }
}

/// The two tables.
pub struct Tables {
    memory: Memory,
    model: Model,
    state: Mutex<State>,
}

struct State {
    data: Partitions,
    transactions: Partitions,
    usage: Usage,
}

#[derive(Debug, Clone, Copy)]
enum Table {
    Data,
    Transactions,
}

impl Tables {
    /// These tables, as fast as the model says, within these limits.
    #[must_use]
    pub fn new(memory: Memory, model: Model, limits: Limits) -> Arc<Self> {
        let (data, transactions) = (Partitions::new(limits), Partitions::new(limits));
        Arc::new(Self { memory, model, state: Mutex::new(State { data, transactions, usage: Usage::default() }) })
    }

    /// What went over them since the last call.
    #[must_use]
    pub fn usage(&self) -> Usage {
        std::mem::take(&mut self.state().usage)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recorded(&self, bytes: usize) {
        let mut state = self.state();
        state.usage.records += 1;
        state.usage.record_bytes += bytes;
    }

    /// Takes the units of one item, or refuses.
    fn admit(&self, table: Table, key: &[u8], takes: Takes) -> bool {
        let mut state = self.state();
        let partitions = match table {
            Table::Data => &mut state.data,
            Table::Transactions => &mut state.transactions,
        };
        if !partitions.admit(key, takes) {
            state.usage.throttled += 1;
            return false;
        }
        match (table, takes) {
            (Table::Data, Takes::Writes(units)) => {
                state.usage.data_writes += units;
                *state.usage.by_key.entry(hash(key)).or_default() += units;
            }
            (Table::Data, Takes::Reads(units)) => state.usage.data_reads += units,
            (Table::Transactions, Takes::Writes(units)) => state.usage.transaction_writes += units,
            (Table::Transactions, Takes::Reads(units)) => state.usage.transaction_reads += units,
        }
        true
    }
}

/// One sandbox's time: virtual time goes on in whole milliseconds, as tokio's timer counts, and what is left of each wait is carried over
/// to the next, so that nothing is lost or won by rounding.
#[derive(Debug, Default)]
pub struct Watch(Mutex<Duration>);

impl Watch {
    /// Lets so much time pass.
    pub async fn pass(&self, time: Duration) {
        let whole = {
            let mut carried = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let due = *carried + time;
            let whole = Duration::from_millis(u64::try_from(due.as_millis()).unwrap_or(u64::MAX));
            *carried = due - whole;
            whole
        };
        if !whole.is_zero() {
            sleep(whole).await;
        }
    }

    /// Now, with what is carried.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::now() + *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tables as one sandbox reaches them.
pub struct Storage {
    tables: Arc<Tables>,
    watch: Arc<Watch>,
    random: Mutex<Random>,
}

impl Storage {
    /// For a sandbox with this watch, whose requests take what is drawn from `random`.
    #[must_use]
    pub fn new(tables: &Arc<Tables>, watch: &Arc<Watch>, random: Random) -> Self {
        Self { tables: Arc::clone(tables), watch: Arc::clone(watch), random: Mutex::new(random) }
    }

    /// A request on its way there; the way back takes what is returned.
    async fn arrive(&self, kind: Kind) -> Duration {
        let takes = self.tables.model.draw(kind, &mut self.random.lock().unwrap_or_else(PoisonError::into_inner));
        let there = takes / 2;
        self.watch.pass(there).await;
        takes - there
    }

    /// Reads of several items, as large as `size` says: those that are over a limit are asked for again, as long as that gets
    /// anywhere.
    async fn read<K: Ord + Clone, V, F>(
        &self,
        table: Table,
        keys: &BTreeSet<K>,
        find: impl Fn(BTreeSet<K>) -> F,
        item: impl Fn(&K, &V) -> (String, usize),
    ) -> Result<BTreeMap<K, V>, StoreError>
    where
        F: Future<Output = Result<BTreeMap<K, V>, StoreError>>,
    {
        let mut left = keys.clone();
        let mut read = BTreeMap::new();
        while !left.is_empty() {
            let asked = left.len();
            let kind = if asked == 1 { Kind::One } else { Kind::Batch(asked) };
            let back = self.arrive(kind).await;
            for (key, value) in find(left.clone()).await? {
                let (name, bytes) = item(&key, &value);
                if self.tables.admit(table, name.as_bytes(), Takes::Reads(units::to_read(bytes))) {
                    left.remove(&key);
                    read.insert(key, value);
                }
            }
            self.watch.pass(back).await;
            if left.len() == asked {
                return Err(throttled(if asked == 1 { "GetItem" } else { "BatchGetItem" }));
            }
        }
        Ok(read)
    }
}

fn throttled(operation: &'static str) -> StoreError {
    let why = "ThrottlingException: throughput exceeds the current capacity of a partition";
    StoreError::new(ErrorKind::Unavailable, operation, why).at_pace(Pace::Later)
}

fn not_modelled(operation: &'static str) -> StoreError {
    let why = "this model is of read-atomic transactions without chunks; for steps of several items run the benchmark `contention`";
    StoreError::new(ErrorKind::Rejected, operation, why)
}

impl Store for Storage {
    async fn probe(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// The sandboxes read strongly (`AFT_READ=strong`).
    async fn heads(&self, keys: &BTreeSet<Key>) -> Result<BTreeMap<Key, Head>, StoreError> {
        self.latest_heads(keys).await
    }

    async fn latest_heads(&self, keys: &BTreeSet<Key>) -> Result<BTreeMap<Key, Head>, StoreError> {
        let find = |keys: BTreeSet<Key>| async move { self.tables.memory.heads(&keys).await };
        self.read(Table::Data, keys, find, |key, head| (key.as_str().to_owned(), head.item_bytes(key))).await
    }

    async fn records(&self, transactions: &BTreeSet<TransactionId>) -> Result<Records, StoreError> {
        let find = |transactions: BTreeSet<_>| async move { self.tables.memory.records(&transactions).await };
        let size = |record: &Option<CommitRecord>| record.as_ref().map_or(0, units::record_bytes);
        self.read(Table::Transactions, transactions, find, |id, record| (id.to_string(), size(record))).await
    }

    async fn commit(&self, record: &CommitRecord) -> Result<Committed, StoreError> {
        let bytes = units::record_bytes(record);
        if bytes > limits::RECORD_ITEM_BYTES {
            return Err(not_modelled("PutItem"));
        }
        let back = self.arrive(Kind::One).await;
        // What its condition refuses counts, too: there is one record of a transaction, and every try writes the same.
        let name = record.transaction().to_string();
        let admitted = self.tables.admit(Table::Transactions, name.as_bytes(), Takes::Writes(units::to_write(bytes)));
        let committed = if admitted { Some(self.tables.memory.commit(record).await?) } else { None };
        if committed == Some(Committed::Now) {
            self.tables.recorded(bytes);
        }
        self.watch.pass(back).await;
        committed.ok_or_else(|| throttled("PutItem"))
    }

    async fn commit_if(&self, _: &CommitRecord, _: &Terms) -> Result<Stepped, StoreError> {
        Err(not_modelled("TransactWriteItems"))
    }

    async fn heads_at_once(&self, _: &BTreeSet<Key>) -> Result<AtOnce, StoreError> {
        Err(not_modelled("TransactGetItems"))
    }

    async fn validate(&self, _: &Guards) -> Result<Validated, StoreError> {
        Err(not_modelled("TransactGetItems"))
    }

    async fn apply(&self, key: &Key, entry: &Entry, keep: Keep) -> Result<Applied, StoreError> {
        let back = self.arrive(Kind::One).await;
        let head = self.tables.memory.head_of(key);
        let after = match head.moved_to(entry.clone(), keep) {
            Move::To(moved) => moved.item_bytes(key),
            Move::NotNewer | Move::RecordExpires => 0,
        };
        // DynamoDB charges for the larger of the item before and after, and for a move that its condition refuses.
        let takes = Takes::Writes(units::to_write(head.item_bytes(key).max(after)));
        let admitted = self.tables.admit(Table::Data, key.as_str().as_bytes(), takes);
        let applied = if admitted { Some(self.tables.memory.apply(key, entry, keep).await?) } else { None };
        self.watch.pass(back).await;
        applied.ok_or_else(|| throttled("UpdateItem"))
    }

    async fn claim(&self, _: &Claim, _: u64) -> Result<Claimed, StoreError> {
        Err(not_modelled("PutItem of a claim"))
    }

    async fn release(&self, _: &Claim) -> Result<(), StoreError> {
        Err(not_modelled("PutItem of a claim"))
    }
}
