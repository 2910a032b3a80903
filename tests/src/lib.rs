//! End-to-end worlds and conformance.
//!
//! | file | what |
//! |---|---|
//! | [`clients`] | AWS's own runtime clients, with the shim and without it |
//! | [`dynamodb_local`] | AWS's own DynamoDB for tests |
//! | [`emulator`] | AWS's own Lambda emulator, with the layer in it |
//! | [`local`] | the local host, with the layer in it and proxies around it |
//! | [`sqs`] | a queue that delivers at least once |
//! | [`wire`] | a TCP proxy that breaks connections and holds requests |
//! | [`tools`] | what `tests/tools.sh` fetches, and ports |

pub mod clients;
pub mod dynamodb_local;
pub mod emulator;
pub mod local;
pub mod sqs;
pub mod tools;
pub mod wire;
