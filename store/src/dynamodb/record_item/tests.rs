//! What fits one item, and what records say when a part of them is missing.

use aft_protocol::id::{Fingerprint, Nonce, SandboxId, TransactionId};
use aft_protocol::key::Key;
use aft_protocol::limits;
use aft_protocol::record::{CommitRecord, Response, Writes};
use aft_protocol::value::{ContentType, Value};
use aft_protocol::version::{Timestamp, Version};
use aws_sdk_dynamodb::types::AttributeValue;

use super::{Item, Malformed, Partial, chunk, encode, split};

/// DynamoDB's own limit.
const ITEM_BYTES: usize = 400 * 1_024;

fn record(writes: Writes, response_bytes: usize) -> CommitRecord {
    CommitRecord {
        version: Version::new(Timestamp::MAX, TransactionId::from_bits(1)),
        nonce: Nonce::from_bits(3),
        writes,
        response: Response { content_type: Some("c".repeat(8 * 1_024)), body: vec![7; response_bytes].into() },
        fingerprint: Fingerprint::of(b"{}"),
        origin: "o".repeat(8 * 1_024),
        sandbox: SandboxId::from_bits(4),
        applied_through: Version::new(Timestamp::MAX, TransactionId::from_bits(1)),
        expires_at_seconds: 4_102_444_800,
    }
}

fn items(record: &CommitRecord) -> Vec<Item> {
    let (own, chunks) = split(record, limits::RECORD_ITEM_BYTES);
    let encoded = chunks.iter().enumerate().map(|(index, part)| chunk(record, index, part));
    std::iter::once(encode(record, &own, chunks.len())).chain(encoded).collect()
}

/// An item's size as DynamoDB counts it (developer guide, item sizes and formats).
fn size(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + value_size(value)).sum()
}

fn value_size(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(digits) => digits.len(),
        AttributeValue::B(blob) => blob.as_ref().len(),
        AttributeValue::Null(_) | AttributeValue::Bool(_) => 1,
        AttributeValue::L(list) => 3 + list.iter().map(|value| 1 + value_size(value)).sum::<usize>(),
        AttributeValue::M(map) => 3 + map.len() + size(map),
        other => panic!("not in this layout: {other:?}"),
    }
}

fn writes(count: usize, key_bytes: usize, value_bytes: usize) -> Writes {
    let key = |n: usize| Key::new(format!("{n:0key_bytes$}")).unwrap();
    let value = || Some(Value::new(vec![1; value_bytes], ContentType::default()).unwrap());
    (0..count).map(|n| (key(n), value())).collect()
}

/// R-COMMIT-9: whatever the shape of a transaction, its items fit, and as few as needed are used.
#[test]
fn every_item_fits_and_none_is_wasted() {
    for (case, writes, response_bytes, expected) in [
        ("nothing", Writes::new(), 0, 1),
        ("small", writes(3, 20, 100), 1_000, 1),
        ("exactly one item", Writes::new(), limits::RECORD_ITEM_BYTES, 1),
        ("one byte more", Writes::new(), limits::RECORD_ITEM_BYTES + 1, 2),
        ("the longest response", Writes::new(), limits::RESPONSE_BYTES, 19),
        ("largest values", writes(21, 1_024, limits::VALUE_BYTES), 0, 21),
        ("short keys and no values", writes(100_000, 5, 0), 0, 11),
    ] {
        let items = items(&record(writes, response_bytes));
        assert_eq!(items.len(), expected, "{case}");
        for item in &items {
            assert!(size(item) <= ITEM_BYTES, "{case}: {} bytes", size(item));
        }
    }
}

#[test]
fn a_record_in_parts_is_put_together_in_any_order() {
    let record = record(writes(10, 20, 100_000), 2_000_000);
    let mut items = items(&record);
    let mut partial = Partial::decode(items.remove(0)).unwrap();
    assert_eq!(partial.chunk_keys().len(), items.len());
    for item in items.into_iter().rev() {
        partial.add(item).unwrap();
    }
    assert!(partial.finish().unwrap() == record);
}

#[test]
fn a_record_with_a_part_missing_or_twice_or_of_another_try_is_malformed() {
    let record = record(Writes::new(), 3 * limits::RECORD_ITEM_BYTES);
    let other_try = CommitRecord { nonce: Nonce::from_bits(99), ..record.clone() };
    let own = || Partial::decode(items(&record).remove(0)).unwrap();
    let text = |error: Malformed| error.to_string();

    let mut incomplete = own();
    incomplete.add(items(&record).remove(1)).unwrap();
    assert!(incomplete.add(items(&record).remove(1)).map_err(text).unwrap_err().contains("came twice"));
    assert!(incomplete.add(items(&other_try).remove(2)).map_err(text).unwrap_err().contains("does not name"));
    assert!(incomplete.finish().map_err(text).unwrap_err().contains("1 of the 2 chunks"));
}

#[test]
fn a_record_under_another_transactions_key_is_malformed() {
    let mut item = items(&record(Writes::new(), 0)).remove(0);
    item.insert("id".to_owned(), AttributeValue::S(TransactionId::from_bits(2).to_string()));
    assert!(Partial::decode(item).unwrap_err().to_string().contains("another transaction"));
}
