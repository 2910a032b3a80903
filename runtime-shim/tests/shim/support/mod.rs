//! The world around a shim.

pub mod call;
pub mod runtime;
pub mod world;

use std::future::Future;
use std::time::Duration;

pub use call::{Answer, Call};
pub use runtime::Runtime;
pub use world::{World, event};

/// Waits for what must happen soon.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let result = tokio::time::timeout(Duration::from_secs(20), future).await;
    result.unwrap_or_else(|_| panic!("{what}: did not happen"))
}
