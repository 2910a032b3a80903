//! Keys: 1 to 1,024 bytes of UTF-8, any characters.

use std::fmt;
use std::sync::Arc;

use crate::limits;

/// The name that a value is stored under. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

/// Text that cannot be a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// The text is empty.
    #[error("a key has at least one byte")]
    Empty,
    /// The text is too long.
    #[error("the key has {bytes} bytes of UTF-8; at most {} are allowed", limits::KEY_BYTES)]
    TooLong {
        /// The text's length.
        bytes: usize,
    },
}

impl Key {
    /// Checks and wraps a key.
    ///
    /// # Errors
    /// [`InvalidKey`] if the text is empty or longer than [`limits::KEY_BYTES`].
    pub fn new(text: impl Into<Arc<str>>) -> Result<Self, InvalidKey> {
        let text = text.into();
        match text.len() {
            0 => Err(InvalidKey::Empty),
            bytes if bytes > limits::KEY_BYTES => Err(InvalidKey::TooLong { bytes }),
            _ => Ok(Self(text)),
        }
    }

    /// The key's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{InvalidKey, Key};

    #[test]
    fn length_is_counted_in_bytes() {
        assert_eq!(Key::new(""), Err(InvalidKey::Empty));
        assert!(Key::new("k".repeat(1_024)).is_ok());
        assert_eq!(Key::new("k".repeat(1_025)), Err(InvalidKey::TooLong { bytes: 1_025 }));
        assert_eq!(Key::new("é".repeat(513)), Err(InvalidKey::TooLong { bytes: 1_026 }));
    }
}
