//! Newtypes for everything that names something, so that two of them cannot be swapped at a call site.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::radix32;

/// Text that is not an identifier of the kind that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {kind}: expected {} characters of 0-9a-v", radix32::WIDTH_128)]
pub struct MalformedId {
    kind: &'static str,
    text: String,
}

macro_rules! id_128 {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(u128);

        impl $name {
            /// The identifier with these 128 bits.
            #[must_use]
            pub const fn from_bits(bits: u128) -> Self {
                Self(bits)
            }

            /// The lower half of its bits.
            #[must_use]
            pub const fn low_bits(self) -> u64 {
                self.0 as u64
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&radix32::encode(self.0, radix32::WIDTH_128))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = MalformedId;

            fn from_str(text: &str) -> Result<Self, MalformedId> {
                radix32::decode(text, radix32::WIDTH_128)
                    .map(Self)
                    .ok_or_else(|| MalformedId { kind: $kind, text: text.chars().take(64).collect() })
            }
        }

        impl TryFrom<String> for $name {
            type Error = MalformedId;

            fn try_from(text: String) -> Result<Self, MalformedId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }
    };
}

id_128! {
    /// Names a transaction: all attempts at one logical request. A hash of where the request came from (see [`Parts`] and
    /// [`TransactionId::for_request`]), so that every attempt, in any sandbox, derives the same one, and so that
    /// versions have a fixed width.
    TransactionId, "transaction ID"
}

id_128! {
    /// Names one try to write one commit record, so that a writer whose reply was lost recognises its own record
    /// (R-COMMIT-4). Random.
    Nonce, "attempt nonce"
}

id_128! {
    /// Names a sandbox, as the one that commits. Random. A commit whose outcome stayed unknown is the last one under its
    /// name: the sandbox goes on under another (R-FM-2).
    SandboxId, "sandbox ID"
}

id_128! {
    /// The first 128 bits of SHA-256 over an event's bytes, or over the parts of it that every delivery repeats.
    Fingerprint, "payload fingerprint"
}

impl Fingerprint {
    /// The fingerprint of an event.
    #[must_use]
    pub fn of(payload: &[u8]) -> Self {
        Self(truncated(Sha256::digest(payload).as_slice()))
    }
}

impl TransactionId {
    /// The transaction of a Lambda request: its function (the scope), its request ID **and** its payload's fingerprint,
    /// because callers can choose a request ID and must never get another payload's answer by it.
    #[must_use]
    pub fn for_request(scope: &Scope, request: &RequestId, payload: Fingerprint) -> Self {
        let mut hash = Parts::new("request").with(scope.as_str()).with(request.as_str()).0;
        hash.update(payload.0.to_be_bytes());
        Self(truncated(hash.finalize().as_slice()))
    }

    /// The explicit transaction of a key that the handler chose. The payload is not part of it: another payload under the
    /// same key is an error, and not another transaction.
    #[must_use]
    pub fn for_key(scope: &Scope, key: &str) -> Self {
        Parts::new("explicit").with(scope.as_str()).with(key).transaction()
    }
}

/// What a [`TransactionId`] or a [`Fingerprint`] is a hash of, part by part, in order.
#[derive(Debug, Clone)]
pub struct Parts(Sha256);

impl Parts {
    /// Begins with the kind of what follows, so that parts of two kinds never hash to the same.
    #[must_use]
    pub fn new(kind: &str) -> Self {
        Self(Sha256::new()).with(kind)
    }

    /// Adds a part.
    #[must_use]
    pub fn with(mut self, part: impl AsRef<[u8]>) -> Self {
        let part = part.as_ref();
        // Lengths first: ("ab", "c") and ("a", "bc") are different.
        self.0.update((part.len() as u64).to_be_bytes());
        self.0.update(part);
        self
    }

    /// The transaction that these parts name.
    #[must_use]
    pub fn transaction(self) -> TransactionId {
        TransactionId(truncated(self.0.finalize().as_slice()))
    }

    /// The fingerprint of these parts of an event.
    #[must_use]
    pub fn fingerprint(self) -> Fingerprint {
        Fingerprint(truncated(self.0.finalize().as_slice()))
    }
}

fn truncated(digest: &[u8]) -> u128 {
    digest.iter().take(16).fold(0, |bits, &byte| bits << 8 | u128::from(byte))
}

macro_rules! name_text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Wraps the text as it came.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_text! {
    /// Lambda's request ID (`Lambda-Runtime-Aws-Request-Id`).
    RequestId
}

name_text! {
    /// What transaction IDs are unique within: the function's name.
    Scope
}

name_text! {
    /// Who holds a claim: one invocation in one sandbox.
    ClaimOwner
}

/// Which execution of the handler for a transaction this is, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttemptNumber(u32);

impl AttemptNumber {
    /// The first execution.
    pub const FIRST: Self = Self(1);

    /// The next execution.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The count, from 1.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for AttemptNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::{Fingerprint, Parts, RequestId, Scope, TransactionId};

    fn id(scope: &str, request: &str, payload: &str) -> TransactionId {
        TransactionId::for_request(&Scope::new(scope), &RequestId::new(request), Fingerprint::of(payload.as_bytes()))
    }

    #[test]
    fn a_retry_derives_the_same_transaction_and_anything_else_another() {
        let first = id("transfer", "r-1", "{}");
        assert_eq!(first, id("transfer", "r-1", "{}"));
        assert_ne!(first, id("transfer", "r-2", "{}"));
        assert_ne!(first, id("refund", "r-1", "{}"));
        assert_ne!(first, id("transferr", "-1", "{}"), "parts do not run into each other");
    }

    #[test]
    fn a_chosen_request_id_never_reaches_another_payloads_transaction() {
        assert_ne!(id("transfer", "r-1", r#"{"amount":1}"#), id("transfer", "r-1", r#"{"amount":2}"#));
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let id = |parts: &[&str]| parts.iter().fold(Parts::new("kind"), |all, part| all.with(part)).transaction();
        let all = [id(&["ab", "c"]), id(&["a", "bc"]), id(&["abc"]), id(&["ab", "c", ""]), id(&[])];
        for (n, one) in all.iter().enumerate() {
            assert!(all[n + 1..].iter().all(|other| other != one), "{n}");
        }
        assert_ne!(Parts::new("kind").with("x").transaction(), Parts::new("king").with("x").transaction());
    }

    #[test]
    fn a_key_derives_one_transaction_in_its_scope_and_none_of_another_kind() {
        let of = |scope: &str, key: &str| TransactionId::for_key(&Scope::new(scope), key);
        assert_eq!(of("orders", "m-1"), of("orders", "m-1"));
        assert_ne!(of("orders", "m-1"), of("orders", "m-2"));
        assert_ne!(of("orders", "m-1"), of("refunds", "m-1"));
        assert_ne!(of("orders", "m-1"), of("ordersm", "-1"), "parts do not run into each other");
        assert_ne!(of("orders", "m-1"), id("orders", "m-1", ""), "a request ID is no key");
    }

    #[test]
    fn text_round_trips_and_garbage_names_itself() {
        let first = id("transfer", "r-1", "{}");
        assert_eq!(first.to_string().parse(), Ok(first));
        let error = "nonsense".parse::<TransactionId>().unwrap_err();
        assert_eq!(error.to_string(), "\"nonsense\" is not a transaction ID: expected 26 characters of 0-9a-v");
    }
}
