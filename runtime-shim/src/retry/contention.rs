//! What pauses after conflicts are worth: contenders for one key in virtual time, with optimistic commits (whoever commits first
//! wins, everybody else who had read runs again), under the policy that ships and under those that it was compared with.
//!
//! `cargo test -p aft-runtime-shim contention -- --nocapture` prints the table of `docs/adr/0020`. It is not a model of DynamoDB:
//! requests take no capacity and are never throttled, so that attempts a commit are the price to look at beside the time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use aft_protocol::id::{AttemptNumber, TransactionId};

use super::{Cause, Causes, Failed, LONGEST_PAUSE, Policy, Verdict, decide};

/// Commits of all contenders together.
const COMMITS: u32 = 1_600;
/// Contenders who hope that the one who has waited longest is let through, if they are told.
const LEASE_ATTEMPTS: u32 = 2;

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let bits = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn up_to(&mut self, longest: Duration) -> Duration {
        Duration::from_micros(self.next() % (longest.as_micros() as u64 + 1))
    }
}

type Pause = fn(&Failed<'_>, &mut Random) -> Duration;

/// How contenders behave.
#[derive(Clone, Copy)]
struct Behaviour {
    name: &'static str,
    pause: Pause,
    /// After so many conflicts a contender says so, at no cost, and the others begin nothing until it is through or its lease is over.
    hint: Option<u32>,
}

fn shipped(failed: &Failed<'_>, _: &mut Random) -> Duration {
    let policy = Policy {
        max_attempts: 3,
        max_conflicts: u32::MAX,
        retried: Causes::parse("conflict").unwrap(),
        never: Vec::new(),
        reserve: Duration::ZERO,
        backoff: Duration::from_millis(20),
        attempt_limit: None,
    };
    match decide(failed, &policy) {
        Verdict::Again(pause) => pause,
        Verdict::Enough(reason) => panic!("{reason}"),
    }
}

fn doubled(base: Duration, conflicts: u32, longest: Duration) -> Duration {
    base.saturating_mul(1 << conflicts.saturating_sub(1).min(16)).min(longest)
}

const MS: Duration = Duration::from_millis(1);

const SHIPPED: Behaviour = Behaviour { name: "shipped: attempt x 2^n, to x 16", pause: shipped, hint: None };
const FORMER: Behaviour = Behaviour {
    name: "20 ms x 2^n, to 2 s, full jitter",
    pause: |failed, random| random.up_to(doubled(MS * 20, failed.conflicts, LONGEST_PAUSE)),
    hint: None,
};
const NONE: Behaviour = Behaviour { name: "none", pause: |_, _| Duration::ZERO, hint: None };

const BEHAVIOURS: [Behaviour; 9] = [
    NONE,
    FORMER,
    Behaviour {
        name: "20 ms x 2^n, to 2 s, equal jitter",
        pause: |failed, random| {
            let longest = doubled(MS * 20, failed.conflicts, LONGEST_PAUSE);
            longest / 2 + random.up_to(longest / 2)
        },
        hint: None,
    },
    Behaviour {
        name: "20 ms x 2^n, to 100 ms",
        pause: |failed, random| random.up_to(doubled(MS * 20, failed.conflicts, MS * 100)),
        hint: None,
    },
    Behaviour {
        name: "attempt x 2^n, to 2 s",
        pause: |failed, random| random.up_to(doubled(failed.took, failed.conflicts, LONGEST_PAUSE)),
        hint: None,
    },
    Behaviour {
        name: "attempt x 2^n, to x 4",
        pause: |failed, random| random.up_to(doubled(failed.took, failed.conflicts, failed.took * 4)),
        hint: None,
    },
    Behaviour {
        name: "attempt x 2^n to x 16, then halved",
        pause: |failed, random| {
            let up = failed.conflicts.min(5);
            let down = 10_u32.saturating_sub(failed.conflicts).max(1);
            random.up_to(doubled(failed.took, up.min(down), LONGEST_PAUSE))
        },
        hint: None,
    },
    SHIPPED,
    Behaviour { name: "shipped, with a hint after 8", pause: shipped, hint: Some(8) },
];

/// Who contends: think times between read and commit.
struct Contention {
    thinks: Vec<Duration>,
    /// Commits of each.
    commits: u32,
    /// If it is only about the first one's first commit: how long that may take.
    first_within: Option<Duration>,
}

impl Contention {
    fn of(contenders: u32, think: Duration) -> Self {
        Self { thinks: vec![think; contenders as usize], commits: COMMITS / contenders, first_within: None }
    }
}

struct Contender {
    think: Duration,
    committed: u32,
    attempt: AttemptNumber,
    conflicts: u32,
    transaction: TransactionId,
    /// When the transaction began, and its attempt.
    began: Duration,
    since: Duration,
    read: u64,
}

/// What it came to.
#[derive(Debug, Default)]
struct Outcome {
    elapsed: Duration,
    /// By transaction, sorted.
    attempts: Vec<u32>,
    latencies: Vec<Duration>,
    /// After how many attempts, and when, the first contender had committed.
    first: Option<(u32, Duration)>,
}

impl Outcome {
    fn attempts_a_commit(&self) -> f64 {
        f64::from(self.attempts.iter().sum::<u32>()) / self.attempts.len() as f64
    }

    fn p99<T: Copy>(sorted: &[T]) -> T {
        sorted[sorted.len() * 99 / 100]
    }
}

fn run(contention: &Contention, behaviour: &Behaviour, seed: u64) -> Outcome {
    let mut random = Random(seed);
    let (mut version, mut hinted) = (0_u64, None::<(usize, Duration)>);
    let mut contenders = Vec::new();
    let mut agenda = BinaryHeap::new();
    for (number, think) in contention.thinks.iter().copied().enumerate() {
        let at = random.up_to(think);
        contenders.push(Contender::new(think, at, &mut random));
        agenda.push(Reverse((at, number, false)));
    }
    let mut outcome = Outcome::default();
    while let Some(Reverse((now, number, commits))) = agenda.pop() {
        let contender = &mut contenders[number];
        if contention.first_within.is_some_and(|limit| now > limit) {
            break;
        }
        if !commits {
            if let Some((_, until)) = hinted.filter(|(other, until)| *other != number && *until > now) {
                agenda.push(Reverse((until.min(now + contender.think / 4), number, false)));
                continue;
            }
            (contender.since, contender.read) = (now, version);
            let takes = contender.think / 2 + random.up_to(contender.think);
            agenda.push(Reverse((now + takes, number, true)));
            continue;
        }
        // What comes between two attempts, or two transactions.
        let between = random.up_to(contender.think / 10);
        if contender.read != version {
            contender.conflicts += 1;
            let pause = (behaviour.pause)(&contender.failed(now), &mut random);
            contender.attempt = contender.attempt.next();
            if behaviour.hint.is_some_and(|after| contender.conflicts >= after)
                && hinted.is_none_or(|(_, until)| until <= now)
            {
                hinted = Some((number, now + contender.think * LEASE_ATTEMPTS));
                agenda.push(Reverse((now + between, number, false)));
            } else {
                agenda.push(Reverse((now + pause + between, number, false)));
            }
            continue;
        }
        version += 1;
        hinted = hinted.filter(|(other, _)| *other != number);
        outcome.attempts.push(contender.attempt.get());
        outcome.latencies.push(now - contender.began);
        outcome.elapsed = now;
        if number == 0 && contention.first_within.is_some() {
            outcome.first = Some((contender.attempt.get(), now));
            break;
        }
        let committed = contender.committed + 1;
        *contender = Contender { committed, ..Contender::new(contender.think, now + between, &mut random) };
        if committed < contention.commits {
            agenda.push(Reverse((now + between, number, false)));
        }
    }
    outcome.attempts.sort_unstable();
    outcome.latencies.sort_unstable();
    outcome
}

impl Contender {
    fn new(think: Duration, began: Duration, random: &mut Random) -> Self {
        let transaction = TransactionId::from_bits(u128::from(random.next()) << 64 | u128::from(random.next()));
        let attempt = AttemptNumber::FIRST;
        Self { think, committed: 0, attempt, conflicts: 0, transaction, began, since: began, read: 0 }
    }

    fn failed(&self, now: Duration) -> Failed<'static> {
        Failed {
            transaction: self.transaction,
            attempt: self.attempt,
            cause: Cause::Conflict,
            conflicts: self.conflicts,
            took: now - self.since,
            error_types: &[],
            released: false,
            time_left: Duration::MAX,
            needed: Duration::ZERO,
        }
    }
}

/// The worst or the mean of some seeds.
struct Row {
    /// In units of what it takes without any overlap.
    time: f64,
    attempts: f64,
    p99_attempts: u32,
    most_attempts: u32,
    p99_latency: f64,
    worst_latency: f64,
}

fn row(contenders: u32, think: Duration, behaviour: &Behaviour) -> Row {
    let contention = Contention::of(contenders, think);
    let runs: Vec<_> = (1..=2).map(|seed| run(&contention, behaviour, seed)).collect();
    let mean = |of: &dyn Fn(&Outcome) -> f64| runs.iter().map(of).sum::<f64>() / runs.len() as f64;
    // A turn of everybody.
    let round = think.as_secs_f64() * f64::from(contenders);
    Row {
        time: mean(&|run| run.elapsed.as_secs_f64() / (think.as_secs_f64() * f64::from(COMMITS))),
        attempts: mean(&Outcome::attempts_a_commit),
        p99_attempts: runs.iter().map(|run| Outcome::p99(&run.attempts)).max().unwrap(),
        most_attempts: runs.iter().filter_map(|run| run.attempts.last().copied()).max().unwrap(),
        p99_latency: mean(&|run| Outcome::p99(&run.latencies).as_secs_f64() / round),
        worst_latency: mean(&|run| run.latencies.last().unwrap().as_secs_f64() / round),
    }
}

#[test]
fn the_pause_that_ships_is_good_with_few_and_with_many() {
    println!("{:<36} think  who   time  attempts  p99  most  p99 latency  worst", "pause");
    for behaviour in &BEHAVIOURS {
        for think in [MS * 2, MS * 20] {
            for contenders in [2, 8, 32] {
                let row = row(contenders, think, behaviour);
                println!(
                    "{:<36} {think:>5?} {contenders:>4} {:>6.2} {:>9.1} {:>4} {:>5} {:>12.1} {:>6.1}",
                    behaviour.name,
                    row.time,
                    row.attempts,
                    row.p99_attempts,
                    row.most_attempts,
                    row.p99_latency,
                    row.worst_latency
                );
            }
        }
    }
    for think in [MS * 2, MS * 20] {
        for contenders in [2, 8, 32] {
            let [ours, former, none] = [SHIPPED, FORMER, NONE].map(|behaviour| row(contenders, think, &behaviour));
            let who = format!("{contenders} contenders, {think:?}");
            assert!(ours.time < 1.15, "{who}: {}", ours.time);
            assert!(ours.attempts < 6.0 && ours.attempts < none.attempts, "{who}: {}", ours.attempts);
            assert!(ours.most_attempts <= 100, "{who}: AFT_MAX_CONFLICTS would end one: {}", ours.most_attempts);
            assert!(ours.worst_latency < former.worst_latency, "{who}");
        }
    }
    // What it was before made short attempts wait for what was long over, and none at all is a waste with many.
    assert!(row(32, MS * 2, &FORMER).time > 1.5);
    assert!(row(32, MS * 2, &NONE).attempts > 3.0 * row(32, MS * 2, &SHIPPED).attempts);
}

/// What optimism cannot do: somebody who needs long, among many who do not and who never stop. Only a hint would help; the
/// deadline ends it.
#[test]
fn long_attempts_starve_among_short_ones() {
    let first = |behaviour: &Behaviour, times: u32| {
        let mut thinks = vec![MS * 2; 8];
        thinks[0] = MS * 2 * times;
        let contention = Contention { thinks, commits: u32::MAX, first_within: Some(Duration::from_secs(10)) };
        (1..=2).map(|seed| run(&contention, behaviour, seed).first).collect::<Vec<_>>()
    };
    let hint = BEHAVIOURS[8];
    for times in [2, 5, 50] {
        for behaviour in [NONE, SHIPPED, hint] {
            println!("one of 8 needs {times} times as long, {}: {:?}", behaviour.name, first(&behaviour, times));
        }
    }
    assert!(first(&SHIPPED, 50).iter().all(Option::is_none), "it has become able to: say so in the documents");
    assert!(first(&hint, 50).iter().all(Option::is_some));
}
