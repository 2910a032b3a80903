//! The Runtime API: what Lambda answers to `/next`, and what a runtime calls.
//!
//! The first byte says what the rest is: `n`: Lambda's answer, byte for byte; `c`, or `s` where streams are passed on: a
//! runtime's request, in short (see [`crate::endpoint`]); `e`: an error's document.

use aft_protocol::id::RequestId;
use aft_runtime_shim::body::{self, Body, Collected};
use aft_runtime_shim::delivery::Delivery;
use aft_runtime_shim::message::{Call, Ending, Generation, Inbox, Message};
use aft_runtime_shim::platform;
use aft_runtime_shim::proxy::{self, Caller};
use aft_runtime_shim::upstream::{Upstream, own_head};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::header::{CONNECTION, HeaderMap};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;

use crate::conversation::{Answer, answering, pipe, told};
use crate::endpoint::Short;
use crate::event::rules;
use crate::items::block_on;

/// More than any event.
const LIMIT: usize = 100_000;

/// The target.
pub fn check(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    match kind {
        b'n' => block_on(next(rest)),
        b'c' | b's' => {
            if let Some(request) = Short::read(rest) {
                block_on(called(&request, *kind == b's'));
            }
        }
        b'e' => {
            let kinds = platform::error_types(&HeaderMap::new(), rest);
            let document = serde_json::from_slice::<serde_json::Value>(rest).ok();
            let said = document.as_ref().and_then(|document| document["errorType"].as_str());
            assert!(kinds.is_empty() || kinds == [said.unwrap()], "{kinds:?}");
        }
        _ => {}
    }
}

/// Lambda's answer to `/next`: an event that can be delivered as often as it takes, always the same, or an error.
async fn next(answer: &[u8]) {
    let (near, far) = pipe();
    let hear = async move {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = platform::NEXT.parse().unwrap();
        let Ok(response) = sender.send_request(request).await else { return };
        let (head, incoming) = response.into_parts();
        let _ = platform::is_streaming(&head.headers);
        let Ok(Collected::Whole(whole)) = body::collect(incoming, LIMIT).await else { return };
        let (sent, connection_names) = (whole.data.clone(), listed(&head.headers));
        if let Ok(delivery) = Delivery::new(head, whole) {
            delivered(&delivery, &sent, &connection_names).await;
        }
        drop(sender);
        connection.abort();
    };
    tokio::join!(hear, answering(far, vec![answer.to_vec()]));
}

fn listed(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.get_all(CONNECTION).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',').map(|name| name.trim().to_ascii_lowercase())).collect()
}

async fn delivered(delivery: &Delivery, sent: &Bytes, connection_names: &[String]) {
    let route = format!("{}{}/response", platform::INVOCATION, delivery.request());
    let post = own_head(Method::POST, &route);
    assert_eq!(post.uri.path(), route, "its answer goes to the request that it names");
    let (first, second) = (delivery.response(), delivery.response());
    assert_eq!(first.headers(), second.headers());
    assert!(connection_names.iter().all(|name| name.is_empty() || !first.headers().contains_key(name.as_str())));
    for response in [first, second] {
        assert_eq!(&data(response).await, sent, "byte for byte");
    }
    // By JSON's grammar (RFC 8259): a `Value` would also refuse a number like 1e999, which nobody reads.
    assert!(!delivery.is_durable_execution() || serde_json::from_slice::<serde::de::IgnoredAny>(sent).is_ok());
    let (rules, again) = (rules("transfer", None), rules("transfer", None));
    assert_eq!(delivery.identity(&rules), delivery.identity(&again));
}

async fn data(response: Response<Body>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

/// What the conductor hears of a call.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Next,
    End(Ending, RequestId, Option<Bytes>),
    Stream(RequestId),
    Restore,
    InitError,
}

/// A runtime's call is heard as what it is, byte for byte; and nothing of an invocation goes to Lambda unheard.
async fn called(request: &Short<'_>, pass_streams: bool) {
    let (outbox, inbox) = mpsc::unbounded_channel();
    let (heard_of, mut heard) = mpsc::unbounded_channel();
    let conductor = tokio::spawn(hear(inbox, heard_of));
    // A place that nothing can be sent to.
    let upstream = Upstream::new(String::new());
    let caller = Caller { child: Generation(1), outbox, upstream, pass_streams, snap_start: true };
    let said = told(&request.long(&[]), |stream| proxy::converse(stream, caller)).await;
    conductor.await.unwrap();
    let heard = heard.recv().await;
    if !request.is_plain() || !request.target.starts_with('/') || request.target.contains(['?', '#']) {
        return;
    }
    let Some(answer) = Answer::read(&said) else { panic!("every call is answered: {heard:?}") };
    let whole = Some(Bytes::copy_from_slice(request.body));
    let expected = match (request.method, request.target) {
        _ if answer.header("content-type").is_none() => return, // hyper's own
        ("GET", platform::NEXT) => Some(Heard::Next),
        ("GET", platform::RESTORE_NEXT) => Some(Heard::Restore),
        ("POST", platform::INIT_ERROR) => Some(Heard::InitError),
        ("POST", target) => match target.strip_prefix(platform::INVOCATION).and_then(|rest| rest.split_once('/')) {
            Some((id, "response")) => match heard {
                Some(Heard::Stream(_)) if pass_streams => Some(Heard::Stream(RequestId::new(id))),
                _ => Some(Heard::End(Ending::Response, RequestId::new(id), whole)),
            },
            Some((id, "error")) => Some(Heard::End(Ending::Error, RequestId::new(id), whole)),
            _ => None,
        },
        _ => None,
    };
    assert_eq!(heard, expected, "{} {}", request.method, request.target);
    let passed_on = expected.is_none() && answer.status == 502;
    let decoded = percent_encoding::percent_decode_str(request.target).decode_utf8_lossy().into_owned();
    assert!(!passed_on || !decoded.contains("/runtime/invocation"), "{} went round the transaction", request.target);
}

async fn hear(mut inbox: Inbox, heard_of: mpsc::UnboundedSender<Heard>) {
    while let Some(message) = inbox.recv().await {
        let Message::Called { call, reply, .. } = message else { continue };
        let whole = |body: Collected| match body {
            Collected::Whole(whole) => Some(whole.data),
            Collected::TooLarge => None,
        };
        let heard = match call {
            Call::Next { .. } => Heard::Next,
            Call::End { ending, request, body, .. } => Heard::End(ending, request, whole(body)),
            Call::Stream { request, .. } => Heard::Stream(request),
            Call::Restore { .. } => Heard::Restore,
            Call::InitError(_) => Heard::InitError,
        };
        // The property reads the first one; there is only one call.
        let _ = heard_of.send(heard);
        let _ = reply.send(platform::accepted());
    }
}
