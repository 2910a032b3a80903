//! Lambda's Extensions API, version 2020-01-01, for one sandbox; and the refusal of the Telemetry API.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post, put};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{ACCOUNT, Api, VERSION, error_response, header_text, json_response, ok, refused};
use crate::clock;
use crate::lifecycle::{ExtensionEvent, Subscription};

const NAME: HeaderName = HeaderName::from_static("lambda-extension-name");
const IDENTIFIER: HeaderName = HeaderName::from_static("lambda-extension-identifier");
const ERROR_TYPE: HeaderName = HeaderName::from_static("lambda-extension-function-error-type");

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/2020-01-01/extension/register", post(register))
        .route("/2020-01-01/extension/event/next", get(next))
        .route("/2020-01-01/extension/init/error", post(failed))
        .route("/2020-01-01/extension/exit/error", post(failed))
        .route("/2020-08-15/logs", put(telemetry))
        .route("/2022-07-01/telemetry", put(telemetry))
}

#[derive(Deserialize)]
struct Registration {
    #[serde(default)]
    events: Vec<String>,
}

async fn register(State(api): State<Arc<Api>>, headers: HeaderMap, body: Bytes) -> Response {
    let Some(name) = header_text(&headers, &NAME).filter(|name| !name.is_empty()) else {
        return bad_request("Extension.InvalidExtensionName", "The Lambda-Extension-Name header is missing");
    };
    let Ok(registration) = serde_json::from_slice::<Registration>(&body) else {
        return bad_request("InvalidRequestFormat", "The body is not {\"events\": [...]}");
    };
    let mut subscriptions = BTreeSet::new();
    for event in &registration.events {
        subscriptions.insert(match event.as_str() {
            "INVOKE" => Subscription::Invoke,
            "SHUTDOWN" => Subscription::Shutdown,
            _ => return bad_request("Extension.InvalidEventType", "Events are INVOKE and SHUTDOWN"),
        });
    }
    let id = clock::uuid();
    let registered = api.lifecycle.update(|lifecycle| lifecycle.register(id.clone(), name.to_owned(), subscriptions));
    if let Err(refusal) = registered {
        return refused(refusal);
    }
    let mut response = json_response(
        StatusCode::OK,
        &json!({
            "functionName": api.function.name,
            "functionVersion": VERSION,
            "handler": api.function.handler,
            "accountId": ACCOUNT,
        }),
    );
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().insert(IDENTIFIER, id);
    }
    response
}

/// Waits, without a limit, for the extension's next event.
async fn next(State(api): State<Arc<Api>>, headers: HeaderMap) -> Response {
    let Some(id) = header_text(&headers, &IDENTIFIER) else { return without_identifier() };
    if let Err(refusal) = api.lifecycle.update(|lifecycle| lifecycle.extension_asks(id)) {
        return refused(refusal);
    }
    let mut call = OpenCall { api: &api, id, answered: false };
    let event = api.lifecycle.until(|lifecycle| lifecycle.take_extension_event(id)).await;
    call.answered = true;
    json_response(StatusCode::OK, &document(&event, &api.function.arn))
}

/// A `/next` that waits. Dropped unanswered if the extension hangs up.
struct OpenCall<'a> {
    api: &'a Api,
    id: &'a str,
    answered: bool,
}

impl Drop for OpenCall<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.api.lifecycle.update(|lifecycle| lifecycle.extension_hung_up(self.id));
        }
    }
}

fn document(event: &ExtensionEvent, arn: &str) -> Value {
    match event {
        ExtensionEvent::Invoke(event) => json!({
            "eventType": "INVOKE",
            "deadlineMs": event.deadline_ms,
            "requestId": event.request.id.as_str(),
            "invokedFunctionArn": arn,
            "tracing": { "type": "X-Amzn-Trace-Id", "value": event.trace_id },
        }),
        ExtensionEvent::Shutdown { reason, deadline_ms } => json!({
            "eventType": "SHUTDOWN",
            "shutdownReason": reason.as_str(),
            "deadlineMs": deadline_ms,
        }),
    }
}

/// `init/error` and `exit/error`: nothing that the extension calls afterwards succeeds.
async fn failed(State(api): State<Arc<Api>>, headers: HeaderMap) -> Response {
    let Some(id) = header_text(&headers, &IDENTIFIER) else { return without_identifier() };
    let Some(error_type) = header_text(&headers, &ERROR_TYPE) else {
        return bad_request("Extension.MissingHeader", "The Lambda-Extension-Function-Error-Type header is missing");
    };
    match api.lifecycle.update(|lifecycle| lifecycle.extension_failed(id, error_type.to_owned())) {
        Err(refusal) => refused(refusal),
        Ok(()) => ok(),
    }
}

/// As AWS's own emulator answers: accepted, and nothing will come.
async fn telemetry() -> Response {
    error_response(StatusCode::ACCEPTED, "Telemetry.NotSupported", "The Telemetry API is not supported here")
}

fn without_identifier() -> Response {
    error_response(
        StatusCode::FORBIDDEN,
        "Extension.MissingExtensionIdentifier",
        "The Lambda-Extension-Identifier header is missing",
    )
}

fn bad_request(error_type: &str, message: &str) -> Response {
    error_response(StatusCode::BAD_REQUEST, error_type, message)
}
