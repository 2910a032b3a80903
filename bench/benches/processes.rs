//! The layer's processes, as they are shipped, beside the same work without them. Prints one table.
//!
//! `cargo bench -p aft-bench --bench processes -- --layer DIRECTORY` measures another build of the layer.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use aft_bench::setup::{Programs, Setup};
use aft_bench::{Error, buffer, control, proxied, report, start};
use aft_cli::LayerBinaries;
use tokio::runtime::Builder;

fn main() -> ExitCode {
    // `cargo test --benches` starts this too, and is not to wait for it.
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    match run() {
        Ok(table) => {
            say(&table);
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&format!("the processes could not be measured: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String, Error> {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target").join("layer/local");
    let other = std::env::args().skip_while(|argument| argument != "--layer").nth(1);
    let programs = Programs {
        layer: LayerBinaries::found_in(&other.map_or(shipped, PathBuf::from)),
        hello: env!("CARGO_BIN_EXE_hello").into(),
        runtime: env!("CARGO_BIN_EXE_empty-runtime").into(),
    };
    // The load generator is one thread. The engine and the host have threads of their own.
    let alone = Builder::new_current_thread().enable_all().build()?;
    let beside = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let setup = beside.block_on(Setup::new(programs))?;
    let mut rows = alone.block_on(buffer::rows(&setup))?;
    rows.extend(alone.block_on(control::rows(&setup))?);
    rows.extend(beside.block_on(proxied::rows(&setup))?);
    rows.extend(alone.block_on(start::rows(&setup))?);
    beside.block_on(setup.stop())?;
    Ok(report::table(&rows))
}

#[allow(clippy::print_stdout, reason = "the one place of this program that prints")]
fn say(text: &str) {
    println!("{text}");
}
