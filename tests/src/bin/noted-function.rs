//! A function that notes all that it does (`aft_tests::noted`): `{"history": name, "steps": ["r a", "w b"], "faults": [...]}`, the faults as in
//! `examples/transfer`. What it writes are names that no two writes share; it answers with the name of the attempt.

use std::sync::atomic::{AtomicU64, Ordering};

use aft_tests::noted::{NOTES, Note, Notebook};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use transfer::faults::{Attempt, Fault};

#[derive(Deserialize)]
struct Event {
    history: String,
    steps: Vec<String>,
    faults: Vec<Fault>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let function = Function {
        client: Client::new(),
        url: std::env::var("AFT_ENDPOINT")?,
        token: std::env::var("AFT_TOKEN")?,
        notes: Notebook::new(std::env::var(NOTES)?),
        count: AtomicU64::new(0),
    };
    run(service_fn(async |event: LambdaEvent<Event>| function.handle(event).await)).await
}

struct Function {
    client: Client,
    url: String,
    token: String,
    notes: Notebook,
    /// Attempts of this process.
    count: AtomicU64,
}

impl Function {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url)).header("X-Aft-Token", &self.token)
    }

    async fn handle(&self, event: LambdaEvent<Event>) -> Result<String, Error> {
        let (event, context) = (event.payload, event.context);
        let run = Attempt::of(&context.request_id, &event.faults)?;
        let process = std::process::id();
        let by = format!("{process}.{}", self.count.fetch_add(1, Ordering::Relaxed));
        let transaction: Value =
            accepted(self.request(Method::GET, "/v1/transaction").send().await?).await?.json().await?;
        self.notes.note(&Note::Began {
            by: by.clone(),
            history: event.history,
            process,
            transaction: serde_json::from_value(transaction["transaction"].clone())?,
            number: serde_json::from_value(transaction["attempt"].clone())?,
            isolation: serde_json::from_value(transaction["isolation"].clone())?,
        })?;
        for (number, step) in (0..).zip(&event.steps) {
            run.fail_if_asked(&event.faults, number)?;
            let (kind, key) = step.split_once(' ').ok_or("a step is a letter and a key")?;
            match kind {
                "r" => self.read(&by, key).await?,
                _ => self.write(&by, key, format!("{by}.{number}")).await?,
            }
        }
        Ok(by)
    }

    async fn read(&self, by: &str, key: &str) -> Result<(), Error> {
        let response = self.request(Method::GET, &format!("/v1/kv/{key}")).send().await?;
        let (mut value, mut version) = (None, None);
        if response.status() != StatusCode::NOT_FOUND {
            let response = accepted(response).await?;
            let tag = response.headers().get("ETag").and_then(|tag| tag.to_str().ok());
            version = tag.map(|tag| tag.trim_matches('"').to_owned());
            value = Some(response.text().await?);
        }
        Ok(self.notes.note(&Note::Read { by: by.to_owned(), read: key.to_owned(), value, version })?)
    }

    async fn write(&self, by: &str, key: &str, value: String) -> Result<(), Error> {
        self.notes.note(&Note::Writes { by: by.to_owned(), write: key.to_owned(), value: value.clone() })?;
        accepted(self.request(Method::PUT, &format!("/v1/kv/{key}")).body(value).send().await?).await?;
        Ok(())
    }
}

/// Fails with what the layer said.
async fn accepted(response: Response) -> Result<Response, Error> {
    if response.status().is_success() { Ok(response) } else { Err(response.text().await?.into()) }
}
