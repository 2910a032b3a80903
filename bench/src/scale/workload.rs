//! What a sandbox does: reads keys one after the other, works, writes, commits; and again, in a closed loop.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aft_extension::session::{CommitResult, Named, SessionError};
use aft_protocol::id::{AttemptNumber, TransactionId};
use aft_protocol::key::Key;
use aft_protocol::record::{Response, Writes};
use aft_protocol::value::Value;
use aft_simulation::paper::random::{Random, Zipf};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::storage::{Storage, Watch};
use crate::Error;
use crate::samples::Samples;
use crate::sandbox::Sandbox;

/// What a function is given.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// Within which all sandboxes begin.
const START: Duration = Duration::from_millis(50);

/// What one transaction does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Work {
    /// Keys read, one after the other.
    pub reads: usize,
    /// Keys written.
    pub writes: usize,
    /// Bytes of a value.
    pub bytes: usize,
    /// How much more often the first key is drawn than the n-th: `n^skew`.
    pub skew: f64,
    /// What the handler does between reading and writing.
    pub handler: Duration,
    /// What client, host, shim and extension take of a request.
    pub overhead: Duration,
    /// Whether the next request is sent with the answer, and waits for the sandbox; if not, it is sent when that is free.
    pub queues: bool,
}

/// The keys, and how they are drawn.
pub struct Keys {
    names: Vec<Key>,
    zipf: Zipf,
}

impl Keys {
    /// So many, of this skew.
    ///
    /// # Errors
    /// None: a short name is a key.
    pub fn new(count: usize, skew: f64) -> Result<Self, Error> {
        let names = (0..count).map(|number| Key::new(format!("key-{number:06}"))).collect::<Result<_, _>>()?;
        Ok(Self { names, zipf: Zipf::new(count, skew) })
    }

    /// All of them, the most frequent one first.
    #[must_use]
    pub fn all(&self) -> &[Key] {
        &self.names
    }

    fn draw(&self, random: &mut Random) -> Key {
        self.names[self.zipf.draw(random)].clone()
    }
}

/// What has become of the transactions that ended in a window.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Of those that were answered with success.
    pub latencies: Samples,
    /// Answered otherwise: no time was left.
    pub failed: usize,
    /// Attempts that a read conflict ended.
    pub aborted: usize,
}

/// What all sandboxes of a run share.
#[derive(Default)]
pub struct Progress {
    tally: Mutex<Tally>,
    goal: Mutex<usize>,
    reached: Notify,
}

impl Progress {
    /// Waits until so many more have ended, or this long; what has ended meanwhile, and how long it was.
    pub async fn window(&self, transactions: usize, longest: Duration) -> (Tally, Duration) {
        let began = Instant::now();
        *self.tally() = Tally::default();
        *self.goal.lock().unwrap_or_else(PoisonError::into_inner) = transactions;
        // Ended by time: then that is the window.
        let _ = timeout(longest, self.reached.notified()).await;
        (std::mem::take(&mut *self.tally()), began.elapsed())
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self, note: impl FnOnce(&mut Tally)) {
        let mut tally = self.tally();
        note(&mut tally);
        if tally.latencies.len() + tally.failed == *self.goal.lock().unwrap_or_else(PoisonError::into_inner) {
            self.reached.notify_one();
        }
    }
}

/// One sandbox, and whoever sends it requests.
pub struct Client {
    /// The sandbox.
    pub sandbox: Sandbox<Storage>,
    /// Its time.
    pub watch: Arc<Watch>,
    /// What is drawn from.
    pub keys: Arc<Keys>,
    /// What is written.
    pub value: Value,
    /// What is done.
    pub work: Work,
}

impl Client {
    /// Sends request after request.
    ///
    /// # Errors
    /// If one ends as none may: by anything else than success, a conflict, or too little time.
    pub async fn serve(self, progress: &Progress, mut random: Random) -> Result<(), Error> {
        sleep(random.up_to(START)).await;
        let mut began = self.watch.now();
        loop {
            let transaction = TransactionId::from_bits(random.wide_bits());
            self.watch.pass(self.work.overhead).await;
            let deadline = Instant::now() + TIME_LIMIT;
            let mut attempt = AttemptNumber::FIRST;
            let is_answered = loop {
                match self.attempt(transaction, attempt, deadline, &mut random).await? {
                    Ended::Committed => break true,
                    Ended::Late => break false,
                    Ended::Conflict => progress.tally().aborted += 1,
                }
                attempt = attempt.next();
            };
            let took = self.watch.now() - began;
            progress.ended(|tally| if is_answered { tally.latencies.push(took) } else { tally.failed += 1 });
            began = self.watch.now();
            // Lambda has no other request for this sandbox until the extension says that it may freeze.
            self.sandbox.session().applied().await;
            if !self.work.queues {
                began = self.watch.now();
            }
        }
    }

    async fn attempt(
        &self,
        transaction: TransactionId,
        attempt: AttemptNumber,
        deadline: Instant,
        random: &mut Random,
    ) -> Result<Ended, Error> {
        let session = self.sandbox.session();
        let named = Named { transaction: Some(transaction), attempt: Some(attempt) };
        self.sandbox.open(transaction, attempt, deadline).await?;
        for _ in 0..self.work.reads {
            let read = session.read(named, BTreeSet::from([self.keys.draw(random)])).await;
            let ended = match read {
                Ok(_) => continue,
                Err(SessionError::ReadConflict(_)) => Ended::Conflict,
                Err(SessionError::Store(_)) => Ended::Late,
                Err(error) => return Err(error.into()),
            };
            session.abort(transaction, attempt).await?;
            return Ok(ended);
        }
        self.watch.pass(self.work.handler).await;
        let mut writes = Writes::new();
        while writes.len() < self.work.writes {
            writes.insert(self.keys.draw(random), Some(self.value.clone()));
        }
        session.write(named, writes)?;
        let response = Response { content_type: Some("application/json".to_owned()), body: RESPONSE.into() };
        Ok(match session.commit(transaction, attempt, response).await? {
            CommitResult::Committed => Ended::Committed,
            CommitResult::Conflict(..) => Ended::Conflict,
            // Throttled until the end of its time: not written, or not visible yet.
            CommitResult::Failed(..) | CommitResult::Unknown(..) => Ended::Late,
            other => return Err(format!("a commit ended as none may here: {other:?}").into()),
        })
    }
}

/// 100 bytes, as in the documents.
const RESPONSE: &str =
    r#"{"rest":"rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr"}"#;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Committed,
    Conflict,
    Late,
}
