//! Where the clients meet: an engine in this process on virtual time, or DynamoDB Local on this machine's.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use aft_store::dynamodb::{Config, Credentials, DynamoDb, ReadConsistency, TimeLimits};
use aft_store::simulated::{DATA_TABLE, Engine, Fault, TRANSACTION_TABLE};
use aws_credential_types::Credentials as SdkCredentials;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Builder, Region, SharedHttpClient};

use super::model::{Meter, Usage, plan};
use super::plain::Tables;
use crate::Error;
use aft_simulation::paper::random::Random;

/// DynamoDB Local on a busy machine answers in time of its own.
const PATIENCE: Duration = Duration::from_secs(60);
const REGION: &str = "us-east-1";

/// Two empty tables, somewhere.
pub enum Ground {
    /// In this process, as slow and as dear as [`super::model`] says.
    Virtual(Engine, Arc<Meter>),
    /// AWS's own.
    Local(Box<Config>),
}

impl Ground {
    /// Tables in this process, in a runtime whose time is paused.
    ///
    /// # Errors
    /// If the engine does not make them.
    pub async fn simulated() -> Result<Self, Error> {
        Ok(Self::Virtual(Engine::untraced().await?, Arc::default()))
    }

    /// Tables of that name in the DynamoDB at this endpoint.
    ///
    /// # Errors
    /// If it does not make them.
    pub async fn local(endpoint: &str, name: &str) -> Result<Self, Error> {
        let ground = Self::Local(Box::new(Config {
            data_table: name.to_owned(),
            transaction_table: format!("{name}-transactions"),
            region: REGION.to_owned(),
            endpoint: Some(endpoint.parse()?),
            ca_bundle: None,
            credentials: Credentials::Keys {
                access_key_id: "local".to_owned(),
                secret_access_key: "local".to_owned(),
                session_token: None,
            },
            reads: ReadConsistency::Strong,
        }));
        ground.true_store().create_tables().await?;
        Ok(ground)
    }

    /// The tables' names.
    #[must_use]
    pub fn tables(&self) -> Tables {
        match self {
            Self::Virtual(..) => Tables { accounts: DATA_TABLE.to_owned(), records: TRANSACTION_TABLE.to_owned() },
            Self::Local(config) => {
                Tables { accounts: config.data_table.clone(), records: config.transaction_table.clone() }
            }
        }
    }

    /// The store of one sandbox.
    #[must_use]
    pub fn store(&self, random: Random) -> DynamoDb {
        match self {
            Self::Virtual(engine, meter) => engine.store(plan(random, Arc::clone(meter))),
            Self::Local(_) => self.true_store(),
        }
    }

    /// The SDK's client of one client.
    #[must_use]
    pub fn client(&self, random: Random) -> Client {
        match self {
            Self::Virtual(engine, meter) => over(settings(), engine.http_client(plan(random, Arc::clone(meter)))),
            Self::Local(_) => self.true_client(),
        }
    }

    /// A store that costs no time.
    #[must_use]
    pub fn true_store(&self) -> DynamoDb {
        match self {
            Self::Virtual(engine, _) => engine.unseen(),
            Self::Local(config) => {
                let limits = TimeLimits { connect: PATIENCE, answer: PATIENCE, request: PATIENCE };
                DynamoDb::with_time_limits(config, &limits)
            }
        }
    }

    /// A client that costs no time.
    #[must_use]
    pub fn true_client(&self) -> Client {
        match self {
            Self::Virtual(engine, _) => over(settings(), engine.http_client(|_| Fault::Unseen)),
            Self::Local(config) => {
                let endpoint = config.endpoint.as_ref().map(ToString::to_string).unwrap_or_default();
                over(settings().endpoint_url(endpoint), aws_smithy_http_client::Builder::new().build_http())
            }
        }
    }

    /// What tells this ground's tokens from those of other grounds in the same DynamoDB: it knows a token whatever table it was
    /// about.
    #[must_use]
    pub fn salt(&self) -> u64 {
        match self {
            Self::Virtual(..) => 0,
            Self::Local(config) => {
                let mut hasher = DefaultHasher::new();
                config.data_table.hash(&mut hasher);
                hasher.finish()
            }
        }
    }

    /// What was consumed, if that is counted.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        match self {
            Self::Virtual(_, meter) => Some(meter.usage()),
            Self::Local(_) => None,
        }
    }
}

fn settings() -> Builder {
    aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::from_static(REGION))
        .credentials_provider(SdkCredentials::new("local", "local", None, None, "bench"))
        // Nothing fails here that the SDK would repeat; what it does not, the clients do.
        .retry_config(RetryConfig::disabled())
}

fn over(settings: Builder, http: SharedHttpClient) -> Client {
    Client::from_conf(settings.http_client(http).build())
}
