//! `make bench`: what the layer costs, measured beside what the same work costs without it, in one run.
//!
//! | file | what |
//! |---|---|
//! | `benches/functions.rs` | the pure functions that every request pays for (divan) |
//! | `benches/contention.rs` | serializable beside the same work by hand and beside read atomic; prints tables |
//! | `benches/scale.rs` | thousands of sandboxes; prints tables, and the model's error |
//! | `benches/processes.rs` | the layer's processes as they are shipped; prints one table |
//! | `benches/cold-start.rs` | cold starts over TLS, at shares of a processor; prints tables |
//! | [`buffer`] | PUT and GET of the write buffer, beside a server that only says hello |
//! | [`proxied`] | invocations with and without the layer; memory |
//! | [`control`] | the round trips between shim and extension that an invocation waits for |
//! | [`start`] | from exec to register; sizes |
//! | [`mod@contention`] | clients that meet at the same keys, in virtual time and on DynamoDB Local |
//! | [`mod@scale`] | thousands of sandboxes on partitions with limits, in virtual time |
//! | [`sandbox`] | a session as a sandbox has it, in virtual time |
//! | [`latency`] | how long DynamoDB is taken to need |
//! | [`mod@cold_start`] | a sandbox from exec to its second answer |
//! | [`hot_path`] | PUT, GET, a commit, an invocation: each so often, and nothing else in between |
//! | [`instructions`] | how many instructions each of them takes; `tests/instructions.rs` guards them |
//! | [`setup`] | the programs, the embedded engine, a host's configuration |
//! | [`lambda`] | Lambda's APIs for one sandbox, which note when they are called |
//! | [`process`] | the processor a thread may use; the memory and the processor time that a process has had |
//! | [`clock`] | the clock that processes share |
//! | [`connection`] | HTTP over one kept connection |
//! | [`samples`], [`report`] | percentiles; the table |
//! | `bin/hello.rs`, `bin/empty-runtime.rs`, `bin/one-put.rs` | what is measured beside the layer, or under it |
//! | `bin/in-share.rs` | starts a process in its share |
//!
//! Nothing here fails on a missed target: a figure on a shared machine is no test. (`contention` fails if money is lost.) The tests of behaviour are elsewhere.

pub mod buffer;
pub mod clock;
pub mod cold_start;
pub mod connection;
pub mod contention;
pub mod control;
pub mod hot_path;
pub mod instructions;
pub mod lambda;
pub mod latency;
pub mod process;
pub mod proxied;
pub mod report;
pub mod samples;
pub mod sandbox;
pub mod scale;
pub mod setup;
pub mod start;

/// Whatever kept a figure from being measured.
pub type Error = Box<dyn std::error::Error>;
