//! The failure matrix: at every instant of an invocation, every cause; what each party saw, run and written down.
//!
//! | file | what |
//! |---|---|
//! | `instant.rs` | the rows: where an invocation is stopped |
//! | `cause.rs` | what happens to it there, and which pairs cannot happen, with the reason |
//! | `cell.rs` | runs one pair in a world of its own, and asserts what must hold of every one |
//! | `observation.rs` | what was seen, in words that are the same every time |
//! | `document.rs` | the section of `docs/failure-modes.md` that the observations make |
//!
//! Nothing here waits for time to pass, but for the deadlines that are the cause: an invocation is stopped at its instant by a
//! gate of the handler's or by a trap for a request to the store, and goes on when the cause has struck.

mod cause;
mod cell;
mod document;
mod instant;
mod observation;

pub use cause::Cause;
pub use cell::run;
pub use document::{render, replace};
pub use instant::Instant;
pub use observation::Observation;
