//! What contention costs: transfers between accounts of which some are hotter than others, by AFT and by hand, side by side.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | the contestants; one cell of the table: one contestant under one workload |
//! | [`workload`] | transfers and audits; what comes of them |
//! | [`client`] | a client in a closed loop, and its pauses |
//! | [`aft`] | the work under AFT |
//! | [`plain`] | the work by hand |
//! | [`ground`] | an engine on virtual time, or DynamoDB Local |
//! | [`model`] | how long requests take in virtual time, and what they cost |
//! | [`table`] | the table |
//!
//! In virtual time the same seed gives the same table on any machine.

pub mod aft;
pub mod client;
pub mod ground;
pub mod model;
pub mod plain;
pub mod table;
pub mod workload;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use aft_extension::session::Behaviour;
use aft_protocol::isolation::Isolation;
use futures_util::future::join_all;
use tokio::runtime::Builder;
use tokio::time::Instant;

use crate::Error;
use crate::sandbox::{Sandbox, shipped};
use aft_simulation::paper::random::Random;
use client::{Pauses, serve};
use ground::Ground;
use model::Usage;
use plain::ByHand;
use workload::{CLIENTS, Losses, Progress, Tally, Workload};

/// Who does the work, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contestant {
    /// AFT, `AFT_ISOLATION=serializable`.
    Serializable,
    /// By hand, with a record of each transaction.
    Recorded,
    /// The same with the shim's pauses, so that the pauses and all else can be told apart.
    RecordedWithShimsPauses,
    /// By hand, without.
    Bare,
    /// AFT, `AFT_ISOLATION=read-atomic`.
    ReadAtomic,
}

impl Contestant {
    /// Every one.
    pub const ALL: [Self; 5] =
        [Self::Serializable, Self::Recorded, Self::RecordedWithShimsPauses, Self::Bare, Self::ReadAtomic];

    /// Its name in the table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Serializable => "AFT serializable",
            Self::Recorded => "by hand, with a record",
            Self::RecordedWithShimsPauses => "… and the shim's pauses",
            Self::Bare => "by hand, not idempotent",
            Self::ReadAtomic => "AFT read atomic",
        }
    }

    /// Whether it promises not to lose updates.
    #[must_use]
    pub const fn keeps_updates(self) -> bool {
        !matches!(self, Self::ReadAtomic)
    }

    const fn pauses(self) -> Pauses {
        match self {
            Self::Serializable | Self::ReadAtomic | Self::RecordedWithShimsPauses => Pauses::Shim,
            Self::Recorded | Self::Bare => Pauses::Backoff,
        }
    }
}

/// What one contestant did under one workload.
#[derive(Debug, Clone)]
pub struct Cell {
    /// Who.
    pub contestant: Contestant,
    /// At what.
    pub workload: Workload,
    /// What the transactions came to.
    pub tally: Tally,
    /// What they cost, if that is counted.
    pub usage: Option<Usage>,
    /// How long it took until so many had committed as should.
    pub took: Duration,
    /// What is missing.
    pub losses: Losses,
}

/// One contestant under one workload, in virtual time.
///
/// # Errors
/// If a request ended otherwise than in a commit or a conflict.
pub fn in_virtual_time(contestant: Contestant, workload: Workload) -> Result<Cell, Error> {
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build()?;
    runtime.block_on(async { run(&Ground::simulated().await?, contestant, workload).await })
}

/// One contestant under one workload, on some ground.
///
/// # Errors
/// If a request ended otherwise than in a commit or a conflict.
pub async fn run(ground: &Ground, contestant: Contestant, workload: Workload) -> Result<Cell, Error> {
    let progress = Progress::new(&workload);
    let mut seeds = Random::new(workload.seed);
    let clients = (0..CLIENTS).map(|_| {
        // The same transactions for every contestant.
        let (work, requests) = (Random::new(seeds.bits()), Random::new(seeds.bits()));
        let own = Random::new(seeds.bits() ^ ground.salt());
        client(ground, contestant, workload, &progress, [work, requests, own])
    });
    let tallies = join_all(clients).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    let took = progress.took();
    let tally = tallies.into_iter().fold(Tally::default(), Tally::and);
    let accounts = match contestant {
        Contestant::Serializable | Contestant::ReadAtomic => aft::accounts(&ground.true_store()).await?,
        Contestant::Recorded | Contestant::RecordedWithShimsPauses | Contestant::Bare => {
            plain::accounts(&ground.true_client(), &ground.tables()).await?
        }
    };
    let losses = Losses::of(&accounts, tally.transfers.len());
    Ok(Cell { contestant, workload, usage: ground.usage(), took, losses, tally })
}

type Served<'a> = Pin<Box<dyn Future<Output = Result<Tally, Error>> + 'a>>;

fn client<'a>(
    ground: &Ground,
    contestant: Contestant,
    workload: Workload,
    progress: &'a Progress,
    [work, requests, own]: [Random; 3],
) -> Served<'a> {
    let (pauses, start) = (contestant.pauses(), Instant::now());
    let sandbox = |isolation| {
        let behaviour = Behaviour { isolation, ..shipped() };
        Sandbox::new(ground.store(requests.clone()), behaviour, start, own.clone())
    };
    let by_hand =
        |keeps_record| ByHand::new(ground.client(requests.clone()), ground.tables(), keeps_record, own.clone());
    match contestant {
        Contestant::Serializable => Box::pin(serve(sandbox(Isolation::Serializable), pauses, workload, progress, work)),
        Contestant::ReadAtomic => Box::pin(serve(sandbox(Isolation::ReadAtomic), pauses, workload, progress, work)),
        Contestant::Recorded | Contestant::RecordedWithShimsPauses => {
            Box::pin(serve(by_hand(true), pauses, workload, progress, work))
        }
        Contestant::Bare => Box::pin(serve(by_hand(false), pauses, workload, progress, work)),
    }
}

#[cfg(test)]
mod tests {
    use super::workload::Workload;
    use super::{Contestant, in_virtual_time, table};

    const WORKLOAD: Workload = Workload { skew: 2.0, audits_percent: 20, transactions: 60, seed: 7 };

    #[test]
    fn only_read_atomic_loses_updates() {
        for contestant in Contestant::ALL {
            let cell = in_virtual_time(contestant, WORKLOAD).unwrap();
            assert!(cell.tally.committed() >= WORKLOAD.transactions, "{}", contestant.name());
            assert_eq!(cell.losses.is_none(), contestant.keeps_updates(), "{}: {:?}", contestant.name(), cell.losses);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_table() {
        let table = || table::of(&[in_virtual_time(Contestant::Serializable, WORKLOAD).unwrap()]);
        assert_eq!(table(), table());
    }
}
