//! One suite, four stores: what the protocol was tested on in memory, simulations run on through the SDK without a network,
//! developers run on dynoxide, and AWS ships as DynamoDB Local must behave alike.

use aft_store::dynamodb::DynamoDb;
use aft_tests::store;

/// A store with tables of its own, made at an endpoint.
async fn store_at(endpoint: String, tables: &str) -> DynamoDb {
    let store = store::patient(&store::config(&endpoint, &format!("{tables}-data"), &format!("{tables}-transactions")));
    store.create_tables().await.expect("the engine makes tables");
    store
}

mod memory {
    aft_store::conformance!(async { aft_store::memory::Memory::new() });
}

mod simulated {
    use aft_store::simulated::Engine;

    aft_store::conformance!(async { Engine::new().await.expect("the engine makes tables").unseen() });
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
