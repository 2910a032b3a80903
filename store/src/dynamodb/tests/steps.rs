//! Steps of several items: what is sent, and what each way of being refused means; through the real client.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aft_protocol::head::Keep;
use aft_protocol::isolation::Guards;
use aft_protocol::key::Key;
use aft_protocol::limits;
use aft_protocol::record::{CommitRecord, Writes};
use aft_protocol::version::Version;
use serde_json::{Value, json};

use super::fake::{Answer, Fake, Request};
use super::{EXISTING, record, store, transaction};
use crate::ErrorKind::{Malformed, Rejected, Unavailable, Unknown};
use crate::{Obstacles, Pace, Stepped, Store, StoreError, Terms, Validated};

const READ: &str = "0000000000001-00000000000000000000000007";
const FOUND: &str = "0000000000005-00000000000000000000000009";

fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

/// Writes `blind` and `moved`, which was read, as was `checked`; and `unborn` and `born`, which were read as absent.
fn step() -> (CommitRecord, Terms) {
    let keys = ["blind", "born", "moved"];
    let writes: Writes = keys.map(|name| (key(name), None)).into();
    let guards =
        [("born", Version::ZERO), ("checked", version(READ)), ("moved", version(READ)), ("unborn", Version::ZERO)];
    let guards: Guards = guards.map(|(name, version)| (key(name), version)).into();
    let moves = keys.map(|name| (key(name), Keep::InRecord { until_seconds: 8 })).into();
    (CommitRecord { writes, ..record(0) }, Terms { guards, moves })
}

/// The step's keys in the order of its actions, which comes after the record.
const KEYS: [&str; 5] = ["blind", "born", "moved", "checked", "unborn"];

/// A cancellation for these reasons.
fn cancelled(reasons: &[Value]) -> Answer {
    let more = format!(r#","CancellationReasons":{}"#, Value::from(reasons.to_vec()));
    Answer::error(400, "TransactionCanceledException", &more)
}

fn reason(code: &str) -> Value {
    json!({"Code": code, "Message": "so it is"})
}

fn held(item: &Value) -> Value {
    json!({"Code": "ConditionalCheckFailed", "Message": "so it is", "Item": item})
}

fn head(name: &str) -> Value {
    held(&json!({"k": {"S": name}, "t": {"S": FOUND}, "v": {"NULL": true}}))
}

/// The record that [`EXISTING`] is, without chunks.
fn existing() -> Value {
    let item = EXISTING.trim_start_matches(r#","Item":"#).replace(r#""chunks":{"N":"2"}"#, r#""chunks":{"N":"0"}"#);
    serde_json::from_str(&item).unwrap()
}

async fn stepped(answer: Answer) -> Result<Stepped, StoreError> {
    let fake = Fake::start(move |_| answer.clone()).await;
    let (record, terms) = step();
    let stepped = store(&fake.endpoint).commit_if(&record, &terms).await;
    assert_eq!(fake.requests(), 1, "no request is repeated");
    stepped
}

async fn validated(answer: Answer) -> Result<Validated, StoreError> {
    let fake = Fake::start(move |_| answer.clone()).await;
    let validated = store(&fake.endpoint).validate(&step().1.guards).await;
    assert_eq!(fake.requests(), 1, "no request is repeated");
    validated
}

fn changed<const N: usize>(names: [(&str, Version); N]) -> BTreeMap<Key, Version> {
    names.map(|(name, version)| (key(name), version)).into()
}

fn contended(names: &[&str], is_record_contended: bool) -> Obstacles {
    let contended = names.iter().map(|name| key(name)).collect();
    Obstacles { contended, is_record_contended, ..Obstacles::default() }
}

/// The record comes first, because its reason counts more than any other; each action says with which item it failed.
#[tokio::test]
async fn a_step_asks_for_all_of_it_at_once() {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&sent);
    let fake = Fake::start(move |request| {
        let body: Value = serde_json::from_str(&request.body).unwrap();
        seen.lock().unwrap().push((request.operation.clone(), body));
        Answer::empty()
    })
    .await;
    let (record, mut terms) = step();
    assert_eq!(store(&fake.endpoint).commit_if(&record, &terms).await.unwrap(), Stepped::Now);
    terms.moves.values_mut().for_each(|keep| *keep = Keep::Inline);
    assert_eq!(store(&fake.endpoint).commit_if(&record, &terms).await.unwrap(), Stepped::Now);
    let sent = sent.lock().unwrap().clone();
    let [(operation, body), (_, inline)] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(operation, "TransactWriteItems");
    let token = body["ClientRequestToken"].as_str().unwrap();
    assert_eq!(token, record.nonce.to_string());
    assert!(token.len() <= 36, "{token}");

    let actions = body["TransactItems"].as_array().unwrap();
    let put = &actions[0]["Put"];
    assert_eq!(put["TableName"], "orders-transactions");
    assert_eq!(put["Item"]["part"]["S"], "commit");
    assert_eq!(put["ConditionExpression"], "attribute_not_exists(id)");
    let actions: Vec<_> = actions.iter().map(|action| action.as_object().unwrap().iter().next().unwrap()).collect();
    assert!(actions.iter().all(|(_, action)| action["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD"));
    assert!(actions[1..].iter().all(|(_, action)| action["TableName"] == "orders"));
    let conditions = actions[1..].iter().map(|(what, action)| {
        let (name, condition) = (&action["Key"]["k"]["S"], &action["ConditionExpression"]);
        let read = action["ExpressionAttributeValues"][":read"]["S"].as_str();
        (what.as_str(), name.as_str().unwrap(), condition.as_str().unwrap(), read)
    });
    let newer = "attribute_not_exists(k) OR (t < :t AND e > :until)";
    let expected = [
        ("Update", "blind", newer, None),
        ("Update", "born", "attribute_not_exists(k)", None),
        ("Update", "moved", "t = :read AND t < :t AND e > :until", Some(READ)),
        ("ConditionCheck", "checked", "t = :read", Some(READ)),
        ("ConditionCheck", "unborn", "attribute_not_exists(k)", None),
    ];
    assert_eq!(conditions.collect::<Vec<_>>(), expected);
    assert_eq!(expected.map(|(_, name, ..)| name), KEYS);
    let conditions = [1, 2, 3].map(|at| inline["TransactItems"][at]["Update"]["ConditionExpression"].as_str());
    let expected = ["attribute_not_exists(k) OR t < :t", "attribute_not_exists(k)", "t = :read AND t < :t"];
    assert_eq!(conditions, expected.map(Some));
}

/// A validation asks for keys and versions alone; what is there although it was read as absent has changed, and the other way
/// round.
#[tokio::test]
async fn a_validation_asks_for_versions_and_compares_them_all() {
    let holds = [("born", None), ("checked", Some(READ)), ("moved", Some(READ)), ("unborn", None)];
    let mut cases = vec![(holds, changed([]))];
    for (at, found) in [(0, Some(FOUND)), (1, None), (2, Some(FOUND)), (3, Some(READ))] {
        let mut there = holds;
        there[at].1 = found;
        cases.push((there, changed([(there[at].0, found.map_or(Version::ZERO, version))])));
    }
    for (there, changed) in cases {
        let fake = Fake::start(move |request| {
            let body: Value = serde_json::from_str(&request.body).unwrap();
            let gets = body["TransactItems"].as_array().unwrap().iter().map(|get| &get["Get"]);
            assert_eq!(request.operation, "TransactGetItems");
            assert!(gets.clone().all(|get| get["ProjectionExpression"] == "k, t" && get["TableName"] == "orders"));
            assert!(gets.map(|get| get["Key"]["k"]["S"].as_str().unwrap()).eq(there.map(|(name, _)| name)));
            let item = |(name, version): (&str, Option<&str>)| match version {
                Some(version) => json!({"Item": {"k": {"S": name}, "t": {"S": version}}}),
                None => json!({}),
            };
            Answer::Reply(200, json!({"Responses": there.map(item)}).to_string())
        })
        .await;
        let expected = match changed.is_empty() {
            true => Validated::Holds,
            false => Validated::Refused(Obstacles { changed, ..Obstacles::default() }),
        };
        assert_eq!(store(&fake.endpoint).validate(&step().1.guards).await.unwrap(), expected);
    }
}

/// R-SER-4: what stands in the way, by key; nothing was written.
#[tokio::test]
async fn every_obstacle_is_named() {
    let (none, conflict, absent) = (reason("None"), reason("TransactionConflict"), reason("ConditionalCheckFailed"));
    let found = version(FOUND);
    let none_of_it = |at: usize, reason: &Value| {
        let mut reasons = vec![none.clone(); 1 + KEYS.len()];
        reasons[at] = reason.clone();
        reasons
    };
    for (at, name) in (1..).zip(KEYS) {
        let moved = Obstacles { changed: changed([(name, found)]), ..Obstacles::default() };
        assert_eq!(stepped(cancelled(&none_of_it(at, &head(name)))).await.unwrap(), Stepped::Refused(moved));
        let gone = Obstacles { changed: changed([(name, Version::ZERO)]), ..Obstacles::default() };
        assert_eq!(stepped(cancelled(&none_of_it(at, &absent))).await.unwrap(), Stepped::Refused(gone.clone()));
        // An engine may say "no item" by an empty one.
        assert_eq!(stepped(cancelled(&none_of_it(at, &held(&json!({}))))).await.unwrap(), Stepped::Refused(gone));
        let busy = stepped(cancelled(&none_of_it(at, &conflict))).await.unwrap();
        assert_eq!(busy, Stepped::Refused(contended(&[name], false)));
    }
    let busy = stepped(cancelled(&none_of_it(0, &conflict))).await.unwrap();
    assert_eq!(busy, Stepped::Refused(contended(&[], true)));
    let mixed = [conflict.clone(), conflict.clone(), none.clone(), head("moved"), absent, conflict.clone()];
    let changed = changed([("moved", found), ("checked", Version::ZERO)]);
    let all = Obstacles { changed: changed.clone(), ..contended(&["blind", "unborn"], true) };
    assert_eq!(stepped(cancelled(&mixed)).await.unwrap(), Stepped::Refused(all));

    let busy = validated(cancelled(&[none.clone(), conflict.clone(), none.clone(), conflict])).await.unwrap();
    assert_eq!(busy, Validated::Refused(contended(&["checked", "unborn"], false)));
}

/// R-COMMIT-2: whatever else there is.
#[tokio::test]
async fn an_existing_record_is_looked_at_first() {
    for other in ["None", "ConditionalCheckFailed", "TransactionConflict", "ThrottlingError", "ValidationError"] {
        let mut reasons = vec![held(&existing())];
        reasons.extend(vec![reason(other); KEYS.len()]);
        let Stepped::Before(before) = stepped(cancelled(&reasons)).await.unwrap() else { panic!("{other}") };
        assert_eq!((before.transaction(), before.nonce), (transaction(), record(0).nonce), "{other}");
    }
    // There is one, and nobody knows whose: that is no conflict.
    let reasons = [reason("ConditionalCheckFailed"), head("blind")];
    assert_eq!(stepped(cancelled(&reasons)).await.unwrap_err().kind(), Malformed);
}

/// Until an existing record is read, it may be one's own.
#[tokio::test]
async fn an_existing_record_whose_chunks_cannot_be_read_leaves_the_outcome_unknown() {
    let item: Value = serde_json::from_str(EXISTING.trim_start_matches(r#","Item":"#)).unwrap();
    let fake = Fake::start(move |request| match request.operation.as_str() {
        "TransactWriteItems" => cancelled(&[held(&item)]),
        _ => Answer::error(400, "ThrottlingException", ""),
    })
    .await;
    let (record, terms) = step();
    assert_eq!(store(&fake.endpoint).commit_if(&record, &terms).await.unwrap_err().kind(), Unknown);
}

/// A cancelled step has had no effect; whether another try makes sense is another question. Wherever the reason stands.
#[tokio::test]
async fn every_other_reason_says_that_nothing_happened() {
    for (code, kind, pace) in [
        ("ThrottlingError", Unavailable, Pace::Later),
        ("ProvisionedThroughputExceeded", Unavailable, Pace::Later),
        ("ValidationError", Rejected, Pace::Soon),
        ("ItemCollectionSizeLimitExceeded", Rejected, Pace::Soon),
        ("NeverHeardOf", Rejected, Pace::Soon),
    ] {
        let check = |at: &str, error: StoreError| {
            assert_eq!((error.kind(), error.pace()), (kind, pace), "{code} {at}: {error}");
            for word in [code, "so it is", "nothing happened", "table \"orders"] {
                assert!(error.to_string().contains(word), "{code} {at}: no {word:?} in {error}");
            }
        };
        for at in 0..=KEYS.len() {
            let mut reasons = vec![reason("TransactionConflict"); 1 + KEYS.len()];
            reasons[at] = reason(code);
            check(&at.to_string(), stepped(cancelled(&reasons)).await.unwrap_err());
        }
        check("validating", validated(cancelled(&[reason("None"), reason(code)])).await.unwrap_err());
    }
    for reasons in [Vec::new(), vec![reason("None"); 1 + KEYS.len()], vec![json!({}); 2]] {
        let errors = (stepped(cancelled(&reasons)).await, validated(cancelled(&reasons)).await);
        for error in [errors.0.unwrap_err(), errors.1.unwrap_err()] {
            assert_eq!((error.kind(), error.pace()), (Unavailable, Pace::Soon), "no reason is no success: {error}");
        }
    }
}

/// R-COMMIT-4: what is under way with this token may be one's own.
#[tokio::test]
async fn a_step_that_is_under_way_may_happen() {
    let error = stepped(Answer::error(400, "TransactionInProgressException", "")).await.unwrap_err();
    assert_eq!(error.kind(), Unknown, "{error}");
}

/// A token that is known with another content: no nonce is used twice, so the step was taken, and its record tells; whatever
/// DynamoDB takes for a difference.
#[tokio::test]
async fn a_token_that_was_used_is_looked_up() {
    let known = |answer: Answer| {
        Fake::start(move |request: &Request| match request.operation.as_str() {
            "TransactWriteItems" => Answer::error(400, "IdempotentParameterMismatchException", ""),
            _ if request.body.contains(r#""ConsistentRead":true"#) => answer.clone(),
            _ => Answer::Reply(400, "a read that is not strong".to_owned()),
        })
    };
    let (record, terms) = step();
    let found = known(Answer::Reply(200, json!({"Item": existing()}).to_string())).await;
    let Stepped::Before(before) = store(&found.endpoint).commit_if(&record, &terms).await.unwrap() else { panic!() };
    assert_eq!(before.nonce, record.nonce);
    for (answer, kind) in [
        (Answer::empty(), Rejected),
        (Answer::error(400, "ThrottlingException", ""), Unknown),
        (Answer::error(500, "InternalServerError", ""), Unknown),
    ] {
        let case = format!("{answer:?}");
        let fake = known(answer).await;
        let error = store(&fake.endpoint).commit_if(&record, &terms).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{case}: {error}");
    }
}

/// A step that is under way at a head refuses a plain move of it, which has had no effect.
#[tokio::test]
async fn a_move_that_meets_a_step_is_tried_again() {
    let fake = Fake::start(|_| Answer::error(400, "TransactionConflictException", "")).await;
    let (record, _) = step();
    for (key, entry) in record.head_entries() {
        let error = store(&fake.endpoint).apply(key, &entry, Keep::Inline).await.unwrap_err();
        assert_eq!((error.kind(), error.pace()), (Unavailable, Pace::Soon), "{error}");
    }
}

/// A chunk whose fate is unknown belongs to no transaction: the step was not tried.
#[tokio::test]
async fn chunks_come_before_the_step() {
    let fake = Fake::start(|request| {
        assert_eq!(request.operation, "PutItem", "the step was tried before its chunks were durable");
        Answer::Close
    })
    .await;
    let terms = step().1;
    let error = store(&fake.endpoint).commit_if(&record(2 * limits::RECORD_ITEM_BYTES), &terms).await.unwrap_err();
    assert_eq!(error.kind(), Unavailable, "{error}");
}
