//! The checkout: one order for an `Idempotency-Key`, and never more of anything than there is.

use std::sync::Arc;

use aft_cli::Host;
use aft_tests::examples::{Emulated, Function, Language, World, invoke, succeed};
use aft_tests::faults::{Fault, Faults};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

const CHECKOUT: Function = Function { folder: "examples/checkout", handler: "app.handler", language: Language::Node };

/// Without AFT, the response that was kept is looked for, and the item read; this request takes it from the stock.
const TAKEN: usize = 3;

pub(super) const IN_NODE_JS: &[super::Test] = super::list![
    a_checkout_that_is_cut_off_anywhere_makes_one_order,
    a_double_click_makes_one_order,
    the_last_one_is_sold_once,
    what_is_refused_leaves_nothing_behind,
    under_awss_emulator_a_checkout_that_is_killed_half_way_makes_one_order,
    before_aft_a_checkout_that_is_cut_off_makes_two_orders,
    before_aft_a_checkout_that_is_cut_off_loses_its_coupon,
    before_aft_a_double_click_makes_two_orders,
    the_unit_tests_of_the_checkout_pass,
];

/// Ten apples.
async fn stock(host: &Host) {
    assert_eq!(succeed(host, &CHECKOUT.event("stock.json")).await["statusCode"], 200);
}

/// One of this body under this key.
fn order(key: &str, body: &Value) -> Value {
    let mut event = CHECKOUT.event("order.json");
    event["headers"]["idempotency-key"] = json!(key);
    event["body"] = json!(body.to_string());
    event
}

fn apples(quantity: u64) -> Value {
    json!({"items": [{"sku": "apple", "quantity": quantity}]})
}

/// Status and body of an HTTP response.
fn read(response: &Value) -> (u64, Value) {
    let body = response["body"].as_str().unwrap_or_else(|| panic!("{response}"));
    (response["statusCode"].as_u64().unwrap(), serde_json::from_str(body).unwrap())
}

async fn left(world: &World, sku: &str) -> Value {
    world.value(&format!("stock/{sku}")).await.unwrap()["left"].clone()
}

/// What is asked for while somebody else is held.
fn asking(host: &Arc<Host>, event: Value) -> JoinHandle<Value> {
    let host = Arc::clone(host);
    tokio::spawn(async move { succeed(&host, &event).await })
}

async fn stop(host: Arc<Host>) {
    Arc::into_inner(host).unwrap().stop().await;
}

async fn a_checkout_that_is_cut_off_anywhere_makes_one_order() {
    let world = World::start().await;
    let host = world.with_aft(CHECKOUT, 1).await;
    for fault in [Fault::Lost, Fault::Exit, Fault::Kill, Fault::Sandbox] {
        let mut cut_off = 0;
        for requests in 1.. {
            stock(&host).await;
            succeed(&host, &CHECKOUT.event("coupon.json")).await;
            let body = json!({"items": [{"sku": "apple", "quantity": 2}], "coupon": "WELCOME"});
            let wanted = order(&format!("{fault:?}-{requests}"), &body);
            world.faults.after(requests, fault);
            let first = invoke(&host, &wanted, None).await;
            let is_over = world.faults.end();
            // Of a sandbox that ends, the caller hears, and asks again. All else is made up for unseen.
            assert_eq!(first.succeeded(), fault != Fault::Sandbox || is_over, "{fault:?} after {requests}: {first:?}");
            let response = succeed(&host, &wanted).await;
            assert_eq!(succeed(&host, &wanted).await, response, "the order's ID is random, and yet the same");
            let (status, made) = read(&response);
            assert_eq!((status, &made["total"]), (201, &json!(400)));
            let id = made["id"].as_str().unwrap();
            assert_eq!(world.value(&format!("order/{id}")).await, Some(made.clone()));
            assert_eq!(world.value("coupon/WELCOME").await, Some(json!({"off": 100, "usedBy": id})));
            assert_eq!(left(&world, "apple").await, 8, "{fault:?} after {requests}");
            if is_over {
                break;
            }
            cut_off += 1;
        }
        assert!(cut_off >= 4, "one read and three writes, and what is sent again: {cut_off}");
    }
    host.stop().await;
}

/// One order twice at the same time: the second one comes, and is answered, while the first one waits after its first request.
async fn double_click(world: &World, host: &Arc<Host>) -> (Value, Value) {
    let wanted = order("double-click", &apples(2));
    let mut held = world.faults.hold_after(1);
    let slow = asking(host, wanted.clone());
    held.reached().await;
    let fast = succeed(host, &wanted).await;
    held.go();
    (fast, slow.await.unwrap())
}

async fn a_double_click_makes_one_order() {
    let world = World::start().await;
    let host = Arc::new(world.with_aft(CHECKOUT, 2).await);
    stock(&host).await;
    let (fast, slow) = double_click(&world, &host).await;
    assert_eq!(slow, fast);
    assert_eq!(read(&fast).0, 201);
    assert_eq!(left(&world, "apple").await, 8);
    stop(host).await;
}

async fn the_last_one_is_sold_once() {
    let world = World::start().await;
    let host = Arc::new(world.with_aft(CHECKOUT, 2).await);
    stock(&host).await;
    let mut held = world.faults.hold_after(1);
    // Both have read that there are ten.
    let slow = asking(&host, order("slow", &apples(6)));
    held.reached().await;
    assert_eq!(read(&succeed(&host, &order("fast", &apples(7))).await).0, 201);
    held.go();
    assert_eq!(read(&slow.await.unwrap()), (409, json!({"message": "there are only 3 of apple"})));
    assert_eq!(left(&world, "apple").await, 3);
    stop(host).await;
}

async fn what_is_refused_leaves_nothing_behind() {
    let world = World::start().await;
    let host = world.with_aft(CHECKOUT, 1).await;
    stock(&host).await;
    let mut no_json = order("no-json", &apples(1));
    no_json["body"] = json!("{");
    let mut no_key = order("", &apples(1));
    no_key["headers"].as_object_mut().unwrap().remove("idempotency-key");
    // The apples were written before the pear was missed.
    let pears = json!({"items": [{"sku": "apple", "quantity": 1}, {"sku": "pear", "quantity": 1}]});
    let too_many = order("too-many", &apples(11));
    for (event, status) in [
        (&no_json, 400),
        (&no_key, 400),
        (&order("none", &json!({"items": []})), 400),
        (&order("twice", &json!({"items": [{"sku": "apple", "quantity": 1}, {"sku": "apple", "quantity": 1}]})), 400),
        (&order("pears", &pears), 404),
        (&order("coupon", &json!({"items": [{"sku": "apple", "quantity": 1}], "coupon": "NO"})), 404),
        (&too_many, 409),
    ] {
        let (refused, body) = read(&succeed(&host, event).await);
        assert_eq!(refused, status, "{body}");
        assert_eq!(left(&world, "apple").await, 10, "{body}");
    }
    // What was refused was not recorded: the key may try again.
    let mut restock = CHECKOUT.event("stock.json");
    restock["body"] = json!(json!({"left": 20, "price": 250}).to_string());
    succeed(&host, &restock).await;
    let (status, made) = read(&succeed(&host, &too_many).await);
    assert_eq!((status, &made["total"]), (201, &json!(2_750)));

    // AFT itself answers for another body under a key, and for a key that is none.
    let (status, problem) = read(&succeed(&host, &order("too-many", &apples(1))).await);
    assert_eq!((status, &problem["code"]), (422, &json!("payload-mismatch")));
    let (status, problem) = read(&succeed(&host, &order("", &apples(1))).await);
    assert_eq!((status, &problem["code"]), (400, &json!("malformed-idempotency-key")));
    assert_eq!(left(&world, "apple").await, 9);

    let mut show = CHECKOUT.event("order.json");
    show["routeKey"] = json!("GET /orders/{id}");
    show["pathParameters"] = json!({"id": made["id"]});
    show["headers"].as_object_mut().unwrap().remove("idempotency-key");
    assert_eq!(read(&succeed(&host, &show).await), (200, made));
    host.stop().await;
}

async fn under_awss_emulator_a_checkout_that_is_killed_half_way_makes_one_order() {
    let faults = Faults::start().await;
    let mut shop = Emulated::start(CHECKOUT, "checkout", &faults).await;
    for event in ["stock.json", "coupon.json"] {
        assert_eq!(shop.invoke(&CHECKOUT.event(event)).await["statusCode"], 200);
    }
    let wanted = CHECKOUT.event("order.json");
    faults.after(3, Fault::Kill);
    let response = shop.invoke(&wanted).await;
    assert!(!faults.end(), "it was killed between its writes");
    let (status, made) = read(&response);
    assert_eq!((status, &made["total"]), (201, &json!(400)));
    assert_eq!(shop.invoke(&wanted).await, response);
    assert_eq!(shop.value("stock/apple").await, Some(json!({"left": 8, "price": 250})));
    assert_eq!(shop.value("coupon/WELCOME").await, Some(json!({"off": 100, "usedBy": made["id"]})));
}

/// What there is without AFT: how many orders, and the stock of apples.
async fn without_aft(world: &World) -> (usize, Value) {
    let items = world.plain_items().await;
    let key = |item: &Value| item["pk"].as_str().unwrap().to_owned();
    let stock = items.iter().find(|item| key(item) == "stock/apple").unwrap();
    (items.iter().filter(|item| key(item).starts_with("order/")).count(), stock["left"].clone())
}

async fn before_aft_a_checkout_that_is_cut_off_makes_two_orders() {
    let world = World::start().await;
    let host = world.before_aft(CHECKOUT, 1).await;
    stock(&host).await;
    let wanted = order("cut-off", &apples(2));
    // The order is there; the response is not kept yet.
    world.faults.after(TAKEN + 1, Fault::Kill);
    let killed = invoke(&host, &wanted, None).await;
    assert!(!killed.succeeded() && !world.faults.end(), "{killed:?}");
    assert_eq!(without_aft(&world).await, (1, json!(8)));
    assert_eq!(read(&succeed(&host, &wanted).await).0, 201);
    assert_eq!(without_aft(&world).await, (2, json!(6)), "for one key");
    host.stop().await;
}

async fn before_aft_a_checkout_that_is_cut_off_loses_its_coupon() {
    let world = World::start().await;
    let host = world.before_aft(CHECKOUT, 1).await;
    stock(&host).await;
    succeed(&host, &CHECKOUT.event("coupon.json")).await;
    let wanted = CHECKOUT.event("order.json");
    // The coupon is read and used up; there is no order yet.
    world.faults.after(TAKEN + 2, Fault::Kill);
    let killed = invoke(&host, &wanted, None).await;
    assert!(!killed.succeeded() && !world.faults.end(), "{killed:?}");
    let (status, refusal) = read(&succeed(&host, &wanted).await);
    assert_eq!((status, refusal), (409, json!({"message": "the coupon WELCOME is used up"})));
    assert_eq!(without_aft(&world).await, (0, json!(8)), "no order, and two apples are gone");
    host.stop().await;
}

async fn before_aft_a_double_click_makes_two_orders() {
    let world = World::start().await;
    let host = Arc::new(world.before_aft(CHECKOUT, 2).await);
    stock(&host).await;
    let (fast, slow) = double_click(&world, &host).await;
    assert_eq!((read(&fast).0, read(&slow).0), (201, 201));
    assert_ne!(fast, slow, "two orders");
    assert_eq!(without_aft(&world).await, (2, json!(6)), "for one key");
    stop(host).await;
}

async fn the_unit_tests_of_the_checkout_pass() {
    CHECKOUT.unit_tests();
}
