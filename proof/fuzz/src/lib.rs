//! What must hold of every parser of bytes from outside: `docs/fuzzing.md` has the inventory.
//!
//! A target is a function from bytes to nothing, which panics if a property does not hold. libFuzzer calls it
//! (`proof/fuzz/targets`), property tests call it (`tests/`), and so does a test for every file of the corpus: the properties
//! are here once.
//!
//! | file | what is parsed |
//! |---|---|
//! | [`names`] | identifiers, versions, keys, content types, words |
//! | [`settings`] | the environment of the three processes |
//! | [`endpoint`] | requests to the local endpoint |
//! | [`control`] | the control API between shim and extension, from both sides |
//! | [`runtime_api`] | the Runtime API: what Lambda answers, and what a runtime calls |
//! | [`event`], [`expression`] | events, for the name of their transaction |
//! | [`items`] | DynamoDB's answers: heads, records, refusals |
//! | [`stream`] | the event of the fault manager |
//! | [`journal`] | the journal that a dead extension has left |
//! | [`history`] | histories as JSON lines |
//! | [`json`], [`conversation`], [`database`] | what several of these need: JSON in other words, HTTP over a pipe, a DynamoDB that says what it is told to |
//!
//! A property that fails is to be told by its message: in here, to panic is the way to say so.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a property that does not hold panics")]

pub mod control;
pub mod conversation;
pub mod database;
pub mod endpoint;
pub mod event;
pub mod expression;
pub mod history;
pub mod items;
pub mod journal;
pub mod json;
pub mod names;
pub mod runtime_api;
pub mod settings;
pub mod stream;

/// A property of bytes.
pub type Property = fn(&[u8]);

/// Every target by its name, which is that of its corpus too.
pub const TARGETS: [(&str, Property); 11] = [
    ("control", control::check),
    ("endpoint", endpoint::check),
    ("event", event::check),
    ("expression", expression::check),
    ("history", history::check),
    ("items", items::check),
    ("journal", journal::check),
    ("names", names::check),
    ("runtime_api", runtime_api::check),
    ("settings", settings::check),
    ("stream", stream::check),
];

/// Checks the property of this name.
///
/// # Panics
/// If it does not hold, or there is none of this name.
pub fn run(target: &str, data: &[u8]) {
    let (_, property) = TARGETS.iter().find(|(name, _)| *name == target).expect("a target's name");
    property(data);
}
