//! The store of a test, over an engine on this machine.

use std::time::Duration;

use aft_store::dynamodb::{Config, Credentials, DynamoDb, ReadConsistency, TimeLimits};

/// Tests are about what is kept, not how fast: a busy machine must not fail them, and no call is repeated.
const PATIENCE: Duration = Duration::from_secs(60);

/// These two tables at this endpoint. An engine on this machine takes any credentials.
///
/// # Panics
/// If the endpoint is none.
#[must_use]
pub fn config(endpoint: &str, data_table: &str, transaction_table: &str) -> Config {
    Config {
        data_table: data_table.to_owned(),
        transaction_table: transaction_table.to_owned(),
        region: "us-east-1".to_owned(),
        endpoint: Some(endpoint.parse().expect("an engine has an endpoint")),
        credentials: Credentials::Keys {
            access_key_id: "local".to_owned(),
            secret_access_key: "local".to_owned(),
            session_token: None,
        },
        reads: ReadConsistency::Strong,
    }
}

/// A store that waits as long as it takes.
#[must_use]
pub fn patient(config: &Config) -> DynamoDb {
    DynamoDb::with_time_limits(config, &TimeLimits { connect: PATIENCE, answer: PATIENCE, request: PATIENCE })
}
