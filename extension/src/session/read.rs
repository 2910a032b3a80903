//! Reads: the heads in one round trip, then, where the read rule asks for them, commit records in one more (R-READ-4).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aft_protocol::atomic_read::{Choice, Records};
use aft_protocol::attempt::Seen;
use aft_protocol::head::{Entry, Head};
use aft_protocol::id::TransactionId;
use aft_protocol::key::Key;
use aft_store::{Store, StoreError};
use tokio::time::Instant;

use super::{Named, Open, Session, SessionError, refused};

impl<S: Store> Session<S> {
    /// What the open attempt sees of each key.
    ///
    /// # Errors
    /// [`SessionError`]; after a [`SessionError::ReadConflict`] the attempt can only be aborted.
    pub async fn read(&self, named: Named, keys: BTreeSet<Key>) -> Result<BTreeMap<Key, Seen>, SessionError> {
        let open = self.find_undecided(named)?;
        self.see(&open, keys).await
    }

    pub(super) async fn see(&self, open: &Open, keys: BTreeSet<Key>) -> Result<BTreeMap<Key, Seen>, SessionError> {
        let mut seen = BTreeMap::new();
        let mut unknown = BTreeSet::new();
        {
            let attempt = open.attempt();
            for key in keys {
                match attempt.recall(&key).map_err(refused)? {
                    Some(known) => drop(seen.insert(key, known)),
                    None => drop(unknown.insert(key)),
                }
            }
        }
        if unknown.is_empty() {
            return Ok(seen);
        }
        let mut heads = self.heads(&unknown, open.deadline).await?;
        open.attempt().saw(&heads);
        let mut records = Records::new();
        loop {
            let missing = self.choose_all(open, &mut heads, &records, &mut seen)?;
            if missing.is_empty() {
                return Ok(seen);
            }
            let found = self.retrying(open.deadline, || self.inner.store.records(&missing)).await?;
            found.values().flatten().for_each(|record| self.observe(record.version));
            records.extend(found);
        }
    }

    /// Asks the read rule for each key that is left in `heads`, against the read set as it is now; moves what is settled
    /// to `seen`, and returns the commit records that the rest needs.
    fn choose_all(
        &self,
        open: &Open,
        heads: &mut BTreeMap<Key, Head>,
        records: &Records,
        seen: &mut BTreeMap<Key, Seen>,
    ) -> Result<BTreeSet<TransactionId>, SessionError> {
        let mut missing = BTreeSet::new();
        let mut unsettled = BTreeMap::new();
        let now_seconds = self.now_seconds();
        let mut attempt = open.attempt();
        for (key, head) in std::mem::take(heads) {
            // A write of the same attempt may have come while the store was asked.
            if let Some(written @ Seen::Written(..)) = attempt.recall(&key).map_err(refused)? {
                seen.insert(key, written);
                continue;
            }
            match attempt.read(&key, &head, records, now_seconds).map_err(refused)? {
                Choice::Accept(entry) => {
                    self.roll_forward_if_ahead(&entry, &head, records);
                    seen.insert(key, Seen::Read(entry));
                }
                Choice::Consult(wanted) => {
                    missing.extend(wanted);
                    unsettled.insert(key, head);
                }
                Choice::Conflict => return Err(SessionError::ReadConflict(key)),
            }
        }
        *heads = unsettled;
        Ok(missing)
    }

    /// R-FM-3: whoever sees a record ahead of a head rolls it forward. The reader does not wait for it.
    fn roll_forward_if_ahead(&self, entry: &Entry, head: &Head, records: &Records) {
        if entry.version <= head.current.version {
            return;
        }
        if let Some(Some(record)) = records.get(&entry.version.transaction()) {
            tracing::info!(transaction = %record.transaction(), "found committed but not applied: rolling forward");
            let _progress = self.start_apply(Arc::new(record.clone()), BTreeMap::new());
        }
    }

    async fn heads(&self, keys: &BTreeSet<Key>, deadline: Instant) -> Result<BTreeMap<Key, Head>, StoreError> {
        let heads = self.retrying(deadline, || self.inner.store.heads(keys)).await?;
        heads.values().for_each(|head| self.observe(head.current.version));
        Ok(heads)
    }
}
