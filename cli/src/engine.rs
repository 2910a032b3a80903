//! Which DynamoDB a host's processes use: the embedded engine, with its tables made, or somebody else's.

use std::path::PathBuf;

use aft_protocol::settings;
use aft_store::StoreError;
use aft_store::dynamodb::InvalidEndpoint;
use aft_store::dynamodb::{CaBundle, Config, Credentials, DynamoDb, Endpoint, InvalidBundle, ReadConsistency};

use crate::config::HostConfig;
use crate::embedded::{Embedded, EmbeddedError, Storage};

/// Where the tables are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Engine {
    /// The embedded engine, over a file.
    File(PathBuf),
    /// The embedded engine, forgetting everything at the end.
    Memory,
    /// Somebody else's.
    Endpoint {
        /// Its URL.
        url: Endpoint,
        /// Whether missing tables are made.
        create_tables: bool,
    },
}

/// The names of the two tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tables {
    /// Where keys live.
    pub data: String,
    /// Where commit records live.
    pub transactions: String,
}

impl Default for Tables {
    fn default() -> Self {
        Self { data: "aft-local".to_owned(), transactions: "aft-local-transactions".to_owned() }
    }
}

/// Why there are no tables to use.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The embedded engine did not start.
    #[error("{0}; choose another file with --data, or use --in-memory")]
    Embedded(#[from] EmbeddedError),
    /// The embedded engine listens where the store cannot reach it.
    #[error(transparent)]
    Endpoint(#[from] InvalidEndpoint),
    /// The function's environment names certificates that are none.
    #[error("{}: {}", settings::CA_BUNDLE.name, .0)]
    CaBundle(#[from] InvalidBundle),
    /// The tables could not be made.
    #[error("cannot make the tables at {endpoint}: {source}")]
    Tables {
        /// Where they were to be.
        endpoint: Endpoint,
        /// What the store said.
        source: StoreError,
    },
}

/// An engine that a host's processes know of. The embedded one ends when this is dropped.
#[derive(Debug)]
pub struct Connected {
    endpoint: Endpoint,
    place: String,
    embedded: Option<Embedded>,
}

impl Engine {
    /// Starts the engine if it is the embedded one, makes the tables, and tells the host's processes: the layer by
    /// `AFT_DYNAMODB_ENDPOINT`, and the function's own clients too if the engine is embedded, because to them it is what
    /// the account's DynamoDB is on Lambda.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn connect(self, config: &mut HostConfig, tables: &Tables) -> Result<Connected, EngineError> {
        let (storage, place) = match self {
            Self::Memory => (Storage::Memory, "in memory, gone at the end".to_owned()),
            Self::File(path) => {
                let place = path.display().to_string();
                (Storage::File(path), place)
            }
            Self::Endpoint { url, create_tables } => {
                config.inherit_credentials();
                if create_tables {
                    make(config, tables, &url).await?;
                }
                config.use_dynamodb(&url, tables);
                return Ok(Connected { place: url.to_string(), endpoint: url, embedded: None });
            }
        };
        let embedded = Embedded::start(storage).await?;
        let endpoint: Endpoint = embedded.endpoint().parse()?;
        make(config, tables, &endpoint).await?;
        config.use_dynamodb(&endpoint, tables);
        config.inherited.insert("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), endpoint.to_string());
        Ok(Connected { endpoint, place, embedded: Some(embedded) })
    }
}

impl Connected {
    /// The endpoint's URL.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Where the data is, for people.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Ends the embedded engine; to be called when no process uses it any more.
    ///
    /// # Errors
    /// [`EngineError::Embedded`] if it had failed.
    pub async fn stop(self) -> Result<(), EngineError> {
        match self.embedded {
            Some(embedded) => Ok(embedded.stop().await?),
            None => Ok(()),
        }
    }
}

impl HostConfig {
    fn use_dynamodb(&mut self, endpoint: &Endpoint, tables: &Tables) {
        let endpoint = endpoint.to_string();
        if let Some(layer) = &mut self.layer {
            let variables = [
                (settings::DATA_TABLE, tables.data.as_str()),
                (settings::TRANSACTION_TABLE, &tables.transactions),
                (settings::DYNAMODB_ENDPOINT, &endpoint),
            ];
            layer.settings.extend(variables.map(|(setting, text)| (setting.name.to_owned(), text.to_owned())));
        }
    }
}

async fn make(config: &HostConfig, tables: &Tables, endpoint: &Endpoint) -> Result<(), EngineError> {
    let variable = |name: &str| config.inherited.get(name).cloned();
    // As the layer's processes will be told.
    let ca_bundle =
        config.environment.get(settings::CA_BUNDLE.name).map(|path| CaBundle::read(path.as_ref())).transpose()?;
    let store = DynamoDb::new(&Config {
        data_table: tables.data.clone(),
        transaction_table: tables.transactions.clone(),
        region: config.region.clone(),
        endpoint: Some(endpoint.clone()),
        ca_bundle,
        credentials: Credentials::Keys {
            access_key_id: variable("AWS_ACCESS_KEY_ID").unwrap_or_default(),
            secret_access_key: variable("AWS_SECRET_ACCESS_KEY").unwrap_or_default(),
            session_token: variable("AWS_SESSION_TOKEN"),
        },
        reads: ReadConsistency::Strong,
    });
    store.create_tables().await.map_err(|source| EngineError::Tables { endpoint: endpoint.clone(), source })
}
