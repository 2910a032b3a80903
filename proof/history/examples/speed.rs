//! How long the checker takes for a history as the simulation has them: 60 attempts over 8 keys, with steps.
//!
//! `cargo run --profile sim -p aft-history --example speed`
#![allow(clippy::print_stdout, reason = "it is all that this prints")]

use std::time::{Duration, Instant};

use aft_history::checker::{Expect, Versions, check};
use aft_history::format::{Attempt, Isolation, Outcome, Read, Step};
use fastrand::Rng;

const KEYS: usize = 8;
const HISTORIES: u64 = 2_000;

/// A serial run, whose attempts overlap in time.
fn history(seed: u64, attempts: u64) -> Vec<Attempt> {
    let mut rng = Rng::with_seed(seed);
    let mut store: Vec<Option<(String, String)>> = vec![None; KEYS];
    let mut history = Vec::new();
    for number in 0..attempts {
        let version = format!("01jd8v5q2m3k0-{number:026}");
        let (mut reads, mut writes, mut steps) = (Vec::new(), Vec::new(), Vec::new());
        for key in rng.choose_multiple(0..KEYS, 4) {
            let name = format!("key-{key}");
            reads.push(Read { key: name.clone(), version: store[key].as_ref().map(|(version, _)| version.clone()) });
            let read = |value| Step::Read { read: name.clone(), value };
            steps.push(read(store[key].as_ref().map(|(_, value)| value.clone())));
            if rng.bool() {
                let value = format!("{number}.{key}");
                steps.push(Step::Write { write: name.clone(), value: value.clone() });
                steps.push(read(Some(value.clone())));
                store[key] = Some((version.clone(), value));
                writes.push(name);
            }
        }
        history.push(Attempt {
            process: rng.u32(..4),
            transaction: format!("transaction-{number}"),
            attempt: 1,
            outcome: Outcome::Committed,
            isolation: if seed.is_multiple_of(2) { Isolation::Serializable } else { Isolation::ReadAtomic },
            began: number * 2,
            ended: number * 2 + 5,
            version: (!writes.is_empty()).then_some(version),
            reads,
            writes,
            steps,
        });
    }
    history
}

fn main() {
    for (what, attempts, expect) in [
        ("versions in order", 60, Expect::default()),
        ("with recent reads and writes", 60, Expect { recent_reads: true, recent_writes: true, ..Expect::default() }),
        ("versions are names", 60, Expect { versions: Versions::Names { most_prefixes: 10_000 }, ..Expect::default() }),
        ("versions in order", 6_000, Expect::default()),
    ] {
        let count = HISTORIES * 60 / attempts;
        let (mut kept, mut taken) = (0, Vec::new());
        for seed in 0..count {
            let history = history(seed, attempts);
            let started = Instant::now();
            kept += usize::from(check(&history, expect).is_ok());
            taken.push(started.elapsed());
        }
        taken.sort_unstable();
        let median = taken.get(taken.len() / 2).copied().unwrap_or(Duration::ZERO);
        println!("{attempts} attempts, {what}: median {median:?} of {count} histories, {kept} of them good");
    }
}
