//! Lambda's own runtime clients through the shim: what Lambda hears is the same, byte for byte, as without it, and what
//! they write happens once, whole, or not at all.
//!
//! A harness of its own, because whether a client can run on this machine is known only at run time: one that cannot is
//! named and reported as ignored, and fails the run where nothing may be skipped (`CI=true`, or `AFT_TESTS_NO_SKIP=1`).
#![allow(clippy::unwrap_used)]

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::process::ExitCode;

use aft_tests::clients::client::{self, Binary, Client};
use aft_tests::clients::difference::{Side, difference};
use aft_tests::clients::events::{Events, TRACE, UNICODE};
use aft_tests::clients::lambda::Event;
use aft_tests::clients::sandbox::{Sandbox, Written};
use aft_tests::clients::wire::{self, Request};
use aft_tests::tools::skipped;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use libtest_mimic::{Arguments, Trial};
use serde_json::{Value, json};

type Test = (&'static str, fn(&'static Client) -> Pin<Box<dyn Future<Output = ()>>>);

macro_rules! tests {
    ($($name:ident),* $(,)?) => { [$((stringify!($name), |client| Box::pin($name(client)))),*] };
}

const BYTES: [Test; 1] = tests![lambda_hears_every_byte_as_without_the_shim];

/// Of clients that stream.
const STREAM: [Test; 1] = tests![lambda_hears_every_byte_of_a_stream_that_is_passed_on];

const BEHAVIOUR: [Test; 8] = tests![
    a_clients_writes_are_committed_together,
    a_clients_error_is_made_up_for,
    a_clients_exit_is_made_up_for,
    the_worst_that_a_handler_can_do_is_made_up_for,
    after_the_last_attempt_lambda_gets_the_clients_own_error,
    after_the_last_exit_lambda_is_told_and_the_sandbox_goes_on,
    a_stale_answer_ends_no_sandbox,
    lambda_hears_of_a_failed_init_as_without_the_shim,
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for (name, prepare) in client::OPTIONAL {
        let tests = BYTES.into_iter().chain(BEHAVIOUR);
        match prepare() {
            Ok(client) => {
                let stream = STREAM.into_iter().filter(|_| client.binary == Binary::Streamed);
                trials.extend(tests.chain(stream).map(|test| trial(client.clone(), test)));
            }
            Err(missing) => trials.extend(tests.map(|(test, _)| skipped(format!("{name}::{test}"), &missing))),
        }
    }
    let rust = client::rust(Path::new(env!("CARGO_BIN_EXE_client-rust")));
    trials.extend(BYTES.into_iter().chain(BEHAVIOUR).map(|test| trial(rust.clone(), test)));
    let raw = client::raw(Path::new(env!("CARGO_BIN_EXE_client-raw")));
    trials.extend(BYTES.map(|test| trial(raw.clone(), test)));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(client: Client, (name, run): Test) -> Trial {
    Trial::test(format!("{}::{name}", client.name), move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // Lives as long as the test process.
        runtime.block_on(run(Box::leak(Box::new(client))));
        Ok(())
    })
}

async fn lambda_hears_every_byte_as_without_the_shim(client: &'static Client) {
    compare(client, "buffered").await;
}

async fn lambda_hears_every_byte_of_a_stream_that_is_passed_on(client: &'static Client) {
    compare(client, "pass-through").await;
}

/// The same events to the client alone, and to the client behind the shim with this `AFT_STREAMING`.
async fn compare(client: &'static Client, streaming: &str) {
    let mut without = Sandbox::bare(client).await;
    let mut with = Sandbox::with_layer_and(client, streaming).await;
    let authorities = [&without, &with].map(|sandbox| sandbox.lambda.address().to_string());
    let (fatal, events): (Vec<_>, Vec<_>) =
        Events::default().comparison().into_iter().partition(|event| client.fatal.contains(&event.name));
    assert_eq!(fatal.len(), client.fatal.len());
    for event in &events {
        let [a, b] = [without.invoke(event).await, with.invoke(event).await];
        let [a, b] = [a, b].map(|heard| heard.unwrap_or_else(|| panic!("{}: the process ended", event.name)));
        let sides = [(&authorities[0], &a), (&authorities[1], &b)];
        let [a, b] = sides.map(|(authority, heard)| Side { authority, heard });
        if let Some(difference) = difference(a, b) {
            panic!("{}: {difference}", event.name);
        }
        check(client, event, a.heard.last().unwrap());
    }
    for event in &fatal {
        assert!(Sandbox::bare(client).await.invoke(event).await.is_none(), "{}: the client survived", event.name);
        let answer = with.answer(event).await;
        assert!(answer.target().ends_with("/error"), "{}: {answer:?}", event.name);
        assert_eq!(answer.field("Lambda-Runtime-Function-Error-Type"), Some(&b"Runtime.ExitError"[..]));
    }
    let last = Events::default().order("after all", &json!({ "do": "echo" }));
    assert!(with.answer(&last).await.target().ends_with("/response"));
}

/// The comparison is worth something only if the answer is the right one.
fn check(client: &Client, event: &Event, answer: &Request) {
    let name = event.name;
    if client.name == client::RAW {
        // Every byte that Lambda wrote, as far as one response has room for it.
        let wrote = wire::answer("200 OK", &event.fields, &event.body);
        let at = answer.body.windows(15).position(|bytes| bytes == b"HTTP/1.1 200 OK").unwrap();
        assert!(wrote.starts_with(&answer.body[at..]), "{name}: {}", answer.body[..at + 2_000].escape_ascii());
        return;
    }
    let id = answer.field("Lambda-Runtime-Invocation-Id");
    let sent = event.fields.iter().find(|field| field.is("Lambda-Runtime-Invocation-Id"));
    let expected = sent.filter(|_| client.names_invocation).map(|field| field.value.as_slice());
    assert_eq!(id, expected, "{name}: the invocation's name");

    let text = String::from_utf8_lossy(&answer.body);
    match name {
        "1 KB" | "6 MiB" | "escapes" | "a list" | "null" | "the end" if client.echoes_bytes => {
            assert!(answer.body.trim_ascii() == event.body.trim_ascii(), "{name}: another echo");
        }
        "1 KB" | "6 MiB" | "escapes" | "null" | "the end" => {
            let [sent, got]: [Value; 2] = [&event.body, &answer.body].map(|body| serde_json::from_slice(body).unwrap());
            assert!(sent == got, "{name}: another echo");
        }
        "the largest response" => assert_eq!(answer.body.len(), aft_protocol::limits::RESPONSE_BYTES),
        "a response in Unicode" => assert!(serde_json::from_str::<Value>(&text).unwrap().to_string().contains(UNICODE)),
        "a binary response" => {
            let every: Vec<u8> = (0..=u8::MAX).collect();
            match client.binary {
                Binary::Raw => assert_eq!(answer.body, every),
                Binary::Streamed => assert!(answer.body.ends_with(&every) && answer.body.len() > every.len()),
                Binary::Base64 => assert!(text.starts_with("\"AAECAwQF"), "{text}"),
            }
        }
        "an error" => assert_eq!(message(client, answer), format!("{UNICODE}\n\"quoted\" \\")),
        "an empty payload" | "no JSON" if !client.echoes_bytes => assert!(answer.target().ends_with("/error")),
        "every header" => {
            for part in [TRACE, "tenant-1", "eu-1:i", "eu-1:p", "plain", &event.deadline_ms.to_string()] {
                assert!(text.contains(part), "{name}: no {part} in {text}");
            }
        }
        _ => {}
    }
}

/// What the client says of the handler's error.
fn message(client: &Client, answer: &Request) -> String {
    let document = if client.errors_in_trailers {
        let body = answer.trailers.iter().find(|field| field.is("Lambda-Runtime-Function-Error-Body")).unwrap();
        BASE64_STANDARD.decode(&body.value).unwrap()
    } else {
        assert!(answer.target().ends_with("/error"), "{answer:?}");
        answer.body.to_vec()
    };
    serde_json::from_slice::<Value>(&document).unwrap()["errorMessage"].as_str().unwrap().to_owned()
}

/// Both keys, written by one transaction, in this attempt.
fn assert_written(written: [Option<Written>; 2], attempt: u32) {
    let [Some(a), Some(b)] = written else { panic!("not both keys were written: {written:?}") };
    assert_eq!(a.value, format!("{UNICODE} {attempt}"));
    assert_eq!(a, b);
}

async fn made_up_for(client: &Client, attempts: &[&str]) {
    let mut sandbox = Sandbox::with_layer(client).await;
    let event = Events::default().write("a write", ["a", "b"], attempts);
    let answer = sandbox.answer(&event).await;
    let attempt = u32::try_from(attempts.len()).unwrap();
    assert!(answer.target().ends_with("/response"), "{answer:?}");
    assert_eq!(serde_json::from_slice::<Value>(&answer.body).unwrap(), json!({ "attempt": attempt }));
    assert_written(sandbox.written(["a", "b"]).await, attempt);
}

async fn a_clients_writes_are_committed_together(client: &'static Client) {
    made_up_for(client, &["answer"]).await;
}

async fn a_clients_error_is_made_up_for(client: &'static Client) {
    made_up_for(client, &["error", "answer"]).await;
}

async fn a_clients_exit_is_made_up_for(client: &'static Client) {
    made_up_for(client, &["exit", "answer"]).await;
}

async fn the_worst_that_a_handler_can_do_is_made_up_for(client: &'static Client) {
    made_up_for(client, &["panic", "answer"]).await;
}

async fn after_the_last_attempt_lambda_gets_the_clients_own_error(client: &'static Client) {
    let mut sandbox = Sandbox::with_layer(client).await;
    let mut events = Events::default();
    let answer = sandbox.answer(&events.write("three errors", ["a", "b"], &["error", "error", "error"])).await;
    assert_eq!(message(client, &answer), format!("attempt 3: {UNICODE}"));
    assert_eq!(sandbox.written(["a", "b"]).await, [None, None]);

    sandbox.answer(&events.write("a write after them", ["a", "b"], &["answer"])).await;
    assert_written(sandbox.written(["a", "b"]).await, 1);
}

async fn after_the_last_exit_lambda_is_told_and_the_sandbox_goes_on(client: &'static Client) {
    let mut sandbox = Sandbox::with_layer(client).await;
    let mut events = Events::default();
    let answer = sandbox.answer(&events.write("three exits", ["a", "b"], &["exit", "exit", "exit"])).await;
    let document: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(document["errorType"], "Runtime.ExitError");
    assert!(document["errorMessage"].as_str().unwrap().ends_with("exit status 3"), "{document}");
    assert_eq!(sandbox.written(["a", "b"]).await, [None, None]);

    sandbox.answer(&events.write("a write after them", ["a", "b"], &["answer"])).await;
    assert_written(sandbox.written(["a", "b"]).await, 1);
}

/// Lambda answers 410 to an invocation that is over, because it ran out of time, say. Some clients end on that; the
/// sandbox does not, and what was committed before is.
async fn a_stale_answer_ends_no_sandbox(client: &'static Client) {
    let mut events = Events::default();
    let stale = events.write("a stale write", ["a", "b"], &["answer"]);
    let next = events.write("a write after it", ["c", "d"], &["answer"]);
    let refuse = |sandbox: &Sandbox| {
        for ending in ["response", "error"] {
            let target = format!("/2018-06-01/runtime/invocation/{}/{ending}", stale.request);
            sandbox.lambda.refuse(&target, "410 Gone");
        }
    };
    let mut without = Sandbox::bare(client).await;
    refuse(&without);
    // Without the layer there is nothing to write to: any answer does.
    without.answer(&Event { body: r#"{"do":"unicode"}"#.into(), ..stale.clone() }).await;
    assert_eq!(without.goes_on().await, client.survives_gone, "the process after a 410");

    let mut with = Sandbox::with_layer(client).await;
    refuse(&with);
    assert!(with.answer(&stale).await.target().ends_with("/response"));
    assert_written(with.written(["a", "b"]).await, 1);
    let answer = with.answer(&next).await;
    assert!(answer.target().ends_with("/response"), "{answer:?}");
    assert_written(with.written(["c", "d"]).await, 1);
}

/// A handler that is not there: what the client tells Lambda, and how its process ends or goes on, is the same.
async fn lambda_hears_of_a_failed_init_as_without_the_shim(client: &'static Client) {
    // Go's and Rust's handlers are their programs.
    let Some(client) = client.without_a_handler() else { return };
    let (mut without, mut with) = (Sandbox::bare(&client).await, Sandbox::with_layer(&client).await);
    let authorities = [&without, &with].map(|sandbox| sandbox.lambda.address().to_string());
    let [(a, a_code), (b, b_code)] = [without.begins().await, with.begins().await];
    assert_eq!(a[0].target().ends_with("/init/error"), client.tells_init_errors, "{a:?}");
    let [a, b] = [(&authorities[0], &a), (&authorities[1], &b)].map(|(authority, heard)| Side { authority, heard });
    assert_eq!((difference(a, b), b_code), (None, a_code));
}
