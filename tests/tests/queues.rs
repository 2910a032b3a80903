//! Exactly once for every message: the shipped layer with the SQS examples behind a queue that delivers again and again,
//! some batches to two sandboxes at the same time, while messages fail, kill the runtime or take the sandbox with them.
//!
//! What happened is counted outside AFT, by the files in which the examples count the runs of their work.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use aft_cli::{Connected, Engine, Host, HostConfig, Invocation, InvokeResult, LogSink, Program, Tables};
use aft_tests::layer;
use aft_tests::sqs::{Message, Queue};
use aft_tests::tools::{repository, tool};
use fastrand::Rng;
use serde_json::{Value, json};

/// More than any message that can succeed needs, however its deliveries coincide with others' kills.
const MAX_DELIVERIES: u32 = 12;

/// How often a hopeless message fails.
const FOREVER: usize = 1_000;

/// A local Lambda with two sandboxes.
struct World {
    host: Host,
    data: Connected,
    /// Where the runs are counted.
    directory: PathBuf,
    _log: Log,
}

/// What the sandboxes wrote, shown if the test fails.
#[derive(Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Drop for Log {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().expect("no writer panics").iter().for_each(|line| eprintln!("{line}"));
        }
    }
}

fn python() -> Program {
    let app = repository().join("examples/sqs-python/app.py");
    Program::new(tool("python").join("bin/python")).with_arguments([app])
}

fn node() -> Program {
    let runtime = repository().join("tests/fixtures/runtime.mjs");
    Program::new("node").with_arguments([runtime, repository().join("examples/sqs-node/app.mjs")])
}

impl World {
    async fn start(name: &str, function: Program) -> Self {
        let mut config = HostConfig::new(function).expect("there is a working directory");
        config.sandboxes = 2;
        config.layer = Some(layer::shipped());
        let data = Engine::Memory.connect(&mut config, &Tables::default()).await.expect("the embedded engine starts");
        let directory = std::env::temp_dir().join(format!("aft-queues-{}-{name}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory of our own");
        config.environment.insert("TMPDIR".to_owned(), directory.display().to_string());
        config.environment.insert("PYTHONDONTWRITEBYTECODE".to_owned(), "1".to_owned());
        let log = Log::default();
        let lines = Arc::clone(&log.0);
        config.log = LogSink::new(move |line| lines.lock().expect("no writer panics").push(line.to_string()));
        Self { host: Host::start(config).await.expect("the host starts"), data, directory, _log: log }
    }

    async fn invoke(&self, event: &Value) -> InvokeResult {
        self.host.invoke(Invocation::new(event.to_string())).await
    }

    /// What the function sees of these keys.
    async fn audit(&self, keys: &[String]) -> Value {
        let result = self.invoke(&json!({ "audit": keys })).await;
        assert!(result.succeeded(), "{result:?}");
        serde_json::from_slice(&result.payload).expect("a function answers with JSON")
    }

    /// How often the work for a message was begun.
    fn runs(&self, id: &str) -> usize {
        (0..).take_while(|number| self.directory.join(format!("aft-run-{id}.{number}")).exists()).count()
    }

    async fn stop(self) {
        self.host.stop().await;
        self.data.stop().await.expect("the engine had not failed");
        fs::remove_dir_all(self.directory).expect("the directory is our own");
    }
}

/// What is known of the messages from outside.
#[derive(Default)]
struct Witness {
    /// Of messages that some delivery acknowledged: the runs of their work at that moment.
    committed: BTreeMap<String, usize>,
    /// How often a message that was not known to have committed was delivered to two sandboxes at the same time.
    twins: BTreeMap<String, usize>,
    deliveries: usize,
}

/// Delivers until nothing waits.
async fn deliver_all(world: &World, queue: &mut Queue, random: &mut Rng) -> Witness {
    let mut witness = Witness::default();
    while let Some(batch) = queue.receive() {
        let event = queue.event(&batch);
        witness.deliveries += batch.len();
        let acknowledged = if random.u32(..3) == 0 {
            for message in &batch {
                if !witness.committed.contains_key(&message.id) {
                    *witness.twins.entry(message.id.clone()).or_default() += 1;
                }
            }
            let (first, second) = tokio::join!(world.invoke(&event), world.invoke(&event));
            // A kill may have come between an answer and the other delivery's end: all must be quiet to be counted.
            world.host.settled().await;
            &queue.settle(&batch, &first) | &queue.settle(&batch, &second)
        } else {
            let result = world.invoke(&event).await;
            queue.settle(&batch, &result)
        };
        for id in acknowledged {
            let runs = world.runs(&id);
            let before = *witness.committed.entry(id.clone()).or_insert(runs);
            assert_eq!(runs, before, "{id} had committed, and its work ran again");
        }
    }
    witness
}

/// Messages, some of which fail at first, by every way to fail, and some always. Not in a FIFO queue: there a message that
/// always fails takes those behind it along to the dead letters, as on SQS.
fn messages(random: &mut Rng, count: usize, group: impl Fn(usize) -> Option<String>) -> Vec<Message> {
    (0..count)
        .map(|number| {
            let faults = match random.u32(..12) {
                0 if group(number).is_none() => vec![json!({"after": random.u32(1..=3), "how": "error"}); FOREVER],
                1..=6 => (0..random.usize(1..=2)).map(|_| fault(random)).collect(),
                _ => Vec::new(),
            };
            let id = format!("{:08x}-{number}", random.u32(..));
            let item = group(number).unwrap_or_else(|| format!("item-{number}"));
            let body = json!({"order": id, "item": item, "amount": random.u32(1..100), "faults": faults});
            Message::new(id, body, group(number))
        })
        .collect()
}

fn fault(random: &mut Rng) -> Value {
    let how = ["error", "error", "error", "exit", "kill", "sandbox"];
    json!({"after": random.u32(1..=3), "how": random.choice(how)})
}

/// Every message's effect is there once and whole, or, if it never succeeds, not at all.
async fn check(world: &World, messages: &[Message], witness: &Witness) {
    let field = |message: &Message, name: &str| message.body[name].as_str().expect("a text").to_owned();
    let mut keys = BTreeSet::new();
    for message in messages {
        let (order, item) = (field(message, "order"), field(message, "item"));
        keys.extend([format!("order/{order}"), format!("ledger/{order}"), format!("stock/{item}")]);
    }
    let found = world.audit(&Vec::from_iter(keys)).await;
    let mut sold: BTreeMap<String, (u64, Vec<String>)> = BTreeMap::new();
    for message in messages {
        let (order, item) = (field(message, "order"), field(message, "item"));
        let faults = message.body["faults"].as_array().expect("a list").len();
        let (paid, ledger) = (&found[format!("order/{order}")], &found[format!("ledger/{order}")]);
        let runs = world.runs(&message.id);
        if faults == FOREVER {
            assert!(paid.is_null() && ledger.is_null(), "{order} never succeeded: {paid} {ledger}");
            assert!(!witness.committed.contains_key(&message.id), "{order} was acknowledged");
            continue;
        }
        let twins = witness.twins.get(&message.id).copied().unwrap_or_default();
        assert_eq!(witness.committed.get(&message.id), Some(&runs), "{order}: what had committed ran again");
        assert!(
            (faults + 1..=faults + 1 + twins).contains(&runs),
            "{order}: {runs} runs, {faults} faults, {twins} twins"
        );
        assert_eq!(paid["run"], ledger["run"], "{order} and its ledger entry are of one run");
        assert!(paid["run"].as_u64().is_some_and(|run| run >= faults as u64), "{order}: a failed run was committed");
        assert_eq!((&paid["amount"], &ledger["amount"]), (&message.body["amount"], &message.body["amount"]));
        let (amount, orders) = sold.entry(item).or_default();
        *amount += message.body["amount"].as_u64().expect("a number");
        orders.push(order);
    }
    for (item, (amount, orders)) in sold {
        let stock = &found[format!("stock/{item}")];
        let listed: Vec<String> = serde_json::from_value(stock["orders"].clone()).expect("a list");
        assert_eq!(stock["sold"].as_u64(), Some(amount), "{item}: {stock}");
        assert_eq!(listed, orders, "{item}: each order once, and in the order that a FIFO queue keeps");
    }
}

/// A standard queue and a FIFO queue, one after the other.
async fn exactly_once(name: &str, function: Program, seed: u64) {
    let world = World::start(name, function).await;
    let mut random = Rng::with_seed(seed);
    let standard = messages(&mut random, 24, |_| None);
    let fifo = messages(&mut random, 16, |number| Some(format!("group-{}", number % 2)));
    for sent in [standard, fifo] {
        let mut queue = Queue::new(sent.clone(), MAX_DELIVERIES, random.u64(..));
        let witness = deliver_all(&world, &mut queue, &mut random).await;
        assert!(witness.deliveries > sent.len(), "messages are delivered again");
        assert!(!witness.twins.is_empty(), "some are delivered to two sandboxes at the same time");
        check(&world, &sent, &witness).await;
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_of_a_queue_happens_once_in_python() {
    exactly_once("python", python(), 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_of_a_queue_happens_once_in_node() {
    // `make test` needs npm, which comes with it.
    exactly_once("node", node(), 2).await;
}
