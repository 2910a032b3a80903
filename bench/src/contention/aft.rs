//! The work as a function under AFT does it: a session for each client, as each sandbox has one, without the HTTP and the control
//! socket before it.

use std::collections::{BTreeMap, BTreeSet};

use aft_extension::session::{CommitResult, Named, SessionError};
use aft_protocol::id::TransactionId;
use aft_protocol::key::Key;
use aft_protocol::record::{Response, Writes};
use aft_protocol::value::{ContentType, Value};
use aft_store::Store;
use aft_store::dynamodb::DynamoDb;
use tokio::time::sleep;

use super::client::{Attempted, Task, Teller};
use super::workload::{ACCOUNTS, Account, Work, name};
use crate::Error;
use crate::sandbox::Sandbox;

async fn read(
    sandbox: &Sandbox<DynamoDb>,
    named: Named,
    work: &Work,
) -> Result<BTreeMap<usize, Account>, SessionError> {
    let keys: BTreeMap<_, _> = work.accounts().into_iter().map(|account| (key(account), account)).collect();
    let seen = sandbox.session().read(named, keys.keys().cloned().collect()).await?;
    let account = |value: Option<&Value>| value.map_or(Some(Account::default()), |v| Account::parse(v.bytes()).ok());
    Ok(keys.into_iter().filter_map(|(key, number)| Some((number, account(seen.get(&key)?.value())?))).collect())
}

impl Teller for Sandbox<DynamoDb> {
    async fn attempt(&mut self, task: &Task<'_>) -> Result<Attempted, Error> {
        let transaction = TransactionId::from_bits(task.transaction);
        let named = Named { transaction: Some(transaction), attempt: Some(task.attempt) };
        self.open(transaction, task.attempt, task.deadline).await?;
        let accounts = match read(self, named, task.work).await {
            Ok(accounts) => accounts,
            Err(SessionError::ReadConflict(_)) => {
                self.session().abort(transaction, task.attempt).await?;
                return Ok(Attempted::Conflict);
            }
            Err(error) => return Err(error.into()),
        };
        sleep(task.thinks).await;
        if let Work::Transfer { from, to, amount } = task.work {
            let account = |number| accounts.get(number).copied().ok_or("an account that was read is missing");
            let (paying, paid) = (account(from)?.plus(-amount), account(to)?.plus(*amount));
            self.session().write(named, Writes::from([(key(*from), value(paying)?), (key(*to), value(paid)?)]))?;
        }
        let response = Response { content_type: Some("application/json".to_owned()), body: r#"{"ok":true}"#.into() };
        match self.session().commit(transaction, task.attempt, response).await? {
            CommitResult::Committed => Ok(Attempted::Committed),
            CommitResult::Conflict(..) => Ok(Attempted::Conflict),
            other => Err(format!("a commit ended otherwise: {other:?}").into()),
        }
    }
}

/// What a store that is past every delay has of the accounts.
///
/// # Errors
/// If it cannot be read.
pub async fn accounts(store: &DynamoDb) -> Result<Vec<Account>, Error> {
    let keys: BTreeSet<_> = (0..ACCOUNTS).map(key).collect();
    let heads = store.latest_heads(&keys).await?;
    heads
        .values()
        .map(|head| head.current.value.as_ref().map_or(Ok(Account::default()), |value| Account::parse(value.bytes())))
        .collect()
}

#[allow(clippy::expect_used, reason = "a short name is a key")]
fn key(account: usize) -> Key {
    Key::new(name(account)).expect("a short name is a key")
}

fn value(account: Account) -> Result<Option<Value>, Error> {
    Ok(Some(Value::new(account.to_text(), ContentType::default())?))
}
