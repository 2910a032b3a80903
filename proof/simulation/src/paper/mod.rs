//! AFT's own workload, and the anomalies of its paper's Table 2: 10,000 requests of two functions, each of which reads two keys
//! and writes one; values of 4 KB, 1,000 keys by Zipf 1.0, ten clients one request after the other; on the plain store, on the plain
//! store with retries, and under AFT (Sreekanti et al., EuroSys 2020, section 6.1.2: DynamoDB 537 requests with
//! read-your-writes anomalies and 779 with fractured reads, AFT none).
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | the systems, a run, and its row |
//! | [`request`] | what a request does, and the marks in its values |
//! | [`anomalies`] | what is counted |
//! | [`plain`] | the work on the plain store |
//! | [`aft`] | the work under AFT |
//! | [`model`] | how long the store takes |
//! | [`random`] | seeded chance |
//!
//! What is otherwise than in the paper:
//!
//! * DynamoDB is simulated, in virtual time, with published latencies; its reads are strongly consistent, the paper's were not.
//! * Functions crash, which the paper's do not in this experiment: some percent of the attempts, at any point from before the
//!   first read to after the last write. On the plain store the request ends there, or is begun again from its beginning. Under
//!   AFT the shim would run the handler again; and where the crash comes after the last step, the sandbox dies in the middle of its
//!   commit, and the platform delivers the event to another one.
//! * Both functions of a request are one invocation here, which is what a transaction is in this AFT: the second begins when the
//!   first ends. On the plain store they are as they were.
//! * Keys do not exist when a run begins.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aft_protocol::id::AttemptNumber;
use aft_store::simulated::Engine;
use futures_util::future::try_join_all;
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep};

pub mod aft;
pub mod anomalies;
pub mod model;
pub mod plain;
pub mod random;
pub mod request;

use aft::Sandbox;
use anomalies::Found;
use model::{Life, plan};
use plain::Plain;
use random::Random;
use request::{Mark, Requests};

/// Why a run could not be played to its end.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// When every run begins, in microseconds since the epoch: any will do.
const EPOCH_MICROS: u64 = 1_700_000_000_000_000;
/// Between a crash and the next attempt: what the platform or the client needs to notice.
const NOTICED_AFTER: Duration = Duration::from_millis(20);
/// A commit takes less than this, mostly.
const COMMIT_MS: u64 = 40;
/// The paper's "10 parallel clients".
pub const CLIENTS: u64 = 10;
/// How many requests the paper counts.
pub const TRANSACTIONS: u64 = 10_000;

/// Who does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// The plain store; a request that has crashed is given up.
    Plain,
    /// The plain store; a request that has crashed is begun again.
    PlainWithRetries,
    /// AFT, read atomic.
    Aft,
}

impl System {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Plain, Self::PlainWithRetries, Self::Aft];

    const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain store",
            Self::PlainWithRetries => "plain store, client retries",
            Self::Aft => "AFT",
        }
    }
}

/// How much is done, and what goes wrong.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Requests of all clients.
    pub transactions: u64,
    /// Of a hundred attempts, those that crash.
    pub crashes_percent: u64,
    /// All chance.
    pub seed: u64,
}

/// Where an attempt crashes.
#[derive(Debug, Clone, Copy)]
pub struct Crash {
    step: usize,
    /// How far into its commit, if it comes to that.
    after: Duration,
}

impl Crash {
    const fn before(self, step: usize) -> bool {
        self.step == step
    }

    fn drawn(random: &mut Random, steps: usize, percent: u64) -> Option<Self> {
        let (crashes, step, after) =
            (random.below(100) < percent, random.below(steps as u64 + 1), random.below(COMMIT_MS));
        let step = usize::try_from(step).ok()?;
        crashes.then_some(Self { step, after: Duration::from_millis(after) })
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Well.
    Done,
    /// The function crashed.
    Crashed,
    /// Its sandbox is gone.
    SandboxGone,
    /// There was no version that fits what had been read.
    Conflict,
}

/// What became of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Who.
    pub system: System,
    /// Requests.
    pub transactions: u64,
    /// Of these, those that were given up.
    pub given_up: u64,
    /// Attempts.
    pub attempts: u64,
    /// Requests with a read-your-writes anomaly.
    pub unread_writes: u64,
    /// Requests with fractured reads.
    pub fractured: u64,
    /// How long those took that were not given up, in order.
    pub latencies: Vec<Duration>,
    /// Requests that the store was sent.
    pub store_requests: u64,
}

/// The true time, in microseconds since the epoch, in a world that began at `start`.
fn micros(start: Instant) -> u64 {
    EPOCH_MICROS + u64::try_from(start.elapsed().as_micros()).unwrap_or_default()
}

/// Runs the workload on one system, in virtual time. The same seed gives the same row.
///
/// # Errors
/// If an attempt ended otherwise than it may.
pub fn run(system: System, settings: Settings) -> Result<Row, Error> {
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build()?;
    runtime.block_on(async {
        let (engine, sent, start) = (Engine::untraced().await?, Arc::new(AtomicU64::new(0)), Instant::now());
        let mut seeds = Random::new(settings.seed);
        let clients = (0..CLIENTS).map(|number| {
            let share = settings.transactions / CLIENTS + u64::from(number < settings.transactions % CLIENTS);
            // The same requests and as many crashes for every system.
            let requests = Requests::new(Random::new(seeds.bits()));
            let client = Client {
                system,
                engine: engine.clone(),
                sent: Arc::clone(&sent),
                start,
                crashes: (Random::new(seeds.bits()), settings.crashes_percent),
                random: Random::new(seeds.bits()),
            };
            client.serve(requests, share)
        });
        let rows = try_join_all(clients).await?;
        let mut row = rows.into_iter().fold(Row::new(system), Row::and);
        row.latencies.sort_unstable();
        row.store_requests = sent.load(Ordering::Relaxed);
        Ok(row)
    })
}

struct Client {
    system: System,
    engine: Engine,
    sent: Arc<AtomicU64>,
    start: Instant,
    crashes: (Random, u64),
    random: Random,
}

impl Client {
    async fn serve(mut self, mut requests: Requests, share: u64) -> Result<Row, Error> {
        let mut row = Row::new(self.system);
        let plan_of_plain = plan(Random::new(self.random.bits()), Life::default(), Arc::clone(&self.sent));
        let plain = Plain::new(self.engine.http_client(plan_of_plain));
        let mut sandbox = self.sandbox();
        for _ in 0..share {
            let logical = requests.draw();
            let (began, mark) = (Instant::now(), Mark::of(&logical, micros(self.start)));
            let (mut number, mut found) = (AttemptNumber::FIRST, Found::default());
            let is_done = loop {
                row.attempts += 1;
                let crash = Crash::drawn(&mut self.crashes.0, logical.steps.len(), self.crashes.1);
                let (ended, attempt) = match self.system {
                    System::Plain | System::PlainWithRetries => plain.attempt(&logical, &mark, crash).await?,
                    System::Aft => sandbox.attempt(&logical, &mark, number, crash).await?,
                };
                found = found.or(attempt.found());
                match ended {
                    Ended::Done => break true,
                    Ended::Crashed if self.system == System::Plain => break false,
                    Ended::Crashed | Ended::Conflict => number = number.next(),
                    Ended::SandboxGone => {
                        sandbox = self.sandbox();
                        number = AttemptNumber::FIRST;
                    }
                }
                sleep(NOTICED_AFTER).await;
            };
            row.count(found, is_done.then(|| began.elapsed()));
        }
        Ok(row)
    }

    fn sandbox(&mut self) -> Sandbox {
        let life = Life::default();
        let store = self.engine.store(plan(Random::new(self.random.bits()), life.clone(), Arc::clone(&self.sent)));
        Sandbox::new(store, life, self.start, Random::new(self.random.bits()))
    }
}

impl Row {
    const fn new(system: System) -> Self {
        Self {
            system,
            transactions: 0,
            given_up: 0,
            attempts: 0,
            unread_writes: 0,
            fractured: 0,
            latencies: Vec::new(),
            store_requests: 0,
        }
    }

    fn count(&mut self, found: Found, took: Option<Duration>) {
        self.transactions += 1;
        self.given_up += u64::from(took.is_none());
        self.unread_writes += u64::from(found.unread_write);
        self.fractured += u64::from(found.fractured);
        self.latencies.extend(took);
    }

    fn and(mut self, other: Self) -> Self {
        self.transactions += other.transactions;
        self.given_up += other.given_up;
        self.attempts += other.attempts;
        self.unread_writes += other.unread_writes;
        self.fractured += other.fractured;
        self.latencies.extend(other.latencies);
        self
    }

    /// Of a hundred requests that were not given up, so many took no longer; in milliseconds.
    #[must_use]
    pub fn latency_ms(&self, percent: usize) -> u128 {
        let last = self.latencies.len().saturating_sub(1);
        let at = (self.latencies.len() * percent).div_ceil(100).saturating_sub(1).min(last);
        self.latencies.get(at).map_or(0, Duration::as_millis)
    }
}

/// The rows of a table.
#[derive(Debug)]
pub struct Table(pub Vec<Row>);

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| system | transactions | given up | attempts | RYW | FR | p50 ms | p99 ms | store requests |")?;
        writeln!(f, "|---|---:|---:|---:|---:|---:|---:|---:|---:|")?;
        for row in &self.0 {
            let name = row.system.name();
            let (p50, p99) = (row.latency_ms(50), row.latency_ms(99));
            let Row { transactions, given_up, attempts, unread_writes, fractured, store_requests, .. } = row;
            writeln!(
                f,
                "| {name} | {transactions} | {given_up} | {attempts} | {unread_writes} | {fractured} | {p50} | {p99} | \
                 {store_requests} |"
            )?;
        }
        Ok(())
    }
}
