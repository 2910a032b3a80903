//! Items out of DynamoDB: heads, commit records, and those of refusals, through the real SDK.
//!
//! The first byte says what the rest is. An item that is not as this version writes it is an error of its kind; one that is
//! accepted says in every attribute what came of it; nothing comes of an item that was not asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use aft_protocol::head::{Cowritten, Entry, Head, Keep, Previous};
use aft_protocol::id::{Fingerprint, Nonce, SandboxId, TransactionId};
use aft_protocol::key::Key;
use aft_protocol::record::{CommitRecord, Response, Writes};
use aft_protocol::value::Value as Stored;
use aft_protocol::version::{Timestamp, Version};
use aft_store::{Committed, ErrorKind, Store, StoreError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::database::{self, Table};

/// The target: `h` and a head, `r` and a record, `c` and a record, a zero byte, and its chunk, `a` and the head that an apply
/// was refused for, `p` and the record that a commit was refused for, `*` and any answer at all.
pub fn check(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(rest).into_owned();
    match kind {
        b'h' => head(&text),
        b'r' => record(&text, "{}"),
        b'c' => {
            let (own, chunk) = text.split_once('\0').unwrap_or((&text, "{}"));
            record(own, chunk);
        }
        b'a' => apply_refused(&text),
        b'p' => commit_refused(&text),
        b'*' => any_answer(rest),
        _ => {}
    }
}

/// Runs to its end what waits for nothing outside.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(future)
}

/// The key that is asked for.
#[must_use]
pub fn asked() -> Key {
    Key::new("k").unwrap()
}

/// The transaction that is asked for.
#[must_use]
pub fn transaction() -> TransactionId {
    TransactionId::from_bits(1)
}

/// A failure that a malformed item may be: told in one line, and never as what may pass by itself.
#[track_caller]
fn classified(error: &StoreError) {
    assert_eq!(error.to_string().lines().count(), 1, "{error}");
    assert!(matches!(error.kind(), ErrorKind::Malformed | ErrorKind::Unknown), "{error}");
}

/// The item of a head that was asked for.
pub fn head(item: &str) {
    let answer = format!(r#"{{"Item":{item}}}"#);
    let store = database::store(move |_, _| (200, answer.clone().into_bytes()));
    match block_on(store.heads(&BTreeSet::from([asked()]))) {
        Ok(heads) => {
            assert_eq!(heads.keys().collect::<Vec<_>>(), [&asked()], "one entry for what was asked");
            let Ok(item) = serde_json::from_str::<Value>(item) else { return };
            if item.is_object() {
                head_says(&item, &heads[&asked()]);
            }
        }
        Err(error) => classified(&error),
    }
}

/// A record's own item, and whatever else of it is asked for.
pub fn record(own: &str, chunk: &str) {
    let (own_item, chunk_item) = (own.to_owned(), chunk.to_owned());
    let store = database::store(move |operation, body| {
        let answer = match (operation, body["Key"]["part"]["S"].as_str()) {
            ("GetItem", Some("commit")) => format!(r#"{{"Item":{own_item}}}"#),
            ("GetItem", _) => format!(r#"{{"Item":{chunk_item}}}"#),
            _ => format!(r#"{{"Responses":{{"transactions":[{chunk_item}]}}}}"#),
        };
        (200, answer.into_bytes())
    });
    match block_on(store.records(&BTreeSet::from([transaction()]))) {
        Ok(records) => {
            assert_eq!(records.keys().collect::<Vec<_>>(), [&transaction()], "one entry for what was asked");
            let (Ok(own), chunk) = (serde_json::from_str::<Value>(own), serde_json::from_str::<Value>(chunk)) else {
                return;
            };
            if let Some(record) = &records[&transaction()] {
                record_says(&own, chunk.ok().as_ref(), record);
            }
        }
        Err(error) => classified(&error),
    }
}

fn apply_refused(item: &str) {
    let refusal = database::refusal(item);
    let store = database::store(move |_, _| refusal.clone());
    let version = Version::new(Timestamp::from_micros(2), transaction());
    let entry = Entry { version, ..Entry::absent() };
    for keep in [Keep::Inline, Keep::InRecord { until_seconds: 1 }] {
        if let Err(error) = block_on(store.apply(&asked(), &entry, keep)) {
            classified(&error);
        }
    }
}

fn commit_refused(item: &str) {
    let refusal = database::refusal(item);
    let store = database::store(move |operation, _| match operation {
        "PutItem" => refusal.clone(),
        _ => (200, b"{}".to_vec()),
    });
    let record = sample(Writes::new(), Bytes::new());
    match block_on(store.commit(&record)) {
        Ok(Committed::Now) => panic!("it was refused"),
        Ok(Committed::Before(existing)) => {
            assert_eq!(existing.transaction(), transaction(), "another transaction's record is in nobody's way");
            if let Ok(item) = serde_json::from_str(item) {
                record_says(&item, None, &existing);
            }
        }
        Err(error) => classified(&error),
    }
}

/// Whatever DynamoDB answers, whatever is called: no panic, and an error of one line.
fn any_answer(answer: &[u8]) {
    let status = if answer.first() == Some(&b'!') { 400 } else { 200 };
    let body = answer.strip_prefix(b"!").unwrap_or(answer).to_vec();
    let store = database::store(move |_, _| (status, body.clone()));
    let (keys, transactions) = (BTreeSet::from([asked()]), BTreeSet::from([transaction()]));
    let two = BTreeSet::from([asked(), Key::new("l").unwrap()]);
    let guards = [(asked(), Version::ZERO)].into();
    block_on(async {
        let failed = [
            store.heads(&keys).await.map(drop).err(),
            store.heads(&two).await.map(drop).err(),
            store.heads_at_once(&keys).await.map(drop).err(),
            store.records(&transactions).await.map(drop).err(),
            store.validate(&guards).await.map(drop).err(),
            store.commit(&sample(Writes::new(), Bytes::new())).await.map(drop).err(),
        ];
        for error in failed.into_iter().flatten() {
            assert_eq!(error.to_string().lines().count(), 1, "{error}");
        }
    });
}

/// A record of the transaction that is asked for.
#[must_use]
pub fn sample(writes: Writes, body: Bytes) -> CommitRecord {
    CommitRecord {
        version: Version::new(Timestamp::from_micros(2), transaction()),
        nonce: Nonce::from_bits(3),
        writes,
        response: Response { content_type: None, body },
        fingerprint: Fingerprint::of(b"{}"),
        origin: "transfer/r-1".to_owned(),
        sandbox: SandboxId::from_bits(4),
        applied_through: Version::ZERO,
        expires_at_seconds: 4_102_444_800,
    }
}

/// What is committed is what is read, whatever of it went to chunks.
pub fn comes_back(record: &CommitRecord) {
    let table = Table::default();
    let store = table.store();
    block_on(async {
        assert_eq!(store.commit(record).await.unwrap(), Committed::Now);
        let records = store.records(&BTreeSet::from([record.transaction()])).await.unwrap();
        assert_eq!(records[&record.transaction()].as_ref(), Some(record));
    });
    for item in table.items().iter().filter(|item| item["part"]["S"] == "commit") {
        let found = store.found_in_stream(&item.to_string()).unwrap();
        assert_eq!(&block_on(store.whole(&found)).unwrap(), record, "the stream says the same");
    }
}

/// What the data table holds for a head is that head (docs/tables.md).
pub fn head_comes_back(head: &Head) {
    let mut item = json!({ "k": { "S": asked().as_str() } });
    write_entry(&mut item, ["t", "v", "ct", "w", "e"], &head.current);
    match &head.previous {
        Previous::Inline(entry) => write_entry(&mut item, ["pt", "pv", "pct", "pw", "pe"], entry),
        Previous::InRecord(version) => item["pt"] = json!({ "S": version.to_string() }),
    }
    for (name, version) in ["h1", "h2", "h3", "h4"].iter().zip(head.older) {
        item[name] = json!({ "S": zero_or(version) });
    }
    let answer = json!({ "Item": item }).to_string();
    let store = database::store(move |_, _| (200, answer.clone().into_bytes()));
    let heads = block_on(store.heads(&BTreeSet::from([asked()]))).unwrap();
    assert_eq!(heads, BTreeMap::from([(asked(), head.clone())]));
}

fn write_entry(item: &mut Value, names: [&str; 5], entry: &Entry) {
    let [version, value, content_type, cowritten, expires] = names;
    item[version] = json!({ "S": zero_or(entry.version) });
    item[value] = match &entry.value {
        Some(value) => json!({ "B": STANDARD.encode(value.bytes()) }),
        None => json!({ "NULL": true }),
    };
    let kind = entry.value.as_ref().map_or("", |value| value.content_type().as_str());
    item[content_type] = json!({ "S": kind });
    item[cowritten] = match &entry.cowritten {
        Cowritten::InRecord => json!({ "BOOL": true }),
        Cowritten::Keys(keys) => {
            json!({ "L": keys.iter().map(|key| json!({ "S": key.as_str() })).collect::<Vec<_>>() })
        }
    };
    item[expires] = json!({ "N": entry.record_expires_at_seconds.to_string() });
}

fn zero_or(version: Version) -> String {
    if version.is_zero() { String::new() } else { version.to_string() }
}

/// Every attribute of a head says what was read from it (docs/tables.md).
fn head_says(item: &Value, head: &Head) {
    assert_eq!(item["k"]["S"], asked().as_str());
    entry_says(item, ["t", "v", "ct", "w", "e"], &head.current);
    match &head.previous {
        Previous::Inline(entry) if item.get("pv").is_some() => entry_says(item, ["pt", "pv", "pct", "pw", "pe"], entry),
        Previous::Inline(entry) => assert!(entry.version.is_zero() && item["pt"]["S"] == ""),
        Previous::InRecord(version) => assert_eq!(item["pt"]["S"], zero_or(*version)),
    }
    for (name, version) in ["h1", "h2", "h3", "h4"].iter().zip(head.older) {
        assert_eq!(item[name]["S"], zero_or(version), "{name}");
    }
}

fn entry_says(item: &Value, names: [&str; 5], entry: &Entry) {
    let [version, value, content_type, cowritten, expires] = names;
    assert_eq!(item[version]["S"], zero_or(entry.version), "{version}");
    value_says(&item[value], &item[content_type], entry.value.as_ref());
    match &entry.cowritten {
        Cowritten::InRecord => assert_eq!(item[cowritten]["BOOL"], true),
        Cowritten::Keys(keys) => {
            let list = item[cowritten]["L"].as_array().unwrap();
            let said: BTreeSet<_> = list.iter().map(|key| key["S"].as_str().unwrap()).collect();
            assert_eq!(said, keys.iter().map(Key::as_str).collect());
        }
    }
    number_says(&item[expires], entry.record_expires_at_seconds);
}

fn value_says(value: &Value, content_type: &Value, stored: Option<&Stored>) {
    match stored {
        Some(stored) => {
            bytes_say(value, stored.bytes());
            assert_eq!(content_type["S"], stored.content_type().as_str());
        }
        None => assert!(value["NULL"] == true && content_type["S"] == "", "{value} {content_type}"),
    }
}

/// Base64 that is not canonical is another text for the same bytes, and DynamoDB never writes it.
fn bytes_say(value: &Value, bytes: &[u8]) {
    if let Ok(said) = STANDARD.decode(value["B"].as_str().unwrap()) {
        assert_eq!(said, bytes);
    }
}

/// DynamoDB writes numbers without signs and zeros in front.
fn number_says(value: &Value, number: u64) {
    let said = value["N"].as_str().unwrap();
    assert_eq!(said.trim_start_matches('+').trim_start_matches('0'), number.to_string().trim_start_matches('0'));
}

/// Every attribute of a record's own item, and of its chunk if there is one, says what was read from them.
pub fn record_says(own: &Value, chunk: Option<&Value>, record: &CommitRecord) {
    for (name, text) in [
        ("id", record.transaction().to_string()),
        ("t", record.version.to_string()),
        ("n", record.nonce.to_string()),
        ("fingerprint", record.fingerprint.to_string()),
        ("origin", record.origin.clone()),
        ("sandbox", record.sandbox.to_string()),
        ("applied", zero_or(record.applied_through)),
    ] {
        assert_eq!(own[name]["S"], text, "{name}");
    }
    number_says(&own["x"], record.expires_at_seconds);
    assert_eq!(own["rct"]["S"].as_str(), record.response.content_type.as_deref());
    let chunk = chunk.filter(|_| own["chunks"]["N"] != "0");
    let mut writes = BTreeMap::new();
    for part in [Some(own), chunk].into_iter().flatten() {
        for (key, write) in part["w"]["M"].as_object().into_iter().flatten() {
            assert_eq!(writes.insert(key.as_str(), write), None, "{key} is written twice, and only one can be read");
        }
    }
    assert_eq!(writes.len(), record.writes.len());
    for (key, value) in &record.writes {
        let write = &writes[key.as_str()]["M"];
        value_says(&write["v"], &write["ct"], value.as_ref());
    }
    if chunk.is_none() {
        bytes_say(&own["r"], &record.response.body);
    }
}
