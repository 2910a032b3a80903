//! The counter and the bank of `examples/transfer`, and what an example has no use for:
//!
//! * `{"do": "guarded-count", "counter": ...}`: the same count with `If-Match`, for read-atomic isolation;
//! * `{"do": "raw", "requests": [...]}`: any requests to the local endpoint, one after the other, with their statuses. `{0}` in a path,
//!   a header or a body is the transaction that the first reply named, `{0.etag}` its `ETag`. What `must` succeed and does not is the
//!   handler's own error.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use transfer::aft::Aft;
use transfer::handler::handle;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let (aft, endpoint) = (Aft::from_env()?, Endpoint::from_env()?);
    run(service_fn(async |event: LambdaEvent<Value>| match event.payload["do"].as_str() {
        Some("guarded-count") => endpoint.guarded_count(event.payload["counter"].as_str().unwrap_or_default()).await,
        Some("raw") => endpoint.raw(&event.payload).await,
        _ => handle(&aft, LambdaEvent::new(serde_json::from_value(event.payload)?, event.context)).await,
    }))
    .await
}

struct Endpoint {
    client: Client,
    url: String,
    token: String,
}

impl Endpoint {
    fn from_env() -> Result<Self, Error> {
        Ok(Self { client: Client::new(), url: std::env::var("AFT_ENDPOINT")?, token: std::env::var("AFT_TOKEN")? })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url)).header("X-Aft-Token", &self.token)
    }

    async fn guarded_count(&self, counter: &str) -> Result<Value, Error> {
        let path = format!("/v1/kv/{counter}");
        let read = self.request(Method::GET, &path).send().await?;
        let (status, etag) = (read.status(), read.headers().get("ETag").cloned());
        let value = if status == StatusCode::NOT_FOUND { 0 } else { read.error_for_status()?.text().await?.parse()? };
        let value: u64 = value + 1;
        let write = self.request(Method::PUT, &path).body(value.to_string());
        let write = match etag.filter(|_| status != StatusCode::NOT_FOUND) {
            Some(etag) => write.header("If-Match", etag),
            None => write.header("If-None-Match", "*"),
        };
        write.send().await?.error_for_status()?;
        Ok(json!(value))
    }

    async fn raw(&self, event: &Value) -> Result<Value, Error> {
        let (mut replies, mut names) = (Vec::new(), Vec::new());
        for request in event["requests"].as_array().into_iter().flatten() {
            let text = |name: &str| filled_in(request[name].as_str().unwrap_or_default(), &names);
            let mut asked = self.request(text("method").parse()?, &text("path")).body(text("body"));
            for (name, value) in request["headers"].as_object().into_iter().flatten() {
                asked = asked.header(name, filled_in(value.as_str().unwrap_or_default(), &names));
            }
            let reply = asked.send().await?;
            let etag = reply.headers().get("ETag").and_then(|etag| etag.to_str().ok()).unwrap_or_default().to_owned();
            let status = reply.status().as_u16();
            let body: Value = serde_json::from_slice(&reply.bytes().await?).unwrap_or_default();
            let transaction = body["transaction"].as_str().unwrap_or_default().to_owned();
            if request["must"] == true && status >= 400 {
                return Err(format!("what must succeed did not: {status} {body}").into());
            }
            replies.push(json!({ "status": status, "body": body }));
            names.push([transaction, etag]);
        }
        Ok(json!(replies))
    }
}

fn filled_in(text: &str, names: &[[String; 2]]) -> String {
    names.iter().enumerate().fold(text.to_owned(), |text, (number, [transaction, etag])| {
        text.replace(&format!("{{{number}}}"), transaction).replace(&format!("{{{number}.etag}}"), etag)
    })
}
