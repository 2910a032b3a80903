//! Histories of the layer as it is shipped: real processes over DynamoDB Local, in both isolations and both at once, with handlers that
//! fail and die, sandboxes that are killed, and requests that are delivered again. What each attempt did is noted step by step
//! and judged by our checker, and by another's where that judges it; with `HISTORIES_OUT` set, the histories are left there.
#![allow(clippy::unwrap_used)]
#![allow(clippy::print_stdout, reason = "these are tests, and what they measured is worth a line")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use aft_cli::{Engine, Host, HostConfig, Invocation, LogSink, Program, SandboxNumber, Tables, Victim};
use aft_history::checker::{Expect, Promise, check};
use aft_history::format::{self, Attempt, Outcome, Step};
use aft_protocol::id::TransactionId;
use aft_protocol::record::CommitRecord;
use aft_store::Store;
use aft_store::dynamodb::DynamoDb;
use aft_tests::dynamodb_local::DynamoDbLocal;
use aft_tests::histories::{Level, Verdict, adya};
use aft_tests::layer;
use aft_tests::noted::{self, NOTES, Note, Notebook};
use fastrand::Rng;
use serde_json::{Value, json};

const FUNCTION: &str = env!("CARGO_BIN_EXE_noted-function");
/// For each isolation.
const SANDBOXES: u32 = 3;
const KEYS: usize = 6;
const TRANSACTIONS: usize = 60;
/// A process of the layer dies, or a whole sandbox, after each so many transactions.
const KILL_EVERY: usize = 12;
/// Tries of a caller that got no definite answer, until it is a bug.
const MOST_TRIES: usize = 30;

/// The histories, with the hosts that take part: read-atomic, serializable.
const HISTORIES: [(&str, &[usize]); 6] = [
    ("serializable-1", &[1]),
    ("mixed-1", &[0, 1, 1]),
    ("read-atomic-1", &[0]),
    ("serializable-2", &[1]),
    ("mixed-2", &[0, 1, 1]),
    ("read-atomic-2", &[0]),
];

/// Two functions over the same tables, one for each isolation.
struct World {
    hosts: [Host; 2],
    store: DynamoDb,
    notes: Notebook,
    log: Arc<Mutex<Vec<String>>>,
    directory: PathBuf,
}

impl World {
    async fn start(directory: PathBuf) -> Self {
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).unwrap();
        let endpoint = DynamoDbLocal::shared().await.endpoint();
        let tables = Tables { data: "histories".to_owned(), transactions: "histories-transactions".to_owned() };
        // A new engine on a busy machine takes longer than a host would wait.
        let store = aft_tests::store::patient(&aft_tests::store::config(&endpoint, &tables.data, &tables.transactions));
        store.create_tables().await.unwrap();
        let notes = Notebook::new(directory.join("notes.jsonl"));
        let log = Arc::<Mutex<Vec<String>>>::default();
        let mut hosts = Vec::new();
        for (name, isolation) in [("loose", "read-atomic"), ("strict", "serializable")] {
            let mut config = HostConfig::new(Program::new(FUNCTION)).unwrap();
            config.function_name = name.to_owned();
            config.sandboxes = SANDBOXES;
            config.queue_limit = 1_000;
            let mut layer = layer::shipped();
            layer.settings.insert("AFT_ISOLATION".to_owned(), isolation.to_owned());
            config.layer = Some(layer);
            config.environment.insert(NOTES.to_owned(), notes.path().display().to_string());
            config.environment.insert("TMPDIR".to_owned(), directory.display().to_string());
            let lines = Arc::clone(&log);
            config.log = LogSink::new(move |line| lines.lock().unwrap().push(line.to_string()));
            let engine = Engine::Endpoint { url: endpoint.parse().unwrap(), create_tables: false };
            engine.connect(&mut config, &tables).await.unwrap();
            hosts.push(Host::start(config).await.unwrap());
        }
        let hosts = hosts.try_into().unwrap_or_else(|_| panic!("two hosts"));
        Self { hosts, store, notes, log, directory }
    }

    /// As a platform: the same request until it is answered.
    async fn deliver(&self, host: usize, request: &str, event: &Value) {
        for _ in 0..MOST_TRIES {
            let invocation = Invocation::new(event.to_string()).with_request_id(request);
            let result = self.hosts[host].invoke(invocation).await;
            if result.succeeded() {
                self.notes.note(&Note::Answered { by: noted::answer(&result.payload) }).unwrap();
                return;
            }
        }
        panic!("{request} was never answered\n{}", self.log.lock().unwrap().join("\n"));
    }

    /// The records of all transactions that were noted.
    async fn records(&self, notes: &[Note]) -> BTreeMap<TransactionId, CommitRecord> {
        let ids: BTreeSet<TransactionId> = notes
            .iter()
            .filter_map(|note| match note {
                Note::Began { transaction, .. } => Some(transaction.parse().unwrap()),
                _ => None,
            })
            .collect();
        let ids: Vec<TransactionId> = ids.into_iter().collect();
        let mut records = BTreeMap::new();
        for some in ids.chunks(50) {
            let found = self.store.records(&some.iter().copied().collect()).await.unwrap();
            records.extend(found.into_iter().filter_map(|(id, record)| Some((id, record?))));
        }
        records
    }
}

/// One transaction: where, as which request, and what it is to do.
struct Order {
    host: usize,
    request: String,
    event: Value,
    meanwhile: bool,
    later: bool,
}

fn orders(random: &mut Rng, history: &str, hosts: &[usize]) -> Vec<Order> {
    let order = |number| {
        let mut steps = Vec::new();
        for _ in 0..random.usize(1..=5) {
            let key = random.usize(0..KEYS);
            let kind = if random.u32(0..5) < 3 { "r" } else { "w" };
            steps.push(format!("{kind} {history}-{key}"));
        }
        // Fewer than AFT_MAX_ATTEMPTS.
        let failing = if random.u32(0..6) == 0 { random.usize(1..=2) } else { 0 };
        let mut fault = |_| {
            let after = random.usize(0..steps.len());
            let how = ["error", "exit", "kill"][random.usize(0..3)];
            json!({ "after": after, "how": how })
        };
        let faults: Vec<Value> = (0..failing).map(&mut fault).collect();
        Order {
            host: hosts[random.usize(0..hosts.len())],
            request: format!("{history}-{number}"),
            event: json!({ "history": history, "steps": steps, "faults": faults }),
            meanwhile: random.u32(0..10) == 0,
            later: random.u32(0..10) == 0,
        }
    };
    (0..TRANSACTIONS).map(order).collect()
}

/// As many callers as there are sandboxes.
async fn run(world: &World, random: &mut Rng, history: &str, hosts: &[usize]) {
    let orders = orders(random, history, hosts);
    let kills: Vec<(usize, u32, Victim)> = (0..TRANSACTIONS)
        .map(|_| {
            let victim = [Victim::Everything, Victim::Runtime, Victim::Extensions][random.usize(0..3)];
            (hosts[random.usize(0..hosts.len())], random.u32(1..=SANDBOXES), victim)
        })
        .collect();
    let next = AtomicUsize::new(0);
    let caller = || async {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(order) = orders.get(number) else { return };
            let deliver = || world.deliver(order.host, &order.request, &order.event);
            if order.meanwhile {
                tokio::join!(deliver(), deliver());
            } else {
                deliver().await;
            }
            if number % KILL_EVERY == KILL_EVERY - 1 {
                let (host, sandbox, victim) = kills[number];
                world.hosts[host].kill(SandboxNumber(sandbox), victim);
            }
        }
    };
    tokio::join!(caller(), caller(), caller(), caller(), caller(), caller());
    for order in orders.iter().filter(|order| order.later) {
        world.deliver(order.host, &order.request, &order.event).await;
    }
    // Whatever was acknowledged is there.
    let steps: Vec<String> = (0..KEYS).map(|key| format!("r {history}-{key}")).collect();
    let audit = json!({ "history": history, "steps": steps, "faults": [] });
    for host in 0..2 {
        world.deliver(host, &format!("{history}-audit"), &audit).await;
    }
}

/// AFT's answers are given when writes are visible, and its reads are strong: the defaults.
const EXPECTED: Expect = Expect {
    level: aft_history::checker::Level::ReadAtomic,
    sessions: aft_history::checker::Sessions::None,
    versions: aft_history::checker::Versions::Ordered,
    strict: true,
    recent_reads: true,
    recent_writes: true,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_real_processes_did_keeps_every_promise() {
    let started = Instant::now();
    let world = World::start(Path::new(env!("CARGO_TARGET_TMPDIR")).join("end-to-end")).await;
    let mut random = Rng::with_seed(11);
    for (history, hosts) in HISTORIES {
        run(&world, &mut random, history, hosts).await;
    }
    let notes = world.notes.read().unwrap();
    // Nobody changes anything any more, so that what has no record never will.
    let records = world.records(&notes).await;
    let mut all = Vec::new();
    for (name, _) in HISTORIES {
        let history = noted::history(&notes, name, &records);
        let file = world.directory.join(format!("end-to-end-{name}.jsonl"));
        format::write(&file, &history).unwrap();
        let history = format::read(&file).unwrap_or_else(|malformed| panic!("{}: {malformed}", file.display()));
        let judged = check(&history, EXPECTED).unwrap_or_else(|breach| panic!("{}: {breach}", file.display()));
        println!("{name}: {judged:?}");
        let adyas = adya::check(&history, Level::StrictlySerializable);
        assert_eq!(adyas, Verdict::Accepted, "{}", file.display());
        if let Some(out) = std::env::var_os("HISTORIES_OUT") {
            std::fs::create_dir_all(&out).unwrap();
            std::fs::copy(&file, Path::new(&out).join(file.file_name().unwrap())).unwrap();
        }
        spoil_and_notice(&history, name);
        all.extend(history);
    }
    let count = |is: fn(&Attempt) -> bool| all.iter().filter(|attempt| is(attempt)).count();
    let committed = count(|attempt| attempt.outcome == Outcome::Committed);
    let aborted = count(|attempt| attempt.outcome == Outcome::Aborted);
    let wrote = count(|attempt| attempt.outcome == Outcome::Committed && !attempt.writes.is_empty());
    println!(
        "{} histories, {} attempts, {committed} committed ({wrote} wrote), {aborted} aborted; {:.1} s",
        HISTORIES.len(),
        all.len(),
        started.elapsed().as_secs_f64()
    );
    assert!(aborted > 20 && wrote > 150, "nothing went wrong: this run has shown nothing");
    let World { hosts, .. } = world;
    for host in hosts {
        host.stop().await;
    }
}

/// The same history with a lie in it is noticed: what was kept was not kept for want of anything to break.
fn spoil_and_notice(history: &[Attempt], name: &str) {
    let committed = |attempt: &&Attempt| attempt.outcome == Outcome::Committed;
    // An acknowledged write is gone: everybody who read it read what nobody wrote.
    let read =
        |version: &Option<String>| history.iter().flat_map(|other| &other.reads).any(|read| read.version == *version);
    let lost = history.iter().filter(committed).position(|attempt| attempt.version.is_some() && read(&attempt.version));
    let lost = lost.and_then(|nth| history.iter().enumerate().filter(|(_, attempt)| committed(attempt)).nth(nth));
    let (lost, _) = lost.unwrap_or_else(|| panic!("{name}: nobody read anything"));
    let mut spoilt = history.to_vec();
    spoilt[lost].outcome = Outcome::Aborted;
    let breach = check(&spoilt, EXPECTED).unwrap_err();
    assert!([Promise::DirtyRead, Promise::Phantom].contains(&breach.promise), "{name}: {breach}");
    // The last audit has missed the newest version of a key.
    let mut spoilt = history.to_vec();
    let audit =
        spoilt.iter_mut().rev().find(|attempt| attempt.outcome == Outcome::Committed && attempt.reads.len() == KEYS);
    let audit = audit.unwrap();
    let newest = audit.reads.iter().position(|read| read.version.is_some()).unwrap();
    audit.reads[newest].version = None;
    let key = audit.reads[newest].key.clone();
    for step in &mut audit.steps {
        match step {
            Step::Read { read, value } if *read == key => *value = None,
            _ => {}
        }
    }
    let isolation = audit.isolation;
    let breach = check(&spoilt, EXPECTED).unwrap_err();
    let promised = [Promise::RecentRead, Promise::FracturedRead, Promise::StrictlySerializable, Promise::Serializable];
    assert!(promised.contains(&breach.promise), "{name}: {isolation:?}: {breach}");
    assert!(breach.keys.contains(&key), "{name}: {breach}");
}
