//! The workload on the plain store: each function writes when it writes. Reads are strongly consistent, which is the best that
//! a plain store has to offer.

use std::collections::HashMap;

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region, SharedHttpClient};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;

use aft_store::simulated::DATA_TABLE;

use super::anomalies::{Attempt, Seen};
use super::request::{Logical, Mark, Step, name};
use super::{Crash, Ended, Error};
use aft_protocol::version::Version;

/// A client of the plain store.
#[derive(Debug)]
pub struct Plain {
    client: Client,
}

impl Plain {
    /// Over what carries its requests.
    #[must_use]
    pub fn new(http: SharedHttpClient) -> Self {
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::from_static("eu-central-1"))
            .credentials_provider(Credentials::new("simulated", "simulated", None, None, "paper"))
            .retry_config(RetryConfig::disabled())
            .http_client(http);
        Self { client: Client::from_conf(config.build()) }
    }

    /// One attempt at a request, which may crash.
    ///
    /// # Errors
    /// If the store refuses, or has what nobody here wrote.
    pub async fn attempt(
        &self,
        logical: &Logical,
        mark: &Mark,
        crash: Option<Crash>,
    ) -> Result<(Ended, Attempt), Error> {
        let mut attempt = Attempt::default();
        for (index, step) in logical.steps.iter().enumerate() {
            if crash.is_some_and(|crash| crash.before(index)) {
                return Ok((Ended::Crashed, attempt));
            }
            match *step {
                Step::Read(key) => {
                    let found = self.get(key).await?;
                    attempt.read(match found {
                        None => Seen { key, version: Version::ZERO, cowritten: Vec::new(), is_own: false },
                        Some(found) => Seen {
                            key,
                            version: found.version,
                            cowritten: found.cowritten,
                            is_own: found.version.transaction() == logical.id,
                        },
                    });
                }
                Step::Write(key) => {
                    self.put(key, mark.value()).await?;
                    attempt.write(key);
                }
            }
        }
        // What crashes now has done everything, but nobody hears of it.
        Ok((if crash.is_some() { Ended::Crashed } else { Ended::Done }, attempt))
    }

    async fn get(&self, key: usize) -> Result<Option<Mark>, Error> {
        let place = HashMap::from([("k".to_owned(), AttributeValue::S(name(key)))]);
        let get = self.client.get_item().table_name(DATA_TABLE).set_key(Some(place)).consistent_read(true);
        match get.send().await?.item.and_then(|mut item| item.remove("v")) {
            None => Ok(None),
            Some(AttributeValue::B(value)) => Mark::parse(value.as_ref()).map(Some),
            Some(_) => Err("a value that is not binary".into()),
        }
    }

    async fn put(&self, key: usize, value: Vec<u8>) -> Result<(), Error> {
        let put = self.client.put_item().table_name(DATA_TABLE).item("k", AttributeValue::S(name(key)));
        put.item("v", AttributeValue::B(Blob::new(value))).send().await?;
        Ok(())
    }
}
