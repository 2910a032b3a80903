//! Values: bytes with a content type.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::limits;

/// What a key holds. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Value {
    bytes: Bytes,
    content_type: ContentType,
}

/// Bytes that cannot be a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the value has {bytes} bytes; at most {} are allowed", limits::VALUE_BYTES)]
pub struct ValueTooLarge {
    /// The value's length.
    pub bytes: usize,
}

impl Value {
    /// Checks and wraps a value.
    ///
    /// # Errors
    /// [`ValueTooLarge`] above [`limits::VALUE_BYTES`].
    pub fn new(bytes: impl Into<Bytes>, content_type: ContentType) -> Result<Self, ValueTooLarge> {
        let bytes = bytes.into();
        if bytes.len() > limits::VALUE_BYTES {
            return Err(ValueTooLarge { bytes: bytes.len() });
        }
        Ok(Self { bytes, content_type })
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What the value weighs, in bytes: itself and its content type.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.bytes.len() + self.content_type.0.len()
    }

    /// Their content type.
    #[must_use]
    pub fn content_type(&self) -> &ContentType {
        &self.content_type
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values are users' data: length and type are enough for a log.
        write!(f, "Value({} bytes, {})", self.bytes.len(), self.content_type)
    }
}

/// A media type as the writer gave it, kept and returned byte for byte.
#[derive(Clone, PartialEq, Eq)]
pub struct ContentType(Arc<str>);

/// Text that cannot be a content type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a content type is 1 to {} visible ASCII characters, without spaces around them", limits::CONTENT_TYPE_BYTES)]
pub struct InvalidContentType;

impl ContentType {
    /// Checks and wraps a content type.
    ///
    /// # Errors
    /// [`InvalidContentType`] if it is empty, too long, or could not stand in a header as it is.
    pub fn new(text: &str) -> Result<Self, InvalidContentType> {
        let visible = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        // The spaces around a header's value are no part of it.
        if text.is_empty() || text.trim() != text || text.len() > limits::CONTENT_TYPE_BYTES || !visible {
            return Err(InvalidContentType);
        }
        Ok(Self(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for ContentType {
    fn default() -> Self {
        Self("application/octet-stream".into())
    }
}

impl fmt::Debug for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{ContentType, Value};
    use crate::limits::VALUE_BYTES;

    #[test]
    fn a_value_over_the_limit_is_refused_with_its_size() {
        assert!(Value::new(vec![0; VALUE_BYTES], ContentType::default()).is_ok());
        let error = Value::new(vec![0; VALUE_BYTES + 1], ContentType::default()).unwrap_err();
        assert_eq!(error.to_string(), "the value has 196609 bytes; at most 196608 are allowed");
    }

    #[test]
    fn a_content_type_must_be_able_to_stand_in_a_header() {
        assert!(ContentType::new("text/plain; charset=utf-8").is_ok());
        // The last two: once, they were taken, and a reader's header said another content type than was stored.
        for text in ["", " ", "a\r\nb", "té", &"x".repeat(257), " text/plain", "text/plain "] {
            assert!(ContentType::new(text).is_err(), "{text:?}");
        }
    }
}
