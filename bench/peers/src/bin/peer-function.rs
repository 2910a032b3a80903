//! The function under test, in Rust: it reads and writes the keys of its event in the way that `PEER_SYSTEM` names.

use std::collections::HashMap;
use std::env;

use aft_peers::Error;
use aft_peers::system::{RECORDS, TABLE, Way};
use aft_peers::work::{Event, RESPONSE, value};
use aws_credential_types::Credentials;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region};
use aws_sdk_dynamodb::types::{
    AttributeValue, KeysAndAttributes, Put, PutRequest, TransactWriteItem, WriteRequest,
};
use lambda_runtime::{LambdaEvent, service_fn};
use reqwest::StatusCode;

/// Items that one `BatchWriteItem` takes.
const BATCH: usize = 25;

type Item = HashMap<String, AttributeValue>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let way: Way = env::var("PEER_SYSTEM")?.parse()?;
    let function = Function::new(way)?;
    lambda_runtime::run(service_fn(|event: LambdaEvent<Event>| function.handle(event.payload))).await
}

enum Function {
    Nothing,
    DynamoDb { way: Way, client: Box<Client> },
    Aft { client: reqwest::Client, endpoint: String, token: String, cache_control: Option<&'static str> },
}

impl Function {
    fn new(way: Way) -> Result<Self, Error> {
        Ok(match way {
            Way::Nothing => Self::Nothing,
            Way::Aft | Way::AftCached => Self::Aft {
                client: reqwest::Client::builder().tcp_nodelay(true).build()?,
                endpoint: env::var("AFT_ENDPOINT")?,
                token: env::var("AFT_TOKEN")?,
                cache_control: (way == Way::AftCached).then_some("max-age=60"),
            },
            Way::Sequential | Way::Batch | Way::Transaction | Way::Published => {
                let config = aws_sdk_dynamodb::Config::builder()
                    .behavior_version(BehaviorVersion::v2026_01_12())
                    .region(Region::from_static("us-east-1"))
                    .credentials_provider(Credentials::new("local", "local", None, None, "bench"))
                    .endpoint_url(env::var("PEER_DYNAMODB")?)
                    .http_client(aws_smithy_http_client::Builder::new().build_http());
                Self::DynamoDb { way, client: Box::new(Client::from_conf(config.build())) }
            }
        })
    }

    async fn handle(&self, event: Event) -> Result<&'static str, lambda_runtime::Error> {
        match self {
            Self::Nothing => {}
            Self::DynamoDb { way, client } => plain(*way, client, &event).await?,
            Self::Aft { client, endpoint, token, cache_control } => {
                let request = |method, key: &str| {
                    let request = client.request(method, format!("{endpoint}/v1/kv/{key}")).header("X-Aft-Token", token);
                    match cache_control {
                        Some(stale) => request.header("Cache-Control", *stale),
                        None => request,
                    }
                };
                for key in &event.reads {
                    let answer = request(reqwest::Method::GET, key).send().await?;
                    if answer.status() != StatusCode::NOT_FOUND {
                        answer.error_for_status()?.bytes().await?;
                    }
                }
                for key in &event.writes {
                    let body = value(event.bytes);
                    request(reqwest::Method::PUT, key).body(body).send().await?.error_for_status()?;
                }
            }
        }
        Ok(RESPONSE)
    }
}

async fn plain(way: Way, client: &Client, event: &Event) -> Result<(), Error> {
    if way == Way::Batch && !event.reads.is_empty() {
        let mut keys = KeysAndAttributes::builder().consistent_read(true);
        for key in &event.reads {
            keys = keys.keys(Item::from([("k".to_owned(), text(key))]));
        }
        client.batch_get_item().request_items(TABLE, keys.build()?).send().await?;
    } else {
        for key in &event.reads {
            client.get_item().table_name(TABLE).key("k", text(key)).consistent_read(true).send().await?;
        }
    }
    if event.writes.is_empty() {
        return Ok(());
    }
    match way {
        Way::Sequential => {
            for key in &event.writes {
                client.put_item().table_name(TABLE).set_item(Some(item(key, event.bytes))).send().await?;
            }
        }
        Way::Batch => batch(client, event.writes.iter().map(|key| item(key, event.bytes))).await?,
        // AFT as it was published: every version under a key of its own, in batches; then the commit record, which names them.
        Way::Published => {
            let versioned = |key: &String| item(&format!("{key}#{}", event.request), event.bytes);
            batch(client, event.writes.iter().map(versioned)).await?;
            let record = Item::from([
                ("id".to_owned(), text(&event.request)),
                ("writes".to_owned(), AttributeValue::Ss(event.writes.clone())),
            ]);
            client.put_item().table_name(RECORDS).set_item(Some(record)).send().await?;
        }
        Way::Transaction => {
            let put = |key: &String| {
                let put = Put::builder().table_name(TABLE).set_item(Some(item(key, event.bytes))).build()?;
                Ok::<_, Error>(TransactWriteItem::builder().put(put).build())
            };
            let items = event.writes.iter().map(put).collect::<Result<Vec<_>, _>>()?;
            let token = event.request.chars().take(36).collect::<String>();
            client.transact_write_items().set_transact_items(Some(items)).client_request_token(token).send().await?;
        }
        Way::Nothing | Way::Aft | Way::AftCached => return Err("not a way to talk to DynamoDB".into()),
    }
    Ok(())
}

async fn batch(client: &Client, items: impl Iterator<Item = Item>) -> Result<(), Error> {
    let put = |item| Ok::<_, Error>(WriteRequest::builder().put_request(PutRequest::builder().set_item(Some(item)).build()?).build());
    let requests = items.map(put).collect::<Result<Vec<_>, _>>()?;
    for some in requests.chunks(BATCH) {
        let answer = client.batch_write_item().request_items(TABLE, some.to_vec()).send().await?;
        if answer.unprocessed_items().is_some_and(|left| !left.is_empty()) {
            return Err("the engine left items of a batch unwritten".into());
        }
    }
    Ok(())
}

fn item(key: &str, bytes: usize) -> Item {
    Item::from([
        ("k".to_owned(), text(key)),
        ("v".to_owned(), AttributeValue::B(value(bytes).into())),
    ])
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}
