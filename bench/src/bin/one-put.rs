//! `one-put aft|own|none`: a Lambda runtime whose handler writes one key and answers with when it did what, by
//! [`aft_bench::clock`]: through AFT's endpoint, by a DynamoDB client of its own, or not at all.

use std::net::SocketAddr;
use std::path::PathBuf;

use aft_bench::connection::Connection;
use aft_bench::{Error, clock};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::HOST;
use serde_json::json;

const INVOCATION: &str = "/2018-06-01/runtime/invocation/";
const VALUE_BYTES: usize = 1_024;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let began = clock::nanos();
    let api = std::env::var("AWS_LAMBDA_RUNTIME_API")?;
    let mut writer = Writer::new(&std::env::args().nth(1).unwrap_or_default())?;
    let mut lambda = Connection::tcp(api.parse()?).await?;
    loop {
        let next = Request::get(format!("{INVOCATION}next")).header(HOST, &api).body(Full::default())?;
        let event = lambda.call(next).await?;
        let id =
            event.headers().get("lambda-runtime-aws-request-id").ok_or("an event without a request id")?.to_str()?;
        let writing = clock::nanos();
        writer.write(id).await?;
        let written = clock::nanos();
        let told = json!({ "pid": std::process::id(), "began": began, "writing": writing, "written": written });
        let path = format!("{INVOCATION}{id}/response");
        lambda.call(Request::post(path).header(HOST, &api).body(Full::from(told.to_string()))?).await?;
    }
}

/// Whoever keeps what the handler writes.
enum Writer {
    Aft { address: SocketAddr, token: String, connection: Option<Connection> },
    Own(Client),
    None,
}

impl Writer {
    fn new(kind: &str) -> Result<Self, Error> {
        Ok(match kind {
            "aft" => {
                let endpoint = std::env::var("AFT_ENDPOINT")?;
                let address = endpoint.trim_start_matches("http://").parse()?;
                Self::Aft { address, token: std::env::var("AFT_TOKEN")?, connection: None }
            }
            "own" => Self::Own(client()?),
            _ => Self::None,
        })
    }

    async fn write(&mut self, key: &str) -> Result<(), Error> {
        match self {
            Self::Aft { address, token, connection } => {
                let open = match connection {
                    Some(open) => open,
                    None => connection.insert(Connection::tcp(*address).await?),
                };
                let put = Request::put(format!("/v1/kv/{key}")).header(HOST, address.to_string());
                let body = Full::from(Bytes::from(vec![b'v'; VALUE_BYTES]));
                let answer = open.call(put.header("X-Aft-Token", token.as_str()).body(body)?).await?;
                if !answer.status().is_success() {
                    return Err(format!("{}: {:?}", answer.status(), answer.body()).into());
                }
            }
            Self::Own(client) => {
                let put = client.put_item().table_name(std::env::var("TABLE")?);
                let value = AttributeValue::S("v".repeat(VALUE_BYTES));
                put.item("k", AttributeValue::S(key.to_owned())).item("v", value).send().await?;
            }
            Self::None => {}
        }
        Ok(())
    }
}

/// A client as a function written for its cold start would make it, which sends nothing yet.
fn client() -> Result<Client, Error> {
    let pem = match std::env::var_os("CA_BUNDLE") {
        Some(path) => std::fs::read(PathBuf::from(path))?,
        None => Vec::new(),
    };
    let context = TlsContext::builder().with_trust_store(TrustStore::empty().with_pem_certificate(pem)).build()?;
    let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring));
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .endpoint_url(std::env::var("ENDPOINT")?)
        .credentials_provider(Credentials::new("local", "local", None, None, "bench"))
        .http_client(http.tls_context(context).build_https());
    Ok(Client::from_conf(config.build()))
}
