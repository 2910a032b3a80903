//! One invocation of a handler that answers with its event, with the layer and without it, at two sizes; and what the layer's
//! processes weigh after thousands.
//!
//! The same host and the same runtime; the worlds take turns in short blocks. Two times are told: until the caller has the
//! response, and until the sandbox is free for the next (which is what is billed). The slowest one of all is told, too: a
//! missing TCP_NODELAY would show as 40 ms.

use std::time::{Duration, Instant};

use aft_cli::{Host, HostConfig, Invocation, Source};
use aft_protocol::settings;
use bytes::Bytes;

use crate::Error;
use crate::process::{MEMORY_TARGET, resident_bytes};
use crate::report::{Quantity, Row};
use crate::samples::Samples;
use crate::setup::Setup;

/// What is sent and answered, and how often.
#[derive(Debug, Clone, Copy)]
struct Load {
    name: &'static str,
    bytes: usize,
    blocks: usize,
    /// Invocations of one world in a block.
    block: usize,
    /// What `commit-only` and `parallel` may add.
    targets: [Option<Quantity>; 2],
}

const LOADS: [Load; 2] = [
    Load {
        name: "1 KB",
        bytes: 1_024,
        blocks: 60,
        block: 50,
        targets: [Some(Quantity::Time(Duration::from_micros(300))), Some(Quantity::Time(Duration::from_micros(500)))],
    },
    Load { name: "1 MB", bytes: 1_024 * 1_024, blocks: 30, block: 10, targets: [None, None] },
];
const WARM_UP_BLOCKS: usize = 2;
/// What a delayed acknowledgement costs.
const STALL: Duration = Duration::from_millis(40);

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
            if !result.succeeded() || result.payload != *payload {
                return Err(format!("{}: an invocation failed: {:?}", self.name, result.function_error).into());
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

    let mut rows = Vec::new();
    for load in LOADS {
        let padding = "x".repeat(load.bytes - r#"{"padding":""}"#.len());
        let payload = Bytes::from(format!(r#"{{"padding":"{padding}"}}"#));
        for number in 0..WARM_UP_BLOCKS + load.blocks {
            for world in &mut worlds {
                if number == WARM_UP_BLOCKS {
                    world.forget();
                }
                world.block(load.block, &payload).await?;
            }
        }
        rows.extend(times(&load, &worlds));
    }
    let at_last = (worlds[2].memory(&extension)?, worlds[2].memory(&Source::Function)?);
    rows.extend([memory("extension", at_first.0, at_last.0), memory("shim", at_first.1, at_last.1)]);
    for world in worlds {
        world.host.stop().await;
    }
    Ok(rows)
}

fn times(load: &Load, [bare, aft @ ..]: &[World; 3]) -> Vec<Row> {
    let slowest = |samples: &Samples| {
        let stalls = samples.at_least(STALL);
        format!("slowest {}, {stalls} of {} from 40 ms on", Quantity::Time(samples.percentile(100)), samples.len())
    };
    let size = load.name;
    let mut rows = vec![
        Row::of(format!("{size} without the layer: answered"), &bare.answered).beside(slowest(&bare.answered)),
        Row::of(format!("{size} without the layer: sandbox free"), &bare.free).beside(slowest(&bare.free)),
    ];
    for (World { name, answered, free, .. }, target) in aft.iter().zip(load.targets) {
        let row = |what: &str, samples: &Samples, without: &Samples| {
            let ratio = |percent| samples.percentile(percent).as_secs_f64() / without.percentile(percent).as_secs_f64();
            let added = samples.median().saturating_sub(without.median());
            Row::of(format!("{size} with it, {name}: {what}"), samples)
                .added(Quantity::Time(added))
                .and_beside(format!("p50 {:.2}×, p99 {:.2}×; {}", ratio(50), ratio(99), slowest(samples)))
        };
        rows.push(match target {
            Some(target) => row("answered", answered, &bare.answered).target(target),
            None => row("answered", answered, &bare.answered),
        });
        rows.push(row("sandbox free", free, &bare.free));
    }
    rows
}

fn memory(process: &str, at_first: u64, at_last: u64) -> Row {
    let invocations: usize = LOADS.iter().map(|load| (WARM_UP_BLOCKS + load.blocks) * load.block).sum();
    Row::new(format!("{process}: memory after {invocations} invocations"), Quantity::Size(at_last))
        .beside(format!("after the first: {}", Quantity::Size(at_first)))
        .target(MEMORY_TARGET)
}
