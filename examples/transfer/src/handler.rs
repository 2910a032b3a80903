//! The function. It knows nothing of transactions: it reads, writes and answers.

use lambda_runtime::LambdaEvent;
use serde_json::Value;

use crate::event::{Account, Audit, Event, LedgerEntry, Statement, Transfer};
use crate::faults::Attempt;
use crate::{Error, KeyValue, shared};

/// Answers one event.
///
/// # Errors
/// What the store says, and what the event asks for.
pub async fn handle(store: &impl KeyValue, event: LambdaEvent<Event>) -> Result<Value, Error> {
    match event.payload {
        Event::Transfer(order) => {
            let attempt = Attempt::of(&event.context.request_id, &order.faults)?;
            Ok(serde_json::to_value(transfer(store, order, attempt).await?)?)
        }
        Event::Audit(order) => Ok(serde_json::to_value(audit(store, order).await?)?),
        Event::Count(order) => Ok(serde_json::to_value(shared::count(store, order, &event.context.request_id).await?)?),
        Event::Pay(order) => Ok(serde_json::to_value(shared::pay(store, order, &event.context.request_id).await?)?),
        Event::Bank(order) => Ok(serde_json::to_value(shared::total(store, order).await?)?),
    }
}

/// Two accounts and a ledger entry: three writes that belong together.
async fn transfer(store: &impl KeyValue, order: Transfer, attempt: Attempt) -> Result<LedgerEntry, Error> {
    let Transfer { customer, transfer, amount, faults } = order;
    let mut checking: Account = store.get(&checking_of(&customer)).await?.unwrap_or_else(Account::opening);
    let mut savings: Account = store.get(&savings_of(&customer)).await?.unwrap_or_default();
    checking.book(-amount, &transfer);
    savings.book(amount, &transfer);

    store.put(&checking_of(&customer), &checking).await?;
    attempt.fail_if_asked(&faults, 1)?;
    store.put(&savings_of(&customer), &savings).await?;
    attempt.fail_if_asked(&faults, 2)?;
    let entry =
        LedgerEntry { transfer: transfer.clone(), amount, checking: checking.balance, savings: savings.balance };
    store.put(&ledger_of(&customer, &transfer), &entry).await?;
    attempt.fail_if_asked(&faults, 3)?;
    Ok(entry)
}

async fn audit(store: &impl KeyValue, order: Audit) -> Result<Statement, Error> {
    let customer = order.customer;
    let checking: Account = store.get(&checking_of(&customer)).await?.unwrap_or_else(Account::opening);
    let savings: Account = store.get(&savings_of(&customer)).await?.unwrap_or_default();
    let last = match checking.transfers.last() {
        Some(transfer) => store.get(&ledger_of(&customer, transfer)).await?,
        None => None,
    };
    let mut ledger = Vec::new();
    for transfer in order.transfers {
        if store.get::<LedgerEntry>(&ledger_of(&customer, &transfer)).await?.is_some() {
            ledger.push(transfer);
        }
    }
    Ok(Statement { checking, savings, last, ledger })
}

fn checking_of(customer: &str) -> String {
    format!("account/{customer}/checking")
}

fn savings_of(customer: &str) -> String {
    format!("account/{customer}/savings")
}

fn ledger_of(customer: &str, transfer: &str) -> String {
    format!("ledger/{customer}/{transfer}")
}
