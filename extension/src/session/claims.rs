//! Claims (`AFT_IN_PROGRESS=refuse`): while one invocation is at a transaction, another is told to come later.
//!
//! Never needed for correctness: R-COMMIT-2 decides, whoever holds the claim. So a claim is kept as long as it is of use and
//! no longer: a commit record outlives it, a failed invocation gives it back, and a dead sandbox's expires.

use aft_protocol::claim::Claim;
use aft_protocol::id::{ClaimOwner, RequestId, TransactionId};
use aft_protocol::wire::Begin;
use aft_store::{Claimed, Store, StoreError};
use tokio::time::Instant;

use super::Session;

/// A claim that an invocation of this sandbox holds.
pub(super) struct Held {
    request: RequestId,
    claim: Claim,
    deadline: Instant,
}

impl<S: Store> Session<S> {
    /// Takes the claim for an attempt, if claims are asked for; an invocation's next attempt has it already.
    pub(super) async fn claim(&self, begin: &Begin, deadline: Instant) -> Result<Claimed, StoreError> {
        let held = |held: &Held| held.request == begin.request;
        if !self.inner.behaviour.refuse_in_progress || self.state().claims.get(&begin.transaction).is_some_and(held) {
            return Ok(Claimed::Now);
        }
        // The sandbox is in it because callers choose request IDs.
        let owner = ClaimOwner::new(format!("{} {}", begin.request, self.sandbox()));
        let claim = Claim::until(begin.transaction, owner, begin.deadline_ms);
        let claimed = self.retrying(deadline, || self.inner.store.claim(&claim, self.now_seconds())).await?;
        if claimed == Claimed::Now {
            let held = Held { request: begin.request.clone(), claim, deadline };
            self.state().claims.insert(begin.transaction, held);
        }
        Ok(claimed)
    }

    /// The transaction has a commit record: its claim is outlived.
    pub(super) fn outlived(&self, transaction: TransactionId) {
        self.state().claims.remove(&transaction);
    }

    /// Gives back what this invocation still holds, so that a retry need not wait. To be awaited before [`Session::end`]:
    /// afterwards the sandbox may freeze.
    pub async fn release(&self, request: &RequestId) {
        let held: Vec<_> =
            self.state().claims.extract_if(|_, held| held.request == *request).map(|(_, held)| held).collect();
        for Held { claim, deadline, .. } in held {
            if let Err(error) = self.retrying(deadline, || self.inner.store.release(&claim)).await {
                tracing::warn!(transaction = %claim.transaction, "giving back a claim, which will expire: {error}");
            }
        }
    }
}
