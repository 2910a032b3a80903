//! End-to-end worlds and conformance.
//!
//! | file | what |
//! |---|---|
//! | [`clients`] | AWS's own runtime clients, with the shim and without it |
//! | [`dynamodb_local`] | AWS's own DynamoDB for tests |
//! | [`emulator`] | AWS's own Lambda emulator, with the layer in it |
//! | [`tools`] | what `tests/tools.sh` fetches, and ports |

pub mod clients;
pub mod dynamodb_local;
pub mod emulator;
pub mod tools;
