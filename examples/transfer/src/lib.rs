//! A transfer between the checking and the savings account of one customer, with a ledger entry; and, for `AFT_ISOLATION=serializable`,
//! a counter and a bank that everybody changes at the same time.
//!
//! | file | what |
//! |---|---|
//! | [`handler`] | the function: transfer and audit, for any key-value store |
//! | [`shared`] | the function: counter and bank |
//! | [`event`] | what it is asked, and what it keeps |
//! | [`aft`] | the store as AFT offers it: HTTP to the local endpoint |
//! | [`plain`] | the store without AFT: DynamoDB, straight |
//! | [`faults`] | failing on request, between writes |
//!
//! Transfer and audit stay within what read atomic promises: the three keys of a transfer are seen together or not at all. Two transfers of
//! one customer at the same time could each overwrite the other's balance; whoever calls this function sends a customer's
//! transfers one after the other. Counter and bank need more: without serializable isolation they lose updates.

pub mod aft;
pub mod event;
pub mod faults;
pub mod handler;
pub mod plain;
pub mod shared;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What ends a handler.
pub type Error = lambda_runtime::Error;

/// A key-value store of JSON documents.
pub trait KeyValue: Sync {
    /// The document under `key`, if there is one.
    fn get<T: DeserializeOwned>(&self, key: &str) -> impl Future<Output = Result<Option<T>, Error>> + Send;

    /// The documents under these keys, in their order.
    fn get_all<T: DeserializeOwned + Send>(
        &self,
        keys: &[String],
    ) -> impl Future<Output = Result<Vec<Option<T>>, Error>> + Send {
        async move {
            let mut documents = Vec::new();
            for key in keys {
                documents.push(self.get(key).await?);
            }
            Ok(documents)
        }
    }

    /// Stores a document.
    fn put<T: Serialize + Sync>(&self, key: &str, document: &T) -> impl Future<Output = Result<(), Error>> + Send;
}
