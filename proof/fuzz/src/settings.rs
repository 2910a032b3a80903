//! The environment of the three processes.
//!
//! The bytes are variables, `NAME=value`, with a zero byte between them. Whatever they are, each process has a configuration
//! within its bounds, or one line that counts what is wrong.

use std::ffi::OsString;
use std::time::Duration;

use aft_extension::config as extension;
use aft_fault_manager::config as fault_manager;
use aft_protocol::settings::Faults;
use aft_runtime_shim::config as shim;

/// What makes a configuration valid, as far as nothing else is said.
const VALID: [(&str, &str); 6] = [
    ("AFT_DATA_TABLE", "orders"),
    ("AWS_LAMBDA_FUNCTION_NAME", "transfer"),
    ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"),
    ("AWS_REGION", "eu-west-1"),
    ("AWS_ACCESS_KEY_ID", "id"),
    ("AWS_SECRET_ACCESS_KEY", "secret"),
];

/// The target.
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let said = text.split('\0').filter_map(|variable| variable.split_once('='));
    let variables: Vec<(String, String)> =
        VALID.into_iter().chain(said).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    environment(&variables);
}

/// Whatever is set.
pub fn environment(variables: &[(String, String)]) {
    let variables = || variables.iter().cloned();
    extension::Bootstrap::read(variables());
    if let Some(config) = told(extension::Config::read(variables()))
        && config.enabled
    {
        let behaviour = &config.behaviour;
        assert_ne!(config.port, 0);
        assert!((3_600..=31_536_000).contains(&behaviour.retention_seconds), "{behaviour:?}");
        assert!(behaviour.cache_bytes <= 1 << 30);
        assert!(config.control_socket.is_absolute() && config.control_socket.as_os_str().len() <= 100);
        assert_ne!(config.store.data_table, config.store.transaction_table);
        assert_ne!(config.store.data_table, "");
        let endpoint = config.store.endpoint.map(|endpoint| endpoint.to_string());
        assert!(endpoint.is_none_or(|endpoint| endpoint.parse::<hyper::Uri>().unwrap().host().is_some()));
    }
    for arguments in [&["python3".into()][..], &["--bootstrap".into()], &[] as &[OsString]] {
        shim::Bootstrap::read(variables(), arguments);
        if let Some(config) = told(shim::Config::read(variables(), arguments)) {
            let policy = &config.policy;
            assert!((1..=100).contains(&policy.max_attempts) && policy.max_conflicts <= 10_000);
            assert!(policy.reserve <= Duration::from_secs(900) && policy.backoff <= Duration::from_secs(60));
            assert!(policy.attempt_limit.is_none_or(|limit| !limit.is_zero() && limit <= Duration::from_secs(900)));
            assert!(policy.never.iter().all(|kind| !kind.is_empty() && kind.trim() == kind));
            assert!(!config.command.is_empty());
        }
    }
    fault_manager::log_level(variables());
    told(fault_manager::Config::read(variables()));
}

/// All faults are in one line, which counts them.
fn told<T>(read: Result<T, Faults>) -> Option<T> {
    match read {
        Ok(config) => Some(config),
        Err(faults) => {
            let line = faults.to_string();
            assert_eq!(line.lines().count(), 1, "{line}");
            let count: usize = line.split(' ').next().unwrap().parse().unwrap();
            assert!(count > 0, "{line}");
            None
        }
    }
}
