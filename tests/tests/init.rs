//! Tables that cannot be used: the extension as it is shipped says so in one line, to Lambda and in its log, and ends before
//! any event.
#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use aft_cli::embedded::{Embedded, Storage};
use aft_tests::emulator::send;
use aft_tests::layer;
use aft_tests::tls::Tls;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A server that answers each request by its path or DynamoDB operation, and remembers what it was asked.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Server {
    async fn start(answer: impl Fn(&str) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let (answer, heard) = (Arc::new(answer), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, heard) = (Arc::clone(&answer), Arc::clone(&heard));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (answer, heard) = (Arc::clone(&answer), Arc::clone(&heard));
                    async move {
                        let operation = request.headers().get("x-amz-target").and_then(|name| name.to_str().ok());
                        let name = operation.unwrap_or(request.uri().path()).to_owned();
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        let (status, text) = answer(&name);
                        heard.lock().unwrap().push((name, serde_json::from_slice(&body).unwrap_or_default()));
                        let answer = Response::builder().status(status).header("lambda-extension-identifier", "me");
                        Ok::<_, Infallible>(answer.body(Full::new(Bytes::from(text))).unwrap())
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, asked }
    }

    /// A DynamoDB that refuses everything, as DynamoDB itself does.
    async fn refusing(code: &'static str, message: &'static str) -> Self {
        let namespace =
            if code.starts_with("Resource") { "com.amazonaws.dynamodb.v20120810" } else { "com.amazon.coral.service" };
        let document = json!({ "__type": format!("{namespace}#{code}"), "message": message }).to_string();
        Self::start(move |_| (400, document.clone())).await
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// As [`refused_as`], because of the tables.
async fn refused(name: &str, settings: &[(&str, &str)]) -> String {
    refused_as("Aft.StoreUnusable", name, settings).await
}

/// Starts the extension with these settings, and returns the one line that it tells Lambda, after checking that it says
/// nothing else.
async fn refused_as(kind: &str, name: &str, settings: &[(&str, &str)]) -> String {
    let lambda = Server::start(|_| (200, "{}".to_owned())).await;
    let directory = std::env::temp_dir().join(format!("aft-init-{}-{name}", std::process::id()));
    let mut command = Command::new(layer::binaries().extension);
    command.env_clear().envs([
        ("AWS_LAMBDA_RUNTIME_API", lambda.address.to_string()),
        ("AWS_LAMBDA_FUNCTION_NAME", "transfer".to_owned()),
        ("AWS_REGION", "eu-central-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "s3cret".to_owned()),
        ("AFT_DATA_TABLE", "orders".to_owned()),
        ("AFT_CONTROL_SOCKET", directory.join("control.sock").to_string_lossy().into_owned()),
        ("AFT_PORT", aft_cli::port::free_port().unwrap().to_string()),
    ]);
    command.envs(settings.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ended = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    // Not made if the configuration is at fault.
    let _ = std::fs::remove_dir_all(directory);
    assert!(!ended.status.success(), "{name}");

    let calls = lambda.asked.lock().unwrap().clone();
    let paths: Vec<_> = calls.iter().map(|(path, _)| path.rsplit('/').next().unwrap()).collect();
    assert_eq!(paths, ["register", "error"], "{name}: it never asks for an event");
    assert!(calls[1].0.ends_with("/extension/init/error"));
    assert_eq!(calls[1].1["errorType"], kind, "{name}");
    let message = calls[1].1["errorMessage"].as_str().unwrap().to_owned();
    let log = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(log.trim(), format!("ERROR aft_extension: {kind}: {message}"), "{name}");
    assert_eq!((message.lines().count(), ended.stdout.len()), (1, 0), "{name}: {message}");
    assert!(!message.contains("s3cret"), "{message}");
    message
}

fn says(name: &str, message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "{name}: no {word:?} in {message:?}");
    }
}

/// What DynamoDB answers, word for word, and what is made of it.
#[tokio::test]
async fn what_dynamodb_refuses_at_init_is_told_in_one_line() {
    const NOT_FOUND: &str = "Requested resource not found";
    const DENIED: &str = "User: arn:aws:sts::111122223333:assumed-role/transfer/transfer is not authorized to perform: \
        dynamodb:GetItem on resource: arn:aws:dynamodb:eu-central-1:111122223333:table/orders because no identity-based policy \
        allows the dynamodb:GetItem action";
    const INVALID: &str = "The security token included in the request is invalid.";
    const SIGNATURE: &str = "The request signature we calculated does not match the signature you provided. Check your AWS \
        Secret Access Key and signing method. Consult the service documentation for details.";
    const EXPIRED: &str = "The security token included in the request is expired";
    const KEY: &str = "User: transfer is not authorized to perform: kms:Decrypt on resource: key because no identity-based policy \
        allows the kms:Decrypt action";
    let both = [
        "table \"orders\" (AFT_DATA_TABLE",
        "table \"orders-transactions\" (AFT_TRANSACTION_TABLE",
        "region eu-central-1",
    ];
    for (name, code, message, words) in [
        // Of another region, of another account, misspelt, or in state CREATING: DynamoDB makes no difference.
        (
            "no table",
            "ResourceNotFoundException",
            NOT_FOUND,
            ["no such table there, or it is still being made", "the region"],
        ),
        (
            "no permission",
            "AccessDeniedException",
            DENIED,
            ["the function's role must allow", "dynamodb:GetItem on resource"],
        ),
        ("no key", "AccessDeniedException", KEY, ["the function's role must allow", "kms:Decrypt"]),
        ("no such key", "UnrecognizedClientException", INVALID, ["credentials are not accepted", "token included"]),
        (
            "wrong secret",
            "InvalidSignatureException",
            SIGNATURE,
            ["credentials are not accepted", "signature we calculated"],
        ),
        ("expired", "ExpiredTokenException", EXPIRED, ["credentials have expired", "Lambda replaces the sandbox"]),
    ] {
        let dynamodb = Server::refusing(code, message).await;
        let line = refused(&name.replace(' ', "-"), &[("AFT_DYNAMODB_ENDPOINT", &dynamodb.url())]).await;
        says(name, &line, &both);
        says(name, &line, &words);
        says(name, &line, &[code, message]);
        let asked = dynamodb.asked.lock().unwrap();
        assert!(
            asked.iter().all(|(operation, _)| operation == "DynamoDB_20120810.GetItem"),
            "it only reads: {asked:?}"
        );
        assert_eq!(asked.len(), 2, "one request a table");
    }
}

/// A region that does not exist has no endpoint; and one that does may be out of reach.
#[tokio::test]
async fn an_endpoint_that_cannot_be_reached_at_init_is_told_in_one_line() {
    let line = refused("region", &[("AWS_REGION", "moon-west-1")]).await;
    says("region", &line, &["region moon-west-1", "no connection", "reachable from this function", "AFT_DATA_TABLE"]);
    let line = refused("malformed", &[("AWS_REGION", "not a region")]).await;
    says("malformed", &line, &["region not a region", "are endpoint and region right?"]);
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    let line = refused("closed", &[("AFT_DYNAMODB_ENDPOINT", &format!("http://{closed}"))]).await;
    says("closed", &line, &[&closed.to_string(), "no connection", "VPC endpoint, security group"]);
}

/// Tables with another key: what each is to have is in the line.
#[tokio::test]
async fn a_wrong_key_schema_is_told_at_init_in_one_line() {
    let engine = Embedded::start(Storage::Memory).await.unwrap();
    let attributes = |kinds: &[(&str, &str)]| {
        kinds.iter().map(|(name, kind)| json!({ "AttributeName": name, "AttributeType": kind })).collect::<Vec<_>>()
    };
    for (table, keys) in [
        ("orders", &[("k", "S")][..]),
        ("orders-transactions", &[("id", "S"), ("part", "S")]),
        ("without-sort-key", &[("id", "S")]),
        ("with-sort-key", &[("k", "S"), ("part", "S")]),
        ("of-numbers", &[("k", "N")]),
        ("of-another-name", &[("pk", "S")]),
    ] {
        let schema: Vec<_> = keys
            .iter()
            .zip(["HASH", "RANGE"])
            .map(|((name, _), kind)| json!({ "AttributeName": name, "KeyType": kind }))
            .collect();
        let body = json!({
            "TableName": table,
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": attributes(keys),
            "KeySchema": schema,
        });
        let request = Request::post("/")
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-target", "DynamoDB_20120810.CreateTable")
            .header("x-amz-date", "20260101T000000Z")
            .header(
                "authorization",
                "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, \
                 SignedHeaders=host;x-amz-date;x-amz-target, Signature=0",
            );
        let address = engine.endpoint().trim_start_matches("http://").parse().unwrap();
        let (status, answer) = send(address, request.body(body.to_string()).unwrap()).await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
    }
    for (setting, table, key) in [
        ("AFT_TRANSACTION_TABLE", "without-sort-key", "string key id and part"),
        ("AFT_TRANSACTION_TABLE", "with-sort-key", "string key id and part"),
        ("AFT_DATA_TABLE", "with-sort-key", "string key k"),
        ("AFT_DATA_TABLE", "of-numbers", "string key k"),
        ("AFT_DATA_TABLE", "of-another-name", "string key k"),
    ] {
        let endpoint = engine.endpoint();
        let transactions = ("AFT_TRANSACTION_TABLE", "orders-transactions");
        let settings = [("AFT_DYNAMODB_ENDPOINT", endpoint.as_str()), transactions, (setting, table)];
        let line = refused(&format!("{setting}-{table}"), &settings).await;
        says(table, &line, &[&format!("table {table:?} ({setting}, {key})"), "does the table have this key?"]);
        assert_eq!(line.matches("does the table").count(), 1, "the other table is well: {line}");
    }
    engine.stop().await.unwrap();
}

/// An endpoint whose certificate nobody public has signed, and authorities that have not signed it.
#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_told_at_init_in_one_line() {
    let engine = Embedded::start(Storage::Memory).await.unwrap();
    let (tls, others) = (Tls::before(&engine.endpoint()).await, Tls::before(&engine.endpoint()).await);
    let (endpoint, bundle) = (tls.endpoint(), others.bundle().to_string_lossy().into_owned());
    let endpoint = ("AFT_DYNAMODB_ENDPOINT", endpoint.as_str());
    for (name, settings) in [("bundled-roots", vec![endpoint]), ("others", vec![endpoint, ("AFT_CA_BUNDLE", &bundle)])]
    {
        let line = refused(name, &settings).await;
        says(
            name,
            &line,
            &[endpoint.1, "certificate is not trusted", "AFT_CA_BUNDLE must name", "invalid peer certificate"],
        );
    }
    assert_eq!(tls.handshakes(), (0, 0), "nothing was sent");
    engine.stop().await.unwrap();
}

#[tokio::test]
async fn a_bundle_that_is_none_is_told_at_init_in_one_line() {
    let key = std::env::temp_dir().join(format!("aft-init-{}-key.pem", std::process::id()));
    std::fs::write(&key, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
    for (path, why) in [("/nowhere/ca.pem", "cannot be read"), (&key.to_string_lossy(), "no certificate in the file")] {
        let line = refused_as("Aft.Configuration", "bundle", &[("AFT_CA_BUNDLE", path)]).await;
        says(path, &line, &["AFT_CA_BUNDLE is", path, why]);
    }
    std::fs::remove_file(key).unwrap();
}
