//! The command line of `aft recover`, and which tables it means.

use std::io;
use std::path::{self, PathBuf};

use aft_protocol::id::TransactionId;
use aft_protocol::settings::Faults;
use aft_store::dynamodb::{CaBundle, Config, Endpoint, InvalidBundle, InvalidEndpoint, ReadConsistency};
use clap::{ArgGroup, Args};

use crate::config::{Account, account, local_account};
use crate::engine::Tables;

/// Why there are no tables to look at.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// There is nothing to open.
    #[error("there is no file {}: name the one of `aft local --data`", .0.display())]
    NoFile(PathBuf),
    /// An address that is none.
    #[error("--dynamodb-endpoint: {0}")]
    Endpoint(#[from] InvalidEndpoint),
    /// Certificates that are none.
    #[error("--ca-bundle: {0}")]
    CaBundle(#[from] InvalidBundle),
    /// A relative path, and no directory that it could start from.
    #[error("--ca-bundle: {0}")]
    NoDirectory(io::Error),
    /// The environment does not say who asks.
    #[error("{0}")]
    Account(#[from] Faults),
}

/// `aft recover`.
#[derive(Debug, Clone, Args)]
#[command(
    group = ArgGroup::new("place").required(true).args(["data", "dynamodb_endpoint", "aws"]),
    after_help = "\
Exits with 0 if everything is applied, with 1 if something is not (each is named), with 2 if it could not start. It may be
run at any time, beside everything else, and again. For AWS it needs dynamodb:Scan on the transaction table besides the
permissions of the fault manager; dynamodb:DescribeTable shows how long it takes."
)]
pub struct RecoverArguments {
    /// The embedded engine's file, as of `aft local`.
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    /// A DynamoDB at this address, such as DynamoDB Local.
    #[arg(long, value_name = "URL")]
    pub dynamodb_endpoint: Option<String>,
    /// AWS, with region and credentials from the environment (AWS_REGION, AWS_ACCESS_KEY_ID, …).
    #[arg(long)]
    pub aws: bool,
    /// Who may sign the endpoint's certificate, instead of the authorities that are built in: as AFT_CA_BUNDLE for the layer.
    #[arg(long, value_name = "FILE")]
    pub ca_bundle: Option<PathBuf>,
    /// The table of keys [default, but not with --aws: aft-local].
    #[arg(long, value_name = "TABLE", required_if_eq("aws", "true"))]
    pub data_table: Option<String>,
    /// The table of commit records [default: the data table's name followed by -transactions].
    #[arg(long, value_name = "TABLE")]
    pub transaction_table: Option<String>,
    /// Only this transaction.
    #[arg(long, value_name = "ID")]
    pub transaction: Option<TransactionId>,
    /// Only say what would be rolled forward.
    #[arg(long)]
    pub dry_run: bool,
    /// The tables are as they were at this time, in seconds since the epoch: after a restore. What has expired since is applied
    /// too.
    #[arg(long, value_name = "SECONDS")]
    pub as_of: Option<u64>,
    /// How many parts of the table are scanned at the same time.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..=1_000))]
    pub segments: i32,
    /// How many read units a second to use; 0: as many as there are. Heads are counted as if none had more than 4 KB.
    #[arg(long, value_name = "UNITS", default_value_t = 1_000)]
    pub read_units_per_second: u32,
}

impl RecoverArguments {
    /// The names of the two tables.
    #[must_use]
    pub fn tables(&self) -> Tables {
        let data = self.data_table.clone().unwrap_or_else(|| Tables::default().data);
        let transactions = self.transaction_table.clone().unwrap_or_else(|| format!("{data}-transactions"));
        Tables { data, transactions }
    }

    /// The embedded engine's file, if it is the one.
    ///
    /// # Errors
    /// [`PlaceError::NoFile`]: it is not made here.
    pub fn file(&self) -> Result<Option<PathBuf>, PlaceError> {
        match &self.data {
            Some(file) if !file.is_file() => Err(PlaceError::NoFile(file.clone())),
            file => Ok(file.clone()),
        }
    }

    /// How to reach the tables; `embedded` is where the embedded engine listens, if it is the one.
    ///
    /// # Errors
    /// [`PlaceError`]: the address is none, or the environment lacks something.
    pub fn store(&self, embedded: Option<&str>) -> Result<Config, PlaceError> {
        let tables = self.tables();
        let endpoint = embedded.or(self.dynamodb_endpoint.as_deref()).map(str::parse::<Endpoint>).transpose()?;
        let Account { region, credentials } = if self.aws { account()? } else { local_account() };
        Ok(Config {
            data_table: tables.data,
            transaction_table: tables.transactions,
            region,
            endpoint,
            ca_bundle: self.ca_bundle()?,
            credentials,
            // A head that looks behind and is not costs a move that is refused; a dry run must not say what is not so.
            reads: if self.dry_run { ReadConsistency::Strong } else { ReadConsistency::Eventual },
        })
    }

    fn ca_bundle(&self) -> Result<Option<CaBundle>, PlaceError> {
        let path = self.ca_bundle.as_ref().map(path::absolute).transpose().map_err(PlaceError::NoDirectory)?;
        Ok(path.as_deref().map(CaBundle::read).transpose()?)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::RecoverArguments;
    use crate::arguments::{Arguments, Command};

    fn parse(line: &str) -> Result<RecoverArguments, String> {
        match Arguments::try_parse_from(line.split(' ')).map_err(|error| error.to_string())?.command {
            Command::Recover(arguments) => Ok(arguments),
            Command::Local(_) | Command::History(_) => panic!("another command"),
        }
    }

    #[test]
    fn exactly_one_place_is_named() {
        for line in ["aft recover", "aft recover --aws", "aft recover --data a --dynamodb-endpoint http://b:1"] {
            parse(line).unwrap_err();
        }
        let local = parse("aft recover --data .aft/local.sqlite").unwrap();
        assert_eq!(local.tables(), crate::engine::Tables::default());
        let aws = parse("aft recover --aws --data-table orders").unwrap();
        assert_eq!((aws.tables().data.as_str(), aws.tables().transactions.as_str()), ("orders", "orders-transactions"));
        let named = parse("aft recover --aws --data-table orders --transaction-table log").unwrap();
        assert_eq!(named.tables().transactions, "log");
    }

    #[test]
    fn a_transaction_is_named_by_its_id() {
        let id = "00000000000000000000000001";
        let arguments = parse(&format!("aft recover --data a --transaction {id}")).unwrap();
        assert_eq!(arguments.transaction.unwrap().to_string(), id);
        let error = parse("aft recover --data a --transaction x").unwrap_err();
        assert!(error.contains("is not a transaction ID"), "{error}");
        assert!(parse("aft recover --data a --dynamodb-endpoint b").is_err());
        let nowhere = parse("aft recover --dynamodb-endpoint localhost:8000").unwrap();
        assert!(nowhere.store(None).unwrap_err().to_string().contains("http://"));
    }
}
