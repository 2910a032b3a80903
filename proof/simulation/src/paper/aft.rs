//! The workload under AFT: the extension's own session over the production store, for each client, as each sandbox has one;
//! without the HTTP and the control socket before it. Both functions of a request run in one transaction.

use std::sync::{Arc, Mutex, PoisonError};

use aft_extension::session::{Ack, Begun, Behaviour, CommitResult, DuplicateCheck, Named, Session, SessionError};
use aft_extension::sources::Sources;
use aft_protocol::attempt::Seen as Read;
use aft_protocol::id::{AttemptNumber, Fingerprint, RequestId, TransactionId};
use aft_protocol::isolation::Isolation;
use aft_protocol::key::Key;
use aft_protocol::record::{Response, Writes};
use aft_protocol::value::{ContentType, Value};
use aft_protocol::version::{Timestamp, Version};
use aft_protocol::wire::Begin;
use aft_store::dynamodb::DynamoDb;
use tokio::time::{Instant, timeout};

use super::anomalies::{Attempt, Seen};
use super::model::Life;
use super::random::Random;
use super::request::{Logical, Mark, Step, name};
use super::{Crash, Ended, Error, micros};

/// How long an invocation may take, in milliseconds.
const LIMIT_MS: u64 = 30_000;

/// One sandbox.
pub struct Sandbox {
    session: Session<DynamoDb>,
    sources: Sources,
    life: Life,
}

impl Sandbox {
    /// A sandbox with the settings that count where nothing is set, in a world that began at `start`.
    #[must_use]
    pub fn new(store: DynamoDb, life: Life, start: Instant, random: Random) -> Self {
        let behaviour = Behaviour {
            duplicate_check: DuplicateCheck::Parallel,
            ack: Ack::Visible,
            memoize_always: false,
            retention_seconds: 86_400,
            reads_strongly: true,
            look_ups: 10,
            cache_bytes: 8 << 20,
            isolation: Isolation::ReadAtomic,
            refuse_in_progress: false,
        };
        let random = Mutex::new(random);
        let sources = Sources {
            now: Arc::new(move || Timestamp::from_micros(micros(start))),
            random: Arc::new(move || random.lock().unwrap_or_else(PoisonError::into_inner).wide_bits()),
        };
        Self { session: Session::new(store, behaviour, sources.clone()), sources, life }
    }

    /// One attempt at a request, which may crash: the handler while it works, or the whole sandbox while it commits.
    ///
    /// # Errors
    /// If it ends otherwise than in a commit, a conflict or a crash.
    pub async fn attempt(
        &self,
        logical: &Logical,
        mark: &Mark,
        number: AttemptNumber,
        crash: Option<Crash>,
    ) -> Result<(Ended, Attempt), Error> {
        let mut attempt = Attempt::default();
        if !self.begin(logical.id, number).await? {
            return Ok((Ended::Done, attempt));
        }
        let named = Named { transaction: Some(logical.id), attempt: Some(number) };
        for (index, step) in logical.steps.iter().enumerate() {
            if crash.is_some_and(|crash| crash.before(index)) {
                self.session.abort(logical.id, number).await?;
                return Ok((Ended::Crashed, attempt));
            }
            match *step {
                Step::Read(number_of_key) => match self.read(named, number_of_key, logical.id).await {
                    Ok(seen) => attempt.read(seen?),
                    Err(SessionError::AlreadyCommitted) => break,
                    Err(SessionError::ReadConflict(_)) => {
                        self.session.abort(logical.id, number).await?;
                        return Ok((Ended::Conflict, attempt));
                    }
                    Err(error) => return Err(error.into()),
                },
                Step::Write(key) => {
                    let value = Value::new(mark.value(), ContentType::default())?;
                    match self.session.write(named, Writes::from([(Key::new(name(key))?, Some(value))])) {
                        Ok(()) => attempt.write(key),
                        Err(SessionError::AlreadyCommitted) => break,
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
        let response = Response { content_type: None, body: "done".into() };
        let commit = self.session.commit(logical.id, number, response);
        let result = match crash {
            None => commit.await?,
            Some(Crash { after, .. }) => match timeout(after, commit).await {
                Ok(result) => result?,
                Err(_) => {
                    self.life.end();
                    return Ok((Ended::SandboxGone, attempt));
                }
            },
        };
        match result {
            CommitResult::Committed | CommitResult::Duplicate(_) => Ok((Ended::Done, attempt)),
            CommitResult::Conflict(..) => Ok((Ended::Conflict, attempt)),
            other => Err(format!("a commit ended otherwise: {other:?}").into()),
        }
    }

    /// Whether there is anything to do.
    async fn begin(&self, transaction: TransactionId, attempt: AttemptNumber) -> Result<bool, Error> {
        let begin = Begin {
            request: RequestId::new(transaction.to_string()),
            transaction,
            attempt,
            fingerprint: Fingerprint::of(b"{}"),
            origin: format!("paper/{transaction}"),
            deadline_ms: self.sources.now().as_micros() / 1_000 + LIMIT_MS,
        };
        match self.session.begin(begin).await? {
            Begun::Open => Ok(true),
            Begun::Duplicate(_) => Ok(false),
            other => Err(format!("a transaction of this client's own could not begin: {other:?}").into()),
        }
    }

    async fn read(&self, named: Named, key: usize, own: TransactionId) -> Result<Result<Seen, Error>, SessionError> {
        let asked = match Key::new(name(key)) {
            Ok(asked) => asked,
            Err(error) => return Ok(Err(error.into())),
        };
        let mut answers = self.session.read(named, [asked.clone()].into()).await?;
        let mut seen = || {
            let read = answers.remove(&asked).ok_or("a key without an answer")?;
            let mark = read.value().map(|value| Mark::parse(value.bytes())).transpose()?;
            let is_own = mark.as_ref().is_some_and(|mark| mark.version.transaction() == own);
            // The order is AFT's own.
            let version = match &read {
                Read::Read(entry) => entry.version,
                Read::Written(..) => Version::ZERO,
            };
            Ok(Seen { key, version, cowritten: mark.map(|mark| mark.cowritten).unwrap_or_default(), is_own })
        };
        Ok(seen())
    }
}
