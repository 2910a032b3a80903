//! Lambda's Runtime API, version 2018-06-01: its routes, its headers, and the documents that it answers with.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use aft_protocol::id::RequestId;
use aft_protocol::limits;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::header::{self, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{HeaderMap, Response, StatusCode, Uri};
use serde::Deserialize;

use crate::body::Body;

/// What every route of an invocation begins with.
pub const INVOCATION: &str = "/2018-06-01/runtime/invocation/";
/// The next event.
pub const NEXT: &str = "/2018-06-01/runtime/invocation/next";
/// The runtime is ready for a snapshot, and waits for a restore.
pub const RESTORE_NEXT: &str = "/2018-06-01/runtime/restore/next";
/// The runtime could not start.
pub const INIT_ERROR: &str = "/2018-06-01/runtime/init/error";

/// Names the request.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("lambda-runtime-aws-request-id");
/// Names one invocation for it.
pub const INVOCATION_ID: HeaderName = HeaderName::from_static("lambda-runtime-invocation-id");
/// When Lambda ends the invocation, in milliseconds since the epoch.
pub const DEADLINE_MS: HeaderName = HeaderName::from_static("lambda-runtime-deadline-ms");
/// An error's type: a header of `/error`, or a trailer of a streamed response.
pub const ERROR_TYPE: HeaderName = HeaderName::from_static("lambda-runtime-function-error-type");
/// An error's document in base64: a trailer of a streamed response.
pub const ERROR_BODY: HeaderName = HeaderName::from_static("lambda-runtime-function-error-body");
/// `streaming`, or nothing.
pub const RESPONSE_MODE: HeaderName = HeaderName::from_static("lambda-runtime-function-response-mode");

/// The media type of a streamed HTTP response with its status and headers in front.
const STREAMED_HTTP: &[u8] = b"application/vnd.awslambda.http-integration-response";
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Whether a text can stand in the route of its invocation, as one piece, and is still itself there.
#[must_use]
pub fn is_request_id(text: &str) -> bool {
    let route = format!("{INVOCATION}{text}/response");
    let parsed = route.parse::<Uri>();
    !text.is_empty() && !text.contains('/') && parsed.is_ok_and(|uri| uri.path() == route && uri.query().is_none())
}

/// `application/json` of an error, as Lambda writes it.
#[must_use]
pub fn error_document(kind: &str, message: &str) -> Bytes {
    serde_json::json!({ "errorMessage": message, "errorType": kind }).to_string().into()
}

/// `application/json` of an error, as runtimes post it.
#[must_use]
pub fn posted_error(kind: &str, message: &str) -> Bytes {
    serde_json::json!({ "errorMessage": message, "errorType": kind, "stackTrace": [] }).to_string().into()
}

/// 202: the post was taken.
#[must_use]
pub fn accepted() -> Response<Body> {
    json(StatusCode::ACCEPTED, Bytes::from_static(br#"{"status":"OK"}"#))
}

/// 200: the restore has been.
#[must_use]
pub fn restored() -> Response<Body> {
    json(StatusCode::OK, Bytes::from_static(b"{}"))
}

/// A refusal, in Lambda's form.
#[must_use]
pub fn refused(status: StatusCode, kind: &str, message: &str) -> Response<Body> {
    json(status, error_document(kind, message))
}

/// 413, in Lambda's words.
#[must_use]
pub fn too_large() -> Response<Body> {
    let message = format!("Exceeded maximum allowed payload size ({} bytes).", limits::RESPONSE_BYTES);
    refused(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", &message)
}

fn json(status: StatusCode, document: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::Whole(document.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// The headers of an error of our own.
#[must_use]
pub fn error_headers(kind: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, JSON), (ERROR_TYPE, HeaderValue::from_static(kind))])
}

/// Whether a streamed response ended in an error.
#[must_use]
pub fn ended_in_error(trailers: Option<&HeaderMap>) -> bool {
    trailers.is_some_and(|trailers| trailers.contains_key(&ERROR_TYPE))
}

/// What the runtime calls its error: the header's text, and the document's `errorType`.
#[must_use]
pub fn error_types(headers: &HeaderMap, document: &[u8]) -> Vec<String> {
    #[derive(Deserialize)]
    struct Document {
        #[serde(rename = "errorType")]
        kind: String,
    }
    let header = headers.get(&ERROR_TYPE).and_then(|kind| kind.to_str().ok()).map(str::to_owned);
    let document = serde_json::from_slice::<Document>(document).ok().map(|document| document.kind);
    header.into_iter().chain(document).collect()
}

/// Whether the runtime sends this response as a stream.
#[must_use]
pub fn is_streamed(headers: &HeaderMap) -> bool {
    headers.get(&RESPONSE_MODE).is_some_and(|mode| mode.as_bytes().eq_ignore_ascii_case(b"streaming"))
}

/// The trailers that end a streamed response in an error of our own.
#[must_use]
pub fn error_trailers(kind: &'static str, message: &str) -> HeaderMap {
    let document = STANDARD.encode(posted_error(kind, message));
    let document = HeaderValue::from_str(&document).ok().map(|document| (ERROR_BODY, document));
    std::iter::once((ERROR_TYPE, HeaderValue::from_static(kind))).chain(document).collect()
}

/// Whether this response's headers say that it is streamed, or its type that it must have been.
#[must_use]
pub fn is_streaming(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE);
    is_streamed(headers) || kind.is_some_and(|kind| kind.as_bytes() == STREAMED_HTTP)
}

/// Takes out the headers that belong to one connection, and a length that is not the body's. All others stay in their order.
pub fn strip_hop_by_hop(headers: &mut HeaderMap, length: Option<usize>) {
    let named = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|names| names.to_str().ok())
        .flat_map(|names| names.split(','))
        .filter_map(|name| name.trim().parse().ok());
    let ours = [header::CONNECTION, header::TRANSFER_ENCODING, header::TE, header::UPGRADE];
    let others = ["keep-alive", "proxy-connection"].map(HeaderName::from_static);
    let mut gone: Vec<HeaderName> = named.chain(ours).chain(others).collect();
    if let Some(length) = length
        && headers.get(header::CONTENT_LENGTH).is_some_and(|said| said.as_bytes() != length.to_string().as_bytes())
    {
        gone.push(header::CONTENT_LENGTH);
    }
    if !gone.iter().any(|name| headers.contains_key(name)) {
        return;
    }
    // `HeaderMap::remove` would move the last header into the place of the one removed.
    let mut current = None;
    for (name, value) in std::mem::take(headers) {
        // A further value of the same name comes without it.
        current = name.or(current);
        if let Some(name) = current.as_ref().filter(|name| !gone.contains(name)) {
            headers.append(name, value);
        }
    }
}

/// What Lambda says of a runtime process that ended.
#[must_use]
pub fn exit_message(request: Option<&RequestId>, status: Option<ExitStatus>) -> String {
    let said = match status {
        Some(status) if status.success() => "Runtime exited without providing a reason".to_owned(),
        Some(status) => format!("Runtime exited with error: {}", describe(status)),
        None => "Runtime exited with error: status unknown".to_owned(),
    };
    match request {
        Some(request) => format!("RequestId: {request} Error: {said}"),
        None => said,
    }
}

/// "exit status 1" or "signal: killed", as Lambda says it.
fn describe(status: ExitStatus) -> String {
    let Some(signal) = status.signal() else {
        return format!("exit status {}", status.code().unwrap_or_default());
    };
    let name = match signal {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        5 => "trace/breakpoint trap",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        11 => "segmentation fault",
        13 => "broken pipe",
        15 => "terminated",
        other => return format!("signal: {other}"),
    };
    format!("signal: {name}")
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use aft_protocol::id::RequestId;
    use hyper::HeaderMap;
    use hyper::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, TRANSFER_ENCODING};

    use super::{error_types, exit_message, is_streaming, strip_hop_by_hop};

    #[test]
    fn exits_are_told_in_lambdas_words() {
        let request = RequestId::new("r-1");
        for (raw, said) in [
            (0, "RequestId: r-1 Error: Runtime exited without providing a reason"),
            (1 << 8, "RequestId: r-1 Error: Runtime exited with error: exit status 1"),
            (9, "RequestId: r-1 Error: Runtime exited with error: signal: killed"),
            (11, "RequestId: r-1 Error: Runtime exited with error: signal: segmentation fault"),
        ] {
            assert_eq!(exit_message(Some(&request), Some(ExitStatus::from_raw(raw))), said);
        }
    }

    #[test]
    fn only_what_belongs_to_the_connection_is_taken_out() {
        let value = HeaderValue::from_static;
        let mut headers = HeaderMap::from_iter([
            (CONNECTION, value("close, X-Hop")),
            (HeaderName::from_static("x-hop"), value("1")),
            (TRANSFER_ENCODING, value("chunked")),
            (CONTENT_LENGTH, value("3")),
            (CONTENT_TYPE, value("text/plain")),
        ]);
        strip_hop_by_hop(&mut headers, Some(3));
        assert_eq!(headers.len(), 2, "{headers:?}");
        strip_hop_by_hop(&mut headers, Some(4));
        assert_eq!(headers, HeaderMap::from_iter([(CONTENT_TYPE, value("text/plain"))]));
    }

    #[test]
    fn an_error_has_a_type_in_its_header_and_one_in_its_document() {
        let header = HeaderMap::from_iter([(super::ERROR_TYPE, HeaderValue::from_static("Unhandled"))]);
        assert_eq!(error_types(&header, br#"{"errorType": "ValueError", "x": 1}"#), ["Unhandled", "ValueError"]);
        assert_eq!(error_types(&header, b"{"), ["Unhandled"]);
        assert_eq!(error_types(&HeaderMap::new(), b"[]"), [""; 0]);
    }

    #[test]
    fn what_stays_keeps_its_order() {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("x-a", "1"), ("connection", "close"), ("x-b", "2"), ("te", "x"), ("x-b", "3"), ("x-c", "4")]
        {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        strip_hop_by_hop(&mut headers, None);
        let left: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(left, [("x-a", "1"), ("x-b", "2"), ("x-b", "3"), ("x-c", "4")]);
    }

    #[test]
    fn a_recorded_http_stream_is_known_by_its_type() {
        let kind = |text| HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(text))]);
        assert!(is_streaming(&kind("application/vnd.awslambda.http-integration-response")));
        assert!(!is_streaming(&kind("application/json")));
    }
}
