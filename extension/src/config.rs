//! What the environment says: read here and nowhere else, all faults reported together.

use std::path::PathBuf;

use aft_protocol::id::Scope;
use aft_protocol::isolation::Isolation;
use aft_protocol::settings::{self, Faults, LogLevel, Reader};
use aft_store::dynamodb::{Config as StoreConfig, ReadConsistency};

use crate::session::{Ack, Behaviour, DuplicateCheck};

/// A Unix socket's path must fit `sockaddr_un`; the last bytes are left for the terminator.
const SOCKET_PATH_BYTES: usize = 100;
/// Where a variable of the platform comes from.
const LAMBDA_SETS: &str = "Lambda sets it; elsewhere, set it yourself";

/// Everything that the process needs to know.
#[derive(Debug)]
pub struct Config {
    /// `AFT_ENABLED`: if false, the extension only waits for SHUTDOWN.
    pub enabled: bool,
    /// `AWS_LAMBDA_FUNCTION_NAME`, which keys of explicit transactions are unique within.
    pub function: Scope,
    /// `AFT_PORT`.
    pub port: u16,
    /// `AFT_CONTROL_SOCKET`.
    pub control_socket: PathBuf,
    /// `AFT_REQUIRE_TOKEN`.
    pub require_token: bool,
    /// How transactions behave.
    pub behaviour: Behaviour,
    /// Whether a snapshot of the sandbox is to be taken.
    pub snap_start: bool,
    /// Where the tables are.
    pub store: StoreConfig,
}

/// What is needed before, and even without, a valid configuration: to log and to tell Lambda what is wrong.
#[derive(Debug)]
pub struct Bootstrap {
    /// `AWS_LAMBDA_RUNTIME_API`, if set.
    pub runtime_api: Option<String>,
    /// `AFT_LOG`, or its default if it is not a level (then [`Config::read`] reports it).
    pub log: LogLevel,
}

impl Bootstrap {
    /// Reads from these variables.
    pub fn read(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let reader = Reader::new(variables);
        Self {
            runtime_api: reader.variable("AWS_LAMBDA_RUNTIME_API").map(str::to_owned),
            log: reader.text(&settings::LOG).and_then(LogLevel::parse).unwrap_or_default(),
        }
    }
}

impl Config {
    /// Reads from these variables.
    ///
    /// # Errors
    /// [`Faults`], all of them.
    pub fn read(variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, Faults> {
        let mut reader = Reader::new(variables);
        let enabled = reader.flag(&settings::ENABLED);
        let disabled = reader.text(&settings::ENABLED) == Some("false");
        let reads = reads(&mut reader);
        let config = Self {
            enabled,
            function: Scope::new(reader.required_variable("AWS_LAMBDA_FUNCTION_NAME", LAMBDA_SETS)),
            port: port(&mut reader),
            control_socket: reader.parsed(&settings::CONTROL_SOCKET, socket_path),
            require_token: reader.flag(&settings::REQUIRE_TOKEN),
            behaviour: behaviour(&mut reader, reads),
            snap_start: reader.is_snap_start(),
            store: StoreConfig::read(&mut reader, reads),
        };
        reader.parsed(&settings::LOG, LogLevel::parse);
        reader.refuse_managed_instances();
        match reader.finish() {
            // What switches everything off must work whatever else is wrong.
            Err(_) if disabled => Ok(config),
            finished => finished.map(|()| config),
        }
    }
}

fn port(reader: &mut Reader) -> u16 {
    u16::try_from(reader.number(&settings::PORT, 1..=u64::from(u16::MAX))).unwrap_or_default()
}

fn socket_path(text: &str) -> Option<PathBuf> {
    Some(text).filter(|text| text.len() <= SOCKET_PATH_BYTES && text.starts_with('/')).map(PathBuf::from)
}

fn reads(reader: &mut Reader) -> ReadConsistency {
    reader.parsed(&settings::READ, |text| match text {
        "strong" => Some(ReadConsistency::Strong),
        "eventual" => Some(ReadConsistency::Eventual),
        _ => None,
    })
}

fn behaviour(reader: &mut Reader, reads: ReadConsistency) -> Behaviour {
    Behaviour {
        duplicate_check: reader.parsed(&settings::DUPLICATE_CHECK, |text| match text {
            "parallel" => Some(DuplicateCheck::Parallel),
            "before" => Some(DuplicateCheck::Before),
            "commit-only" => Some(DuplicateCheck::CommitOnly),
            _ => None,
        }),
        ack: reader.parsed(&settings::ACK, |text| match text {
            "visible" => Some(Ack::Visible),
            "durable" => Some(Ack::Durable),
            _ => None,
        }),
        memoize_always: reader.parsed(&settings::MEMOIZE, |text| match text {
            "writes" => Some(false),
            "always" => Some(true),
            _ => None,
        }),
        retention_seconds: reader.number(&settings::RETENTION, 3_600..=31_536_000),
        reads_strongly: reads == ReadConsistency::Strong,
        look_ups: if reader.flag(&settings::WRITE_LOOK_UP) { look_ups(reader) } else { 0 },
        cache_bytes: usize::try_from(reader.number(&settings::CACHE_BYTES, 0..=1 << 30)).unwrap_or_default(),
        isolation: reader.parsed(&settings::ISOLATION, Isolation::parse),
        refuse_in_progress: reader.parsed(&settings::IN_PROGRESS, |text| match text {
            "allow" => Some(false),
            "refuse" => Some(true),
            _ => None,
        }),
    }
}

/// Many small look-ups are faster than one large one and take more of the processor: one at a time for each tenth of a processor
/// that the function has (Lambda gives a whole one with 1,769 MB).
fn look_ups(reader: &Reader) -> usize {
    let memory_mb = reader.variable("AWS_LAMBDA_FUNCTION_MEMORY_SIZE").and_then(|text| text.parse::<usize>().ok());
    (memory_mb.unwrap_or_default() * 10 / 1_769).clamp(1, 10)
}

#[cfg(test)]
mod tests {
    use aft_store::dynamodb::Credentials;

    use super::Config;

    const VALID: &[(&str, &str)] = &[
        ("AFT_DATA_TABLE", "orders"),
        ("AWS_LAMBDA_FUNCTION_NAME", "transfer"),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];

    fn read(changes: &[(&str, &str)]) -> Result<Config, String> {
        let variables = VALID.iter().chain(changes).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::read(variables).map_err(|faults| faults.to_string())
    }

    #[test]
    fn one_setting_of_our_own_is_enough_on_lambda() {
        let config = read(&[]).unwrap();
        assert_eq!(config.store.transaction_table, "orders-transactions");
        assert_eq!(config.port, 7_321);
        assert!(config.require_token);
        assert!(config.behaviour.look_ups == 1 && config.behaviour.reads_strongly);
        assert_eq!(config.behaviour.cache_bytes, 4 * 1_024 * 1_024);
    }

    #[test]
    fn as_many_look_ups_at_a_time_as_the_processor_bears() {
        let look_ups = |memory: &str| read(&[("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", memory)]).unwrap().behaviour.look_ups;
        assert_eq!(["128", "512", "1024", "1769", "10240", "much"].map(look_ups), [1, 2, 5, 10, 10, 1]);
        assert_eq!(read(&[("AFT_WRITE_LOOK_UP", "false")]).unwrap().behaviour.look_ups, 0);
    }

    #[test]
    fn every_fault_is_named_in_one_line() {
        let line = read(&[
            ("AFT_DATA_TABLE", ""),
            ("AWS_REGION", ""),
            ("AFT_PORT", "0"),
            ("AFT_READ", "Strong"),
            ("AFT_ACK", "soon"),
            ("AFT_DUPLICATE_CHECK", "never"),
            ("AFT_MEMOIZE", "yes"),
            ("AFT_IN_PROGRESS", "wait"),
            ("AFT_RETENTION_SECONDS", "60"),
            ("AFT_WRITE_LOOK_UP", "on"),
            ("AFT_CACHE_BYTES", "4 MiB"),
            ("AFT_DYNAMODB_ENDPOINT", "localhost:8000"),
            ("AFT_CA_BUNDLE", "ca.pem"),
            ("AFT_CONTROL_SOCKET", "control.sock"),
            ("AFT_LOG", "loud"),
            ("AFT_TABLE", "orders"),
            ("AWS_LAMBDA_MAX_CONCURRENCY", "16"),
        ])
        .unwrap_err();
        assert!(line.starts_with("17 fault(s)"), "{line}");
        assert_eq!(line.lines().count(), 1);
        for name in ["AFT_DATA_TABLE is not set", "AWS_REGION is not set", "AFT_TABLE is not a setting", "managed"] {
            assert!(line.contains(name), "{name:?} in {line:?}");
        }
    }

    #[test]
    fn under_snap_start_the_keys_are_where_lambda_says() {
        let uri = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:9001/2021-04-23/credentials");
        let snap_start = ("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start");
        let line = read(&[snap_start, uri]).unwrap_err();
        assert!(line.contains("AWS_CONTAINER_AUTHORIZATION_TOKEN is not set"), "{line}");
        let none = [("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")];
        let config = read(&[snap_start, uri, none[0], none[1], ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "t")]).unwrap();
        assert!(config.snap_start);
        assert!(matches!(config.store.credentials, Credentials::Container { .. }));
    }

    #[test]
    fn the_two_tables_are_two() {
        let line = read(&[("AFT_TRANSACTION_TABLE", "orders")]).unwrap_err();
        assert!(line.contains("name the same table"), "{line}");
    }

    #[test]
    fn a_disabled_extension_needs_nothing() {
        let disabled = [("AFT_ENABLED", "false"), ("AFT_PORT", "none"), ("AFT_TYPO", "x")];
        let disabled = disabled.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert!(!Config::read(disabled).unwrap().enabled);
    }

    #[test]
    fn an_endpoint_is_a_whole_url_without_a_path() {
        assert!(read(&[("AFT_DYNAMODB_ENDPOINT", "http://127.0.0.1:8000")]).is_ok());
        for text in ["127.0.0.1", "ftp://host", "http://host/path", "http://", "http://host?x"] {
            assert!(read(&[("AFT_DYNAMODB_ENDPOINT", text)]).is_err(), "{text:?}");
        }
    }
}
