//! Failures of a store, classified by what the caller must do. "May it have happened?" and "is it worth another try?"
//! are two questions.

use std::error::Error;
use std::fmt;

/// What a failure means for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Throttled, or never sent: it did not happen; try again later.
    Unavailable,
    /// Timed out, cut off, or an internal error of the store: it may have happened; try again with the same content.
    Unknown,
    /// No permission, no such table, not a valid request: it did not happen and will not. Somebody must act.
    Rejected,
    /// An item is not in the layout of this version. Somebody must act.
    Malformed,
}

impl ErrorKind {
    /// Whether the effect may have happened all the same (R-COMMIT-4).
    #[must_use]
    pub const fn may_have_applied(self) -> bool {
        matches!(self, Self::Unknown)
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Unavailable | Self::Unknown)
    }
}

/// How soon another try makes sense, where one does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// A connection turned out to be dead: at once, the first time.
    AtOnce,
    /// Something that may pass soon.
    Soon,
    /// It was too much: when there is capacity again.
    Later,
}

/// A failure of a store: which call, of what kind, and why.
#[derive(Debug)]
pub struct StoreError {
    kind: ErrorKind,
    pace: Pace,
    operation: &'static str,
    source: Box<dyn Error + Send + Sync>,
}

impl StoreError {
    /// A failure of `operation`.
    pub fn new(kind: ErrorKind, operation: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind, pace: Pace::Soon, operation, source: source.into() }
    }

    /// The same failure, after which another try makes sense at this pace.
    #[must_use]
    pub fn at_pace(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    /// What it means for the caller.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// How soon another try makes sense, if it is retryable.
    #[must_use]
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// The same failure, which means `to` where it would mean `from`: a caller may know more about the effect.
    #[must_use]
    pub(crate) fn reclassified(self, from: ErrorKind, to: ErrorKind) -> Self {
        let kind = if self.kind == from { to } else { self.kind };
        Self { kind, ..self }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            ErrorKind::Unavailable => "is unavailable",
            ErrorKind::Unknown => "did not answer",
            ErrorKind::Rejected => "refused",
            ErrorKind::Malformed => "returned a malformed item",
        };
        write!(f, "the store {what} ({}): {}", self.operation, self.source)
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.source()
    }
}
