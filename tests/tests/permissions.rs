//! The permissions that the template and the documentation give to a function are those that the layer needs: no fewer, and no
//! more.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use aft_tests::world::{FIRST, Setup, World};
use serde_json::{Value, json};

const FUNCTION: &str = env!("CARGO_BIN_EXE_witnessed-function");

/// An operation, and whether it is on the data table or on the transaction table.
type Permissions = BTreeSet<(String, &'static str)>;

const DATA: &str = "data table";
const TRANSACTIONS: &str = "transaction table";

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap()
}

/// What the policy in `template.yaml` allows to a function on the tables.
fn of_the_template() -> Permissions {
    let template = read("template.yaml");
    let (_, policy) = template.split_once("\n  FunctionPolicy:\n").unwrap();
    let lines = policy.lines().take_while(|line| line.is_empty() || line.starts_with("   "));
    let (mut permissions, mut actions) = (Permissions::new(), Vec::new());
    for line in lines.map(str::trim) {
        if let Some(list) = line.strip_prefix("Action: [") {
            actions = list.trim_end_matches(']').split(", ").collect();
        }
        if let Some(table) = line.strip_prefix("Resource: !GetAtt ") {
            let table = if table == "DataTable.Arn" { DATA } else { TRANSACTIONS };
            permissions.extend(actions.drain(..).map(|action| (operation(action), table)));
        }
    }
    permissions
}

/// What is allowed to a function in `docs/iam.md`.
fn of_the_document() -> Permissions {
    let document = read("docs/iam.md");
    let (_, section) = document.split_once("\n## The function\n").unwrap();
    let policy = section.split("```").nth(1).unwrap().trim_start_matches("json");
    let policy: Value = serde_json::from_str(policy).unwrap();
    let mut permissions = Permissions::new();
    for statement in policy["Statement"].as_array().unwrap() {
        assert_eq!(statement["Effect"], "Allow");
        let resource = statement["Resource"].as_str().unwrap();
        let table = if resource.ends_with(":table/orders") { DATA } else { TRANSACTIONS };
        assert!(resource.ends_with(":table/orders") || resource.ends_with(":table/orders-transactions"), "{resource}");
        let actions = statement["Action"].as_array().unwrap().iter();
        permissions.extend(actions.map(|action| (operation(action.as_str().unwrap()), table)));
    }
    permissions
}

fn operation(action: &str) -> String {
    action.strip_prefix("dynamodb:").unwrap().to_owned()
}

/// What the layer sends to DynamoDB, in a run that leaves out nothing that it does: reads, batches, a commit in one item and one
/// in chunks, a duplicate whose response is in chunks, claims and their release, explicit transactions; a write under a
/// condition, a serializable transaction that writes one key and only reads another, and one that only reads.
async fn of_the_layer() -> Permissions {
    let mut sent = of_the_default().await;
    sent.extend(of_a_serializable_function().await);
    sent
}

async fn of_the_default() -> Permissions {
    let world = World::start(Setup::new(FUNCTION).first("AFT_IN_PROGRESS", "refuse")).await;
    let batch = json!([
        { "method": "GET", "path": "/v1/kv/a" },
        { "method": "POST", "path": "/v1/kv:batchGet", "body": { "keys": ["a", "b", "c"] } },
        { "method": "POST", "path": "/v1/kv:batchWrite", "body": { "writes": [{ "key": "c", "value": "1" }, { "key": "d", "delete": true }] } },
    ]);
    let explicit = json!([
        { "method": "POST", "path": "/v1/transactions", "body": { "key": "message-1", "payload": "{}" } },
        { "method": "PUT", "path": "/v1/kv/e", "within": true, "body": "1" },
        { "method": "POST", "path": "/v1/transactions/{transaction}:commit", "body": "done" },
    ]);
    let guarded = json!([{ "method": "PUT", "path": "/v1/kv/new", "ifNoneMatch": "*", "body": "1" }]);
    for (request, event) in [
        ("batch", json!({ "do": "ask", "requests": batch })),
        ("guarded", json!({ "do": "ask", "requests": guarded })),
        ("explicit", json!({ "do": "ask", "requests": explicit })),
        ("refused", json!({ "do": "ask", "requests": [{ "method": "GET", "path": "/v1/no-such-route" }] })),
        ("chunks", json!({ "do": "write", "padding": 1_000_000 })),
        ("chunks", json!({ "do": "write", "padding": 1_000_000 })),
    ] {
        let result = world.invoke(FIRST, request, &event).await;
        assert_eq!(result.succeeded(), request != "refused", "{request}: {result:?}\n{}", world.log());
    }
    assert_eq!(world.witness.runs(FIRST, "chunks"), 2, "the second found the first one's commit when it was through");
    permissions(world).await
}

async fn of_a_serializable_function() -> Permissions {
    let world = World::start(Setup::new(FUNCTION).first("AFT_ISOLATION", "serializable")).await;
    let write = json!([
        { "method": "GET", "path": "/v1/kv/a" },
        { "method": "PUT", "path": "/v1/kv/e", "body": "1" },
    ]);
    for (request, event) in
        [("write", json!({ "do": "ask", "requests": write })), ("read", json!({ "do": "read", "keys": ["a", "e"] }))]
    {
        let result = world.invoke(FIRST, request, &event).await;
        assert!(result.succeeded(), "{request}: {result:?}\n{}", world.log());
    }
    permissions(world).await
}

async fn permissions(world: World) -> Permissions {
    let sent = world.proxy.operations();
    world.stop().await;
    sent.into_iter().map(|(name, table)| (name, if table == "data" { DATA } else { TRANSACTIONS })).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_functions_policy_is_what_the_layer_needs() {
    let needed = of_the_layer().await;
    assert!(needed.len() >= 7, "{needed:?}");
    assert_eq!(of_the_template(), needed, "template.yaml");
    assert_eq!(of_the_document(), needed, "docs/iam.md");
}
