//! Why an operation on an attempt fails.

use aft_protocol::attempt::{Phase, Refusal};
use aft_protocol::id::TransactionId;
use aft_protocol::key::Key;
use aft_protocol::limits;
use aft_store::StoreError;

/// Why an operation on an attempt failed.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No attempt is open in this sandbox.
    #[error("no transaction is open: requests are taken only while an invocation runs")]
    NoTransaction,
    /// The request names another transaction or attempt than the open one, or must name one and does not.
    #[error("{0}")]
    OtherTransaction(String),
    /// The attempt takes no more operations.
    #[error("the transaction takes no more operations: {0}")]
    Closed(&'static str),
    /// An earlier delivery of the same request has committed: what this attempt does is of no use any more.
    #[error(
        "this transaction has committed before, in another invocation: let the handler end, whether well or with an error; \
         its caller is answered from that commit"
    )]
    AlreadyCommitted,
    /// The write buffer is full, or the commit could not be made in one step.
    #[error(transparent)]
    TooLarge(Refusal),
    /// The key's explicit transaction is open already.
    #[error(
        "the key's transaction {0} is open in this invocation already: work on it there, or commit or abort it first"
    )]
    InProgress(TransactionId),
    /// Too many explicit transactions are open.
    #[error(
        "{} explicit transactions are open in this sandbox, and no more are allowed: commit or abort one first",
        limits::OPEN_TRANSACTIONS
    )]
    TooManyOpen,
    /// The write buffers are full, all of them together.
    #[error(
        "the open transactions of this sandbox would buffer {bytes} bytes together; at most {} are allowed: commit or \
         abort one first",
        limits::SANDBOX_BYTES
    )]
    BuffersFull {
        /// What they would buffer.
        bytes: usize,
    },
    /// The key has committed with another payload.
    #[error(
        "the key has committed with another payload, so this is another request under the same key: nothing was \
         written; give it a key of its own"
    )]
    PayloadMismatch,
    /// No version of the key fits what was read.
    #[error("no version of {0:?} fits what this attempt has read before: let the handler fail, and it is run again")]
    ReadConflict(Key),
    /// What the request's precondition asks for is not what this transaction sees.
    #[error("{0}")]
    PreconditionFailed(String),
    /// The store failed, after retries.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What an attempt's refusal is to a session's caller.
pub(super) fn refused(refusal: Refusal) -> SessionError {
    match refusal {
        Refusal::TooLarge { .. }
        | Refusal::TooManyKeys { .. }
        | Refusal::TooManyGuarded { .. }
        | Refusal::TooManyGuardedBytes { .. } => SessionError::TooLarge(refusal),
        Refusal::NotOpen(phase) => SessionError::Closed(match phase {
            Phase::Open => "it is open",
            Phase::Doomed => "an earlier read found no compatible version; let the handler fail, and it is run again",
            Phase::Discarded => "the handler has aborted it",
            Phase::Committing => "it is being committed",
            Phase::Closed => "it is over",
        }),
    }
}
