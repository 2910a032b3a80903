//! Side by side with what users would pick instead: every system runs the same work as a function of the same local Lambda, over
//! the same storage, in one run, taking turns.
//!
//! | file | what |
//! |---|---|
//! | [`system`] | the systems, and the worlds that they run in |
//! | [`work`] | what a request asks for |
//! | [`storage`] | a DynamoDB engine behind a door that is as slow as DynamoDB, and counts |
//! | [`latency`](mod@latency) | how slow: as in the model of thousands of sandboxes, in crate `aft-bench` |
//! | [`processor`] | processor time of the layer's processes |
//! | [`writes`] | workload: 1, 5 and 10 writes (Figure 2 of AFT's paper) |
//! | [`report`] | tables, and the file that the plots are drawn from |

pub use aft_bench::latency;

pub mod processor;
pub mod report;
pub mod storage;
pub mod system;
pub mod work;
pub mod writes;

/// Whatever ends a run.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
