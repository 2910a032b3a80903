//! The extension's start, as Lambda's init sees it, and what the layer weighs.

use std::time::{Duration, Instant};

use crate::Error;
use crate::lambda::{Call, Lambda};
use crate::process::{MEMORY_TARGET, resident_bytes};
use crate::report::{Quantity, Row};
use crate::samples::Samples;
use crate::setup::{Setup, SocketDirectory, end};

const RUNS: usize = 100;
const WARM_UP_RUNS: usize = 3;
const TARGET: Quantity = Quantity::Time(Duration::from_millis(10));

/// Measures.
///
/// # Errors
/// If the extension does not start.
pub async fn rows(setup: &Setup) -> Result<Vec<Row>, Error> {
    let (mut registered, mut ready) = (Samples::default(), Samples::default());
    let mut resident = 0;
    for run in 0..WARM_UP_RUNS + RUNS {
        let directory = SocketDirectory::new(&format!("start-{run}"));
        let mut lambda = Lambda::start().await?;
        let mut command = setup.extension(&lambda, &directory.socket())?;
        let started = Instant::now();
        let extension = command.spawn()?;
        let register = lambda.called(Call::Register).await? - started;
        let next = lambda.called(Call::Next).await? - started;
        if run >= WARM_UP_RUNS {
            registered.push(register);
            ready.push(next);
        }
        resident = resident_bytes(extension.id().ok_or("the extension ended")?)?;
        end(extension).await?;
    }
    let size = |path: &std::path::Path| Ok::<_, Error>(Quantity::Size(std::fs::metadata(path)?.len()));
    Ok(vec![
        Row::of("extension: exec to register", &registered).target(TARGET),
        Row::of("extension: exec to ready (store probed)", &ready),
        Row::new("extension: memory when ready", Quantity::Size(resident)).target(MEMORY_TARGET),
        Row::new("extension: binary", size(&setup.programs.layer.extension)?),
        Row::new("shim: binary", size(&setup.programs.layer.shim)?),
    ])
}
