//! The record of an earlier commit of the same transaction: looked for before or beside the handler, and answered from if
//! it was about the same payload (R-COMMIT-2).

use std::collections::BTreeSet;
use std::sync::Arc;

use aft_protocol::id::{Fingerprint, TransactionId};
use aft_protocol::record::CommitRecord;
use aft_store::{Store, StoreError};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Begun, Session, SessionError};

/// The look-up of an earlier commit, which runs beside the handler.
pub(super) type LookUp = watch::Receiver<Option<Result<Option<Arc<CommitRecord>>, String>>>;

impl<S: Store> Session<S> {
    /// Looks for an earlier commit, beside whatever else happens.
    pub(super) fn look_up(&self, transaction: TransactionId, deadline: Instant) -> LookUp {
        let (found, look_up) = watch::channel(None);
        let session = self.clone();
        tokio::spawn(async move {
            let record = session.record_of(transaction, deadline).await;
            // Nobody may be waiting any more: then the answer is of no use.
            found.send_replace(Some(record.map(|record| record.map(Arc::new)).map_err(|error| error.to_string())));
        });
        look_up
    }

    pub(super) async fn record_of(
        &self,
        transaction: TransactionId,
        by: Instant,
    ) -> Result<Option<CommitRecord>, StoreError> {
        let wanted = BTreeSet::from([transaction]);
        let mut records = self.retrying(by, || self.inner.store.records(&wanted)).await?;
        let record = records.remove(&transaction).flatten();
        if let Some(record) = &record {
            self.observe(record.version);
        }
        Ok(record)
    }

    /// The answer to a begin that finds this record.
    pub(super) async fn begun_before(
        &self,
        record: &CommitRecord,
        fingerprint: Fingerprint,
        deadline: Instant,
    ) -> Result<Begun, SessionError> {
        if record.fingerprint != fingerprint {
            return Ok(Begun::Mismatch);
        }
        self.finish_apply(record, deadline).await?;
        Ok(Begun::Duplicate(record.response.clone()))
    }
}
