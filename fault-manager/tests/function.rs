//! The fault manager as a Lambda function: the binary itself under our local host, without the layer, over the embedded
//! engine. What it is handed are stream records whose images are the items that the engine holds.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use aft_cli::embedded::{Embedded, Storage};
use aft_cli::{Host, HostConfig, Invocation, LogSink, Program};
use aft_protocol::id::{Fingerprint, Nonce, SandboxId, TransactionId};
use aft_protocol::key::Key;
use aft_protocol::record::{CommitRecord, Response, Writes};
use aft_protocol::value::{ContentType, Value as Stored};
use aft_protocol::version::{Timestamp, Version};
use aft_store::Store;
use aft_store::dynamodb::{Config, Credentials, DynamoDb, ReadConsistency};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

struct World {
    engine: Embedded,
    store: DynamoDb,
    host: Host,
    lines: Arc<Mutex<Vec<String>>>,
}

impl World {
    async fn new(settings: &[(&str, &str)]) -> Self {
        let engine = Embedded::start(Storage::Memory).await.unwrap();
        let keys = || "local".to_owned();
        let store = DynamoDb::new(&Config {
            data_table: "orders".to_owned(),
            transaction_table: "orders-transactions".to_owned(),
            region: "us-east-1".to_owned(),
            endpoint: Some(engine.endpoint().parse().unwrap()),
            ca_bundle: None,
            credentials: Credentials::Keys { access_key_id: keys(), secret_access_key: keys(), session_token: None },
            reads: ReadConsistency::Strong,
        });
        store.create_tables().await.unwrap();
        let mut config = HostConfig::new(Program::new(env!("CARGO_BIN_EXE_aft-fault-manager"))).unwrap();
        let endpoint = engine.endpoint();
        let ours = [("AFT_DATA_TABLE", "orders"), ("AFT_DYNAMODB_ENDPOINT", endpoint.as_str())];
        let all = ours.iter().chain(settings).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        config.environment.extend(all);
        let lines = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&lines);
        config.log = LogSink::new(move |line| log.lock().unwrap().push(line.text.clone()));
        let host = Host::start(config).await.unwrap();
        Self { engine, store, host, lines }
    }

    /// A record whose writer died before its first head.
    async fn dead(&self, number: u64, keys: &[&str]) -> CommitRecord {
        let value = |key: &&str| (Key::new(*key).unwrap(), Some(Stored::new("new", ContentType::default()).unwrap()));
        let record = CommitRecord {
            version: Version::new(Timestamp::from_micros(number), TransactionId::from_bits(number.into())),
            nonce: Nonce::from_bits(1),
            writes: keys.iter().map(value).collect::<Writes>(),
            response: Response { content_type: None, body: "done".into() },
            fingerprint: Fingerprint::of(b"{}"),
            origin: "test".to_owned(),
            sandbox: SandboxId::from_bits(number.into()),
            applied_through: Version::ZERO,
            expires_at_seconds: 4_102_444_800,
        };
        self.store.commit(&record).await.unwrap();
        record
    }

    /// What the stream would say of it.
    async fn streamed(&self, record: &CommitRecord) -> Value {
        let key = json!({"id": {"S": record.transaction().to_string()}, "part": {"S": "commit"}});
        let query = json!({"TableName": "orders-transactions", "Key": key});
        let item = self.ask("GetItem", &query).await["Item"].clone();
        stream_record(&key, &item, record.version.timestamp().as_micros())
    }

    async fn ask(&self, operation: &str, query: &Value) -> Value {
        let (address, body) = (self.engine.endpoint().replace("http://", ""), query.to_string());
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let request = format!(
            "POST / HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/x-amz-json-1.0\r\n\
             x-amz-target: DynamoDB_20120810.{operation}\r\nx-amz-date: 20260101T000000Z\r\n\
             authorization: AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, \
             SignedHeaders=host;x-amz-date;x-amz-target, Signature=0\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    async fn invoke(&self, records: &[Value]) -> (bool, Value) {
        let result = self.host.invoke(Invocation::new(json!({ "Records": records }).to_string())).await;
        (result.succeeded(), serde_json::from_slice(&result.payload).unwrap())
    }

    /// The members of the lines that have this message.
    fn said(&self, message: &str) -> Vec<Value> {
        let lines = self.lines.lock().unwrap();
        let parsed = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        parsed.filter(|line| line["message"].as_str().is_some_and(|text| text.contains(message))).collect()
    }

    async fn end(self) {
        self.host.stop().await;
        self.engine.stop().await.unwrap();
    }
}

fn stream_record(key: &Value, image: &Value, sequence_number: u64) -> Value {
    json!({
        "eventID": "1", "eventVersion": "1.1", "eventSource": "aws:dynamodb", "awsRegion": "us-east-1",
        "eventSourceARN": "arn:aws:dynamodb:us-east-1:1:table/orders-transactions/stream/2026-11-26T00:00:00.000",
        "eventName": "INSERT",
        "dynamodb": {
            "ApproximateCreationDateTime": 1_795_687_200.0, "SizeBytes": 26, "StreamViewType": "NEW_IMAGE",
            "Keys": key, "NewImage": image, "SequenceNumber": sequence_number.to_string(),
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_function_applies_what_it_is_handed_and_reports_the_rest() {
    let world = World::new(&[]).await;
    let records = [world.dead(1, &["a", "b"]).await, world.dead(2, &["c"]).await];
    let broken = stream_record(&json!({"id": {"S": "x"}, "part": {"S": "commit"}}), &json!({"id": {"S": "x"}}), 7);
    let batch = [world.streamed(&records[0]).await, broken, world.streamed(&records[1]).await];

    let (succeeded, answer) = world.invoke(&batch).await;
    assert!(succeeded, "{answer}");
    assert_eq!(answer, json!({"batchItemFailures": [{"itemIdentifier": "7"}]}));
    let keys = ["a", "b", "c"].map(|key| Key::new(key).unwrap());
    let heads = world.store.heads(&BTreeSet::from(keys.clone())).await.unwrap();
    let versions = keys.map(|key| heads[&key].current.version);
    assert_eq!(versions, [records[0].version, records[0].version, records[1].version]);

    // One line that a metric filter can read, and one for the record that failed: which, why, what to do.
    let batches = world.said("batch");
    let counts =
        |line: &Value| ["records", "settled", "checked", "rolled_forward", "failed"].map(|name| line[name].clone());
    assert_eq!(counts(&batches[0]), [3, 0, 2, 2, 1].map(Value::from), "{batches:?}");
    let failures = world.said("not applied by the fault manager");
    assert_eq!(
        (failures.len(), &failures[0]["transaction"], &failures[0]["sequence_number"]),
        (1, &json!("x"), &json!("7"))
    );
    let line = failures[0]["message"].as_str().unwrap();
    assert!(line.contains("attribute `r` is missing") && line.contains("aft recover --transaction x"), "{line}");

    // The same batch again: nothing is behind any more.
    assert_eq!(world.invoke(&[batch[0].clone(), batch[2].clone()]).await, (true, json!({"batchItemFailures": []})));
    assert_eq!(counts(&world.said("batch")[1]), [2, 0, 2, 0, 0].map(Value::from));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_the_configuration_is_one_line_and_no_answer() {
    for (setting, why) in [
        (("AFT_DATA_TABEL", "orders"), "AFT_DATA_TABEL is not a setting"),
        (("AFT_TRANSACTION_TABLE", "nowhere"), "no such table"),
    ] {
        let world = World::new(&[setting]).await;
        let (succeeded, answer) = world.invoke(&[]).await;
        assert!(!succeeded, "{answer}");
        assert!(!world.said(why).is_empty(), "{why}: {:?}", world.lines.lock().unwrap());
        world.end().await;
    }
}
