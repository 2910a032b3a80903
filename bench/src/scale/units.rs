//! Capacity units, as DynamoDB counts them: whole KB of a write, whole 4 KB of a strongly consistent read.
//! `docs/protocol.md`, "Cost", has the formula that comes of it; the sizes of heads are `aft_protocol`'s own.

use aft_protocol::record::CommitRecord;

/// Bytes that one unit writes.
pub const WRITE_BYTES: usize = 1_024;
/// Bytes that one unit reads, strongly consistent.
pub const READ_BYTES: usize = 4_096;

/// What a record's item takes besides what its transaction has put into it (`docs/tables.md`, "Retention and size").
const RECORD_BYTES: usize = 252;
/// The same for each key.
const KEY_BYTES: usize = 9;

/// What it takes to write an item of this size.
#[must_use]
pub fn to_write(bytes: usize) -> usize {
    bytes.div_ceil(WRITE_BYTES).max(1)
}

/// What it takes to read an item of this size, or to find that there is none (size 0).
#[must_use]
pub fn to_read(bytes: usize) -> usize {
    bytes.div_ceil(READ_BYTES).max(1)
}

/// The size of a record's item.
#[must_use]
pub fn record_bytes(record: &CommitRecord) -> usize {
    let response = record.response.content_type.as_ref().map_or(0, String::len) + record.response.body.len();
    let write = |(key, value): (&aft_protocol::key::Key, &Option<aft_protocol::value::Value>)| {
        let value = value.as_ref().map_or(1, |value| value.bytes().len() + value.content_type().as_str().len());
        KEY_BYTES + key.as_str().len() + value
    };
    RECORD_BYTES + record.origin.len() + response + record.writes.iter().map(write).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use aft_protocol::id::{Fingerprint, Nonce, SandboxId, TransactionId};
    use aft_protocol::key::Key;
    use aft_protocol::record::{CommitRecord, Response};
    use aft_protocol::value::{ContentType, Value};
    use aft_protocol::version::{Timestamp, Version};
    use aft_store::Store;
    use aft_store::simulated::{Engine, Fault, What};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::Value as Json;

    use super::{record_bytes, to_read, to_write};
    use crate::sandbox::EPOCH_MICROS;

    #[test]
    fn a_unit_is_a_whole_one() {
        assert_eq!([0, 1, 1_024, 1_025, 4_400].map(to_write), [1, 1, 1, 2, 5]);
        assert_eq!([0, 1, 4_096, 4_097].map(to_read), [1, 1, 1, 2]);
    }

    /// DynamoDB's sizes: names and text by their bytes, a number by half its digits, 3 for a map and 1 for each of its elements.
    fn size(value: &Json) -> usize {
        let (kind, content) = value.as_object().unwrap().iter().next().unwrap();
        match kind.as_str() {
            "S" => content.as_str().unwrap().len(),
            "B" => STANDARD.decode(content.as_str().unwrap()).unwrap().len(),
            "N" => content.as_str().unwrap().len().div_ceil(2) + 1,
            "M" => {
                3 + content.as_object().unwrap().iter().map(|(name, value)| 1 + name.len() + size(value)).sum::<usize>()
            }
            other => panic!("{other}"),
        }
    }

    /// The formula's record is the one that the store sends.
    #[tokio::test(start_paused = true)]
    async fn a_record_is_as_large_as_what_the_store_writes() {
        let sent = Arc::new(Mutex::new(Json::Null));
        let engine = Engine::untraced().await.unwrap();
        let store = engine.store({
            let sent = Arc::clone(&sent);
            move |request| {
                if request.what == What::Record {
                    *sent.lock().unwrap() = request.body["Item"].clone();
                }
                Fault::None
            }
        });
        for (keys, bytes) in [(1, 200), (1, 4_096), (3, 1_000), (10, 1)] {
            let version = Version::new(Timestamp::from_micros(EPOCH_MICROS), TransactionId::from_bits(keys));
            let value = Value::new(vec![b'v'; bytes], ContentType::default()).unwrap();
            let record = CommitRecord {
                version,
                nonce: Nonce::from_bits(1),
                writes: (0..keys).map(|n| (Key::new(format!("key-{n:06}")).unwrap(), Some(value.clone()))).collect(),
                response: Response { content_type: Some("application/json".to_owned()), body: vec![b'r'; 100].into() },
                fingerprint: Fingerprint::of(b"{}"),
                origin: "bench/one".to_owned(),
                sandbox: SandboxId::from_bits(1),
                applied_through: version,
                expires_at_seconds: EPOCH_MICROS / 1_000_000,
            };
            store.commit(&record).await.unwrap();
            let item = sent.lock().unwrap().take();
            let measured: usize = item.as_object().unwrap().iter().map(|(name, value)| name.len() + size(value)).sum();
            assert!(measured.abs_diff(record_bytes(&record)) <= 4, "{measured} is not {}", record_bytes(&record));
        }
    }
}
