//! Lambda's Invoke API, as far as `aws lambda invoke` and curl use it.
//!
//! One thing is ours: a request header `X-Amzn-RequestId` chooses the request id. Two requests with one id are to the
//! function what a retry by Lambda is, which is how duplicates are made on purpose.

use std::sync::Arc;

use aft_protocol::id::RequestId;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::json;

use crate::api::{ACCOUNT, VERSION, header_text, json_response};
use crate::clock;
use crate::host::Shared;
use crate::invocation::{Invocation, InvocationKind, InvokeResult, MAX_PAYLOAD_BYTES, Refusal};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const INVOCATION_TYPE: HeaderName = HeaderName::from_static("x-amz-invocation-type");
const CLIENT_CONTEXT: HeaderName = HeaderName::from_static("x-amz-client-context");
const LOG_TYPE: HeaderName = HeaderName::from_static("x-amz-log-type");
const LOG_RESULT: HeaderName = HeaderName::from_static("x-amz-log-result");
const FUNCTION_ERROR: HeaderName = HeaderName::from_static("x-amz-function-error");
const EXECUTED_VERSION: HeaderName = HeaderName::from_static("x-amz-executed-version");

/// Characters that a request id of the caller's choice may have: it becomes part of a path that runtimes do not encode.
const MAX_REQUEST_ID_CHARACTERS: usize = 128;

pub(crate) fn routes(host: Arc<Shared>) -> Router {
    Router::new()
        .route("/2015-03-31/functions/{function}/invocations", post(invoke))
        .fallback(no_such_route)
        .with_state(host)
}

/// The path that invokes a function.
#[must_use]
pub(crate) fn path(function: &str) -> String {
    let function = percent_encoding::utf8_percent_encode(function, percent_encoding::NON_ALPHANUMERIC);
    format!("/2015-03-31/functions/{function}/invocations")
}

async fn invoke(
    State(host): State<Arc<Shared>>,
    Path(function): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let wants_tail = header_text(&headers, &LOG_TYPE) == Some("Tail");
    let invocation = match request(&host, &function, query.as_deref(), &headers, body).await {
        Ok(invocation) => invocation,
        Err(refusal) => return reply(InvokeResult::refused(&refusal, clock::request_id()), false),
    };
    reply(host.invoke(invocation).await, wants_tail)
}

async fn request(
    host: &Shared,
    function: &str,
    query: Option<&str>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Invocation, Refusal> {
    if !names(function, query, &host.config().function_name) {
        let arn = if function.starts_with("arn:") { function.to_owned() } else { arn(&host.config().region, function) };
        return Err(Refusal::FunctionNotFound { arn });
    }
    let request_id = match headers.get(&REQUEST_ID) {
        None => None,
        Some(id) => Some(chosen_request_id(id).ok_or(Refusal::InvalidHeader {
            header: "X-Amzn-RequestId",
            expected: "1 to 128 letters, digits and characters of -._:",
        })?),
    };
    let kind = match header_text(headers, &INVOCATION_TYPE) {
        None | Some("RequestResponse") => InvocationKind::RequestResponse,
        Some("Event") => InvocationKind::Event,
        Some("DryRun") => InvocationKind::DryRun,
        Some(_) => {
            return Err(Refusal::InvalidHeader {
                header: "X-Amz-Invocation-Type",
                expected: "RequestResponse, Event or DryRun",
            });
        }
    };
    let client_context = match headers.get(&CLIENT_CONTEXT) {
        None => None,
        Some(context) => Some(decoded_context(context).ok_or(Refusal::InvalidHeader {
            header: "X-Amz-Client-Context",
            expected: "Base64 of JSON that is printable and on one line",
        })?),
    };
    Ok(Invocation { payload: payload(body).await?, request_id, client_context, kind })
}

async fn payload(mut body: Body) -> Result<Bytes, Refusal> {
    let mut payload = Vec::new();
    let mut bytes = 0;
    // A connection that broke leaves JSON that does not parse, and nobody to tell.
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { continue };
        bytes += data.len();
        if bytes <= MAX_PAYLOAD_BYTES {
            payload.extend_from_slice(&data);
        }
    }
    if bytes > MAX_PAYLOAD_BYTES {
        return Err(Refusal::PayloadTooLarge { bytes, limit: MAX_PAYLOAD_BYTES });
    }
    Ok(payload.into())
}

fn chosen_request_id(id: &HeaderValue) -> Option<RequestId> {
    let id = id.to_str().ok()?;
    let allowed = |character: char| character.is_ascii_alphanumeric() || "-._:".contains(character);
    let usable = !id.is_empty() && id.len() <= MAX_REQUEST_ID_CHARACTERS && id.chars().all(allowed);
    usable.then(|| RequestId::new(id))
}

fn decoded_context(context: &HeaderValue) -> Option<String> {
    let context = String::from_utf8(STANDARD.decode(context).ok()?).ok()?;
    let usable =
        serde_json::from_str::<serde::de::IgnoredAny>(&context).is_ok() && HeaderValue::from_str(&context).is_ok();
    usable.then_some(context)
}

/// Whether a name, partial ARN or ARN, each with or without the qualifier `$LATEST`, names this function.
fn names(given: &str, query: Option<&str>, function: &str) -> bool {
    let qualifier =
        query.into_iter().flat_map(|query| query.split('&')).find_map(|pair| pair.strip_prefix("Qualifier="));
    if qualifier.is_some_and(|qualifier| !matches!(qualifier, VERSION | "%24LATEST")) {
        return false;
    }
    let given = given.rsplit_once(":function:").map_or(given, |(_, name)| name);
    match given.split_once(':') {
        Some((name, qualifier)) => name == function && qualifier == VERSION,
        None => given == function,
    }
}

/// A function's ARN.
pub(crate) fn arn(region: &str, function: &str) -> String {
    format!("arn:aws:lambda:{region}:{ACCOUNT}:function:{function}")
}

fn reply(result: InvokeResult, wants_tail: bool) -> Response {
    let status = StatusCode::from_u16(result.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let executed = (result.status < 300).then(|| VERSION.to_owned());
    let tail = wants_tail.then(|| STANDARD.encode(&result.log_tail));
    let headers = [
        (header::CONTENT_TYPE, (!result.payload.is_empty()).then(|| "application/json".to_owned())),
        (REQUEST_ID, Some(result.request_id.as_str().to_owned())),
        (EXECUTED_VERSION, executed),
        (FUNCTION_ERROR, result.function_error),
        (ERROR_TYPE, result.error_type.map(str::to_owned)),
        (LOG_RESULT, tail),
    ];
    let headers: HeaderMap =
        headers.into_iter().filter_map(|(name, text)| Some((name, HeaderValue::try_from(text?).ok()?))).collect();
    (status, headers, result.payload).into_response()
}

async fn no_such_route(State(host): State<Arc<Shared>>) -> Response {
    let message = format!("No such route here. To invoke the function: POST {}", path(&host.config().function_name));
    json_response(StatusCode::NOT_FOUND, &json!({ "Type": "User", "Message": message }))
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn a_function_goes_by_name_and_arn() {
        for given in [
            "transfer",
            "transfer:$LATEST",
            "000000000000:function:transfer",
            "arn:aws:lambda:us-east-1:000000000000:function:transfer",
            "arn:aws:lambda:us-east-1:000000000000:function:transfer:$LATEST",
        ] {
            assert!(names(given, None, "transfer"), "{given}");
        }
        assert!(names("transfer", Some("Qualifier=%24LATEST"), "transfer"));
        assert!(!names("transfer", Some("Qualifier=prod"), "transfer"));
        assert!(!names("transfer:prod", None, "transfer"));
        assert!(!names("other", None, "transfer"));
        assert!(names("function:$LATEST", None, "function"));
    }
}
