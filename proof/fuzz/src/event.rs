//! Events, for the name of their transaction: `runtime-shim/src/identity`.
//!
//! The bytes are an event; what stands before a zero byte, if there is one, is the client context.

use aft_protocol::id::{Fingerprint, RequestId, Scope};
use aft_runtime_shim::identity::{Identity, KeyExpression, Rules, Source};
use hyper::HeaderMap;
use hyper::header::HeaderValue;
use serde_json::Value;

use crate::json;

/// The target.
pub fn check(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let (context, event) = match (parts.next(), parts.next()) {
        (Some(context), Some(event)) => (HeaderValue::from_bytes(context).ok(), event),
        _ => (None, data),
    };
    let headers: HeaderMap =
        context.into_iter().map(|context| ("lambda-runtime-client-context".parse().unwrap(), context)).collect();
    named(&rules("transfer", None), event, &headers);
}

/// A function's rules.
#[must_use]
pub fn rules(function: &str, key: Option<KeyExpression>) -> Rules {
    Rules { function: Scope::new(function), key }
}

/// What holds of every event, whatever its bytes.
pub fn named(rules: &Rules, event: &[u8], headers: &HeaderMap) -> Identity {
    let identify = |event: &[u8], request: &str| rules.identify(event, headers, &RequestId::new(request));
    let identity = identify(event, "r-1");
    assert_eq!(identify(event, "r-1"), identity, "one event, one identity");
    assert!(identity.warning.as_ref().is_none_or(|warning| warning.lines().count() <= 1), "{identity:?}");
    let again = identify(event, "r-2");
    if identity.source == Source::Request {
        assert_eq!(identity.fingerprint, Fingerprint::of(event), "by its bytes");
        assert_ne!(again.transaction, identity.transaction, "by its request");
    } else {
        assert_eq!(again, identity, "delivered again under another request ID");
        assert_eq!(identity.refusal, None);
    }
    let elsewhere = Rules { function: Scope::new("another"), key: rules.key.clone() };
    let elsewhere = elsewhere.identify(event, headers, &RequestId::new("r-1"));
    assert_eq!(elsewhere.fingerprint, identity.fingerprint, "a payload's, not a function's");
    assert_eq!(elsewhere.transaction == identity.transaction, identity.source == Source::Context);
    if let Some(refusal) = &identity.refusal {
        let integration = identity.integration.expect("only a key of an HTTP client is refused");
        let answer: Value = serde_json::from_slice(&refusal.response(integration)).unwrap();
        assert_eq!(answer["statusCode"], refusal.code().status());
    }
    if let Some(batch) = &identity.batch {
        assert!(batch.comes_again(br#"{"batchItemFailures":[{}]}"#) && !batch.comes_again(b"{}"));
        let _ = batch.comes_again(event);
    }
    if let Ok(document) = serde_json::from_slice::<Value>(event) {
        in_other_words(rules, &document, headers);
    }
    identity
}

/// Two payloads that differ in a number are two payloads, however many digits that has.
pub fn numbers(one: &str, other: &str) {
    let fingerprint = |number: &str| {
        let event = format!(
            r#"{{"detail-type":"t","source":"s","account":"a","region":"r","id":"i","time":"x","resources":[],"detail":{{"n":[{number}]}}}}"#
        );
        let identity = named(&rules("transfer", None), event.as_bytes(), &HeaderMap::new());
        assert_eq!(identity.source, Source::EventBridge);
        identity.fingerprint
    };
    assert_eq!(fingerprint(one) == fingerprint(other), one == other, "{one} and {other}");
}

/// Neither spaces nor the order of members is part of what an event says, where the event says who it is.
fn in_other_words(rules: &Rules, document: &Value, headers: &HeaderMap) {
    let identify = |text: &str| rules.identify(text.as_bytes(), headers, &RequestId::new("r-1"));
    let (one, other) = (identify(&document.to_string()), identify(&json::in_other_words(document)));
    assert_eq!((one.source, &one.refusal, &one.batch), (other.source, &other.refusal, &other.batch));
    if one.source == Source::Request {
        return;
    }
    assert_eq!(one.transaction, other.transaction, "{document}");
    // A context and an expression name events that may be any document, whose bytes then are what is compared.
    if one.integration.is_some() || !matches!(one.source, Source::Context | Source::Expression) {
        assert_eq!(one.fingerprint, other.fingerprint, "{document}");
    }
}
