//! A transfer between the checking and the savings account of one customer, with a ledger entry.
//!
//! | file | what |
//! |---|---|
//! | [`handler`] | the function: transfer and audit, for any key-value store |
//! | [`event`] | what it is asked, and what it keeps |
//! | [`aft`] | the store as AFT offers it: HTTP to the local endpoint |
//! | [`plain`] | the store without AFT: DynamoDB, straight |
//! | [`faults`] | failing on request, between writes |
//!
//! Stay within what read atomic promises: the three keys of a transfer are seen together or not at all. Two transfers of
//! one customer at the same time could each overwrite the other's balance; whoever calls this function sends a customer's
//! transfers one after the other.

pub mod aft;
pub mod event;
pub mod faults;
pub mod handler;
pub mod plain;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What ends a handler.
pub type Error = lambda_runtime::Error;

/// A key-value store of JSON documents.
pub trait KeyValue {
    /// The document under `key`, if there is one.
    fn get<T: DeserializeOwned>(&self, key: &str) -> impl Future<Output = Result<Option<T>, Error>> + Send;

    /// Stores a document.
    fn put<T: Serialize + Sync>(&self, key: &str, document: &T) -> impl Future<Output = Result<(), Error>> + Send;
}
