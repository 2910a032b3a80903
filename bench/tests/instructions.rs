//! The hot paths take as many instructions as they are known to, within a tolerance: in the programs that ship.
//!
//! What is known is in `bench/instructions/<architecture>.txt`; `make instructions` brings it up to date. A harness of its own,
//! because whether this machine has valgrind, and a file, is known only at run time.

#![allow(clippy::unwrap_used, reason = "what cannot be had fails the test")]

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use aft_bench::hot_path::HotPath;
use aft_bench::instructions::{COUNTED, each};
use aft_bench::setup::Programs;
use aft_tests::layer::{self, Architecture};
use aft_tests::tools::{optional_tool, skipped};
use libtest_mimic::{Arguments, Failed, Trial};

/// In percent of what is known, to either side. Runs of the same program differ by 1 % and less; single requests by 5, because
/// it is chance in how many pieces one is read, and that is much of all that is done for it.
const fn tolerance(path: HotPath) -> f64 {
    match path {
        HotPath::Put | HotPath::Get => 15.0,
        _ => 10.0,
    }
}

/// Asks for the file to be written.
const WRITE: &str = "AFT_INSTRUCTIONS_WRITE";

fn main() -> ExitCode {
    let known = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("instructions")
        .join(Architecture::HERE.name())
        .with_extension("txt");
    if std::env::var_os(WRITE).is_some() {
        let valgrind = optional_tool("valgrind").unwrap().join("valgrind");
        let count = |(path, times): (HotPath, u32)| {
            let line = format!("{:<20} {:>9}\n", path.name(), counted(path, times, &valgrind).unwrap());
            eprint!("{line}");
            line
        };
        fs::write(&known, COUNTED.map(count).concat()).unwrap();
        return ExitCode::SUCCESS;
    }
    let trials = COUNTED.map(|(path, times)| trial(path, times, &known)).into();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn counted(path: HotPath, times: u32, valgrind: &Path) -> Result<u64, Failed> {
    let programs = Programs {
        layer: layer::binaries(),
        hello: env!("CARGO_BIN_EXE_hello").into(),
        runtime: env!("CARGO_BIN_EXE_empty-runtime").into(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(each(path, times, &programs, valgrind)).map_err(|error| error.to_string().into())
}

fn trial(path: HotPath, times: u32, known: &Path) -> Trial {
    let name = format!("{}_takes_as_many_instructions_as_it_is_known_to", path.name());
    let valgrind = match optional_tool("valgrind") {
        Ok(directory) => directory.join("valgrind"),
        Err(missing) => return skipped(name, &missing),
    };
    if !known.is_file() {
        // Not a tool that could be installed: nobody has counted there yet.
        let kind = format!("{} is not there: make instructions", known.display());
        return Trial::test(name, || Ok(())).with_kind(kind).with_ignored_flag(true);
    }
    let known = known.to_owned();
    Trial::test(name, move || judged(path, counted(path, times, &valgrind)?, &known))
}

fn judged(path: HotPath, counted: u64, file: &Path) -> Result<(), Failed> {
    let text = fs::read_to_string(file)?;
    let line = text.lines().find_map(|line| line.strip_prefix(path.name())?.strip_prefix(' ')?.trim().parse().ok());
    let known: u64 = line.ok_or_else(|| format!("{} is not in {}: make instructions", path.name(), file.display()))?;
    let percent = (counted as f64 / known as f64 - 1.0) * 100.0;
    let figures = format!("{}: {counted} instructions, {percent:+.1} % of {known}", path.name());
    eprintln!("{figures}");
    if percent.abs() <= tolerance(path) {
        return Ok(());
    }
    let what = if percent > 0.0 { "it got slower. If it has to be so" } else { "it got faster. So that it stays so" };
    Err(format!("{figures}; {what}, `make instructions` notes it").into())
}
