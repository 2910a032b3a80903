//! Identifiers, versions, keys, content types, and the words of settings and headers.
//!
//! What is accepted is written back as it was read, and sorts as what it stands for; everything else is an error of one line.

use std::fmt::Display;
use std::str::FromStr;

use aft_protocol::id::{Fingerprint, Nonce, Parts, SandboxId, TransactionId};
use aft_protocol::isolation::Isolation;
use aft_protocol::key::Key;
use aft_protocol::limits;
use aft_protocol::settings::LogLevel;
use aft_protocol::value::ContentType;
use aft_protocol::version::{Clock, Timestamp, Version};
use aft_protocol::wire::Outcome;
use hyper::header::HeaderValue;

/// The target: the bytes as each of these, and two versions out of them.
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let fixed = |bytes: usize| move |text: &str| text.len() == bytes;
    parses_canonically::<TransactionId>(&text, fixed(26));
    parses_canonically::<SandboxId>(&text, fixed(26));
    parses_canonically::<Nonce>(&text, fixed(26));
    parses_canonically::<Fingerprint>(&text, fixed(26));
    parses_canonically::<Version>(&text, fixed(40));
    parses_canonically::<Outcome>(&text, |_| true);
    assert!(Isolation::parse(&text).is_none_or(|level| level.as_str() == text));
    assert!(LogLevel::parse(&text).is_none_or(|level| level.name() == text));
    if let Ok(id) = serde_json::from_slice::<TransactionId>(data) {
        assert_eq!(serde_json::from_str::<TransactionId>(&serde_json::to_string(&id).unwrap()).unwrap(), id);
    }
    key(&text);
    content_type(&text);
    let mut numbers = data.chunks(24).map(|chunk| {
        let mut bytes = [0; 24];
        bytes[..chunk.len()].copy_from_slice(chunk);
        let (micros, transaction) = bytes.split_at(8);
        (u64::from_be_bytes(micros.try_into().unwrap()), u128::from_be_bytes(transaction.try_into().unwrap()))
    });
    if let (Some(one), Some(other)) = (numbers.next(), numbers.next()) {
        versions(one, other);
    }
    let half = data.len() / 2;
    parts(&[&data[..half], &data[half..]], &[&data[..half / 2], &data[half / 2..]]);
}

/// Whoever parses a text gets back that very text, if anything.
pub fn parses_canonically<T>(text: &str, fits: impl Fn(&str) -> bool)
where
    T: FromStr + Display,
    T::Err: Display,
{
    match text.parse::<T>() {
        Ok(parsed) => {
            assert_eq!(parsed.to_string(), text, "another text for the same");
            assert!(fits(text), "{text:?}");
        }
        Err(error) => assert_eq!(error.to_string().lines().count(), 1, "{error}"),
    }
}

/// A key is 1 to 1,024 bytes of UTF-8, unchanged.
pub fn key(text: &str) {
    let allowed = (1..=limits::KEY_BYTES).contains(&text.len());
    match Key::new(text) {
        Ok(key) => assert!(allowed && key.as_str() == text),
        Err(error) => assert!(!allowed && error.to_string().lines().count() == 1, "{error}"),
    }
}

/// What is taken as a content type comes through a header as it is: HTTP takes the spaces around a field's value away.
pub fn content_type(text: &str) {
    let Ok(content_type) = ContentType::new(text) else { return };
    assert_eq!(content_type.as_str(), text);
    assert_eq!(text.trim(), text, "a header would say another content type");
    assert_eq!(HeaderValue::from_str(text).unwrap().to_str().unwrap(), text);
}

/// Texts sort as versions do, come back, and a clock that has seen both is past both (R-COMMIT-3).
pub fn versions(one: (u64, u128), other: (u64, u128)) {
    let [one, other] = [one, other].map(|(micros, transaction)| {
        Version::new(Timestamp::from_micros(micros), TransactionId::from_bits(transaction))
    });
    let texts = [one.to_string(), other.to_string()];
    assert_eq!(texts[0].cmp(&texts[1]), one.cmp(&other));
    assert_eq!([texts[0].parse(), texts[1].parse()], [Ok(one), Ok(other)]);
    let mut clock = Clock::default();
    clock.observe(one);
    clock.observe(other);
    let tick = clock.tick(Timestamp::ZERO);
    assert!(tick > one.timestamp() && tick > other.timestamp());
}

/// Two lists of parts have one name if and only if they are the same list.
pub fn parts(some: &[&[u8]], others: &[&[u8]]) {
    let name = |parts: &[&[u8]]| parts.iter().fold(Parts::new("fuzz"), |all, part| all.with(part)).transaction();
    assert_eq!(name(some) == name(others), some == others);
}
