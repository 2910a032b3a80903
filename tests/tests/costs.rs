//! What a request costs that writes n keys exactly once: this layer as it is shipped, Powertools for AWS Lambda around plain
//! writes, and TransactWriteItems with a record. Measured by one engine, whose units for transactions were captured from
//! DynamoDB itself; `docs/cost.md` says the same, and nothing else.
#![allow(clippy::unwrap_used, reason = "what cannot be had fails the test")]

use std::collections::BTreeMap;
use std::fs;

use aft_cli::embedded::{Embedded, Storage};
use aft_cli::{Host, HostConfig, Invocation, LogSink, Program};
use aft_tests::growth::price;
use aft_tests::store_proxy::{StoreProxy, StoreRequest};
use aft_tests::tools::{repository, tool};
use aft_tests::{layer, store};
use serde_json::{Value, json};

/// How a function writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Aft,
    Serializable,
    Powertools,
    Transaction,
}

const WAYS: [Way; 4] = [Way::Aft, Way::Serializable, Way::Powertools, Way::Transaction];

/// How many keys are written, how many of them are read before, and the size of each value in bytes.
const CASES: [(usize, usize, usize); 7] =
    [(1, 0, 200), (2, 0, 200), (3, 0, 200), (10, 0, 200), (2, 2, 200), (2, 0, 2_000), (10, 10, 2_000)];

/// As often as a head keeps older versions, and once more: from then on an item has its full size.
const UNTIL_FULL: usize = 7;

/// What one request consumed.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Units {
    writes: f64,
    reads: f64,
    /// Requests to DynamoDB.
    requests: usize,
    /// Of these, refused writes, whose units DynamoDB does not report.
    refused: usize,
}

impl Units {
    fn of(requests: &[(StoreRequest, Option<f64>)]) -> Self {
        let mut units = Self { requests: requests.len(), ..Self::default() };
        for (request, consumed) in requests {
            match (request, consumed) {
                (_, None) => units.refused += 1,
                (
                    StoreRequest::Records
                    | StoreRequest::Read(_)
                    | StoreRequest::ReadMany
                    | StoreRequest::AtOnce(_)
                    // Reads of the record that Powertools and the transaction look for.
                    | StoreRequest::Other,
                    Some(consumed),
                ) => units.reads += consumed,
                (
                    StoreRequest::Record | StoreRequest::Chunk | StoreRequest::Head(_) | StoreRequest::Step(_),
                    Some(consumed),
                ) => units.writes += consumed,
            }
        }
        units
    }

    /// US dollars for a million of these.
    fn dollars(&self) -> f64 {
        self.writes * price::WRITES + self.reads * price::READS
    }
}

/// A function and the DynamoDB behind it.
struct World {
    host: Host,
    proxy: StoreProxy,
    requests: usize,
    _engine: Embedded,
}

impl World {
    async fn start(way: Way) -> Self {
        let engine = Embedded::start(Storage::Memory).await.unwrap();
        let proxy = StoreProxy::start(&engine.endpoint()).await;
        let function = Program::new(tool("python").join("bin/python"));
        let mut config = HostConfig::new(function.with_arguments(["-m", "awslambdaric", "costs.handler"])).unwrap();
        config.working_directory = repository().join("tests/functions");
        config.handler = "costs.handler".to_owned();
        config.log = LogSink::new(|_| {});
        let mut set = |name: &str, value: String| config.environment.insert(name.to_owned(), value);
        set("PYTHONDONTWRITEBYTECODE", "1".to_owned());
        set("PYTHONPATH", tool("powertools").display().to_string());
        set("COSTS_DYNAMODB", proxy.endpoint());
        set("AFT_DYNAMODB_ENDPOINT", proxy.endpoint());
        set("AFT_DATA_TABLE", "data".to_owned());
        let of = match way {
            Way::Aft | Way::Serializable => "aft",
            Way::Powertools => "powertools",
            Way::Transaction => "transaction",
        };
        set("COSTS_OF", of.to_owned());
        if way == Way::Serializable {
            set("AFT_ISOLATION", "serializable".to_owned());
        }
        if of == "aft" {
            config.layer = Some(layer::shipped());
            let tables = store::config(&engine.endpoint(), "data", "data-transactions");
            store::patient(&tables).create_tables().await.unwrap();
        } else {
            for (table, key) in [("plain", "k"), ("records", "id")] {
                store::make_plain_table(&engine.endpoint(), table, key).await;
            }
        }
        let host = Host::start(config).await.unwrap();
        Self { host, proxy, requests: 0, _engine: engine }
    }

    /// A request that nobody sent before; its name.
    async fn once(&mut self, (writes, reads, value): (usize, usize, usize)) -> (String, Units) {
        self.requests += 1;
        let request = format!("00000000-0000-4000-8000-{:012}", self.requests);
        let units = self.send(&request, (writes, reads, value)).await;
        (request, units)
    }

    async fn send(&self, request: &str, (writes, reads, value): (usize, usize, usize)) -> Units {
        let keys = format!("key/{writes}/{reads}/{value}");
        let event = json!({ "request": request, "writes": writes, "reads": reads, "value": value, "keys": keys });
        drop(self.proxy.consumed());
        let result = self.host.invoke(Invocation::new(event.to_string()).with_request_id(request)).await;
        assert!(result.succeeded(), "{result:?}");
        let answer: Value = serde_json::from_slice(&result.payload).unwrap();
        assert_eq!(answer, "r".repeat(98));
        self.host.settled().await;
        Units::of(&self.proxy.consumed())
    }
}

/// By case: what each way costs, and a duplicate of it.
type Measured = BTreeMap<(usize, usize, usize), BTreeMap<Way, (Units, Units)>>;

async fn measure() -> Measured {
    let mut measured = Measured::new();
    for way in WAYS {
        let mut world = World::start(way).await;
        for case in CASES {
            for _ in 0..UNTIL_FULL {
                world.once(case).await;
            }
            let (request, first) = world.once(case).await;
            let duplicate = world.send(&request, case).await;
            measured.entry(case).or_default().insert(way, (first, duplicate));
        }
        world.host.stop().await;
    }
    measured
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_transaction_costs_is_as_documented() {
    let measured = measure().await;
    let mut rows = Vec::new();
    for ((writes, reads, value), ways) in &measured {
        let keys = if *writes == 1 { "key" } else { "keys" };
        let before = if *reads > 0 { ", read before" } else { "" };
        let cells = ways.values().map(|(first, _)| {
            assert_eq!(first.refused, 0, "{first:?}");
            format!("{}, {}: ${:.2}", first.writes, first.reads, first.dollars())
        });
        rows.push(format!("| {writes} {keys} of {value} bytes{before} | {} |", cells.collect::<Vec<_>>().join(" | ")));
    }
    for (way, (_, duplicate)) in &measured[&(2, 0, 200)] {
        match way {
            // The handler runs beside the look-up of the record, and gets as far as it gets. At worst its commit is refused.
            Way::Aft | Way::Serializable => {
                assert!(duplicate.writes == 0.0 && duplicate.refused <= 1, "{duplicate:?}");
                assert!((1.0..=6.0).contains(&duplicate.reads), "{duplicate:?}");
            }
            Way::Powertools => assert_eq!((duplicate.requests, duplicate.refused), (1, 1), "{duplicate:?}"),
            // By its token, within ten minutes; engines differ in what they count for that.
            Way::Transaction => {}
        }
    }
    let document = fs::read_to_string(repository().join("docs/cost.md")).unwrap();
    for row in &rows {
        assert!(document.lines().any(|line| line == row), "docs/cost.md lacks\n{}", rows.join("\n"));
    }
}
