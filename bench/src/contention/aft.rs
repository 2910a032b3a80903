//! The work as a function under AFT does it: a session for each client, as each sandbox has one, without the HTTP and the control
//! socket before it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use aft_extension::session::{Ack, Begun, Behaviour, CommitResult, DuplicateCheck, Named, Session, SessionError};
use aft_extension::sources::Sources;
use aft_protocol::id::{Fingerprint, RequestId, TransactionId};
use aft_protocol::isolation::Isolation;
use aft_protocol::key::Key;
use aft_protocol::record::{Response, Writes};
use aft_protocol::value::{ContentType, Value};
use aft_protocol::version::Timestamp;
use aft_protocol::wire::Begin;
use aft_store::Store;
use aft_store::dynamodb::DynamoDb;
use tokio::time::{Instant, sleep};

use super::client::{Attempted, Task, Teller};
use super::workload::{ACCOUNTS, Account, Work, name};
use crate::Error;
use aft_simulation::paper::random::Random;

/// The wall clock when a cell begins, in microseconds since the epoch: any will do.
const EPOCH_MICROS: u64 = 1_790_000_000_000_000;

/// One sandbox.
pub struct Sandbox {
    session: Session<DynamoDb>,
    sources: Sources,
}

impl Sandbox {
    /// A sandbox with the settings that count where nothing is set, but for the isolation.
    #[must_use]
    pub fn new(store: DynamoDb, isolation: Isolation, start: Instant, random: Random) -> Self {
        let behaviour = Behaviour {
            duplicate_check: DuplicateCheck::Parallel,
            ack: Ack::Visible,
            memoize_always: false,
            retention_seconds: 86_400,
            reads_strongly: true,
            write_look_up: true,
            cache_bytes: 8 << 20,
            isolation,
            refuse_in_progress: false,
        };
        let random = Mutex::new(random);
        let sources = Sources {
            now: Arc::new(move || {
                let elapsed = u64::try_from(start.elapsed().as_micros()).unwrap_or_default();
                Timestamp::from_micros(EPOCH_MICROS + elapsed)
            }),
            random: Arc::new(move || random.lock().unwrap_or_else(PoisonError::into_inner).wide_bits()),
        };
        Self { session: Session::new(store, behaviour, sources.clone()), sources }
    }

    async fn open(&self, task: &Task<'_>, transaction: TransactionId) -> Result<(), Error> {
        let left = task.deadline.saturating_duration_since(Instant::now());
        let deadline = u128::from(self.sources.now().as_micros() / 1_000) + left.as_millis();
        let begin = Begin {
            request: RequestId::new(transaction.to_string()),
            transaction,
            attempt: task.attempt,
            fingerprint: Fingerprint::of(b"{}"),
            origin: format!("bench/{transaction}"),
            deadline_ms: u64::try_from(deadline)?,
        };
        match self.session.begin(begin).await? {
            Begun::Open => Ok(()),
            other => Err(format!("a transaction of this client's own could not begin: {other:?}").into()),
        }
    }

    async fn read(&self, named: Named, work: &Work) -> Result<BTreeMap<usize, Account>, SessionError> {
        let keys: BTreeMap<_, _> = work.accounts().into_iter().map(|account| (key(account), account)).collect();
        let seen = self.session.read(named, keys.keys().cloned().collect()).await?;
        let account =
            |value: Option<&Value>| value.map_or(Some(Account::default()), |v| Account::parse(v.bytes()).ok());
        Ok(keys.into_iter().filter_map(|(key, number)| Some((number, account(seen.get(&key)?.value())?))).collect())
    }
}

impl Teller for Sandbox {
    async fn attempt(&mut self, task: &Task<'_>) -> Result<Attempted, Error> {
        let transaction = TransactionId::from_bits(task.transaction);
        let named = Named { transaction: Some(transaction), attempt: Some(task.attempt) };
        self.open(task, transaction).await?;
        let accounts = match self.read(named, task.work).await {
            Ok(accounts) => accounts,
            Err(SessionError::ReadConflict(_)) => {
                self.session.abort(transaction, task.attempt).await?;
                return Ok(Attempted::Conflict);
            }
            Err(error) => return Err(error.into()),
        };
        sleep(task.thinks).await;
        if let Work::Transfer { from, to, amount } = task.work {
            let account = |number| accounts.get(number).copied().ok_or("an account that was read is missing");
            let (paying, paid) = (account(from)?.plus(-amount), account(to)?.plus(*amount));
            self.session.write(named, Writes::from([(key(*from), value(paying)?), (key(*to), value(paid)?)]))?;
        }
        let response = Response { content_type: Some("application/json".to_owned()), body: r#"{"ok":true}"#.into() };
        match self.session.commit(transaction, task.attempt, response).await? {
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
