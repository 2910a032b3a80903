//! Why an attempt refuses an operation.

use super::Phase;
use crate::limits;

/// Why an operation was refused. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The attempt takes no more operations.
    #[error("the attempt takes no more operations: it is {0:?}")]
    NotOpen(Phase),
    /// R-COMMIT-9: refused at the write, not at the commit.
    #[error(
        "the transaction would buffer {bytes} bytes of keys and values; at most {} are allowed",
        limits::TRANSACTION_BYTES
    )]
    TooLarge {
        /// What it would have buffered.
        bytes: usize,
    },
    /// R-COMMIT-9, likewise.
    #[error("the transaction would write {keys} keys; at most {} are allowed", limits::TRANSACTION_KEYS)]
    TooManyKeys {
        /// What it would have written.
        keys: usize,
    },
    /// R-SER-6: what is committed in one step is limited by what DynamoDB takes in one.
    #[error(
        "the commit would have to check or move {keys} keys in one step; at most {} are allowed (every key that a \
         serializable transaction reads or writes, and every key that is written with If-Match or If-None-Match)",
        limits::GUARDED_KEYS
    )]
    TooManyGuarded {
        /// What it would have had to check or move.
        keys: usize,
    },
    /// R-SER-6, likewise.
    #[error(
        "the commit would have to check or move {bytes} bytes of items in one step; at most {} are allowed (every key that a \
         serializable transaction reads or writes, and every key that is written with If-Match or If-None-Match)",
        limits::GUARDED_BYTES
    )]
    TooManyGuardedBytes {
        /// What it would have had to check or move.
        bytes: usize,
    },
}
