//! The life of the connections to DynamoDB: real ones, through a proxy, under a session whose wall clock a test sets.

#![allow(clippy::unwrap_used, reason = "what cannot be had fails the test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aft_cli::embedded::{Embedded, Storage};
use aft_extension::session::{Ack, Begun, Behaviour, CommitResult, DuplicateCheck, Named, Session};
use aft_extension::sources::Sources;
use aft_protocol::id::{AttemptNumber, Fingerprint, RequestId, TransactionId};
use aft_protocol::isolation::Isolation;
use aft_protocol::key::Key;
use aft_protocol::record::{Response, Writes};
use aft_protocol::value::{ContentType, Value};
use aft_protocol::version::Timestamp;
use aft_protocol::wire::Begin;
use aft_store::dynamodb::DynamoDb;
use aft_tests::store;
use aft_tests::wire::Wire;

/// The wall clock of the session: it goes on by itself, and further where a test says so.
struct Clock {
    start: Instant,
    ahead_micros: AtomicU64,
}

impl Clock {
    fn micros(&self) -> u64 {
        let elapsed = u64::try_from(self.start.elapsed().as_micros()).unwrap();
        1_000_000_000 + elapsed + self.ahead_micros.load(Ordering::Relaxed)
    }

    /// What a sandbox that was frozen sees of the time: this clock only.
    fn sleep(&self, time: Duration) {
        self.ahead_micros.fetch_add(u64::try_from(time.as_micros()).unwrap(), Ordering::Relaxed);
    }
}

struct World {
    session: Session<DynamoDb>,
    clock: Arc<Clock>,
    wire: Wire,
    _engine: Embedded,
}

impl World {
    async fn new() -> Self {
        let engine = Embedded::start(Storage::Memory).await.unwrap();
        let tables = |endpoint: &str| store::config(endpoint, "data", "transactions");
        store::patient(&tables(&engine.endpoint())).create_tables().await.unwrap();
        let address = engine.endpoint().trim_start_matches("http://").parse().unwrap();
        let wire = Wire::new(move || Some(address)).await;
        let clock = Arc::new(Clock { start: Instant::now(), ahead_micros: AtomicU64::new(0) });
        let now = Arc::clone(&clock);
        let sources = Sources {
            now: Arc::new(move || Timestamp::from_micros(now.micros())),
            random: Arc::new(|| fastrand::u128(..)),
        };
        let behaviour = Behaviour {
            duplicate_check: DuplicateCheck::CommitOnly,
            ack: Ack::Visible,
            memoize_always: false,
            retention_seconds: 3_600,
            isolation: Isolation::ReadAtomic,
            refuse_in_progress: false,
            look_ups: 10,
            reads_strongly: true,
            cache_bytes: 0,
        };
        let store = DynamoDb::new(&tables(&format!("http://{}", wire.address())));
        let session = Session::new(store, behaviour, sources);
        session.attach();
        Self { session, clock, wire, _engine: engine }
    }

    /// An invocation that writes two keys, which must succeed; how long it took.
    async fn invocation(&self, number: u128, limit: Duration) -> Duration {
        let started = Instant::now();
        let (request, transaction) = (RequestId::new(format!("r-{number}")), TransactionId::from_bits(number));
        let begun = self.session.begin(Begin {
            request: request.clone(),
            transaction,
            attempt: AttemptNumber::FIRST,
            fingerprint: Fingerprint::of(b"{}"),
            origin: "test".to_owned(),
            deadline_ms: self.clock.micros() / 1_000 + u64::try_from(limit.as_millis()).unwrap(),
        });
        assert_eq!(begun.await.unwrap(), Begun::Open);
        let value = || Some(Value::new("value", ContentType::default()).unwrap());
        let writes = Writes::from(["a", "b"].map(|key| (Key::new(key).unwrap(), value())));
        self.session.write(Named { transaction: Some(transaction), attempt: None }, writes).unwrap();
        let response = Response { content_type: None, body: "ok".into() };
        let result = self.session.commit(transaction, AttemptNumber::FIRST, response).await.unwrap();
        assert_eq!(result, CommitResult::Committed);
        self.session.end(request);
        started.elapsed()
    }
}

/// Long enough for the wait for an answer to be at its longest, 2 s.
const AMPLE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn ordinary_warm_invocations_make_no_connections() {
    let world = World::new().await;
    world.invocation(1, AMPLE).await;
    let first = world.wire.accepted();
    assert_eq!(first, 2, "two heads at the same time; the record before them used one of the two");
    for number in 2..10 {
        // A function that is invoked every now and then, by either clock.
        world.clock.sleep(Duration::from_secs(19));
        world.invocation(number, AMPLE).await;
    }
    assert_eq!(world.wire.accepted(), first);
}

/// By the wall clock, while the monotonic one stood still.
#[tokio::test]
async fn after_a_long_sleep_old_connections_are_not_even_tried() {
    let world = World::new().await;
    world.invocation(1, AMPLE).await;
    let before = world.wire.accepted();
    world.wire.silence_connections();
    world.clock.sleep(Duration::from_secs(21));
    let time = world.invocation(2, AMPLE).await;
    assert!(time < Duration::from_secs(2), "{time:?}: nobody waited for an answer on a dead connection");
    assert_eq!(world.wire.accepted(), before + 2);
}

/// No clock tells, and nothing is ever heard of them: the first request finds out for all others, within the default time limit
/// of a function.
#[tokio::test]
async fn connections_that_died_in_silence_cost_a_third_of_the_time() {
    let world = World::new().await;
    world.invocation(1, AMPLE).await;
    world.wire.silence_connections();
    let limit = Duration::from_secs(3);
    let time = world.invocation(2, limit).await;
    assert!(time > limit / 4, "{time:?}: it did try one");
    assert!(time < limit * 2 / 3, "{time:?}");
}
