//! Every request appends its own name to one list, and writes an entry of its own; some only look. Nothing is appended twice,
//! nothing that was acknowledged is missing, and every list that is read is a beginning of the last one.

use crate::ground::Ground;
use crate::job::{Job, Stop, key};

/// An entry, or a look.
///
/// # Errors
/// [`Stop`]
pub async fn handle<G: Ground>(job: &mut Job<'_, G>) -> Result<(), Stop> {
    let name = job.transaction().to_string();
    let ledger = key("ledger");
    let list = job.get(&ledger).await?.unwrap_or_default();
    let is_there = list.split(',').any(|entry| entry == name);
    if job.request().one_in(5) {
        let entry =
            list.split(',').next_back().filter(|entry| !entry.is_empty()).map(|entry| key(&format!("entry {entry}")));
        let Some(entry) = entry else { return Ok(()) };
        let said = job.get(&entry).await?;
        job.count(|tally| tally.audits += 1);
        job.claims("ledger", said.is_some(), format!("{entry:?} is in the list, and has no entry of its own"));
        return Ok(());
    }
    job.claims("ledger", !is_there, format!("{name} finds itself in the list, and is about to be there twice"));
    job.pause().await;
    let longer = if list.is_empty() { name.clone() } else { format!("{list},{name}") };
    job.write(&[(ledger, Some(&longer)), (key(&format!("entry {name}")), Some("1"))]).await
}
