//! What all routes read from a request: keys, which attempt is meant, conditions, bodies with a limit.

use aft_protocol::id::{AttemptNumber, TransactionId};
use aft_protocol::isolation::Isolation;
use aft_protocol::key::Key;
use aft_protocol::value::ContentType;
use aft_protocol::wire::{ErrorCode, header as aft};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::Request;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, IF_MATCH, IF_NONE_MATCH};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

use super::reply::Refused;
use crate::session::{Named, Precondition};

/// A key, from its percent-encoded form.
pub(super) fn key(encoded: &str) -> Result<Key, Refused> {
    let malformed = |detail: String| Refused::new(ErrorCode::MalformedKey, detail);
    let bytes = encoded.as_bytes();
    for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%') {
        let digits = bytes.get(at + 1..at + 3).unwrap_or_default();
        if digits.len() != 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
            let found = String::from_utf8_lossy(bytes.get(at..(at + 3).min(bytes.len())).unwrap_or_default());
            return Err(malformed(format!("{found:?} is not a percent-encoded byte; a percent sign is written %25")));
        }
    }
    let text = percent_decode_str(encoded).decode_utf8();
    let text = text.map_err(|error| malformed(format!("the decoded key is not UTF-8: {error}")))?;
    checked_key(&text)
}

/// A key, from plain text.
pub(super) fn checked_key(text: &str) -> Result<Key, Refused> {
    Key::new(text).map_err(|error| Refused::new(ErrorCode::MalformedKey, error.to_string()))
}

/// Which attempt the request names, if it does.
pub(super) fn named(headers: &HeaderMap) -> Result<Named, Refused> {
    let malformed = |detail: String| Refused::new(ErrorCode::MalformedRequest, detail);
    let transaction = match headers.get(aft::TRANSACTION) {
        None => None,
        Some(text) => {
            let text = text.to_str().unwrap_or_default();
            Some(text.parse::<TransactionId>().map_err(|error| malformed(format!("X-Aft-Transaction: {error}")))?)
        }
    };
    let attempt = match headers.get(aft::ATTEMPT) {
        None => None,
        Some(text) => Some(
            attempt_number(text.to_str().unwrap_or_default())
                .ok_or_else(|| malformed(format!("X-Aft-Attempt is {text:?}; it must be a whole number from 1")))?,
        ),
    };
    Ok(Named { transaction, attempt })
}

/// `X-Aft-Isolation`.
pub(super) fn isolation(headers: &HeaderMap) -> Result<Option<Isolation>, Refused> {
    let Some(text) = headers.get(aft::ISOLATION) else { return Ok(None) };
    let level = isolation_level(text.to_str().unwrap_or_default());
    level.map(Some).map_err(|detail| Refused::new(ErrorCode::MalformedRequest, detail))
}

/// An isolation level by its name, or what is wrong with that.
pub(super) fn isolation_level(text: &str) -> Result<Isolation, String> {
    Isolation::parse(text).ok_or_else(|| format!("the isolation is {text:?}; it must be read-atomic or serializable"))
}

/// An attempt's number, from its decimal form.
pub(crate) fn attempt_number(text: &str) -> Option<AttemptNumber> {
    serde_json::from_str(text).ok().filter(|number| *number >= AttemptNumber::FIRST)
}

/// `If-Match` and `If-None-Match` of a write.
pub(super) fn precondition(headers: &HeaderMap) -> Result<Precondition, Refused> {
    let malformed = |detail: &str| Refused::new(ErrorCode::MalformedRequest, detail);
    match (headers.get(IF_MATCH), headers.get(IF_NONE_MATCH)) {
        (None, None) => Ok(Precondition::None),
        (Some(_), Some(_)) => Err(malformed("a write has If-Match or If-None-Match, not both")),
        (None, Some(none_match)) if none_match == "*" => Ok(Precondition::Absent),
        (None, Some(_)) => Err(malformed("If-None-Match on a write takes * only")),
        (Some(matches), None) if matches == "*" => Ok(Precondition::Exists),
        (Some(matches), None) => {
            let text = matches.to_str().map_err(|_| malformed("If-Match is not ASCII"))?;
            // Weak tags never match (RFC 9110, section 13.1.1).
            let strong = text.split(',').map(str::trim).filter(|tag| !tag.starts_with("W/"));
            let tags = strong.map(|tag| tag.strip_prefix('"')?.strip_suffix('"').map(str::to_owned));
            let tags: Option<Vec<_>> = tags.collect();
            tags.map(Precondition::Matches).ok_or_else(|| malformed("If-Match takes * or entity tags in double quotes"))
        }
    }
}

/// The content type of a value that is to be stored.
pub(super) fn content_type(headers: &HeaderMap) -> Result<ContentType, Refused> {
    match headers.get(CONTENT_TYPE) {
        None => Ok(ContentType::default()),
        Some(text) => checked_content_type(text.to_str().unwrap_or_default()),
    }
}

/// A content type, from plain text.
pub(super) fn checked_content_type(text: &str) -> Result<ContentType, Refused> {
    ContentType::new(text).map_err(|error| Refused::new(ErrorCode::InvalidContentType, error.to_string()))
}

/// A whole body of at most `limit` bytes; a larger one is refused with `too_large`, unread.
pub(super) async fn body(body: Incoming, limit: usize, too_large: ErrorCode) -> Result<Bytes, Refused> {
    let over =
        |bytes: String| Refused::new(too_large, format!("the body has {bytes} bytes; at most {limit} are allowed"));
    let announced = body.size_hint().lower();
    if announced > limit as u64 {
        return Err(over(announced.to_string()));
    }
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(over(format!("more than {limit}"))),
        Err(error) => Err(Refused::new(ErrorCode::MalformedRequest, format!("the body did not arrive whole: {error}"))),
    }
}

/// A JSON document of the form that the route takes.
pub(super) async fn json<T: DeserializeOwned>(request: Request<Incoming>, limit: usize) -> Result<T, Refused> {
    let bytes = body(request.into_body(), limit, ErrorCode::BodyTooLarge).await?;
    serde_json::from_slice(&bytes).map_err(|error| Refused::new(ErrorCode::MalformedBody, error.to_string()))
}

/// A batch must name at least one key and not too many.
pub(super) fn batch_size(keys: usize) -> Result<(), Refused> {
    match keys {
        0 => Err(Refused::new(ErrorCode::MalformedBody, "the batch is empty")),
        1..=aft_protocol::limits::BATCH_KEYS => Ok(()),
        many => {
            let most = aft_protocol::limits::BATCH_KEYS;
            Err(Refused::new(
                ErrorCode::TooManyKeys,
                format!("the batch names {many} keys; at most {most} are allowed"),
            ))
        }
    }
}
