//! Every promise with a history that breaks it, who is blamed for that, and the nearest history that does not break it.
#![allow(missing_docs, clippy::unwrap_used)]

mod made;

use aft_history::checker::{Because, Expect, Level, Promise, Sessions, Versions, check, check_serializable};
use made::{Made, attempt, history};

/// A bystander that must never be blamed comes with each.
fn judge(expect: Expect, attempts: Vec<Made>) -> Result<(), (Promise, Vec<String>, Vec<String>)> {
    let bystander = [
        attempt("bystander").read("elsewhere", "").wrote("bystander", &["elsewhere"]),
        attempt("onlooker").read("elsewhere", "bystander").at(2, 8),
    ];
    let all = history(attempts.into_iter().chain(bystander));
    let broken = check(&all, expect).err().map(|breach| {
        let names = breach.transactions.iter().map(|name| name.split('#').next().unwrap().to_owned());
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        assert!(names.iter().all(|name| name != "bystander" && name != "onlooker"), "{breach}");
        assert_eq!(breach.attempts.len(), breach.transactions.len());
        (breach.promise, names, breach.keys.clone())
    });
    broken.map_or(Ok(()), Err)
}

#[track_caller]
fn breaks_if(expect: Expect, promise: Promise, names: &[&str], keys: &[&str], attempts: Vec<Made>) {
    let (found, blamed, over) = judge(expect, attempts).unwrap_err();
    assert_eq!((found, blamed, over), (promise, owned(names), owned(keys)));
}

#[track_caller]
fn breaks(promise: Promise, names: &[&str], keys: &[&str], attempts: Vec<Made>) {
    breaks_if(Expect::default(), promise, names, keys, attempts);
}

#[track_caller]
fn keeps(attempts: Vec<Made>) {
    assert_eq!(judge(Expect::default(), attempts), Ok(()));
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn read_your_writes() {
    let reader = |steps: &[&str]| attempt("own").read("a", "v1").wrote("v2", &["a"]).steps(steps);
    let writer = || attempt("first").wrote("v1", &["a"]).steps(&["w a x"]);
    keeps(vec![writer(), reader(&["r a x", "w a y", "r a y", "w a z", "r a z"])]);
    let own = |steps: &[&str]| vec![writer(), reader(steps)];
    breaks(Promise::ReadYourWrites, &["first", "own"], &["a"], own(&["r a x", "w a y", "r a x"]));
    breaks(Promise::ReadYourWrites, &["own"], &["a"], own(&["r a x", "w a y", "w a z", "r a y"]));
    breaks(Promise::ReadYourWrites, &["own"], &["a"], own(&["r a x", "w a y", "r a"]));
}

#[test]
fn repeatable_read() {
    let writers = || {
        [
            attempt("first").wrote("v1", &["a"]).steps(&["w a x"]),
            attempt("second").wrote("v2", &["a"]).steps(&["w a y"]),
        ]
    };
    let all = |steps: &[&str]| writers().into_iter().chain([attempt("twice").read("a", "v1").steps(steps)]).collect();
    keeps(all(&["r a x", "r a x"]));
    breaks(Promise::RepeatableRead, &["second", "twice"], &["a"], all(&["r a x", "r a y"]));
    breaks(Promise::RepeatableRead, &["twice"], &["a"], all(&["r a x", "r a"]));
    let told = attempt("twice").read("a", "v1").read("a", "v2");
    breaks(Promise::RepeatableRead, &["twice"], &["a"], writers().into_iter().chain([told]).collect());
}

#[test]
fn reads_of_what_nobody_wrote() {
    breaks(Promise::UnwrittenRead, &["audit"], &["a"], vec![attempt("audit").read("a", "v9")]);
    let writer = || attempt("other").wrote("v1", &["b"]).steps(&["w b x"]);
    breaks(Promise::UnwrittenRead, &["audit"], &["a"], vec![writer(), attempt("audit").read("a", "v1")]);
    breaks(
        Promise::UnwrittenRead,
        &["audit"],
        &["b"],
        vec![writer(), attempt("audit").read("b", "v1").steps(&["r b q"])],
    );
    breaks(Promise::UnwrittenRead, &["early"], &["a"], vec![attempt("early").read("a", "v1").wrote("v1", &["a"])]);
    // Whose steps were not noted may have written anything.
    let silent = attempt("other").wrote("v1", &["b"]);
    keeps(vec![silent, attempt("audit").read("b", "v1").steps(&["r b q"])]);
}

#[test]
fn values_of_another_version() {
    let writers = || {
        [
            attempt("first").wrote("v1", &["a", "b"]).steps(&["w a x", "w b xb"]),
            attempt("second").wrote("v2", &["a"]).steps(&["w a y"]),
        ]
    };
    let all = |steps: &[&str]| writers().into_iter().chain([attempt("audit").read("a", "v1").steps(steps)]).collect();
    keeps(all(&["r a x"]));
    breaks(Promise::WrongValue, &["audit", "second"], &["a"], all(&["r a y"]));
    breaks(Promise::WrongValue, &["audit", "first"], &["a"], all(&["r a"]));
    breaks(Promise::WrongValue, &["audit", "first"], &["a"], all(&["r a xb"]));
}

#[test]
fn dirty_reads_and_phantoms() {
    let gone = |version| attempt("gone").wrote(version, &["a"]).steps(&["w a x"]).at(2, 5).aborted();
    let audit = |began| attempt("audit").read("a", "v1").steps(&["r a x"]).at(began, 9);
    breaks(Promise::DirtyRead, &["audit", "gone"], &["a"], vec![gone("v1"), audit(3)]);
    breaks(Promise::DirtyRead, &["audit", "gone"], &["a"], vec![gone("v1"), audit(5)]);
    breaks(Promise::Phantom, &["audit", "gone"], &["a"], vec![gone("v1"), audit(6)]);
    // It never got a version, but its value is there; under another's version, and for an attempt that is aborted itself.
    let other = || attempt("other").wrote("v1", &["a"]).steps(&["w a y"]);
    breaks(Promise::Phantom, &["audit", "gone"], &["a"], vec![gone(""), other(), audit(6).aborted()]);
    // Its own writes it may read.
    keeps(vec![attempt("gone").wrote("", &["a"]).steps(&["w a x", "r a x"]).aborted()]);
    // What is unknown and has no version has written nothing.
    breaks(Promise::DirtyRead, &["audit", "gone"], &["a"], vec![gone("").unknown(), other(), audit(3)]);
    keeps(vec![gone("v1").unknown(), audit(6)]);
}

#[test]
fn intermediate_reads() {
    let writer = || attempt("writer").wrote("v1", &["a"]).steps(&["w a x", "w a y"]);
    let audit = |value: &str| vec![writer(), attempt("audit").read("a", "v1").steps(&[&format!("r a {value}")])];
    keeps(audit("y"));
    breaks(Promise::IntermediateRead, &["audit", "writer"], &["a"], audit("x"));
}

#[test]
fn records_that_contradict_themselves() {
    let broken = |made: Made| judge(Expect::default(), vec![made]).unwrap_err().0;
    assert_eq!(broken(attempt("odd").wrote("v1", &["a"]).steps(&["w a x", "w b y"])), Promise::Record);
    assert_eq!(broken(attempt("odd").wrote("v1", &["a", "b"]).steps(&["w a x"])), Promise::Record);
    assert_eq!(broken(attempt("odd").steps(&["r a"])), Promise::Record);
    assert_eq!(broken(attempt("odd").read("a", "").read("b", "").steps(&["r a"])), Promise::Record);
    let twice = || attempt("one").wrote("v1", &["a"]).steps(&["w a x"]);
    let other = || attempt("two").wrote("v2", &["a"]).steps(&["w a x"]);
    breaks(Promise::UniqueNames, &["one", "two"], &["a"], vec![twice(), other()]);
    breaks(Promise::UniqueNames, &["one", "two"], &[], vec![twice(), attempt("two").wrote("v1", &["b"])]);
}

#[test]
fn exactly_once() {
    let both = |second: Made| vec![attempt("pay").wrote("v1", &["a"]), second];
    let again = || attempt("pay").number(2).read("a", "v1").wrote("v2", &["a"]);
    breaks(Promise::ExactlyOnce, &["pay", "pay"], &[], both(again()));
    keeps(both(again().aborted()));
    keeps(both(again().unknown()));
    let mut seen = both(again().unknown());
    seen.push(attempt("audit").read("a", "v2"));
    breaks(Promise::ExactlyOnce, &["pay", "pay"], &[], seen);
    // What wrote nothing may run for each delivery.
    keeps(vec![attempt("look").read("a", ""), attempt("look").number(2).read("a", "")]);
}

#[test]
fn acknowledged_and_not_there() {
    breaks(Promise::Lost, &["pay"], &["a", "b"], vec![attempt("pay").wrote("", &["a", "b"])]);
    keeps(vec![attempt("pay").wrote("", &["a", "b"]).aborted()]);
}

#[test]
fn fractured_reads() {
    let pair = || [attempt("first").wrote("v1", &["a", "b"]), attempt("second").wrote("v2", &["a", "b"]).read_atomic()];
    for made in [
        Made::done as fn(Made) -> _,
        |made| made.aborted().done(),
        |made| made.read_atomic().done(),
        |made| made.unknown().done(),
    ] {
        let all = |a: &str, b: &str| {
            let mut all = history(pair());
            all.push(made(attempt("audit").read("a", a).read("b", b)));
            check(&all, Expect { strict: false, ..Expect::default() })
                .map_err(|breach| (breach.promise, breach.transactions.len()))
        };
        assert!(all("v1", "v1").is_ok() && all("v2", "v2").is_ok() && all("", "").is_ok());
        assert_eq!(all("v1", "v2"), Err((Promise::FracturedRead, 3)));
        assert_eq!(all("v2", "v1"), Err((Promise::FracturedRead, 3)));
        assert_eq!(all("v1", ""), Err((Promise::FracturedRead, 2)));
        assert_eq!(all("", "v2"), Err((Promise::FracturedRead, 2)));
    }
}

/// Two transactions that are read one after the other: what is later of one is earlier of the other.
#[test]
fn the_levels_below_serializable() {
    let at = |level| Expect { level, ..Expect::default() };
    // Read committed looks back only: the older of a pair may be read first.
    let pair = || attempt("pair").wrote("v1", &["a", "b"]).read_atomic();
    let forward = || vec![pair(), attempt("audit").read("a", "").read("b", "v1").read_atomic()];
    let backward = || vec![pair(), attempt("audit").read("b", "v1").read("a", "").read_atomic()];
    assert_eq!(judge(at(Level::ReadCommitted), forward()), Ok(()));
    breaks_if(at(Level::ReadCommitted), Promise::ReadCommitted, &["audit", "pair"], &["a"], backward());
    breaks_if(at(Level::ReadAtomic), Promise::FracturedRead, &["audit", "pair"], &["a"], forward());
    // Causal looks through others.
    let through = || {
        vec![
            attempt("cause").wrote("v1", &["a"]).read_atomic(),
            attempt("effect").read("a", "v1").wrote("v2", &["b"]).read_atomic(),
            attempt("audit").read("b", "v2").read("a", "").read_atomic(),
        ]
    };
    assert_eq!(judge(at(Level::ReadAtomic), through()), Ok(()));
    breaks_if(at(Level::Causal), Promise::Causal, &["audit", "cause"], &["a"], through());
    // And a session is a cause, too.
    let session = || {
        vec![
            attempt("cause").wrote("v1", &["a"]).read_atomic().process(7).at(1, 2),
            attempt("audit").read("a", "").read_atomic().process(7).at(3, 4),
        ]
    };
    keeps(session());
    let processes = Expect { sessions: Sessions::Processes, ..Expect::default() };
    breaks_if(processes, Promise::FracturedRead, &["audit", "cause"], &["a"], session());
}

#[test]
fn the_order_of_versions() {
    // It read what it overwrote, and is older than that.
    let update = |read: &str, wrote: &str| {
        vec![
            attempt("first").wrote(read, &["a"]).read_atomic(),
            attempt("update").read("a", read).wrote(wrote, &["a"]).read_atomic(),
        ]
    };
    keeps(update("v1", "v2"));
    breaks(Promise::VersionOrder, &["first", "update"], &["a"], update("v2", "v1"));
    // Two blind writes, each of which is known to the other's reader.
    let around = || {
        vec![
            attempt("left").wrote("v2", &["a"]).read("b", "v1").read_atomic(),
            attempt("right").wrote("v1", &["b", "a"]).read_atomic(),
            attempt("last").read("a", "v2").wrote("v00", &["b"]).read_atomic(),
        ]
    };
    breaks(Promise::VersionOrder, &["last", "left", "right"], &["a", "b"], around());
    // Some order explains it, but not that of the versions.
    let blind = || vec![attempt("one").wrote("v2", &["a"]).at(1, 2), attempt("two").wrote("v1", &["a"]).at(3, 4)];
    breaks(Promise::VersionOrder, &["one", "two"], &["a"], blind());
    assert!(check_serializable(&history(blind()), Versions::Names { most_prefixes: 100 }, true).unwrap());
    // A circle of reads is none of versions.
    let circle = vec![
        attempt("one").read("b", "v2").wrote("v1", &["a"]).read_atomic(),
        attempt("two").read("a", "v1").wrote("v2", &["b"]).read_atomic(),
    ];
    breaks(Promise::ReadAtomic, &["one", "two"], &["a", "b"], circle);
}

#[test]
fn recent_reads_and_writes() {
    let writer = || attempt("first").wrote("v2", &["a"]).read_atomic().at(1, 3);
    let late = |version: &str| vec![writer(), attempt("late").read("a", version).read_atomic().at(4, 5)];
    let reads = Expect { recent_reads: true, ..Expect::default() };
    keeps(late(""));
    assert_eq!(judge(reads, late("v2")), Ok(()));
    breaks_if(reads, Promise::RecentRead, &["first", "late"], &["a"], late(""));
    let at_the_same_time = vec![writer(), attempt("late").read("a", "").read_atomic().at(3, 5)];
    assert_eq!(judge(reads, at_the_same_time), Ok(()));
    let behind = || vec![writer(), attempt("late").wrote("v1", &["a"]).read_atomic().at(4, 5)];
    keeps(behind());
    breaks_if(Expect { recent_writes: true, ..reads }, Promise::RecentWrite, &["first", "late"], &["a"], behind());
}

#[test]
fn what_is_not_serializable() {
    let rw = |name: &str, reads: &[(&str, &str)], version: &str, writes: &[&str]| {
        reads.iter().fold(attempt(name).wrote(version, writes), |made, (key, version)| made.read(key, version))
    };
    let lost_update = || vec![rw("one", &[("a", "")], "v1", &["a"]), rw("two", &[("a", "")], "v2", &["a"])];
    breaks(Promise::Serializable, &["one", "two"], &["a"], lost_update());
    let skew =
        || vec![rw("one", &[("a", ""), ("b", "")], "v1", &["a"]), rw("two", &[("a", ""), ("b", "")], "v2", &["b"])];
    breaks(Promise::Serializable, &["one", "two"], &["a", "b"], skew());
    let fork = || {
        vec![
            rw("left", &[], "v1", &["a"]),
            rw("right", &[], "v2", &["b"]),
            rw("sees-left", &[("a", "v1"), ("b", "")], "", &[]),
            rw("sees-right", &[("a", ""), ("b", "v2")], "", &[]),
        ]
    };
    breaks(Promise::Serializable, &["left", "right", "sees-left", "sees-right"], &["a", "b"], fork());
    // The same in read-atomic isolation is as promised; of one alone, too.
    let atomic = |attempts: Vec<Made>| attempts.into_iter().map(Made::read_atomic).collect::<Vec<_>>();
    for anomaly in [&lost_update as &dyn Fn() -> Vec<Made>, &skew, &fork] {
        keeps(atomic(anomaly()));
        let names = check_serializable(&history(anomaly()), Versions::Names { most_prefixes: 1_000 }, false);
        assert_eq!(names.unwrap_err().promise, Promise::Serializable);
    }
    // An aborted attempt's reads need not be serializable.
    let mut aborted = skew();
    aborted.push(rw("gone", &[("a", "v1"), ("b", "")], "", &[]).aborted());
    let second = aborted.remove(1).aborted();
    keeps(aborted.into_iter().chain([second]).collect());
}

#[test]
fn a_stale_read_breaks_the_order_of_time_only() {
    let stale = || vec![attempt("update").wrote("v1", &["a"]).at(1, 2), attempt("audit").read("a", "").at(3, 4)];
    breaks(Promise::StrictlySerializable, &["audit", "update"], &["a"], stale());
    assert_eq!(judge(Expect { strict: false, ..Expect::default() }, stale()), Ok(()));
    let all = history(stale());
    let breach = check(&all, Expect::default()).unwrap_err();
    assert_eq!(
        breach.cycle.iter().map(|link| link.because).collect::<Vec<_>>(),
        [Because::Answered, Because::Overwritten]
    );
    assert_eq!(
        breach.to_string(),
        "strictly serializable: update#1@0, audit#1@0; keys a; update#1@0 was answered before the beginning of audit#1@0; \
         audit#1@0 read the \"a\" that was overwritten by update#1@0"
    );
}

/// `docs/histories.md`: what a serializable transaction is promised next to read-atomic ones.
#[test]
fn a_read_atomic_neighbour_is_a_blind_write_of_each_key() {
    let loose = || attempt("loose").wrote("v2", &["a", "b"]).read_atomic();
    let first = || attempt("first").wrote("v1", &["a"]);
    // Nobody saw it: it may be anywhere.
    keeps(vec![first(), loose(), attempt("update").read("a", "v1").wrote("v3", &["a"])]);
    // Somebody saw it: it may be after the update, but for its version.
    let update = || attempt("update").read("a", "v1").wrote("v3", &["a"]).at(1, 2);
    let seen = || attempt("audit").read("a", "v2").at(3, 4);
    breaks(Promise::VersionOrder, &["loose", "update"], &["a"], vec![first(), loose(), update(), seen()]);
    // And it was overwritten after that: it was between the update's read and its write.
    let between = || vec![first(), loose(), update(), seen(), attempt("late").read("a", "v3").at(5, 6)];
    breaks(Promise::Serializable, &["loose", "update"], &["a"], between());
    let names = check_serializable(&history(between()), Versions::Names { most_prefixes: 1_000 }, false);
    assert!(names.unwrap(), "the late one may be before the audit, if time does not count");
}

#[test]
fn an_unknown_outcome_counts_if_somebody_saw_it() {
    let first = || attempt("first").wrote("v1", &["a"]).at(1, 2);
    let update = || attempt("update").read("a", "v1").wrote("v2", &["a"]).at(3, 4);
    let unknown = || attempt("unknown").read("a", "v1").wrote("v3", &["a", "b"]).unknown().at(3, 4);
    keeps(vec![first(), update(), unknown()]);
    let seen = vec![first(), update(), unknown(), attempt("audit").read("b", "v3").read_atomic().aborted().at(5, 6)];
    breaks(Promise::Serializable, &["unknown", "update"], &["a"], seen);
}

#[test]
fn a_search_that_takes_too_long_is_given_up() {
    let update = |name: &str, version: &str| attempt(name).read("a", "").wrote(version, &["a"]);
    let apart =
        |number: usize| attempt(&format!("apart-{number}")).wrote(&format!("w{number}"), &[&format!("k{number}")]);
    let all = |apart_from: usize| {
        history([update("one", "v1"), update("two", "v2")].into_iter().chain((0..apart_from).map(apart)))
    };
    let names = Versions::Names { most_prefixes: 1_000 };
    assert_eq!(check_serializable(&all(5), names, false).unwrap_err().promise, Promise::Serializable);
    assert!(!check_serializable(&all(20), names, false).unwrap(), "a million prefixes lead nowhere");
    assert!(check(&all(20), Expect { versions: names, strict: false, ..Expect::default() }).unwrap().gave_up);
}
