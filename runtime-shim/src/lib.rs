//! The runtime shim of AFT on Lambda: the process that Lambda starts as the runtime.
//!
//! | file | what |
//! |---|---|
//! | [`app`] | the life of the process, from configuration to SIGTERM |
//! | [`config`] | the one place that reads the environment |
//! | [`invocation`] | the state machine of one invocation, pure |
//! | [`retry`], [`estimate`] | whether a failed attempt is followed by another; what it would take; pure |
//! | [`conductor`] | one invocation after the other: takes messages, steps the machine, does what it says |
//! | [`coordinator`] | the control API of the extension, over a Unix socket |
//! | [`supervisor`], [`launcher`], [`orphans`] | the real runtime as a child process, and what it leaves behind |
//! | [`proxy`] | the Runtime API for the child, one file per route |
//! | [`upstream`] | the client of Lambda's Runtime API |
//! | [`identity`] | which transaction an event belongs to, pure |
//! | [`delivery`] | an event that Lambda delivered, kept byte for byte |
//! | [`message`] | what the conductor hears |
//! | [`platform`] | the Runtime API's routes, headers and documents |
//! | [`body`], [`relay`] | HTTP bodies; a streamed response that is passed on as it comes |
//! | [`token_file`] | where the handler finds its token under SnapStart |
//! | [`clock`] | the wall clock |
//! | [`error`], [`log`] | what ends the process, and what it says |

pub mod app;
pub mod body;
pub mod clock;
pub mod conductor;
pub mod config;
pub mod coordinator;
pub mod delivery;
pub mod error;
pub mod estimate;
pub mod identity;
pub mod invocation;
pub mod launcher;
pub mod log;
pub mod message;
pub mod orphans;
pub mod platform;
pub mod proxy;
pub mod relay;
pub mod retry;
pub mod supervisor;
pub mod token_file;
pub mod upstream;
