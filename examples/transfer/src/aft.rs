//! The store as AFT offers it: plain HTTP to the local endpoint that the shim names in the environment.

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Error, KeyValue};

/// AFT's local endpoint.
pub struct Aft {
    client: Client,
    endpoint: String,
    token: String,
}

impl Aft {
    /// The endpoint of this sandbox.
    ///
    /// # Errors
    /// If the shim has not started this process.
    pub fn from_env() -> Result<Self, Error> {
        let endpoint =
            std::env::var("AFT_ENDPOINT").map_err(|_| "AFT_ENDPOINT is not set: AFT's layer is not there")?;
        Ok(Self { client: Client::new(), endpoint, token: std::env::var("AFT_TOKEN").unwrap_or_default() })
    }

    fn request(&self, method: Method, key: &str) -> RequestBuilder {
        // A slash may stand in a key as it is; anything unusual would have to be percent-encoded.
        self.client.request(method, format!("{}/v1/kv/{key}", self.endpoint)).header("X-Aft-Token", &self.token)
    }
}

/// The answer to `batchGet`, as far as it matters here.
#[derive(Deserialize)]
struct Found {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    value: Option<String>,
}

impl KeyValue for Aft {
    async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        let response = self.request(Method::GET, key).send().await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        Ok(Some(accepted(response).await?.json().await?))
    }

    async fn get_all<T: DeserializeOwned + Send>(&self, keys: &[String]) -> Result<Vec<Option<T>>, Error> {
        let url = format!("{}/v1/kv:batchGet", self.endpoint);
        let wanted = serde_json::json!({ "keys": keys });
        let request = self.client.post(url).header("X-Aft-Token", &self.token).json(&wanted);
        let found: Found = accepted(request.send().await?).await?.json().await?;
        found
            .items
            .into_iter()
            .map(|item| Ok(item.value.map(|text| serde_json::from_str(&text)).transpose()?))
            .collect()
    }

    async fn put<T: Serialize + Sync>(&self, key: &str, document: &T) -> Result<(), Error> {
        accepted(self.request(Method::PUT, key).json(document).send().await?).await?;
        Ok(())
    }
}

/// Fails with what AFT said, so that it reaches the log and the caller.
async fn accepted(response: Response) -> Result<Response, Error> {
    if response.status().is_success() {
        return Ok(response);
    }
    Err(response.text().await?.into())
}
