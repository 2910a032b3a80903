//! One suite, three engines: what the protocol was tested on in memory, developers run on dynoxide, and AWS ships as
//! DynamoDB Local must behave alike.

use std::time::Duration;

use aft_store::dynamodb::{Config, Credentials, DynamoDb, ReadConsistency, TimeLimits};

const PATIENCE: Duration = Duration::from_secs(60);

/// A store with tables of its own, made at an endpoint.
async fn store_at(endpoint: String, tables: &str) -> DynamoDb {
    let config = Config {
        data_table: format!("{tables}-data"),
        transaction_table: format!("{tables}-transactions"),
        region: "us-east-1".to_owned(),
        endpoint: Some(endpoint.parse().expect("an engine has an endpoint")),
        credentials: Credentials::Keys {
            access_key_id: "local".to_owned(),
            secret_access_key: "local".to_owned(),
            session_token: None,
        },
        reads: ReadConsistency::Strong,
    };
    // The suite is about what is kept, not how fast: a busy machine must not fail it, and no call is repeated.
    let patient = TimeLimits { connect: PATIENCE, answer: PATIENCE, request: PATIENCE };
    let store = DynamoDb::with_time_limits(&config, &patient);
    store.create_tables().await.expect("the engine makes tables");
    store
}

mod memory {
    aft_store::conformance!(async { aft_store::memory::Memory::new() });
}

mod embedded {
    use aft_cli::embedded::{Embedded, Storage};

    aft_store::conformance!(async {
        let engine = Box::leak(Box::new(Embedded::start(Storage::Memory).await.expect("the engine starts")));
        super::store_at(engine.endpoint(), "conformance").await
    });
}

mod dynamodb_local {
    use aft_tests::dynamodb_local::DynamoDbLocal;

    aft_store::conformance!(async { super::store_at(DynamoDbLocal::shared().await.endpoint(), "conformance").await });
}
