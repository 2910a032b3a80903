//! The function that the tests run with `lambda_runtime`: it does what its event says.
//!
//! It gets and gives JSON as raw text, so that an echo is the event byte for byte; bytes that are no JSON it streams.

use std::collections::{BTreeMap, HashMap};
use std::env;

use lambda_runtime::streaming::{Body, Response as Streamed};
use lambda_runtime::{Context, Error, FunctionResponse, LambdaEvent, service_fn};
use reqwest::{Client, Method};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

const GREETING: &str = "Grüße, 世界 🙂\u{0}\u{7f}";

type Response = FunctionResponse<Box<RawValue>, Body>;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Order {
    r#do: String,
    bytes: usize,
    message: String,
    keys: Vec<String>,
    value: String,
    attempts: Vec<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_runtime::run(service_fn(handler)).await
}

async fn handler(event: LambdaEvent<Box<RawValue>>) -> Result<Response, Error> {
    let (payload, context) = event.into_parts();
    // What is no order is echoed.
    let order: Order = serde_json::from_str(payload.get()).unwrap_or_default();
    let response = match order.r#do.as_str() {
        "context" => seen(&context),
        "large" => json!("x".repeat(order.bytes.saturating_sub(2))),
        "unicode" => json!(GREETING),
        "binary" => {
            let every: Vec<u8> = (0..=u8::MAX).collect();
            return Ok(FunctionResponse::StreamingResponse(Streamed::from(Body::from(every))));
        }
        "error" => return Err(order.message.into()),
        "write" => write(&order).await?,
        _ => return Ok(FunctionResponse::BufferedResponse(payload)),
    };
    Ok(FunctionResponse::BufferedResponse(to_raw_value(&response)?))
}

fn seen(context: &Context) -> Value {
    let client = context.client_context.as_ref().map(|client| {
        // Maps are in another order each time.
        let sorted = |map: &HashMap<String, String>| json!(map.iter().collect::<BTreeMap<_, _>>());
        json!([client.client.app_title, sorted(&client.custom), sorted(&client.environment)])
    });
    json!({
        "request": context.request_id,
        "deadline": context.deadline,
        "arn": context.invoked_function_arn,
        "trace": context.xray_trace_id,
        "variable": env::var("_X_AMZN_TRACE_ID").ok(),
        "client": client,
        "identity": context.identity,
        "tenant": context.tenant_id,
    })
}

/// Writes two keys, and ends this attempt as the event wants it ended.
async fn write(order: &Order) -> Result<Value, Error> {
    let transaction: Value = serde_json::from_str(&aft(Method::GET, "transaction", String::new()).await?)?;
    let attempt = transaction["attempt"].as_u64().ok_or("a transaction without an attempt")?;
    for key in &order.keys {
        aft(Method::PUT, &format!("kv/{key}"), format!("{} {attempt}", order.value)).await?;
    }
    let how = usize::try_from(attempt - 1).ok().and_then(|index| order.attempts.get(index));
    match how.ok_or("an attempt too many")?.as_str() {
        "error" => Err(format!("attempt {attempt}: {}", order.value).into()),
        "exit" => std::process::exit(3),
        "panic" => panic!("{}", order.value),
        _ => Ok(json!({ "attempt": attempt })),
    }
}

async fn aft(method: Method, path: &str, body: String) -> Result<String, Error> {
    let url = format!("{}/v1/{path}", env::var("AFT_ENDPOINT")?);
    let request = Client::new().request(method, url).header("X-Aft-Token", env::var("AFT_TOKEN")?).body(body);
    Ok(request.send().await?.error_for_status()?.text().await?)
}
