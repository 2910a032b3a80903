//! Serializable isolation under the layer as it is shipped: what many sandboxes read, compute and write at the same time. Each
//! promise has a control: the same without it, which fails, so that a run that shows nothing is noticed.
#![allow(clippy::unwrap_used)]
#![allow(clippy::print_stdout, reason = "these are tests, and what they measured is worth a line")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use aft_cli::{SandboxNumber, Victim};
use aft_tests::contended::Contended;
use fastrand::Rng;
use serde_json::{Value, json};
use tokio::sync::Mutex;

const FUNCTION: &str = env!("CARGO_BIN_EXE_shared-function");
const SANDBOXES: u32 = 8;
const SERIALIZABLE: [(&str, &str); 1] = [("AFT_ISOLATION", "serializable")];
/// Tries of a caller that got no definite answer, until it is a bug.
const MOST_TRIES: usize = 30;

/// One increment: how its first runs end, and when it is sent again.
struct Order {
    request: String,
    event: Value,
    meanwhile: bool,
    later: bool,
}

fn orders(random: &mut Rng, count: usize) -> Vec<Order> {
    let order = |number| {
        // Fewer than AFT_MAX_ATTEMPTS.
        let failing = if random.u32(0..20) == 0 { random.usize(1..=2) } else { 0 };
        let mut how = || ["error", "exit", "kill"][random.usize(0..3)];
        let faults: Vec<_> = (0..failing).map(|_| json!({ "after": 1, "how": how() })).collect();
        Order {
            request: format!("increment-{number}"),
            event: json!({ "do": "count", "counter": "counter", "faults": faults }),
            meanwhile: random.u32(0..20) == 0,
            later: random.u32(0..20) == 0,
        }
    };
    (0..count).map(order).collect()
}

/// As a platform: the same request until it is answered.
async fn deliver(world: &Contended, request: &str, event: &Value) -> Value {
    for _ in 0..MOST_TRIES {
        let result = world.invoke(Some(request), event).await;
        if result.succeeded() {
            return serde_json::from_slice(&result.payload).unwrap();
        }
    }
    panic!("{request} was never answered\n{}", world.log());
}

/// As many callers as there are sandboxes, each with the next one until there is none.
async fn each<'a, T, F: Future<Output = ()>>(items: &'a [T], work: impl Fn(usize, &'a T) -> F) {
    let next = AtomicUsize::new(0);
    let caller = || async {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(number) else { return };
            work(number, item).await;
        }
    };
    tokio::join!(caller(), caller(), caller(), caller(), caller(), caller(), caller(), caller());
}

/// "10,000 concurrent increments over 8 sandboxes with kills and duplicates end at exactly 10,000", each with a value of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_increment_counts_once() {
    const INCREMENTS: usize = 10_000;
    /// Between two kills of a whole sandbox.
    const KILL_EVERY: usize = 200;
    let mut random = Rng::with_seed(5);
    let orders = orders(&mut random, INCREMENTS);
    let world = Contended::start(FUNCTION, SANDBOXES, &SERIALIZABLE).await;
    let (answers, random) = (Mutex::new(vec![Vec::new(); INCREMENTS]), Mutex::new(random));
    let started = Instant::now();
    each(&orders, async |number, order| {
        let first = deliver(&world, &order.request, &order.event);
        let both = if order.meanwhile {
            let (first, second) = tokio::join!(first, deliver(&world, &order.request, &order.event));
            vec![first, second]
        } else {
            vec![first.await]
        };
        answers.lock().await[number].extend(both);
        if number % KILL_EVERY == KILL_EVERY - 1 {
            world.host.kill(SandboxNumber(random.lock().await.u32(1..=SANDBOXES)), Victim::Everything);
        }
    })
    .await;
    let elapsed = started.elapsed();
    let attempts = world.attempts(INCREMENTS);
    each(&orders, async |number, order| {
        if order.later {
            let answer = deliver(&world, &order.request, &order.event).await;
            answers.lock().await[number].push(answer);
        }
    })
    .await;

    let answers = answers.into_inner();
    let mut values = Vec::new();
    for answers in &answers {
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        values.push(answers[0].as_u64().unwrap());
    }
    values.sort_unstable();
    assert!(values.iter().copied().eq(1..=INCREMENTS as u64), "a value was given twice");
    assert_eq!(world.value("counter").await, Some(INCREMENTS.to_string()));
    println!(
        "{INCREMENTS} increments, {} duplicates, {} kills of a sandbox: {:.1} s; attempts of a transaction: mean {:.2}, median \
         {}, p99 {}, p99.9 {}, most {}; {} followed a conflict, {} an error or the end of a process",
        orders.iter().filter(|order| order.meanwhile).count() + orders.iter().filter(|order| order.later).count(),
        INCREMENTS / KILL_EVERY,
        elapsed.as_secs_f64(),
        attempts.mean(),
        attempts.at(500),
        attempts.at(990),
        attempts.at(999),
        attempts.at(1_000),
        attempts.conflicts,
        attempts.others,
    );
    assert!(attempts.conflicts > 0 && attempts.others > 0, "nobody met anybody: {attempts:?}");
    world.stop().await;
}

/// How many of so many increments are there in the end.
async fn counted(world: &Contended, how: &str, increments: usize) -> usize {
    let event = json!({ "do": how, "counter": how });
    let orders = vec![(); increments];
    each(&orders, async |_, ()| drop(world.succeed(&event).await)).await;
    world.value(how).await.unwrap().parse().unwrap()
}

/// `If-Match` needs no other isolation: it guards its key by itself. Without it, and without serializable isolation, increments
/// are lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_read_atomic_isolation_if_match_loses_nothing_and_what_does_not_say_it_does() {
    const INCREMENTS: usize = 400;
    let world = Contended::start(FUNCTION, SANDBOXES, &[]).await;
    assert_eq!(counted(&world, "guarded-count", INCREMENTS).await, INCREMENTS);
    let kept = counted(&world, "count", INCREMENTS).await;
    println!("of {INCREMENTS} increments in read-atomic isolation, {kept} are there; with If-Match, all");
    assert!(kept < INCREMENTS, "nobody met anybody: this run has shown nothing");
    world.stop().await;
}

const ACCOUNTS: usize = 10;
const OPENING: i64 = 1_000;

/// What went on in a bank.
#[derive(Debug, Default)]
struct Seen {
    audits: AtomicUsize,
    /// Audits that saw another sum than there is.
    wrong: AtomicUsize,
    /// Audits that saw an account below zero.
    overdrawn: AtomicUsize,
}

impl Seen {
    fn look(&self, total: &Value) {
        self.audits.fetch_add(1, Ordering::Relaxed);
        let is_wrong = total["total"] != OPENING * ACCOUNTS as i64;
        self.wrong.fetch_add(usize::from(is_wrong), Ordering::Relaxed);
        self.overdrawn.fetch_add(usize::from(total["least"].as_i64().unwrap() < 0), Ordering::Relaxed);
    }
}

async fn bank(settings: &[(&str, &str)], payments: usize) -> (Seen, Value) {
    let mut random = Rng::with_seed(7);
    let accounts: Vec<_> = (0..ACCOUNTS).map(|number| format!("account-{number}")).collect();
    let payments: Vec<_> = (0..payments)
        .map(|_| {
            let from = random.usize(0..ACCOUNTS);
            let to = (from + random.usize(1..ACCOUNTS)) % ACCOUNTS;
            json!({ "do": "pay", "from": accounts[from], "to": accounts[to], "amount": random.i64(1..=900) })
        })
        .collect();
    let audits = [false, true].map(|by_one| json!({ "do": "bank", "accounts": accounts, "one_by_one": by_one }));
    let world = Contended::start(FUNCTION, SANDBOXES, settings).await;
    let (seen, done) = (Seen::default(), AtomicBool::new(false));
    let pay = async {
        each(&payments, async |_, event| drop(world.succeed(event).await)).await;
        done.store(true, Ordering::Relaxed);
    };
    let audit = |event| {
        let (world, seen, done) = (&world, &seen, &done);
        async move {
            while !done.load(Ordering::Relaxed) {
                seen.look(&world.succeed(event).await);
            }
        }
    };
    tokio::join!(pay, audit(&audits[0]), audit(&audits[1]));
    let last = world.succeed(&audits[0]).await;
    world.stop().await;
    (seen, last)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_audit_of_a_bank_sees_all_of_its_money() {
    let (seen, last) = bank(&SERIALIZABLE, 600).await;
    println!("serializable: {seen:?}, and at last {last}");
    assert!(seen.audits.into_inner() > 5, "hardly an audit");
    assert_eq!((seen.wrong.into_inner(), seen.overdrawn.into_inner()), (0, 0));
    assert_eq!(last["total"], OPENING * ACCOUNTS as i64);
    assert!(last["least"].as_i64().unwrap() >= 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_read_atomic_isolation_audits_see_sums_that_never_were() {
    let (seen, last) = bank(&[], 600).await;
    println!("read-atomic: {seen:?}, and at last {last}");
    assert!(seen.wrong.into_inner() > 0, "this run has shown nothing");
    assert_ne!(last["total"], OPENING * ACCOUNTS as i64, "not one payment was lost: this run has shown nothing");
}

/// Two accounts cover each other; each of two payments alone is in order, both together are not. They write different keys.
async fn both_paid(settings: &[(&str, &str)], pairs: usize) -> (usize, usize) {
    let world = Contended::start(FUNCTION, SANDBOXES, settings).await;
    let (mut one, mut both) = (0, 0);
    for pair in 0..pairs {
        let pay = |from: &str, cover: &str| {
            json!({
                "do": "pay", "from": format!("{from}-{pair}"), "cover": format!("{cover}-{pair}"),
                "to": format!("till-{from}-{pair}"), "amount": 3 * OPENING / 2,
            })
        };
        let (first, second) = (pay("a", "b"), pay("b", "a"));
        let (first, second) = tokio::join!(world.succeed(&first), world.succeed(&second));
        match [first, second].iter().filter(|answer| answer["paid"] == true).count() {
            1 => one += 1,
            2 => both += 1,
            _ => panic!("neither was paid, and one must be"),
        }
    }
    world.stop().await;
    (one, both)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_only_read_has_not_changed_when_it_commits() {
    assert_eq!(both_paid(&SERIALIZABLE, 60).await, (60, 0));
    let (_, both) = both_paid(&[], 60).await;
    assert!(both > 0, "no two payments met each other: this run has shown nothing");
}

/// An invocation that changes what it has read by a transaction of its own: in the first attempt only, because that transaction
/// commits once. So the first attempt meets a conflict, every time, and the second does not.
fn overtaken(reads_on: bool) -> Value {
    let request = |method: &str, path: &str, body: &str| json!({ "method": method, "path": path, "body": body });
    let within = |method: &str, path: &str, body: &str| json!({ "method": method, "path": path, "body": body, "headers": { "X-Aft-Transaction": "{1}" } });
    let mut requests = vec![
        request("GET", "/v1/kv/x", ""),
        request("POST", "/v1/transactions", &json!({ "key": format!("overtakes-{reads_on}") }).to_string()),
        within("PUT", "/v1/kv/x", "changed"),
        within("PUT", "/v1/kv/z", "changed"),
        within("POST", "/v1/transactions/{1}:commit", "done"),
        request("PUT", "/v1/kv/y", "computed from x"),
    ];
    if reads_on {
        requests.push(json!({ "method": "GET", "path": "/v1/kv/z", "must": true }));
    }
    json!({ "do": "raw", "requests": requests })
}

/// Whether the commit finds out or a read before it, which the handler fails by: it is a conflict, and no failed attempt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_overtaken_runs_again_and_is_told_apart_from_what_failed() {
    for reads_on in [false, true] {
        let once = [SERIALIZABLE[0], ("AFT_MAX_ATTEMPTS", "1")];
        let world = Contended::start(FUNCTION, 1, &once).await;
        let replies = world.succeed(&overtaken(reads_on)).await;
        assert_eq!([&replies[0]["status"], &replies[1]["status"]], [200, 200], "this is the second attempt: {replies}");
        let attempts = world.attempts(1);
        assert_eq!((attempts.at(1_000), attempts.conflicts, attempts.others), (2, 1, 0));
        assert_eq!(world.value("y").await.unwrap(), "computed from x");
        world.stop().await;

        let never = [SERIALIZABLE[0], ("AFT_MAX_CONFLICTS", "0")];
        let world = Contended::start(FUNCTION, 1, &never).await;
        let result = world.invoke(None, &overtaken(reads_on)).await;
        let document: Value = serde_json::from_slice(&result.payload).unwrap();
        assert_eq!(document["errorType"], "Aft.Conflict", "{document}");
        let message = document["errorMessage"].as_str().unwrap();
        let key = if reads_on { "\"z\"" } else { "\"x\" was absent when it was read and is at " };
        for part in [key, "nothing was written", "Attempts: 1, of them 1 ended by a conflict", "AFT_MAX_CONFLICTS"] {
            assert!(message.contains(part), "{part:?} in {message}");
        }
        assert_eq!(message.contains("what must succeed did not: 409"), reads_on, "{message}");
        assert_eq!(world.value("y").await, None);
        world.stop().await;
    }
}

/// A transaction that says its own isolation, in a function of the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_explicit_transaction_is_serializable_if_it_says_so() {
    let world = Contended::start(FUNCTION, 1, &[]).await;
    for (isolation, conflicts) in [("serializable", true), ("read-atomic", false)] {
        let [x, y] = ["x", "y"].map(|key| format!("/v1/kv/{isolation}-{key}"));
        let begin = |key: &str, own: &str| {
            let body = json!({ "key": format!("{key}-{isolation}"), "isolation": own });
            json!({ "method": "POST", "path": "/v1/transactions", "body": body.to_string() })
        };
        let within = |transaction: &str, method: &str, path: &str, body: &str| json!({ "method": method, "path": path, "body": body, "headers": { "X-Aft-Transaction": transaction } });
        let commit =
            |transaction: &str| within(transaction, "POST", &format!("/v1/transactions/{transaction}:commit"), "done");
        let requests = json!([
            begin("reader", isolation),
            within("{0}", "GET", &x, ""),
            begin("writer", "read-atomic"),
            within("{2}", "PUT", &x, "changed"),
            commit("{2}"),
            within("{0}", "PUT", &y, "computed from nothing"),
            commit("{0}"),
            begin("reader", isolation),
            within("{7}", "GET", &x, ""),
            within("{7}", "PUT", &y, "computed from what changed"),
            commit("{7}"),
        ]);
        let replies = world.succeed(&json!({ "do": "raw", "requests": requests })).await;
        let status = |number: usize| replies[number]["status"].as_u64().unwrap();
        assert_eq!([status(0), status(1), status(2), status(3), status(4), status(5)], [201, 404, 201, 204, 200, 204]);
        let value = world.value(&format!("{isolation}-y")).await.unwrap();
        if conflicts {
            assert_eq!((status(6), &replies[6]["body"]["code"]), (409, &json!("commit-conflict")), "{replies}");
            let detail = replies[6]["body"]["detail"].as_str().unwrap();
            assert!(detail.contains("serializable-x") && detail.contains("was absent"), "{detail}");
            assert_eq!([status(7), status(8), status(9), status(10)], [201, 200, 204, 200], "{replies}");
            assert_eq!(value, "computed from what changed");
        } else {
            assert_eq!((status(6), status(7)), (200, 200), "committed, and known when it begins again: {replies}");
            assert_eq!(value, "computed from nothing");
        }
    }
    world.stop().await;
}
