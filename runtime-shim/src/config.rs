//! What the environment says: read here and nowhere else, all faults reported together.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aft_protocol::id::Scope;
use aft_protocol::settings::{self, Faults, LogLevel, Reader};

use crate::identity::{KeyExpression, Rules};
use crate::retry::{Causes, Policy};
use crate::token_file::TokenFile;

/// A Unix socket's path must fit `sockaddr_un`; the last bytes are left for the terminator.
const SOCKET_PATH_BYTES: usize = 100;
/// The argument by which the layer's `bootstrap` says that it was started as one.
const FROM_BOOTSTRAP: &str = "--bootstrap";
/// Where Lambda puts the function's package.
const TASK_ROOT: &str = "/var/task";

/// Everything that the process needs to know.
#[derive(Debug)]
pub struct Config {
    /// `AWS_LAMBDA_RUNTIME_API`: host and port of the real Runtime API.
    pub runtime_api: String,
    /// `AWS_LAMBDA_FUNCTION_NAME`, which transaction IDs are unique within, and `AFT_TRANSACTION_KEY`.
    pub rules: Rules,
    /// `AFT_CONTROL_SOCKET`.
    pub control_socket: PathBuf,
    /// `AFT_MAX_ATTEMPTS`, `AFT_MAX_CONFLICTS`, `AFT_RETRY_…` and `AFT_ATTEMPT_TIMEOUT_MS`.
    pub policy: Policy,
    /// `AFT_STREAMING=pass-through`: a streamed response is passed on as it comes.
    pub pass_streams: bool,
    /// The real runtime's program and arguments, behind the next wrapper if there is one; not empty.
    pub command: Vec<OsString>,
    /// Whether the sandbox is restored from a snapshot: then the handler finds its token in this file.
    pub token_file: Option<TokenFile>,
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
    /// The command to become when disabled.
    pub command: Vec<OsString>,
}

/// This process's environment variables, but for those that are not UTF-8, which are none of ours.
#[must_use]
pub fn environment() -> Vec<(String, String)> {
    let text = |text: OsString| text.into_string().ok();
    std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect()
}

impl Bootstrap {
    /// Reads from these variables and this command line.
    pub fn read(variables: impl IntoIterator<Item = (String, String)>, arguments: &[OsString]) -> Self {
        let reader = Reader::new(variables);
        Self {
            command: command(&reader, arguments),
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
    pub fn read(variables: impl IntoIterator<Item = (String, String)>, arguments: &[OsString]) -> Result<Self, Faults> {
        let mut reader = Reader::new(variables);
        let control_socket = reader.parsed(&settings::CONTROL_SOCKET, socket_path);
        let lambda_sets = "Lambda sets it; elsewhere, set it yourself";
        let config = Self {
            runtime_api: reader.required_variable("AWS_LAMBDA_RUNTIME_API", lambda_sets),
            rules: Rules {
                function: Scope::new(reader.required_variable("AWS_LAMBDA_FUNCTION_NAME", lambda_sets)),
                key: transaction_key(&mut reader),
            },
            policy: policy(&mut reader),
            pass_streams: reader.parsed(&settings::STREAMING, |text| match text {
                "buffered" => Some(false),
                "pass-through" => Some(true),
                _ => None,
            }),
            command: command(&reader, arguments),
            token_file: reader.is_snap_start().then(|| TokenFile::new(control_socket.with_file_name("token"))),
            control_socket,
        };
        reader.flag(&settings::ENABLED);
        reader.parsed(&settings::LOG, LogLevel::parse);
        reader.refuse_managed_instances();
        check_command(&mut reader, arguments);
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
    let mut count = |setting, range| u32::try_from(reader.number(setting, range)).unwrap_or_default();
    Policy {
        max_attempts: count(&settings::MAX_ATTEMPTS, 1..=100),
        max_conflicts: count(&settings::MAX_CONFLICTS, 0..=10_000),
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

/// What to start: the command line, or what the layer's `bootstrap` stands for; behind the next wrapper, if there is one.
fn command(reader: &Reader, arguments: &[OsString]) -> Vec<OsString> {
    let wrapper = reader.text(&settings::NEXT_WRAPPER).map(OsString::from);
    let command = match arguments {
        [flag] if flag == FROM_BOOTSTRAP => bootstrapped(reader).map(OsString::from).into_iter().collect(),
        command => command.to_vec(),
    };
    wrapper.into_iter().chain(command).collect()
}

/// OS-only runtimes have no command line: their program is a file of the function's package. Lambda takes a package's own
/// `bootstrap` before the layer's, so the program must have another name, which the function's handler can give.
fn bootstrapped(reader: &Reader) -> Option<PathBuf> {
    let named = reader.text(&settings::BOOTSTRAP).or_else(|| reader.variable("_HANDLER"))?;
    Some(Path::new(reader.variable("LAMBDA_TASK_ROOT").unwrap_or(TASK_ROOT)).join(named))
}

/// What cannot be started is told before it is tried, with the setting that names it.
fn check_command(reader: &mut Reader, arguments: &[OsString]) {
    let wrapper = settings::NEXT_WRAPPER.name;
    if let Some(path) = reader.text(&settings::NEXT_WRAPPER).map(PathBuf::from)
        && let Err(why) = executable(&path)
    {
        reader.fault(format!("{wrapper}: {} {why}", path.display()));
    }
    let remedy = match arguments {
        [] => "set AWS_LAMBDA_EXEC_WRAPPER=/opt/aft-runtime-shim, or put the runtime's command behind it".to_owned(),
        [flag] if flag == FROM_BOOTSTRAP => {
            let setting = settings::BOOTSTRAP.name;
            let other = "it must not be called bootstrap, because Lambda would start it without AFT";
            let remedy = format!("name the function's program by its handler or by {setting} ({other})");
            match bootstrapped(reader) {
                None => remedy,
                Some(path) => match executable(&path) {
                    Ok(()) => return,
                    Err(why) => format!("{} {why}; {remedy}", path.display()),
                },
            }
        }
        _ => return,
    };
    reader.fault(format!("there is no command to run: {remedy}"));
}

fn executable(path: &Path) -> Result<(), &'static str> {
    if !path.is_absolute() {
        return Err("is not an absolute path");
    }
    match std::fs::metadata(path) {
        Ok(file) if file.is_file() && file.permissions().mode() & 0o111 != 0 => Ok(()),
        Ok(_) => Err("is not an executable file"),
        Err(_) => Err("is not there"),
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
        Config::read(variables(changes), &["python3".into()]).map_err(|faults| faults.to_string())
    }

    #[test]
    fn defaults_are_those_of_the_table() {
        let config = read(&[("AFT_DATA_TABLE", "orders")]).unwrap();
        assert_eq!((config.policy.max_attempts, config.policy.max_conflicts), (3, 100));
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
            ("AFT_NEXT_WRAPPER", "/nowhere/wrapper"),
        ];
        let line = Config::read(variables(&faulty), &[]).unwrap_err().to_string();
        assert!(line.starts_with("15 fault(s)"), "{line}");
        assert_eq!(line.lines().count(), 1);
        let parts = [
            "AFT_RETRIES is not a setting",
            "AFT_TRANSACTION_KEY is \"order.[id\": it is not",
            "managed instances",
            "wrapper is not there",
            "there is no command",
        ];
        assert!(parts.iter().all(|part| line.contains(part)), "{line}");
    }

    #[test]
    fn switching_off_works_whatever_else_is_set() {
        let off = |value| Bootstrap::read(variables(&[("AFT_ENABLED", value), ("AFT_NONSENSE", "1")]), &[]).disabled;
        assert!(off("false"));
        assert!(!off("true") && !off("no") && !off(""));
    }

    #[test]
    fn the_next_wrapper_gets_the_runtimes_command() {
        let config = read(&[("AFT_NEXT_WRAPPER", "/bin/sh")]).unwrap();
        assert_eq!(config.command, ["/bin/sh", "python3"]);
        for (wrapper, why) in [("sh", "not an absolute path"), ("/bin", "not an executable"), ("/no", "is not there")] {
            let line = read(&[("AFT_NEXT_WRAPPER", wrapper)]).unwrap_err();
            assert!(line.contains("AFT_NEXT_WRAPPER") && line.contains(why), "{line}");
        }
    }

    #[test]
    fn a_bootstrap_starts_what_the_handler_or_the_setting_names() {
        let started = |changes: &[(&str, &str)]| {
            let arguments = ["--bootstrap".into()];
            Config::read(variables(changes), &arguments).map(|config| config.command).map_err(|line| line.to_string())
        };
        let root = ("LAMBDA_TASK_ROOT", "/bin");
        assert_eq!(started(&[root, ("_HANDLER", "sh")]).unwrap(), ["/bin/sh"]);
        assert_eq!(started(&[root, ("_HANDLER", "main"), ("AFT_BOOTSTRAP", "/bin/sh")]).unwrap(), ["/bin/sh"]);
        assert_eq!(
            started(&[root, ("_HANDLER", "sh"), ("AFT_NEXT_WRAPPER", "/bin/cat")]).unwrap(),
            ["/bin/cat", "/bin/sh"]
        );
        for wrong in [&[root, ("_HANDLER", "app.handler")][..], &[root], &[("_HANDLER", "bootstrap")]] {
            let line = started(wrong).unwrap_err();
            assert!(line.starts_with("1 fault(s)") && line.contains("AFT_BOOTSTRAP"), "{line}");
        }
    }

    #[test]
    fn managed_instances_are_refused_however_they_are_told() {
        for told in
            [("AWS_LAMBDA_MAX_CONCURRENCY", "8"), ("AWS_LAMBDA_INITIALIZATION_TYPE", "lambda-managed-instances")]
        {
            let line = read(&[told]).unwrap_err();
            assert!(line.starts_with("1 fault(s)") && line.contains("managed instances"), "{line}");
        }
    }

    #[test]
    fn under_snap_start_the_token_lies_beside_the_socket() {
        let config = read(&[("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")]).unwrap();
        assert_eq!(config.token_file.unwrap().path().to_str(), Some("/tmp/.aft/token"));
        assert!(read(&[("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")]).unwrap().token_file.is_none());
    }
}
