//! End-to-end worlds and conformance.

pub mod dynamodb_local;
pub mod emulator;
