//! That one invocation at a time holds a transaction's claim, and that records know nothing of it.

use aft_protocol::claim::Claim;
use aft_protocol::id::ClaimOwner;
use aft_protocol::record::Writes;
use futures_util::future::try_join_all;

use super::{EXPIRES_AT_SECONDS, Outcome, World};
use crate::{Claimed, Committed, Store};

/// Long before any claim in here expires.
const NOW: u64 = EXPIRES_AT_SECONDS - 1_000;

impl<S: Store> World<S> {
    fn claim(&self, transaction: u64, owner: &str) -> Claim {
        let owner = ClaimOwner::new(owner);
        Claim { transaction: self.transaction(transaction), owner, expires_at_seconds: EXPIRES_AT_SECONDS }
    }
}

/// Another is refused; the owner's own retry is not, and moves the expiry.
pub async fn a_claim_is_held_by_one_owner_and_kept_by_it<S: Store>(world: &World<S>) -> Outcome {
    let (mine, anothers) = (world.claim(1, "r-1 sandbox"), world.claim(1, "r-2 sandbox"));
    assert_eq!(world.store.claim(&mine, NOW).await?, Claimed::Now);
    assert_eq!(world.store.claim(&anothers, NOW).await?, Claimed::ByAnother);
    let longer = Claim { expires_at_seconds: EXPIRES_AT_SECONDS + 10, ..mine };
    assert_eq!(world.store.claim(&longer, NOW).await?, Claimed::Now);
    assert_eq!(world.store.claim(&anothers, EXPIRES_AT_SECONDS + 10).await?, Claimed::ByAnother);
    assert_eq!(world.store.claim(&world.claim(2, "r-2 sandbox"), NOW).await?, Claimed::Now, "another transaction");
    Ok(())
}

/// A sandbox that died gives nothing back; time does.
pub async fn an_expired_claim_is_free<S: Store>(world: &World<S>) -> Outcome {
    assert_eq!(world.store.claim(&world.claim(1, "r-1 sandbox"), NOW).await?, Claimed::Now);
    let anothers = Claim { expires_at_seconds: EXPIRES_AT_SECONDS + 60, ..world.claim(1, "r-2 sandbox") };
    assert_eq!(world.store.claim(&anothers, EXPIRES_AT_SECONDS).await?, Claimed::ByAnother, "its last second counts");
    assert_eq!(world.store.claim(&anothers, EXPIRES_AT_SECONDS + 1).await?, Claimed::Now);
    assert_eq!(world.store.claim(&world.claim(1, "r-1 sandbox"), EXPIRES_AT_SECONDS + 1).await?, Claimed::ByAnother);
    Ok(())
}

/// An invocation that failed does not make its retry wait; giving back twice is giving back.
pub async fn a_released_claim_is_free<S: Store>(world: &World<S>) -> Outcome {
    let (mine, anothers) = (world.claim(1, "r-1 sandbox"), world.claim(1, "r-2 sandbox"));
    assert_eq!(world.store.claim(&mine, NOW).await?, Claimed::Now);
    world.store.release(&mine).await?;
    world.store.release(&mine).await?;
    assert_eq!(world.store.claim(&anothers, NOW).await?, Claimed::Now);
    Ok(())
}

/// Whoever is late does not take the claim from who has it now; what was never claimed can be given back, too.
pub async fn anothers_claim_is_not_released<S: Store>(world: &World<S>) -> Outcome {
    let (mine, anothers) = (world.claim(1, "r-1 sandbox"), world.claim(1, "r-2 sandbox"));
    world.store.release(&mine).await?;
    assert_eq!(world.store.claim(&anothers, NOW).await?, Claimed::Now);
    world.store.release(&mine).await?;
    assert_eq!(world.store.claim(&mine, NOW).await?, Claimed::ByAnother);
    Ok(())
}

/// Sandboxes that begin at the same time.
pub async fn of_concurrent_claims_exactly_one_is_taken<S: Store>(world: &World<S>) -> Outcome {
    let claims: Vec<_> = (0..20).map(|n| world.claim(1, &format!("r-{n} sandbox"))).collect();
    let taken = try_join_all(claims.iter().map(|claim| world.store.claim(claim, NOW))).await?;
    assert_eq!(taken.iter().filter(|taken| **taken == Claimed::Now).count(), 1, "{taken:?}");
    Ok(())
}

/// R-COMMIT-2 does not ask for a claim, and a claim does not ask for a record.
pub async fn claims_and_records_leave_each_other_alone<S: Store>(world: &World<S>) -> Outcome {
    assert_eq!(world.store.claim(&world.claim(1, "r-1 sandbox"), NOW).await?, Claimed::Now);
    assert_eq!(world.stored(world.transaction(1)).await?, None, "a claim is no record");
    let record = world.record(1, Writes::new(), "answer");
    assert_eq!(world.store.commit(&record).await?, Committed::Now, "whoever holds the claim");
    assert_eq!(
        world.store.claim(&world.claim(1, "r-2 sandbox"), NOW).await?,
        Claimed::ByAnother,
        "outlived, not ended"
    );
    world.store.release(&world.claim(1, "r-1 sandbox")).await?;
    assert_eq!(world.store.claim(&world.claim(1, "r-2 sandbox"), NOW).await?, Claimed::Now);
    assert_eq!(world.stored(world.transaction(1)).await?, Some(record));
    Ok(())
}
