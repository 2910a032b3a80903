//! Whether a transaction has committed before: the look for its record, before the handler runs or beside it.
//!
//! What is found is only ever a short cut. That a transaction commits once is the doing of the record's conditional write
//! (R-COMMIT-2), whatever was looked for and whenever.

use std::collections::BTreeSet;
use std::sync::Arc;

use aft_protocol::id::{Fingerprint, TransactionId};
use aft_protocol::record::CommitRecord;
use aft_store::{Store, StoreError};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Begun, Named, Open, Session, SessionError};

/// The look-up of an earlier commit, which runs beside the handler: nothing until it has an answer.
pub(super) type LookUp = watch::Receiver<Option<Result<Option<Arc<CommitRecord>>, String>>>;

impl Open {
    /// The transaction's earlier commit, if the look-up has found one by now.
    pub(super) fn earlier_commit(&self) -> Option<Arc<CommitRecord>> {
        match &*self.look_up.as_ref()?.borrow() {
            Some(Ok(Some(record))) => Some(Arc::clone(record)),
            Some(Ok(None) | Err(_)) | None => None,
        }
    }
}

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

    /// Looks for an earlier commit, and waits for the answer.
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

    /// The answer to a begin that finds this record: its response, if it was about the same payload.
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

    /// The attempt that a key request is about, unless its transaction is known to have committed before: then nothing that
    /// the handler does counts any more, and the sooner it ends the better.
    pub(super) fn find_undecided(&self, named: Named) -> Result<Arc<Open>, SessionError> {
        let open = self.find(named)?;
        if open.earlier_commit().is_some() { Err(SessionError::AlreadyCommitted) } else { Ok(open) }
    }
}
