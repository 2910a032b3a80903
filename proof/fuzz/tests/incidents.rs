//! What the properties have found in the parsers of this repository, each with what happened then. Their inputs are in the
//! corpus, too; here is what must come of them.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeSet;

use aft_fuzz::items::{asked, block_on, sample, transaction};
use aft_fuzz::{control, database, endpoint};
use aft_protocol::id::TransactionId;
use aft_protocol::record::Writes;
use aft_protocol::version::{Timestamp, Version};
use aft_store::{ErrorKind, Store, StoreError};
use bytes::Bytes;
use hyper::header::HeaderValue;
use serde_json::{Value, json};

fn version(transaction: TransactionId) -> String {
    Version::new(Timestamp::from_micros(2), transaction).to_string()
}

fn head(changes: &[(&str, Value)]) -> Value {
    let mut item = json!({
        "k": {"S": "k"}, "v": {"B": "aGk="}, "ct": {"S": "text/plain"}, "t": {"S": version(transaction())}, "w": {"L": []},
        "e": {"N": "1"}, "pt": {"S": ""}, "h1": {"S": ""}, "h2": {"S": ""}, "h3": {"S": ""}, "h4": {"S": ""}
    });
    changes.iter().for_each(|(name, value)| item[name] = value.clone());
    item
}

fn record(changes: &[(&str, Value)]) -> Value {
    let id = transaction().to_string();
    let mut item = json!({
        "id": {"S": id}, "part": {"S": "commit"}, "t": {"S": version(transaction())}, "n": {"S": id}, "w": {"M": {}},
        "r": {"B": ""}, "fingerprint": {"S": id}, "origin": {"S": ""}, "sandbox": {"S": id}, "applied": {"S": ""},
        "chunks": {"N": "0"}, "x": {"N": "1"}
    });
    changes.iter().for_each(|(name, value)| item[name] = value.clone());
    item
}

fn of_head(item: &Value) -> Result<(), StoreError> {
    let answer = json!({ "Item": item }).to_string();
    let store = database::store(move |_, _| (200, answer.clone().into_bytes()));
    block_on(store.heads(&BTreeSet::from([asked()]))).map(drop)
}

fn of_record(item: &Value, chunk: &Value) -> Result<(), StoreError> {
    let (own, chunk) = (json!({ "Item": item }).to_string(), json!({ "Item": chunk }).to_string());
    let store = database::store(move |_, body| {
        let answer = if body["Key"]["part"]["S"] == "commit" { &own } else { &chunk };
        (200, answer.clone().into_bytes())
    });
    block_on(store.records(&BTreeSet::from([transaction()]))).map(drop)
}

#[track_caller]
fn malformed(read: Result<(), StoreError>, words: &str) {
    let error = read.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed, "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

/// An answer with another key's head was taken as that key's, unasked, and the key that was asked for as one that was never
/// written. The same with records.
#[test]
fn what_was_not_asked_for_is_no_answer() {
    assert!(of_head(&head(&[])).is_ok() && of_record(&record(&[]), &json!({})).is_ok());
    malformed(of_head(&head(&[("k", json!({"S": "other"}))])), "not asked for");
    let other = TransactionId::from_bits(9);
    let others = record(&[("id", json!({"S": other.to_string()})), ("t", json!({"S": version(other)}))]);
    malformed(of_record(&others, &json!({})), "not asked for");
    let refusal = database::refusal(&others.to_string());
    let store = database::store(move |_, _| refusal.clone());
    malformed(block_on(store.commit(&sample(Writes::new(), Bytes::new()))).map(drop), "not asked for");
}

/// A head or a record at version zero, which stands for "never written", was read as if it were one; and zero had two texts, of
/// which only one sorts below every other.
#[test]
fn nothing_is_written_at_version_zero() {
    malformed(of_head(&head(&[("t", json!({"S": ""}))])), "never written");
    let zero = json!({"S": Version::ZERO.to_string()});
    malformed(of_head(&head(&[("h1", zero.clone())])), "never written");
    let id = json!({"S": Version::ZERO.transaction().to_string()});
    for t in [zero, json!({"S": ""})] {
        malformed(of_record(&record(&[("id", id.clone()), ("t", t)]), &json!({})), "never written");
    }
}

/// A key that a record writes in its own item and again in a chunk had the chunk's value, silently.
#[test]
fn a_record_writes_a_key_once() {
    let writes = json!({"M": {"k": {"M": {"v": {"NULL": true}, "ct": {"S": ""}}}}});
    let own = record(&[("w", writes.clone()), ("chunks", json!({"N": "1"}))]);
    let part = format!("chunk#{}#0000", transaction());
    let chunk = json!({"id": {"S": transaction().to_string()}, "part": {"S": part}, "w": writes, "r": {"B": ""}});
    malformed(of_record(&own, &chunk), "written twice");
}

/// A deleted key's content type was passed over, whatever it said.
#[test]
fn a_deleted_key_has_no_content_type() {
    malformed(of_head(&head(&[("v", json!({"NULL": true}))])), "`ct` is not empty");
    assert!(of_head(&head(&[("v", json!({"NULL": true})), ("ct", json!({"S": ""}))])).is_ok());
    malformed(of_head(&head(&[("v", json!({"NULL": false})), ("ct", json!({"S": ""}))])), "binary or null");
}

/// DynamoDB's message came into the log with its line ends.
#[test]
fn what_dynamodb_says_is_told_in_one_line() {
    let body = br#"{"__type":"com.amazonaws.dynamodb.v20120810#ValidationException","message":"one\ntwo\r\n three"}"#;
    let store = database::store(|_, _| (400, body.to_vec()));
    let error = block_on(store.heads(&BTreeSet::from([asked()]))).unwrap_err();
    assert!(error.to_string().ends_with("one two three"), "{error}");
}

/// A content type that is not ASCII was lost on the way to the record, so that a duplicate was answered without one.
#[test]
fn a_recorded_content_type_need_not_be_ascii() {
    let kind = HeaderValue::from_bytes("text/plain; title=\u{e9}".as_bytes()).unwrap();
    block_on(control::recorded(Some(kind), Bytes::from_static(b"{}")));
}

/// A fragment is no part of a request's target, and is gone before the endpoint sees it: the `http` crate drops it. So a key
/// with a bare number sign in its route is the key before it; `%23` is the character.
#[test]
fn a_number_sign_in_a_key_must_be_encoded() {
    assert_eq!(endpoint::key_of("/v1/kv/a%23b").as_deref(), Some("a#b"));
    assert_eq!(endpoint::key_of("/v1/kv/a#b").as_deref(), Some("a"));
    endpoint::check(b"PUT /v1/kv/a#b\n\n1");
    endpoint::check(b"PUT /v1/kv/a%23b\n\n1");
}
