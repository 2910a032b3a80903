//! Seeded invocations in virtual time: the state machine, the retry policy and the learnt times together, with runtimes that
//! answer, fail, crash and hang, commits that conflict and are slow, streams, duplicates, and a sandbox that is frozen.
//!
//! What must hold of each: no attempt starts that most likely does not fit before the deadline, none follows a released
//! byte, a response is released by a commit only, there are never more attempts than allowed, and there is one end.

use std::time::Duration;

use aft_protocol::id::{AttemptNumber, TransactionId};

use super::{Event, Failure, State, Whose};
use crate::estimate::Pace;
use crate::retry::{Cause, Causes, Decision, Failed, Policy, Verdict, decide};

const SEEDS: u64 = 20_000;
/// Invocations of one sandbox, one after the other.
const INVOCATIONS: u32 = 12;

/// xorshift64* (Vigna, 2016): enough for a schedule.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    /// Between a half of it and one and a half.
    fn around(&mut self, middle: Duration) -> Duration {
        middle / 2 + Duration::from_micros(self.below(middle.as_micros() as u64 + 1))
    }
}

/// One sandbox's world: how long things take in it, and what time it is.
struct World {
    random: Random,
    now: Duration,
    policy: Policy,
    pace: Pace,
    attempt_takes: Duration,
    commit_takes: Duration,
    start_takes: Duration,
    trouble: u64,
    is_up: bool,
    tally: Tally,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    released: u64,
    failed: u64,
    attempts: u64,
    retried: u64,
    /// Retries that outran the deadline although nothing unusual happened to them.
    outrun: u64,
    no_time: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let ms = Duration::from_millis;
        let attempt_takes = ms(1 + random.below(400));
        let limit = random.one_in(2).then(|| attempt_takes * 4);
        let start_takes = ms(1 + random.below(300));
        let mut pace = Pace::default();
        // The sandbox's own start.
        pace.start.observe(random.around(start_takes));
        Self {
            policy: Policy {
                max_attempts: 1 + random.below(5) as u32,
                max_conflicts: random.below(8) as u32,
                retried: Causes::parse("error,crash,attempt-timeout,conflict,commit-failed").unwrap(),
                never: Vec::new(),
                reserve: ms(random.below(3) * 50),
                backoff: ms(random.below(3) * 20),
                attempt_limit: limit,
            },
            now: Duration::ZERO,
            pace,
            attempt_takes,
            commit_takes: ms(1 + random.below(30)),
            start_takes,
            trouble: 2 + random.below(8),
            is_up: true,
            tally: Tally::default(),
            random,
        }
    }

    /// Time passes; now and then the sandbox is frozen in it, and more of it passes than anybody meant.
    fn pass(&mut self, time: Duration) -> bool {
        let frozen = self.random.one_in(200);
        self.now += time + if frozen { Duration::from_secs(self.random.below(30)) } else { Duration::ZERO };
        frozen
    }

    fn invoke(&mut self, transaction: TransactionId) {
        let deadline = self.now + self.attempt_takes * (1 + self.random.below(6) as u32) + Duration::from_millis(200);
        let mut invocation = Invocation {
            transaction,
            deadline,
            state: State::Beginning,
            attempt: AttemptNumber::FIRST,
            conflicts: 0,
            since: self.now,
            released: false,
            committed: false,
            unusual: false,
        };
        loop {
            match invocation.state {
                State::Released(whose) => {
                    assert!(whose == Whose::Recorded || invocation.committed, "released without a commit");
                    self.tally.released += 1;
                    break;
                }
                State::Failed(failure) => {
                    assert!(!invocation.committed || failure == Failure::Unknown, "{failure:?} after a commit");
                    self.tally.failed += 1;
                    break;
                }
                _ => {
                    let event = self.step(&mut invocation);
                    invocation.state = invocation.state.on(event).unwrap();
                }
            }
        }
        assert!(invocation.conflicts <= self.policy.max_conflicts + 1);
        // Of those that were followed by another, fewer than the most have failed by themselves.
        assert!(invocation.attempt.get() <= self.policy.max_attempts + invocation.conflicts);
        if invocation.attempt > AttemptNumber::FIRST && !invocation.unusual && self.now > deadline {
            self.tally.outrun += 1;
        }
    }

    /// What happens next, and the time it takes.
    fn step(&mut self, invocation: &mut Invocation) -> Event {
        match invocation.state {
            State::Beginning => {
                self.tally.attempts += 1;
                invocation.since = self.now;
                if self.random.one_in(50) { Event::Duplicate } else { Event::Opened }
            }
            State::Begun => {
                if !self.is_up {
                    let took = self.random.around(self.start_takes);
                    invocation.unusual |= self.pass(took);
                    self.pace.start.observe(took);
                    self.is_up = true;
                }
                invocation.since = self.now;
                Event::Handed
            }
            State::Delivered if self.random.one_in(40) => Event::StreamBegan,
            State::Delivered | State::Streaming => self.run(invocation),
            State::Responded => {
                self.pace.attempt.observe(self.now - invocation.since);
                if self.random.one_in(60) { Event::TooLarge } else { Event::Fits }
            }
            State::Committing => self.commit(invocation),
            State::Aborting(Cause::Error | Cause::Crash) if self.random.one_in(3) => self.conflict(invocation),
            State::Aborting(cause) => Event::Aborted(self.decide(invocation, cause)),
            State::Redeliver => {
                self.tally.retried += 1;
                invocation.attempt = invocation.attempt.next();
                Event::NextAttempt
            }
            State::Released(_) | State::Failed(_) => unreachable!("the ends are ends"),
        }
    }

    fn run(&mut self, invocation: &mut Invocation) -> Event {
        invocation.released |= invocation.state == State::Streaming;
        let trouble = self.random.below(self.trouble * 3);
        if trouble == 0 && self.policy.attempt_limit.is_some() {
            // It hangs.
            let limit = self.policy.attempt_limit.unwrap_or_default();
            self.pass(limit);
            (self.is_up, invocation.unusual) = (false, true);
            return Event::TimedOut;
        }
        let took = self.random.around(self.attempt_takes);
        invocation.unusual |= self.pass(took);
        match trouble {
            1 => {
                self.is_up = false;
                Event::Crashed
            }
            2 if invocation.state == State::Delivered => Event::HandlerFailed,
            _ => Event::Responded,
        }
    }

    fn commit(&mut self, invocation: &mut Invocation) -> Event {
        let took = self.random.around(self.commit_takes);
        invocation.unusual |= self.pass(took);
        self.pace.commit.observe(took);
        match self.random.below(self.trouble * 4) {
            0 => self.conflict(invocation),
            1 => Event::CommitFailed(self.decide(invocation, Cause::CommitFailed)),
            2 => Event::Unknown,
            _ => {
                invocation.committed = true;
                Event::Committed
            }
        }
    }

    fn conflict(&mut self, invocation: &mut Invocation) -> Event {
        invocation.conflicts += 1;
        Event::Conflicted(self.decide(invocation, Cause::Conflict))
    }

    fn decide(&mut self, invocation: &mut Invocation, cause: Cause) -> Decision {
        let needed = self.pace.needed(self.now - invocation.since, self.policy.attempt_limit, self.is_up);
        let time_left = invocation.deadline.saturating_sub(self.now);
        let failed = Failed {
            transaction: invocation.transaction,
            attempt: invocation.attempt,
            cause,
            conflicts: invocation.conflicts,
            took: self.now - invocation.since,
            error_types: &[],
            released: invocation.released,
            time_left,
            needed,
        };
        let verdict = decide(&failed, &self.policy);
        match &verdict {
            Verdict::Again(pause) => {
                assert!(!invocation.released, "after a byte was released");
                assert!(time_left >= self.policy.reserve + *pause && time_left >= needed + *pause, "{failed:?}");
                self.now += *pause;
            }
            Verdict::Enough(crate::retry::Reason::Time { .. }) => self.tally.no_time += 1,
            Verdict::Enough(_) => {}
        }
        verdict.decision()
    }
}

struct Invocation {
    transaction: TransactionId,
    deadline: Duration,
    state: State,
    attempt: AttemptNumber,
    conflicts: u32,
    since: Duration,
    released: bool,
    committed: bool,
    /// It was frozen, or hung, so that no estimate could hold.
    unusual: bool,
}

fn run(seed: u64) -> Tally {
    let mut world = World::new(seed);
    for number in 0..INVOCATIONS {
        world.invoke(TransactionId::from_bits(u128::from(seed) << 64 | u128::from(number)));
        world.now += Duration::from_secs(world.random.below(100));
    }
    world.tally
}

#[test]
fn invocations_in_virtual_time_keep_to_their_deadlines() {
    let mut sum = Tally::default();
    for seed in 1..=SEEDS {
        let tally = run(seed);
        sum.released += tally.released;
        sum.failed += tally.failed;
        sum.attempts += tally.attempts;
        sum.retried += tally.retried;
        sum.outrun += tally.outrun;
        sum.no_time += tally.no_time;
    }
    // Every kind of end, and enough of each for the assertions on the way to mean something.
    assert!(sum.released > 100_000 && sum.failed > 10_000 && sum.retried > 10_000 && sum.no_time > 1_000, "{sum:?}");
    // What was learnt is worth something: hardly a retry that was started came too late.
    assert!(sum.outrun * 100 < sum.retried, "{sum:?}");
}

#[test]
fn a_seed_is_a_schedule() {
    for seed in [1, 77, 4_242] {
        assert_eq!(run(seed), run(seed));
    }
}
