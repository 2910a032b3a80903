//! The plan, carried out: one caller a customer, auditors that look at random customers meanwhile, and a killer.
//!
//! A customer's transfers follow one another: the next starts when the caller knows how the last ended. That is what read
//! atomic asks of callers that read, compute and write (see the README: it does not prevent lost updates; `counter` shows what does).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use aft_cli::{Host, Invocation, InvokeResult, SandboxNumber, Victim};
use fastrand::Rng;
use futures_util::future::join_all;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use transfer::event::{Audit, Event, Statement, Transfer};

use crate::plan::{Duplicate, Order, PLATFORM_TRIES, Plan};
use crate::verdict::Verdict;
use crate::world::{Mode, SANDBOXES, Setup, World};

type Error = Box<dyn std::error::Error>;

/// Callers that wait for an answer at the same time; the other sandbox is left to auditors and duplicates.
const CALLERS: usize = 3;
const AUDITORS: usize = 2;
/// Between two kills of a whole sandbox.
const KILL_EVERY: Duration = Duration::from_millis(400);
/// Before a platform's retry. Lambda waits for minutes; nothing here depends on it.
const RETRY_DELAY: Duration = Duration::from_millis(20);
/// Tries of a caller that got no definite answer, until it is a bug.
const MOST_TRIES: usize = 30;

/// What became of one request.
#[derive(Debug)]
pub struct Fate {
    /// The request.
    pub order: Order,
    /// Every successful answer.
    pub answers: Vec<Vec<u8>>,
}

/// Carries out the plan, with or without AFT, and judges.
///
/// # Errors
/// If the world could not be set up, or a final audit fails.
pub async fn carry_out(plan: &Plan, setup: &Setup, mode: Mode) -> Result<Verdict, Error> {
    let world = World::start(setup, mode).await?;
    let host = &world.host;
    // A function that cannot even start would be tried for a long time.
    final_statement(host, &[]).await.map_err(|error| format!("the function does not answer: {error}"))?;
    let done = AtomicBool::new(false);
    let (audits, torn) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let started = Instant::now();
    let work = async {
        let fates = work(plan, host).await;
        done.store(true, Ordering::Relaxed);
        (fates, started.elapsed())
    };
    let ((fates, elapsed), (), ()) =
        tokio::join!(work, audit(plan, host, &done, &audits, &torn), kill(plan.seed, host, &done));
    let mut statements = Vec::new();
    for orders in &plan.customers {
        statements.push(final_statement(host, orders).await?);
    }
    world.stop().await?;
    let looked = (audits.into_inner(), torn.into_inner());
    Ok(Verdict::new(&fates, &statements, looked, elapsed))
}

/// All customers, a few at a time.
async fn work(plan: &Plan, host: &Host) -> Vec<Vec<Fate>> {
    let callers = Arc::new(Semaphore::new(CALLERS));
    let customers = plan.customers.iter().map(|orders| async {
        let Ok(_permit) = callers.acquire().await else { return Vec::new() };
        customer(host, orders).await
    });
    join_all(customers).await
}

/// One customer: transfers in order, then the late duplicates.
async fn customer(host: &Host, orders: &[Order]) -> Vec<Fate> {
    let mut fates = Vec::new();
    for order in orders {
        let mut answers = Vec::new();
        if order.duplicate == Duplicate::Meanwhile {
            let (first, second) = tokio::join!(deliver(host, order), deliver(host, order));
            answers.extend(first);
            answers.extend(second);
        } else {
            answers.extend(deliver(host, order).await);
        }
        fates.push(Fate { order: order.clone(), answers });
    }
    for fate in fates.iter_mut().filter(|fate| fate.order.duplicate == Duplicate::Later && !fate.answers.is_empty()) {
        fate.answers.extend(deliver(host, &fate.order).await);
    }
    fates
}

/// One delivery by the platform, with its retries under the same request ID; and, where a kill used those up, as many more
/// as it takes to know how it ended.
async fn deliver(host: &Host, order: &Order) -> Option<Vec<u8>> {
    let event = Event::Transfer(Transfer {
        customer: order.customer.clone(),
        transfer: order.transfer.clone(),
        amount: order.amount,
        faults: order.faults.clone(),
    });
    for tries in 1..=MOST_TRIES {
        let result = invoke(host, &event, Some(format!("{}-{}", order.customer, order.transfer))).await;
        if result.succeeded() {
            return Some(result.payload.to_vec());
        }
        if tries >= PLATFORM_TRIES && order.is_hopeless() {
            return None;
        }
        sleep(RETRY_DELAY).await;
    }
    None
}

async fn invoke(host: &Host, event: &Event, request: Option<String>) -> InvokeResult {
    // Events are plain structs: they always serialise.
    let invocation = Invocation::new(serde_json::to_vec(event).unwrap_or_default());
    host.invoke(match request {
        Some(request) => invocation.with_request_id(request),
        None => invocation,
    })
    .await
}

/// Looks at random customers until the work is done.
async fn audit(plan: &Plan, host: &Host, done: &AtomicBool, audits: &AtomicUsize, torn: &AtomicUsize) {
    let auditors = (0..AUDITORS).map(|number| async move {
        let mut random = Rng::with_seed(plan.seed + 1_000 + number as u64);
        while !done.load(Ordering::Relaxed) {
            let customer = random.usize(..plan.customers.len());
            let event = Event::Audit(Audit { customer: format!("c{customer}"), transfers: Vec::new() });
            let result = invoke(host, &event, None).await;
            // An auditor whose sandbox was killed has seen nothing.
            let Ok(statement) = serde_json::from_slice::<Statement>(&result.payload) else { continue };
            audits.fetch_add(1, Ordering::Relaxed);
            torn.fetch_add(usize::from(statement.is_torn()), Ordering::Relaxed);
        }
    });
    join_all(auditors).await;
}

/// Kills whole sandboxes, the extension and the shim included.
async fn kill(seed: u64, host: &Host, done: &AtomicBool) {
    let mut random = Rng::with_seed(seed + 2_000);
    while !done.load(Ordering::Relaxed) {
        sleep(KILL_EVERY).await;
        host.kill(SandboxNumber(random.u32(1..=SANDBOXES)), Victim::Everything);
    }
}

/// What a customer finds at the end, with every ledger entry that should be there.
async fn final_statement(host: &Host, orders: &[Order]) -> Result<Statement, Error> {
    let customer = orders.first().map(|order| order.customer.clone()).unwrap_or_default();
    let transfers = orders.iter().map(|order| order.transfer.clone()).collect();
    let event = Event::Audit(Audit { customer, transfers });
    let mut result = invoke(host, &event, None).await;
    // The killer may have struck a moment ago.
    for _ in 1..PLATFORM_TRIES {
        if result.succeeded() {
            break;
        }
        result = invoke(host, &event, None).await;
    }
    let text = String::from_utf8_lossy(&result.payload);
    serde_json::from_slice(&result.payload).map_err(|error| format!("the final audit failed ({error}): {text}").into())
}
