//! End-to-end worlds and conformance.
//!
//! | file | what |
//! |---|---|
//! | [`dynamodb_local`] | AWS's own DynamoDB for tests |
//! | [`emulator`] | AWS's own Lambda emulator, with the layer in it |
//! | `tools` | what `tests/tools.sh` fetches, and ports |

pub mod dynamodb_local;
pub mod emulator;
mod tools;
