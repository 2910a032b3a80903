//! Anything: reads of one key or several, writes, deletions and writes on condition, of a few keys; and explicit
//! transactions, several at once, in either isolation.

use aft_extension::session::{CommitResult, Explicit, Named, Started};
use aft_protocol::id::{Fingerprint, TransactionId};
use aft_protocol::isolation::Isolation;
use aft_protocol::key::Key;
use aft_protocol::record::Response;
use futures_util::future::join_all;

use crate::book::Told;
use crate::ground::Ground;
use crate::job::{Job, Stop, key};

const KEYS: u64 = 4;
/// Messages that all sandboxes get, again and again; and the first one's number.
const MESSAGES: u64 = 6;
const FIRST_MESSAGE: u128 = 900_000_000;

/// Some of everything.
///
/// # Errors
/// [`Stop`]
pub async fn handle<G: Ground>(job: &mut Job<'_, G>) -> Result<(), Stop> {
    work(job).await?;
    if job.chance.one_in(4) {
        let many = 1 + job.chance.below(3);
        let numbers: Vec<_> = (0..many).map(|_| job.chance.below(MESSAGES)).collect();
        let isolations: Vec<_> =
            numbers.iter().map(|_| job.chance.of(&[Isolation::ReadAtomic, Isolation::Serializable])).collect();
        let messages = numbers.into_iter().zip(isolations);
        // What has expired is another request when it comes again.
        let first = FIRST_MESSAGE + 1_000 * job.era() as u128;
        let job = &*job;
        join_all(messages.map(|(number, isolation)| message(job, first + u128::from(number), isolation))).await;
    }
    Ok(())
}

fn any<G: Ground>(job: &Job<'_, G>) -> Key {
    key(&format!("key {}", job.chance.below(KEYS)))
}

async fn work<G: Ground>(job: &mut Job<'_, G>) -> Result<(), Stop> {
    for _ in 0..2 + job.chance.below(3) {
        let key = any(job);
        let said = job.chance.below(1_000).to_string();
        match job.chance.below(10) {
            0..=2 => job.write(&[(key, Some(&said))]).await?,
            3 => job.write(&[(key, None)]).await?,
            4 => {
                let said = (!job.chance.one_in(4)).then_some(said.as_str());
                job.write_as_read(&key, said).await?;
            }
            5 => {
                let other = any(job);
                if other != key {
                    job.write(&[(key, Some(&said)), (other, Some(&said))]).await?;
                }
            }
            6..=7 => {
                let keys = [key, any(job), any(job)];
                drop(job.read(&keys).await?);
            }
            _ => drop(job.get(&key).await?),
        }
        job.pause().await;
    }
    Ok(())
}

/// A message of a batch, in an explicit transaction.
async fn message<G: Ground>(owner: &Job<'_, G>, message: u128, isolation: Isolation) {
    let session = &owner.sandbox().session;
    let wanted = Explicit {
        transaction: TransactionId::from_bits(message),
        fingerprint: Fingerprint::of(b"{}"),
        origin: format!("simulated/{message}"),
        isolation: Some(isolation),
    };
    // Not to do it again is what the key is for: who begins after it was answered finds its record.
    let is_known = owner.is_answered(message);
    let begun = owner.begins(message, isolation);
    let mut job = match session.begin_explicit(Named::default(), wanted).await {
        Ok(Started::Open(number)) => {
            if is_known {
                owner.breach("R-COMMIT-2", format!("{message} is known to have committed, and is worked on again"));
            }
            begun.numbered(number.get())
        }
        Ok(Started::Committed(response)) => {
            begun.forget();
            return owner.answered(message, &response.body);
        }
        Err(_) => return begun.forget(),
    };
    let named = job.named();
    if Box::pin(work(&mut job)).await.is_err() {
        if session.abort_explicit(named).is_ok() {
            job.told(Told::Aborted);
        }
        return;
    }
    let response = Response { content_type: None, body: job.response().to_owned().into() };
    match session.commit_explicit(named, response.clone()).await {
        Ok(CommitResult::Committed) => {
            job.told(Told::Committed);
            owner.answered(message, &response.body);
        }
        Ok(CommitResult::Duplicate(recorded)) => {
            job.told(Told::Aborted);
            owner.answered(message, &recorded.body);
        }
        Ok(CommitResult::Conflict(..) | CommitResult::Failed(..)) => job.told(Told::Aborted),
        Ok(CommitResult::Mismatch) => job.breach("identity", format!("{message} has one payload")),
        Ok(CommitResult::Unknown(..)) | Err(_) => {}
    }
}
