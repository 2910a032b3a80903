//! The protocol as a model that is explored to its last state: three transactions on three keys, every order of their steps, and
//! everything that can go wrong between them. No code for production; what it covers and what it leaves out is in
//! `docs/model.md`.
//!
//! | file | what |
//! |---|---|
//! | [`scenario`] | who does what, and what can go wrong |
//! | [`rules`] | the protocol's rules, each of which can be taken away |
//! | [`state`] | a state of the world |
//! | [`protocol`], [`action`], [`effect`], [`reading`] | which steps are possible, how they are called, what they do |
//! | [`product`] | the product's own read rule, heads, records and buffers, asked by the model |
//! | [`property`], [`situation`] | what is promised, and what must be met |
//! | [`explore`] | exploring, and what comes of it |

pub mod action;
pub mod effect;
pub mod explore;
pub mod product;
pub mod property;
pub mod protocol;
pub mod reading;
pub mod rules;
pub mod scenario;
pub mod situation;
pub mod state;
