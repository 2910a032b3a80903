//! A case, run: the systems take turns in short blocks, so that whatever else the machine does meets all of them alike.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aft_cli::Invocation;
use aft_simulation::paper::random::Random;
use aft_tests::store;
use base64::Engine as _;
use futures_util::future::{try_join, try_join_all};
use serde_json::json;

use crate::Error;
use crate::anomalies::Written;
use crate::case::{Again, Case, Request, Step};
use crate::latency::Model;
use crate::row::{Measured, Prices, Row};
use crate::storage::Storage;
use crate::system::{Programs, System, TABLE, World};
use crate::work::{Answer, Event, Seen};

/// Requests of each client in a block.
const BLOCK: usize = 10;
/// How often a request is delivered before it counts as lost. Powertools holds a request whose process has died until the
/// function's time limit is over, and an attempt in two or three dies.
const DELIVERIES: u32 = 200;
/// The longest pause before the second delivery of what failed; it doubles.
const PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Heads keep five older versions: from then on an item has its full size.
const WARM_UP: usize = 7;

/// A storage, and everything that runs over it.
pub struct Ground {
    /// What tables call it.
    pub name: String,
    /// The engine's URL.
    pub engine: String,
    /// How slow it is made.
    pub model: Option<Model>,
    /// Where all draws come from.
    pub seed: u64,
    /// What units cost.
    pub prices: Prices,
    programs: Programs,
    worlds: BTreeMap<System, World>,
    sandboxes: u32,
    /// Which keys have values: system, size, number.
    filled: BTreeSet<(System, usize, usize)>,
    number: AtomicUsize,
    written: Mutex<Written>,
}

impl Ground {
    /// Nothing runs yet.
    #[must_use]
    pub fn new(name: &str, engine: &str, model: Option<Model>, programs: &Programs, prices: Prices, seed: u64) -> Self {
        Self {
            name: name.to_owned(),
            engine: engine.to_owned(),
            model,
            seed,
            prices,
            programs: programs.clone(),
            worlds: BTreeMap::new(),
            sandboxes: 0,
            filled: BTreeSet::new(),
            number: AtomicUsize::new(1),
            written: Mutex::default(),
        }
    }

    /// Runs a case.
    ///
    /// # Errors
    /// If a system does not start, or a request is lost.
    pub async fn run(&mut self, case: &Case) -> Result<Vec<Row>, Error> {
        self.open(case).await?;
        let requests = case.draw(self.seed);
        for system in &case.systems {
            self.fill(*system, case, &requests).await?;
        }
        let this = &*self;
        let mut measured: BTreeMap<System, Measured> = BTreeMap::new();
        let warm_up = Case { requests: WARM_UP * case.clients, failures: 0.0, duplicates: 0.0, ..case.clone() };
        for system in &case.systems {
            if !case.adds() {
                let requests = warm_up.draw(this.seed.wrapping_add(1));
                this.block(this.world(*system)?, &warm_up, &requests, &mut Measured::default()).await?;
            }
        }
        let block = if case.clients == 1 { 1 } else { BLOCK * case.clients };
        for some in requests.chunks(block) {
            for system in &case.systems {
                let measured = measured.entry(*system).or_default();
                this.block(this.world(*system)?, case, some, measured).await?;
            }
        }
        let row = |(system, measured): (&System, &Measured)| Row {
            workload: case.workload.to_owned(),
            storage: self.name.clone(),
            system: system.name().to_owned(),
            x: case.x,
            bytes: case.bytes,
            clients: case.clients,
            ..measured.row(self.prices)
        };
        Ok(measured.iter().map(row).collect())
    }

    /// Ends everything.
    pub async fn close(&mut self) {
        for (_, world) in std::mem::take(&mut self.worlds) {
            world.host.stop().await;
        }
    }

    /// Starts what the case needs, with as many sandboxes.
    async fn open(&mut self, case: &Case) -> Result<(), Error> {
        if self.sandboxes != case.sandboxes {
            self.close().await;
            self.sandboxes = case.sandboxes;
        }
        for (number, system) in (0..).zip(&case.systems) {
            if !self.worlds.contains_key(system) {
                let storage = Storage::start(&self.engine, self.model, self.seed.wrapping_add(number)).await?;
                let world = World::start(*system, &self.programs, storage, &self.engine, case.sandboxes).await?;
                self.worlds.insert(*system, world);
            }
        }
        Ok(())
    }

    fn world(&self, system: System) -> Result<&World, Error> {
        self.worlds.get(&system).ok_or_else(|| format!("{} was not started", system.name()).into())
    }

    /// Every key has a value before the first request: by the system's own writes.
    async fn fill(&mut self, system: System, case: &Case, requests: &[Request]) -> Result<(), Error> {
        if system == System::Nothing {
            return Ok(());
        }
        let numbers = case.key_numbers(requests);
        let missing: Vec<usize> =
            numbers.into_iter().filter(|key| !self.filled.contains(&(system, case.bytes, *key))).collect();
        for some in missing.chunks(10) {
            if system == System::Published {
                // What it reads is one item, whatever its name.
                for key in some {
                    let item = json!({
                        "k": { "S": name(system, case.bytes, *key) },
                        "v": { "B": base64::engine::general_purpose::STANDARD.encode(vec![b'v'; case.bytes]) },
                    });
                    let put = json!({ "TableName": TABLE, "Item": item });
                    store::ask(&self.engine, "DynamoDB_20120810.PutItem", &put).await;
                }
                continue;
            }
            let world = self.world(system)?;
            let step = Step { reads: Vec::new(), writes: some.to_vec() };
            self.deliver(world, &self.event(system, case, &step, &[])).await?;
        }
        self.filled.extend(missing.into_iter().map(|key| (system, case.bytes, key)));
        Ok(())
    }

    /// A system's turn.
    async fn block(
        &self,
        world: &World,
        case: &Case,
        requests: &[Request],
        measured: &mut Measured,
    ) -> Result<(), Error> {
        world.host.settled().await;
        let _ = (world.storage.traffic(), world.runs());
        let before = world.processor_micros()?;
        let next = AtomicUsize::new(0);
        let turn = Mutex::new(Turn::default());
        let start = Instant::now();
        let clients = (0..case.clients.min(requests.len())).map(|_| async {
            while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.request(world, case, request, &turn).await?;
            }
            Ok::<_, Error>(())
        });
        try_join_all(clients).await?;
        measured.took += start.elapsed();
        world.host.settled().await;
        let free = start.elapsed();
        let after = world.processor_micros()?;
        let traffic = world.storage.traffic();
        let turn = turn.into_inner().unwrap_or_else(PoisonError::into_inner);
        if case.clients == 1 {
            measured.free.push(free);
            if let (Some(last), Some(answered)) = (turn.last, turn.answered.last()) {
                measured.round_trips += traffic.before(last).round_trips();
                measured.beside.push(answered.saturating_sub(traffic.busy(last)));
            }
        }
        measured.processor.0 += after.0.saturating_sub(before.0);
        measured.processor.1 += after.1.saturating_sub(before.1);
        measured.traffic.push(traffic);
        for answered in turn.answered {
            measured.answered.push(answered);
        }
        measured.anomalies.0 += turn.anomalies.0;
        measured.anomalies.1 += turn.anomalies.1;
        // Of AFT the shim has run handlers again; with failures or duplicates, not only because of others.
        let reruns = world.runs().saturating_sub(turn.deliveries);
        let is_counted = case.failures == 0.0 && case.duplicates == 0.0 && world.system.is_aft();
        measured.aborts += turn.aborts + if is_counted { reruns } else { 0 };
        for (event, twice) in turn.added {
            if twice {
                measured.duplicates.0 += 1;
                measured.duplicates.1 += usize::from(self.sum(world.system, &event).await? != event.writes.len());
            }
        }
        Ok(())
    }

    async fn request(&self, world: &World, case: &Case, request: &Request, turn: &Mutex<Turn>) -> Result<(), Error> {
        let start = Instant::now();
        let request_number = self.next_number();
        let (mut all, mut fractured, mut aborts) = (Vec::new(), false, 0);
        for step in &request.steps {
            let event = self.event(world.system, case, step, &request.ends);
            lock(&self.written).add(event.number, request_number, &event.writes);
            let twice = request.again;
            let answer = match twice {
                None => self.deliver(world, &event).await?,
                Some(Again::AtOnce) => try_join(self.deliver(world, &event), self.deliver(world, &event)).await?.0,
                Some(Again::Later) => {
                    let answer = self.deliver(world, &event).await?;
                    self.deliver(world, &event).await?;
                    answer
                }
            };
            aborts += usize::try_from(answer.aborts)?;
            fractured |= lock(&self.written).is_fractured(&answer.seen);
            all.extend::<Vec<Seen>>(answer.seen);
            let mut turn = lock(turn);
            turn.deliveries += 1;
            if case.adds() {
                turn.added.push((event, twice.is_some()));
            }
        }
        let across = lock(&self.written).is_fractured_across(&all);
        let mut turn = lock(turn);
        turn.answered.push(start.elapsed());
        turn.last = Some(Instant::now());
        turn.aborts += aborts;
        turn.anomalies.0 += usize::from(fractured);
        turn.anomalies.1 += usize::from(across);
        Ok(())
    }

    /// Until it is answered: what fails is sent again, under the same request ID.
    async fn deliver(&self, world: &World, event: &Event) -> Result<Answer, Error> {
        let payload = serde_json::to_vec(event)?;
        let mut random = Random::new(event.number);
        for delivery in 0..DELIVERIES {
            let invocation = Invocation::new(payload.clone()).with_request_id(&event.request);
            let result = world.host.invoke(invocation).await;
            if result.succeeded() {
                return Ok(serde_json::from_slice(&result.payload)?);
            }
            let is_expected = !event.ends.is_empty() || event.adds;
            if !is_expected {
                let why = String::from_utf8_lossy(&result.payload).into_owned();
                return Err(format!("{}: {why}{}", world.system.name(), world.last_words()).into());
            }
            let longest = PAUSE.saturating_mul(1 << delivery.min(16)).min(LONGEST_PAUSE);
            tokio::time::sleep(random.up_to(longest)).await;
        }
        Err(format!("{}: {} was delivered {DELIVERIES} times in vain", world.system.name(), event.request).into())
    }

    fn next_number(&self) -> u64 {
        self.number.fetch_add(1, Ordering::Relaxed) as u64
    }

    fn event(&self, system: System, case: &Case, step: &Step, ends: &[Option<f64>]) -> Event {
        let name = |key: &usize| name(system, case.bytes, *key);
        let serial = self.next_number();
        let writes = if case.adds() {
            step.writes.iter().map(|key| format!("{}-added-{}-{serial}-{key}", system as usize, case.x)).collect()
        } else {
            step.writes.iter().map(name).collect()
        };
        Event {
            // Storages may share an engine, and no request IDs.
            request: format!("{:08x}-{:04x}-4000-8000-{serial:012x}", self.seed & 0xffff_ffff, self.name.len()),
            number: serial,
            at: aft_bench::clock::nanos() / 1_000,
            reads: step.reads.iter().map(name).collect(),
            writes,
            bytes: case.bytes,
            works_ms: case.works_ms,
            adds: case.adds(),
            ends: ends.to_vec(),
        }
    }

    /// What all additions of a request have come to.
    async fn sum(&self, system: System, event: &Event) -> Result<usize, Error> {
        let mut sum = 0;
        for key in &event.writes {
            let table = if system.is_aft() { "data" } else { TABLE };
            let query = json!({ "TableName": table, "Key": { "k": { "S": key } }, "ConsistentRead": true });
            let item = store::ask(&self.engine, "DynamoDB_20120810.GetItem", &query).await;
            let count: usize = match item["Item"]["v"]["B"].as_str() {
                Some(value) => String::from_utf8(base64::engine::general_purpose::STANDARD.decode(value)?)?.parse()?,
                None => item["Item"]["n"]["N"].as_str().unwrap_or("0").parse()?,
            };
            sum += count;
        }
        Ok(sum)
    }
}

/// What has come of a system's turn so far.
#[derive(Default)]
struct Turn {
    answered: Vec<Duration>,
    last: Option<Instant>,
    deliveries: usize,
    aborts: usize,
    anomalies: (usize, usize),
    /// Events that add, and whether they came twice.
    added: Vec<(Event, bool)>,
}

/// Systems share an engine, and no keys.
fn name(system: System, bytes: usize, key: usize) -> String {
    format!("{}-{bytes}-{key:06}", system as usize)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
