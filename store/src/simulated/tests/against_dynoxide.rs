//! The simulated engine and dynoxide, another engine with the same behaviour, asked the same: what the production store asks
//! in random sequences of its calls, and requests that are wrong in all the ways that are known. The answers are compared
//! byte for byte but for the order of what has none, and for the words of refusals.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aft_protocol::claim::Claim;
use aft_protocol::head::{Cowritten, Entry, Keep};
use aft_protocol::id::{ClaimOwner, Fingerprint, Nonce, SandboxId, TransactionId};
use aft_protocol::key::Key;
use aft_protocol::record::{CommitRecord, Response};
use aft_protocol::value::{ContentType, Value as Stored};
use aft_protocol::version::{Timestamp, Version};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::key;
use super::requests::{get, put, reads, transaction, update};
use crate::dynamodb::{DynamoDb, ReadConsistency, TimeLimits};
use crate::simulated::{DATA_TABLE, Engine, Fault, Request, TRANSACTION_TABLE, fault};
use crate::{Store, StoreError, Terms};

/// A connector that asks both.
#[derive(Clone)]
struct Both {
    engine: Engine,
    other: Arc<Database>,
    /// How often each operation was answered in each way.
    seen: Arc<Mutex<BTreeMap<String, u32>>>,
}

impl std::fmt::Debug for Both {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Both")
    }
}

impl Both {
    async fn new() -> Self {
        let engine = Engine::new().await.unwrap();
        let other = Arc::new(Database::memory().unwrap());
        let both = Self { engine, other, seen: Arc::default() };
        for (table, names) in [(DATA_TABLE, &["k"][..]), (TRANSACTION_TABLE, &["id", "part"])] {
            let schema = names.iter().zip(["HASH", "RANGE"]);
            let schema: Vec<_> = schema.map(|(name, kind)| json!({"AttributeName": name, "KeyType": kind})).collect();
            let attributes = names.iter().map(|name| json!({"AttributeName": name, "AttributeType": "S"}));
            let create = json!({
                "TableName": table, "KeySchema": schema, "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": attributes.collect::<Vec<_>>(),
            });
            assert_eq!(both.other(&Request::new("CreateTable", create.to_string().as_bytes())).0, 200);
        }
        both
    }

    fn store(&self) -> DynamoDb {
        let both = self.clone();
        let http = http_client_fn(move |_, _| SharedHttpConnector::new(both.clone()));
        Engine::over(ReadConsistency::Strong, &TimeLimits::default(), http)
    }

    /// Asks both and compares; what both say.
    fn ask(&self, operation: &str, body: &Value) -> (u16, Value) {
        self.ask_bytes(operation, body.to_string().as_bytes())
    }

    fn ask_bytes(&self, operation: &str, body: &[u8]) -> (u16, Value) {
        let request = Request::new(operation, body);
        let ours = self.engine_says(&request);
        let theirs = self.other(&request);
        assert_eq!(comparable(&ours), comparable(&theirs), "{request}\nours {ours:?}\ntheirs {theirs:?}");
        let how = ours.1["__type"].as_str().and_then(|kind| kind.split('#').nth(1)).unwrap_or("answered");
        *self.seen.lock().unwrap().entry(format!("{operation} {how}")).or_default() += 1;
        ours
    }

    fn engine_says(&self, request: &Request) -> (u16, Value) {
        let answer = self.engine.shared.tables.answer(request, Duration::ZERO, Duration::ZERO);
        (answer.status, serde_json::from_str(&answer.body).unwrap())
    }

    fn other(&self, request: &Request) -> (u16, Value) {
        let mut body = request.body.clone();
        if let Some(members) = body.as_object_mut() {
            // Its tokens expire by the wall clock.
            members.remove("ClientRequestToken");
        }
        let (database, body) = (&self.other, body.to_string());
        let answer = match request.operation.as_str() {
            "GetItem" => asked(&body).and_then(|body| said(database.get_item(body))),
            "BatchGetItem" => asked(&body).and_then(|body| said(database.batch_get_item(body))),
            "PutItem" => asked(&body).and_then(|body| said(database.put_item(body))),
            "UpdateItem" => asked(&body).and_then(|body| said(database.update_item(body))),
            "DeleteItem" => asked(&body).and_then(|body| said(database.delete_item(body))),
            "TransactWriteItems" => asked(&body).and_then(|body| said(database.transact_write_items(body))),
            "TransactGetItems" => asked(&body).and_then(|body| said(database.transact_get_items(body))),
            "Query" => asked(&body).and_then(|body| said(database.query(body))),
            "Scan" => asked(&body).and_then(|body| said(database.scan(body))),
            "CreateTable" => asked(&body).and_then(|body| said(database.create_table(body))),
            unknown => panic!("{unknown}"),
        };
        match answer {
            Ok(answer) => (200, serde_json::from_str(&answer).unwrap()),
            Err(error) => (error.status_code(), serde_json::from_str(&error.to_json()).unwrap()),
        }
    }
}

fn asked<T: DeserializeOwned>(body: &str) -> Result<T, DynoxideError> {
    serde_json::from_str(body).map_err(|error| DynoxideError::ValidationException(error.to_string()))
}

fn said<T: Serialize>(answer: Result<T, DynoxideError>) -> Result<String, DynoxideError> {
    serde_json::to_string(&answer?).map_err(|error| DynoxideError::InternalServerError(error.to_string()))
}

impl HttpConnector for Both {
    fn call(&self, sent: HttpRequest) -> HttpConnectorFuture {
        let target = sent.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.split('.').nth(1).unwrap_or_default();
        let (status, body) = self.ask_bytes(operation, sent.body().bytes().unwrap_or_default());
        HttpConnectorFuture::ready(fault::answer(status, body.to_string()))
    }
}

/// The items of the transaction table, read in so many parts; or the commit records among them.
fn everything(only_records: bool, of: u64, ask: impl Fn(&Request) -> (u16, Value)) -> Vec<String> {
    let mut found = Vec::new();
    for segment in 0..of {
        let mut scan = json!({
            "TableName": TRANSACTION_TABLE, "Segment": segment, "TotalSegments": of,
            "ReturnConsumedCapacity": "TOTAL",
        });
        if only_records {
            scan["FilterExpression"] = json!("#part = :commit");
            scan["ExpressionAttributeNames"] = json!({"#part": "part"});
            scan["ExpressionAttributeValues"] = json!({":commit": {"S": "commit"}});
        }
        loop {
            let (status, mut page) = ask(&Request::new("Scan", scan.to_string().as_bytes()));
            assert_eq!(status, 200, "{page}");
            assert!(page["ConsumedCapacity"]["CapacityUnits"].as_f64().is_some(), "{page}");
            let items = page["Items"].as_array().unwrap();
            assert_eq!(page["Count"], items.len());
            found.extend(items.iter().map(ToString::to_string));
            // Dynoxide counts the first item of the next page to this one.
            assert!(page["ScannedCount"].as_u64().unwrap() >= items.len() as u64);
            match page["LastEvaluatedKey"].take() {
                Value::Null => break,
                last => scan["ExclusiveStartKey"] = last,
            }
        }
    }
    found.sort();
    found
}

/// What must be the same of an answer.
fn comparable((status, body): &(u16, Value)) -> (u16, Value) {
    let mut body = body.clone();
    let members = body.as_object_mut().unwrap();
    members.remove("message");
    members.remove("Message");
    members.remove("ConsumedCapacity");
    for reason in members.get_mut("CancellationReasons").and_then(Value::as_array_mut).into_iter().flatten() {
        reason.as_object_mut().unwrap().remove("Message");
    }
    if members.get("UnprocessedKeys") == Some(&json!({})) {
        members.remove("UnprocessedKeys");
    }
    let lists = members.get_mut("Responses").and_then(Value::as_object_mut).into_iter().flatten().map(|(_, list)| list);
    for list in lists.filter_map(Value::as_array_mut) {
        list.sort_by_key(ToString::to_string);
    }
    if let Some(list) = members.get_mut("Items").and_then(Value::as_array_mut) {
        list.sort_by_key(ToString::to_string);
    }
    (*status, body)
}

/// Steele and Vigna's generator, as the conformance suite's.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
        (self.0 >> 32) % bound
    }

    fn key(&mut self) -> Key {
        key(["a", "b", "c", "ä\"\\\u{1f600}", "e"][self.below(5) as usize])
    }

    fn keys(&mut self) -> BTreeSet<Key> {
        (0..=self.below(4)).map(|_| self.key()).collect()
    }

    /// Few, so that the same come again.
    fn version(&mut self) -> Version {
        let number = self.below(12);
        if number == 0 { Version::ZERO } else { Version::new(Timestamp::from_micros(number), self.transaction()) }
    }

    fn transaction(&mut self) -> TransactionId {
        TransactionId::from_bits((self.below(5) + 1).into())
    }

    fn value(&mut self) -> Option<Stored> {
        let length = match self.below(40) {
            0..=9 => return None,
            10 => 180_000,
            11 => 0,
            _ => self.below(2_000),
        };
        let bytes: Vec<_> = (0..length).map(|_| self.below(256) as u8).collect();
        Some(Stored::new(bytes, ContentType::default()).unwrap())
    }

    fn keep(&mut self) -> Keep {
        if self.below(2) == 0 { Keep::Inline } else { Keep::InRecord { until_seconds: self.below(3) } }
    }

    fn entry(&mut self) -> Entry {
        let cowritten = if self.below(3) == 0 { Cowritten::InRecord } else { Cowritten::Keys(Arc::new(self.keys())) };
        let (version, record_expires_at_seconds) = (self.version(), self.below(3));
        Entry { version, value: self.value(), cowritten, record_expires_at_seconds }
    }

    fn record(&mut self, nonce: u128) -> CommitRecord {
        let version = Version::new(Timestamp::from_micros(self.below(12) + 1), self.transaction());
        let response = if self.below(10) == 0 { 900_000 } else { self.below(500) };
        CommitRecord {
            version,
            nonce: Nonce::from_bits(nonce),
            writes: self.keys().into_iter().map(|key| (key, self.value())).collect(),
            response: Response { content_type: None, body: vec![1; response as usize].into() },
            fingerprint: Fingerprint::from_bits(1),
            origin: "against dynoxide".to_owned(),
            sandbox: SandboxId::from_bits(1),
            applied_through: Version::ZERO,
            expires_at_seconds: 4_102_444_800,
        }
    }
}

/// Whatever comes of it: both engines said the same.
async fn call(store: &DynamoDb, random: &mut Random, nonce: u128) -> Result<(), StoreError> {
    match random.below(12) {
        0 => drop(store.heads(&random.keys()).await?),
        1 => drop(store.heads_at_once(&random.keys()).await?),
        2..=4 => drop(store.apply(&random.key(), &random.entry(), random.keep()).await?),
        5 => drop(store.commit(&random.record(nonce)).await?),
        6..=8 => {
            let record = random.record(nonce);
            let moves = record.writes.keys().map(|key| (key.clone(), random.keep())).collect();
            let guards = if random.below(2) == 0 {
                // As it is, so that some are taken.
                let heads = store.latest_heads(&record.writes.keys().cloned().collect()).await?;
                heads.into_iter().map(|(key, head)| (key, head.current.version)).collect()
            } else {
                random.keys().into_iter().map(|key| (key, random.version())).collect()
            };
            drop(store.commit_if(&record, &Terms { guards, moves }).await?);
        }
        9 => {
            let guards = random.keys().into_iter().map(|key| (key, random.version())).collect();
            drop(store.validate(&guards).await?);
        }
        10 => {
            let owner = ClaimOwner::new(["me", "you"][random.below(2) as usize]);
            let claim = Claim { transaction: random.transaction(), owner, expires_at_seconds: random.below(10) };
            if random.below(3) == 0 {
                store.release(&claim).await?;
            } else {
                let _claimed = store.claim(&claim, random.below(10)).await?;
            }
        }
        _ => {
            drop(store.records(&(0..3).map(|_| random.transaction()).collect()).await?);
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_stores_calls_are_answered_alike() {
    let mut seen = BTreeMap::<String, u32>::new();
    for seed in 1..=8 {
        let both = Both::new().await;
        let (store, mut random) = (both.store(), Random(seed));
        for nonce in 1..=60 {
            // A refusal is as good an answer as any.
            let _ = call(&store, &mut random, nonce).await;
            if nonce % 10 == 0 {
                let only_records = nonce % 20 == 0;
                let ours = everything(only_records, 3, |request| both.engine_says(request));
                let theirs = everything(only_records, 2, |request| both.other(request));
                // Not `assert_eq`: it is too long to be read.
                assert!(ours == theirs, "seed {seed} after {nonce}: {} and {} items", ours.len(), theirs.len());
            }
        }
        for (how, times) in both.seen.lock().unwrap().iter() {
            *seen.entry(how.clone()).or_default() += times;
        }
    }
    for how in [
        "GetItem answered",
        "BatchGetItem answered",
        "PutItem answered",
        "PutItem ConditionalCheckFailedException",
        "UpdateItem answered",
        "UpdateItem ConditionalCheckFailedException",
        "TransactWriteItems answered",
        "TransactWriteItems TransactionCanceledException",
        "TransactGetItems answered",
    ] {
        assert!(seen.get(how).is_some_and(|times| *times >= 10), "{how}: {seen:?}");
    }
}

/// An update of `a` with this expression and these values.
fn updating(expression: &str, values: Value) -> Value {
    let mut asked = json!({"TableName": DATA_TABLE, "Key": {"k": {"S": "a"}}, "UpdateExpression": expression});
    if !values.is_null() {
        asked["ExpressionAttributeValues"] = values;
    }
    asked
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_is_refused_alike() {
    let both = Both::new().await;
    assert_eq!(both.ask("PutItem", &put("a", "1")["Put"]).0, 200);
    let read = |table: &str, key: Value| json!({"TableName": table, "Key": key});
    let on_condition = |condition: &str, values: Value| {
        let mut put = put("a", "2")["Put"].clone();
        put["ConditionExpression"] = json!(condition);
        if !values.is_null() {
            put["ExpressionAttributeValues"] = values;
        }
        put
    };
    let large = "x".repeat(400 << 10);
    let batch = |keys: Vec<&str>| {
        let keys: Vec<_> = keys.iter().map(|key| json!({"k": {"S": key}})).collect();
        json!({"RequestItems": {DATA_TABLE: {"Keys": keys}}})
    };
    let many: Vec<_> = (0..101).map(|number| number.to_string()).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let one = json!({":x": {"S": "1"}});
    for (operation, body) in [
        ("GetItem", read("nothing", json!({"k": {"S": "a"}}))),
        ("GetItem", read(DATA_TABLE, json!({"id": {"S": "a"}}))),
        ("GetItem", read(DATA_TABLE, json!({"k": {"S": "a"}, "part": {"S": "a"}}))),
        ("GetItem", read(DATA_TABLE, json!({"k": {"N": "1"}}))),
        ("GetItem", read(DATA_TABLE, json!({"k": {"S": ""}}))),
        ("GetItem", read(DATA_TABLE, json!({"k": {"S": "x".repeat(2_049)}}))),
        ("GetItem", read(TRANSACTION_TABLE, json!({"id": {"S": "a"}}))),
        ("PutItem", json!({"TableName": DATA_TABLE, "Item": {"t": {"S": "1"}}})),
        ("PutItem", json!({"TableName": DATA_TABLE, "Item": {"k": {"N": "1"}}})),
        ("PutItem", json!({"TableName": DATA_TABLE, "Item": {"k": {"S": "a"}, "t": {"N": "one"}}})),
        ("PutItem", json!({"TableName": "nothing", "Item": {"k": {"S": "a"}}})),
        ("PutItem", put("a", &large)["Put"].clone()),
        ("PutItem", on_condition("t = :x", json!(null))),
        ("PutItem", on_condition("attribute_exists(k)", one.clone())),
        ("PutItem", on_condition("t = :x AND", one.clone())),
        ("PutItem", on_condition("t :x", one.clone())),
        ("PutItem", on_condition("t = #t", json!(null))),
        ("UpdateItem", updating("SET k = :x", one.clone())),
        ("UpdateItem", updating("SET t = :x, t = :x", one.clone())),
        ("UpdateItem", updating("SET t = :x REMOVE t", one.clone())),
        ("UpdateItem", updating("SET t = :x SET h1 = :x", one.clone())),
        ("UpdateItem", updating("SET t = h1", json!(null))),
        ("UpdateItem", updating("SET t = t + :x", json!({":x": {"N": "1"}}))),
        ("UpdateItem", updating("SET t = :x, ", one.clone())),
        ("UpdateItem", updating("t = :x", one.clone())),
        ("UpdateItem", updating("SET t = :x", json!({":x": {"S": large}}))),
        ("DeleteItem", read(DATA_TABLE, json!({"id": {"S": "a"}}))),
        ("BatchGetItem", batch(vec!["a", "a"])),
        ("BatchGetItem", batch(many.clone())),
        ("BatchGetItem", json!({"RequestItems": {"nothing": {"Keys": [{"k": {"S": "a"}}]}}})),
        ("BatchGetItem", json!({"RequestItems": {DATA_TABLE: {"Keys": [{"id": {"S": "a"}}]}}})),
        ("TransactWriteItems", transaction(many.iter().map(|name| put(name, "1")))),
        ("TransactWriteItems", transaction([])),
        ("TransactWriteItems", transaction([put("a", "1"), update("a", "1")])),
        ("TransactWriteItems", transaction([put("a", &large)])),
        ("TransactWriteItems", transaction([put("b", "1"), update("a", &large)])),
        ("TransactGetItems", reads(&many)),
        ("TransactGetItems", reads(&["a", "a"])),
        ("Scan", json!({"TableName": "nothing"})),
        ("Scan", json!({"TableName": DATA_TABLE, "Segment": 2, "TotalSegments": 2})),
        ("Scan", json!({"TableName": DATA_TABLE, "FilterExpression": "t = :x"})),
    ] {
        let (status, body) = both.ask(operation, &body);
        assert_eq!(status, 400, "{operation}: {body}");
    }
    let (status, unchanged) = both.ask("GetItem", &get("a")["Get"]);
    assert_eq!((status, &unchanged["Item"]["t"]["S"]), (200, &json!("1")));
}

#[tokio::test(start_paused = true)]
async fn expressions_come_to_the_same() {
    let both = Both::new().await;
    let mut held = [0, 0];
    let conditions = [
        "attribute_exists(t)",
        "attribute_not_exists(n)",
        "NOT attribute_exists(n)",
        "t = :x",
        "t <> :x",
        "t < :x",
        "t <= :x",
        "t > :x",
        "t >= :x",
        "n = :x",
        "n <> :x",
        "n < :x",
        "n >= :x",
        "t = n",
        "t <> n",
        "h <> n",
        "h = h",
        "t < :x OR n < :x AND t > :x",
        "(t < :x OR n < :x) AND NOT t > :x",
        "not t = :x and t = t",
    ];
    let kinds = |text: &str| {
        [json!({"S": text}), json!({"N": "10"}), json!({"N": "9"}), json!({"BOOL": true}), json!({"NULL": true})]
    };
    for found in kinds("1") {
        for with_number in [false, true] {
            let mut item = json!({"k": {"S": "a"}, "t": found});
            if with_number {
                item["n"] = json!({"N": "10"});
            }
            assert_eq!(both.ask("PutItem", &json!({"TableName": DATA_TABLE, "Item": item})).0, 200);
            for condition in conditions {
                for value in &kinds("0")[..3] {
                    let check = json!({"ConditionCheck": {
                        "TableName": DATA_TABLE, "Key": {"k": {"S": "a"}}, "ConditionExpression": condition,
                        "ExpressionAttributeValues": {":x": value}, "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                    }});
                    let mut check = transaction([check]);
                    if !condition.contains(":x") {
                        let check = check["TransactItems"][0]["ConditionCheck"].as_object_mut().unwrap();
                        check.remove("ExpressionAttributeValues");
                    }
                    let is_plain = matches!(found.as_object().unwrap().keys().next().unwrap().as_str(), "S" | "N");
                    if is_plain || !condition.contains(['<', '>']) || condition.contains("<>") {
                        held[usize::from(both.ask("TransactWriteItems", &check).0 == 200)] += 1;
                    }
                }
            }
        }
    }
    assert!(held[0] > 100 && held[1] > 100, "{held:?}");
    let one = json!({":x": {"N": "1"}});
    for (update, values) in [
        ("SET t = :x, h = t, #n = if_not_exists(nothing, t)", one.clone()),
        ("SET t = h, h = t", json!(null)),
        ("REMOVE nothing, #n SET n = t + :x, m = :x - t", one.clone()),
        ("ADD t :x, q :x", one.clone()),
        ("SET h = if_not_exists(h, if_not_exists(t, :x)) remove m", one),
    ] {
        both.ask(
            "PutItem",
            &json!({"TableName": DATA_TABLE, "Item": {"k": {"S": "a"}, "t": {"N": "5"}, "h": {"N": "-7"}}}),
        );
        let mut asked = updating(update, values);
        if update.contains("#n") {
            asked["ExpressionAttributeNames"] = json!({"#n": "name"});
        }
        assert_eq!(both.ask("UpdateItem", &asked).0, 200, "{update}");
        assert_eq!(both.ask("GetItem", &get("a")["Get"]).0, 200);
        asked["Key"]["k"]["S"] = json!(update);
        both.ask("UpdateItem", &asked);
        assert_eq!(both.ask("GetItem", &get(update)["Get"]).0, 200);
    }
    // Of the same engine through the connector, and not only past it.
    assert_eq!(both.engine.store(|_| Fault::None).heads(&BTreeSet::from([key("none")])).await.unwrap().len(), 1);
}
