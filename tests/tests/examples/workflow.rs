//! The workflow of two functions: each step of an execution happens once, however often Step Functions tries it.

use std::fs;
use std::sync::Arc;

use aft_cli::Host;
use aft_tests::examples::{Emulated, Function, Language, World, document, invoke, succeed};
use aft_tests::faults::{Fault, Faults};
use aft_tests::tools::repository;
use serde_json::{Value, json};
use tokio::task::JoinSet;

const FOLDER: &str = "examples/workflow";
const STOCK: Function = Function { folder: FOLDER, handler: "stock.handler", language: Language::Python };
const SHIPPING: Function = Function { folder: FOLDER, handler: "shipping.handler", language: Language::Python };

pub(super) const TESTS: &[super::Test] = super::list![
    a_workflow_that_is_cut_off_anywhere_does_each_step_once,
    executions_at_the_same_time_all_count,
    what_cannot_be_shipped_is_given_back_once,
    under_awss_emulator_a_step_that_is_tried_again_ships_one_parcel,
    before_aft_a_step_that_is_cut_off_takes_the_stock_twice,
    before_aft_a_step_that_is_cut_off_ships_two_parcels,
    the_unit_tests_of_the_workflow_pass,
];

/// Step Functions, as far as `workflow.asl.json` uses it: tasks that invoke these functions, retries without their pauses, catchers.
struct StepFunctions {
    definition: Value,
    stock: Host,
    shipping: Host,
}

/// What became of an execution: its output, or the name of its error.
type Outcome = Result<Value, String>;

impl StepFunctions {
    fn new(stock: Host, shipping: Host) -> Self {
        let text = fs::read_to_string(repository().join(FOLDER).join("workflow.asl.json")).unwrap();
        Self { definition: serde_json::from_str(&text).unwrap(), stock, shipping }
    }

    async fn stop(self) {
        self.stock.stop().await;
        self.shipping.stop().await;
    }

    async fn execute(&self, name: &str, input: Value) -> Outcome {
        let execution = format!("arn:aws:states:us-east-1:123456789012:execution:Orders:{name}");
        let mut current = self.definition["StartAt"].as_str().unwrap();
        let mut data = input;
        loop {
            let state = &self.definition["States"][current];
            if state["Type"] == "Fail" {
                return Err(state["Error"].as_str().unwrap().to_owned());
            }
            let context = json!({"Execution": {"Id": execution}, "State": {"Name": current}});
            current = match self.task(state, &context, &data).await {
                Ok(payload) => {
                    assert_eq!(state["OutputPath"], "$.Payload");
                    data = payload;
                    if state["End"] == true {
                        return Ok(data);
                    }
                    state["Next"].as_str().unwrap()
                }
                Err(error) => {
                    let Some(catcher) = rule(&state["Catch"], &error) else { return Err(error) };
                    assert!(catcher["ResultPath"].is_null(), "the next state gets this one's input");
                    catcher["Next"].as_str().unwrap()
                }
            };
        }
    }

    /// A task, tried as often as it says. Every try is a Lambda request of its own.
    async fn task(&self, state: &Value, context: &Value, data: &Value) -> Outcome {
        let parameters = &state["Parameters"];
        let function = match parameters["FunctionName"].as_str().unwrap() {
            "${StockFunction}" => &self.stock,
            "${ShippingFunction}" => &self.shipping,
            other => panic!("{other} is no function"),
        };
        let payload = filled_in(&parameters["Payload"], context, data);
        for retries in 0.. {
            let result = invoke(function, &payload, None).await;
            if result.succeeded() {
                return Ok(document(&result));
            }
            let error = document(&result)["errorType"].as_str().unwrap_or("Lambda.Unknown").to_owned();
            let retrier = rule(&state["Retry"], &error);
            if retrier.is_none_or(|retrier| retries >= retrier["MaxAttempts"].as_u64().unwrap()) {
                return Err(error);
            }
        }
        unreachable!("a retrier has a limit")
    }
}

/// The first retrier or catcher for an error.
fn rule<'a>(rules: &'a Value, error: &str) -> Option<&'a Value> {
    let covers = |rule: &&Value| {
        let names = rule["ErrorEquals"].as_array().unwrap();
        names.iter().any(|name| name == "States.ALL" || name == error)
    };
    rules.as_array()?.iter().find(covers)
}

/// A payload template: fields whose name ends in `.$` are paths.
fn filled_in(template: &Value, context: &Value, data: &Value) -> Value {
    let field = |(name, value): (&String, &Value)| match name.strip_suffix(".$") {
        None => (name.clone(), value.clone()),
        Some(name) => match value.as_str().unwrap() {
            "$" => (name.to_owned(), data.clone()),
            path => {
                let pointer = path.strip_prefix("$$").unwrap().replace('.', "/");
                (name.to_owned(), context.pointer(&pointer).unwrap().clone())
            }
        },
    };
    Value::Object(template.as_object().unwrap().iter().map(field).collect())
}

fn order(name: &str, country: &str) -> Value {
    json!({"order": name, "item": "apple", "quantity": 2, "country": country})
}

async fn workflow(world: &World, sandboxes: u32, apples: u64) -> StepFunctions {
    let [stock, shipping] = [STOCK, SHIPPING].map(|function| world.with_aft(function, sandboxes));
    let workflow = StepFunctions::new(stock.await, shipping.await);
    succeed(&workflow.stock, &json!({"step": "Restock", "input": {"item": "apple", "quantity": apples}})).await;
    workflow
}

async fn left(world: &World) -> Value {
    world.value("stock/apple").await.unwrap()["left"].clone()
}

/// The order was shipped as its execution says, in one of so many parcels.
async fn shipped(world: &World, outcome: &Value, parcels: u64) {
    let (order, tracking) = (outcome["order"].as_str().unwrap(), outcome["tracking"].as_str().unwrap());
    let kept = world.value(&format!("order/{order}")).await.unwrap();
    assert_eq!((&kept["state"], &kept["tracking"]), (&json!("shipped"), &json!(tracking)));
    let parcel = world.value(&format!("parcel/{tracking}")).await;
    assert_eq!(parcel, Some(json!({"order": order, "carrier": "posten"})));
    assert_eq!(world.value("carrier/posten").await, Some(json!({ "parcels": parcels })));
}

async fn a_workflow_that_is_cut_off_anywhere_does_each_step_once() {
    let world = World::start().await;
    let workflow = workflow(&world, 1, 100).await;
    let mut parcels = 0;
    for fault in [Fault::Error, Fault::Kill, Fault::Sandbox] {
        let mut cut_off = 0;
        for requests in 1.. {
            let name = format!("{fault:?}-{requests}");
            world.faults.after(requests, fault);
            let outcome = workflow.execute(&name, order(&name, "NO")).await.unwrap();
            let is_over = world.faults.end();
            parcels += 1;
            shipped(&world, &outcome, parcels).await;
            assert_eq!(left(&world).await, 100 - 2 * parcels, "{name}");
            // The whole workflow again, as a redrive would: nothing happens, and it ends as it did.
            assert_eq!(workflow.execute(&name, order(&name, "NO")).await.unwrap(), outcome);
            shipped(&world, &outcome, parcels).await;
            if is_over {
                break;
            }
            cut_off += 1;
        }
        assert_eq!(cut_off, 7, "a read and two writes, a read and three writes");
    }
    workflow.stop().await;
}

async fn executions_at_the_same_time_all_count() {
    let world = World::start().await;
    let workflow = Arc::new(workflow(&world, 2, 15).await);
    world.faults.often(3, 20, &[Fault::Error, Fault::Kill]);
    let mut executions = JoinSet::new();
    for number in 0..8 {
        let workflow = Arc::clone(&workflow);
        let name = format!("o-{number}");
        executions.spawn(async move { workflow.execute(&name, order(&name, "NO")).await });
    }
    let outcomes = executions.join_all().await;
    world.faults.end();
    let (done, failed): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!(failed, [Err("OutOfStock".to_owned())], "fifteen apples are enough for seven orders of two");
    for outcome in done {
        shipped(&world, &outcome.unwrap(), 7).await;
    }
    assert_eq!(left(&world).await, 1);
    Arc::into_inner(workflow).unwrap().stop().await;
}

async fn what_cannot_be_shipped_is_given_back_once() {
    let world = World::start().await;
    let workflow = workflow(&world, 1, 10).await;
    for requests in 1.. {
        let name = format!("o-{requests}");
        world.faults.after(requests, Fault::Sandbox);
        assert_eq!(workflow.execute(&name, order(&name, "AQ")).await, Err("NoCarrier".to_owned()));
        let is_over = world.faults.end();
        assert_eq!(left(&world).await, 10, "{name}");
        assert_eq!(world.value(&format!("order/{name}")).await.unwrap()["state"], "released");
        if is_over {
            assert_eq!(requests, 7, "a read and two writes, and the same again");
            break;
        }
    }
    assert_eq!(world.value("carrier/posten").await, None);
    workflow.stop().await;
}

async fn under_awss_emulator_a_step_that_is_tried_again_ships_one_parcel() {
    let faults = Faults::start().await;
    let mut stock = Emulated::start(STOCK, "workflow", &faults).await;
    let mut shipping = Emulated::start(SHIPPING, "workflow", &faults).await;
    assert_eq!(stock.invoke(&STOCK.event("restock.json")).await, json!({"left": 10}));
    let order = STOCK.event("execution.json");
    assert_eq!(stock.invoke(&STOCK.event("reserve.json")).await, order);
    faults.after(3, Fault::Kill);
    let outcome = shipping.invoke(&SHIPPING.event("ship.json")).await;
    assert!(!faults.end(), "it was killed between its writes");
    // The emulator gives each request an ID of its own.
    assert_eq!(shipping.invoke(&SHIPPING.event("ship.json")).await, outcome);
    assert_eq!(stock.invoke(&STOCK.event("reserve.json")).await, order);
    assert_eq!(stock.value("stock/apple").await, Some(json!({"left": 8})));
    assert_eq!(stock.value("carrier/posten").await, Some(json!({"parcels": 1})));
    assert_eq!(stock.value("order/o-17").await.unwrap()["tracking"], outcome["tracking"]);
}

/// A workflow without AFT, with ten apples.
async fn before_aft(world: &World) -> StepFunctions {
    let stock = world.before_aft(STOCK, 1).await;
    let workflow = StepFunctions::new(stock, world.before_aft(SHIPPING, 1).await);
    succeed(&workflow.stock, &STOCK.event("restock.json")).await;
    workflow
}

/// What there is without AFT: the apples that are left, and how many parcels.
async fn without_aft(world: &World) -> (Value, usize) {
    let items = world.plain_items().await;
    let key = |item: &Value| item["pk"].as_str().unwrap().to_owned();
    let stock = items.iter().find(|item| key(item) == "stock/apple").unwrap();
    (stock["left"].clone(), items.iter().filter(|item| key(item).starts_with("parcel/")).count())
}

async fn before_aft_a_step_that_is_cut_off_takes_the_stock_twice() {
    let world = World::start().await;
    let workflow = before_aft(&world).await;
    // Order and stock are read; the third request takes from the stock. Step Functions tries again, and all seems well.
    world.faults.after(3, Fault::Kill);
    workflow.execute("e-1", order("o-1", "NO")).await.unwrap();
    assert!(!world.faults.end());
    assert_eq!(without_aft(&world).await, (json!(6), 1), "two apples were ordered, of ten");
    workflow.stop().await;
}

async fn before_aft_a_step_that_is_cut_off_ships_two_parcels() {
    let world = World::start().await;
    let workflow = before_aft(&world).await;
    // Four requests reserve. The order is read, the carrier's count and a parcel are written: the order does not know of it yet.
    world.faults.after(4 + 3, Fault::Kill);
    let outcome = workflow.execute("e-1", order("o-1", "NO")).await.unwrap();
    assert!(!world.faults.end());
    assert_eq!(without_aft(&world).await, (json!(8), 2), "for one order");
    let tracked = |item: &&Value| item["pk"] == format!("parcel/{}", outcome["tracking"].as_str().unwrap());
    assert_eq!(world.plain_items().await.iter().filter(tracked).count(), 1, "nobody tracks the other one");
    workflow.stop().await;
}

async fn the_unit_tests_of_the_workflow_pass() {
    STOCK.unit_tests();
}
