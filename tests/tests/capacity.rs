//! What transactions cost, as the engine counts it: capacity units against the formula of `docs/protocol.md`, and sequential
//! round trips. The session is the production code, over the production store, in front of AWS's DynamoDB Local; where a commit is
//! one step, in front of the embedded engine.

#![allow(clippy::unwrap_used, reason = "what cannot be had fails the test")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aft_cli::embedded::{Embedded, Storage};
use aft_extension::session::{Ack, Begun, Behaviour, CommitResult, DuplicateCheck, Named, Precondition, Session};
use aft_extension::sources::Sources;
use aft_protocol::head::OLDER;
use aft_protocol::id::{AttemptNumber, Fingerprint, RequestId, TransactionId};
use aft_protocol::isolation::Isolation;
use aft_protocol::key::Key;
use aft_protocol::limits;
use aft_protocol::record::{Response, Writes};
use aft_protocol::value::{ContentType, Value};
use aft_protocol::version::Timestamp;
use aft_protocol::wire::Begin;
use aft_store::dynamodb::DynamoDb;
use aft_tests::dynamodb_local::DynamoDbLocal;
use aft_tests::store;
use aft_tests::store_proxy::{Point, StoreProxy, StoreRequest, Verdict};
use tokio::task::JoinHandle;

const RETENTION_SECONDS: u64 = 3_600;
const CONTENT_TYPE: &str = "application/json";
const RESPONSE_BYTES: usize = 300;

/// What a head takes besides its key, its value with content type, and the list of the other keys.
const HEAD_BYTES: usize = 266;
/// What a head takes to carry the previous version, besides its value with content type and its list.
const INLINE_BYTES: usize = 18;
/// What a record takes besides keys, values with content types and the response: for each write, and at most for itself.
const WRITE_BYTES: usize = 16;
const RECORD_BYTES: usize = 400;

/// One sandbox, its clock in seconds, and the way to its store.
struct World {
    proxy: StoreProxy,
    session: Session<DynamoDb>,
    now: Arc<AtomicU64>,
    transactions: AtomicU64,
}

impl World {
    async fn new(tables: &str, ack: Ack, write_look_up: bool) -> Self {
        let engine = DynamoDbLocal::shared().await.endpoint();
        Self::at(&engine, tables, Isolation::ReadAtomic, ack, write_look_up).await
    }

    /// In front of the embedded engine. DynamoDB Local counts one action of each table in a transaction and passes over the
    /// others; this one counts what was captured from DynamoDB itself.
    async fn embedded(isolation: Isolation) -> (Self, Embedded) {
        let engine = Embedded::start(Storage::Memory).await.unwrap();
        (Self::at(&engine.endpoint(), "embedded", isolation, Ack::Visible, false).await, engine)
    }

    async fn at(engine: &str, tables: &str, isolation: Isolation, ack: Ack, write_look_up: bool) -> Self {
        let proxy = StoreProxy::start(engine).await;
        let config = store::config(&proxy.endpoint(), &format!("{tables}-data"), &format!("{tables}-transactions"));
        let store = store::patient(&config);
        store.create_tables().await.unwrap();
        let behaviour = Behaviour {
            duplicate_check: DuplicateCheck::CommitOnly,
            ack,
            memoize_always: false,
            retention_seconds: RETENTION_SECONDS,
            reads_strongly: true,
            look_ups: usize::from(write_look_up),
            cache_bytes: 0,
            isolation,
            refuse_in_progress: false,
        };
        let now = Arc::new(AtomicU64::new(4_000_000_000));
        let (clock, random) = (Arc::clone(&now), AtomicU64::new(1));
        let sources = Sources {
            now: Arc::new(move || Timestamp::from_micros(clock.load(Ordering::Relaxed) * 1_000_000)),
            random: Arc::new(move || u128::from(random.fetch_add(1, Ordering::Relaxed)) << 64),
        };
        let session = Session::new(store, behaviour, sources);
        session.attach();
        let world = Self { proxy, session, now, transactions: AtomicU64::new(1) };
        world.forget();
        world
    }

    fn forget(&self) {
        drop(self.proxy.consumed());
    }

    fn later(&self, seconds: u64) {
        self.now.fetch_add(seconds, Ordering::Relaxed);
    }

    async fn begin(&self) -> TransactionId {
        let number = self.transactions.fetch_add(1, Ordering::Relaxed);
        let transaction = TransactionId::from_bits(number.into());
        let deadline = Duration::from_secs(self.now.load(Ordering::Relaxed) + 600);
        let begin = Begin {
            request: RequestId::new(number.to_string()),
            transaction,
            attempt: AttemptNumber::FIRST,
            fingerprint: Fingerprint::of(b"{}"),
            origin: "capacity/8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned(),
            deadline_ms: u64::try_from(deadline.as_millis()).unwrap(),
        };
        assert_eq!(self.session.begin(begin).await.unwrap(), Begun::Open);
        transaction
    }

    fn write(&self, transaction: TransactionId, keys: &BTreeSet<Key>, bytes: usize) {
        let value = value(bytes);
        let writes: Writes = keys.iter().map(|key| (key.clone(), Some(value.clone()))).collect();
        self.session.write(named(transaction), writes).unwrap();
    }

    async fn read(&self, transaction: TransactionId, keys: &BTreeSet<Key>) {
        self.session.read(named(transaction), keys.clone()).await.unwrap();
    }

    fn commit(&self, transaction: TransactionId) -> JoinHandle<CommitResult> {
        let session = self.session.clone();
        let response =
            Response { content_type: Some(CONTENT_TYPE.to_owned()), body: vec![b'r'; RESPONSE_BYTES].into() };
        tokio::spawn(async move { session.commit(transaction, AttemptNumber::FIRST, response).await.unwrap() })
    }

    /// A transaction that reads the first and writes the second: what its commit cost.
    async fn reading(&self, read: &BTreeSet<Key>, written: &BTreeSet<Key>, bytes: usize) -> Cost {
        let transaction = self.begin().await;
        self.read(transaction, read).await;
        self.write(transaction, written, bytes);
        self.forget();
        self.finish(transaction).await
    }

    async fn finish(&self, transaction: TransactionId) -> Cost {
        assert_eq!(self.commit(transaction).await.unwrap(), CommitResult::Committed);
        self.session.applied().await;
        Cost::of(&self.proxy.consumed())
    }

    /// A transaction that writes these keys, after reading them if it is to: what it cost.
    async fn transaction(&self, keys: &BTreeSet<Key>, bytes: usize, reads: bool) -> Cost {
        let transaction = self.begin().await;
        if reads {
            self.read(transaction, keys).await;
        }
        self.write(transaction, keys, bytes);
        self.finish(transaction).await
    }
}

fn value(bytes: usize) -> Value {
    Value::new(vec![b'v'; bytes], ContentType::new(CONTENT_TYPE).unwrap()).unwrap()
}

fn named(transaction: TransactionId) -> Named {
    Named { transaction: Some(transaction), attempt: None }
}

fn keys(prefix: &str, count: usize) -> BTreeSet<Key> {
    (0..count).map(|n| Key::new(format!("{prefix}/{n:03}")).unwrap()).collect()
}

/// Requests and the units that they consumed.
#[derive(Debug, Default, PartialEq)]
struct Cost {
    heads: f64,
    /// The record with its chunks.
    record: f64,
    reads: f64,
    moves: usize,
    refused_moves: usize,
    chunks: usize,
    read_requests: usize,
    /// Requests for records that a read needed.
    consulted: usize,
    /// The keys of each step, and its units.
    steps: Vec<(usize, f64)>,
    validations: Vec<(usize, f64)>,
}

impl Cost {
    fn of(requests: &[(StoreRequest, Option<f64>)]) -> Self {
        let mut cost = Self::default();
        for (request, units) in requests {
            match (request, units) {
                (StoreRequest::Head(_), Some(units)) => {
                    cost.heads += units;
                    cost.moves += 1;
                }
                (StoreRequest::Head(_), None) => cost.refused_moves += 1,
                (StoreRequest::Record, Some(units)) => cost.record += units,
                (StoreRequest::Chunk, Some(units)) => {
                    cost.record += units;
                    cost.chunks += 1;
                }
                (StoreRequest::Read(_) | StoreRequest::ReadMany, Some(units)) => {
                    cost.reads += units;
                    cost.read_requests += 1;
                }
                (StoreRequest::Records, Some(_)) => cost.consulted += 1,
                (StoreRequest::Step(keys), Some(units)) => cost.steps.push((*keys, *units)),
                (StoreRequest::AtOnce(keys), Some(units)) => cost.validations.push((*keys, *units)),
                (StoreRequest::Records | StoreRequest::Other, _) | (_, None) => panic!("{request:?} {units:?}"),
            }
        }
        cost
    }
}

fn units(bytes: usize) -> f64 {
    bytes.div_ceil(1_024) as f64
}

/// The list of the other keys, which is in a head if it is short or free.
fn list(key_bytes: usize, count: usize, head: usize) -> usize {
    let list = (count - 1) * (key_bytes + 1);
    if list <= limits::COWRITTEN_FREE_BYTES || units(head + list) == units(head) { list } else { 0 }
}

/// The formula: n·⌈s⌉ for heads of s KB, ⌈n·s + response⌉ for the record, and a read unit for each 4 KB that is read.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_costs_what_the_formula_says() {
    let world = World::new("formula", Ack::Visible, false).await;
    for bytes in [102, 410, 1_024, 4_096, 40_960] {
        for count in [1, 5, 10, 25, 100] {
            let keys = keys(&format!("{bytes}/{count}"), count);
            let key_bytes = keys.first().unwrap().as_str().len();
            let entry = key_bytes + bytes + CONTENT_TYPE.len();
            let bare = HEAD_BYTES + entry;
            let head = bare + list(key_bytes, count, bare);
            let heads = count as f64 * units(head);
            let case = format!("{count} keys of {bytes} bytes");

            // Cold: nobody has written the keys before. Warm: their records are there. Old: they will soon be gone.
            let cold = world.transaction(&self::keys(&format!("cold/{bytes}/{count}"), count), bytes, false).await;
            for _ in 0..=OLDER {
                // From here on the history is full.
                world.transaction(&keys, 10, false).await;
            }
            let warm = world.transaction(&keys, bytes, false).await;
            let warm_and_read = world.transaction(&keys, bytes, true).await;
            world.later(RETENTION_SECONDS - limits::RECORD_NEEDED_SECONDS);
            let old = world.transaction(&keys, bytes, false).await;
            let after = world.transaction(&keys, bytes, false).await;
            world.later(RETENTION_SECONDS - limits::RECORD_NEEDED_SECONDS);
            let old_and_read = world.transaction(&keys, bytes, true).await;

            let inline = INLINE_BYTES + entry - key_bytes + list(key_bytes, count, bare);
            let is_free = units(head + inline) == units(head);
            let both = count as f64 * units(head + inline);
            let record = count * (entry + WRITE_BYTES) + RESPONSE_BYTES;
            for (which, cost) in [("cold", &cold), ("warm", &warm), ("read", &warm_and_read)] {
                assert_eq!(cost.heads, heads, "{case}, {which}: {cost:?}");
                assert_eq!((cost.moves, cost.refused_moves), (count, 0), "{case}, {which}: one request a head");
                let chunks = cost.chunks as f64;
                assert!(cost.record >= units(record), "{case}, {which}: {cost:?}");
                assert!(cost.record <= units(record + RECORD_BYTES) + 2.0 * chunks, "{case}, {which}: {cost:?}");
                let plain = count as f64 * 2.0 * units(entry + "kvct".len());
                assert!(cost.heads + cost.record <= plain + 2.0 + 2.0 * chunks, "{case}: TransactWriteItems: {plain}");
            }
            // The move that carries the previous value, and the next one, which leaves it: DynamoDB charges for the larger of
            // the item before and after.
            for (which, cost) in [("old", &old), ("after", &after), ("old and read", &old_and_read)] {
                assert_eq!(cost.heads, both, "{case}, {which}: {cost:?}");
            }
            let guessed_wrong = if is_free { 0 } else { count };
            assert_eq!(old.refused_moves, guessed_wrong, "{case}: nobody had looked");
            assert_eq!(old_and_read.refused_moves, 0, "{case}: who has read need not guess");

            assert_eq!(warm_and_read.read_requests, 1, "{case}: R-READ-4");
            let is_listed = count == 1 || list(key_bytes, count, bare) > 0;
            // A long list is read from the record, and what overflowed from there with one request more.
            let consulted = if is_listed { 0 } else { 1 + usize::from(warm.chunks > 0) };
            assert_eq!(warm_and_read.consulted, consulted, "{case}");
            let per_read = count as f64 * head.div_ceil(4_096) as f64;
            let largest = count as f64 * (head + inline).div_ceil(4_096) as f64;
            assert!((per_read..=largest).contains(&warm_and_read.reads), "{case}: {per_read} {warm_and_read:?}");
        }
    }
}

/// What a step costs: twice what the same writes cost alone, and as much for each key that is only checked; and a validation, two
/// read units for each 4 KB.
#[tokio::test(flavor = "multi_thread")]
async fn a_serializable_transaction_costs_twice_what_the_formula_says() {
    let (world, _engine) = World::embedded(Isolation::Serializable).await;
    for (bytes, written, checked) in
        [(102, 1, 0), (102, 5, 5), (410, 10, 1), (1_024, 25, 25), (4_096, 5, 3), (40_960, 3, 4)]
    {
        let case = format!("{written} of {bytes} bytes written, {checked} checked");
        let written = keys(&format!("written/{bytes}/{written}/{checked}"), written);
        let checked = keys(&format!("checked/{bytes}/{checked}"), checked);
        for _ in 0..=OLDER + 1 {
            // From here on the history is full.
            world.transaction(&written, bytes, false).await;
            for key in &checked {
                world.transaction(&BTreeSet::from([key.clone()]), bytes, false).await;
            }
        }
        let head = |key_bytes: usize, count: usize| {
            let bare = HEAD_BYTES + key_bytes + bytes + CONTENT_TYPE.len();
            bare + list(key_bytes, count, bare)
        };
        let key_bytes = written.first().unwrap().as_str().len();
        let heads = written.len() as f64 * units(head(key_bytes, written.len()));
        let each_checked = checked.first().map_or(0, |key| head(key.as_str().len(), 1));
        let checks = checked.len() as f64 * units(each_checked);
        let record = written.len() * (key_bytes + bytes + CONTENT_TYPE.len() + WRITE_BYTES) + RESPONSE_BYTES;
        let least = 2.0 * (heads + checks + units(record));
        let most = 2.0 * (heads + checks + units(record + RECORD_BYTES));

        let both: BTreeSet<_> = written.union(&checked).cloned().collect();
        let unread = world.reading(&checked, &written, bytes).await;
        let read = world.reading(&both, &written, bytes).await;
        for (which, cost) in [("unread", unread), ("read", read)] {
            let [(keys, units)] = cost.steps.as_slice() else { panic!("{case}, {which}: {cost:?}") };
            assert_eq!(*keys, both.len(), "{case}, {which}");
            assert!((least..=most).contains(units), "{case}, {which}: {units}, not {least} to {most}");
            let rest = Cost { steps: Vec::new(), ..cost };
            assert_eq!(rest, Cost::default(), "{case}, {which}: one request in all");
        }

        let only = world.reading(&both, &BTreeSet::new(), bytes).await;
        let per_4_kb = |bytes: usize| 2.0 * bytes.div_ceil(4_096) as f64;
        let validation = written.len() as f64 * per_4_kb(head(key_bytes, written.len()))
            + checked.len() as f64 * per_4_kb(each_checked);
        // Of a single key there is nothing to prove.
        let validations = if both.len() > 1 { vec![(both.len(), validation)] } else { Vec::new() };
        assert_eq!(only, Cost { validations, ..Cost::default() }, "{case}");
    }
}

/// R-SER-5: the record and the key under a condition cost twice, all other heads once.
#[tokio::test(flavor = "multi_thread")]
async fn a_condition_doubles_the_record_and_its_own_head() {
    let (world, _engine) = World::embedded(Isolation::ReadAtomic).await;
    for (bytes, count) in [(102, 1), (102, 10), (4_096, 5)] {
        let case = format!("{count} keys of {bytes} bytes");
        let keys = keys(&format!("{bytes}/{count}"), count);
        for _ in 0..=OLDER + 1 {
            world.transaction(&keys, bytes, false).await;
        }
        let (guarded, key_bytes) = (keys.first().unwrap(), keys.first().unwrap().as_str().len());
        let transaction = world.begin().await;
        world.write(transaction, &keys.iter().filter(|key| *key != guarded).cloned().collect(), bytes);
        let written = (guarded.clone(), Some(value(bytes)));
        world.session.write_if(named(transaction), written.0, written.1, Precondition::Exists).await.unwrap();
        world.forget();
        let cost = world.finish(transaction).await;

        let bare = HEAD_BYTES + key_bytes + bytes + CONTENT_TYPE.len();
        let head = units(bare + list(key_bytes, count, bare));
        let record = count * (key_bytes + bytes + CONTENT_TYPE.len() + WRITE_BYTES) + RESPONSE_BYTES;
        let [(1, step)] = cost.steps.as_slice() else { panic!("{case}: {cost:?}") };
        let (least, most) = (2.0 * (head + units(record)), 2.0 * (head + units(record + RECORD_BYTES)));
        assert!((least..=most).contains(step), "{case}: {step}, not {least} to {most}");
        let others = (count - 1) as f64 * head;
        let rest = Cost { heads: others, moves: count - 1, ..Cost::default() };
        assert_eq!(Cost { steps: Vec::new(), ..cost }, rest, "{case}");
    }
}

/// R-COMMIT-3: the heads of keys that are written unread are looked up, at a read unit for each 4 KB; who has looked need not
/// guess what a move replaces.
#[tokio::test(flavor = "multi_thread")]
async fn a_look_up_costs_a_read_unit_for_each_4_kb() {
    let world = World::new("look-ups", Ack::Visible, true).await;
    for (bytes, count) in [(102, 1), (102, 25), (4_096, 5), (40_960, 3)] {
        let keys = keys(&format!("{bytes}/{count}"), count);
        let case = format!("{count} keys of {bytes} bytes");
        let cold = world.transaction(&keys, bytes, false).await;
        // An absent item costs a unit too, which DynamoDB Local does not count in a batch.
        assert_eq!(cold.read_requests, 1, "{case}");
        let warm = world.transaction(&keys, bytes, false).await;
        let head = count as f64 * (bytes + HEAD_BYTES).div_ceil(4_096) as f64;
        assert_eq!((warm.reads, warm.read_requests), (head, 1), "{case}");
        let read = world.transaction(&keys, bytes, true).await;
        assert_eq!((read.reads, read.read_requests), (head, 1), "{case}: the read alone");
        world.later(RETENTION_SECONDS - limits::RECORD_NEEDED_SECONDS);
        let old = world.transaction(&keys, bytes, false).await;
        assert_eq!(old.refused_moves, 0, "{case}");
    }
}

/// Two to visible: everything that is under way at the same time is one.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_one_round_trip_to_durable_and_two_to_visible() {
    for (ack, tables) in [(Ack::Visible, "visible"), (Ack::Durable, "durable")] {
        let world = World::new(tables, ack, true).await;
        let keys = keys("trips", 25);
        let transaction = world.begin().await;
        world.read(transaction, &keys).await;
        assert_eq!(world.proxy.consumed().len(), 1, "a read of many keys is one request");
        world.write(transaction, &keys, 100);
        world.proxy.trap(|_| true, Point::Answered);
        let commit = world.commit(transaction);
        world.proxy.caught(1).await;
        world.proxy.trap(|request| matches!(request, StoreRequest::Head(_)), Point::Answered);
        // Every head is on its way before any of them is answered.
        world.proxy.caught(keys.len()).await;
        match ack {
            Ack::Visible => assert!(!commit.is_finished()),
            Ack::Durable => assert_eq!(commit.await.unwrap(), CommitResult::Committed),
        }
        world.proxy.decide(&[Verdict::Pass]);
        world.session.applied().await;
        let requests = world.proxy.consumed();
        assert_eq!(requests.len(), 1 + keys.len(), "the record, and each head once: {requests:?}");
        assert_eq!(requests[0].0, StoreRequest::Record);
    }
}
