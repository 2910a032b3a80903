//! Many sandboxes, one seed, virtual time, and everything that can go wrong.

pub mod paper;
