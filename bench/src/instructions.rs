//! How many instructions a path takes in the layer's own process, as valgrind counts them.
//!
//! Instructions are counted in two runs, the second of which goes the path twice as often; the difference is what so many times
//! take, without start and warm-up. Unlike time, that is the same on a busy machine and on an idle one. What the kernel does is
//! not in it, nor what the other processes do.

use std::path::Path;

use aft_cli::Program;

use crate::Error;
use crate::hot_path::HotPath;
use crate::setup::Programs;

/// What is counted, and how often it is gone by the difference of the two runs: enough that what happens seldom evens out, and
/// no more, because under valgrind all takes fifty times as long.
///
/// Not the shim: it starts its child by `/proc/self/exe`, which under valgrind is valgrind.
pub const COUNTED: [(HotPath, u32); 7] = [
    (HotPath::Put, 1_500),
    (HotPath::Get, 1_500),
    (HotPath::Nothing, 500),
    (HotPath::LookUp, 50),
    (HotPath::Read, 50),
    (HotPath::WriteOne, 50),
    (HotPath::WriteTen, 20),
];

/// The instructions of going the path once, on the average of so many times.
///
/// # Errors
/// If a run fails, or valgrind does not say what it has counted.
pub async fn each(path: HotPath, times: u32, programs: &Programs, valgrind: &Path) -> Result<u64, Error> {
    let once = count(path, programs, valgrind, times).await?;
    let twice = count(path, programs, valgrind, 2 * times).await?;
    let difference = twice.checked_sub(once).ok_or("twice as much took less")?;
    Ok(difference / u64::from(times))
}

async fn count(path: HotPath, programs: &Programs, valgrind: &Path, times: u32) -> Result<u64, Error> {
    let name = format!("aft-instructions-{}-{}-{times}", std::process::id(), path.name());
    let log = std::env::temp_dir().join(name);
    let tool = Program::new(valgrind).with_arguments([
        "--tool=callgrind".to_owned(),
        "--callgrind-out-file=/dev/null".to_owned(),
        format!("--log-file={}", log.display()),
    ]);
    path.go(programs.clone(), &tool, times).await?;
    let said = std::fs::read_to_string(&log)?;
    std::fs::remove_file(&log)?;
    let collected = said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    collected.ok_or_else(|| format!("valgrind did not say what it has counted: {said}").into())
}
