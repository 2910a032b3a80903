//! Reading items attribute by attribute. Whatever is not as this version writes it is a fault that names the attribute;
//! nothing is guessed. Attributes with other names are other people's and left alone.

use std::collections::{BTreeSet, HashMap};
use std::str::FromStr;

use aft_protocol::id::MalformedId;
use aft_protocol::key::{InvalidKey, Key};
use aft_protocol::value::{ContentType, InvalidContentType, Value, ValueTooLarge};
use aft_protocol::version::{MalformedVersion, Version};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;

use super::error::one_line;

/// An item, or a map within one.
pub(super) type Item = HashMap<String, AttributeValue>;

/// What is wrong with an item.
#[derive(Debug, thiserror::Error)]
pub(super) enum Malformed {
    #[error("item {item:?}: {fault}")]
    Item { item: String, fault: Box<Malformed> },
    #[error(
        "it has no version (attribute `t`): another program wrote it. AFT neither reads nor overwrites it: \
         delete it, or write it through AFT"
    )]
    NotOurs,
    #[error("attribute `{0}` is missing")]
    Missing(&'static str),
    #[error("attribute `{name}` is not {expected}")]
    Type { name: &'static str, expected: &'static str },
    #[error("the store refused to move a head that is older than the move")]
    Contradiction,
    #[error("the store refused the write and did not say because of which item")]
    NoItem,
    #[error("the record's version is of another transaction")]
    OtherTransaction,
    #[error("{missing} of the {named} chunks that the record names are missing")]
    MissingChunks { missing: usize, named: usize },
    #[error("the stream's image of it is not DynamoDB's JSON: {}", one_line(&.0.to_string()))]
    Image(#[from] serde_json::Error),
    #[error("the stream's image of it has a binary attribute that is not in base64: {0}")]
    Base64(#[from] base64::DecodeError),
    #[error("its version is the one of what was never written")]
    Zero,
    #[error("the store answered with an item that was not asked for")]
    NotAsked,
    #[error("key {0:?} is written twice, by the record or its chunks")]
    WrittenTwice(Key),
    #[error("the record does not name this chunk, or names it once and it came twice")]
    NotNamed,
    #[error(transparent)]
    Version(#[from] MalformedVersion),
    #[error(transparent)]
    Id(#[from] MalformedId),
    #[error(transparent)]
    Key(#[from] InvalidKey),
    #[error(transparent)]
    Value(#[from] ValueTooLarge),
    #[error(transparent)]
    ContentType(#[from] InvalidContentType),
}

impl Malformed {
    /// The same, of this item.
    pub(super) fn of(self, item: &str) -> Self {
        Self::Item { item: item.to_owned(), fault: Box::new(self) }
    }
}

/// An item that is being taken apart.
#[derive(Debug)]
pub(super) struct Fields(Item);

impl Fields {
    pub(super) fn new(item: Item) -> Self {
        Self(item)
    }

    pub(super) fn take(&mut self, name: &'static str) -> Result<AttributeValue, Malformed> {
        self.0.remove(name).ok_or(Malformed::Missing(name))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(super) fn text(&mut self, name: &'static str) -> Result<String, Malformed> {
        match self.take(name)? {
            AttributeValue::S(text) => Ok(text),
            _ => Err(Malformed::Type { name, expected: "a string" }),
        }
    }

    pub(super) fn id<T: FromStr<Err = MalformedId>>(&mut self, name: &'static str) -> Result<T, Malformed> {
        Ok(self.text(name)?.parse()?)
    }

    /// [`Version::ZERO`] is the empty string, and nothing else.
    pub(super) fn version(&mut self, name: &'static str) -> Result<Version, Malformed> {
        let text = self.text(name)?;
        if text.is_empty() { Ok(Version::ZERO) } else { written(text.parse()?) }
    }

    /// The version of something that was written.
    pub(super) fn written_version(&mut self, name: &'static str) -> Result<Version, Malformed> {
        written(self.version(name)?)
    }

    pub(super) fn number<T: FromStr>(&mut self, name: &'static str) -> Result<T, Malformed> {
        let wrong = Malformed::Type { name, expected: "a whole number" };
        match self.take(name)? {
            AttributeValue::N(digits) => digits.parse().map_err(|_| wrong),
            _ => Err(wrong),
        }
    }

    pub(super) fn bytes(&mut self, name: &'static str) -> Result<Bytes, Malformed> {
        match self.take(name)? {
            AttributeValue::B(blob) => Ok(blob.into_inner().into()),
            _ => Err(Malformed::Type { name, expected: "binary" }),
        }
    }

    pub(super) fn map(&mut self, name: &'static str) -> Result<Item, Malformed> {
        match self.take(name)? {
            AttributeValue::M(map) => Ok(map),
            _ => Err(Malformed::Type { name, expected: "a map" }),
        }
    }

    /// A value and its content type, or `None` where a key is deleted or was never written.
    pub(super) fn value(&mut self, name: &'static str, type_name: &'static str) -> Result<Option<Value>, Malformed> {
        let content_type = self.text(type_name)?;
        match self.take(name)? {
            AttributeValue::B(blob) => Ok(Some(Value::new(blob.into_inner(), ContentType::new(&content_type)?)?)),
            AttributeValue::Null(true) if content_type.is_empty() => Ok(None),
            AttributeValue::Null(true) => {
                Err(Malformed::Type { name: type_name, expected: "empty, where there is no value" })
            }
            _ => Err(Malformed::Type { name, expected: "binary or null" }),
        }
    }
}

fn written(version: Version) -> Result<Version, Malformed> {
    if version.is_zero() { Err(Malformed::Zero) } else { Ok(version) }
}

/// A list of keys.
pub(super) fn keys(name: &'static str, list: Vec<AttributeValue>) -> Result<BTreeSet<Key>, Malformed> {
    let key = |value| match value {
        AttributeValue::S(text) => Ok(Key::new(text)?),
        _ => Err(Malformed::Type { name, expected: "a list of strings" }),
    };
    list.into_iter().map(key).collect()
}

pub(super) fn string(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

/// [`Version::ZERO`] is the empty string, which sorts below every other version's text too.
pub(super) fn version(version: Version) -> AttributeValue {
    string(if version.is_zero() { String::new() } else { version.to_string() })
}

pub(super) fn binary(bytes: &[u8]) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

pub(super) fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// A value and its content type as two attributes: null and empty where the key is deleted.
pub(super) fn value_and_type(value: Option<&Value>) -> (AttributeValue, AttributeValue) {
    match value {
        Some(value) => (binary(value.bytes()), string(value.content_type().as_str())),
        None => (AttributeValue::Null(true), string("")),
    }
}
