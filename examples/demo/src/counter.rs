//! What read atomic does not promise and serializable isolation does: one counter that everybody increments at the same time.
//! Nothing fails and nothing is killed here; updates get lost all by themselves.

use std::time::Duration;

use aft_cli::{Host, Invocation};
use tokio::time::Instant;
use transfer::event::{Count, Event};

use crate::world::{Mode, SANDBOXES, Setup, World};

type Error = Box<dyn std::error::Error>;

/// Of each caller; there are as many callers as sandboxes.
pub const INCREMENTS: u64 = 40;

/// What became of the increments.
#[derive(Debug, Clone, Copy)]
pub struct Counted {
    acknowledged: u64,
    lost: u64,
    elapsed: Duration,
}

/// Increments, in one world.
///
/// # Errors
/// If the world could not be set up, or an increment fails.
pub async fn carry_out(setup: &Setup, mode: Mode) -> Result<Counted, Error> {
    let world = World::start(setup, mode).await?;
    let host = &world.host;
    // The first sandbox's start is not what this is about.
    increment(host).await?;
    let started = Instant::now();
    let caller = || async {
        for _ in 0..INCREMENTS {
            increment(host).await?;
        }
        Ok::<_, Error>(())
    };
    futures_util::future::try_join_all((0..SANDBOXES).map(|_| caller())).await?;
    let elapsed = started.elapsed();
    let value = increment(host).await?;
    world.stop().await?;
    let acknowledged = INCREMENTS * u64::from(SANDBOXES) + 2;
    Ok(Counted { acknowledged, lost: acknowledged - value, elapsed })
}

/// One of all, and what the counter comes to.
async fn increment(host: &Host) -> Result<u64, Error> {
    let event = Event::Count(Count { counter: "counter".to_owned(), faults: Vec::new() });
    let result = host.invoke(Invocation::new(serde_json::to_vec(&event)?)).await;
    let text = String::from_utf8_lossy(&result.payload);
    serde_json::from_slice(&result.payload).map_err(|error| format!("an increment failed ({error}): {text}").into())
}

/// All three worlds, line by line.
pub fn table(sides: &[Counted; 3]) -> Vec<String> {
    let row = |name: &str, cell: fn(&Counted) -> String| {
        let [without, atomic, serializable] = sides.each_ref().map(cell);
        format!("  {name:<46}{without:>16}{atomic:>16}{serializable:>16}")
    };
    vec![
        String::new(),
        format!("  {:<46}{:>16}{:>16}{:>16}", "", "without AFT", "read-atomic", "serializable"),
        row("increments acknowledged", |side| side.acknowledged.to_string()),
        row("ANOMALIES  lost updates", |side| side.lost.to_string()),
        row("seconds", |side| format!("{:.1}", side.elapsed.as_secs_f64())),
    ]
}

/// What is to be said of it, and whether it has shown what it is for.
pub fn judge([without, _, serializable]: &[Counted; 3]) -> (&'static str, bool) {
    match (serializable.lost, without.lost) {
        (0, 0) => ("  Nothing was lost without AFT either: this run has shown nothing. Run it again.", false),
        (0, _) => (
            "  With AFT_ISOLATION=serializable, every increment counts. Read atomic does not promise that (README).",
            true,
        ),
        _ => ("  AFT lost updates in serializable isolation: this is a bug.", false),
    }
}
