//! The extension process of AFT on Lambda.
//!
//! | file | what |
//! |---|---|
//! | [`app`] | the life of the process, from configuration to SHUTDOWN |
//! | [`config`] | the one place that reads the environment |
//! | [`session`] | transactions: begin, read, write, commit, abort, apply |
//! | [`http`] | the local key-value endpoint, one file per route |
//! | [`control`] | the control API for the shim, on a Unix socket |
//! | [`lambda`] | the Extensions API: register, next, errors; when the sandbox may freeze |
//! | [`sources`] | the wall clock and randomness |
//! | [`error`], [`log`] | what ends the process, and what it says |

pub mod app;
pub mod config;
pub mod control;
pub mod error;
pub mod http;
pub mod lambda;
pub mod log;
pub mod session;
pub mod sources;
