//! Log lines of sandboxes: where they come from, where they go, and the tail that a caller may ask for.
//!
//! The library does not print: whoever starts a host hands in a sink.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of an invocation's log that `X-Amz-Log-Type: Tail` gives.
const TAIL_BYTES: usize = 4096;

/// Which sandbox of a host, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SandboxNumber(pub u32);

impl fmt::Display for SandboxNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sandbox-{}", self.0)
    }
}

/// Who wrote a line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The host itself: `START`, `END`, `REPORT` and what went wrong.
    Platform,
    /// The runtime process: the function, and the shim around it.
    Function,
    /// An extension process, by its name.
    Extension(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Platform => f.write_str("lambda"),
            Self::Function => f.write_str("function"),
            Self::Extension(name) if name == crate::config::AFT_EXTENSION => f.write_str("aft"),
            Self::Extension(name) => f.write_str(name),
        }
    }
}

/// One line, without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Whose sandbox.
    pub sandbox: SandboxNumber,
    /// Who wrote it.
    pub source: Source,
    /// What.
    pub text: String,
}

impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} | {}", self.sandbox, self.source, self.text)
    }
}

/// Where lines go. Called from many tasks; must not block for long.
#[derive(Clone)]
pub struct LogSink(Arc<dyn Fn(&LogLine) + Send + Sync>);

impl LogSink {
    /// A sink that hands every line to `write`.
    pub fn new(write: impl Fn(&LogLine) + Send + Sync + 'static) -> Self {
        Self(Arc::new(write))
    }

    /// A sink that drops every line.
    #[must_use]
    pub fn discard() -> Self {
        Self::new(|_| ())
    }
}

impl fmt::Debug for LogSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogSink")
    }
}

/// The log of one sandbox.
#[derive(Debug)]
pub(crate) struct SandboxLog {
    sandbox: SandboxNumber,
    sink: LogSink,
    tail: Mutex<String>,
}

impl SandboxLog {
    pub(crate) fn new(sandbox: SandboxNumber, sink: LogSink) -> Self {
        Self { sandbox, sink, tail: Mutex::default() }
    }

    pub(crate) fn platform(&self, text: impl Into<String>) {
        self.line(Source::Platform, text.into());
    }

    pub(crate) fn line(&self, source: Source, text: String) {
        {
            let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
            tail.push_str(&text);
            tail.push('\n');
            let excess = tail.len().saturating_sub(TAIL_BYTES);
            let cut = tail.ceil_char_boundary(excess);
            tail.drain(..cut);
        }
        (self.sink.0)(&LogLine { sandbox: self.sandbox, source, text });
    }

    /// Starts the tail of another invocation.
    pub(crate) fn clear_tail(&self) {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(crate) fn tail(&self) -> String {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::{LogSink, SandboxLog, SandboxNumber, Source, TAIL_BYTES};

    #[test]
    fn the_tail_is_bounded_and_cut_between_characters() {
        let log = SandboxLog::new(SandboxNumber(1), LogSink::discard());
        log.line(Source::Function, "é".repeat(TAIL_BYTES));
        log.platform("END");
        assert!(log.tail().len() <= TAIL_BYTES);
        assert!(log.tail().ends_with("é\nEND\n"));
        log.clear_tail();
        assert_eq!(log.tail(), "");
    }
}
