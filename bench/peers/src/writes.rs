//! 1, 5 and 10 writes of one size in a request, blind: Figure 2 of AFT's paper, with every system instead of two.
//!
//! The systems take turns, one request each, so that whatever else the machine does meets all of them alike.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aft_bench::samples::Samples;
use aft_cli::Invocation;
use serde::Serialize;

use crate::Error;
use crate::latency::Model;
use crate::storage::{Storage, Traffic};
use crate::system::{Programs, System, World};
use crate::work::Event;

/// How much is measured.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Requests of each system in each case.
    pub rounds: usize,
    /// How many keys a request writes.
    pub keys: Vec<usize>,
    /// How large each value is.
    pub bytes: Vec<usize>,
    /// Where all draws come from.
    pub seed: u64,
}

/// What one system did in one case. Times in milliseconds, units, requests and bytes for one request.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Which system, by its name in tables.
    pub system: &'static str,
    /// How many keys a request writes.
    pub keys: usize,
    /// How large each value is.
    pub bytes: usize,
    /// Until the caller has the response: median.
    pub p50: f64,
    /// And the 99th percentile.
    pub p99: f64,
    /// Until the sandbox is free again: median.
    pub free_p50: f64,
    /// Requests to DynamoDB one after the other.
    pub round_trips: f64,
    /// Requests to DynamoDB.
    pub requests: f64,
    /// Write units.
    pub write_units: f64,
    /// Read units.
    pub read_units: f64,
    /// Bodies of requests and answers.
    pub wire_bytes: f64,
    /// Processor time of the extension, in microseconds.
    pub extension_micros: f64,
    /// Processor time of the shim, in microseconds.
    pub shim_micros: f64,
    /// Of all requests to the engine, those for which it took longer than the model, in percent.
    pub overran_percent: f64,
}

/// What has been seen of one system in one case.
#[derive(Default)]
struct Seen {
    answered: Samples,
    free: Samples,
    round_trips: usize,
    traffic: Vec<Traffic>,
    extension_micros: u64,
    shim_micros: u64,
}

/// Measures. Every system has a door of its own to the one engine, so that what goes through is its own.
///
/// # Errors
/// If a system does not start, or a request fails.
pub async fn measure(engine: &str, model: Option<Model>, programs: &Programs, plan: &Plan) -> Result<Vec<Row>, Error> {
    let mut worlds = Vec::new();
    for (number, system) in (0..).zip(System::ALL) {
        let storage = Storage::start(engine, model, plan.seed.wrapping_add(number)).await?;
        let world = World::start(system, programs, &storage, engine, 1).await?;
        worlds.push((world, storage));
    }
    let mut rows = Vec::new();
    let mut request = 0_usize;
    for &bytes in &plan.bytes {
        for &keys in &plan.keys {
            let mut seen: BTreeMap<System, Seen> = BTreeMap::new();
            for round in 0..plan.rounds + warm_up(plan.rounds) {
                for (world, storage) in &worlds {
                    request += 1;
                    let event = Event {
                        request: format!("{:08x}-0000-4000-8000-{request:012x}", plan.seed as u32),
                        reads: Vec::new(),
                        // The same keys again and again: DynamoDB does not mind, and heads have a history.
                        writes: (0..keys).map(|key| format!("w-{bytes}-{keys}-{key:02}")).collect(),
                        bytes,
                    };
                    let before = world.processor_micros()?;
                    let _ = storage.traffic();
                    let (answered, free) = once(world, &event).await?;
                    let traffic = storage.traffic();
                    if round < warm_up(plan.rounds) {
                        continue;
                    }
                    let after = world.processor_micros()?;
                    let seen = seen.entry(world.system).or_default();
                    seen.answered.push(answered);
                    seen.free.push(free);
                    seen.round_trips += traffic.round_trips();
                    seen.traffic.push(traffic);
                    seen.extension_micros += after.0.saturating_sub(before.0);
                    seen.shim_micros += after.1.saturating_sub(before.1);
                }
            }
            rows.extend(seen.iter().map(|(system, seen)| row(*system, keys, bytes, seen)));
        }
    }
    for (world, _) in worlds {
        world.host.stop().await;
    }
    Ok(rows)
}

/// Heads keep five older versions: from then on an item has its full size.
fn warm_up(rounds: usize) -> usize {
    rounds.div_ceil(20).max(7)
}

async fn once(world: &World, event: &Event) -> Result<(Duration, Duration), Error> {
    let invocation = Invocation::new(serde_json::to_vec(event)?).with_request_id(&event.request);
    let start = Instant::now();
    let result = world.host.invoke(invocation).await;
    let answered = start.elapsed();
    world.host.settled().await;
    let free = start.elapsed();
    if !result.succeeded() {
        return Err(format!("{}: {}", world.system.name(), String::from_utf8_lossy(&result.payload)).into());
    }
    Ok((answered, free))
}

#[allow(clippy::cast_precision_loss, reason = "for people")]
fn row(system: System, keys: usize, bytes: usize, seen: &Seen) -> Row {
    let count = seen.answered.len() as f64;
    let mean = |sum: f64| sum / count;
    let all = |of: fn(&Traffic) -> usize| seen.traffic.iter().map(of).sum::<usize>() as f64;
    let requests = all(Traffic::requests);
    let millis = |duration: Duration| duration.as_secs_f64() * 1e3;
    Row {
        system: system.name(),
        keys,
        bytes,
        p50: millis(seen.answered.median()),
        p99: millis(seen.answered.percentile(99)),
        free_p50: millis(seen.free.median()),
        round_trips: mean(seen.round_trips as f64),
        requests: mean(requests),
        write_units: mean(seen.traffic.iter().map(Traffic::write_units).sum()),
        read_units: mean(seen.traffic.iter().map(Traffic::read_units).sum()),
        wire_bytes: mean(all(Traffic::bytes)),
        extension_micros: mean(seen.extension_micros as f64),
        shim_micros: mean(seen.shim_micros as f64),
        overran_percent: if requests > 0.0 { all(Traffic::overruns) / requests * 100.0 } else { 0.0 },
    }
}
