//! `aft-runtime-shim COMMAND…`: started by Lambda as the runtime, through `AWS_LAMBDA_EXEC_WRAPPER`.

use std::ffi::OsString;
use std::process::ExitCode;

use aft_runtime_shim::config::{self, Bootstrap};
use aft_runtime_shim::launcher::{Launch, become_command};
use aft_runtime_shim::{app, log};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let variables = config::environment();
    let bootstrap = Bootstrap::read(variables.clone(), &arguments);
    log::start(bootstrap.log);
    if let Some(launch) = Launch::read(&arguments) {
        tracing::error!("the runtime cannot be started: {}", launch.run());
        return ExitCode::FAILURE;
    }
    if bootstrap.disabled {
        tracing::error!(
            "AFT_ENABLED is false, and the runtime cannot be started: {}",
            become_command(&bootstrap.command)
        );
        return ExitCode::FAILURE;
    }
    match app::run(bootstrap, variables, &arguments) {
        Ok(code) => code.into(),
        Err(error) => {
            tracing::error!("{}: {error}", error.kind());
            ExitCode::FAILURE
        }
    }
}
