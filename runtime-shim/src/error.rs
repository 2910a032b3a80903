//! What ends the process before SIGTERM. Each is one line that says what to do, for the log and for Lambda.

use std::io;
use std::path::PathBuf;

use aft_protocol::settings::Faults;
use hyper::StatusCode;

use crate::coordinator::ControlError;
use crate::invocation::Impossible;
use crate::upstream::UpstreamError;

/// Why the shim cannot start, or go on.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The environment is not a configuration.
    #[error("{0}")]
    Configuration(#[from] Faults),
    /// The extension is not there.
    #[error(
        "the extension does not answer on {path}: {source}; see its own error above, and check that the layer holds \
         extensions/aft-extension and that AFT_CONTROL_SOCKET is the same for both"
    )]
    ExtensionUnreachable {
        /// The control socket.
        path: PathBuf,
        /// Why.
        source: ControlError,
    },
    /// The handler's token cannot be handed on.
    #[error("the file for AFT_TOKEN_FILE cannot be written beside AFT_CONTROL_SOCKET: {0}")]
    TokenFile(#[source] io::Error),
    /// Lambda does not restore what it took no snapshot of.
    #[error(
        "AWS_LAMBDA_INITIALIZATION_TYPE is snap-start, but the Runtime API answered {0} to restore/next: without a \
         restore this sandbox could be another's twin"
    )]
    NotRestored(StatusCode),
    /// The real runtime cannot be started.
    #[error("the runtime cannot be started: {0}")]
    Spawn(#[source] io::Error),
    /// What every process needs is not to be had.
    #[error("the operating system refuses what every process needs: {0}")]
    Resources(#[source] io::Error),
    /// The Runtime API is gone.
    #[error("the Runtime API at AWS_LAMBDA_RUNTIME_API failed: {0}")]
    RuntimeApi(#[from] UpstreamError),
    /// The Runtime API gives no more events.
    #[error("the Runtime API answered {0} to /next: Lambda is ending this sandbox")]
    NoMoreEvents(StatusCode),
    /// A fault of this program: ending the sandbox is the safe way out, because nothing that is open can commit then.
    #[error("{0}")]
    Impossible(#[from] Impossible),
}

impl AppError {
    /// The error type that Lambda is told.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Configuration(_) => "Aft.Configuration",
            Self::ExtensionUnreachable { .. } => "Aft.ExtensionUnreachable",
            Self::TokenFile(_) => "Aft.TokenFile",
            Self::NotRestored(_) => "Aft.NotRestored",
            Self::Spawn(_) => "Aft.RuntimeNotStarted",
            Self::Resources(_) => "Aft.Resources",
            Self::RuntimeApi(_) | Self::NoMoreEvents(_) => "Aft.RuntimeApi",
            Self::Impossible(_) => "Aft.Impossible",
        }
    }
}
