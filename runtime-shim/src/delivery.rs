//! An event that Lambda delivered, kept byte for byte for as many deliveries to the handler as it takes.

use aft_protocol::id::RequestId;
use hyper::Response;
use hyper::header::{HeaderName, HeaderValue};
use memchr::memmem;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::body::{Body, Whole};
use crate::identity::{Identity, Rules};
use crate::platform;

/// An event with its headers.
#[derive(Debug)]
pub struct Delivery {
    head: http::response::Parts,
    body: Whole,
    request: RequestId,
    deadline_ms: u64,
}

/// An event without what every event of Lambda's has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("its event has no usable {0} header")]
pub struct MalformedEvent(HeaderName);

impl Delivery {
    /// Wraps an answer of Lambda's to `/next`.
    ///
    /// # Errors
    /// [`MalformedEvent`] if it names no request or no deadline.
    pub fn new(mut head: http::response::Parts, body: Whole) -> Result<Self, MalformedEvent> {
        platform::strip_hop_by_hop(&mut head.headers, Some(body.data.len()));
        let text = |name: HeaderName| head.headers.get(name).and_then(|text| text.to_str().ok());
        let request = text(platform::REQUEST_ID).filter(|text| platform::is_request_id(text));
        let request = RequestId::new(request.ok_or(MalformedEvent(platform::REQUEST_ID))?);
        let deadline_ms = text(platform::DEADLINE_MS).and_then(|text| text.parse().ok());
        let deadline_ms = deadline_ms.ok_or(MalformedEvent(platform::DEADLINE_MS))?;
        Ok(Self { head, body, request, deadline_ms })
    }

    /// The answer to the runtime's `/next`, again and again.
    #[must_use]
    pub fn response(&self) -> Response<Body> {
        Response::from_parts(self.head.clone(), Body::Whole(self.body.clone()))
    }

    /// Lambda's request ID.
    #[must_use]
    pub const fn request(&self) -> &RequestId {
        &self.request
    }

    /// Lambda's name for this one invocation, if it gave one.
    #[must_use]
    pub fn invocation(&self) -> Option<&HeaderValue> {
        self.head.headers.get(&platform::INVOCATION_ID)
    }

    /// When Lambda ends the invocation, in milliseconds since the epoch.
    #[must_use]
    pub const fn deadline_ms(&self) -> u64 {
        self.deadline_ms
    }

    /// Which transaction it belongs to.
    #[must_use]
    pub fn identity(&self, rules: &Rules) -> Identity {
        rules.identify(&self.body.data, &self.head.headers, &self.request)
    }

    /// Whether the function is a durable one: its checkpoint tokens are used once, so its events cannot be delivered
    /// again. Nothing in the environment says so.
    #[must_use]
    pub fn is_durable_execution(&self) -> bool {
        // Large events are the rule's exception, but parsing each of them for this would not be.
        memmem::find(&self.body.data, b"\"CheckpointToken\"").is_some()
            && serde_json::from_slice::<DurableExecution>(&self.body.data).is_ok()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(dead_code, reason = "only whether they are there matters")]
struct DurableExecution {
    durable_execution_arn: String,
    checkpoint_token: String,
    initial_execution_state: IgnoredAny,
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hyper::Response;

    use super::Delivery;
    use crate::body::Whole;

    fn delivery(body: &'static str, headers: &[(&'static str, &'static str)]) -> Result<Delivery, String> {
        let mut response = Response::new(());
        for (name, value) in headers {
            response.headers_mut().insert(*name, value.parse().unwrap());
        }
        Delivery::new(response.into_parts().0, Whole::from(Bytes::from(body))).map_err(|error| error.to_string())
    }

    const USUAL: [(&str, &str); 2] = [("lambda-runtime-aws-request-id", "r-1"), ("lambda-runtime-deadline-ms", "7")];

    #[test]
    fn an_event_names_its_request_and_its_deadline() {
        let event = delivery("{}", &USUAL).unwrap();
        assert_eq!((event.request().as_str(), event.deadline_ms()), ("r-1", 7));
        for broken in [&USUAL[..1], &USUAL[1..], &[USUAL[0], ("lambda-runtime-deadline-ms", "soon")]] {
            assert!(delivery("{}", broken).unwrap_err().contains("no usable lambda-runtime-"));
        }
    }

    /// Once, a number sign was taken in a request ID: the answer would have gone to the route of what stands before it.
    #[test]
    fn a_request_id_is_one_piece_of_a_path() {
        for id in ["r#1", "r?1", "r/1", "r 1", ""] {
            assert!(delivery("{}", &[("lambda-runtime-aws-request-id", id), USUAL[1]]).is_err(), "{id:?}");
        }
        assert!(
            delivery("{}", &[("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd"), USUAL[1]])
                .is_ok()
        );
    }

    #[test]
    fn a_durable_execution_is_known_by_its_event() {
        let durable =
            r#"{"DurableExecutionArn":"arn","CheckpointToken":"t","InitialExecutionState":{"Operations":[]}}"#;
        assert!(delivery(durable, &USUAL).unwrap().is_durable_execution());
        for other in [r#"{"CheckpointToken":"t"}"#, "{}", "", r#"{"detail":{"CheckpointToken":"t"}}"#] {
            assert!(!delivery(other, &USUAL).unwrap().is_durable_execution(), "{other}");
        }
    }
}
