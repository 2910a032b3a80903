//! The runtime shim's part of a history: its state machine, its retry policy and what it has learnt of how long things take
//! are the real ones. What its conductor does with pipes and HTTP is done here by calls: it hands the event to the handler,
//! asks the extension to begin, commit and abort, and comes back with what became of it.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use aft_extension::session::{Aborted, Ack, Begun, CommitResult};
use aft_protocol::id::{AttemptNumber, Fingerprint, RequestId, TransactionId};
use aft_protocol::record::Response;
use aft_protocol::wire::Begin;
use aft_runtime_shim::estimate::Pace;
use aft_runtime_shim::invocation::{Event, State, Whose};
use aft_runtime_shim::retry::{Cause, Causes, Decision, Failed, Policy, Verdict, decide};
use tokio::time::{Instant, sleep, timeout};

use crate::book::Told;
use crate::chance::Chance;
use crate::ground::Ground;
use crate::job::{Job, Stop};
use crate::sandbox::Sandbox;
use crate::world::{TIME_LIMIT, World};

/// The shim of one life of a sandbox.
pub struct Shim {
    policy: Policy,
    pace: RefCell<Pace>,
    /// Whether there is a runtime that waits for events.
    is_up: Cell<bool>,
}

impl Shim {
    /// A shim as it might be configured.
    #[must_use]
    #[allow(clippy::expect_used, reason = "the list is a constant")]
    pub fn drawn(chance: &Chance) -> Self {
        let ms = Duration::from_millis;
        let retried = Causes::parse("error,crash,attempt-timeout,conflict,commit-failed");
        let policy = Policy {
            max_attempts: 1 + u32::try_from(chance.below(4)).unwrap_or_default(),
            max_conflicts: 100,
            retried: retried.expect("names of causes"),
            never: Vec::new(),
            reserve: ms(chance.below(3) * 50),
            backoff: ms(chance.below(3) * 50),
            attempt_limit: chance.one_in(4).then(|| ms(1_000 + chance.below(4_000))),
        };
        let mut pace = Pace::default();
        pace.start.observe(ms(30 + chance.below(100)));
        Self { policy, pace: RefCell::new(pace), is_up: Cell::new(true) }
    }
}

/// One invocation.
struct Invocation<'w, G: Ground> {
    world: &'w World<G>,
    sandbox: &'w Sandbox<G>,
    transaction: u128,
    deadline: Instant,
    attempt: AttemptNumber,
    conflicts: u32,
    since: Instant,
    pause: Duration,
    job: Option<Job<'w, G>>,
}

/// All attempts at one request, until Lambda is answered.
pub async fn invoke<G: Ground>(world: &World<G>, sandbox: &Sandbox<G>, request: RequestId, transaction: u128) {
    let mut invocation = Invocation {
        world,
        sandbox,
        transaction,
        deadline: Instant::now() + TIME_LIMIT,
        attempt: AttemptNumber::FIRST,
        conflicts: 0,
        since: Instant::now(),
        pause: Duration::ZERO,
        job: None,
    };
    let mut state = State::Beginning;
    loop {
        let event = match state {
            State::Beginning => invocation.begin(&request).await,
            State::Begun => invocation.hand().await,
            State::Delivered | State::Streaming => invocation.handle().await,
            State::Responded => {
                sandbox.shim.pace.borrow_mut().attempt.observe(invocation.since.elapsed());
                Event::Fits
            }
            State::Committing => invocation.commit().await,
            State::Aborting(cause) => invocation.abort(cause).await,
            State::Redeliver => {
                sleep(invocation.pause).await;
                invocation.attempt = invocation.attempt.next();
                Event::NextAttempt
            }
            State::Released(Whose::Handlers) => {
                if let Some(job) = invocation.job.take() {
                    let response = job.response().as_bytes().to_vec();
                    if job.has_written() {
                        world.book.borrow_mut().answered(transaction, &response);
                    }
                }
                return;
            }
            State::Released(Whose::Recorded) | State::Failed(_) => return,
        };
        match state.on(event) {
            Ok(next) => state = next,
            Err(impossible) => return world.breach("shim", impossible.to_string()),
        }
    }
}

impl<G: Ground> Invocation<'_, G> {
    fn id(&self) -> TransactionId {
        TransactionId::from_bits(self.transaction)
    }

    fn duplicate(&mut self, response: &Response) -> Event {
        if let Some(job) = &mut self.job {
            // Its own writes never took place.
            job.told(Told::Aborted);
        }
        self.job = None;
        let mut book = self.world.book.borrow_mut();
        book.tally.duplicates += 1;
        book.answered(self.transaction, &response.body);
        Event::Duplicate
    }

    async fn begin(&mut self, request: &RequestId) -> Event {
        self.since = Instant::now();
        let left = self.deadline.saturating_duration_since(Instant::now());
        let begin = Begin {
            request: request.clone(),
            transaction: self.id(),
            attempt: self.attempt,
            fingerprint: Fingerprint::of(b"{}"),
            origin: format!("simulated {request}"),
            deadline_ms: self.world.now_ms() + u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
        };
        match self.sandbox.session.begin(begin).await {
            Ok(Begun::Open) => {
                let isolation = self.sandbox.behaviour.isolation;
                let number = self.attempt.get();
                self.job = Some(Job::new(self.world, self.sandbox, self.transaction, number, isolation));
                Event::Opened
            }
            Ok(Begun::Duplicate(response)) => self.duplicate(&response),
            Ok(Begun::InProgress) => Event::Refused,
            Ok(Begun::Mismatch) => {
                self.world.breach("identity", format!("{} has one payload", self.transaction));
                Event::Refused
            }
            Err(_) => Event::NotBegun,
        }
    }

    /// A runtime that is not there is started; meanwhile the look-up may have won.
    async fn hand(&mut self) -> Event {
        if !self.sandbox.shim.is_up.get() {
            let began = Instant::now();
            sleep(self.world.start_time()).await;
            self.sandbox.shim.pace.borrow_mut().start.observe(began.elapsed());
            self.sandbox.shim.is_up.set(true);
            if self.attempt == AttemptNumber::FIRST
                && let Ok(CommitResult::Duplicate(response)) = self.sandbox.session.known(self.id(), self.attempt).await
            {
                return self.duplicate(&response);
            }
        }
        self.since = Instant::now();
        Event::Handed
    }

    async fn handle(&mut self) -> Event {
        let Some(job) = &mut self.job else { return Event::HandlerFailed };
        let limit = self.sandbox.shim.policy.attempt_limit;
        let work = Box::pin(self.world.plan.workload.handle(job));
        let handled = match limit {
            Some(limit) => timeout(limit, work).await,
            None => Ok(work.await),
        };
        match handled {
            Ok(Ok(())) => Event::Responded,
            Ok(Err(Stop::Error)) => Event::HandlerFailed,
            Ok(Err(Stop::Death)) => {
                self.sandbox.shim.is_up.set(false);
                Event::Crashed
            }
            Err(_) => {
                self.sandbox.shim.is_up.set(false);
                Event::TimedOut
            }
        }
    }

    async fn commit(&mut self) -> Event {
        let Some(response) = self.job.as_ref().map(|job| job.response().to_owned()) else { return Event::Unknown };
        let asked = Instant::now();
        let answer = Response { content_type: None, body: response.into() };
        let result = self.sandbox.session.commit(self.id(), self.attempt, answer).await;
        self.sandbox.shim.pace.borrow_mut().commit.observe(asked.elapsed());
        match result {
            Ok(CommitResult::Committed) => {
                if let Some(job) = &mut self.job {
                    job.told(Told::Committed);
                    if self.sandbox.behaviour.ack == Ack::Visible {
                        job.is_visible();
                    }
                }
                Event::Committed
            }
            Ok(CommitResult::Duplicate(response)) => self.duplicate(&response),
            Ok(CommitResult::Mismatch) => {
                self.world.breach("identity", format!("{} has one payload", self.transaction));
                Event::Refused
            }
            Ok(CommitResult::Conflict(..)) => {
                self.gone();
                Event::Conflicted(self.conflicted())
            }
            // As the control API says it: what fails before the commit is a failed one.
            Ok(CommitResult::Failed(..)) | Err(_) => {
                self.gone();
                Event::CommitFailed(self.decide(Cause::CommitFailed))
            }
            Ok(CommitResult::Unknown(..)) => Event::Unknown,
        }
    }

    /// The attempt is told to have left no trace.
    fn gone(&mut self) {
        if let Some(mut job) = self.job.take() {
            job.told(Told::Aborted);
        }
    }

    async fn abort(&mut self, cause: Cause) -> Event {
        let result = self.sandbox.session.abort(self.id(), self.attempt).await;
        match result {
            Ok(Aborted::Gone) => {
                self.gone();
                Event::Aborted(self.decide(cause))
            }
            Ok(Aborted::Duplicate(response)) => self.duplicate(&response),
            Ok(Aborted::Mismatch) => {
                self.world.breach("identity", format!("{} has one payload", self.transaction));
                Event::Refused
            }
            Ok(Aborted::Conflict(_)) => {
                self.gone();
                if matches!(cause, Cause::Error | Cause::Crash) {
                    return Event::Conflicted(self.conflicted());
                }
                Event::Aborted(self.decide(cause))
            }
            Err(_) => {
                // Nothing of it was committed: only a commit does.
                self.gone();
                Event::Aborted(self.decide(cause))
            }
        }
    }

    fn conflicted(&mut self) -> Decision {
        self.conflicts += 1;
        self.world.book.borrow_mut().tally.conflicts += 1;
        self.decide(Cause::Conflict)
    }

    fn decide(&mut self, cause: Cause) -> Decision {
        let shim = &self.sandbox.shim;
        let took = self.since.elapsed();
        let needed = shim.pace.borrow().needed(took, shim.policy.attempt_limit, shim.is_up.get());
        let failed = Failed {
            transaction: self.id(),
            attempt: self.attempt,
            cause,
            conflicts: self.conflicts,
            took,
            error_types: &[],
            released: false,
            time_left: self.deadline.saturating_duration_since(Instant::now()),
            needed,
        };
        let verdict = decide(&failed, &shim.policy);
        if let Verdict::Again(pause) = &verdict {
            self.pause = *pause;
        }
        verdict.decision()
    }
}
