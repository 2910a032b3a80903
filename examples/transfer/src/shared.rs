//! What many callers change at the same time: a counter, and money between any two accounts of a bank.
//!
//! Each reads, computes and writes what others may just be writing: correct with `AFT_ISOLATION=serializable`, and only then.
//! That is the setting's business; the code is what one would write for one caller.

use crate::event::{Bank, Count, OPENING_BALANCE, Paid, Pay, Total};
use crate::faults::Attempt;
use crate::{Error, KeyValue};

/// Adds one, and answers with what it comes to.
///
/// # Errors
/// What the store says, and what the event asks for.
pub async fn count(store: &impl KeyValue, order: Count, request: &str) -> Result<u64, Error> {
    let attempt = Attempt::of(request, &order.faults)?;
    let value = store.get::<u64>(&order.counter).await?.unwrap_or_default() + 1;
    store.put(&order.counter, &value).await?;
    attempt.fail_if_asked(&order.faults, 1)?;
    Ok(value)
}

/// Moves money, unless it is not there.
///
/// # Errors
/// What the store says, and what the event asks for.
pub async fn pay(store: &impl KeyValue, order: Pay, request: &str) -> Result<Paid, Error> {
    let Pay { from, to, amount, cover, faults } = order;
    let attempt = Attempt::of(request, &faults)?;
    let from_balance = balance(store, &from).await?;
    let cover = match cover {
        Some(cover) => balance(store, &cover).await?,
        None => 0,
    };
    if from_balance + cover < amount {
        // A response and not an error: AFT validates what it was computed from before it releases it.
        return Ok(Paid { paid: false });
    }
    let to_balance = balance(store, &to).await?;
    store.put(&account(&from), &(from_balance - amount)).await?;
    attempt.fail_if_asked(&faults, 1)?;
    store.put(&account(&to), &(to_balance + amount)).await?;
    attempt.fail_if_asked(&faults, 2)?;
    Ok(Paid { paid: true })
}

/// What all accounts hold, and the least that one of them does.
///
/// # Errors
/// What the store says.
pub async fn total(store: &impl KeyValue, order: Bank) -> Result<Total, Error> {
    let keys: Vec<String> = order.accounts.iter().map(|name| account(name)).collect();
    let balances = if order.one_by_one {
        let mut balances = Vec::new();
        for key in &keys {
            balances.push(store.get::<i64>(key).await?);
        }
        balances
    } else {
        store.get_all(&keys).await?
    };
    let balances = balances.into_iter().map(|balance| balance.unwrap_or(OPENING_BALANCE));
    Ok(Total { total: balances.clone().sum(), least: balances.min().unwrap_or_default() })
}

async fn balance(store: &impl KeyValue, name: &str) -> Result<i64, Error> {
    Ok(store.get(&account(name)).await?.unwrap_or(OPENING_BALANCE))
}

fn account(name: &str) -> String {
    format!("bank/{name}")
}
