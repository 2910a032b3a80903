//! The same work written by hand, as AWS's guides show it: a version attribute in each item, and one `TransactWriteItems` with
//! the condition that the versions are still those that were read.
//!
//! * Without a record: who gets no answer cannot know whether the transfer happened, and who does it again may do it twice.
//! * With a record under the transaction's ID in the same step, on the condition that there is none: that is what gives the
//!   guarantee of a commit under AFT.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_get_items::TransactGetItemsError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, Get, KeysAndAttributes, Put, TransactGetItem, TransactWriteItem, Update,
};
use tokio::time::sleep;

use super::client::{Attempted, Task, Teller};
use super::workload::{ACCOUNTS, Account, Work, name};
use crate::Error;
use aft_simulation::paper::random::Random;

/// Keys that one `BatchGetItem` may name.
const BATCH_KEYS: usize = 100;

type Item = HashMap<String, AttributeValue>;

/// An account, and at which version it was read; 0: it was not there.
type Versioned = (Account, u64);

/// The tables that are used.
#[derive(Debug, Clone)]
pub struct Tables {
    /// Accounts, under the string key `k`.
    pub accounts: String,
    /// Records, under the string keys `id` and `part`.
    pub records: String,
}

/// One client.
pub struct ByHand {
    client: Client,
    tables: Tables,
    keeps_record: bool,
    random: Random,
}

impl ByHand {
    /// A client that writes a record with each transfer, or does not.
    #[must_use]
    pub const fn new(client: Client, tables: Tables, keeps_record: bool, random: Random) -> Self {
        Self { client, tables, keeps_record, random }
    }

    fn update(&self, number: usize, (account, version): Versioned) -> Result<TransactWriteItem, Error> {
        let update = Update::builder()
            .table_name(&self.tables.accounts)
            .key("k", string(name(number)))
            .update_expression("SET b = :b, n = :n, v = :next")
            .expression_attribute_values(":b", number_of(account.balance))
            .expression_attribute_values(":n", number_of(account.updates))
            .expression_attribute_values(":next", number_of(version + 1));
        let update = if version == 0 {
            update.condition_expression("attribute_not_exists(k)")
        } else {
            update.condition_expression("v = :read").expression_attribute_values(":read", number_of(version))
        };
        Ok(TransactWriteItem::builder().update(update.build()?).build())
    }

    fn record(&self, transaction: u128) -> Result<TransactWriteItem, Error> {
        let put = Put::builder()
            .table_name(&self.tables.records)
            .item("id", string(format!("{transaction:032x}")))
            .item("part", string("done".to_owned()))
            .item("response", string(r#"{"ok":true}"#.to_owned()))
            .condition_expression("attribute_not_exists(id)");
        Ok(TransactWriteItem::builder().put(put.build()?).build())
    }

    async fn transfer(&mut self, task: &Task<'_>, from: usize, to: usize, amount: i64) -> Result<Attempted, Error> {
        let read = read(&self.client, &self.tables.accounts, &[from, to]).await?;
        sleep(task.thinks).await;
        let (paying, paid) = (read.get(&from).copied().unwrap_or_default(), read.get(&to).copied().unwrap_or_default());
        let mut actions = vec![
            self.update(from, (paying.0.plus(-amount), paying.1))?,
            self.update(to, (paid.0.plus(amount), paid.1))?,
        ];
        if self.keeps_record {
            actions.insert(0, self.record(task.transaction)?);
        }
        // The SDK's own would not come from the seed.
        let token = format!("{:032x}", self.random.wide_bits());
        let request = self.client.transact_write_items().set_transact_items(Some(actions)).client_request_token(token);
        match request.send().await {
            Ok(_) => Ok(Attempted::Committed),
            Err(SdkError::ServiceError(failed)) => match failed.err() {
                TransactWriteItemsError::TransactionCanceledException(canceled) => {
                    conflict(canceled.cancellation_reasons())
                }
                other => Err(format!("a transfer failed: {other}").into()),
            },
            Err(other) => Err(other.into()),
        }
    }

    async fn audit(&self, task: &Task<'_>) -> Result<Attempted, Error> {
        let get = |number| {
            let get = Get::builder().table_name(&self.tables.accounts).key("k", string(name(number))).build()?;
            Ok::<_, Error>(TransactGetItem::builder().get(get).build())
        };
        let gets = task.work.accounts().into_iter().map(get).collect::<Result<Vec<_>, _>>()?;
        let answer = self.client.transact_get_items().set_transact_items(Some(gets)).send().await;
        match answer {
            Ok(_) => {
                sleep(task.thinks).await;
                Ok(Attempted::Committed)
            }
            Err(SdkError::ServiceError(failed)) => match failed.err() {
                TransactGetItemsError::TransactionCanceledException(canceled) => {
                    conflict(canceled.cancellation_reasons())
                }
                other => Err(format!("an audit failed: {other}").into()),
            },
            Err(other) => Err(other.into()),
        }
    }
}

impl Teller for ByHand {
    async fn attempt(&mut self, task: &Task<'_>) -> Result<Attempted, Error> {
        match *task.work {
            Work::Transfer { from, to, amount } => self.transfer(task, from, to, amount).await,
            Work::Audit(_) => self.audit(task).await,
        }
    }
}

/// A transaction that was cancelled, if another one was the reason.
fn conflict(reasons: &[CancellationReason]) -> Result<Attempted, Error> {
    let codes: Vec<_> = reasons.iter().filter_map(CancellationReason::code).collect();
    if codes.iter().all(|code| ["None", "ConditionalCheckFailed", "TransactionConflict"].contains(code)) {
        return Ok(Attempted::Conflict);
    }
    Err(format!("a transaction was cancelled: {codes:?}").into())
}

/// What there is of these accounts.
async fn read(client: &Client, table: &str, numbers: &[usize]) -> Result<BTreeMap<usize, Versioned>, Error> {
    let keys = numbers.iter().map(|number| Item::from([("k".to_owned(), string(name(*number)))]));
    let mut keys: Vec<_> = keys.collect();
    let mut found = BTreeMap::new();
    while !keys.is_empty() {
        let asked = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build()?;
        let answer = client.batch_get_item().request_items(table, asked).send().await?;
        for item in answer.responses.into_iter().flatten().flat_map(|(_, items)| items) {
            let number = |attribute: &str| {
                let value = item.get(attribute).and_then(|value| value.as_n().ok());
                value.and_then(|text| text.parse::<i64>().ok()).ok_or("an item without its numbers")
            };
            let key = item.get("k").and_then(|key| key.as_s().ok()).ok_or("an item without its key")?;
            let of = numbers.iter().find(|number| name(**number) == *key).ok_or("an item that was not asked for")?;
            let account = Account { balance: number("b")?, updates: number("n")? };
            found.insert(*of, (account, u64::try_from(number("v")?)?));
        }
        keys = answer.unprocessed_keys.into_iter().flatten().flat_map(|(_, rest)| rest.keys).collect();
    }
    Ok(found)
}

/// What there is of all accounts.
///
/// # Errors
/// If it cannot be read.
pub async fn accounts(client: &Client, tables: &Tables) -> Result<Vec<Account>, Error> {
    let numbers: Vec<_> = (0..ACCOUNTS).collect();
    let mut accounts = Vec::new();
    for numbers in numbers.chunks(BATCH_KEYS) {
        let found = read(client, &tables.accounts, numbers).await?;
        accounts.extend(numbers.iter().map(|number| found.get(number).copied().unwrap_or_default().0));
    }
    Ok(accounts)
}

fn string(text: String) -> AttributeValue {
    AttributeValue::S(text)
}

fn number_of(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}
