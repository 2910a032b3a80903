//! The bank: money neither appears nor vanishes, and each transfer happens once.

use std::collections::BTreeMap;
use std::sync::Arc;

use aft_cli::Host;
use aft_tests::examples::{Emulated, Function, Language, World, document, invoke, succeed};
use aft_tests::faults::{self, Fault, Faults};
use fastrand::Rng;
use serde_json::{Value, json};
use tokio::task::JoinSet;

const BANK: Function = Function { folder: "examples/bank", handler: "app.handler", language: Language::Python };

/// Without AFT, the receipt and the two accounts are read first; this request takes the money.
const TAKEN: usize = 4;

pub(super) const TESTS: &[super::Test] = super::list![
    a_transfer_that_is_cut_off_anywhere_happens_once,
    no_money_appears_or_vanishes,
    an_answer_is_kept_and_a_wrong_request_is_not_tried_again,
    under_awss_emulator_a_transfer_that_is_killed_half_way_happens_once,
    before_aft_a_transfer_that_is_cut_off_takes_the_money_twice,
    before_aft_a_lost_answer_takes_the_money_twice,
    before_aft_an_audit_finds_money_missing,
    the_unit_tests_of_the_bank_pass,
];

async fn open(bank: &Host, account: &str, balance: u64) {
    succeed(bank, &json!({"open": {"account": account, "balance": balance}})).await;
}

async fn audit(bank: &Host, accounts: &[&str]) -> Value {
    succeed(bank, &json!({ "audit": accounts })).await
}

fn transfer(id: &str, from: &str, to: &str, amount: u64) -> Value {
    json!({"transfer": {"id": id, "from": from, "to": to, "amount": amount}})
}

fn receipt(transfer: &Value, state: &str) -> Value {
    let mut receipt = transfer["transfer"].clone();
    receipt["state"] = json!(state);
    receipt
}

async fn a_transfer_that_is_cut_off_anywhere_happens_once() {
    let world = World::start().await;
    let bank = world.with_aft(BANK, 1).await;
    open(&bank, "ada", 1_000).await;
    open(&bank, "bob", 0).await;
    let mut moved = 0;
    for fault in faults::ALL {
        let mut cut_off = 0;
        for requests in 1.. {
            let wanted = transfer(&format!("{fault:?}-{requests}"), "ada", "bob", 10);
            world.faults.after(requests, fault);
            let first = invoke(&bank, &wanted, None).await;
            let is_over = world.faults.end();
            // Of a sandbox that ends, the caller hears, and asks again. All else is made up for unseen.
            assert_eq!(first.succeeded(), fault != Fault::Sandbox || is_over, "{fault:?} after {requests}: {first:?}");
            assert_eq!(succeed(&bank, &wanted).await, receipt(&wanted, "done"), "{fault:?} after {requests}");
            moved += 10;
            let balances = json!({"ada": 1_000 - moved, "bob": moved});
            assert_eq!(audit(&bank, &["ada", "bob"]).await, json!({"balances": balances, "sum": 1_000}));
            if is_over {
                break;
            }
            cut_off += 1;
        }
        assert_eq!(cut_off, 4, "one read and three writes");
    }
    bank.stop().await;
}

/// Transfers between any accounts in three sandboxes, each wanted twice at the same time, audits beside them, and faults.
async fn no_money_appears_or_vanishes() {
    const ACCOUNTS: [&str; 4] = ["ada", "bob", "cy", "di"];
    let world = World::start().await;
    let bank = Arc::new(world.with_aft(BANK, 3).await);
    for account in ACCOUNTS {
        open(&bank, account, 100).await;
    }
    let mut random = Rng::with_seed(7);
    world.faults.often(7, 25, &[Fault::Error, Fault::Error, Fault::Exit, Fault::Kill]);
    let mut wanted = Vec::new();
    for number in 0..24 {
        let from = random.usize(..ACCOUNTS.len());
        let to = (from + random.usize(1..ACCOUNTS.len())) % ACCOUNTS.len();
        wanted.push(transfer(&format!("t-{number}"), ACCOUNTS[from], ACCOUNTS[to], random.u64(1..=60)));
    }
    let audits = wanted.iter().step_by(4).map(|_| json!({ "audit": ACCOUNTS }));
    let mut events: Vec<Value> = wanted.iter().chain(&wanted).cloned().chain(audits).collect();
    random.shuffle(&mut events);
    let mut asked = JoinSet::new();
    for event in events {
        let bank = Arc::clone(&bank);
        asked.spawn(async move {
            // Whoever gets an error asks again.
            for _ in 0..20 {
                let result = invoke(&bank, &event, None).await;
                if result.succeeded() {
                    return (event, document(&result));
                }
            }
            panic!("{event} never succeeded");
        });
    }
    let mut receipts = BTreeMap::new();
    while let Some(answered) = asked.join_next().await {
        let (event, answer) = answered.unwrap();
        match event["transfer"]["id"].as_str() {
            None => assert_eq!(answer["sum"], 400, "{answer}"),
            Some(id) => {
                let first = receipts.entry(id.to_owned()).or_insert_with(|| answer.clone());
                assert_eq!(*first, answer, "whoever asks gets the same receipt");
            }
        }
    }
    world.faults.end();
    let mut balances = BTreeMap::from(ACCOUNTS.map(|account| (account, 100)));
    for receipt in receipts.values().filter(|receipt| receipt["state"] == "done") {
        let amount = receipt["amount"].as_i64().unwrap();
        *balances.get_mut(receipt["from"].as_str().unwrap()).unwrap() -= amount;
        *balances.get_mut(receipt["to"].as_str().unwrap()).unwrap() += amount;
    }
    assert_eq!(receipts.len(), wanted.len());
    assert_eq!(audit(&bank, &ACCOUNTS).await, json!({"balances": balances, "sum": 400}));
    assert!(balances.values().all(|balance| *balance >= 0), "{balances:?}");
    Arc::into_inner(bank).unwrap().stop().await;
}

async fn an_answer_is_kept_and_a_wrong_request_is_not_tried_again() {
    let world = World::start().await;
    let bank = world.with_aft(BANK, 1).await;
    open(&bank, "ada", 10).await;
    open(&bank, "bob", 100).await;

    let too_much = transfer("t-1", "ada", "bob", 30);
    let refused = receipt(&too_much, "refused: not enough money");
    assert_eq!(succeed(&bank, &too_much).await, refused);
    succeed(&bank, &transfer("t-2", "bob", "ada", 50)).await;
    assert_eq!(succeed(&bank, &too_much).await, refused, "there would be enough by now, but this was answered");

    let another = invoke(&bank, &transfer("t-1", "ada", "bob", 5), None).await;
    assert_eq!(document(&another)["errorType"], "Aft.PayloadMismatch", "{another:?}");

    let before = world.faults.seen().len();
    let nobody = invoke(&bank, &transfer("t-3", "ada", "nobody", 5), None).await;
    assert_eq!(document(&nobody)["errorType"], "InvalidRequest", "{nobody:?}");
    assert_eq!(world.faults.seen().len() - before, 1, "the handler read once, and did not run again");
    assert_eq!(audit(&bank, &["ada", "bob"]).await, json!({"balances": {"ada": 60, "bob": 50}, "sum": 110}));
    bank.stop().await;
}

async fn under_awss_emulator_a_transfer_that_is_killed_half_way_happens_once() {
    let faults = Faults::start().await;
    let mut bank = Emulated::start(BANK, "bank", &faults).await;
    for event in ["open-ada.json", "open-bob.json"] {
        bank.invoke(&BANK.event(event)).await;
    }
    let wanted = BANK.event("transfer.json");
    faults.after(2, Fault::Kill);
    assert_eq!(bank.invoke(&wanted).await, receipt(&wanted, "done"));
    assert!(!faults.end(), "it was killed between its writes");
    assert_eq!(bank.invoke(&wanted).await, receipt(&wanted, "done"));
    let balances = json!({"ada": 70, "bob": 50});
    assert_eq!(bank.invoke(&BANK.event("audit.json")).await, json!({"balances": balances, "sum": 120}));
}

async fn before_aft_a_transfer_that_is_cut_off_takes_the_money_twice() {
    let world = World::start().await;
    let bank = world.before_aft(BANK, 1).await;
    open(&bank, "ada", 100).await;
    open(&bank, "bob", 0).await;
    let wanted = transfer("t-1", "ada", "bob", 10);
    world.faults.after(TAKEN, Fault::Kill);
    let cut_off = invoke(&bank, &wanted, Some("r-1")).await;
    assert!(!cut_off.succeeded() && !world.faults.end(), "{cut_off:?}");
    assert_eq!(audit(&bank, &["ada", "bob"]).await, json!({"balances": {"ada": 90, "bob": 0}, "sum": 90}));
    // Lambda's retry has the same request ID. The receipt that would stop it was never written.
    assert!(invoke(&bank, &wanted, Some("r-1")).await.succeeded());
    assert_eq!(audit(&bank, &["ada", "bob"]).await, json!({"balances": {"ada": 80, "bob": 10}, "sum": 90}));
    bank.stop().await;
}

/// Nothing fails, as far as anybody is told: the SDK repeats what was not answered, and the addition takes place twice.
async fn before_aft_a_lost_answer_takes_the_money_twice() {
    let world = World::start().await;
    let bank = world.before_aft(BANK, 1).await;
    open(&bank, "ada", 100).await;
    open(&bank, "bob", 0).await;
    world.faults.after(TAKEN, Fault::Lost);
    let wanted = transfer("t-1", "ada", "bob", 10);
    assert_eq!(succeed(&bank, &wanted).await, receipt(&wanted, "done"));
    assert_eq!(audit(&bank, &["ada", "bob"]).await, json!({"balances": {"ada": 80, "bob": 10}, "sum": 90}));
    bank.stop().await;
}

async fn before_aft_an_audit_finds_money_missing() {
    let world = World::start().await;
    let bank = Arc::new(world.before_aft(BANK, 2).await);
    open(&bank, "ada", 100).await;
    open(&bank, "bob", 0).await;
    let mut held = world.faults.hold_after(TAKEN);
    let transferring = Arc::clone(&bank);
    let transferred = tokio::spawn(async move { succeed(&transferring, &transfer("t-1", "ada", "bob", 10)).await });
    held.reached().await;
    assert_eq!(audit(&bank, &["ada", "bob"]).await["sum"], 90, "of 100");
    held.go();
    transferred.await.unwrap();
    assert_eq!(audit(&bank, &["ada", "bob"]).await["sum"], 100);
    Arc::into_inner(bank).unwrap().stop().await;
}

async fn the_unit_tests_of_the_bank_pass() {
    BANK.unit_tests();
}
