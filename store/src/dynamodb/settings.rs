//! Where the tables are and who asks, from a process's settings and its platform's variables.

use aft_protocol::settings::{self, Reader};

use super::{CaBundle, Config, Credentials, Endpoint, ReadConsistency};

/// Where a variable of the platform comes from.
const LAMBDA_SETS: &str = "Lambda sets it; elsewhere, set it yourself";

impl Config {
    /// The tables and the endpoint that the settings name, in the platform's region, with its credentials. Faults are
    /// noted.
    pub fn read(reader: &mut Reader, reads: ReadConsistency) -> Self {
        let data_table = reader.required(&settings::DATA_TABLE);
        let transaction_table = match reader.text(&settings::TRANSACTION_TABLE) {
            Some(name) => name.to_owned(),
            None => format!("{data_table}-transactions"),
        };
        if transaction_table == data_table {
            let (transaction, data) = (settings::TRANSACTION_TABLE.name, settings::DATA_TABLE.name);
            reader.fault(format!("{transaction} and {data} name the same table: they must be two"));
        }
        let endpoint = match reader.text(&settings::DYNAMODB_ENDPOINT) {
            None => None,
            Some(_) => reader.parsed(&settings::DYNAMODB_ENDPOINT, |text| text.parse::<Endpoint>().ok().map(Some)),
        };
        let region = reader.required_variable("AWS_REGION", LAMBDA_SETS);
        let (ca_bundle, credentials) = (CaBundle::of(reader), Credentials::read(reader));
        Self { data_table, transaction_table, region, endpoint, ca_bundle, credentials, reads }
    }
}

impl CaBundle {
    /// The file that the setting names, if it names one. Faults are noted.
    pub fn of(reader: &mut Reader) -> Option<Self> {
        let path = reader.text(&settings::CA_BUNDLE)?.to_owned();
        let fault = |error| format!("{} is {path:?}: {error}", settings::CA_BUNDLE.name);
        Self::read(path.as_ref()).map_err(|error| reader.fault(fault(error))).ok()
    }
}

impl Credentials {
    /// Keys, or, as Lambda does under SnapStart, where they are to be had. Faults are noted.
    pub fn read(reader: &mut Reader) -> Self {
        let uri = reader.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI").map(str::to_owned);
        let session_token = reader.variable("AWS_SESSION_TOKEN").map(str::to_owned);
        match uri {
            Some(uri) => Self::Container {
                uri,
                token: reader.required_variable("AWS_CONTAINER_AUTHORIZATION_TOKEN", LAMBDA_SETS),
            },
            None => Self::Keys {
                access_key_id: reader.required_variable("AWS_ACCESS_KEY_ID", LAMBDA_SETS),
                secret_access_key: reader.required_variable("AWS_SECRET_ACCESS_KEY", LAMBDA_SETS),
                session_token,
            },
        }
    }
}
