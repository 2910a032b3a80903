//! What histories take place on: a store for each life of a sandbox, with everything that can go wrong with a request; a
//! stream of commit records for the fault manager; and the truth behind all of them.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | what a ground is |
//! | [`memory`] | the store's contract in its plainest form: histories by the million |
//! | [`dynamodb`] | the production store over the real SDK, and beneath it a simulated DynamoDB |

use std::sync::Arc;

use aft_protocol::id::TransactionId;
use aft_protocol::record::CommitRecord;
use aft_store::Store;
use aft_store::watched::Truth;

use crate::life::Life;

pub mod dynamodb;
pub mod memory;

/// Where histories take place. Clones are the same place.
pub trait Ground: Truth {
    /// The sandboxes' store.
    type Store: Store;

    /// What it is called.
    const NAME: &'static str;

    /// Nothing written yet. Called within the history's runtime.
    fn new(is_traced: bool) -> impl Future<Output = Self>;

    /// The store of one life, which reads heads strongly, or as DynamoDB does by default.
    fn store(&self, life: &Life, reads_strongly: bool) -> Self::Store;

    /// Every commit record that ever took effect, in that order, but for the first `since`.
    fn stream(&self, since: usize) -> impl Future<Output = Vec<Arc<CommitRecord>>> + Send;

    /// The fault manager is handed `many` records of the stream, from number `from` on. Whether it says that all is done.
    fn recover(&self, life: &Life, from: usize, many: usize, now_seconds: u64) -> impl Future<Output = bool>;

    /// Deletes what has expired, of the records only those of which `is_due` says so: DynamoDB takes its time.
    fn expire(&self, now_seconds: u64, is_due: impl Fn(TransactionId) -> bool) -> impl Future<Output = usize>;

    /// A line for each request, if it is traced.
    fn trace(&self) -> String;
}
