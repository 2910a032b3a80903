//! What was acknowledged is seen by who begins later: read, or overwritten. No level says so of transactions that are not
//! serializable; a store that says when a write is visible can.

use super::breach::{Breach, Promise};
use super::index::{Index, place};
use crate::format::Outcome;

/// Of one key: the acknowledged writes by the moment of the answer, each with the newest version up to it.
type Acknowledged = Vec<(u64, u32, u32)>;

pub(crate) fn check(index: &Index<'_>, reads: bool, writes: bool) -> Result<(), Box<Breach>> {
    if !reads && !writes {
        return Ok(());
    }
    let acknowledged = acknowledged(index);
    for (number, attempt) in index.history.iter().enumerate() {
        let newest = |key: u32| {
            let writes = &acknowledged[key as usize];
            let before = writes.partition_point(|(ended, _, _)| *ended < attempt.began);
            before.checked_sub(1).map(|position| (writes[position].1, writes[position].2 as usize))
        };
        let breach = |promise, other, key| Breach::of(promise, index.history, &[number, other], &[index.key(key)]);
        for read in index.reads(number).iter().filter(|_| reads) {
            let rank = read.writer.map_or(0, |writer| index.ranks[writer as usize]);
            if let Some((_, writer)) = newest(read.key).filter(|(newest, _)| *newest > rank) {
                return Err(breach(Promise::RecentRead, writer, read.key));
            }
        }
        for key in index.writes(number).iter().filter(|_| writes && index.visible[number]) {
            if let Some((_, writer)) = newest(*key).filter(|(newest, _)| *newest > index.ranks[number]) {
                return Err(breach(Promise::RecentWrite, writer, *key));
            }
        }
    }
    Ok(())
}

fn acknowledged(index: &Index<'_>) -> Vec<Acknowledged> {
    let mut all: Vec<Acknowledged> = vec![Vec::new(); index.keys.len()];
    for (number, attempt) in index.history.iter().enumerate() {
        if attempt.outcome == Outcome::Committed && index.visible[number] {
            for key in index.writes(number) {
                all[*key as usize].push((attempt.ended, index.ranks[number], place(number)));
            }
        }
    }
    for writes in &mut all {
        writes.sort_unstable();
        for position in 1..writes.len() {
            let (_, rank, writer) = writes[position - 1];
            if rank > writes[position].1 {
                (writes[position].1, writes[position].2) = (rank, writer);
            }
        }
    }
    all
}
