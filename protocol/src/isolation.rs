//! How much of what an attempt has read its commit insists on.
//!
//! *Read atomic* insists on nothing: what one transaction wrote is seen together, and two that change the same key at the same
//! time may lose one of the changes. *Serializable* insists on everything that was read: the commit takes effect only if every
//! key is still at the version that the attempt saw (R-SER-1). A precondition on a single write insists on that key alone, in
//! either mode (R-SER-5).

use std::collections::BTreeMap;
use std::fmt;

use crate::key::Key;
use crate::version::Version;

/// The versions at which keys must still be; [`Version::ZERO`]: the key must not exist and never have.
pub type Guards = BTreeMap<Key, Version>;

/// What concurrent transactions may do to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// AFT's level: a transaction is seen whole or not at all.
    #[default]
    ReadAtomic,
    /// As if all transactions of this level had run one after the other, each when it committed.
    Serializable,
}

impl Isolation {
    /// Reads a level's name, as in `AFT_ISOLATION` and `X-Aft-Isolation`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "read-atomic" => Some(Self::ReadAtomic),
            "serializable" => Some(Self::Serializable),
            _ => None,
        }
    }

    /// The level's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadAtomic => "read-atomic",
            Self::Serializable => "serializable",
        }
    }

    /// Whether everything that was read is insisted on.
    #[must_use]
    pub const fn is_serializable(self) -> bool {
        matches!(self, Self::Serializable)
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
