//! End-to-end worlds and conformance.
