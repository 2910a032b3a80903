//! The order pipeline: every message happens once, whole, or not at all, behind a queue that delivers again and again.
//!
//! What happened is counted outside AFT, by the requests that the apps make.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aft_cli::Host;
use aft_tests::examples::{Emulated, Function, Language, World, document, invoke, succeed};
use aft_tests::faults::{self, Fault, Faults};
use aft_tests::sqs::{Message, Queue};
use fastrand::Rng;
use serde_json::{Value, json};

const ORDERS: Function = Function { folder: "examples/orders", handler: "app.handler", language: Language::Python };

/// The same in Node.js, for AFT's library.
const IN_NODE: Function =
    Function { folder: "tests/functions/orders-node", handler: "app.handler", language: Language::Node };

/// More than any message that can succeed needs, however its deliveries coincide with others' kills.
const MAX_DELIVERIES: u32 = 25;

/// What there is of each item at first.
const STOCK: u64 = 1_000;

/// Without AFT, mark and order are looked for first; this request takes from the stock.
const TAKEN: usize = 3;

pub(super) const TESTS: &[super::Test] = super::list![
    every_message_of_a_queue_happens_once_in_python,
    what_fails_is_delivered_again_without_the_rest_of_its_batch,
    under_awss_emulator_a_batch_that_is_killed_half_way_happens_once,
    before_aft_a_message_that_is_cut_off_takes_the_stock_twice,
    before_aft_a_message_in_two_sandboxes_takes_the_stock_twice,
    the_unit_tests_of_the_orders_pass,
];

pub(super) const IN_NODE_JS: &[super::Test] = super::list![every_message_of_a_queue_happens_once_in_node];

async fn every_message_of_a_queue_happens_once_in_python() {
    exactly_once(ORDERS, 1).await;
}

async fn every_message_of_a_queue_happens_once_in_node() {
    exactly_once(IN_NODE, 2).await;
}

/// A standard queue and a FIFO queue, one after the other, with everything that can go wrong.
async fn exactly_once(function: Function, seed: u64) {
    let world = World::start().await;
    let host = world.with_aft(function, 2).await;
    let mut random = Rng::with_seed(seed);
    for items in [24, 2] {
        let is_fifo = items == 2;
        let group = |item: &str| is_fifo.then(|| item.to_owned());
        let names: Vec<String> = (0..items).map(|number| format!("item-{items}-{number}")).collect();
        for (number, item) in names.iter().enumerate() {
            let body = json!({"restock": item, "quantity": STOCK});
            let restock = [Message::new(format!("restock-{items}-{number}"), body, group(item))];
            succeed(&host, &Queue::new(restock.to_vec(), 1, 0).event(&restock)).await;
        }
        let mut sent: Vec<Message> = (0..24)
            .map(|number| {
                let (item, id) = (&names[number % items], format!("{items}-{number}"));
                let body = json!({"order": id, "item": item, "quantity": random.u64(1..=20)});
                Message::new(id, body, group(item))
            })
            .collect();
        if !is_fifo {
            // In a FIFO queue it would take those behind it along to the dead letters, as on SQS.
            let hopeless = json!({"order": "hopeless", "item": "nothing", "quantity": 1});
            sent.push(Message::new("hopeless", hopeless, None));
        }
        world.faults.often(random.u64(..), 20, &faults::ALL);
        let mut queue = Queue::new(sent.clone(), MAX_DELIVERIES, random.u64(..));
        let acknowledged = deliver_all(&world, &host, &mut queue, &mut random).await;
        world.faults.end();
        check(&world, &sent, &acknowledged).await;
    }
    host.stop().await;
}

/// Delivers until nothing waits, now and then to two sandboxes at the same time. Returns what was acknowledged.
async fn deliver_all(world: &World, host: &Host, queue: &mut Queue, random: &mut Rng) -> BTreeSet<String> {
    let mut runs = BTreeMap::new();
    let (sent, mut delivered, mut twins) = (queue.waiting(), 0, 0);
    while let Some(batch) = queue.receive() {
        let event = queue.event(&batch);
        delivered += batch.len();
        let acknowledged = if random.u32(..3) == 0 {
            twins += 1;
            let (first, second) = tokio::join!(invoke(host, &event, None), invoke(host, &event, None));
            &queue.settle(&batch, &first) | &queue.settle(&batch, &second)
        } else {
            queue.settle(&batch, &invoke(host, &event, None).await)
        };
        // A kill may have come between an answer and the other delivery's end: all must be quiet to be counted.
        host.settled().await;
        for id in acknowledged {
            let now = world.faults.count(&format!("PUT /v1/kv/order%2F{id}"));
            let then = *runs.entry(id.clone()).or_insert(now);
            assert_eq!(now, then, "{id} had committed, and its work ran again");
        }
    }
    assert!(
        delivered > sent && twins > 0,
        "{delivered} deliveries of {sent} messages, {twins} batches to two sandboxes"
    );
    runs.into_keys().collect()
}

/// Every message's effect is there once and whole; of one that never succeeds there is nothing.
async fn check(world: &World, sent: &[Message], acknowledged: &BTreeSet<String>) {
    let mut left: BTreeMap<&str, u64> = BTreeMap::new();
    for message in sent {
        let (order, shipment) = (
            world.value(&format!("order/{}", message.id)).await,
            world.value(&format!("shipment/{}", message.id)).await,
        );
        if message.id == "hopeless" {
            assert!(order.is_none() && shipment.is_none() && !acknowledged.contains("hopeless"), "{order:?}");
            continue;
        }
        assert!(acknowledged.contains(&message.id), "{} was never acknowledged", message.id);
        let (item, quantity) = (message.body["item"].as_str().unwrap(), &message.body["quantity"]);
        let left = left.entry(item).or_insert(STOCK);
        *left -= quantity.as_u64().unwrap();
        assert_eq!(order, Some(json!({"item": item, "quantity": quantity, "state": "accepted"})));
        // In the order in which a FIFO queue keeps them.
        assert_eq!(shipment, Some(json!({"item": item, "quantity": quantity, "left": *left})), "{}", message.id);
    }
    for (item, left) in left {
        assert_eq!(world.value(&format!("stock/{item}")).await, Some(json!({ "left": left })), "{item}");
    }
}

/// What a response reports as failed.
fn failed(response: &Value) -> Vec<&str> {
    let failures = response["batchItemFailures"].as_array().unwrap();
    failures.iter().map(|failure| failure["itemIdentifier"].as_str().unwrap()).collect()
}

fn message_id(event: &Value, position: usize) -> &str {
    event["Records"][position]["messageId"].as_str().unwrap()
}

async fn what_fails_is_delivered_again_without_the_rest_of_its_batch() {
    let world = World::start().await;
    let host = world.with_aft(ORDERS, 1).await;
    // There were never any mangos: the order for one fails, and on a FIFO queue what follows waits for it.
    let batch = ORDERS.event("batch.json");
    let response = succeed(&host, &batch).await;
    assert_eq!(failed(&response), [message_id(&batch, 2), message_id(&batch, 3)]);
    assert_eq!(world.value("stock/apple").await, Some(json!({"left": 8})));
    assert_eq!((world.value("order/o-2").await, world.value("order/o-3").await), (None, None));

    // SQS delivers one that had succeeded, too: its deletion got lost.
    let response = succeed(&host, &ORDERS.event("redelivered.json")).await;
    assert_eq!(failed(&response), [""; 0]);
    assert_eq!(world.value("stock/apple").await, Some(json!({"left": 5})));
    assert_eq!(world.faults.count("PUT /v1/kv/order%2Fo-1"), 1, "it was passed over");

    // Sent twice, it is another message and the same order.
    let mut again = ORDERS.event("redelivered.json");
    again["Records"][0]["messageId"] = json!("moved-back-from-the-dead-letters");
    assert_eq!(failed(&succeed(&host, &again).await), [""; 0]);
    assert_eq!(world.value("stock/apple").await, Some(json!({"left": 5})));
    host.stop().await;
}

async fn under_awss_emulator_a_batch_that_is_killed_half_way_happens_once() {
    let faults = Faults::start().await;
    let mut orders = Emulated::start(ORDERS, "orders", &faults).await;
    let batch = ORDERS.event("batch.json");
    // Four requests for the restocking; begin, two reads and the order's record: it is killed before the stock is written.
    faults.after(8, Fault::Kill);
    let response = orders.invoke(&batch).await;
    assert!(!faults.end(), "it was killed");
    assert_eq!(failed(&response), [message_id(&batch, 2), message_id(&batch, 3)]);
    assert_eq!(faults.count("PUT /v1/kv/order%2Fo-1"), 2, "once before the kill");
    assert_eq!(faults.count("PUT /v1/kv/stock%2Fapple"), 2, "the restocking had committed, and was passed over");
    assert_eq!(orders.value("stock/apple").await, Some(json!({"left": 8})));
    assert_eq!(failed(&orders.invoke(&ORDERS.event("redelivered.json")).await), [""; 0]);
    assert_eq!(orders.value("stock/apple").await, Some(json!({"left": 5})));
    assert_eq!(orders.value("shipment/o-3").await, Some(json!({"item": "apple", "quantity": 3, "left": 5})));
}

/// A world without AFT, with ten apples, and the delivery of an order for two.
async fn before_aft() -> (World, Arc<Host>, Value) {
    let world = World::start().await;
    let host = world.before_aft(ORDERS, 2).await;
    let mut restock = ORDERS.event("batch.json");
    let records = restock["Records"].as_array_mut().unwrap();
    let order = json!({ "Records": [records[1].clone()] });
    records.truncate(1);
    assert_eq!(failed(&succeed(&host, &restock).await), [""; 0]);
    (world, Arc::new(host), order)
}

/// The stock of apples, and how many orders and shipments there are.
async fn apples(world: &World) -> (Value, [usize; 2]) {
    let items = world.plain_items().await;
    let key = |item: &Value| item["pk"].as_str().unwrap().to_owned();
    let stock = items.iter().find(|item| key(item) == "stock/apple").unwrap();
    let count = |kind: &str| items.iter().filter(|item| key(item).starts_with(kind)).count();
    (stock["left"].clone(), [count("order/"), count("shipment/")])
}

async fn before_aft_a_message_that_is_cut_off_takes_the_stock_twice() {
    let (world, host, order) = before_aft().await;
    world.faults.after(TAKEN, Fault::Kill);
    let killed = invoke(&host, &order, None).await;
    assert!(!killed.succeeded() && !world.faults.end(), "{killed:?}");
    assert_eq!(apples(&world).await, (json!(8), [0, 0]), "taken for nobody");
    // The mark that would stop the redelivery was never written.
    assert_eq!(failed(&succeed(&host, &order).await), [""; 0]);
    assert_eq!(apples(&world).await, (json!(6), [1, 1]), "two apples were ordered, of ten");
    Arc::into_inner(host).unwrap().stop().await;
}

async fn before_aft_a_message_in_two_sandboxes_takes_the_stock_twice() {
    let (world, host, order) = before_aft().await;
    // Mark and order are not there; before it goes on, the other delivery is done.
    let mut held = world.faults.hold_after(TAKEN - 1);
    let (slow, delivered) = (Arc::clone(&host), order.clone());
    let slow = tokio::spawn(async move { document(&invoke(&slow, &delivered, None).await) });
    held.reached().await;
    assert_eq!(failed(&succeed(&host, &order).await), [""; 0]);
    held.go();
    assert_eq!(failed(&slow.await.unwrap()), [""; 0], "both say that all is well");
    assert_eq!(apples(&world).await, (json!(6), [1, 1]), "two apples were ordered, of ten");
    Arc::into_inner(host).unwrap().stop().await;
}

async fn the_unit_tests_of_the_orders_pass() {
    ORDERS.unit_tests();
}
