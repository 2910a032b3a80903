//! The store without AFT: DynamoDB, straight, as many functions use it today.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::types::AttributeValue;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, KeyValue};

/// A DynamoDB table with partition key `k`.
pub struct Plain {
    client: Client,
    table: String,
}

impl Plain {
    /// The table `PLAIN_TABLE` at `AWS_ENDPOINT_URL_DYNAMODB`.
    ///
    /// # Errors
    /// If the environment does not say where.
    pub fn from_env() -> Result<Self, Error> {
        let variable = |name: &str| std::env::var(name).map_err(|_| format!("{name} is not set"));
        let credentials = Credentials::new(
            variable("AWS_ACCESS_KEY_ID")?,
            variable("AWS_SECRET_ACCESS_KEY")?,
            std::env::var("AWS_SESSION_TOKEN").ok(),
            None,
            "environment",
        );
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(variable("AWS_REGION")?))
            .endpoint_url(variable("AWS_ENDPOINT_URL_DYNAMODB")?)
            .credentials_provider(credentials)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build();
        Ok(Self { client: Client::from_conf(config), table: variable("PLAIN_TABLE")? })
    }
}

impl KeyValue for Plain {
    async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        let key = HashMap::from([("k".to_owned(), AttributeValue::S(key.to_owned()))]);
        let get = self.client.get_item().table_name(&self.table).set_key(Some(key)).consistent_read(true);
        match get.send().await?.item.and_then(|mut item| item.remove("v")) {
            Some(AttributeValue::S(text)) => Ok(Some(serde_json::from_str(&text)?)),
            Some(_) | None => Ok(None),
        }
    }

    async fn put<T: Serialize + Sync>(&self, key: &str, document: &T) -> Result<(), Error> {
        let text = serde_json::to_string(document)?;
        let put = self.client.put_item().table_name(&self.table);
        put.item("k", AttributeValue::S(key.to_owned())).item("v", AttributeValue::S(text)).send().await?;
        Ok(())
    }
}
