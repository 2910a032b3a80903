//! The Invoke API as its clients see it: bytes on a socket.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "clippy sees no test in what tests share")]

mod world;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use world::wire::{Reply, call};
use world::{Builder, World};

const PATH: &str = "/2015-03-31/functions/function/invocations";

type Headers<'a> = &'a [(&'a str, &'a str)];

async fn post(world: &World, path: &str, headers: Headers<'_>, body: &[u8]) -> Reply {
    let address = world.host.address().to_string();
    let (path, body) = (path.to_owned(), body.to_owned());
    let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let blocking = tokio::task::spawn_blocking(move || {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        call(&address, "POST", &path, &headers, &body).unwrap()
    });
    blocking.await.unwrap()
}

fn document(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap()
}

#[tokio::test]
async fn an_invocation_by_http() {
    let world = Builder::new().await.start().await;
    let context = STANDARD.encode(r#"{"client":"app"}"#);
    let headers = [("X-Amzn-RequestId", "r-1"), ("X-Amz-Log-Type", "Tail"), ("X-Amz-Client-Context", context.as_str())];
    let reply = post(&world, PATH, &headers, br#"{"do":"echo"}"#).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.headers["x-amzn-requestid"], "r-1");
    assert_eq!(reply.headers["x-amz-executed-version"], "$LATEST");
    assert!(!reply.headers.contains_key("x-amz-function-error"));
    let tail = STANDARD.decode(&reply.headers["x-amz-log-result"]).unwrap();
    assert!(String::from_utf8(tail).unwrap().starts_with("START RequestId: r-1 Version: $LATEST\n"));
    assert_eq!(document(&reply)["headers"]["lambda-runtime-client-context"], r#"{"client":"app"}"#);

    let failed = post(&world, PATH, &[], br#"{"do":"fail"}"#).await;
    assert_eq!((failed.status, failed.headers["x-amz-function-error"].as_str()), (200, "Unhandled"));
    world.host.stop().await;
}

#[tokio::test]
async fn a_function_goes_by_its_arn_and_no_other() {
    let world = Builder::new().await.start().await;
    for named in [
        "arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Afunction/invocations",
        "function:$LATEST/invocations",
        "function/invocations?Qualifier=$LATEST",
    ] {
        let path = format!("/2015-03-31/functions/{named}");
        assert_eq!(post(&world, &path, &[], b"{}").await.status, 200, "{path}");
    }
    let missing = post(&world, "/2015-03-31/functions/other/invocations", &[], b"{}").await;
    assert_eq!((missing.status, missing.headers["x-amzn-errortype"].as_str()), (404, "ResourceNotFoundException"));
    assert!(document(&missing)["Message"].as_str().unwrap().contains("other"));
    let lost = post(&world, "/invoke", &[], b"{}").await;
    assert_eq!(lost.status, 404);
    assert!(document(&lost)["Message"].as_str().unwrap().contains(PATH), "a wrong path is told the right one");
    world.host.stop().await;
}

#[tokio::test]
async fn kinds_of_invocation() {
    let world = Builder::new().await.start().await;
    let kind = |kind| [("X-Amz-Invocation-Type", kind), ("X-Amzn-RequestId", "e-1")];
    let dry = post(&world, PATH, &kind("DryRun"), b"{}").await;
    assert_eq!((dry.status, dry.body.len()), (204, 0));
    assert_eq!(world.log.count("START"), 0);
    let event = post(&world, PATH, &kind("Event"), br#"{"do":"fail"}"#).await;
    assert_eq!((event.status, event.body.len()), (202, 0));
    world.host.settled().await;
    assert_eq!(world.log.count("START RequestId: e-1 "), 3);
    world.host.stop().await;
}

#[tokio::test]
async fn what_lambda_refuses() {
    let world = Builder::new().await.start().await;
    let limit = 6 * 1024 * 1024;
    let payload = |bytes: usize| json!("x".repeat(bytes - 2)).to_string().into_bytes();
    let event = [("X-Amz-Invocation-Type", "Event")];
    let cases: [(Headers<'_>, Vec<u8>, u16, &str); 6] = [
        (&[], b"{".to_vec(), 400, "InvalidRequestContentException"),
        (&[], payload(limit + 1), 413, "RequestTooLargeException"),
        (&event, payload(1024 * 1024 + 1), 413, "RequestTooLargeException"),
        (&[("X-Amz-Invocation-Type", "Later")], vec![], 400, "InvalidParameterValueException"),
        (&[("X-Amzn-RequestId", "a/b")], vec![], 400, "InvalidParameterValueException"),
        (&[("X-Amz-Client-Context", "{}")], vec![], 400, "InvalidParameterValueException"),
    ];
    for (headers, body, status, error_type) in cases {
        let reply = post(&world, PATH, headers, &body).await;
        assert_eq!((reply.status, reply.headers["x-amzn-errortype"].as_str()), (status, error_type), "{headers:?}");
        assert!(reply.headers.contains_key("x-amzn-requestid"));
    }
    assert_eq!(world.log.count("START"), 0, "nothing was started");
    assert_eq!(post(&world, PATH, &[("X-Amz-Invocation-Type", "DryRun")], &payload(limit)).await.status, 204);
    world.host.stop().await;
}
