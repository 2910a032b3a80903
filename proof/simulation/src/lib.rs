//! Many sandboxes, one seed, virtual time, and everything that can go wrong.
//!
//! A history is run by the product's own parts: sessions of the extension, the shim's state machine, retry policy and
//! estimates, the store, the fault manager. Around them everything is simulated, and of what happens everything is noted and
//! judged.
//!
//! | file | what |
//! |---|---|
//! | [`chance`] | randomness by address |
//! | [`plan`] | what would happen if nothing went wrong |
//! | [`trouble`] | what goes wrong, where |
//! | [`life`] | processes that die and are frozen, wherever they wait |
//! | [`ground`] | the stores: in memory, and the SDK over a simulated DynamoDB |
//! | [`world`] | the history: places, eras, the fault manager, time |
//! | [`sandbox`], [`shim`] | one life of a sandbox; the shim's part of an invocation |
//! | [`workload`], [`job`] | what functions do; one attempt, step by step |
//! | [`book`] | what is noted |
//! | [`verdict`] | what must hold of it |
//! | [`run`] | one history, and many |
//! | [`shrink`] | a failing history made small |
//! | [`paper`] | AFT's own workload, and what happens to it without AFT |

pub mod book;
pub mod chance;
pub mod ground;
pub mod job;
pub mod life;
pub mod paper;
pub mod plan;
pub mod run;
pub mod sandbox;
pub mod shim;
pub mod shrink;
pub mod trouble;
pub mod verdict;
pub mod workload;
pub mod world;
