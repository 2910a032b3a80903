//! What a request asks of a function, and what the function answers.

use serde::{Deserialize, Serialize};

/// The event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Who it is, for systems that want to know.
    pub request: String,
    /// The invocation's number, which is in every value that it writes.
    pub number: u64,
    /// When it was made, in microseconds of the machine's monotonic clock; in every value, too: the order of versions where a system has none.
    pub at: u64,
    /// Keys to read, one after the other, before the writes.
    pub reads: Vec<String>,
    /// Keys to write.
    pub writes: Vec<String>,
    /// How large each value is.
    pub bytes: usize,
    /// How long the handler works on its own before it writes, in milliseconds.
    pub works_ms: u64,
    /// The writes add one to a number, instead of putting a value.
    pub adds: bool,
    /// Where each attempt ends with its process, as a share of its operations; `None` where it does not.
    pub ends: Vec<Option<f64>>,
}

/// What has been read of one key: the number of the invocation that wrote it, and the place of that version among the key's
/// versions, as a text that sorts.
pub type Seen = (String, u64, String);

/// The answer: 100 bytes if nothing was read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Answer {
    /// The reads, in their order.
    pub seen: Vec<Seen>,
    /// How often the storage cancelled what the function tried.
    pub aborts: u32,
    /// Nothing.
    pub rest: String,
}

impl Answer {
    /// With its length.
    #[must_use]
    pub fn new(seen: Vec<Seen>, aborts: u32) -> Self {
        Self { seen, aborts, rest: "r".repeat(68) }
    }
}

/// How many bytes of a value say who wrote it.
pub const MARK: usize = 32;

/// A value of so many bytes, with its writer's mark.
#[must_use]
pub fn value(event: &Event) -> Vec<u8> {
    let mut value = format!("{:016x}{:016x}", event.at, event.number).into_bytes();
    value.resize(event.bytes.max(MARK), b'v');
    value
}

/// When a value was written, as a text that sorts, and by which request; what bears no mark is as old as can be.
#[must_use]
pub fn mark(value: &[u8]) -> (String, u64) {
    let part = |from| value.get(from..from + MARK / 2).and_then(|text| std::str::from_utf8(text).ok());
    let number = part(MARK / 2).and_then(|text| u64::from_str_radix(text, 16).ok());
    number.map_or((String::new(), 0), |number| (part(0).unwrap_or_default().to_owned(), number))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Answer, Event, mark, value};

    fn event() -> Event {
        Event {
            request: "r".to_owned(),
            number: 77,
            at: 0x1234,
            reads: Vec::new(),
            writes: Vec::new(),
            bytes: 400,
            works_ms: 0,
            adds: false,
            ends: Vec::new(),
        }
    }

    #[test]
    fn a_response_that_has_seen_nothing_has_the_length_that_the_documents_say() {
        assert_eq!(serde_json::to_vec(&Answer::new(Vec::new(), 0)).unwrap().len(), 100);
    }

    #[test]
    fn a_value_says_who_wrote_it() {
        let value = value(&event());
        assert_eq!(value.len(), 400);
        assert_eq!(mark(&value), ("0000000000001234".to_owned(), 77));
        assert_eq!(mark(b"something else"), (String::new(), 0));
    }
}
