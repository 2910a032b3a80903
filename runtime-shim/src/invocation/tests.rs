//! The whole transition table, every state with every event: what is not in the snapshot is impossible.

use super::{Event, Failure, State, Whose};
use crate::retry::{Cause, Decision};

const TABLE: &str = "\
Beginning + Opened -> Begun
Beginning + NotBegun -> Failed(NotBegun)
Beginning + Duplicate -> Released(Recorded)
Beginning + Refused -> Failed(Refused)
Begun + Duplicate -> Released(Recorded)
Begun + Refused -> Failed(Refused)
Begun + Handed -> Delivered
Begun + Crashed -> Aborting(Crash)
Begun + TimedOut -> Aborting(AttemptTimeout)
Delivered + Duplicate -> Released(Recorded)
Delivered + Refused -> Failed(Refused)
Delivered + Handed -> Delivered
Delivered + StreamBegan -> Streaming
Delivered + LookUpFailed -> Aborting(CommitFailed)
Delivered + Responded -> Responded
Delivered + HandlerFailed -> Aborting(Error)
Delivered + Crashed -> Aborting(Crash)
Delivered + TimedOut -> Aborting(AttemptTimeout)
Streaming + Responded -> Responded
Streaming + Crashed -> Aborting(Crash)
Streaming + TimedOut -> Aborting(AttemptTimeout)
Responded + Fits -> Committing
Responded + TooLarge -> Aborting(TooLarge)
Responded + Broken -> Aborting(Error)
Committing + Duplicate -> Released(Recorded)
Committing + Refused -> Failed(Refused)
Committing + Committed -> Released(Handlers)
Committing + Conflicted(Redeliver) -> Redeliver
Committing + Conflicted(Report) -> Failed(Attempt(Conflict))
Committing + CommitFailed(Redeliver) -> Redeliver
Committing + CommitFailed(Report) -> Failed(Attempt(CommitFailed))
Committing + Unknown -> Failed(Unknown)
Aborting(Error) + Duplicate -> Released(Recorded)
Aborting(Error) + Refused -> Failed(Refused)
Aborting(Error) + Conflicted(Redeliver) -> Redeliver
Aborting(Error) + Conflicted(Report) -> Failed(Attempt(Conflict))
Aborting(Error) + Aborted(Redeliver) -> Redeliver
Aborting(Error) + Aborted(Report) -> Failed(Attempt(Error))
Aborting(Crash) + Duplicate -> Released(Recorded)
Aborting(Crash) + Refused -> Failed(Refused)
Aborting(Crash) + Conflicted(Redeliver) -> Redeliver
Aborting(Crash) + Conflicted(Report) -> Failed(Attempt(Conflict))
Aborting(Crash) + Aborted(Redeliver) -> Redeliver
Aborting(Crash) + Aborted(Report) -> Failed(Attempt(Crash))
Aborting(AttemptTimeout) + Duplicate -> Released(Recorded)
Aborting(AttemptTimeout) + Refused -> Failed(Refused)
Aborting(AttemptTimeout) + Aborted(Redeliver) -> Redeliver
Aborting(AttemptTimeout) + Aborted(Report) -> Failed(Attempt(AttemptTimeout))
Aborting(Conflict) + Duplicate -> Released(Recorded)
Aborting(Conflict) + Refused -> Failed(Refused)
Aborting(Conflict) + Aborted(Redeliver) -> Redeliver
Aborting(Conflict) + Aborted(Report) -> Failed(Attempt(Conflict))
Aborting(CommitFailed) + Duplicate -> Released(Recorded)
Aborting(CommitFailed) + Refused -> Failed(Refused)
Aborting(CommitFailed) + Aborted(Redeliver) -> Redeliver
Aborting(CommitFailed) + Aborted(Report) -> Failed(Attempt(CommitFailed))
Aborting(TooLarge) + Duplicate -> Released(Recorded)
Aborting(TooLarge) + Refused -> Failed(Refused)
Aborting(TooLarge) + Aborted(Redeliver) -> Redeliver
Aborting(TooLarge) + Aborted(Report) -> Failed(Attempt(TooLarge))
Redeliver + NextAttempt -> Beginning
";

fn states() -> Vec<State> {
    let mut states = vec![State::Beginning, State::Begun, State::Delivered, State::Streaming, State::Responded];
    states.push(State::Committing);
    states.extend(Cause::ALL.map(State::Aborting));
    states.extend([State::Redeliver, State::Released(Whose::Handlers), State::Released(Whose::Recorded)]);
    states.extend([State::Failed(Failure::NotBegun), State::Failed(Failure::Unknown)]);
    states.push(State::Failed(Failure::Refused));
    states.extend(Cause::ALL.map(|cause| State::Failed(Failure::Attempt(cause))));
    states
}

fn events() -> Vec<Event> {
    let both = [Decision::Redeliver, Decision::Report];
    let mut events = vec![Event::Opened, Event::NotBegun, Event::Duplicate, Event::Refused];
    events.extend([Event::Handed, Event::StreamBegan]);
    events.push(Event::LookUpFailed);
    events.extend([Event::Responded, Event::Fits, Event::TooLarge, Event::Broken, Event::HandlerFailed]);
    events.extend([Event::Crashed, Event::TimedOut, Event::Committed]);
    events.extend(both.map(Event::Conflicted));
    events.extend(both.map(Event::CommitFailed));
    events.push(Event::Unknown);
    events.extend(both.map(Event::Aborted));
    events.push(Event::NextAttempt);
    events
}

#[test]
fn the_table_is_the_whole_table() {
    let mut table = String::new();
    for state in states() {
        for event in events() {
            if let Ok(next) = state.on(event) {
                table.push_str(&format!("{state:?} + {event:?} -> {next:?}\n"));
            }
        }
    }
    assert_eq!(table, TABLE);
}

#[test]
fn a_handlers_response_is_released_only_by_a_commit() {
    for state in states() {
        for event in events() {
            if state.on(event) == Ok(State::Released(Whose::Handlers)) {
                assert_eq!((state, event), (State::Committing, Event::Committed));
            }
        }
    }
}

#[test]
fn the_ends_are_ends() {
    for state in states().into_iter().filter(|state| matches!(state, State::Released(_) | State::Failed(_))) {
        for event in events() {
            let error = state.on(event).unwrap_err();
            assert!(error.to_string().contains("a fault of aft-runtime-shim"));
        }
    }
}
