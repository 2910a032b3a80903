//! The production store: two DynamoDB tables, through aws-sdk-dynamodb, which appears nowhere else.
//!
//! | file | what |
//! |---|---|
//! | [`client`] | how to reach DynamoDB: configuration, time limits, TLS; nothing heavy before the first request |
//! | `ca_bundle` | whose certificates are trusted, if not those of the bundled roots |
//! | `connections` | connections, which are left behind where they may be dead |
//! | `credentials` | who asks: keys, or where they are to be had |
//! | `error` | what a failed request means, for whom, and what to do about it |
//! | `at_hand` | heads and records in items that are at hand, for simulations |
//! | `attribute` | reading items attribute by attribute, with faults that name the attribute |
//! | `head_item` | heads: the data table's layout and the update that moves one |
//! | `record_item` | commit records: the transaction table's layout, and what overflows into chunks |
//! | `claim_item` | claims: who is at a transaction |
//! | `found` | commit records for recovery: in the table's stream, or by a scan of it |
//! | `settings` | the part of a process's settings that says where the tables are |
//! | `request` | the requests for single items, and batches of keys |
//! | `step` | several items in one step: commits that insist on what was read |
//! | `tables` | whether the tables are usable; making them |
//!
//! No request is ever repeated in here. The caller repeats it, because only the caller knows the deadline, and because a
//! first try that may have taken effect must not be forgotten when a second one is refused (R-COMMIT-4).

#[cfg(feature = "testing")]
pub(crate) mod at_hand;
mod attribute;
mod ca_bundle;
mod claim_item;
pub mod client;
mod connections;
mod credentials;
mod error;
mod found;
mod head_item;
mod record_item;
mod request;
mod settings;
mod step;
mod tables;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aft_protocol::atomic_read::Records;
use aft_protocol::claim::Claim;
use aft_protocol::head::{Entry, Head, Keep};
use aft_protocol::id::TransactionId;
use aft_protocol::isolation::Guards;
use aft_protocol::key::Key;
use aft_protocol::limits;
use aft_protocol::record::CommitRecord;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{HttpClient, SharedHttpClient};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use crate::{Applied, AtOnce, Claimed, Committed, ErrorKind, Obstacles, Stepped, Store, StoreError, Terms, Validated};
use attribute::{Item, Malformed};
use client::Clients;
use connections::{Connect, Connections};
use head_item::If;
use record_item::{Part, Partial};
use request::Written;
use step::Step;
use tables::{Role, Table};

pub use ca_bundle::{CaBundle, InvalidBundle};
pub use credentials::Credentials;

pub use client::{Config, Endpoint, InvalidEndpoint, ReadConsistency, TimeLimits};
pub use found::{Found, Page, Place, Segment};

/// Chunks written at the same time. Each is held as bytes and as JSON: about 1 MB.
const CHUNKS_PER_WRITE: usize = 4;
/// Chunks fetched by one request: an answer of about 8 MB.
const CHUNKS_PER_READ: usize = 16;

/// Heads and commit records in two DynamoDB tables. Clones share the connections.
#[derive(Debug, Clone)]
pub struct DynamoDb {
    clients: Arc<Clients>,
    data: Arc<Table>,
    transactions: Arc<Table>,
    reads: ReadConsistency,
}

impl DynamoDb {
    /// A store that has not sent anything yet: this neither fails nor blocks. [`Store::probe`] tells whether it works.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self::with_time_limits(config, &TimeLimits::default())
    }

    /// The same with other time limits, for engines on busy machines.
    #[must_use]
    pub fn with_time_limits(config: &Config, limits: &TimeLimits) -> Self {
        let security = client::Security::of(config);
        Self::over(config, limits, move |settings, components| client::connector(&security, settings, components))
    }

    /// The same over another HTTP client, for fault injection and simulation.
    #[must_use]
    pub fn with_http_client(config: &Config, limits: &TimeLimits, http: SharedHttpClient) -> Self {
        Self::over(config, limits, move |settings, components| http.http_connector(settings, components))
    }

    fn over(config: &Config, limits: &TimeLimits, connect: impl Connect) -> Self {
        let place: Arc<str> = config.place().into();
        let make = {
            let (config, limits) = (config.clone(), *limits);
            move |connections: &Connections| client::client(&config, &limits, connections)
        };
        let clients = Arc::new(Clients::new(Connections::new(connect), make));
        let renewable = config.credentials.can_be_renewed().then(|| Arc::clone(&clients));
        let table = |role, name| Arc::new(Table::new(role, name, &place, renewable.clone()));
        Self {
            data: table(Role::Data, &config.data_table),
            transactions: table(Role::Transactions, &config.transaction_table),
            clients,
            reads: config.reads,
        }
    }

    fn client(&self) -> Client {
        self.clients.current()
    }

    async fn read_heads(
        &self,
        keys: &BTreeSet<Key>,
        reads: ReadConsistency,
    ) -> Result<BTreeMap<Key, Head>, StoreError> {
        let item_keys = keys.iter().map(head_item::key).collect();
        let items = self.get_all(&self.data, item_keys, reads).await?;
        let mut heads: BTreeMap<_, _> = keys.iter().map(|key| (key.clone(), Head::absent())).collect();
        for item in items {
            let malformed = |error| self.data.malformed("reading a head", error);
            let (key, head) = head_item::decode(item).map_err(malformed)?;
            let asked = heads.get_mut(&key).ok_or_else(|| malformed(Malformed::NotAsked.of(key.as_str())))?;
            *asked = head;
        }
        Ok(heads)
    }

    /// Decodes a record's own item and fetches the chunks that it names.
    async fn complete(&self, item: Item) -> Result<CommitRecord, StoreError> {
        self.with_chunks(self.decoded(item)?).await
    }

    fn decoded(&self, item: Item) -> Result<Partial, StoreError> {
        Partial::decode(item).map_err(|error| self.transactions.malformed("reading a commit record", error))
    }

    async fn with_chunks(&self, mut partial: Partial) -> Result<CommitRecord, StoreError> {
        let malformed = |error| self.transactions.malformed("reading a commit record", error);
        for keys in partial.chunk_keys().chunks(CHUNKS_PER_READ) {
            for chunk in self.get_all(&self.transactions, keys.to_vec(), ReadConsistency::Strong).await? {
                partial.add(chunk).map_err(malformed)?;
            }
        }
        partial.finish().map_err(malformed)
    }

    /// The record that stands in a commit's way. Until it is read nobody knows whose it is: one's own, perhaps, of an earlier
    /// try.
    async fn existing(&self, record: &CommitRecord, item: Item) -> Result<Box<CommitRecord>, StoreError> {
        let completed = self.complete(item).await;
        let existing = completed.map_err(|error| error.reclassified(ErrorKind::Unavailable, ErrorKind::Unknown))?;
        if existing.transaction() == record.transaction() {
            Ok(Box::new(existing))
        } else {
            Err(self.not_asked(&existing))
        }
    }

    fn not_asked(&self, record: &CommitRecord) -> StoreError {
        let fault = Malformed::NotAsked.of(&record.transaction().to_string());
        self.transactions.malformed("reading a commit record", fault)
    }

    async fn write_chunks(&self, record: &CommitRecord, chunks: &[Part<'_>]) -> Result<(), StoreError> {
        let write = |index: usize| self.put(&self.transactions, record_item::chunk(record, index, &chunks[index]));
        let writes = stream::iter(0..chunks.len()).map(write);
        let written = writes.buffer_unordered(CHUNKS_PER_WRITE).try_collect::<()>().await;
        // Whatever became of a chunk: the record was not tried yet, so the transaction did not commit.
        written.map_err(|error| error.reclassified(ErrorKind::Unknown, ErrorKind::Unavailable))
    }
}

impl Store for DynamoDb {
    fn reconnect(&self) {
        self.clients.renew();
    }

    fn leave_connections(&self) {
        self.clients.leave_connections();
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.probe_tables().await
    }

    async fn heads(&self, keys: &BTreeSet<Key>) -> Result<BTreeMap<Key, Head>, StoreError> {
        self.read_heads(keys, self.reads).await
    }

    async fn latest_heads(&self, keys: &BTreeSet<Key>) -> Result<BTreeMap<Key, Head>, StoreError> {
        self.read_heads(keys, ReadConsistency::Strong).await
    }

    async fn records(&self, transactions: &BTreeSet<TransactionId>) -> Result<Records, StoreError> {
        let item_keys = transactions.iter().map(|transaction| record_item::key(*transaction)).collect();
        let items = self.get_all(&self.transactions, item_keys, ReadConsistency::Strong).await?;
        let mut records: Records = transactions.iter().map(|transaction| (*transaction, None)).collect();
        for item in items {
            let record = self.complete(item).await?;
            match records.get_mut(&record.transaction()) {
                Some(asked) => *asked = Some(record),
                None => return Err(self.not_asked(&record)),
            }
        }
        Ok(records)
    }

    async fn commit(&self, record: &CommitRecord) -> Result<Committed, StoreError> {
        let (own, chunks) = record_item::split(record, limits::RECORD_ITEM_BYTES);
        self.write_chunks(record, &chunks).await?;
        let item = record_item::encode(record, &own, chunks.len());
        match self.put_if(&self.transactions, item, record_item::IF_ABSENT, None).await? {
            Written::Now => Ok(Committed::Now),
            Written::Refused(existing) => Ok(Committed::Before(self.existing(record, existing).await?)),
        }
    }

    async fn commit_if(&self, record: &CommitRecord, terms: &Terms) -> Result<Stepped, StoreError> {
        let (own, chunks) = record_item::split(record, limits::RECORD_ITEM_BYTES);
        self.write_chunks(record, &chunks).await?;
        let item = record_item::encode(record, &own, chunks.len());
        Ok(match self.take(record, item, terms).await? {
            Step::Taken => Stepped::Now,
            Step::Recorded(existing) => Stepped::Before(self.existing(record, existing).await?),
            Step::Refused(obstacles) => Stepped::Refused(obstacles),
        })
    }

    async fn heads_at_once(&self, keys: &BTreeSet<Key>) -> Result<AtOnce, StoreError> {
        self.read_at_once(keys).await
    }

    async fn validate(&self, guards: &Guards) -> Result<Validated, StoreError> {
        let differences = self.differences(guards).await?;
        Ok(if differences == Obstacles::default() { Validated::Holds } else { Validated::Refused(differences) })
    }

    async fn apply(&self, key: &Key, entry: &Entry, keep: Keep) -> Result<Applied, StoreError> {
        if entry.version.is_zero() {
            // "Never written" is older than everything.
            return Ok(Applied::NotNewer);
        }
        match self.update(&self.data, head_item::key(key), head_item::moving(entry, keep, If::Newer)).await? {
            Written::Now => Ok(Applied::Moved),
            Written::Refused(existing) => {
                let applied = head_item::version(existing).map(|version| (version, keep));
                match applied.map_err(|error| self.data.malformed("moving a head", error))? {
                    (version, _) if version >= entry.version => Ok(Applied::NotNewer),
                    (_, Keep::InRecord { .. }) => Ok(Applied::RecordExpires),
                    (_, Keep::Inline) => Err(self.data.malformed("moving a head", Malformed::Contradiction)),
                }
            }
        }
    }

    async fn claim(&self, claim: &Claim, now_seconds: u64) -> Result<Claimed, StoreError> {
        let values = claim_item::free(claim, now_seconds);
        let item = claim_item::taken(claim);
        match self.put_if(&self.transactions, item, claim_item::IF_FREE, Some(values)).await? {
            Written::Now => Ok(Claimed::Now),
            Written::Refused(_) => Ok(Claimed::ByAnother),
        }
    }

    async fn release(&self, claim: &Claim) -> Result<(), StoreError> {
        let (item, values) = (claim_item::emptied(claim), claim_item::held(claim));
        // Refused: another's by now.
        self.put_if(&self.transactions, item, claim_item::IF_HELD, Some(values)).await.map(drop)
    }
}
