//! Lambda's Runtime API, version 2018-06-01, for one sandbox.

use std::sync::Arc;

use aft_protocol::id::RequestId;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use serde_json::json;

use crate::api::{Api, error_response, header_text, json_response, ok, refused};
use crate::invocation::{Answer, Event, MAX_RESPONSE_BYTES, MAX_STREAMED_RESPONSE_BYTES};

const REQUEST_ID: HeaderName = HeaderName::from_static("lambda-runtime-aws-request-id");
const INVOCATION_ID: HeaderName = HeaderName::from_static("lambda-runtime-invocation-id");
const DEADLINE_MS: HeaderName = HeaderName::from_static("lambda-runtime-deadline-ms");
const FUNCTION_ARN: HeaderName = HeaderName::from_static("lambda-runtime-invoked-function-arn");
const TRACE_ID: HeaderName = HeaderName::from_static("lambda-runtime-trace-id");
const CLIENT_CONTEXT: HeaderName = HeaderName::from_static("lambda-runtime-client-context");
const RESPONSE_MODE: HeaderName = HeaderName::from_static("lambda-runtime-function-response-mode");
const ERROR_TYPE: HeaderName = HeaderName::from_static("lambda-runtime-function-error-type");
const ERROR_BODY: HeaderName = HeaderName::from_static("lambda-runtime-function-error-body");

/// Where a sandbox's keys are to be had under SnapStart.
pub(crate) const CREDENTIALS: &str = "/2021-04-23/credentials";

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{request_id}/response", post(response))
        .route("/2018-06-01/runtime/invocation/{request_id}/error", post(error))
        .route("/2018-06-01/runtime/init/error", post(init_error))
        .route("/2018-06-01/runtime/restore/next", get(restore_next))
        .route("/2018-06-01/runtime/restore/error", post(restore_error))
        .route(CREDENTIALS, get(credentials))
}

/// Waits, without a limit, for the open invocation's event.
async fn next(State(api): State<Arc<Api>>) -> Response {
    if let Err(refusal) = api.lifecycle.update(|lifecycle| lifecycle.runtime_asks()) {
        return refused(refusal);
    }
    let event = api.lifecycle.until(|lifecycle| lifecycle.take_event()).await;
    (event_headers(&event, &api.function.arn), event.request.payload.clone()).into_response()
}

fn event_headers(event: &Event, arn: &str) -> HeaderMap {
    let deadline = event.deadline_ms.to_string();
    let texts = [
        (http::header::CONTENT_TYPE, "application/json"),
        (REQUEST_ID, event.request.id.as_str()),
        (INVOCATION_ID, &event.invocation_id),
        (DEADLINE_MS, &deadline),
        (FUNCTION_ARN, arn),
        (TRACE_ID, &event.trace_id),
    ];
    let context = event.request.client_context.as_deref().map(|context| (CLIENT_CONTEXT, context));
    let texts = texts.into_iter().chain(context);
    // Every text was checked where it came in, or is our own.
    texts.filter_map(|(name, text)| Some((name, HeaderValue::from_str(text).ok()?))).collect()
}

async fn response(
    State(api): State<Arc<Api>>,
    Path(request): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let request = RequestId::new(request);
    let invocation = header_text(&headers, &INVOCATION_ID);
    let streaming = header_text(&headers, &RESPONSE_MODE) == Some("streaming");
    let limit = if streaming { MAX_STREAMED_RESPONSE_BYTES } else { MAX_RESPONSE_BYTES };
    if let Err(refusal) = api.lifecycle.read(|lifecycle| lifecycle.may_answer(&request, invocation)) {
        return refused(refusal);
    }
    let Some(received) = receive(body, limit).await else {
        return error_response(StatusCode::BAD_REQUEST, "Runtime.TruncatedResponse", "The body ended early");
    };
    let too_large = received.body.is_none();
    let answer = match received.body {
        None => Answer::response_too_large(limit),
        Some(_) if received.trailers.contains_key(ERROR_TYPE) => Answer::reported(trailing_error(&received.trailers)),
        Some(body) => Answer::response(body),
    };
    match api.lifecycle.update(|lifecycle| lifecycle.answer(&request, invocation, answer)) {
        Err(refusal) => refused(refusal),
        Ok(()) if too_large => error_response(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestEntityTooLarge",
            &format!("Exceeded maximum allowed payload size ({limit} bytes)."),
        ),
        Ok(()) => ok(),
    }
}

async fn error(State(api): State<Arc<Api>>, Path(request): Path<String>, headers: HeaderMap, body: Body) -> Response {
    let request = RequestId::new(request);
    let Some(answer) = reported_error(&headers, body).await else {
        return error_response(StatusCode::BAD_REQUEST, "Runtime.TruncatedError", "The body ended early");
    };
    let invocation = header_text(&headers, &INVOCATION_ID);
    match api.lifecycle.update(|lifecycle| lifecycle.answer(&request, invocation, answer)) {
        Err(refusal) => refused(refusal),
        Ok(()) => ok(),
    }
}

async fn init_error(State(api): State<Arc<Api>>, headers: HeaderMap, body: Body) -> Response {
    let Some(document) = reported_error(&headers, body).await else {
        return error_response(StatusCode::BAD_REQUEST, "Runtime.TruncatedError", "The body ended early");
    };
    match api.lifecycle.update(|lifecycle| lifecycle.runtime_init_failed(document)) {
        Err(refusal) => refused(refusal),
        Ok(()) => ok(),
    }
}

/// Waits, without a limit, until the sandbox is restored from its snapshot.
async fn restore_next(State(api): State<Arc<Api>>) -> Response {
    if let Err(refusal) = api.lifecycle.update(|lifecycle| lifecycle.runtime_asks_for_restore()) {
        return refused(refusal);
    }
    api.lifecycle.until(|lifecycle| lifecycle.is_restored().then_some(())).await;
    json_response(StatusCode::OK, &json!({}))
}

async fn restore_error(State(api): State<Arc<Api>>, headers: HeaderMap, body: Body) -> Response {
    init_error(State(api), headers, body).await
}

async fn credentials(State(api): State<Arc<Api>>, headers: HeaderMap) -> Response {
    match &api.credentials {
        Some(credentials) if header_text(&headers, &AUTHORIZATION) == Some(&credentials.token) => {
            json_response(StatusCode::OK, &credentials.document)
        }
        Some(_) | None => error_response(StatusCode::NOT_FOUND, "NotFound", "No credentials for this token"),
    }
}

/// The error that the runtime reports: the body as it came, or what the header says if there is no (usable) body.
async fn reported_error(headers: &HeaderMap, body: Body) -> Option<Answer> {
    let body = receive(body, MAX_RESPONSE_BYTES).await?.body.unwrap_or_default();
    if !body.is_empty() {
        return Some(Answer::reported(body));
    }
    let error_type = header_text(headers, &ERROR_TYPE).unwrap_or("Runtime.Unknown");
    Some(Answer::reported(json!({ "errorType": error_type }).to_string().into()))
}

/// The error that ends a stream: Base64 in a trailer.
fn trailing_error(trailers: &HeaderMap) -> Bytes {
    let decoded = trailers.get(ERROR_BODY).and_then(|body| STANDARD.decode(body).ok());
    let error_type = header_text(trailers, &ERROR_TYPE).unwrap_or("Runtime.Unknown");
    decoded.unwrap_or_else(|| json!({ "errorType": error_type }).to_string().into_bytes()).into()
}

struct Received {
    /// `None` if it was larger than the limit.
    body: Option<Bytes>,
    trailers: HeaderMap,
}

/// Reads a body to its end, so that the other side can read the reply, but keeps at most `limit` bytes. `None` if the
/// connection broke.
async fn receive(mut body: Body, limit: usize) -> Option<Received> {
    let mut kept = BytesMut::new();
    let mut too_large = false;
    let mut trailers = HeaderMap::new();
    while let Some(frame) = body.frame().await {
        match frame.ok()?.into_data() {
            Ok(data) => {
                too_large |= kept.len() + data.len() > limit;
                if !too_large {
                    kept.extend_from_slice(&data);
                }
            }
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    Some(Received { body: (!too_large).then(|| kept.freeze()), trailers })
}
