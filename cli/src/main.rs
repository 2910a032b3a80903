//! The life of the `aft` process.

use std::process::ExitCode;

use aft_cli::app;
use aft_cli::arguments::{Arguments, Command};
use clap::Parser;

/// The arguments or the machine do not allow what was asked for.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let Command::Local(arguments) = Arguments::parse().command;
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&format!("cannot start threads: {error}")),
    };
    match runtime.block_on(app::local(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(&error.to_string()),
    }
}

fn refuse(reason: &str) -> ExitCode {
    eprintln!("aft: {reason}");
    ExitCode::from(EXIT_USAGE)
}
