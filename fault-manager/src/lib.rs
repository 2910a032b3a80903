//! The fault manager (AFT's own term): a Lambda function behind the stream of the transaction table. It makes visible what a
//! sandbox committed and did not live to apply, although nobody reads those keys and nobody sends the request again (R-FM-1).
//!
//! It writes nothing for a transaction that is applied, scans nothing, keeps nothing, and may run any number of times on
//! the same records, also at the same time (R-COMMIT-5).
//!
//! | file | what |
//! |---|---|
//! | [`app`] | the life of the process, from configuration to the last invocation |
//! | [`config`] | the one place that reads the environment |
//! | [`event`] | what Lambda hands over and gets back |
//! | [`batch`] | one invocation: from the batch to the records that failed |
//! | [`settled`] | the low-water mark: which records cannot be unapplied (pure) |
//! | [`clock`] | the wall clock and randomness |
//! | [`error`], [`log`] | what ends the process, and what it says |

pub mod app;
pub mod batch;
pub mod clock;
pub mod config;
pub mod error;
pub mod event;
pub mod log;
pub mod settled;
