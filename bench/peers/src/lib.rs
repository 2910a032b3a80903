//! Side by side with what users would pick instead: every system runs the same work as a function of the same local Lambda, over
//! the same storage, in one run, taking turns.
//!
//! | file | what |
//! |---|---|
//! | [`workloads`] | what is run |
//! | [`case`](mod@case) | one case of a workload, and its requests |
//! | [`run`] | a case, run by every system in turn |
//! | [`system`] | the systems, and the worlds that they run in |
//! | [`work`] | what a request asks of a function (`bin/peer-function.rs`, `python/app.py`) |
//! | [`storage`] | a DynamoDB engine behind a door that is as slow as DynamoDB, and counts |
//! | [`latency`](mod@latency) | how slow: as in the model of thousands of sandboxes, in crate `aft-bench` |
//! | [`anomalies`] | what readers may see and should not |
//! | [`row`] | what is measured |
//! | [`targets`] | what was promised, beside what was found |
//! | [`machine`] | where, and with what |

pub use aft_bench::latency;

pub mod anomalies;
pub mod case;
pub mod machine;
pub mod row;
pub mod run;
pub mod storage;
pub mod system;
pub mod targets;
pub mod work;
pub mod workloads;

/// Whatever ends a run.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
