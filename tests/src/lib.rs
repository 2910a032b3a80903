//! End-to-end worlds and conformance.
//!
//! | file | what |
//! |---|---|
//! | [`clients`] | AWS's own runtime clients, with the shim and without it |
//! | [`contended`] | several sandboxes that change the same keys |
//! | [`dynamodb_local`] | AWS's own DynamoDB for tests |
//! | [`emulator`] | AWS's own Lambda emulator, with the layer in it |
//! | [`examples`] | the apps of `examples/`, with AFT and without it |
//! | [`faults`] | what goes wrong with an app that knows nothing of it |
//! | [`growth`] | how large the tables get, for `docs/tables.md` |
//! | [`histories`] | exported histories, and checkers of others that judge them |
//! | [`layer`] | the layer as it is shipped, for both architectures |
//! | [`local`] | the local host, with the layer in it and proxies around it |
//! | [`noted`] | what a function did, step by step, and the history that comes of it |
//! | [`store`] | the store of a test |
//! | [`sqs`] | a queue that delivers at least once |
//! | [`streams`] | a table's stream, as Lambda reads it |
//! | [`wire`] | a TCP proxy that breaks connections and holds requests |
//! | [`world`] | two of our own hosts over one embedded DynamoDB, every step of which a test can stop |
//! | [`store_proxy`], [`witness`] | by what it stops them: requests to DynamoDB, and the handler |
//! | `bin/witnessed-function.rs` | the function in these worlds |
//! | `bin/shared-function.rs` | the function of [`contended`] |
//! | `bin/noted-function.rs` | the function that notes what it does |
//! | [`matrix`] | the failure matrix: every instant with every cause, run and written down |
//! | [`tools`] | what `tests/tools.sh` fetches, and ports |

use std::future::Future;
use std::time::Duration;

pub mod clients;
pub mod contended;
pub mod dynamodb_local;
pub mod emulator;
pub mod examples;
pub mod faults;
pub mod growth;
pub mod histories;
pub mod layer;
pub mod local;
pub mod matrix;
pub mod noted;
pub mod sqs;
pub mod store;
pub mod store_proxy;
pub mod streams;
pub mod tls;
pub mod tools;
pub mod wire;
pub mod witness;
pub mod world;

/// Longer than anything takes that is expected to happen, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for what must happen.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let result = tokio::time::timeout(PATIENCE, future).await;
    result.unwrap_or_else(|_| panic!("{what}: did not happen in {PATIENCE:?}"))
}
