//! What the environment says: read here and nowhere else, all faults reported together.

use aft_protocol::settings::{self, Faults, LogLevel, Reader};
use aft_store::dynamodb::{Config as StoreConfig, ReadConsistency};

/// Everything that the process needs to know.
#[derive(Debug)]
pub struct Config {
    /// Where the tables are. Heads are read eventually consistent, at half the price: one that looks behind and is not costs
    /// a move that is refused.
    pub store: StoreConfig,
}

/// `AFT_LOG`, or its default if it is not a level (then [`Config::read`] reports it).
pub fn log_level(variables: impl IntoIterator<Item = (String, String)>) -> LogLevel {
    Reader::new(variables).text(&settings::LOG).and_then(LogLevel::parse).unwrap_or_default()
}

impl Config {
    /// Reads from these variables.
    ///
    /// # Errors
    /// [`Faults`], all of them.
    pub fn read(variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, Faults> {
        let mut reader = Reader::new(variables);
        let config = Self { store: StoreConfig::read(&mut reader, ReadConsistency::Eventual) };
        reader.parsed(&settings::LOG, LogLevel::parse);
        reader.finish().map(|()| config)
    }
}

#[cfg(test)]
mod tests {
    use aft_store::dynamodb::ReadConsistency;

    use super::Config;

    fn read(changes: &[(&str, &str)]) -> Result<Config, String> {
        let valid = [
            ("AFT_DATA_TABLE", "orders"),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
        ];
        let variables = valid.iter().chain(changes).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::read(variables).map_err(|faults| faults.to_string())
    }

    #[test]
    fn one_setting_of_our_own_is_enough_on_lambda() {
        let config = read(&[]).unwrap();
        assert_eq!(config.store.transaction_table, "orders-transactions");
        assert_eq!(config.store.reads, ReadConsistency::Eventual);
        let named = read(&[("AFT_TRANSACTION_TABLE", "t"), ("AFT_DYNAMODB_ENDPOINT", "http://127.0.0.1:1")]).unwrap();
        assert_eq!(named.store.transaction_table, "t");
        assert_eq!(named.store.endpoint.unwrap().to_string(), "http://127.0.0.1:1");
    }

    #[test]
    fn every_fault_is_named_in_one_line() {
        let line = read(&[
            ("AFT_DATA_TABLE", ""),
            ("AFT_TRANSACTION_TABEL", "t"),
            ("AFT_DYNAMODB_ENDPOINT", "localhost:8000"),
            ("AFT_CA_BUNDLE", "/nowhere/ca.pem"),
            ("AFT_LOG", "loud"),
            ("AWS_REGION", ""),
            ("AWS_SECRET_ACCESS_KEY", ""),
        ])
        .unwrap_err();
        assert!(line.starts_with("7 fault(s)"), "{line}");
        assert_eq!(line.lines().count(), 1);
        let same = read(&[("AFT_TRANSACTION_TABLE", "orders")]).unwrap_err();
        assert!(same.contains("name the same table"), "{same}");
    }
}
