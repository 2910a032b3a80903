//! Transfers between any two of a few accounts, and audits of all of them. Among serializable transactions that commit, every
//! audit finds the whole sum. Read atomic does not promise that, and there it is counted how often it is not so.

use aft_protocol::key::Key;

use crate::ground::Ground;
use crate::job::{Job, Stop, key};

const ACCOUNTS: u64 = 4;
/// What an account holds that nobody has written yet.
const OPENING: i64 = 100;

/// A transfer or an audit. Of an audit only what commits counts: so what it has found is checked at the end.
///
/// # Errors
/// [`Stop`]
pub async fn handle<G: Ground>(job: &mut Job<'_, G>, is_promised: bool) -> Result<(), Stop> {
    let request = job.request();
    if request.one_in(3) {
        return audit(job, is_promised).await;
    }
    let from = request.below(ACCOUNTS);
    let to = (from + 1 + request.below(ACCOUNTS - 1)) % ACCOUNTS;
    let (from, to) = (account(from), account(to));
    let left = balance(job.get(&from).await?.as_deref());
    let right = balance(job.get(&to).await?.as_deref());
    let amount = i64::try_from(request.below(150)).unwrap_or_default();
    if amount > left {
        return Ok(());
    }
    job.pause().await;
    let (left, right) = ((left - amount).to_string(), (right + amount).to_string());
    job.write(&[(from, Some(&left)), (to, Some(&right))]).await
}

fn account(number: u64) -> Key {
    key(&format!("account {number}"))
}

fn balance(said: Option<&str>) -> i64 {
    said.and_then(|said| said.parse().ok()).unwrap_or(OPENING)
}

async fn audit<G: Ground>(job: &mut Job<'_, G>, is_promised: bool) -> Result<(), Stop> {
    let all: Vec<Key> = (0..ACCOUNTS).map(account).collect();
    let mut sum = 0;
    if job.chance.one_in(2) {
        sum += job.read(&all).await?.values().map(|said| balance(said.as_deref())).sum::<i64>();
    } else {
        for key in all {
            sum += balance(job.get(&key).await?.as_deref());
            job.pause().await;
        }
    }
    let whole = OPENING * ACCOUNTS as i64;
    if is_promised {
        job.claims("bank", sum == whole, format!("an audit found {sum} instead of {whole} in all accounts"));
    } else if sum != whole {
        job.count(|tally| tally.unpromised += 1);
    }
    Ok(())
}
