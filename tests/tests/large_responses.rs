//! Responses as large as Lambda takes, and larger, through the layer as it is shipped.
#![allow(clippy::unwrap_used)]

use aft_protocol::limits;
use aft_tests::store_proxy::StoreRequest;
use aft_tests::world::{FIRST, SECOND, Setup, World, error_type, wrote};
use serde_json::json;

const FUNCTION: &str = env!("CARGO_BIN_EXE_witnessed-function");
const REQUEST: &str = "the-request";

/// 6 MiB and, with the rest of the document, less than 100 bytes more.
const LARGE: usize = 6 * 1_024 * 1_024;
/// As many of the largest values as the write buffer takes.
const KEYS: usize = limits::TRANSACTION_BYTES / limits::VALUE_BYTES;

/// A full write buffer and the largest response go through chunks; a duplicate in another sandbox gets the same bytes.
#[tokio::test]
async fn the_largest_response_with_a_full_write_buffer_is_committed_and_replayed() {
    let world = World::start(Setup::new(FUNCTION)).await;
    // One value less than would fit: the two keys and all names need room too.
    let event = json!({
        "do": "write", "padding": LARGE, "extra_keys": KEYS - 1, "extra_bytes": limits::VALUE_BYTES,
    });
    let response = world.invoke(FIRST, REQUEST, &event).await;
    assert!(response.succeeded(), "{:?}\n{}", error_type(&response), world.log());
    assert!(response.payload.len() > LARGE && response.payload.len() <= limits::RESPONSE_BYTES);
    let least = (LARGE + (KEYS - 1) * limits::VALUE_BYTES) / limits::RECORD_ITEM_BYTES;
    assert!(world.proxy.count(&StoreRequest::Chunk) >= least, "{} chunks", world.proxy.count(&StoreRequest::Chunk));

    let duplicate = world.invoke(SECOND, REQUEST, &event).await;
    assert!(duplicate.succeeded(), "{:?}", error_type(&duplicate));
    assert!(duplicate.payload == response.payload, "not the same bytes");
    assert_eq!(world.witness.runs(SECOND, REQUEST), 0);
    let stored = world.stored().await;
    assert_eq!((stored.records, stored.heads), (1, [wrote(&response), wrote(&response)]));
    world.stop().await;
}

/// Lambda would refuse it after the fact; so it is refused before the commit, and not tried again.
#[tokio::test]
async fn a_response_above_lambdas_limit_is_refused_before_the_commit() {
    let world = World::start(Setup::new(FUNCTION)).await;
    let event = json!({ "do": "write", "padding": limits::RESPONSE_BYTES });
    let response = world.invoke(FIRST, REQUEST, &event).await;
    assert_eq!(error_type(&response).as_deref(), Some("Function.ResponseSizeTooLarge"));
    world.settled().await;
    assert_eq!(world.witness.runs(FIRST, REQUEST), 1);
    let sent = [StoreRequest::Chunk, StoreRequest::Record].map(|request| world.proxy.count(&request));
    assert_eq!(sent, [0, 0], "nothing was written");
    assert_eq!(world.stored().await.records, 0);
    assert_eq!(world.read(["a", "b"]).await.as_ref(), Some(&world.old));
    world.stop().await;
}
