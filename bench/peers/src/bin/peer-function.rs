//! The function under test, in Rust: it reads and writes the keys of its event in the way that `PEER_SYSTEM` names.

#![allow(clippy::print_stdout, reason = "the log says how often the handler has run")]

use std::cell::Cell;
use std::collections::HashMap;
use std::env;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use aft_peers::Error;
use aft_peers::system::{RECORDS, TABLE, Way};
use aft_peers::work::{Answer, Event, Seen, mark, value};
use aft_protocol::wire::{header, route};
use aft_simulation::paper::random::Random;
use aws_credential_types::Credentials;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region};
use aws_sdk_dynamodb::types::{
    AttributeValue, KeysAndAttributes, Put, PutRequest, TransactWriteItem, Update, WriteRequest,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lambda_runtime::{LambdaEvent, service_fn};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::json;

/// Items that one `BatchWriteItem` takes.
const BATCH: usize = 25;
/// The longest pause before the first retry of a cancelled transaction; it doubles with each, as DynamoDB's guide has it.
const PAUSE: Duration = Duration::from_millis(50);
/// And the longest of all, as in AWS's SDKs.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

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
    Aft(Endpoint),
}

impl Function {
    fn new(way: Way) -> Result<Self, Error> {
        Ok(match way {
            Way::Nothing => Self::Nothing,
            Way::Aft | Way::AftCached => Self::Aft(Endpoint {
                client: reqwest::Client::builder().tcp_nodelay(true).build()?,
                url: env::var("AFT_ENDPOINT")?,
                token: env::var("AFT_TOKEN")?,
                cache_control: (way == Way::AftCached).then_some("max-age=60"),
            }),
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

    async fn handle(&self, event: Event) -> Result<Answer, lambda_runtime::Error> {
        println!("ran");
        Ok(match self {
            Self::Nothing => {
                work(&event).await;
                Answer::new(Vec::new(), 0)
            }
            Self::DynamoDb { way, client } => plain(*way, client, &event).await?,
            Self::Aft(endpoint) => endpoint.handle(&event).await?,
        })
    }
}

/// The local endpoint.
struct Endpoint {
    client: reqwest::Client,
    url: String,
    token: String,
    cache_control: Option<&'static str>,
}

impl Endpoint {
    async fn handle(&self, event: &Event) -> Result<Answer, Error> {
        // What is there all at once is sent at once, as `BatchWriteItem` and `TransactWriteItems` are.
        let at_once = event.writes.len() > 1 && !event.adds;
        let operations = Operations::new(event, event.reads.len() + if at_once { 1 } else { event.writes.len() })?;
        let mut seen: Vec<Seen> = Vec::new();
        for key in &event.reads {
            operations.next();
            let (version, value) = self.get(key).await?;
            seen.push((key.clone(), mark(&value).1, version));
        }
        work(event).await;
        if at_once {
            operations.next();
            self.put_all(&event.writes, &value(event)).await?;
        } else {
            for key in &event.writes {
                operations.next();
                let value = if event.adds { self.one_more(key).await? } else { value(event) };
                self.request(Method::PUT, &path(key)).body(value).send().await?.error_for_status()?;
            }
        }
        operations.next();
        Ok(Answer::new(seen, 0))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.url)).header(header::TOKEN, &self.token);
        match self.cache_control {
            Some(stale) => request.header("Cache-Control", stale),
            None => request,
        }
    }

    /// Its version and its value; nothing if there is none.
    async fn get(&self, key: &str) -> Result<(String, Vec<u8>), Error> {
        let answer = self.request(Method::GET, &path(key)).send().await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok((String::new(), Vec::new()));
        }
        let answer = answer.error_for_status()?;
        let version = answer.headers().get("ETag").and_then(|tag| tag.to_str().ok()).unwrap_or_default();
        Ok((version.to_owned(), answer.bytes().await?.to_vec()))
    }

    async fn one_more(&self, key: &str) -> Result<Vec<u8>, Error> {
        let (_, value) = self.get(key).await?;
        let count: u64 = if value.is_empty() { 0 } else { String::from_utf8(value)?.parse()? };
        Ok((count + 1).to_string().into_bytes())
    }

    async fn put_all(&self, keys: &[String], value: &[u8]) -> Result<(), Error> {
        let value = STANDARD.encode(value);
        let write = |key: &String| json!({ "key": key, "valueBase64": value });
        let document = json!({ "writes": keys.iter().map(write).collect::<Vec<_>>() });
        self.request(Method::POST, route::BATCH_WRITE).json(&document).send().await?.error_for_status()?;
        Ok(())
    }
}

fn path(key: &str) -> String {
    format!("{}{key}", route::KV)
}

/// What the handler does besides.
async fn work(event: &Event) {
    if event.works_ms > 0 {
        tokio::time::sleep(Duration::from_millis(event.works_ms)).await;
    }
}

/// An attempt's operations, one of which may be its last.
struct Operations {
    left: Cell<Option<usize>>,
}

impl Operations {
    /// Of so many.
    fn new(event: &Event, count: usize) -> Result<Self, Error> {
        if event.ends.is_empty() {
            return Ok(Self { left: Cell::new(None) });
        }
        // Processes come and go: the file knows how many attempts there were.
        let path = Path::new(&env::var("PEER_ATTEMPTS")?).join(&event.request);
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        let attempt = usize::try_from(file.metadata()?.len())?;
        file.write_all(b"x")?;
        let end = event.ends.get(attempt).copied().flatten();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a small number")]
        let left = end.map(|share| (share * (count + 1) as f64) as usize);
        Ok(Self { left: Cell::new(left) })
    }

    /// Comes before each, and after the last.
    fn next(&self) {
        match self.left.get() {
            Some(0) => std::process::exit(1),
            left => self.left.set(left.map(|left| left - 1)),
        }
    }
}

async fn plain(way: Way, client: &Client, event: &Event) -> Result<Answer, Error> {
    let writes = match (way, event.writes.len()) {
        (_, 0) => 0,
        (Way::Batch | Way::Transaction, _) => 1,
        (Way::Published, _) => 2,
        (_, writes) => writes,
    };
    let batched = way == Way::Batch && !event.reads.is_empty();
    let operations = Operations::new(event, if batched { 1 } else { event.reads.len() } + writes)?;
    let mut seen: Vec<Seen> = Vec::new();
    let mut see = |key: &str, item: Option<&Item>| {
        let value = item.and_then(|item| item.get("v")?.as_b().ok());
        let (at, number) = value.map_or_else(Default::default, |value| mark(value.as_ref()));
        seen.push((key.to_owned(), number, at));
    };
    if batched {
        operations.next();
        let mut keys = KeysAndAttributes::builder().consistent_read(true);
        for key in &event.reads {
            keys = keys.keys(Item::from([("k".to_owned(), text(key))]));
        }
        let answer = client.batch_get_item().request_items(TABLE, keys.build()?).send().await?;
        let items = answer.responses().and_then(|tables| tables.get(TABLE)).map(Vec::as_slice).unwrap_or_default();
        for key in &event.reads {
            see(key, items.iter().find(|item| item.get("k") == Some(&text(key))));
        }
    } else {
        for key in &event.reads {
            operations.next();
            let answer = client.get_item().table_name(TABLE).key("k", text(key)).consistent_read(true).send().await?;
            see(key, answer.item());
        }
    }
    work(event).await;
    let mut aborts = 0;
    if !event.writes.is_empty() {
        match way {
            Way::Sequential => {
                for key in &event.writes {
                    operations.next();
                    if event.adds {
                        let update = client.update_item().table_name(TABLE).key("k", text(key));
                        update.update_expression(ADD).expression_attribute_values(":one", one()).send().await?;
                    } else {
                        client.put_item().table_name(TABLE).set_item(Some(item(key, event))).send().await?;
                    }
                }
            }
            Way::Batch => {
                operations.next();
                batch(client, event.writes.iter().map(|key| item(key, event))).await?;
            }
            // AFT as it was published: every version under a key of its own, in batches; then the commit record, which names them.
            Way::Published => {
                operations.next();
                let versioned = |key: &String| item(&format!("{key}#{}", event.request), event);
                batch(client, event.writes.iter().map(versioned)).await?;
                operations.next();
                let record = Item::from([
                    ("id".to_owned(), text(&event.request)),
                    ("writes".to_owned(), AttributeValue::Ss(event.writes.clone())),
                ]);
                client.put_item().table_name(RECORDS).set_item(Some(record)).send().await?;
            }
            Way::Transaction => {
                operations.next();
                aborts = transaction(client, event).await?;
            }
            Way::Nothing | Way::Aft | Way::AftCached => return Err("not a way to talk to DynamoDB".into()),
        }
    }
    operations.next();
    Ok(Answer::new(seen, aborts))
}

const ADD: &str = "ADD n :one";

/// Again and again while others are in the way, with the pauses that are usual; how often it was cancelled.
async fn transaction(client: &Client, event: &Event) -> Result<u32, Error> {
    let write = |key: &String| {
        let item_of = TransactWriteItem::builder();
        Ok::<_, Error>(if event.adds {
            let update = Update::builder().table_name(TABLE).key("k", text(key)).update_expression(ADD);
            item_of.update(update.expression_attribute_values(":one", one()).build()?).build()
        } else {
            item_of.put(Put::builder().table_name(TABLE).set_item(Some(item(key, event))).build()?).build()
        })
    };
    let items = event.writes.iter().map(write).collect::<Result<Vec<_>, _>>()?;
    let token: String = event.request.chars().take(36).collect();
    let mut random = Random::new(event.number);
    let mut aborts = 0_u32;
    loop {
        let request = client.transact_write_items().set_transact_items(Some(items.clone()));
        match request.client_request_token(&token).send().await {
            Ok(_) => return Ok(aborts),
            Err(error) => {
                let error = error.into_service_error();
                if !error.is_transaction_canceled_exception() {
                    return Err(error.into());
                }
            }
        }
        let longest = PAUSE.saturating_mul(1 << aborts.min(16)).min(LONGEST_PAUSE);
        aborts += 1;
        tokio::time::sleep(random.up_to(longest)).await;
    }
}

async fn batch(client: &Client, items: impl Iterator<Item = Item>) -> Result<(), Error> {
    let put = |item| {
        let put = PutRequest::builder().set_item(Some(item)).build()?;
        Ok::<_, Error>(WriteRequest::builder().put_request(put).build())
    };
    let requests = items.map(put).collect::<Result<Vec<_>, _>>()?;
    for some in requests.chunks(BATCH) {
        let answer = client.batch_write_item().request_items(TABLE, some.to_vec()).send().await?;
        if answer.unprocessed_items().is_some_and(|left| !left.is_empty()) {
            return Err("the engine left items of a batch unwritten".into());
        }
    }
    Ok(())
}

fn item(key: &str, event: &Event) -> Item {
    Item::from([("k".to_owned(), text(key)), ("v".to_owned(), AttributeValue::B(value(event).into()))])
}

fn one() -> AttributeValue {
    AttributeValue::N("1".to_owned())
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}
