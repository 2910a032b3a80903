//! The one table of `AFT_…` settings, and how a process reads them: all faults at once, nothing silently defaulted.
//!
//! `docs/configuration.md` shows this table; a test keeps the two equal.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

/// One environment variable that the layer reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// The variable's name.
    pub name: &'static str,
    /// What counts if it is not set; empty if there is no default.
    pub default: &'static str,
    /// What it may be, for people.
    pub allowed: &'static str,
    /// What it does.
    pub purpose: &'static str,
}

macro_rules! settings {
    ($($constant:ident $name:literal, $default:literal, $allowed:literal, $purpose:literal;)*) => {
        $(#[doc = $purpose] pub const $constant: Setting =
            Setting { name: $name, default: $default, allowed: $allowed, purpose: $purpose };)*

        /// Every setting, in the order of the documentation.
        pub const ALL: &[Setting] = &[$($constant),*];
    };
}

settings! {
    ENABLED "AFT_ENABLED", "true", "true or false",
        "`false` makes the shim a plain pass-through and the extension idle.";
    DATA_TABLE "AFT_DATA_TABLE", "", "a DynamoDB table name or ARN",
        "Where keys live. Required.";
    TRANSACTION_TABLE "AFT_TRANSACTION_TABLE", "", "a DynamoDB table name or ARN",
        "Where commit records live. If not set: the data table's name followed by `-transactions`.";
    PORT "AFT_PORT", "7321", "a port, 1 to 65535",
        "The local endpoint's port on 127.0.0.1.";
    REQUIRE_TOKEN "AFT_REQUIRE_TOKEN", "true", "true or false",
        "Whether every request to the local endpoint needs the `X-Aft-Token` header.";
    MAX_ATTEMPTS "AFT_MAX_ATTEMPTS", "3", "1 to 100",
        "How often the handler is run for one invocation before its error is reported to Lambda. Attempts that met a conflict do not count.";
    RETRY_RESERVE "AFT_RETRY_RESERVE_MS", "500", "0 to 900000",
        "Milliseconds that must be left before the deadline for another attempt to start, at least; more if earlier attempts and commits took longer.";
    RETRY_ON "AFT_RETRY_ON", "error,crash,attempt-timeout,conflict,commit-failed", "a list of these, or none",
        "Which failed attempts are followed by another.";
    RETRY_NEVER "AFT_RETRY_NEVER", "", "error types, separated by commas",
        "Handler errors of these types (as the runtime names them: `ValueError`) are reported at once.";
    RETRY_BACKOFF "AFT_RETRY_BACKOFF_MS", "20", "0 to 60000",
        "The longest pause after the first failed attempt, in milliseconds. It doubles with each, up to 2 seconds, and is drawn evenly from zero to that. After a conflict, what the attempt took counts instead, doubling to 16 times that.";
    ATTEMPT_TIMEOUT "AFT_ATTEMPT_TIMEOUT_MS", "0", "0 to 900000",
        "How long an attempt may run, in milliseconds, before the runtime is killed and the attempt has failed; 0: as long as Lambda allows.";
    STREAMING "AFT_STREAMING", "buffered", "buffered or pass-through",
        "Whether a streamed response is held back until the commit, or passed on as it comes, with the commit at its end.";
    ACK "AFT_ACK", "visible", "visible or durable",
        "When the response is released: once every write is visible, or as soon as the commit record is durable.";
    READ "AFT_READ", "strong", "strong or eventual",
        "DynamoDB's read consistency. Reads are read atomic with both.";
    DUPLICATE_CHECK "AFT_DUPLICATE_CHECK", "parallel", "parallel, before or commit-only",
        "When the record of an earlier commit is looked for: beside the handler, before it, or only by the commit.";
    MEMOIZE "AFT_MEMOIZE", "writes", "writes or always",
        "`always` also records the response of a transaction that wrote nothing.";
    RETENTION "AFT_RETENTION_SECONDS", "604800", "3600 to 31536000",
        "How long commit records are kept, and so how late a duplicate is still answered from one.";
    DYNAMODB_ENDPOINT "AFT_DYNAMODB_ENDPOINT", "", "an http:// or https:// URL",
        "Another DynamoDB endpoint, for the extension only: the handler's own clients are left alone.";
    CONTROL_SOCKET "AFT_CONTROL_SOCKET", "/tmp/.aft/control.sock", "a path of at most 100 bytes",
        "The Unix socket between shim and extension. The journal lies beside it.";
    LOG "AFT_LOG", "info", "error, warn, info or debug",
        "How much both processes log.";
    TRANSACTION_KEY "AFT_TRANSACTION_KEY", "", "a JMESPath expression",
        "What in the event names its transaction, if neither its caller nor an `Idempotency-Key` does.";
    IN_PROGRESS "AFT_IN_PROGRESS", "allow", "allow or refuse",
        "Whether a duplicate may run while the first invocation still does, or is refused.";
    NEXT_WRAPPER "AFT_NEXT_WRAPPER", "", "the absolute path of an executable file",
        "Another wrapper: the shim starts it with the runtime's command, as `AWS_LAMBDA_EXEC_WRAPPER` would.";
    BOOTSTRAP "AFT_BOOTSTRAP", "", "an executable file, absolute or within the function's package",
        "OS-only runtimes: the program that the layer's `bootstrap` starts. If not set: the function's handler.";
    WRITE_LOOK_UP "AFT_WRITE_LOOK_UP", "true", "true or false",
        "Whether the heads of written keys that were not read are looked up beside the handler, so that no clock's skew orders a write before an earlier one.";
    CACHE_BYTES "AFT_CACHE_BYTES", "4194304", "0 to 1073741824",
        "How many bytes of heads the sandbox keeps for reads that allow `Cache-Control: max-age`; 0: none.";
    ISOLATION "AFT_ISOLATION", "read-atomic", "read-atomic or serializable",
        "What concurrent transactions may do to each other. `serializable`: as if they ran one after the other; conflicts are retried.";
    MAX_CONFLICTS "AFT_MAX_CONFLICTS", "100", "0 to 10000",
        "How many attempts that met another transaction are followed by another, within the deadline. They do not count for `AFT_MAX_ATTEMPTS`; 0: none is.";
    CA_BUNDLE "AFT_CA_BUNDLE", "", "the absolute path of a PEM file",
        "The certificates of the authorities that may sign the DynamoDB endpoint's certificate, instead of those that are built in (Mozilla's).";
}

/// Set by the shim for the handler: the local endpoint's base URL.
pub const HANDLER_ENDPOINT: &str = "AFT_ENDPOINT";
/// Set by the shim for the handler: the value of the `X-Aft-Token` header.
pub const HANDLER_TOKEN: &str = "AFT_TOKEN";
/// Set by the shim for the handler instead, under SnapStart: the file that holds that value, which changes with a restore.
pub const HANDLER_TOKEN_FILE: &str = "AFT_TOKEN_FILE";

/// Set by Lambda: how this sandbox came to be.
const INITIALIZATION_TYPE: &str = "AWS_LAMBDA_INITIALIZATION_TYPE";

/// Everything that is wrong with a process's configuration, in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(Vec<String>);

impl Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} fault(s) in the configuration: {}", self.0.len(), self.0.join("; "))
    }
}

impl std::error::Error for Faults {}

/// Reads settings from a process's environment variables and collects faults.
#[derive(Debug)]
pub struct Reader {
    variables: BTreeMap<String, String>,
    faults: Vec<String>,
}

impl Reader {
    /// Reads from these variables. A variable that begins with `AFT_` and is no setting is a fault: most likely a typing
    /// error, and the default that would silently count instead may cost money.
    pub fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let variables: BTreeMap<_, _> = variables.into_iter().collect();
        let handed = [HANDLER_ENDPOINT, HANDLER_TOKEN, HANDLER_TOKEN_FILE];
        let known = |name: &str| ALL.iter().any(|setting| setting.name == name) || handed.contains(&name);
        let faults = variables
            .keys()
            .filter(|name| name.starts_with("AFT_") && !known(name))
            .map(|name| one_line(&format!("{name} is not a setting of this version (see docs/configuration.md)")))
            .collect();
        Self { variables, faults }
    }

    /// A variable of the platform, such as `AWS_REGION`; an empty one counts as not set.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// A variable of the platform that must be set; `why` says what for.
    pub fn required_variable(&mut self, name: &str, why: &str) -> String {
        match self.variable(name) {
            Some(text) => text.to_owned(),
            None => {
                self.fault(format!("{name} is not set: {why}"));
                String::new()
            }
        }
    }

    /// A setting's text, or its default, or `None` if it has neither.
    #[must_use]
    pub fn text(&self, setting: &Setting) -> Option<&str> {
        self.variable(setting.name).or(Some(setting.default).filter(|text| !text.is_empty()))
    }

    /// A setting that must have a text.
    pub fn required(&mut self, setting: &Setting) -> String {
        match self.text(setting) {
            Some(text) => text.to_owned(),
            None => {
                self.fault(format!("{} is not set: it must be {}", setting.name, setting.allowed));
                String::new()
            }
        }
    }

    /// A setting read by `parse`; a text that `parse` refuses is a fault and gives `T::default()`.
    pub fn parsed<T: Default>(&mut self, setting: &Setting, parse: impl FnOnce(&str) -> Option<T>) -> T {
        let text = self.text(setting).unwrap_or_default().to_owned();
        parse(text.trim()).unwrap_or_else(|| {
            self.fault(format!("{} is {text:?}: it must be {}", setting.name, setting.allowed));
            T::default()
        })
    }

    /// A whole number within bounds.
    pub fn number(&mut self, setting: &Setting, bounds: std::ops::RangeInclusive<u64>) -> u64 {
        self.parsed(setting, |text| text.parse().ok().filter(|number| bounds.contains(number)))
    }

    /// `true` or `false`.
    pub fn flag(&mut self, setting: &Setting) -> bool {
        self.parsed(setting, |text| match text {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        })
    }

    /// Whether the sandbox is, or will be, a restored snapshot (SnapStart).
    #[must_use]
    pub fn is_snap_start(&self) -> bool {
        self.variable(INITIALIZATION_TYPE) == Some("snap-start")
    }

    /// Notes a fault on Managed Instances, which run several invocations at once: that would be silently wrong.
    pub fn refuse_managed_instances(&mut self) {
        let concurrency = "AWS_LAMBDA_MAX_CONCURRENCY";
        let initialization = self.variable(INITIALIZATION_TYPE);
        let told = match (self.variable(concurrency), initialization) {
            (Some(_), _) => format!("{concurrency} is set"),
            (None, Some("lambda-managed-instances")) => format!("{INITIALIZATION_TYPE} is lambda-managed-instances"),
            (None, _) => return,
        };
        self.fault(format!(
            "{told}: managed instances run several invocations at once, which this version does not support; set \
             AFT_ENABLED=false or use a function without a capacity provider"
        ));
    }

    /// Notes a fault. Whatever it quotes, it is one line.
    pub fn fault(&mut self, fault: String) {
        self.faults.push(one_line(&fault));
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`Faults`], if there were any.
    pub fn finish(self) -> Result<(), Faults> {
        if self.faults.is_empty() { Ok(()) } else { Err(Faults(self.faults)) }
    }
}

/// Control characters as people can read them.
fn one_line(text: &str) -> String {
    let shown = |c: char| if c.is_control() { c.escape_default().collect() } else { c.to_string() };
    text.chars().map(shown).collect()
}

/// How much a process logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum LogLevel {
    /// What needs somebody.
    Error,
    /// What may need somebody.
    Warn,
    /// One line for each thing that is not routine.
    #[default]
    Info,
    /// Every step.
    Debug,
}

impl LogLevel {
    /// Reads a level's name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "error" => Some(Self::Error),
            "warn" => Some(Self::Warn),
            "info" => Some(Self::Info),
            "debug" => Some(Self::Debug),
            _ => None,
        }
    }

    /// The level's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{DATA_TABLE, ENABLED, MAX_ATTEMPTS, Reader};

    fn reader(variables: &[(&str, &str)]) -> Reader {
        Reader::new(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn defaults_count_where_nothing_is_set() {
        let mut reader = reader(&[("AFT_DATA_TABLE", "orders"), ("PATH", "/bin"), ("AFT_ENABLED", "")]);
        assert_eq!(reader.required(&DATA_TABLE), "orders");
        assert_eq!(reader.number(&MAX_ATTEMPTS, 1..=100), 3);
        assert!(reader.flag(&ENABLED));
        assert_eq!(reader.finish(), Ok(()));
    }

    /// Once, a path with a line's end in it, which a fault quoted, made two lines of the one that Lambda shows.
    #[test]
    fn what_a_fault_quotes_does_not_break_its_line() {
        let mut reader = reader(&[("AFT_\nX", "1")]);
        reader.fault("AFT_NEXT_WRAPPER: /no\nwhere is not there".to_owned());
        let line = reader.finish().unwrap_err().to_string();
        assert!(
            line.lines().count() == 1 && line.contains(r"/no\nwhere") && line.contains(r"AFT_\nX is not"),
            "{line}"
        );
    }

    #[test]
    fn all_faults_are_reported_in_one_line() {
        let mut reader = reader(&[("AFT_MAX_ATTEMPTS", "0"), ("AFT_ENABLED", "yes"), ("AFT_DATA_TABEL", "orders")]);
        reader.required(&DATA_TABLE);
        reader.number(&MAX_ATTEMPTS, 1..=100);
        reader.flag(&ENABLED);
        reader.required_variable("AWS_REGION", "Lambda sets it");
        let line = reader.finish().unwrap_err().to_string();
        assert_eq!(line.lines().count(), 1);
        for part in [
            "5 fault(s)",
            "AFT_DATA_TABEL is not a setting",
            "AFT_DATA_TABLE is not set: it must be a DynamoDB table name",
            "AFT_MAX_ATTEMPTS is \"0\": it must be 1 to 100",
            "AFT_ENABLED is \"yes\": it must be true or false",
            "AWS_REGION is not set: Lambda sets it",
        ] {
            assert!(line.contains(part), "{part:?} in {line:?}");
        }
    }
}
