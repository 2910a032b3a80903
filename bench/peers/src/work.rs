//! What one request asks of a function.

use serde::{Deserialize, Serialize};

/// The event.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    /// Who it is, for systems that want to know.
    pub request: String,
    /// Keys to read, one after the other, before the writes.
    pub reads: Vec<String>,
    /// Keys to write.
    pub writes: Vec<String>,
    /// How large each value is.
    pub bytes: usize,
}

/// What every function answers: 100 bytes, as a document.
pub const RESPONSE: &str =
    "rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr";

/// A value of so many bytes.
#[must_use]
pub fn value(bytes: usize) -> Vec<u8> {
    vec![b'v'; bytes]
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_response_has_the_length_that_the_documents_say() {
        assert_eq!(super::RESPONSE.len() + "\"\"".len(), 100);
    }
}
