//! The events that every client gets, with the shim and without it: payloads and headers of every shape that Lambda
//! delivers, and of some that it should not.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde_json::{Value, json};

use super::lambda::Event;
use super::wire::Field;

/// What Lambda takes of a synchronous invocation's payload.
const LARGEST_EVENT: usize = 6 * 1_024 * 1_024;
/// What Lambda takes of a response.
const LARGEST_RESPONSE: usize = aft_protocol::limits::RESPONSE_BYTES;
/// Longer than any test.
const TIME_LIMIT: Duration = Duration::from_secs(600);

/// What must come through everything: two, three and four bytes of UTF-8.
pub const UNICODE: &str = "Grüße, 世界 🙂";

/// An X-Ray header with everything that it may have.
pub const TRACE: &str =
    "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1;Lineage=a87bd80c:0|68fd508a:5";

/// Makes events of one sandbox's life: two that make them in the same order make the same ones.
#[derive(Debug)]
pub struct Events {
    deadline_ms: u128,
    made: u64,
}

impl Default for Events {
    #[allow(clippy::disallowed_methods, reason = "deadlines are told in wall-clock time")]
    fn default() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("the clock is set");
        Self { deadline_ms: (now + TIME_LIMIT).as_millis(), made: 0 }
    }
}

impl Events {
    /// An event with the headers that every event has.
    pub fn event(&mut self, name: &'static str, body: impl Into<Bytes>) -> Event {
        self.made += 1;
        let request = format!("8476a536-e9f4-11e8-9739-{:012x}", self.made);
        let fields = vec![
            Field::new("Content-Type", "application/json"),
            Field::new("Lambda-Runtime-Aws-Request-Id", request.as_str()),
            Field::new("Lambda-Runtime-Deadline-Ms", self.deadline_ms.to_string()),
            Field::new("Lambda-Runtime-Invocation-Id", format!("invocation-{}", self.made)),
            Field::new("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:012345678912:function:client"),
            Field::new("Lambda-Runtime-Trace-Id", TRACE),
            Field::new("Date", "Thu, 01 Jan 2026 00:00:00 GMT"),
        ];
        Event { name, request, deadline_ms: self.deadline_ms, fields, body: body.into() }
    }

    /// An event that orders something.
    pub fn order(&mut self, name: &'static str, order: &Value) -> Event {
        // The functions look for `do` in front.
        let order = order.to_string();
        assert!(order.starts_with(r#"{"do":"#), "{order}");
        self.event(name, order)
    }

    /// Two keys are written, and each attempt ends as told: `answer`, `error`, `exit`, or `panic`, which is the worst
    /// that a handler of the language can do.
    pub fn write(&mut self, name: &'static str, keys: [&str; 2], attempts: &[&str]) -> Event {
        let (keys, attempts) = (json!(keys), json!(attempts));
        self.event(name, format!(r#"{{"do":"write","keys":{keys},"value":"{UNICODE}","attempts":{attempts}}}"#))
    }

    /// All events of the comparison.
    #[must_use]
    pub fn comparison(mut self) -> Vec<Event> {
        let padded = |length: usize| {
            let text = format!(r#"{{"do":"echo","text":"{UNICODE}","padding":""}}"#);
            text.replace(r#""""#, &format!(r#""{}""#, "p".repeat(length - text.len())))
        };
        let error = format!(r#"{{"do":"error","message":"{UNICODE}\n\"quoted\" \\"}}"#);
        let mut events = vec![
            self.event("1 KB", padded(1_024)),
            self.event("6 MiB", padded(LARGEST_EVENT)),
            self.event("the largest response", format!(r#"{{"do":"large","bytes":{LARGEST_RESPONSE}}}"#)),
            self.event("escapes", r#"{"do":"echo","text":"\u0000\u001f\u007f\\\"\/\t\ud83d\ude42 \u2028  \ufeff"}"#),
            self.event("a list", "[1, 2.50,\r\n\t{\"b\": null, \"a\": [] }, 12345678901234567890, \"\\u00e4\"]  "),
            self.event("null", "null"),
            self.event("an empty payload", ""),
            self.event("no JSON", r#"{"do": "#),
            self.event("a response in Unicode", r#"{"do":"unicode"}"#),
            self.event("a binary response", r#"{"do":"binary"}"#),
            self.event("an error", error),
        ];
        events.extend(self.contexts());
        events.push(self.event("the end", padded(1_024)));
        events
    }

    /// Events whose headers are what matters.
    fn contexts(&mut self) -> Vec<Event> {
        let context = r#"{"do":"context"}"#;
        let client = |title: &str| {
            let client = json!({
                "installation_id": "i", "app_title": title, "app_version_name": "n", "app_version_code": "c",
                "app_package_name": "p",
            });
            json!({ "client": client, "custom": { "k": "v", "K": title }, "env": { "locale": "de_AT" } }).to_string()
        };
        let identity = r#"{"cognitoIdentityId":"eu-1:i","cognitoIdentityPoolId":"eu-1:p"}"#;
        let with = |mut event: Event, more: Vec<Field>| {
            event.fields.extend(more);
            event
        };
        let mut bare = self.event("only the headers that must be", context);
        bare.fields.retain(|field| {
            ["content-type", "aws-request-id", "deadline-ms", "function-arn"]
                .iter()
                .any(|name| field.name.to_ascii_lowercase().ends_with(name.as_bytes()))
        });
        vec![
            with(
                self.event("every header", context),
                vec![
                    Field::new("Lambda-Runtime-Client-Context", client("plain")),
                    Field::new("Lambda-Runtime-Cognito-Identity", identity),
                    Field::new("Lambda-Runtime-Aws-Tenant-Id", "tenant-1"),
                    Field::new("Lambda-Runtime-From-The-Future", "1"),
                    Field::new("x-lower", "1"),
                    Field::new("X-Twice", "a"),
                    Field::new("X-Twice", "b"),
                    Field::new("X-Empty", ""),
                ],
            ),
            bare,
            with(
                self.event("headers in Unicode", context),
                vec![
                    Field::new("Lambda-Runtime-Client-Context", client(UNICODE)),
                    Field::new("Lambda-Runtime-Aws-Tenant-Id", UNICODE),
                    Field::new("X-Latin", b"Gr\xfc\xdfe \xff".as_slice()),
                ],
            ),
            with(
                self.event("long headers", context),
                vec![
                    Field::new("Lambda-Runtime-Client-Context", client(&"c".repeat(3_500))),
                    Field::new("X-Long", "l".repeat(10_000)),
                ],
            ),
        ]
    }
}
