//! What ends the process. Each is one line that says what to do.

use aft_protocol::settings::Faults;
use aft_store::StoreError;

/// Why the fault manager cannot start, or go on.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The environment is not a configuration.
    #[error("{0}")]
    Configuration(#[from] Faults),
    /// The tables cannot be used.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The Runtime API failed.
    #[error("Lambda's Runtime API: {0}")]
    Lambda(#[source] lambda_runtime::Error),
}
