//! R-FM-1, R-FM-2, R-FM-3: whatever died, every commit record is applied, once. Sandboxes die at every point between their
//! record and their last head; then the fault manager gets what the transaction table's stream holds, or somebody recovers
//! by hand.
//!
//! "Once" is seen in the heads' history: a reference store is given the same records one after the other, and the heads must
//! be equal, with their previous and older versions.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aft_cli::arguments::{Arguments, Command};
use aft_cli::embedded::{Embedded, Storage};
use aft_cli::recover::Summary;
use aft_extension::session::{Ack, Begun, Behaviour, CommitResult, DuplicateCheck, Named, Session};
use aft_extension::sources::Sources;
use aft_fault_manager::{batch, clock};
use aft_protocol::head::{Entry, Head};
use aft_protocol::id::{AttemptNumber, Fingerprint, RequestId, TransactionId};
use aft_protocol::isolation::Isolation;
use aft_protocol::key::Key;
use aft_protocol::record::{CommitRecord, Response, Writes};
use aft_protocol::value::{ContentType, Value};
use aft_protocol::version::Version;
use aft_protocol::wire::Begin;
use aft_store::dynamodb::{Config, DynamoDb, ReadConsistency};
use aft_store::faults::{Call, Fault, Faulty};
use aft_store::memory::Memory;
use aft_store::retry::Patience;
use aft_store::{Store, roll_forward};
use aft_tests::dynamodb_local::DynamoDbLocal;
use aft_tests::store;
use aft_tests::store::ask;
use aft_tests::store_proxy::{Point, StoreProxy, StoreRequest, Verdict};
use aft_tests::streams::{Stream, is_commit, sequence_number};
use clap::Parser;
use serde_json::json;
use tokio::time::Instant;

const BEHAVIOUR: Behaviour = Behaviour {
    duplicate_check: DuplicateCheck::CommitOnly,
    ack: Ack::Durable,
    memoize_always: false,
    retention_seconds: 3_600,
    isolation: Isolation::ReadAtomic,
    refuse_in_progress: false,
    look_ups: 0,
    reads_strongly: true,
    cache_bytes: 0,
};

/// Two tables, and everybody who ever wrote to them.
struct World {
    endpoint: String,
    tables: [String; 2],
    store: DynamoDb,
    committed: Vec<TransactionId>,
}

impl World {
    async fn new(endpoint: &str, name: &str) -> Self {
        let tables = [format!("{name}-data"), format!("{name}-data-transactions")];
        let store = store::patient(&store::config(endpoint, &tables[0], &tables[1]));
        store.create_tables().await.unwrap();
        Self { endpoint: endpoint.to_owned(), tables, store, committed: Vec::new() }
    }

    async fn streamed(name: &str) -> (Self, Stream) {
        let endpoint = DynamoDbLocal::shared().await.endpoint();
        let world = Self::new(&endpoint, name).await;
        let stream = Stream::of(&endpoint, &world.tables[1]).await;
        (world, stream)
    }

    /// A sandbox that lives until this many heads have moved. What it would do after that is never done.
    fn sandbox(&self, heads: usize) -> Session<Faulty<DynamoDb>> {
        let moved = AtomicUsize::new(0);
        let dying = Faulty::new(self.store.clone(), move |call: &Call| match call {
            Call::Apply(_) if moved.fetch_add(1, Ordering::SeqCst) >= heads => Fault::HangBefore,
            _ => Fault::None,
        });
        let session = Session::new(dying, BEHAVIOUR, Sources::system());
        session.attach();
        session
    }

    /// Commits one transaction in this sandbox; returns when its record is durable.
    async fn commit(&mut self, sandbox: &Session<Faulty<DynamoDb>>, writes: Writes) {
        let transaction = TransactionId::from_bits(self.committed.len() as u128 + 1);
        let begin = Begin {
            request: RequestId::new(format!("r-{transaction}")),
            transaction,
            attempt: AttemptNumber::FIRST,
            fingerprint: Fingerprint::of(b"{}"),
            origin: format!("test/r-{transaction}"),
            deadline_ms: clock::epoch_ms() + 60_000,
        };
        assert_eq!(sandbox.begin(begin).await.unwrap(), Begun::Open);
        sandbox.write(Named { transaction: Some(transaction), attempt: None }, writes).unwrap();
        let response = Response { content_type: None, body: "done".into() };
        let result = sandbox.commit(transaction, AttemptNumber::FIRST, response).await.unwrap();
        assert_eq!(result, CommitResult::Committed);
        self.committed.push(transaction);
    }

    /// A sandbox commits, moves so many heads, and is gone.
    async fn dies_after(&mut self, heads: usize, writes: Writes) {
        let keys: BTreeSet<_> = writes.keys().cloned().collect();
        let sandbox = self.sandbox(heads);
        self.commit(&sandbox, writes).await;
        let record = self.records().await.pop().unwrap();
        let is_there = |head: &Head| head.current.version == record.version;
        while self.store.heads(&keys).await.unwrap().values().filter(|head| is_there(head)).count() < heads {}
    }

    /// A sandbox that lives.
    async fn lives(&mut self, writes: Writes) {
        let sandbox = self.sandbox(usize::MAX);
        self.commit(&sandbox, writes).await;
        sandbox.applied().await;
    }

    /// Every commit record, in the order of commits.
    async fn records(&self) -> Vec<CommitRecord> {
        let mut records = self.store.records(&self.committed.iter().copied().collect()).await.unwrap();
        self.committed.iter().map(|transaction| records.remove(transaction).unwrap().unwrap()).collect()
    }

    /// The heads of all keys that were ever written.
    async fn heads(&self) -> BTreeMap<Key, Head> {
        let keys = self.records().await.into_iter().flat_map(|record| record.writes.into_keys()).collect();
        self.store.heads(&keys).await.unwrap()
    }

    /// What the heads are if the records are applied in this order, each once.
    async fn applied_in(&self, order: impl IntoIterator<Item = usize>) -> BTreeMap<Key, Head> {
        let (reference, records) = (Memory::new(), self.records().await);
        for index in order {
            roll_forward(&reference, &records[index], &BTreeMap::new(), now_seconds(), patience(60)).await.unwrap();
        }
        let keys = records.into_iter().flat_map(|record| record.writes.into_keys()).collect();
        reference.heads(&keys).await.unwrap()
    }

    /// The heads are these, with their history: one by one, because all of them together are more than anybody reads. Whether
    /// the previous version is inline depends on who knew what of it.
    async fn is_at(&self, expected: &BTreeMap<Key, Head>) {
        let found = self.heads().await;
        assert_eq!(found.len(), expected.len());
        for (key, head) in expected {
            assert_eq!(history(&found[key]), history(head), "{key:?}");
        }
    }

    async fn put(&self, table: usize, item: serde_json::Value) {
        let query = json!({"TableName": self.tables[table], "Item": item});
        ask(&self.endpoint, "DynamoDB_20120810.PutItem", &query).await;
    }

    /// The fault manager's own way to the store, past a proxy or not.
    fn fault_manager(&self, endpoint: &str) -> DynamoDb {
        let config = store::config(endpoint, &self.tables[0], &self.tables[1]);
        store::patient(&Config { reads: ReadConsistency::Eventual, ..config })
    }

    /// `aft recover` with these arguments.
    async fn by_hand(&self, place: &[&str], more: &[&str]) -> Summary {
        let tables = ["--data-table", &self.tables[0], "--transaction-table", &self.tables[1]];
        let line =
            ["aft", "recover"].into_iter().chain(place.iter().copied()).chain(tables).chain(more.iter().copied());
        match Arguments::parse_from(line).command {
            Command::Recover(arguments) => aft_cli::app::recover(arguments).await.unwrap(),
            Command::Local(_) | Command::History(_) => panic!("another command"),
        }
    }
}

fn history(head: &Head) -> (&Entry, Version, &[Version]) {
    (&head.current, head.previous.version(), &head.older)
}

fn now_seconds() -> u64 {
    clock::epoch_ms() / 1_000
}

fn patience(seconds: u64) -> Patience<'static> {
    Patience { until: Instant::now() + Duration::from_secs(seconds), random: &clock::random }
}

/// One invocation of the fault manager with these stream records; the sequence numbers that it reports.
async fn deliver(store: &DynamoDb, records: &[serde_json::Value], seconds: u64) -> Vec<serde_json::Value> {
    let event = serde_json::from_value(json!({ "Records": records })).unwrap();
    let answer = batch::recover(store, event, now_seconds(), patience(seconds)).await;
    let answer = serde_json::to_value(answer).unwrap();
    let failures = answer["batchItemFailures"].as_array().unwrap();
    failures.iter().map(|failure| failure["itemIdentifier"].clone()).collect()
}

fn k(key: &str) -> Key {
    Key::new(key).unwrap()
}

fn v(value: impl Into<Vec<u8>>) -> Option<Value> {
    Some(Value::new(value.into(), ContentType::default()).unwrap())
}

/// So many keys of this name with this value; the last is deleted if there are several.
fn writes(name: &str, keys: usize, value: &str) -> Writes {
    let deleted = |n| keys > 1 && n == keys - 1;
    (0..keys).map(|n| (k(&format!("{name}-{n}")), if deleted(n) { None } else { v(value) })).collect()
}

/// What does not fit the record's own item.
fn large(name: &str, keys: usize) -> Writes {
    (0..keys).map(|n| (k(&format!("{name}-{n}")), v(vec![b'x'; 190 * 1_024]))).collect()
}

/// Sandboxes that died at every point, over keys that had been written before; the order in which their records apply.
async fn every_death(world: &mut World) {
    for keys in [1, 3, 5] {
        for moved in 0..=keys {
            let name = format!("{keys}-keys-{moved}-moved");
            world.lives(writes(&name, keys, "old")).await;
            world.dies_after(moved, writes(&name, keys, "new")).await;
        }
    }
    for moved in 0..=3 {
        let name = format!("chunks-{moved}-moved");
        world.lives(writes(&name, 3, "old")).await;
        world.dies_after(moved, large(&name, 3)).await;
    }
}

/// R-FM-1: the record is there, no, some or all heads are; afterwards all are, each moved once. Two fault managers at the
/// same time, and a third that comes late, change nothing about that.
#[tokio::test]
async fn every_record_of_a_dead_sandbox_is_applied_exactly_once() {
    let (mut world, stream) = World::streamed("deaths").await;
    every_death(&mut world).await;
    let expected = world.applied_in(0..world.committed.len()).await;
    assert_ne!(world.heads().await, expected, "there is something to do");

    let records = stream.until(world.committed.len()).await;
    let store = world.fault_manager(&world.endpoint);
    let (first, second) = tokio::join!(deliver(&store, &records, 60), deliver(&store, &records, 60));
    assert_eq!((first, second), (vec![], vec![]));
    world.is_at(&expected).await;
    assert_eq!(deliver(&store, &records, 60).await, [json!(null); 0]);
    world.is_at(&expected).await;
}

/// R-COMMIT-5: what was written since over one of the keys stays, and the rest becomes visible.
#[tokio::test]
async fn a_newer_write_is_not_undone() {
    let (mut world, stream) = World::streamed("newer").await;
    world.dies_after(0, writes("both", 3, "dead")).await;
    world.lives(Writes::from([(k("both-0"), v("newer"))])).await;
    let records = stream.until(2).await;
    assert_eq!(deliver(&world.fault_manager(&world.endpoint), &records, 60).await, [json!(null); 0]);
    world.is_at(&world.applied_in([1, 0]).await).await;
    assert_eq!(world.heads().await[&k("both-0")].current.value, v("newer"));
}

/// R-FM-2: of a sandbox that lives, only the last record of a batch is looked at: one read for all of the batch, no chunk,
/// and no write.
#[tokio::test]
async fn what_a_later_record_settles_costs_nothing() {
    let (mut world, stream) = World::streamed("settled").await;
    let sandbox = world.sandbox(usize::MAX);
    world.commit(&sandbox, large("settled", 3)).await;
    for n in 0..8 {
        world.commit(&sandbox, writes(&format!("settled-{n}"), 3, "new")).await;
    }
    sandbox.applied().await;
    let records = stream.until(9).await;
    let proxy = StoreProxy::start(&world.endpoint).await;
    assert_eq!(deliver(&world.fault_manager(&proxy.endpoint()), &records, 60).await, [json!(null); 0]);
    assert_eq!(proxy.count(&StoreRequest::ReadMany), 1);
    assert_eq!(proxy.all(), 1, "and nothing else was asked");
}

/// A store that has no time is reported record by record; the next delivery finishes.
#[tokio::test]
async fn what_was_throttled_is_reported_and_finished_by_the_next_delivery() {
    let (mut world, stream) = World::streamed("throttled").await;
    world.dies_after(0, writes("calm", 3, "new")).await;
    world.dies_after(1, writes("hot", 3, "new")).await;
    world.dies_after(0, writes("calmer", 3, "new")).await;
    let records: Vec<_> = stream.until(3).await.into_iter().filter(is_commit).collect();
    let proxy = StoreProxy::start(&world.endpoint).await;
    proxy.trap(|request| matches!(request, StoreRequest::Head(key) if key.starts_with("hot")), Point::Arrived);
    proxy.decide(&[Verdict::Throttle; 1_000]);
    let store = world.fault_manager(&proxy.endpoint());
    assert_eq!(deliver(&store, &records, 1).await, [sequence_number(&records[1])]);
    let heads = world.heads().await;
    let visible = |name: &str| (0..2).filter(|n| heads[&k(&format!("{name}-{n}"))].current.value == v("new")).count();
    assert_eq!((visible("calm"), visible("calmer")), (2, 2), "the others did not wait for it");

    proxy.decide(&[]);
    // Lambda goes back to the lowest number that was reported.
    assert_eq!(deliver(&store, &records[1..], 60).await, [json!(null); 0]);
    world.is_at(&world.applied_in([0, 1, 2]).await).await;
}

/// A record, and a head, that are not in this version's layout fail alone.
#[tokio::test]
async fn what_is_malformed_is_reported_and_the_others_are_applied() {
    let (mut world, stream) = World::streamed("malformed").await;
    world.dies_after(0, writes("before", 3, "new")).await;
    world.dies_after(0, writes("theirs", 2, "new")).await;
    let broken = TransactionId::from_bits(99).to_string();
    world.put(1, json!({"id": {"S": broken}, "part": {"S": "commit"}, "r": {"B": ""}, "t": {"S": "soon"}})).await;
    world.put(0, json!({"k": {"S": "theirs-0"}, "v": {"S": "another program's"}})).await;
    world.dies_after(0, writes("after", 3, "new")).await;

    let records: Vec<_> = stream.until(4).await.into_iter().filter(is_commit).collect();
    let failed = deliver(&world.fault_manager(&world.endpoint), &records, 60).await;
    assert_eq!(failed, [sequence_number(&records[1]), sequence_number(&records[2])]);
    let expected = world.applied_in([0, 2]).await;
    for (key, head) in expected.into_iter().filter(|(key, _)| !key.as_str().starts_with("theirs")) {
        let found = world.store.heads(&BTreeSet::from([key.clone()])).await.unwrap();
        assert_eq!(history(&found[&key]), history(&head), "{key}");
    }
    // By hand: every one that is left is named, and nothing else.
    let summary = world.by_hand(&["--dynamodb-endpoint", &world.endpoint], &[]).await;
    assert_eq!((summary.applied, summary.rolled_forward, summary.failed), (2, 0, 2));
}

/// A stream without new images is a mistake of the one who set it up, and is reported as such.
#[tokio::test]
async fn a_stream_without_images_fails_and_loses_nothing() {
    let (mut world, stream) = World::streamed("images").await;
    world.dies_after(0, writes("a", 1, "new")).await;
    let mut records: Vec<_> = stream.until(1).await;
    records[0]["dynamodb"].as_object_mut().unwrap().remove("NewImage");
    let failed = deliver(&world.fault_manager(&world.endpoint), &records, 60).await;
    assert_eq!(failed, [sequence_number(&records[0])]);
}

/// By hand, on the engine that developers have: a dry run changes nothing, one transaction is one, all are all, and a
/// second time there is nothing to do. The table has several pages.
async fn recovered_by_hand(mut world: World, place: &[&str]) {
    every_death(&mut world).await;
    let all = world.committed.len() as u64;
    let (before, expected) = (world.heads().await, world.applied_in(0..world.committed.len()).await);

    let dry = world.by_hand(place, &["--dry-run", "--read-units-per-second", "0"]).await;
    // Those whose last head had moved are applied: one for each number of keys, and the chunked one.
    assert_eq!((dry.behind, dry.applied, dry.failed), (12, all - 12, 0), "{dry}");
    assert!(!dry.everything_is_applied());
    assert_eq!(world.heads().await, before, "a dry run changes nothing");

    let second = world.committed[1].to_string();
    let one = world.by_hand(place, &["--transaction", &second]).await;
    assert_eq!((one.rolled_forward, one.applied, one.items), (1, 0, 0), "{one}");

    let rest = world.by_hand(place, &["--segments", "3", "--read-units-per-second", "0"]).await;
    assert_eq!((rest.rolled_forward, rest.applied, rest.failed), (11, all - 11, 0), "{rest}");
    assert!(rest.everything_is_applied() && rest.items > all, "{rest}: the chunks were passed over");
    world.is_at(&expected).await;

    let again = world.by_hand(place, &["--read-units-per-second", "0"]).await;
    assert_eq!((again.rolled_forward, again.applied), (0, all), "{again}");
    world.is_at(&expected).await;
}

/// What expired long ago is left alone: its key may have been deleted since, and forgotten.
#[tokio::test]
async fn what_expired_long_ago_is_left_alone_by_hand() {
    let endpoint = DynamoDbLocal::shared().await.endpoint();
    let mut world = World::new(&endpoint, "expired").await;
    world.dies_after(0, writes("a", 1, "new")).await;
    let mut record = world.records().await.remove(0);
    record.version = Version::new(record.version.timestamp(), TransactionId::from_bits(2));
    record.expires_at_seconds = clock::epoch_ms() / 1_000 - 13 * 3_600;
    world.store.commit(&record).await.unwrap();
    let summary = world.by_hand(&["--dynamodb-endpoint", &endpoint], &[]).await;
    assert_eq!((summary.past_recovery, summary.rolled_forward, summary.failed), (1, 1, 0), "{summary}");
    world.is_at(&world.applied_in([0]).await).await;

    // After a restore to a time at which it had not expired.
    let then = record.expires_at_seconds.to_string();
    let summary = world.by_hand(&["--dynamodb-endpoint", &endpoint], &["--as-of", &then]).await;
    assert_eq!((summary.past_recovery, summary.rolled_forward, summary.failed), (0, 1, 0), "{summary}");
    assert_eq!(world.heads().await[&k("a-0")].current.version, record.version);
}

#[tokio::test]
async fn everything_is_recovered_by_hand_in_dynamodb_local() {
    let endpoint = DynamoDbLocal::shared().await.endpoint();
    let world = World::new(&endpoint, "by-hand").await;
    recovered_by_hand(world, &["--dynamodb-endpoint", &endpoint]).await;
}

#[tokio::test]
async fn everything_is_recovered_by_hand_in_the_embedded_engines_file() {
    let directory = std::env::temp_dir().join(format!("aft-recovery-{}", std::process::id()));
    let file = directory.join("aft.sqlite");
    let engine = Embedded::start(Storage::File(file.clone())).await.unwrap();
    let world = World::new(&engine.endpoint(), "by-hand").await;
    // The engine stays: several processes may have the same file open.
    recovered_by_hand(world, &["--data", file.to_str().unwrap()]).await;
    engine.stop().await.unwrap();
    std::fs::remove_dir_all(directory).unwrap();
}
