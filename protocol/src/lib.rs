//! The transaction protocol of AFT on Lambda, as pure code: no I/O, no clock, no randomness.
//!
//! | file | what |
//! |---|---|
//! | [`id`] | identifiers: transactions, attempts, sandboxes, requests, payload fingerprints |
//! | [`key`], [`value`] | what users store |
//! | [`version`] | versions and the hybrid logical clock (R-COMMIT-3) |
//! | [`head`] | the newest applied version of a key, and how a head moves (R-COMMIT-5) |
//! | [`record`] | the commit record, whose existence is the commit (R-COMMIT-1, R-COMMIT-2) |
//! | [`claim`] | "an invocation is at this transaction": for callers' comfort, never for correctness |
//! | [`atomic_read`] | the read set and the read rule (R-READ-1…4) |
//! | [`recency`] | keys in the order of their last use: what is forgotten first |
//! | [`isolation`] | how much of what was read a commit insists on (R-SER-1, R-SER-5) |
//! | [`attempt`] | one attempt's state machine: reads, write buffer, phases (R-COMMIT-7…9) |
//! | [`step`] | what a commit does in one step with its record |
//! | [`limits`] | every size limit, in bytes |
//! | [`wire`] | routes, headers and error codes of the local endpoint; the control API between shim and extension |
//! | [`settings`] | the one table of `AFT_…` settings, and how they are read with all faults reported together |

pub mod atomic_read;
pub mod attempt;
pub mod claim;
pub mod head;
pub mod id;
pub mod isolation;
pub mod key;
pub mod limits;
mod radix32;
pub mod recency;
pub mod record;
pub mod settings;
pub mod step;
pub mod value;
pub mod version;
pub mod wire;
