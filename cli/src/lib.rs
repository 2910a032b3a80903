//! The local Lambda host.
