//! The two tables: what they are called, whether they are usable, and, for local engines, how they are made.

use std::fmt;
use std::sync::Arc;

use aft_protocol::settings;
use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TimeToLiveSpecification,
    TimeToLiveStatus,
};

use super::attribute::{Item, string};
use super::client::Clients;
use super::{DynamoDb, ReadConsistency};
use crate::StoreError;

/// The attribute that DynamoDB's TTL looks at, in both tables.
const TTL_ATTRIBUTE: &str = "x";

/// No key of anything that is stored: the probe reads it and finds nothing.
const PROBE_KEY: &str = "aft:probe";

/// What a table is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// One item per key.
    Data,
    /// Commit records and their chunks.
    Transactions,
}

impl Role {
    /// The names of partition key and sort key. All are strings.
    fn key(self) -> &'static [&'static str] {
        match self {
            Self::Data => &["k"],
            Self::Transactions => &["id", "part"],
        }
    }

    fn setting(self) -> &'static str {
        match self {
            Self::Data => settings::DATA_TABLE.name,
            Self::Transactions => settings::TRANSACTION_TABLE.name,
        }
    }
}

/// A table, and what people need to know about it when a request fails.
#[derive(Debug)]
pub(super) struct Table {
    role: Role,
    name: String,
    place: Arc<str>,
    /// What makes clients with other credentials, if any can be had.
    renewable: Option<Arc<Clients>>,
}

impl Table {
    pub(super) fn new(role: Role, name: &str, place: &Arc<str>, renewable: Option<Arc<Clients>>) -> Self {
        Self { role, name: name.to_owned(), place: Arc::clone(place), renewable }
    }

    /// The credentials have expired. Whether others can be had: then the next request is signed with them.
    pub(super) fn renew_expired(&self) -> bool {
        self.renewable.as_ref().map(|clients| clients.renew_expired()).is_some()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (setting, key) = (self.role.setting(), self.role.key().join(" and "));
        write!(f, "table {:?} ({setting}, string key {key}) at {}", self.name, self.place)
    }
}

/// What is wrong with the two tables.
#[derive(Debug, thiserror::Error)]
#[error("{data}; {transactions}")]
struct BothUnusable {
    data: StoreError,
    transactions: StoreError,
}

impl DynamoDb {
    /// Reads a key that does not exist from each table: that needs no permission besides those that every transaction
    /// needs, and finds a missing table, a wrong key schema, missing permissions to read, credentials that are not accepted and
    /// an unreachable endpoint.
    ///
    /// Permissions to write are found by the first commit. A write under a condition that cannot hold would find them here,
    /// but a function that only reads, with a role that may only read, would then not start; and since the key is always the same,
    /// it would be a write unit on one and the same item for each table and cold start. Nothing is lost by waiting: a record
    /// that may not be written was not written, and heads that may not be moved are moved by whoever may (R-FM-3).
    pub(super) async fn probe_tables(&self) -> Result<(), StoreError> {
        match futures_util::future::join(self.probe_table(&self.data), self.probe_table(&self.transactions)).await {
            (Ok(()), Ok(())) => Ok(()),
            (Err(error), Ok(())) | (Ok(()), Err(error)) => Err(error),
            (Err(data), Err(transactions)) => {
                // What somebody must act on outranks what may pass.
                let kind = if data.kind().is_retryable() { transactions.kind() } else { data.kind() };
                Err(StoreError::new(kind, "probe", BothUnusable { data, transactions }))
            }
        }
    }

    async fn probe_table(&self, table: &Arc<Table>) -> Result<(), StoreError> {
        let key: Item = table.role.key().iter().map(|name| ((*name).to_owned(), string(PROBE_KEY))).collect();
        self.get_all(table, vec![key], ReadConsistency::Eventual).await.map(drop)
    }

    /// Makes the tables that are missing, with on-demand billing and TTL. For local engines, where a table is there as
    /// soon as it is made; in production they come from a template.
    ///
    /// # Errors
    /// [`StoreError`]; what was made until then stays, and the call can be repeated.
    pub async fn create_tables(&self) -> Result<(), StoreError> {
        for table in [&self.data, &self.transactions] {
            self.create_table(table).await?;
            self.enable_ttl(table).await?;
        }
        Ok(())
    }

    async fn create_table(&self, table: &Table) -> Result<(), StoreError> {
        let mut request =
            self.client().create_table().table_name(table.name()).billing_mode(BillingMode::PayPerRequest);
        for (name, kind) in table.role.key().iter().zip([KeyType::Hash, KeyType::Range]) {
            let attribute = AttributeDefinition::builder().attribute_name(*name).attribute_type(ScalarAttributeType::S);
            let key = KeySchemaElement::builder().attribute_name(*name).key_type(kind);
            request = request
                .attribute_definitions(attribute.build().map_err(|error| table.incomplete("CreateTable", error))?)
                .key_schema(key.build().map_err(|error| table.incomplete("CreateTable", error))?);
        }
        let Err(refusal) = request.send().await else { return Ok(()) };
        if let Some(CreateTableError::ResourceInUseException(_)) = refusal.as_service_error() {
            return Ok(());
        }
        // The embedded engines of two hosts over one file do not tell each other so: the later one fails in some other way.
        match self.client().describe_table().table_name(table.name()).send().await {
            Ok(_) => Ok(()),
            Err(_) => Err(table.failure("CreateTable", refusal)),
        }
    }

    /// DynamoDB refuses to enable what is enabled: only a look tells that refusal from another. Looking first would not
    /// do, because another process may enable it in between.
    async fn enable_ttl(&self, table: &Table) -> Result<(), StoreError> {
        let ttl = TimeToLiveSpecification::builder().enabled(true).attribute_name(TTL_ATTRIBUTE).build();
        let ttl = ttl.map_err(|error| table.incomplete("UpdateTimeToLive", error))?;
        let request = self.client().update_time_to_live().table_name(table.name()).time_to_live_specification(ttl);
        let Err(refusal) = request.send().await else { return Ok(()) };
        let described = self.client().describe_time_to_live().table_name(table.name()).send().await;
        let described = described.map_err(|error| table.failure("DescribeTimeToLive", error))?;
        match described.time_to_live_description.and_then(|description| description.time_to_live_status) {
            Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling) => Ok(()),
            Some(_) | None => Err(table.failure("UpdateTimeToLive", refusal)),
        }
    }
}
