//! What the environment says: read here and nowhere else, all faults reported together.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use aft_protocol::id::Scope;
use aft_protocol::settings::{self, Faults, LogLevel, Reader};

use crate::identity::{KeyExpression, Rules};
use crate::retry::{Causes, Policy};

/// A Unix socket's path must fit `sockaddr_un`; the last bytes are left for the terminator.
const SOCKET_PATH_BYTES: usize = 100;

/// Everything that the process needs to know.
#[derive(Debug)]
pub struct Config {
    /// `AWS_LAMBDA_RUNTIME_API`: host and port of the real Runtime API.
    pub runtime_api: String,
    /// `AWS_LAMBDA_FUNCTION_NAME`, which transaction IDs are unique within, and `AFT_TRANSACTION_KEY`.
    pub rules: Rules,
    /// `AFT_CONTROL_SOCKET`.
    pub control_socket: PathBuf,
    /// `AFT_MAX_ATTEMPTS`, `AFT_RETRY_…` and `AFT_ATTEMPT_TIMEOUT_MS`.
    pub policy: Policy,
    /// `AFT_STREAMING=pass-through`: a streamed response is passed on as it comes.
    pub pass_streams: bool,
    /// The real runtime's program and arguments; not empty.
    pub command: Vec<OsString>,
}

/// What is needed before, and even without, a valid configuration: to log, to tell Lambda what is wrong, and to switch
/// everything off whatever else is set.
#[derive(Debug)]
pub struct Bootstrap {
    /// `AWS_LAMBDA_RUNTIME_API`, if set.
    pub runtime_api: Option<String>,
    /// `AFT_LOG`, or its default if it is not a level (then [`Config::read`] reports it).
    pub log: LogLevel,
    /// `AFT_ENABLED=false`.
    pub disabled: bool,
}

/// This process's environment variables, but for those that are not UTF-8, which are none of ours.
#[must_use]
pub fn environment() -> Vec<(String, String)> {
    let text = |text: OsString| text.into_string().ok();
    std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect()
}

impl Bootstrap {
    /// Reads from these variables.
    pub fn read(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let reader = Reader::new(variables);
        Self {
            runtime_api: reader.variable("AWS_LAMBDA_RUNTIME_API").map(str::to_owned),
            log: reader.text(&settings::LOG).and_then(LogLevel::parse).unwrap_or_default(),
            disabled: reader.text(&settings::ENABLED) == Some("false"),
        }
    }
}

impl Config {
    /// Reads from these variables and this command line.
    ///
    /// # Errors
    /// [`Faults`], all of them.
    pub fn read(variables: impl IntoIterator<Item = (String, String)>, command: Vec<OsString>) -> Result<Self, Faults> {
        let mut reader = Reader::new(variables);
        let lambda_sets = "Lambda sets it; elsewhere, set it yourself";
        let config = Self {
            runtime_api: reader.required_variable("AWS_LAMBDA_RUNTIME_API", lambda_sets),
            rules: Rules {
                function: Scope::new(reader.required_variable("AWS_LAMBDA_FUNCTION_NAME", lambda_sets)),
                key: transaction_key(&mut reader),
            },
            control_socket: reader.parsed(&settings::CONTROL_SOCKET, socket_path),
            policy: policy(&mut reader),
            pass_streams: reader.parsed(&settings::STREAMING, |text| match text {
                "buffered" => Some(false),
                "pass-through" => Some(true),
                _ => None,
            }),
            command,
        };
        reader.flag(&settings::ENABLED);
        reader.parsed(&settings::LOG, LogLevel::parse);
        refuse_unsupported(&mut reader);
        if config.command.is_empty() {
            let wrapper = "set AWS_LAMBDA_EXEC_WRAPPER=/opt/aft-runtime-shim, or put the runtime's command behind it";
            reader.fault(format!("there is no command to run: {wrapper}"));
        }
        reader.finish()?;
        Ok(config)
    }
}

fn policy(reader: &mut Reader) -> Policy {
    let never = reader.text(&settings::RETRY_NEVER).unwrap_or_default();
    let never = never.split(',').map(|kind| kind.trim().to_owned()).filter(|kind| !kind.is_empty()).collect();
    let mut milliseconds = |setting, most| Duration::from_millis(reader.number(setting, 0..=most));
    let reserve = milliseconds(&settings::RETRY_RESERVE, 900_000);
    let backoff = milliseconds(&settings::RETRY_BACKOFF, 60_000);
    let attempt_limit = Some(milliseconds(&settings::ATTEMPT_TIMEOUT, 900_000)).filter(|limit| !limit.is_zero());
    Policy {
        max_attempts: u32::try_from(reader.number(&settings::MAX_ATTEMPTS, 1..=100)).unwrap_or_default(),
        retried: reader.parsed(&settings::RETRY_ON, Causes::parse),
        never,
        reserve,
        backoff,
        attempt_limit,
    }
}

fn transaction_key(reader: &mut Reader) -> Option<KeyExpression> {
    let text = reader.text(&settings::TRANSACTION_KEY)?;
    match KeyExpression::parse(text) {
        Ok(expression) => Some(expression),
        Err(error) => {
            reader.fault(format!("{} is {text:?}: {error}", settings::TRANSACTION_KEY.name));
            None
        }
    }
}

/// What would be silently wrong is refused. (Durable functions are known by their events only: see `delivery`.)
fn refuse_unsupported(reader: &mut Reader) {
    if reader.variable("AWS_LAMBDA_MAX_CONCURRENCY").is_some() {
        reader.fault(
            "AWS_LAMBDA_MAX_CONCURRENCY is set: managed instances run several invocations at once, which this version \
             does not support; set AFT_ENABLED=false or use a function without a capacity provider"
                .to_owned(),
        );
    }
    if reader.variable("AWS_LAMBDA_INITIALIZATION_TYPE") == Some("snap-start") {
        reader.fault(
            "AWS_LAMBDA_INITIALIZATION_TYPE is snap-start: a restored snapshot would share its identity and secrets \
             with others, which this version does not support; switch SnapStart off or set AFT_ENABLED=false"
                .to_owned(),
        );
    }
}

fn socket_path(text: &str) -> Option<PathBuf> {
    Some(text).filter(|text| text.len() <= SOCKET_PATH_BYTES && text.starts_with('/')).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Bootstrap, Config};

    fn variables(changes: &[(&str, &str)]) -> Vec<(String, String)> {
        let usual = [("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"), ("AWS_LAMBDA_FUNCTION_NAME", "transfer")];
        usual.iter().chain(changes).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn read(changes: &[(&str, &str)]) -> Result<Config, String> {
        Config::read(variables(changes), vec!["python3".into()]).map_err(|faults| faults.to_string())
    }

    #[test]
    fn defaults_are_those_of_the_table() {
        let config = read(&[("AFT_DATA_TABLE", "orders")]).unwrap();
        assert_eq!(config.policy.max_attempts, 3);
        assert_eq!(config.policy.reserve, Duration::from_millis(500));
        assert_eq!(config.policy.backoff, Duration::from_millis(20));
        assert_eq!((config.policy.attempt_limit, config.pass_streams), (None, false));
        assert_eq!(config.control_socket.to_str(), Some("/tmp/.aft/control.sock"));
    }

    #[test]
    fn error_types_are_a_list() {
        let config = read(&[("AFT_RETRY_NEVER", " NoFunds, Errors.Invalid ,"), ("AFT_ATTEMPT_TIMEOUT_MS", "250")]);
        let config = config.unwrap();
        assert_eq!(config.policy.never, ["NoFunds", "Errors.Invalid"]);
        assert_eq!(config.policy.attempt_limit, Some(Duration::from_millis(250)));
    }

    #[test]
    fn every_fault_is_named_in_one_line() {
        let faulty = [
            ("AWS_LAMBDA_FUNCTION_NAME", ""),
            ("AFT_MAX_ATTEMPTS", "none"),
            ("AFT_RETRY_RESERVE_MS", "-1"),
            ("AFT_RETRY_ON", "error,always"),
            ("AFT_RETRY_BACKOFF_MS", "60001"),
            ("AFT_ATTEMPT_TIMEOUT_MS", "1s"),
            ("AFT_STREAMING", "yes"),
            ("AFT_CONTROL_SOCKET", "control.sock"),
            ("AFT_ENABLED", "no"),
            ("AFT_LOG", "loud"),
            ("AFT_RETRIES", "3"),
            ("AFT_TRANSACTION_KEY", "order.[id"),
            ("AWS_LAMBDA_MAX_CONCURRENCY", "16"),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start"),
        ];
        let line = Config::read(variables(&faulty), Vec::new()).unwrap_err().to_string();
        assert!(line.starts_with("15 fault(s)"), "{line}");
        assert_eq!(line.lines().count(), 1);
        let parts = [
            "AFT_RETRIES is not a setting",
            "AFT_TRANSACTION_KEY is \"order.[id\": it is not",
            "managed instances",
            "SnapStart",
            "there is no command",
        ];
        assert!(parts.iter().all(|part| line.contains(part)), "{line}");
    }

    #[test]
    fn switching_off_works_whatever_else_is_set() {
        let off = |value| Bootstrap::read(variables(&[("AFT_ENABLED", value), ("AFT_NONSENSE", "1")])).disabled;
        assert!(off("false"));
        assert!(!off("true") && !off("no") && !off(""));
    }
}
