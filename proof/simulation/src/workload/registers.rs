//! Reading, changing and writing a few registers. The first transactions set them up, so that no read finds nothing: blind
//! writes and reads of the initial value hide faults from checkers. Every change leaves a witness under the name of what it
//! has overwritten, so that the order of a register's values is in the data, whatever the versions say.

use crate::ground::Ground;
use crate::job::{Job, Stop, key};

const REGISTERS: u64 = 3;

/// A change of one register or of two, or a look at all.
///
/// # Errors
/// [`Stop`]
pub async fn handle<G: Ground>(job: &mut Job<'_, G>) -> Result<(), Stop> {
    let request = job.request();
    let many = 1 + request.below(2);
    let first = request.below(REGISTERS);
    if request.one_in(4) {
        for register in 0..REGISTERS {
            job.get(&key(&format!("register {register}"))).await?;
        }
        return Ok(());
    }
    for register in (0..many).map(|next| (first + next) % REGISTERS) {
        let name = key(&format!("register {register}"));
        let before = job.get(&name).await?;
        let after = format!("{}.{}", job.response().replace('/', "."), register);
        if let Some(before) = &before {
            let witness = key(&format!("after {before}"));
            // Among serializable transactions, nobody has overwritten what is there.
            let other = job.get(&witness).await?;
            let is_promised = job.isolation().is_serializable();
            if is_promised {
                job.claims(
                    "registers",
                    other.is_none(),
                    format!("{before} was there, and {other:?} has overwritten it"),
                );
            } else if other.is_some() {
                job.count(|tally| tally.unpromised += 1);
            }
            job.write(&[(witness, Some(&after))]).await?;
        }
        job.pause().await;
        job.write(&[(name, Some(&after))]).await?;
    }
    Ok(())
}
