//! One invocation of a handler that does nothing, with the layer and without it, and what the layer's processes weigh
//! after a thousand.
//!
//! The same host and the same runtime; the worlds take turns in short blocks. Two times are told: until the caller has the
//! response, and until the sandbox is free for the next (which is what is billed).

use std::time::{Duration, Instant};

use aft_cli::{Host, HostConfig, Invocation, Source};
use aft_protocol::settings;
use bytes::Bytes;

use crate::Error;
use crate::process::{MEMORY_TARGET, resident_bytes};
use crate::report::{Quantity, Row};
use crate::samples::Samples;
use crate::setup::Setup;

const PAYLOAD_BYTES: usize = 1_024;
const BLOCKS: usize = 60;
/// Invocations of one world in a block: 3,000 in all.
const BLOCK: usize = 50;
const WARM_UP_BLOCKS: usize = 2;
const TARGET: Quantity = Quantity::Time(Duration::from_micros(500));

/// A host, and what its invocations took.
struct World {
    name: &'static str,
    host: Host,
    answered: Samples,
    free: Samples,
}

impl World {
    /// Starts the host and its sandbox.
    async fn start(name: &'static str, config: HostConfig) -> Result<Self, Error> {
        let host = Host::start(config).await?;
        let mut world = Self { name, host, answered: Samples::default(), free: Samples::default() };
        world.block(1, &Bytes::from_static(b"{}")).await?;
        world.forget();
        Ok(world)
    }

    async fn block(&mut self, invocations: usize, payload: &Bytes) -> Result<(), Error> {
        for _ in 0..invocations {
            let invocation = Invocation::new(payload.clone());
            let started = Instant::now();
            let result = self.host.invoke(invocation).await;
            self.answered.since(started);
            self.host.settled().await;
            self.free.since(started);
            if !result.succeeded() || result.payload != "{}" {
                return Err(format!("{}: an invocation failed: {result:?}", self.name).into());
            }
        }
        Ok(())
    }

    fn forget(&mut self) {
        (self.answered, self.free) = (Samples::default(), Samples::default());
    }

    /// The resident memory of a process of the layer.
    fn memory(&self, source: &Source) -> Result<u64, Error> {
        let processes = self.host.processes();
        let process = processes.iter().find(|process| process.source == *source).ok_or("a process is missing")?;
        Ok(resident_bytes(process.pid)?)
    }
}

/// Measures.
///
/// # Errors
/// If a host does not start or an invocation fails.
pub async fn rows(setup: &Setup) -> Result<Vec<Row>, Error> {
    let with = |check: &str| {
        let mut config = setup.config.clone();
        config.environment.insert(settings::DUPLICATE_CHECK.name.to_owned(), check.to_owned());
        config
    };
    let bare = HostConfig { layer: None, ..setup.config.clone() };
    let mut worlds = [
        World::start("without the layer", bare).await?,
        World::start("commit-only", with("commit-only")).await?,
        World::start("parallel", with("parallel")).await?,
    ];
    let extension = Source::Extension(aft_cli::config::AFT_EXTENSION.to_owned());
    let at_first = (worlds[2].memory(&extension)?, worlds[2].memory(&Source::Function)?);

    let padding = "x".repeat(PAYLOAD_BYTES - r#"{"padding":""}"#.len());
    let payload = Bytes::from(format!(r#"{{"padding":"{padding}"}}"#));
    for number in 0..WARM_UP_BLOCKS + BLOCKS {
        for world in &mut worlds {
            if number == WARM_UP_BLOCKS {
                world.forget();
            }
            world.block(BLOCK, &payload).await?;
        }
    }
    let at_last = (worlds[2].memory(&extension)?, worlds[2].memory(&Source::Function)?);
    let mut rows = times(&worlds);
    rows.extend([memory("extension", at_first.0, at_last.0), memory("shim", at_first.1, at_last.1)]);
    for world in worlds {
        world.host.stop().await;
    }
    Ok(rows)
}

fn times([bare, aft @ ..]: &[World; 3]) -> Vec<Row> {
    let mut rows = vec![
        Row::of("invocation without the layer: answered", &bare.answered),
        Row::of("invocation without the layer: sandbox free", &bare.free),
    ];
    for World { name, answered, free, .. } in aft {
        let row = |what: &str, samples: &Samples, without: &Samples| {
            let added = Quantity::Time(samples.median().saturating_sub(without.median()));
            Row::of(format!("with it, {name}: {what}"), samples).added(added)
        };
        rows.push(row("answered", answered, &bare.answered).target(TARGET));
        rows.push(row("sandbox free", free, &bare.free));
    }
    rows
}

fn memory(process: &str, at_first: u64, at_last: u64) -> Row {
    let invocations = (WARM_UP_BLOCKS + BLOCKS) * BLOCK;
    Row::new(format!("{process}: memory after {invocations} invocations"), Quantity::Size(at_last))
        .beside(format!("after the first: {}", Quantity::Size(at_first)))
        .target(MEMORY_TARGET)
}
