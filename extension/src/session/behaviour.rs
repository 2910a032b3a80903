//! How a session behaves: the settings that change what callers see.

use aft_protocol::isolation::Isolation;

/// When the record of an earlier commit is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DuplicateCheck {
    /// Beside the handler; the commit waits for the answer.
    #[default]
    Parallel,
    /// Before the handler runs.
    Before,
    /// Only by the conditional write of the commit record.
    CommitOnly,
}

/// When a commit is acknowledged (R-COMMIT-6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ack {
    /// When every head is applied.
    #[default]
    Visible,
    /// When the record is durable.
    Durable,
}

/// How a session behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behaviour {
    /// `AFT_DUPLICATE_CHECK`.
    pub duplicate_check: DuplicateCheck,
    /// `AFT_ACK`.
    pub ack: Ack,
    /// `AFT_MEMOIZE=always`: record the response of a transaction that wrote nothing.
    pub memoize_always: bool,
    /// `AFT_RETENTION_SECONDS`.
    pub retention_seconds: u64,
    /// `AFT_READ=strong`: a head that was read is as new as can be.
    pub reads_strongly: bool,
    /// Heads of written keys that were not read are looked up before the commit (R-COMMIT-3), by so many requests at a time; 0,
    /// `AFT_WRITE_LOOK_UP=false`: they are not.
    pub look_ups: usize,
    /// `AFT_CACHE_BYTES`.
    pub cache_bytes: usize,
    /// `AFT_ISOLATION`.
    pub isolation: Isolation,
    /// `AFT_IN_PROGRESS=refuse`: a duplicate does not run beside the first invocation.
    pub refuse_in_progress: bool,
}
