//! `aft-extension`: started by Lambda from `/opt/extensions`, before the runtime.

use std::process::ExitCode;

use aft_extension::config::Bootstrap;
use aft_extension::{app, log};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let variables: Vec<_> = std::env::vars().collect();
    let bootstrap = Bootstrap::read(variables.clone());
    log::start(bootstrap.log);
    match app::run(app::NAME, bootstrap, variables).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}: {error}", error.kind());
            ExitCode::FAILURE
        }
    }
}
