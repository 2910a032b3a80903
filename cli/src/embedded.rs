//! DynamoDB on a developer's machine: the crate dynoxide over one SQLite file, served on 127.0.0.1 in this process.
//!
//! The store's own client talks to it over HTTP, so what runs locally is the production code path. Several processes may
//! have the same file open.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use dynoxide::{Database, DynoxideError};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How long requests that are being answered may take to end when the engine stops.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// How often expired items are deleted. DynamoDB itself takes days.
const SWEEP_PERIOD: Duration = Duration::from_secs(60);

/// Where the tables are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// In this file, made if it is missing.
    File(PathBuf),
    /// In memory, until the engine stops.
    Memory,
}

/// Why the engine did not start, or not stop.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// SQLite needs the path as text.
    #[error("the path {} of the database is not UTF-8", .0.display())]
    Path(PathBuf),
    /// The directory could not be made.
    #[error("the directory of the database {} cannot be made", path.display())]
    Directory {
        /// The database's path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not a database, or cannot be read or written.
    #[error("the embedded DynamoDB engine cannot open its database: {0}")]
    Open(#[source] DynoxideError),
    /// No port could be had.
    #[error("the embedded DynamoDB engine cannot listen on 127.0.0.1")]
    Listen(#[source] io::Error),
    /// A request did not end in time.
    #[error("the embedded DynamoDB engine was still answering after {} s", STOP_LIMIT.as_secs())]
    StopLimit,
    /// The server failed while it ran.
    #[error("the embedded DynamoDB engine failed: {0}")]
    Server(String),
    /// The server's task panicked.
    #[error("the embedded DynamoDB engine broke")]
    Task(#[source] JoinError),
}

/// A running engine. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Embedded {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<(), String>>,
    sweeper: Sweeper,
}

impl Embedded {
    /// Opens the database and listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// [`EmbeddedError`].
    pub async fn start(storage: Storage) -> Result<Self, EmbeddedError> {
        let database = match storage {
            Storage::Memory => Database::memory().map_err(EmbeddedError::Open)?,
            Storage::File(path) => open(&path)?,
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(EmbeddedError::Listen)?;
        let address = listener.local_addr().map_err(EmbeddedError::Listen)?;
        let (stop, stopped) = oneshot::channel();
        let until_stopped = async move { drop(stopped.await) };
        let server = dynoxide::server::serve_with_shutdown(listener, database.clone(), until_stopped);
        Ok(Self { address, stop, server: tokio::spawn(server), sweeper: Sweeper::start(database) })
    }

    /// The endpoint's URL, for `AFT_DYNAMODB_ENDPOINT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops listening and waits for the requests that are being answered.
    ///
    /// # Errors
    /// [`EmbeddedError`] if they take too long, or the engine had failed before.
    pub async fn stop(self) -> Result<(), EmbeddedError> {
        drop(self.sweeper);
        drop(self.stop);
        let ended = timeout(STOP_LIMIT, self.server).await.map_err(|_| EmbeddedError::StopLimit)?;
        ended.map_err(EmbeddedError::Task)?.map_err(EmbeddedError::Server)
    }
}

fn open(path: &Path) -> Result<Database, EmbeddedError> {
    if let Some(directory) = path.parent() {
        let made = std::fs::create_dir_all(directory);
        made.map_err(|source| EmbeddedError::Directory { path: path.to_owned(), source })?;
    }
    let text = path.to_str().ok_or_else(|| EmbeddedError::Path(path.to_owned()))?;
    Database::new(text).map_err(EmbeddedError::Open)
}

/// Deletes expired items now and then: the engine does not by itself.
#[derive(Debug)]
struct Sweeper(JoinHandle<()>);

impl Sweeper {
    fn start(database: Database) -> Self {
        Self(tokio::spawn(async move {
            let mut ticks = interval(SWEEP_PERIOD);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let database = database.clone();
                // A sweep that fails is tried again with the next tick; expired items are no reason to stop.
                let _ = tokio::task::spawn_blocking(move || database.sweep_ttl()).await;
            }
        }))
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}
