//! `aft-fault-manager`: started by Lambda as a function's `bootstrap`, on an OS-only runtime.

use std::process::ExitCode;

use aft_fault_manager::config::{self, Config};
use aft_fault_manager::error::AppError;
use aft_fault_manager::{app, log};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let variables: Vec<_> = std::env::vars().collect();
    log::start(config::log_level(variables.clone()));
    let life = async { app::run(Config::read(variables)?).await };
    match life.await {
        Ok(()) => ExitCode::SUCCESS,
        Err::<_, AppError>(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
