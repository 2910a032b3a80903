//! The life of the `aft` process.

use std::process::ExitCode;

use aft_cli::arguments::{Arguments, Command};
use aft_cli::{app, history};
use clap::Parser;

/// Not everything is as it should be; what is not was named.
const EXIT_FINDINGS: u8 = 1;
/// The arguments or the machine do not allow what was asked for.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&format!("cannot start threads: {error}")),
    };
    let done = match command {
        Command::Local(arguments) => runtime.block_on(app::local(arguments)).map(|()| ExitCode::SUCCESS),
        Command::History(command) => history::run(command).map(findings).map_err(Into::into),
        Command::Recover(arguments) => {
            runtime.block_on(app::recover(arguments)).map(|summary| findings(summary.everything_is_applied()))
        }
    };
    done.unwrap_or_else(|error| refuse(&error.to_string()))
}

fn findings(none: bool) -> ExitCode {
    if none { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FINDINGS) }
}

fn refuse(reason: &str) -> ExitCode {
    eprintln!("aft: {reason}");
    ExitCode::from(EXIT_USAGE)
}
