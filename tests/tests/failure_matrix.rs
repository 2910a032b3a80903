//! The failure matrix of `docs/failure-modes.md`, run: every instant of an invocation with every cause, each in a world of
//! its own. `UPDATE_DOCS=1` writes what was seen into the document; otherwise the document must say it already.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use aft_tests::matrix::{self, Cause, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const FUNCTION: &str = env!("CARGO_BIN_EXE_witnessed-function");
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/failure-modes.md");

/// Worlds at the same time. Most of a world's life is waiting.
const WORLDS: usize = 8;

/// The cells to run: all, or those whose titles contain what `MATRIX` says, to look at one while working on it.
fn cells() -> Vec<(Instant, Cause)> {
    let wanted = std::env::var("MATRIX").unwrap_or_default();
    let pairs = Instant::ALL.into_iter().flat_map(|at| Cause::ALL.map(|cause| (at, cause)));
    let possible = pairs.filter(|(at, cause)| cause.impossible(*at).is_none());
    possible.filter(|cell| format!("{cell:?}").contains(&wanted)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_cell_of_the_failure_matrix_is_as_documented() {
    let permits = Arc::new(Semaphore::new(WORLDS));
    let mut running = JoinSet::new();
    let cells = cells();
    for (at, cause) in cells.iter().copied() {
        let permits = Arc::clone(&permits);
        running.spawn(async move {
            let _permit = permits.acquire_owned().await.unwrap();
            let seen = tokio::spawn(matrix::run(Path::new(FUNCTION), at, cause)).await;
            ((at, cause), seen)
        });
    }
    let (mut observed, mut failed) = (BTreeMap::new(), Vec::new());
    while let Some(cell) = running.join_next().await {
        match cell.unwrap() {
            (cell, Ok(observation)) => drop(observed.insert(cell, observation)),
            (cell, Err(error)) => failed.push(format!("{cell:?}: {error}")),
        }
    }
    assert!(failed.is_empty(), "{} of {} cells failed:\n{}", failed.len(), cells.len(), failed.join("\n"));
    if let Ok(wanted) = std::env::var("MATRIX") {
        panic!("only {wanted} was run: {observed:#?}");
    }
    compare(&matrix::render(&observed));
}

fn compare(section: &str) {
    let document = fs::read_to_string(DOCUMENT).unwrap();
    let expected = matrix::replace(&document, section);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(DOCUMENT, expected).unwrap();
        return;
    }
    let differences: Vec<_> = document
        .lines()
        .zip(expected.lines())
        .filter(|(written, seen)| written != seen)
        .map(|(written, seen)| format!("- {written}\n+ {seen}"))
        .collect();
    assert!(
        document == expected,
        "docs/failure-modes.md is not what was seen; UPDATE_DOCS=1 writes it, once you know why it changed:\n{}",
        differences.join("\n")
    );
}
