//! A claim: "an invocation is at this transaction". It spares callers a second run at the same time, and is never what
//! correctness rests on: the one commit record is (R-COMMIT-2). A claim that is lost, stolen or late costs a handler's run.

use crate::id::{ClaimOwner, TransactionId};

/// How much later than its invocation's deadline a claim expires, in seconds: what the clocks of two sandboxes may differ.
const SKEW_SECONDS: u64 = 5;

/// An invocation's claim on a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// What is claimed.
    pub transaction: TransactionId,
    /// By whom.
    pub owner: ClaimOwner,
    /// From when on it counts no more, in seconds since the epoch.
    pub expires_at_seconds: u64,
}

impl Claim {
    /// The claim of an invocation that Lambda ends at this time, in milliseconds since the epoch.
    #[must_use]
    pub const fn until(transaction: TransactionId, owner: ClaimOwner, deadline_ms: u64) -> Self {
        Self { transaction, owner, expires_at_seconds: deadline_ms.div_ceil(1_000).saturating_add(SKEW_SECONDS) }
    }

    /// Whether `owner` may take what this claim holds, at `now_seconds` since the epoch.
    #[must_use]
    pub fn yields_to(&self, owner: &ClaimOwner, now_seconds: u64) -> bool {
        self.owner == *owner || self.expires_at_seconds < now_seconds
    }
}

#[cfg(test)]
mod tests {
    use super::Claim;
    use crate::id::{ClaimOwner, TransactionId};

    #[test]
    fn a_claim_yields_to_its_owner_and_to_time() {
        let owner = ClaimOwner::new("r-1 sandbox");
        let claim = Claim::until(TransactionId::from_bits(1), owner.clone(), 10_001);
        assert_eq!(claim.expires_at_seconds, 16, "a begun second counts, and five for the clocks");
        let other = ClaimOwner::new("r-2 sandbox");
        assert!(claim.yields_to(&owner, 0) && !claim.yields_to(&other, 16) && claim.yields_to(&other, 17));
    }
}
