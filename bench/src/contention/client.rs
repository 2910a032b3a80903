//! A client in a closed loop: draws a transaction, tries it until it commits, draws the next. After a conflict it pauses.

use std::future::Future;
use std::time::Duration;

use aft_protocol::id::{AttemptNumber, TransactionId};
use aft_protocol::settings;
use aft_runtime_shim::retry::{Cause, Causes, Failed, Policy, Verdict, decide};
use tokio::time::{Instant, sleep};

use super::workload::{ACCOUNTS, Progress, Tally, Work, Workload};
use crate::Error;
use aft_simulation::paper::random::{Random, Zipf};

/// How long a transaction may take, retries included: what many functions are given.
const DEADLINE: Duration = Duration::from_secs(30);
/// What a handler does between reading and writing.
const THINKS: Duration = Duration::from_millis(5);

/// One attempt at a transaction.
#[derive(Debug)]
pub struct Task<'a> {
    /// What is to be done.
    pub work: &'a Work,
    /// Its ID, the same in every attempt.
    pub transaction: u128,
    /// Which attempt.
    pub attempt: AttemptNumber,
    /// What comes between reading and writing.
    pub thinks: Duration,
    /// When the transaction is given up.
    pub deadline: Instant,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempted {
    /// It took effect.
    Committed,
    /// Another transaction was in the way, and nothing has happened.
    Conflict,
}

/// Whoever does the work.
pub trait Teller {
    /// One attempt.
    ///
    /// # Errors
    /// Whatever is neither a commit nor a conflict: here nothing fails.
    fn attempt(&mut self, task: &Task<'_>) -> impl Future<Output = Result<Attempted, Error>>;
}

/// What comes between a conflict and the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pauses {
    /// The shim's own decision, with the settings that count where nothing is set.
    Shim,
    /// From nothing to 50 ms after the first, which doubles with each, to 20 s: "exponential backoff and jitter" with the base
    /// of DynamoDB's guide and the bound of the SDKs. No SDK does this by itself for a cancelled transaction.
    Backoff,
}

const BACKOFF_BASE: Duration = Duration::from_millis(50);
const BACKOFF_LIMIT: Duration = Duration::from_secs(20);

impl Pauses {
    /// How long; `None`: the transaction is given up.
    fn after(self, failed: &Failed<'_>, random: &mut Random) -> Result<Option<Duration>, Error> {
        match self {
            Self::Shim => match decide(failed, &shipped()?) {
                Verdict::Again(pause) => Ok(Some(pause)),
                Verdict::Enough(_) => Ok(None),
            },
            Self::Backoff => {
                let doublings = failed.conflicts.saturating_sub(1).min(16);
                let pause = random.up_to(BACKOFF_BASE.saturating_mul(1 << doublings).min(BACKOFF_LIMIT));
                Ok((failed.time_left > pause + failed.needed).then_some(pause))
            }
        }
    }
}

fn shipped() -> Result<Policy, Error> {
    Ok(Policy {
        max_attempts: settings::MAX_ATTEMPTS.default.parse()?,
        max_conflicts: settings::MAX_CONFLICTS.default.parse()?,
        retried: Causes::parse(settings::RETRY_ON.default).ok_or("the default of AFT_RETRY_ON is none")?,
        never: Vec::new(),
        reserve: Duration::from_millis(settings::RETRY_RESERVE.default.parse()?),
        backoff: Duration::from_millis(settings::RETRY_BACKOFF.default.parse()?),
        attempt_limit: None,
    })
}

/// Works until all clients together have done what is to be done, and finishes what was begun by then.
///
/// # Errors
/// What an attempt failed with.
pub async fn serve(
    mut teller: impl Teller,
    pauses: Pauses,
    workload: Workload,
    progress: &Progress,
    mut random: Random,
) -> Result<Tally, Error> {
    let zipf = Zipf::new(ACCOUNTS, workload.skew);
    let mut tally = Tally::default();
    // Not all at the same moment.
    sleep(random.up_to(THINKS * 4)).await;
    while !progress.is_over() {
        let work = Work::draw(&workload, &zipf, &mut random);
        let began = Instant::now();
        let mut task = Task {
            work: &work,
            transaction: random.wide_bits(),
            attempt: AttemptNumber::FIRST,
            thinks: random.log_normal(THINKS, 0.3),
            deadline: began + DEADLINE,
        };
        loop {
            let since = Instant::now();
            if teller.attempt(&task).await? == Attempted::Committed {
                tally.commits(&work, began.elapsed(), task.attempt.get() as usize);
                progress.advance();
                break;
            }
            tally.aborted += 1;
            let took = since.elapsed();
            let failed = Failed {
                transaction: TransactionId::from_bits(task.transaction),
                attempt: task.attempt,
                cause: Cause::Conflict,
                conflicts: task.attempt.get(),
                took,
                error_types: &[],
                released: false,
                time_left: task.deadline.saturating_duration_since(Instant::now()),
                needed: took,
            };
            let Some(pause) = pauses.after(&failed, &mut random)? else {
                tally.given_up += 1;
                break;
            };
            sleep(pause).await;
            task.attempt = task.attempt.next();
        }
    }
    Ok(tally)
}
