//! The stream and TTL: what the fault manager is driven by, and what it must be in time for.

use std::collections::BTreeSet;

use aft_protocol::head::{Entry, Keep};
use aft_protocol::id::{Fingerprint, Nonce, SandboxId, TransactionId};
use aft_protocol::record::{CommitRecord, Response};
use aft_protocol::value::{ContentType, Value};
use aft_protocol::version::{Timestamp, Version};
use bytes::Bytes;
use serde_json::json;

use super::{entry, key};
use crate::simulated::{Engine, Fault, Side};
use crate::{Committed, Store, Terms};

/// A record of a write to `k` that may be deleted then, with a response of so many bytes.
fn record(number: u64, expires_at_seconds: u64, response: usize) -> CommitRecord {
    let value = Value::new(Bytes::from_static(b"value"), ContentType::default()).unwrap();
    CommitRecord {
        version: Version::new(Timestamp::from_micros(number), TransactionId::from_bits(number.into())),
        nonce: Nonce::from_bits(number.into()),
        writes: [(key("k"), Some(value))].into(),
        response: Response { content_type: None, body: vec![7; response].into() },
        fingerprint: Fingerprint::from_bits(0),
        origin: String::new(),
        sandbox: SandboxId::from_bits(1),
        applied_through: Version::ZERO,
        expires_at_seconds,
    }
}

#[tokio::test(start_paused = true)]
async fn the_stream_has_every_commit_record_once_and_in_order() {
    let engine = Engine::new().await.unwrap();
    let store = engine.store(|_| Fault::None);
    let lost = engine.store(|_| Fault::Lost(Side::After));
    let never = engine.store(|_| Fault::Lost(Side::Before));
    let records: Vec<_> = (1..=5).map(|number| record(number, 4_102_444_800, 0)).collect();
    assert_eq!(store.commit(&records[2]).await.unwrap(), Committed::Now);
    assert_eq!(store.commit_if(&records[0], &Terms::default()).await.unwrap(), crate::Stepped::Now);
    lost.commit(&records[4]).await.unwrap_err();
    never.commit(&records[1]).await.unwrap_err();
    assert!(matches!(store.commit(&records[2]).await.unwrap(), Committed::Before(_)));
    store.apply(&key("k"), &entry(1), Keep::Inline).await.unwrap();
    let large = record(6, 4_102_444_800, 1 << 20);
    assert_eq!(store.commit(&large).await.unwrap(), Committed::Now, "and its chunks");

    let stream = engine.stream(0);
    let found: Vec<_> = stream
        .iter()
        .map(|event| {
            assert_eq!(event["eventName"], "INSERT");
            let change = &event["dynamodb"];
            assert_eq!(change["Keys"]["part"], json!({"S": "commit"}));
            let found = store.found_in_stream(&change["NewImage"].to_string()).unwrap();
            assert_eq!(change["Keys"]["id"]["S"], json!(found.so_far().transaction().to_string()));
            (found.so_far().clone(), found.is_whole())
        })
        .collect();
    let whole = [&records[2], &records[0], &records[4]];
    assert!(found.iter().zip(whole).all(|(found, record)| found.0 == *record && found.1), "{found:?}");
    assert_eq!((found.len(), found[3].0.version, found[3].1), (4, large.version, false));
    let names: BTreeSet<_> = stream.iter().map(|event| event["dynamodb"]["SequenceNumber"].to_string()).collect();
    assert_eq!(names.len(), 4, "each has a name of its own");
    assert_eq!(engine.stream(3), stream[3..]);
    assert_eq!(engine.stream(4), [] as [serde_json::Value; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_has_expired_is_deleted_and_nothing_else() {
    let engine = Engine::new().await.unwrap();
    let store = engine.store(|_| Fault::None);
    let (short, long) = (record(1, 1_000, 0), record(2, 2_000, 1 << 20));
    for record in [&short, &long] {
        assert_eq!(store.commit(record).await.unwrap(), Committed::Now);
    }
    let deleted = Entry { record_expires_at_seconds: 1_000, ..entry(1) };
    let tombstone_expires = deleted.tombstone_expires_at_seconds();
    store.apply(&key("deleted"), &deleted, Keep::Inline).await.unwrap();
    let value = Value::new(Bytes::from_static(b"value"), ContentType::default()).unwrap();
    store.apply(&key("kept"), &Entry { value: Some(value), ..deleted }, Keep::Inline).await.unwrap();

    let left = || engine.committed().unwrap();
    assert_eq!(engine.expire(1_000, |_| true), 0, "not at its time, but after it");
    assert_eq!(engine.expire(1_001, |id| id != short.transaction()), 0, "DynamoDB takes its time");
    assert_eq!(engine.expire(1_001, |_| true), 1);
    assert_eq!(left(), [long.transaction()].into());
    let all = u64::MAX / 2;
    assert!(tombstone_expires < all);
    assert!(engine.expire(all, |_| true) >= 4, "the record, its chunks and the tombstone");
    assert_eq!(left(), [].into());
    let keys = BTreeSet::from([key("deleted"), key("kept")]);
    let heads = store.heads(&keys).await.unwrap();
    assert!(heads[&key("deleted")].current.version.is_zero());
    assert!(!heads[&key("kept")].current.version.is_zero(), "values do not expire");
    assert_eq!(engine.stream(0).len(), 2, "what TTL deletes is no new record");
}
