//! The Extensions API: this process among Lambda's.
//!
//! | file | what |
//! |---|---|
//! | `api.rs` | the four calls |
//! | `lifecycle.rs` | INVOKE after INVOKE until SHUTDOWN, never asking for the next while the sandbox must not freeze |

mod api;
mod lifecycle;

pub use api::{Api, ApiError, Event, Registration};
pub use lifecycle::run;
