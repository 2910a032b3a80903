//! One key that everybody writes, and a store that throttles it: writers wait, and neither abort nor lose anything
//! (`docs/tables.md`, "Hot keys").
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aft_extension::session::{Ack, Begun, Behaviour, CommitResult};
use aft_protocol::wire::ErrorCode;
use aft_store::ErrorKind;
use aft_store::faults::{Call, Fault};
use aft_store::memory::Memory;
use support::{BEHAVIOUR, Sandbox, answer, is_apply, k, stored};
use tokio::time::Instant;

/// A partition that takes one write of the key in that time, and throttles the others.
fn partition(each: Duration) -> impl Fn(&Call) -> Fault + Clone + Send + Sync + 'static {
    let (start, next) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    move |call| {
        if *call != Call::Apply(k("hot")) {
            return Fault::None;
        }
        let now = u64::try_from(start.elapsed().as_micros()).unwrap();
        let free = next.load(Ordering::Relaxed);
        if now < free {
            return Fault::Before(ErrorKind::Unavailable);
        }
        next.store(now + u64::try_from(each.as_micros()).unwrap(), Ordering::Relaxed);
        Fault::None
    }
}

async fn write(sandbox: &Sandbox, transaction: u128) -> CommitResult {
    assert_eq!(sandbox.begin(transaction).await, Begun::Open);
    sandbox.put(transaction, "hot", &transaction.to_string());
    sandbox.put(transaction, &format!("own-{transaction}"), "1");
    sandbox.commit(transaction, "ok").await
}

/// N commits of one key at the same time are N writes to it; none aborts, and the newest stays.
#[tokio::test(start_paused = true)]
async fn writers_of_one_key_do_not_abort_each_other() {
    const WRITERS: u64 = 50;
    let store = Memory::new();
    let sandboxes: Vec<_> = (1..=WRITERS).map(|seed| Sandbox::new(&store, seed)).collect();
    let commits = sandboxes.iter().zip(1..).map(|(sandbox, transaction)| write(sandbox, transaction));
    for result in futures_util::future::join_all(commits).await {
        assert_eq!(result, CommitResult::Committed);
    }
    let applies: usize = sandboxes.iter().map(|sandbox| sandbox.count(|call| *call == Call::Apply(k("hot")))).sum();
    assert_eq!(applies, usize::try_from(WRITERS).unwrap());
    let newest = store.all_records().iter().map(|record| record.version).max();
    assert_eq!(Some(store.head_of(&k("hot")).current.version), newest);
}

/// Past the limit of the key's partition, writers are delayed.
#[tokio::test(start_paused = true)]
async fn writers_of_a_throttled_key_wait_for_each_other() {
    let store = Memory::new();
    let plan = partition(Duration::from_millis(50));
    let sandboxes: Vec<_> = (1..=20).map(|seed| Sandbox::faulty(&store, seed, plan.clone())).collect();
    let started = Instant::now();
    let commits = sandboxes.iter().zip(1..).map(|(sandbox, transaction)| write(sandbox, transaction));
    for result in futures_util::future::join_all(commits).await {
        assert_eq!(result, CommitResult::Committed);
    }
    assert!(started.elapsed() >= Duration::from_millis(19 * 50), "{:?}", started.elapsed());
}

/// Further past it, a writer's deadline comes: the transaction has committed, is said not to be visible, and the same request
/// again finishes it.
#[tokio::test(start_paused = true)]
async fn a_key_that_is_throttled_past_the_deadline_is_committed_and_not_visible() {
    let store = Memory::new();
    let throttled = Sandbox::faulty(&store, 1, |call| match call {
        Call::Apply(key) if *key == k("hot") => Fault::Before(ErrorKind::Unavailable),
        _ => Fault::None,
    });
    let result = write(&throttled, 1).await;
    assert!(matches!(result, CommitResult::Unknown(ErrorCode::NotVisible, _)), "{result:?}");
    assert_eq!((store.all_records().len(), stored(&store, "hot")), (1, None));
    assert_eq!(write(&Sandbox::new(&store, 2), 1).await, CommitResult::Duplicate(answer("ok")));
    assert_eq!(stored(&store, "hot").as_deref(), Some("1"));
}

/// `AFT_ACK=durable`: the caller does not notice; the sandbox's next commit does, by back pressure, and says that nothing was
/// written.
#[tokio::test(start_paused = true)]
async fn a_throttled_key_holds_back_the_sandboxs_next_commit() {
    let store = Memory::new();
    let behaviour = Behaviour { ack: Ack::Durable, ..BEHAVIOUR };
    let sandbox = Sandbox::with(&store, 1, behaviour, 0, |call| match call {
        Call::Apply(key) if *key == k("hot") => Fault::Before(ErrorKind::Unavailable),
        _ => Fault::None,
    });
    assert_eq!(write(&sandbox, 1).await, CommitResult::Committed);
    let result = write(&sandbox, 2).await;
    assert!(matches!(result, CommitResult::Failed(ErrorCode::StoreUnavailable, _)), "{result:?}");
    assert_eq!((store.all_records().len(), stored(&store, "own-2")), (1, None));
    assert!(sandbox.count(is_apply) > 10, "it goes on");
}
