//! What ends the process before its SHUTDOWN. Each is one line that says what to do, for the log and for Lambda.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use aft_protocol::settings::Faults;
use aft_store::StoreError;

use crate::lambda::ApiError;

/// Why the extension cannot start, or go on.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The environment is not a configuration.
    #[error("{0}")]
    Configuration(#[from] Faults),
    /// The local endpoint's port is not to be had.
    #[error("the local endpoint cannot listen on {address}: {source}; set AFT_PORT to a free port")]
    Endpoint {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The control socket is not to be had.
    #[error(
        "the control socket {path} cannot be used: {source}; set AFT_CONTROL_SOCKET to a path of this sandbox's own"
    )]
    ControlSocket {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The tables cannot be used.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The Extensions API failed.
    #[error("{0}")]
    Lambda(#[from] ApiError),
    /// Lambda did not start this process.
    #[error("AWS_LAMBDA_RUNTIME_API is not set: this is a Lambda extension, started by Lambda or by `aft local`")]
    NotInLambda,
}

impl AppError {
    /// The error type that Lambda is told.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Configuration(_) => "Aft.Configuration",
            Self::Endpoint { .. } => "Aft.EndpointUnavailable",
            Self::ControlSocket { .. } => "Aft.ControlSocketUnavailable",
            Self::Store(_) => "Aft.StoreUnusable",
            Self::Lambda(_) => "Aft.ExtensionsApi",
            Self::NotInLambda => "Aft.NotInLambda",
        }
    }
}
