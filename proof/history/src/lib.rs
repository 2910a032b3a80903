//! Histories of transactions: what ran, who read what from whom, and what each was told.
//!
//! | file | what |
//! |---|---|
//! | [`mod@format`] | the JSON lines of `docs/histories.md`, and what happened at one instant in them |
//! | [`checker`] | whether a history keeps what was promised |
//! | [`convert`] | the same in the formats of other checkers |
//!
//! Nothing here knows the protocol: what it judges may be anybody's.

pub mod checker;
pub mod convert;
pub mod format;
