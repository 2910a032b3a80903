//! Tables that are not as they must be: the probe says so in one line, and items of other programs are never lost.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aft_cli::embedded::{Embedded, Storage};
use aft_protocol::head::{Entry, Keep};
use aft_protocol::id::{Fingerprint, Nonce, SandboxId, TransactionId};
use aft_protocol::key::Key;
use aft_protocol::record::{CommitRecord, Response};
use aft_protocol::value::{ContentType, Value};
use aft_protocol::version::{Timestamp, Version};
use aft_store::dynamodb::{Config, DynamoDb, ReadConsistency};
use aft_store::retry::Patience;
use aft_store::{ErrorKind, Store, roll_forward};
use aft_tests::growth::Example;
use aft_tests::store;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;
use tokio::time::Instant;

const NOW_SECONDS: u64 = 1_790_000_000;

fn store(engine: &Embedded, data_table: &str, transaction_table: &str) -> DynamoDb {
    let config = store::config(&engine.endpoint(), data_table, transaction_table);
    DynamoDb::new(&Config { reads: ReadConsistency::Eventual, ..config })
}

/// Sends one request as another program would, and returns the answer.
async fn request(engine: &Embedded, operation: &str, query: &serde_json::Value) -> serde_json::Value {
    store::ask(&engine.endpoint(), &format!("DynamoDB_20120810.{operation}"), query).await
}

#[tokio::test]
async fn missing_tables_are_both_reported() {
    let engine = Embedded::start(Storage::Memory).await.unwrap();
    let error = store(&engine, "orders", "orders-transactions").probe().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    let line = error.to_string();
    for word in ["\"orders\"", "AFT_DATA_TABLE", "\"orders-transactions\"", "AFT_TRANSACTION_TABLE", "no such table"] {
        assert!(line.contains(word), "{word:?} in {line:?}");
    }
    engine.stop().await.unwrap();
}

#[tokio::test]
async fn a_table_with_another_key_is_reported() {
    let engine = Embedded::start(Storage::Memory).await.unwrap();
    store(&engine, "orders", "orders-transactions").create_tables().await.unwrap();
    let swapped = store(&engine, "orders-transactions", "orders");
    let error = swapped.probe().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    let line = error.to_string();
    for word in ["string key k", "string key id and part", "does the table have this key"] {
        assert!(line.contains(word), "{word:?} in {line:?}");
    }
    engine.stop().await.unwrap();
}

/// Several hosts may start at once over the same file.
#[tokio::test]
async fn tables_that_several_make_at_once_are_made_once() {
    let engine = Embedded::start(Storage::Memory).await.unwrap();
    let stores = [(); 4].map(|()| store(&engine, "orders", "orders-transactions"));
    let [a, b, c, d] = stores.each_ref().map(DynamoDb::create_tables);
    let results = tokio::join!(a, b, c, d);
    assert!(matches!(results, (Ok(()), Ok(()), Ok(()), Ok(()))), "{results:?}");
    stores[0].probe().await.unwrap();
    engine.stop().await.unwrap();
}

/// Two hosts that were started at once over one new file: the second one's engine answered with an internal error, because it
/// had not seen the tables when it looked, and found them when it wrote.
#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_are_started_at_once_over_a_new_file_make_its_tables_once() {
    let directory = std::env::temp_dir().join(format!("aft-tables-at-once-{}", std::process::id()));
    for number in 0..20 {
        let storage = Storage::File(directory.join(format!("{number}.sqlite")));
        let mut engines = Vec::new();
        for _ in 0..3 {
            engines.push(Embedded::start(storage.clone()).await.unwrap());
        }
        let stores = engines.iter().map(|engine| store(engine, "orders", "orders-transactions"));
        let tasks: Vec<_> = stores
            .map(|store| {
                tokio::spawn(async move {
                    store.create_tables().await?;
                    store.probe().await
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        for engine in engines {
            engine.stop().await.unwrap();
        }
    }
    std::fs::remove_dir_all(directory).unwrap();
}

/// Making the tables again leaves what they hold; a database on disk keeps it when the engine ends.
#[tokio::test]
async fn a_file_keeps_the_tables() {
    let directory = std::env::temp_dir().join(format!("aft-tables-{}", std::process::id()));
    let storage = Storage::File(directory.join("new").join("aft.sqlite"));
    let key = Key::new("a").unwrap();
    let entry = deletion(1);
    for _ in 0..2 {
        let engine = Embedded::start(storage.clone()).await.unwrap();
        let store = store(&engine, "orders", "orders-transactions");
        store.create_tables().await.unwrap();
        store.apply(&key, &entry, Keep::Inline).await.unwrap();
        let heads = store.heads(&BTreeSet::from([key.clone()])).await.unwrap();
        assert_eq!(heads[&key].current, entry);
        assert!(heads[&key].previous.version().is_zero(), "the second start found the first one's head");
        engine.stop().await.unwrap();
    }
    std::fs::remove_dir_all(directory).unwrap();
}

/// An item without a version is another program's. Reading it as "not found", or moving a head over it, would lose it.
#[tokio::test]
async fn an_item_that_another_program_wrote_is_neither_read_nor_overwritten() {
    let engine = Embedded::start(Storage::Memory).await.unwrap();
    let store = store(&engine, "orders", "orders-transactions");
    store.create_tables().await.unwrap();
    let put = json!({"TableName": "orders", "Item": {"k": {"S": "a"}, "v": {"S": "theirs"}}});
    request(&engine, "PutItem", &put).await;

    let key = Key::new("a").unwrap();
    let entry = deletion(1);
    let read = store.heads(&BTreeSet::from([key.clone()])).await.unwrap_err();
    let written = store.apply(&key, &entry, Keep::Inline).await.unwrap_err();
    for error in [read, written] {
        assert_eq!(error.kind(), ErrorKind::Malformed, "{error}");
        assert!(error.to_string().contains("item \"a\": it has no version"), "{error}");
    }
    let left = request(&engine, "GetItem", &json!({"TableName": "orders", "Key": {"k": {"S": "a"}}})).await.to_string();
    assert!(left.contains("theirs"), "{left}");
    engine.stop().await.unwrap();
}

/// Attributes that others add to an item stay.
#[tokio::test]
async fn attributes_that_another_program_added_stay() {
    let engine = Embedded::start(Storage::Memory).await.unwrap();
    let store = store(&engine, "orders", "orders-transactions");
    store.create_tables().await.unwrap();
    let key = Key::new("a").unwrap();
    let entry = deletion;
    store.apply(&key, &entry(1), Keep::Inline).await.unwrap();
    let update = json!({
        "TableName": "orders", "Key": {"k": {"S": "a"}}, "UpdateExpression": "SET note = :n",
        "ExpressionAttributeValues": {":n": {"S": "theirs"}}
    });
    request(&engine, "UpdateItem", &update).await;
    store.apply(&key, &entry(2), Keep::Inline).await.unwrap();
    assert_eq!(store.heads(&BTreeSet::from([key.clone()])).await.unwrap()[&key].current, entry(2));
    let left = request(&engine, "GetItem", &json!({"TableName": "orders", "Key": {"k": {"S": "a"}}})).await.to_string();
    assert!(left.contains("theirs"), "{left}");
    engine.stop().await.unwrap();
}

/// The order of a restore: heads of an earlier time, in the middle of a commit, and every record up to a later one. Rolling all
/// records forward, in any order, gives the heads of the later time. (A sandbox's low-water mark is of the tables that were.)
#[tokio::test]
async fn records_of_a_later_time_make_restored_heads_whole() {
    let engine = Embedded::start(Storage::Memory).await.unwrap();
    let (live, restored) = (store(&engine, "live", "records"), store(&engine, "restored", "records"));
    for store in [&live, &restored] {
        store.create_tables().await.unwrap();
    }
    let keys: Vec<_> = (0..5).map(|number| Key::new(format!("k{number}")).unwrap()).collect();
    let records: Vec<_> = (1..=12_u64)
        .map(|number| {
            let index = usize::try_from(number).unwrap();
            let written = [&keys[index % 5], &keys[(2 * index + 1) % 5], &keys[(3 * index + 2) % 5]];
            let value = Value::new(number.to_string(), ContentType::default()).unwrap();
            let value = (number != 11).then_some(value);
            CommitRecord {
                version: Version::new(Timestamp::from_micros(number), TransactionId::from_bits(number.into())),
                nonce: Nonce::from_bits(number.into()),
                writes: written.map(|key| (key.clone(), value.clone())).into(),
                response: Response { content_type: None, body: "ok".into() },
                fingerprint: Fingerprint::of(b"{}"),
                origin: String::new(),
                sandbox: SandboxId::from_bits(1),
                applied_through: Version::new(
                    Timestamp::from_micros(number - 1),
                    TransactionId::from_bits(number.into()),
                ),
                expires_at_seconds: 4_102_444_800,
            }
        })
        .collect();
    let patience = Patience { until: Instant::now() + Duration::from_secs(60), random: &|| 0 };
    for record in &records {
        live.commit(record).await.unwrap();
        roll_forward(&live, record, &BTreeMap::new(), NOW_SECONDS, patience).await.unwrap();
    }
    for record in &records[..5] {
        roll_forward(&restored, record, &BTreeMap::new(), NOW_SECONDS, patience).await.unwrap();
    }
    let mut half = records[5].clone();
    half.writes.pop_last().unwrap();
    roll_forward(&restored, &half, &BTreeMap::new(), NOW_SECONDS, patience).await.unwrap();

    let transactions = records.iter().map(CommitRecord::transaction).collect();
    for record in restored.records(&transactions).await.unwrap().into_values().rev().flatten() {
        roll_forward(&restored, &record, &BTreeMap::new(), NOW_SECONDS, patience).await.unwrap();
    }
    let all = keys.iter().cloned().collect();
    let (expected, found) = (live.heads(&all).await.unwrap(), restored.heads(&all).await.unwrap());
    for key in keys {
        let of = |heads: &BTreeMap<Key, aft_protocol::head::Head>| {
            (heads[&key].current.version, heads[&key].current.value.clone())
        };
        assert_eq!(of(&found), of(&expected), "{key:?}");
    }
    engine.stop().await.unwrap();
}

/// The bytes of an attribute's value, by DynamoDB's rules ("Item sizes and formats").
fn size_of(value: &serde_json::Value) -> u64 {
    let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
    let text = || value.as_str().unwrap();
    let bytes = match kind.as_str() {
        "S" => text().len(),
        "B" => BASE64.decode(text()).unwrap().len(),
        "N" => text().trim_end_matches('0').len().div_ceil(2) + 1,
        "NULL" | "BOOL" => 1,
        "M" => {
            let members = value.as_object().unwrap();
            return 3 + members.iter().map(|(name, value)| 1 + name.len() as u64 + size_of(value)).sum::<u64>();
        }
        "L" => return 3 + value.as_array().unwrap().iter().map(|value| 1 + size_of(value)).sum::<u64>(),
        other => panic!("{other}"),
    };
    bytes as u64
}

/// What `docs/tables.md` computes with is what a record really has.
#[tokio::test]
async fn a_record_is_as_large_as_documented() {
    let engine = Embedded::start(Storage::Memory).await.unwrap();
    let store = store(&engine, "orders", "orders-transactions");
    store.create_tables().await.unwrap();
    let example = Example::DOCUMENTED;
    let text = |length: u64| "x".repeat(usize::try_from(length).unwrap());
    let content_type = ContentType::new(&text(example.content_type)).unwrap();
    let value = Value::new(text(example.value), content_type).unwrap();
    let key = |number| Key::new(format!("{number:0width$}", width = usize::try_from(example.key).unwrap())).unwrap();
    let record = CommitRecord {
        version: version(1),
        nonce: Nonce::from_bits(1),
        writes: (0..example.keys).map(|number| (key(number), Some(value.clone()))).collect(),
        response: Response { content_type: Some(text(example.content_type)), body: text(example.response).into() },
        fingerprint: Fingerprint::of(b"{}"),
        origin: text(example.origin),
        sandbox: SandboxId::from_bits(1),
        applied_through: version(1),
        expires_at_seconds: 4_102_444_801,
    };
    store.commit(&record).await.unwrap();
    let place = json!({ "id": { "S": record.transaction().to_string() }, "part": { "S": "commit" } });
    let get = json!({ "TableName": "orders-transactions", "Key": place });
    let answer = request(&engine, "GetItem", &get).await;
    let item = json!({ "M": answer["Item"] });
    let attributes = item["M"].as_object().unwrap().len() as u64;
    // An item is no map: its attributes have no bytes of their own.
    let measured = size_of(&item) - 3 - attributes;
    let documented = example.record_bytes();
    assert!(measured.abs_diff(documented) <= 4, "measured {measured}, documented {documented}: {item}");
    engine.stop().await.unwrap();
}

/// A deletion that is remembered for long. (These tests failed now and then, on busy machines: what they wrote had expired in 1970, and
/// the engine's first sweep came upon it between two requests.)
fn deletion(micros: u64) -> Entry {
    Entry { version: version(micros), record_expires_at_seconds: 4_102_444_800, ..Entry::absent() }
}

fn version(micros: u64) -> Version {
    Version::new(Timestamp::from_micros(micros), TransactionId::from_bits(1))
}
