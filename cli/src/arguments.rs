//! The `aft` command line, and what it means.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{HostConfig, Layer, LayerBinaries};
use crate::engine::{Engine, Tables};
use crate::error::HostError;
use crate::history::HistoryCommand;
use crate::process::Program;
use crate::recover::RecoverArguments;

/// AFT on Lambda, on a developer's machine.
#[derive(Debug, Parser)]
#[command(name = "aft", version, max_term_width = 100)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `aft` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a function as Lambda would, with AFT's layer and a DynamoDB of its own.
    Local(LocalArguments),
    /// Make visible what was committed and never applied, whatever died: look at every commit record, or at one.
    Recover(RecoverArguments),
    /// Histories of transactions: judge them, or write them in the formats of other checkers.
    #[command(subcommand)]
    History(HistoryCommand),
}

/// `aft local`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
The request header X-Amzn-RequestId chooses an invocation's request id: send one id twice to see what AFT makes of a
duplicate. Memory is not limited.")]
pub struct LocalArguments {
    /// The function's name.
    #[arg(long, default_value = "function")]
    pub name: String,
    /// How many sandboxes may run at the same time.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub sandboxes: u32,
    /// The port of the Invoke API on 127.0.0.1; 0 for any free one.
    #[arg(long, default_value_t = 9270)]
    pub port: u16,
    /// How long an invocation may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub timeout: u64,
    /// Freeze a sandbox while it has nothing to do, as Lambda does (SIGSTOP: not with a debugger attached).
    #[arg(long)]
    pub freeze: bool,
    /// Start sandboxes as under SnapStart: initialise, freeze, restore.
    #[arg(long)]
    pub snap_start: bool,
    /// The memory size that the function is told.
    #[arg(long, value_name = "MB", default_value_t = 128)]
    pub memory_mb: u32,
    /// The file that holds the embedded engine's tables.
    #[arg(long, value_name = "FILE", default_value = ".aft/local.sqlite", conflicts_with_all = ["in_memory", "dynamodb_endpoint"])]
    pub data: PathBuf,
    /// Keep the tables in memory and forget them at the end.
    #[arg(long, conflicts_with = "dynamodb_endpoint")]
    pub in_memory: bool,
    /// Use this DynamoDB (AWS's, or DynamoDB Local) instead of the embedded engine.
    #[arg(long, value_name = "URL")]
    pub dynamodb_endpoint: Option<String>,
    /// Create missing tables behind --dynamodb-endpoint, too.
    #[arg(long, requires = "dynamodb_endpoint")]
    pub create_tables: bool,
    /// The table of keys.
    #[arg(long, value_name = "TABLE", default_value = "aft-local")]
    pub data_table: String,
    /// The table of commit records.
    #[arg(long, value_name = "TABLE", default_value = "aft-local-transactions")]
    pub transaction_table: String,
    /// Where aft-runtime-shim and aft-extension (or extensions/aft-extension) lie; by default, beside `aft`.
    #[arg(long, value_name = "DIR")]
    pub layer: Option<PathBuf>,
    /// Run the bare function, to compare.
    #[arg(long)]
    pub without_aft: bool,
    /// A variable for the function; AFT_… ones are settings.
    #[arg(short = 'e', long = "env", value_name = "KEY=VALUE")]
    pub environment: Vec<String>,
    /// An event for the curl lines that are printed at the start; may be given several times.
    #[arg(long = "event", value_name = "JSON", default_value = "{}")]
    pub events: Vec<String>,
    /// Lambda retries a failed asynchronous invocation after 1 and 2 minutes; here, a minute takes this long.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    pub async_retry_delay: f64,
    /// Whose log lines to show.
    #[arg(long, value_enum, default_value_t = Shown::All)]
    pub log: Shown,
    /// The function's command.
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// Whose log lines are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shown {
    /// Extensions' and Lambda's.
    Aft,
    /// The function's and Lambda's.
    Function,
    /// Everybody's.
    All,
}

impl LocalArguments {
    /// Where the tables are to be.
    ///
    /// # Errors
    /// [`HostError::MalformedEndpoint`].
    pub fn engine(&self) -> Result<Engine, HostError> {
        match &self.dynamodb_endpoint {
            Some(url) => Ok(Engine::Endpoint { url: url.parse()?, create_tables: self.create_tables }),
            None if self.in_memory => Ok(Engine::Memory),
            None => Ok(Engine::File(self.data.clone())),
        }
    }

    /// The names of the two tables.
    #[must_use]
    pub fn tables(&self) -> Tables {
        Tables { data: self.data_table.clone(), transactions: self.transaction_table.clone() }
    }

    /// The host that these arguments ask for; it lacks an endpoint and a log.
    ///
    /// # Errors
    /// [`HostError`]: an argument that cannot be served.
    pub fn host(&self) -> Result<HostConfig, HostError> {
        let (executable, arguments) = self.command.split_first().ok_or(HostError::NoCommand)?;
        let mut config = HostConfig::new(Program::new(executable).with_arguments(arguments))?;
        config.function_name.clone_from(&self.name);
        config.sandboxes = self.sandboxes;
        config.port = self.port;
        config.timeout = Duration::from_secs(self.timeout);
        config.memory_mb = self.memory_mb;
        config.freeze = self.freeze;
        config.snap_start = self.snap_start;
        config.event_retry_delay = Duration::from_secs_f64(self.async_retry_delay);
        for variable in &self.environment {
            let pair = variable.split_once('=').filter(|(name, _)| !name.is_empty());
            let (name, value) = pair.ok_or_else(|| HostError::MalformedVariable(variable.clone()))?;
            config.environment.insert(name.to_owned(), value.to_owned());
        }
        if !self.without_aft {
            let binaries = match &self.layer {
                Some(directory) => LayerBinaries::found_in(directory),
                None => LayerBinaries::beside_this_executable(),
            };
            config.layer = Some(Layer::aft(&binaries)?);
        }
        config.check()?;
        Ok(config)
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let usable = text.parse().ok().filter(|seconds: &f64| (0.0..=3600.0).contains(seconds));
    usable.ok_or_else(|| "it must be 0 to 3600".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{Arguments, Command, Engine, LocalArguments};

    fn local(line: &str) -> LocalArguments {
        match Arguments::try_parse_from(line.split(' ')).unwrap().command {
            Command::Local(arguments) => arguments,
            Command::Recover(_) | Command::History(_) => panic!("another command"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn everything_after_the_dashes_is_the_functions() {
        let arguments = local("aft local --without-aft -e A=1=2 -e B= -- sh -c x");
        let config = arguments.host().unwrap();
        assert_eq!(config.command.arguments, ["-c", "x"]);
        assert_eq!(config.environment["A"], "1=2");
        assert_eq!(config.environment["B"], "");
        assert!(config.layer.is_none());
        assert!(!config.freeze && !config.snap_start, "a debugger does not bear a freeze: it must be asked for");
        let config = local("aft local --without-aft --freeze --snap-start -- sh").host().unwrap();
        assert!(config.freeze && config.snap_start);
    }

    #[test]
    fn faults_are_one_line_with_a_remedy() {
        for (line, remedy) in [
            ("aft local", "after `--`"),
            ("aft local --without-aft -- no-such-program-here", "in PATH"),
            ("aft local --layer /nowhere -- sh", "build the layer"),
            ("aft local --without-aft -e A -- sh", "KEY=VALUE"),
            ("aft local --without-aft --sandboxes 0 -- sh", "at least 1"),
            ("aft local --without-aft --timeout 0 -- sh", "at least 1 second"),
            ("aft local --without-aft --sandboxes 2 -e AFT_PORT=1 -- sh", "leave it out"),
        ] {
            let message = local(line).host().unwrap_err().to_string();
            assert!(message.contains(remedy), "{line}: {message}");
            assert_eq!(message.lines().count(), 1);
        }
    }

    #[test]
    fn an_endpoint_is_a_url() {
        assert!(local("aft local --dynamodb-endpoint localhost:8000").engine().is_err());
        assert!(local("aft local --dynamodb-endpoint ftp://h").engine().is_err());
        assert_eq!(
            local("aft local --dynamodb-endpoint http://127.0.0.1:8000").engine().unwrap(),
            Engine::Endpoint { url: "http://127.0.0.1:8000".parse().unwrap(), create_tables: false }
        );
        assert_eq!(local("aft local --in-memory").engine().unwrap(), Engine::Memory);
    }
}
