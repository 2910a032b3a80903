//! The processes of the tests: this executable again, told by its arguments which one to be.
//!
//! They are `#[test]`s only because that is what a test executable can run; they do nothing unless a host starts them.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::exit;

use serde_json::{Value, json};

use super::wire::{Reply, call, call_chunked};

const INVOCATION: &str = "/2018-06-01/runtime/invocation";

fn started_by_a_host() -> bool {
    std::env::var_os("FIXTURE_WITNESS").is_some()
}

/// A runtime whose handler does what its event says.
#[test]
fn runtime() {
    if !started_by_a_host() {
        return;
    }
    let mut witness = BufReader::new(report("runtime"));
    let api = variable("AWS_LAMBDA_RUNTIME_API");
    match variable("FIXTURE_RUNTIME").as_str() {
        "init-error" => {
            let document = json!({ "errorType": "Fixture.NoConfig", "errorMessage": "no config" }).to_string();
            call(&api, "POST", "/2018-06-01/runtime/init/error", &[], document.as_bytes()).unwrap();
            exit(1);
        }
        "init-exit" => exit(7),
        "init-hang" => wait_forever(),
        // Its own child, which outlives a kill of nothing but its parent.
        "with-child" => drop(
            std::process::Command::new(std::env::current_exe().unwrap())
                .args(super::fixture("child").arguments)
                .spawn()
                .unwrap(),
        ),
        _ => {}
    }
    loop {
        let next = call(&api, "GET", &format!("{INVOCATION}/next"), &[], b"").unwrap();
        assert_eq!(next.status, 200);
        let event: Value = serde_json::from_slice(&next.body).unwrap();
        handle(&api, &next, &event, &mut witness);
    }
}

/// A process that the runtime starts.
#[test]
fn child() {
    if !started_by_a_host() {
        return;
    }
    let _witness = report("child");
    wait_forever();
}

fn handle(api: &str, next: &Reply, event: &Value, witness: &mut impl BufRead) {
    let id = &next.headers["lambda-runtime-aws-request-id"];
    let respond = |body: &[u8]| call(api, "POST", &format!("{INVOCATION}/{id}/response"), &[], body).unwrap().status;
    println!("handling {event} for {id}");
    match event["do"].as_str().unwrap_or("echo") {
        "echo" => {
            let facts = json!({ "event": event, "pid": std::process::id(), "headers": next.headers });
            assert_eq!(respond(facts.to_string().as_bytes()), 202);
        }
        "environment" => {
            let variables: std::collections::BTreeMap<_, _> = std::env::vars().collect();
            assert_eq!(respond(json!(variables).to_string().as_bytes()), 202);
        }
        "fail" => {
            let document = json!({ "errorType": "Fixture.Oops", "errorMessage": "no" }).to_string();
            let path = format!("{INVOCATION}/{id}/error");
            let reply = call(
                api,
                "POST",
                &path,
                &[("Lambda-Runtime-Function-Error-Type", "Fixture.Oops")],
                document.as_bytes(),
            );
            assert_eq!(reply.unwrap().status, 202);
        }
        "exit-0" => exit(0),
        "exit-1" => exit(1),
        "hang" => wait_forever(),
        "respond-and-exit" => {
            respond(b"\"done\"");
            exit(1);
        }
        "wait" => {
            witness.read_line(&mut String::new()).unwrap();
            respond(b"\"released\"");
        }
        "too-large" => {
            let status = respond(&vec![b'1'; 6 * 1024 * 1024 + 101]);
            println!("too large: {status}");
        }
        "largest" => assert_eq!(respond(&vec![b'1'; 6 * 1024 * 1024 + 100]), 202),
        "misbehave" => misbehave(api, next, id, respond),
        "stream" | "stream-and-fail" => stream(api, id, event["do"] == "stream-and-fail"),
        unknown => panic!("the fixture cannot {unknown}"),
    }
}

/// Answers with what the host makes of calls that a runtime should not make.
fn misbehave(api: &str, next: &Reply, id: &str, respond: impl Fn(&[u8]) -> u16) {
    let again = call(api, "GET", &format!("{INVOCATION}/next"), &[], b"").unwrap();
    let post = |id: &str, headers: &[(&str, &str)]| {
        call(api, "POST", &format!("{INVOCATION}/{id}/response"), headers, b"0").unwrap().status
    };
    let facts = json!({
        "same event again": again.headers == next.headers && again.body == next.body,
        "wrong request id": post("another", &[]),
        "stale invocation id": post(id, &[("Lambda-Runtime-Invocation-Id", "earlier")]),
        "unknown route": call(api, "GET", "/nowhere", &[], b"").unwrap().status,
    });
    assert_eq!(respond(facts.to_string().as_bytes()), 202);
    println!("second response: {}", respond(b"2"));
}

fn stream(api: &str, id: &str, fail: bool) {
    let mode =
        [("Lambda-Runtime-Function-Response-Mode", "streaming"), ("Trailer", "Lambda-Runtime-Function-Error-Type")];
    // {"errorType":"Fixture.Broken"}
    let error = [
        ("Lambda-Runtime-Function-Error-Type", "Fixture.Broken"),
        ("Lambda-Runtime-Function-Error-Body", "eyJlcnJvclR5cGUiOiJGaXh0dXJlLkJyb2tlbiJ9"),
    ];
    let trailers: &[_] = if fail { &error } else { &[] };
    let path = format!("{INVOCATION}/{id}/response");
    assert_eq!(call_chunked(api, &path, &mode, &["[1,", "2]"], trailers).unwrap().status, 202);
}

/// An extension that does what `FIXTURE_EXTENSION` says.
#[test]
fn extension() {
    if !started_by_a_host() {
        return;
    }
    let mut witness = BufReader::new(report("extension"));
    let api = variable("AWS_LAMBDA_RUNTIME_API");
    let what = variable("FIXTURE_EXTENSION");
    assert!(std::env::var("_HANDLER").is_err(), "extensions do not get _HANDLER");
    if what == "never-register" {
        exit(4);
    }
    let name = [("Lambda-Extension-Name", "fixture-extension")];
    let events = br#"{"events":["INVOKE","SHUTDOWN"]}"#;
    let registered = call(&api, "POST", "/2020-01-01/extension/register", &name, events).unwrap();
    assert_eq!(registered.status, 200);
    let id = registered.headers["lambda-extension-identifier"].clone();
    let id = [("Lambda-Extension-Identifier", id.as_str())];
    if what == "init-error" {
        let headers = [id[0], ("Lambda-Extension-Function-Error-Type", "Extension.NoConfig")];
        assert_eq!(call(&api, "POST", "/2020-01-01/extension/init/error", &headers, b"").unwrap().status, 202);
        exit(1);
    }
    loop {
        let next = call(&api, "GET", "/2020-01-01/extension/event/next", &id, b"").unwrap();
        let event: Value = serde_json::from_slice(&next.body).unwrap();
        println!("extension got {event}");
        match (event["eventType"].as_str().unwrap(), what.as_str()) {
            ("INVOKE", "crash") => exit(3),
            ("INVOKE", "slow") => drop(witness.read_line(&mut String::new())),
            ("SHUTDOWN", "deaf") => wait_forever(),
            ("SHUTDOWN", _) => exit(0),
            _ => {}
        }
    }
}

/// Tells the witness that this process lives. The connection must be kept: its end is the process's.
fn report(name: &str) -> TcpStream {
    let mut witness = TcpStream::connect(variable("FIXTURE_WITNESS")).unwrap();
    writeln!(witness, "{name}").unwrap();
    witness
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

fn wait_forever() -> ! {
    loop {
        std::thread::park();
    }
}
