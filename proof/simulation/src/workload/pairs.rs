//! Pairs of keys that only ever change together. Whoever reads both sees both halves of one change, in either isolation
//! (R-READ-1).

use crate::ground::Ground;
use crate::job::{Job, Stop, key};

const PAIRS: u64 = 3;

/// A change of a pair, or an audit of one or two.
///
/// # Errors
/// [`Stop`]
pub async fn handle<G: Ground>(job: &mut Job<'_, G>) -> Result<(), Stop> {
    let request = job.request();
    let pair = request.below(PAIRS);
    if request.one_in(2) {
        audit(job, pair).await?;
        return if request.one_in(3) { audit(job, (pair + 1) % PAIRS).await } else { Ok(()) };
    }
    if job.chance.one_in(2) {
        audit(job, pair).await?;
    }
    let said = format!("{}-{}", job.transaction(), job.chance.below(1_000_000));
    let said = (!job.chance.one_in(8)).then_some(said.as_str());
    let [left, right] = halves(pair);
    if job.chance.one_in(2) {
        job.write(&[(left, said), (right, said)]).await?;
    } else {
        job.write(&[(right, said)]).await?;
        job.pause().await;
        job.write(&[(left, said)]).await?;
    }
    if job.chance.one_in(4) { audit(job, pair).await } else { Ok(()) }
}

fn halves(pair: u64) -> [aft_protocol::key::Key; 2] {
    [key(&format!("pair {pair} left")), key(&format!("pair {pair} right"))]
}

async fn audit<G: Ground>(job: &mut Job<'_, G>, pair: u64) -> Result<(), Stop> {
    let [left, right] = halves(pair);
    let (one, other) = if job.chance.one_in(3) {
        let mut both = job.read(&[left.clone(), right.clone()]).await?;
        (both.remove(&left).flatten(), both.remove(&right).flatten())
    } else if job.chance.one_in(2) {
        let one = job.get(&left).await?;
        job.pause().await;
        (one, job.get(&right).await?)
    } else {
        let other = job.get(&right).await?;
        job.pause().await;
        (job.get(&left).await?, other)
    };
    job.count(|tally| tally.audits += 1);
    if one != other {
        let transaction = job.transaction();
        job.breach(
            "pairs",
            format!("{transaction} found {one:?} and {other:?} in the halves of pair {pair} (R-READ-1)"),
        );
    }
    Ok(())
}
