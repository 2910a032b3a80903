//! Every way a decision can go; and, in virtual time, that an invocation never outruns its deadline.

use std::time::Duration;

use aft_protocol::id::{AttemptNumber, TransactionId};

use super::{Cause, Causes, Failed, LONGEST_PAUSE, Policy, Reason, Verdict, decide};

const ENOUGH: Duration = Duration::from_secs(60);
const RESERVE: Duration = Duration::from_millis(500);

fn policy() -> Policy {
    Policy {
        max_attempts: 3,
        max_conflicts: 100,
        retried: Causes::parse("error,crash,attempt-timeout,conflict,commit-failed").unwrap(),
        never: vec!["NoFunds".to_owned()],
        reserve: RESERVE,
        backoff: Duration::ZERO,
        attempt_limit: None,
    }
}

fn number(attempt: u32) -> AttemptNumber {
    (1..attempt).fold(AttemptNumber::FIRST, |number, _| number.next())
}

fn failed(attempt: u32, cause: Cause) -> Failed<'static> {
    let transaction = TransactionId::from_bits(7);
    let (attempt, needed) = (number(attempt), Duration::from_millis(20));
    let (conflicts, took) = (u32::from(cause == Cause::Conflict), Duration::ZERO);
    Failed {
        transaction,
        attempt,
        cause,
        conflicts,
        took,
        error_types: &[],
        released: false,
        time_left: ENOUGH,
        needed,
    }
}

/// All that fail by themselves.
fn failures() -> impl Iterator<Item = Cause> {
    Cause::ALL.into_iter().filter(|cause| ![Cause::TooLarge, Cause::Conflict].contains(cause))
}

#[test]
fn a_retry_needs_an_attempt_and_the_time_for_it() {
    let enough_is = |left, needed| Verdict::Enough(Reason::Time { left, needed });
    let just_short = RESERVE - Duration::from_micros(1);
    let again = Verdict::Again(Duration::ZERO);
    for (attempt, time_left, needed, expected) in [
        (1, RESERVE, Duration::ZERO, again.clone()),
        (2, RESERVE, RESERVE, again.clone()),
        (3, ENOUGH, Duration::ZERO, Verdict::Enough(Reason::Attempts(3))),
        (4, ENOUGH, Duration::ZERO, Verdict::Enough(Reason::Attempts(4))),
        (1, just_short, Duration::ZERO, enough_is(just_short, RESERVE)),
        (1, Duration::ZERO, Duration::ZERO, enough_is(Duration::ZERO, RESERVE)),
        (1, RESERVE, RESERVE * 2, enough_is(RESERVE, RESERVE * 2)),
        (1, Duration::MAX, Duration::MAX, again),
    ] {
        for cause in failures() {
            let failed = Failed { time_left, needed, ..failed(attempt, cause) };
            assert_eq!(decide(&failed, &policy()), expected, "{failed:?}");
        }
    }
}

/// Somebody else was faster: that says nothing about the handler, so it does not use up what is meant for one that fails.
#[test]
fn conflicts_are_counted_by_themselves() {
    let again = Verdict::Again(Duration::ZERO);
    let (attempts, too_many) = (Verdict::Enough(Reason::Attempts(3)), Verdict::Enough(Reason::Conflicts(101)));
    for (attempt, conflicts, cause, expected) in [
        (1, 1, Cause::Conflict, again.clone()),
        (100, 100, Cause::Conflict, again.clone()),
        (101, 101, Cause::Conflict, too_many.clone()),
        // Two failures before do not matter.
        (102, 100, Cause::Conflict, again.clone()),
        (103, 101, Cause::Conflict, too_many),
        // And conflicts before do not, where the handler fails.
        (100, 99, Cause::Error, again.clone()),
        (101, 99, Cause::Error, again),
        (102, 99, Cause::Error, attempts.clone()),
        (102, 99, Cause::Crash, attempts),
    ] {
        let failed = Failed { conflicts, ..failed(attempt, cause) };
        assert_eq!(decide(&failed, &policy()), expected, "{failed:?}");
    }
    let never = Policy { max_conflicts: 0, ..policy() };
    assert_eq!(decide(&failed(1, Cause::Conflict), &never), Verdict::Enough(Reason::Conflicts(1)));
    let late = Failed { time_left: RESERVE / 2, ..failed(1, Cause::Conflict) };
    assert!(matches!(decide(&late, &policy()), Verdict::Enough(Reason::Time { .. })), "the deadline bounds them, too");
}

#[test]
fn only_the_causes_that_are_named_are_retried() {
    for named in Cause::ALL.into_iter().filter(|cause| *cause != Cause::TooLarge) {
        let policy = Policy { retried: Causes::parse(named.name()).unwrap(), ..policy() };
        for cause in Cause::ALL {
            let expected = match cause {
                Cause::TooLarge => Verdict::Enough(Reason::TooLarge),
                _ if cause == named => Verdict::Again(Duration::ZERO),
                _ => Verdict::Enough(Reason::Cause(cause.name())),
            };
            assert_eq!(decide(&failed(1, cause), &policy), expected);
        }
    }
    let none = Policy { retried: Causes::parse("none").unwrap(), ..policy() };
    assert_eq!(decide(&failed(1, Cause::Crash), &none), Verdict::Enough(Reason::Cause("crash")));
    for wrong in ["", "crash,", "Crash", "too-large", "error crash", "none,crash"] {
        assert_eq!(Causes::parse(wrong), None, "{wrong:?}");
    }
    assert_eq!(Causes::parse("crash , error"), Causes::parse("error,crash"));
}

#[test]
fn an_error_of_a_type_that_is_never_retried_is_not() {
    let types = |kinds: &[&str]| kinds.iter().map(|kind| (*kind).to_owned()).collect::<Vec<_>>();
    for (kinds, again) in [
        (types(&["NoFunds"]), false),
        (types(&["Unhandled", "NoFunds"]), false),
        (types(&["Unhandled", "NoFundsAtAll"]), true),
        (types(&[]), true),
    ] {
        let verdict = decide(&Failed { error_types: &kinds, ..failed(1, Cause::Error) }, &policy());
        assert_eq!(verdict == Verdict::Again(Duration::ZERO), again, "{kinds:?}: {verdict:?}");
        let conflict = decide(&Failed { error_types: &kinds, ..failed(1, Cause::Conflict) }, &policy());
        assert_eq!(conflict, Verdict::Again(Duration::ZERO), "what a handler made of a conflict is not its own error");
    }
}

#[test]
fn nothing_is_retried_after_a_byte_was_released() {
    for cause in Cause::ALL {
        let verdict = decide(&Failed { released: true, ..failed(1, cause) }, &policy());
        assert_eq!(verdict, Verdict::Enough(Reason::Released));
    }
}

/// The pause after an attempt at this transaction.
fn pause_of(number: u128, failed: &Failed<'_>) -> Duration {
    let transaction = TransactionId::from_bits(number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
    let policy =
        Policy { max_attempts: u32::MAX, max_conflicts: u32::MAX, backoff: Duration::from_millis(100), ..policy() };
    match decide(&Failed { transaction, ..*failed }, &policy) {
        Verdict::Again(pause) => pause,
        Verdict::Enough(reason) => panic!("{reason}"),
    }
}

fn assert_spread_up_to(longest: Duration, failed: &Failed<'_>) {
    let pauses: Vec<_> = (0..1_000).map(|number| pause_of(number, failed)).collect();
    assert!(pauses.iter().all(|pause| *pause <= longest.min(LONGEST_PAUSE)), "{failed:?}");
    let quarter = |n: u32| {
        let range = longest * n / 4..longest * (n + 1) / 4;
        pauses.iter().filter(|pause| range.contains(*pause)).count()
    };
    assert!((0..4).all(|n| quarter(n) > 150), "{failed:?} is not spread evenly");
    assert_eq!(pause_of(1, failed), pause_of(1, failed), "a seed gives the same schedule");
}

#[test]
fn pauses_double_are_spread_and_have_a_bound() {
    for (failures, longest) in [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1_600), (6, 2_000), (60, 2_000)] {
        for conflicts in [0, 7] {
            let failed = Failed { conflicts, ..failed(failures + conflicts, Cause::Error) };
            assert_spread_up_to(Duration::from_millis(longest), &failed);
        }
    }
}

/// As long as others most likely need, which is what this one needed.
#[test]
fn pauses_after_conflicts_are_measured_by_the_attempt() {
    for (took, conflicts, longest) in
        [(30, 1, 30), (30, 2, 60), (30, 4, 240), (30, 5, 480), (30, 6, 480), (30, 90, 480), (900, 9, 2_000)]
    {
        for failures in [0, 3] {
            let took = Duration::from_millis(took);
            let failed = Failed { conflicts, took, ..failed(failures + conflicts, Cause::Conflict) };
            assert_spread_up_to(Duration::from_millis(longest), &failed);
        }
    }
}

/// The pause is part of what must fit.
#[test]
fn a_pause_that_would_outlast_the_deadline_is_no_pause() {
    let policy = Policy { backoff: Duration::from_secs(2), reserve: Duration::ZERO, ..policy() };
    for bits in 0..500 {
        let time_left = Duration::from_millis(900);
        let failed = Failed { transaction: TransactionId::from_bits(bits << 3), time_left, ..failed(1, Cause::Crash) };
        match decide(&failed, &policy) {
            Verdict::Again(pause) => assert!(pause + failed.needed <= time_left),
            Verdict::Enough(reason) => assert!(matches!(reason, Reason::Time { .. }), "{reason}"),
        }
    }
}

#[test]
fn one_attempt_is_one_attempt() {
    let once = Policy { max_attempts: 1, max_conflicts: 0, reserve: Duration::ZERO, ..policy() };
    for cause in Cause::ALL {
        assert!(matches!(decide(&failed(1, cause), &once), Verdict::Enough(_)));
    }
}
