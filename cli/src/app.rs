//! What `aft local` and `aft recover` do, from their arguments to their end.

use std::io;

use aft_store::dynamodb::DynamoDb;
use aft_store::{Store, StoreError};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::arguments::LocalArguments;
use crate::config::HostConfig;
use crate::console;
use crate::embedded::{Embedded, Storage};
use crate::engine::{Connected, EngineError, Tables};
use crate::error::HostError;
use crate::history::HistoryError;
use crate::host::Host;
use crate::recover::{PlaceError, RecoverArguments, Recovery, Summary};

/// Why `aft` could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The host could not start.
    #[error(transparent)]
    Host(#[from] HostError),
    /// There are no tables to use.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// There are no tables to look at.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The tables cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A history is none, or could not be written.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The system refused to deliver signals.
    #[error("cannot wait for Ctrl-C: {0}")]
    Signals(#[source] io::Error),
}

/// Runs a host until Ctrl-C, SIGTERM or the end of the terminal.
///
/// # Errors
/// [`AppError`]: why it could not start. Whatever was started has ended.
pub async fn local(arguments: LocalArguments) -> Result<(), AppError> {
    let engine = arguments.engine()?;
    let mut config = arguments.host()?;
    let mut end = Ending::new().map_err(AppError::Signals)?;
    let tables = arguments.tables();
    let data = engine.connect(&mut config, &tables).await?;
    config.log = console::sink(arguments.log);
    let events = arguments.events;
    let description = describe(&config, &data, &tables);

    let host = Host::start(config).await?;
    for line in description.into_iter().chain(examples(&host, &events)) {
        console::print(&line);
    }
    end.asked_for().await;
    console::print("Stopping; Ctrl-C again kills.");
    tokio::select! {
        () = host.stop() => Ok(data.stop().await?),
        // Dropping the host kills what is left.
        () = end.asked_for() => Ok(()),
    }
}

/// Looks at commit records and rolls forward those that are not applied.
///
/// # Errors
/// [`AppError`]: why it could not start. What is wrong with a record is in the summary, and was printed.
pub async fn recover(arguments: RecoverArguments) -> Result<Summary, AppError> {
    let embedded = match arguments.file()? {
        Some(file) => Some(Embedded::start(Storage::File(file)).await.map_err(EngineError::from)?),
        None => None,
    };
    let endpoint = embedded.as_ref().map(Embedded::endpoint);
    let store = DynamoDb::new(&arguments.store(endpoint.as_deref())?);
    store.probe().await?;
    let recovery = Recovery::new(&store, &arguments).await;
    let summary = match arguments.transaction {
        Some(transaction) => recovery.only(transaction).await,
        None => recovery.scan(arguments.segments).await,
    };
    console::print(&summary.to_string());
    if let Some(embedded) = embedded {
        embedded.stop().await.map_err(EngineError::from)?;
    }
    Ok(summary)
}

fn describe(config: &HostConfig, data: &Connected, tables: &Tables) -> Vec<String> {
    let arguments = config.command.arguments.iter().map(|argument| argument.to_string_lossy());
    let command: Vec<_> = std::iter::once(config.command.executable.to_string_lossy()).chain(arguments).collect();
    let layer = if config.layer.is_some() { "with AFT" } else { "without AFT: writes are the function's own affair" };
    vec![
        format!("Function {} {layer}", config.function_name),
        format!("  command    {}", command.join(" ")),
        format!("  sandboxes  at most {}, started on demand", config.sandboxes),
        format!("  timeout    {} s", config.timeout.as_secs()),
        format!("  data       {}", data.place()),
        format!("  tables     {} and {} at {}", tables.data, tables.transactions, data.endpoint()),
    ]
}

/// Lines to copy and paste.
fn examples(host: &Host, events: &[String]) -> Vec<String> {
    let url = host.invoke_url();
    let invocations = events.iter().map(|event| format!("  curl -d '{event}' {url}"));
    let first = events.first().map_or("{}", String::as_str);
    let twice = format!("  curl -H 'X-Amzn-RequestId: request-1' -d '{first}' {url}");
    std::iter::once("Invoke it:".to_owned())
        .chain(invocations)
        .chain([
            "The same request twice, as Lambda may deliver it:".to_owned(),
            twice.clone(),
            twice,
            "Ctrl-C ends it.".to_owned(),
        ])
        .collect()
}

/// The signals that ask for an end.
struct Ending {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Ending {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn asked_for(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
