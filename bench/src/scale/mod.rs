//! Thousands of sandboxes on DynamoDB's partitions, in virtual time: how much goes through, where it stops, and what it costs.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | one cell of the table: so many sandboxes at one kind of work |
//! | [`workload`] | what a sandbox does |
//! | [`storage`] | the two tables as one sandbox reaches them |
//! | [`partitions`] | what a partition can do |
//! | [`units`] | what a request takes of it |
//! | [`bill`] | computed from a cell: partitions, stream, fault manager, retention, money |
//! | [`calibration`] | the model beside measured runs: its error |
//! | [`report`] | tables, and the file that plots are drawn from |
//!
//! Simulated with the code that is shipped: the session (begin, look-ups, reads, commit, apply, retries and their pauses, taking turns)
//! and the protocol's core; one session for each sandbox. The store contract's plain form stands for DynamoDB, behind
//! the times of [`latency`](crate::latency) and the limits of [`partitions`]. The same seed gives the same figures on any machine.

pub mod bill;
pub mod calibration;
pub mod partitions;
pub mod report;
pub mod storage;
pub mod units;
pub mod workload;

use std::sync::Arc;
use std::time::Duration;

use aft_extension::session::{Ack, Behaviour};
use aft_protocol::head::{Cowritten, Entry, Keep};
use aft_protocol::id::TransactionId;
use aft_protocol::value::{ContentType, Value};
use aft_protocol::version::{Timestamp, Version};
use aft_simulation::paper::random::Random;
use aft_store::Store;
use aft_store::memory::Memory;
use futures_util::future::{Either, join_all, select};
use tokio::runtime::Builder;
use tokio::time::Instant;

use crate::Error;
use crate::latency::Model;
use crate::process::resident_bytes;
use crate::sandbox::{EPOCH_MICROS, Sandbox, shipped};
use partitions::Limits;
use storage::{Storage, Tables, Usage, Watch};
use workload::{Client, Keys, Progress, Tally, Work};

/// Transactions of each sandbox before the window.
const BEFORE: usize = 4;
/// And so many more where a partition was at its limit: by then those that want a hot key all wait for it.
const THROTTLED_BEFORE: usize = 16;
/// And in the window.
const WITHIN: usize = 5;
/// Where sandboxes wait for a partition, time ends each of the three: the first two together are twice as long as a function has.
const LONGEST: Duration = Duration::from_secs(30);

/// What is the same for all cells of a run.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// How long requests take.
    pub model: Model,
    /// How many keys there are.
    pub keys: usize,
    /// Where all draws come from.
    pub seed: u64,
    /// How many transactions there are in a window at least, and before it.
    pub least: usize,
}

/// One cell.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// When a commit is acknowledged.
    pub ack: Ack,
    /// How many sandboxes.
    pub sandboxes: usize,
    /// What each does.
    pub work: Work,
    /// What the partitions can do.
    pub limits: Limits,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Cell {
    /// Of what.
    pub case: Case,
    /// What ended in the window.
    pub tally: Tally,
    /// What it took of the tables.
    pub usage: Usage,
    /// How long the window was.
    pub window: Duration,
    /// The process's memory for each sandbox, with its first transaction under way; the one figure that is this machine's.
    pub sandbox_bytes: u64,
}

impl Cell {
    /// Transactions answered with success.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        self.a_second(self.tally.latencies.len())
    }

    /// So many in the window are so many a second.
    #[must_use]
    pub fn a_second(&self, count: usize) -> f64 {
        count as f64 / self.window.as_secs_f64()
    }
}

/// One cell, in virtual time.
///
/// # Errors
/// If a transaction ended as none may.
pub fn run(inputs: &Inputs, case: Case) -> Result<Cell, Error> {
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build()?;
    runtime.block_on(simulate(inputs, case))
}

async fn simulate(inputs: &Inputs, case: Case) -> Result<Cell, Error> {
    let start = Instant::now();
    let keys = Arc::new(Keys::new(inputs.keys, case.work.skew)?);
    let value = Value::new(vec![b'v'; case.work.bytes], ContentType::default())?;
    let memory = Memory::new();
    written_once(&memory, &keys, &value).await?;
    let tables = Tables::new(memory, inputs.model, case.limits);
    let progress = Progress::default();
    let mut seeds = Random::new(inputs.seed);
    let empty = resident_bytes(std::process::id())?;
    // Nothing reads from the cache, and ten thousand of them are large.
    let behaviour = Behaviour { ack: case.ack, cache_bytes: 0, ..shipped() };
    let clients = (0..case.sandboxes).map(|_| {
        let watch = Arc::new(Watch::default());
        let storage = Storage::new(&tables, &watch, Random::new(seeds.bits()));
        let sandbox = Sandbox::new(storage, behaviour, start, Random::new(seeds.bits()));
        let client = Client { sandbox, watch, keys: Arc::clone(&keys), value: value.clone(), work: case.work };
        client.serve(&progress, Random::new(seeds.bits()))
    });
    let clients = join_all(clients);
    let windows = async {
        let _ = progress.window(case.sandboxes, LONGEST).await;
        let full = resident_bytes(std::process::id());
        let transactions = |each: usize| (each * case.sandboxes).max(inputs.least);
        let _ = progress.window(transactions(BEFORE), LONGEST).await;
        if tables.usage().throttled > 0 {
            let _ = progress.window(transactions(THROTTLED_BEFORE), LONGEST).await;
            let _ = tables.usage();
        }
        let (tally, window) = progress.window(transactions(WITHIN), LONGEST).await;
        (tally, window, full)
    };
    match select(clients, Box::pin(windows)).await {
        // Clients never end but by an error.
        Either::Left((ended, _)) => Err(ended.into_iter().find_map(Result::err).unwrap_or_else(|| "no sandbox".into())),
        Either::Right(((tally, window, full), _)) => {
            let sandbox_bytes = full?.saturating_sub(empty) / case.sandboxes as u64;
            Ok(Cell { case, tally, usage: tables.usage(), window, sandbox_bytes })
        }
    }
}

/// Every key has been written before, long enough ago and not too long.
async fn written_once(memory: &Memory, keys: &Keys, value: &Value) -> Result<(), Error> {
    let version = Version::new(Timestamp::from_micros(EPOCH_MICROS - 1_000_000), TransactionId::from_bits(1));
    let record_expires_at_seconds = EPOCH_MICROS / 1_000_000 + shipped().retention_seconds;
    let value = Some(value.clone());
    let entry = Entry { version, value, cowritten: Cowritten::none(), record_expires_at_seconds };
    for key in keys.all() {
        memory.apply(key, &entry, Keep::Inline).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aft_extension::session::Ack;

    use super::bill::{Prices, ceiling};
    use super::partitions::Limits;
    use super::report::{Row, of_rates};
    use super::workload::Work;
    use super::{Case, Inputs, run};
    use crate::latency::Model;

    const PRICES: Prices = Prices { write: 0.625, read: 0.125, storage: 0.25 };
    const WORK: Work = Work {
        reads: 2,
        writes: 1,
        bytes: 200,
        skew: 0.0,
        handler: Duration::from_millis(10),
        overhead: Duration::ZERO,
        queues: false,
    };
    const CASE: Case = Case { ack: Ack::Visible, sandboxes: 10, work: WORK, limits: Limits::NONE };

    fn row_of(keys: usize, case: Case, least: usize) -> Row {
        let cell = run(&Inputs { model: Model::default(), keys, seed: 1, least }, case).unwrap();
        Row::of(&cell, keys, 604_800.0, &PRICES).unwrap()
    }

    fn row(keys: usize, case: Case) -> Row {
        row_of(keys, case, 400)
    }

    fn table(seed: u64) -> String {
        let inputs = Inputs { model: Model::default(), keys: 50, seed, least: 400 };
        let work = Work { skew: 1.5, bytes: 4_096, ..WORK };
        // Throttled, so that retries and their pauses are in it.
        let case = Case { work, sandboxes: 20, limits: Limits { partitions: Some(3), ..Limits::default() }, ..CASE };
        let row = Row::of(&run(&inputs, case).unwrap(), 50, 604_800.0, &PRICES).unwrap();
        assert!(row.throttled > 0.1, "{row:?}");
        format!("{}{row:?}", of_rates(std::slice::from_ref(&row)))
    }

    #[test]
    fn the_same_seed_gives_the_same_figures() {
        assert_eq!(table(7), table(7));
        assert_ne!(table(7), table(8));
    }

    /// `docs/protocol.md`, "Cost", and `docs/cost.md`: small keys that nobody has read cost n heads and a record, and n look-ups and one.
    #[test]
    fn a_transaction_takes_the_units_that_the_documents_say() {
        let units = |writes: usize, reads: usize, bytes: usize| {
            // So many keys that hardly one is drawn twice; what is under way at the ends of the window is the difference.
            let row = row(5_000, Case { work: Work { reads, writes, bytes, ..WORK }, ..CASE });
            [row.write_units, row.read_units].map(|units| (units * 10.0).round() / 10.0)
        };
        assert_eq!(units(1, 0, 200), [2.0, 2.0]);
        assert_eq!(units(2, 0, 200), [3.0, 3.0]);
        assert_eq!(units(3, 0, 200), [5.0, 4.0]);
        assert_eq!(units(2, 0, 2_000), [11.0, 3.0]);
        // A head of 4 KB and what it carries are 5 units to write and 2 to read; so is the record; the look-up finds none.
        assert_eq!(units(1, 2, 4_096), [10.0, 7.0]);
    }

    /// Without limits the one key that everybody writes takes all there is; with them, what its partition gives.
    #[test]
    fn a_hot_key_has_a_ceiling() {
        for (bytes, expected) in [(200, 1_000.0), (4_096, 200.0)] {
            let work = Work { reads: 0, bytes, handler: Duration::ZERO, ..WORK };
            let case = Case { work, sandboxes: 100, ..CASE };
            let limited = row_of(1, Case { limits: Limits::default(), ..case }, 1_000);
            assert_eq!(ceiling(&work, 1, &Limits::default()).unwrap(), expected);
            assert!((limited.per_second / expected - 1.0).abs() < 0.03, "{bytes} bytes: {limited:?}");
            assert!(limited.hottest_write_units <= 1_030.0 && limited.throttled > 0.1, "{limited:?}");
            let free = row(1, case);
            assert!(free.per_second > 2.0 * expected && free.throttled == 0.0, "{free:?}");
        }
    }

    /// Five requests one after the other: two reads, the look-up of what is written, the record, the head; a durable commit is answered
    /// before the head.
    #[test]
    fn a_transaction_takes_as_long_as_its_round_trips() {
        let visible = row(1_000, CASE);
        assert!((24.5..26.5).contains(&visible.p50), "5 times 3 ms and the tail's share, and 10: {visible:?}");
        let durable = row(1_000, Case { ack: Ack::Durable, ..CASE });
        assert!((2.5..3.7).contains(&(visible.p50 - durable.p50)), "{visible:?} {durable:?}");
        let slower = row(1_000, Case { work: Work { overhead: Duration::from_micros(500), ..WORK }, ..CASE });
        assert!((0.4..0.6).contains(&(slower.p50 - visible.p50)), "half a millisecond is not rounded away: {slower:?}");
        let throughput = 10.0 / (visible.p50 / 1e3);
        assert!((visible.per_second / throughput - 1.0).abs() < 0.03, "a closed loop of ten: {visible:?}");
    }
}
