//! Why a host could not start: one line each, with a remedy. All of them are the user's to solve, none is worth a retry.

use std::io;
use std::path::PathBuf;

use aft_protocol::settings;
use aft_store::dynamodb::InvalidEndpoint;

/// Why a host could not start.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Nothing to run.
    #[error("there is no command to run: give the function's after `--`, as in `aft local -- python3 app.py`")]
    NoCommand,
    /// The command's program is missing.
    #[error("the command {0:?} was not found: give a path, or a name that is in PATH")]
    CommandNotFound(PathBuf),
    /// A binary of the layer is missing.
    #[error("{0:?} is missing: build the layer, name its directory with --layer, or run without it (--without-aft)")]
    LayerIncomplete(PathBuf),
    /// There must be a sandbox to run anything.
    #[error("--sandboxes is 0: it must be at least 1")]
    NoSandboxes,
    /// An invocation must have time.
    #[error("--timeout is 0: it must be at least 1 second")]
    NoTime,
    /// A variable that is none.
    #[error("-e {0:?} is no variable: write it as KEY=VALUE")]
    MalformedVariable(String),
    /// Sandboxes side by side cannot share a port or a socket.
    #[error("-e {name}=… cannot serve {sandboxes} sandboxes at once: leave it out and each gets its own")]
    SharedVariable {
        /// The variable.
        name: &'static str,
        /// How many want their own.
        sandboxes: u32,
    },
    /// An endpoint that is none.
    #[error("--dynamodb-endpoint: {0}")]
    MalformedEndpoint(#[from] InvalidEndpoint),
    /// Something else listens there.
    #[error("port {port} is taken: stop what listens there, or choose another with --port")]
    PortTaken {
        /// The Invoke API's port.
        port: u16,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The Invoke API cannot listen for another reason.
    #[error("cannot listen on port {port}: {source}")]
    Listen {
        /// The Invoke API's port.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// The private directory for sockets.
    #[error("cannot create the run directory {path:?}: {source}; set TMPDIR to a directory that can be written")]
    RunDirectory {
        /// Where it was to be.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Unix sockets have short names.
    #[error("{path:?} is too long for {}: set TMPDIR to a shorter path", settings::CONTROL_SOCKET.name)]
    SocketPathTooLong {
        /// The socket's path.
        path: PathBuf,
    },
    /// The process that watches over the others.
    #[error("cannot start /bin/sh to guard the processes: {0}")]
    Guard(#[source] io::Error),
    /// The directory the function is to run in.
    #[error("the working directory cannot be used: {0}")]
    WorkingDirectory(#[source] io::Error),
}
