//! The shim as a process, between a scripted Lambda, a scripted extension and a runtime process that does as it is told.
//!
//! Nothing sleeps: every step waits for what the step before it caused. The runtime is this test binary, started again by
//! the shim; it tells the test where its Runtime API is, and the test speaks in its name.

#![allow(clippy::unwrap_used, reason = "what cannot be had fails the test")]

mod attempts;
mod crashes;
mod duplicates;
mod identity;
mod life;
mod limits;
mod live;
mod passthrough;
mod refusals;
mod snap_start;
mod streaming;
mod support;
