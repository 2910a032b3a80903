//! The checkers, others' and ours: each accepts what is good and rejects what is not, and blames nobody who had no part in it.
//! With `HISTORIES_IN=folder` they judge the histories in there, too: `make histories`.
//!
//! Those that can judge every small history rightly, by trying all orders, are trusted with the large ones.
//!
//! A harness of its own, because whether Go is there is known only at run time.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use aft_history::checker::{self as promises, Expect, Promise};
use aft_history::format::{Attempt, Isolation, Malformed, Operation, Outcome, happened, operations, read, write};
use aft_tests::histories::adya;
use aft_tests::histories::generator::{LARGE, SMALL, generate, lose_an_update, move_a_read};
use aft_tests::histories::{ALL, Checker, Level, Verdict, files};
use aft_tests::tools::skipped;
use fastrand::Rng;
use libtest_mimic::{Arguments, Trial};

/// Of `tests/histories`, those that every checker accepts.
const GOOD: [&str; 5] = ["good", "good-mixed", "good-old", "good-steps", "good-unknown"];

/// Those that are not serializable, with those that are to blame: one of them at least is named, and the bystander never.
const BAD: [(&str, &[&str]); 12] = [
    ("aborted-read", &["aborted", "audit"]),
    ("audit-across-transfers", &["transfer-1", "transfer-2", "audit"]),
    ("fractured-read", &["transfer", "audit"]),
    ("long-fork", &["left", "right", "audit-left", "audit-right"]),
    ("lost-insert", &["first", "second"]),
    ("lost-update", &["first", "second"]),
    ("mixed-write-between", &["loose", "strict", "audit", "late"]),
    ("unknown-in-part", &["unknown", "audit"]),
    ("unknown-that-read-stale", &["update", "unknown", "audit"]),
    ("unwritten-read", &["audit"]),
    ("write-skew", &["first", "second"]),
    ("write-skew-absent", &["first", "second"]),
];

/// Serializable, but only against the order of real time.
const STALE: (&str, &[&str]) = ("stale-read", &["update", "audit"]);

type Test = (&'static str, fn(&Checker));

const TESTS: [Test; 6] = [
    ("accepts_what_is_good", accepts_what_is_good),
    ("rejects_what_is_not_serializable", rejects_what_is_not_serializable),
    ("rejects_what_is_only_too_late_if_it_is_strict", rejects_what_is_only_too_late_if_it_is_strict),
    ("judges_small_histories_as_if_it_had_tried_every_order", judges_small_histories_as_if_it_had_tried_every_order),
    ("accepts_large_histories", accepts_large_histories),
    ("rejects_large_histories_with_a_lost_update", rejects_large_histories_with_a_lost_update),
];

/// Where exported histories are.
const HISTORIES_IN: &str = "HISTORIES_IN";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut tests = TESTS.to_vec();
    if std::env::var_os(HISTORIES_IN).is_some() {
        tests.push(("accepts_the_exported_histories", accepts_the_exported_histories));
    }
    let mut alone: Vec<(&str, fn())> = vec![
        ("lists_in_elles_format_are_read_and_judged_alike", lists_in_elles_format_are_read_and_judged_alike),
        ("every_promise_is_judged_of_the_small_and_the_large", every_promise_is_judged_of_the_small_and_the_large),
        ("every_history_is_expected_to_be_judged", every_history_is_expected_to_be_judged),
        ("what_is_no_history_is_refused", what_is_no_history_is_refused),
        ("the_example_in_the_document_is_a_history", the_example_in_the_document_is_a_history),
    ];
    if std::env::var_os(HISTORIES_IN).is_some() {
        alone
            .push(("every_promise_is_kept_in_the_exported_histories", every_promise_is_kept_in_the_exported_histories));
    }
    let mut trials: Vec<Trial> = alone
        .into_iter()
        .map(|(test, run)| {
            Trial::test(test, move || {
                run();
                Ok(())
            })
        })
        .collect();
    let mut checkers = Vec::new();
    for (name, prepare) in ALL {
        match prepare() {
            Ok(checker) => {
                trials.extend(tests.iter().map(|(test, run)| {
                    let (checker, run) = (checker.clone(), *run);
                    Trial::test(format!("{name}::{test}"), move || {
                        run(&checker);
                        Ok(())
                    })
                }));
                checkers.push(checker);
            }
            Err(missing) => trials.extend(tests.iter().map(|(test, _)| skipped(format!("{name}::{test}"), &missing))),
        }
    }
    trials.push(Trial::test("no_checker_contradicts_another", move || {
        no_checker_contradicts_another(&checkers);
        Ok(())
    }));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("histories")
}

fn file(name: &str) -> PathBuf {
    folder().join(name).with_extension("jsonl")
}

fn every_history_is_expected_to_be_judged() {
    let mut expected: Vec<PathBuf> =
        GOOD.into_iter().chain(BAD.map(|(name, _)| name)).chain([STALE.0]).map(file).collect();
    expected.sort_unstable();
    assert_eq!(files(&folder()), expected);
}

fn what_is_no_history_is_refused() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("refused.jsonl");
    let refused = |spoil: fn(&mut Vec<Attempt>)| {
        let mut history = read(&self::file("good")).unwrap();
        spoil(&mut history);
        write(&file, &history).unwrap();
        read(&file).unwrap_err()
    };
    assert!(matches!(refused(Vec::clear), Malformed::Empty));
    assert!(matches!(refused(|history| history[0].ended = history[0].began), Malformed::Time(..)));
    assert!(matches!(refused(|history| history[0].writes.push("a".to_owned())), Malformed::KeyTwice(..)));
    assert!(matches!(refused(|history| history[0].version = None), Malformed::NoVersion(..)));
    assert!(matches!(refused(|history| history[1].version = history[0].version.clone()), Malformed::VersionTwice(..)));
    assert!(matches!(refused(|history| history[3].outcome = Outcome::Committed), Malformed::CommittedTwice(..)));
    std::fs::write(&file, "{}\n").unwrap();
    assert!(matches!(read(&file).unwrap_err(), Malformed::Line(1, _)));
}

fn the_example_in_the_document_is_a_history() {
    let document = std::fs::read_to_string(aft_tests::tools::repository().join("docs/histories.md")).unwrap();
    let example = document.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("example.jsonl");
    std::fs::write(&file, example).unwrap();
    let history = read(&file).unwrap();
    assert_eq!(history.len(), 3);
    write(&file, &history).unwrap();
    assert_eq!(read(&file).unwrap(), history);
}

fn accepts_what_is_good(checker: &Checker) {
    for name in GOOD {
        assert_eq!(checker.check(&file(name)), Verdict::Accepted, "{name}");
    }
}

fn rejects_what_is_not_serializable(checker: &Checker) {
    for (name, culprits) in BAD {
        rejects(checker, name, culprits);
    }
}

fn rejects_what_is_only_too_late_if_it_is_strict(checker: &Checker) {
    let (name, culprits) = STALE;
    match checker.level {
        Level::Serializable => assert_eq!(checker.check(&file(name)), Verdict::Accepted),
        Level::StrictlySerializable => rejects(checker, name, culprits),
    }
}

fn rejects(checker: &Checker, name: &str, culprits: &[&str]) {
    let verdict = checker.check(&file(name));
    let Verdict::Rejected { transactions, .. } = &verdict else { panic!("{name}: {verdict}") };
    let blamed: Vec<&str> = transactions.iter().map(|name| name.split('#').next().unwrap()).collect();
    assert!(blamed.iter().any(|name| culprits.contains(name)) && !blamed.contains(&"bystander"), "{name}: {verdict}");
}

/// The checker's verdicts on these.
fn judge(checker: &Checker, test: &str, histories: &[Vec<Attempt>]) -> Vec<Verdict> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("histories").join(checker.name).join(test);
    std::fs::create_dir_all(&folder).unwrap();
    let files: Vec<PathBuf> = (0..histories.len()).map(|number| folder.join(format!("{number}.jsonl"))).collect();
    for (file, history) in files.iter().zip(histories) {
        write(file, history).unwrap();
        assert_eq!(&read(file).unwrap(), history);
    }
    checker.check_all(&files)
}

fn judges_small_histories_as_if_it_had_tried_every_order(checker: &Checker) {
    let mut rng = Rng::with_seed(1);
    let histories: Vec<Vec<Attempt>> = (0..400).map(|seed| small(&mut rng, seed)).collect();
    let verdicts = judge(checker, "small", &histories);
    let mut counted = [0; 2];
    for (seed, (history, verdict)) in histories.iter().zip(&verdicts).enumerate() {
        let good = Orders::of(checker, history).any();
        assert_eq!(*verdict == Verdict::Accepted, good, "{seed}: {verdict}\n{history:#?}");
        counted[usize::from(good)] += 1;
    }
    assert!(counted.iter().all(|count| *count > 80), "{counted:?}");
}

/// A good history, some of whose transactions are declared read-atomic, with up to two reads moved.
fn small(rng: &mut Rng, seed: u64) -> Vec<Attempt> {
    let mut history = generate(seed, SMALL);
    for attempt in &mut history {
        if rng.u8(..6) == 0 {
            attempt.isolation = Isolation::ReadAtomic;
        }
    }
    for _ in 0..seed % 3 {
        history = move_a_read(rng, history.clone()).unwrap_or(history);
    }
    history
}

fn accepts_large_histories(checker: &Checker) {
    let histories: Vec<Vec<Attempt>> = (0..50).map(|seed| generate(seed, LARGE)).collect();
    for (seed, verdict) in judge(checker, "large", &histories).into_iter().enumerate() {
        assert_eq!(verdict, Verdict::Accepted, "{seed}");
    }
}

fn rejects_large_histories_with_a_lost_update(checker: &Checker) {
    let mut rng = Rng::with_seed(2);
    let spoilt = (0..50).filter_map(|seed| lose_an_update(&mut rng, generate(seed, LARGE)));
    let histories: Vec<Vec<Attempt>> = spoilt.collect();
    assert!(histories.len() > 40, "{}", histories.len());
    for (seed, verdict) in judge(checker, "lost", &histories).into_iter().enumerate() {
        assert!(matches!(verdict, Verdict::Rejected { .. }), "{seed}: {verdict}");
    }
}

/// On large histories with one read moved, which may be good or not.
fn no_checker_contradicts_another(checkers: &[Checker]) {
    let mut rng = Rng::with_seed(3);
    let moved = (0..50).filter_map(|seed| move_a_read(&mut rng, generate(seed, LARGE)));
    let histories: Vec<Vec<Attempt>> = moved.collect();
    let verdicts: Vec<_> = checkers.iter().map(|checker| judge(checker, "moved", &histories)).collect();
    let mut rejected = 0;
    for (a, ours) in checkers.iter().zip(&verdicts) {
        rejected += ours.iter().filter(|verdict| matches!(verdict, Verdict::Rejected { .. })).count();
        for (b, theirs) in checkers.iter().zip(&verdicts) {
            // Who asks for all that another asks for accepts no more than that one.
            let stricter = (a.level == b.level || a.level == Level::StrictlySerializable)
                && (a.believes_versions() || !b.believes_versions());
            for (number, (our, their)) in ours.iter().zip(theirs).enumerate() {
                let undecided = matches!(our, Verdict::Undecided { .. });
                let contradicts = stricter && *our == Verdict::Accepted && *their != Verdict::Accepted;
                assert!(!undecided && !contradicts, "{number}: {} says {our}, {} says {their}", a.name, b.name);
            }
        }
    }
    assert!(rejected > histories.len(), "{rejected}");
}

/// Whatever has been put into the folder.
fn accepts_the_exported_histories(checker: &Checker) {
    let folder = PathBuf::from(std::env::var_os(HISTORIES_IN).unwrap());
    let files = files(&folder);
    assert!(!files.is_empty(), "no *.jsonl in {}", folder.display());
    let verdicts = files.iter().zip(checker.check_all(&files));
    let attempts: Vec<Attempt> = files.iter().flat_map(|file| read(file).unwrap()).collect();
    let count = |outcome| attempts.iter().filter(|attempt| attempt.outcome == outcome).count();
    let [committed, aborted, unknown] = [Outcome::Committed, Outcome::Aborted, Outcome::Unknown].map(count);
    let histories = files.len();
    eprintln!("{}: {histories} histories, {committed} committed, {aborted} aborted, {unknown} unknown", checker.name);
    let failed: Vec<String> = verdicts
        .filter(|(_, verdict)| *verdict != Verdict::Accepted)
        .map(|(file, verdict)| format!("{}: {verdict}", file.display()))
        .collect();
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), files.len(), failed.join("\n"));
}

/// By a reader of that format that is not ours. What it is told less, by lists, shows in nothing that is here.
fn lists_in_elles_format_are_read_and_judged_alike() {
    let strict = |history: &[Attempt]| adya::check_lists(history, Level::StrictlySerializable);
    for name in GOOD {
        assert_eq!(strict(&read(&file(name)).unwrap()), Verdict::Accepted, "{name}");
    }
    for (name, _) in BAD.into_iter().chain([STALE]) {
        let verdict = strict(&read(&file(name)).unwrap());
        assert!(matches!(verdict, Verdict::Rejected { .. }), "{name}: {verdict}");
    }
    let mut rng = Rng::with_seed(2);
    for seed in 0..50 {
        let history = generate(seed, LARGE);
        assert_eq!(strict(&history), Verdict::Accepted, "{seed}");
        if let Some(spoilt) = lose_an_update(&mut rng, history) {
            let verdict = strict(&spoilt);
            assert!(matches!(verdict, Verdict::Rejected { .. }), "{seed}: {verdict}");
        }
    }
}

/// Our checker, asked for everything: what no other judges is judged there, too.
fn every_promise_is_judged_of_the_small_and_the_large() {
    let judge = |history: &[Attempt]| promises::check(history, Expect::default());
    for name in GOOD {
        let verdict = judge(&read(&file(name)).unwrap());
        // Its audits in read-atomic isolation see half.
        let promise = (name == "good-mixed").then_some(Promise::FracturedRead);
        assert_eq!(verdict.err().map(|breach| breach.promise), promise, "{name}");
    }
    for (name, culprits) in BAD.into_iter().chain([STALE]) {
        let breach = judge(&read(&file(name)).unwrap()).unwrap_err();
        let blamed: Vec<&str> = breach.transactions.iter().map(|name| name.split('#').next().unwrap()).collect();
        let is_right = blamed.iter().any(|name| culprits.contains(name)) && !blamed.contains(&"bystander");
        assert!(is_right, "{name}: {breach}");
    }
    let mut rng = Rng::with_seed(2);
    for seed in 0..50 {
        let history = generate(seed, LARGE);
        let recent = Expect { recent_reads: true, recent_writes: true, ..Expect::default() };
        assert_eq!(promises::check(&history, recent).map(|judged| judged.attempts), Ok(history.len()), "{seed}");
        if let Some(spoilt) = lose_an_update(&mut rng, history) {
            assert!(judge(&spoilt).is_err(), "{seed}");
        }
    }
}

fn every_promise_is_kept_in_the_exported_histories() {
    let folder = PathBuf::from(std::env::var_os(HISTORIES_IN).unwrap());
    let broken: Vec<String> = files(&folder)
        .iter()
        .filter_map(|file| {
            let history = read(file).unwrap();
            let breach = promises::check(&history, Expect::default()).err().map(|breach| breach.to_string());
            let lists = adya::check_lists(&history, Level::StrictlySerializable);
            let reason = breach.or_else(|| (lists != Verdict::Accepted).then(|| format!("as lists: {lists}")))?;
            Some(format!("{}: {reason}", file.display()))
        })
        .collect();
    assert!(broken.is_empty(), "{} are broken:\n{}", broken.len(), broken.join("\n"));
}

/// Every order of a small history: what a checker has to agree with.
struct Orders<'h> {
    operations: Vec<Operation<'h>>,
    /// Whether the order of real time counts.
    strict: bool,
    /// Whether a key's versions must come in the order of their text.
    ascending: bool,
}

impl<'h> Orders<'h> {
    fn of(checker: &Checker, history: &'h [Attempt]) -> Self {
        let ascending = checker.believes_versions();
        let operations = operations(history);
        // Where versions are in order, an unseen write would be held to it, too, although nobody knows whether it happened.
        let operations = if ascending { happened(&operations) } else { operations };
        Self { operations, strict: checker.level == Level::StrictlySerializable, ascending }
    }

    fn any(&self) -> bool {
        self.from(&mut vec![false; self.operations.len()], &BTreeMap::new())
    }

    /// Whether the rest can follow after those that are placed.
    fn from(&self, placed: &mut Vec<bool>, store: &BTreeMap<&'h str, &'h str>) -> bool {
        let mut certain = (0..placed.len()).filter(|index| self.operations[*index].certain);
        if certain.all(|index| placed[index]) {
            return true;
        }
        for index in 0..placed.len() {
            if placed[index] || !self.fits(index, placed, store) {
                continue;
            }
            let operation = &self.operations[index];
            let mut after = store.clone();
            after.extend(operation.writes.iter().map(|key| (key.as_str(), operation.version.unwrap())));
            placed[index] = true;
            if self.from(placed, &after) {
                return true;
            }
            placed[index] = false;
        }
        false
    }

    fn fits(&self, index: usize, placed: &[bool], store: &BTreeMap<&'h str, &'h str>) -> bool {
        let operation = &self.operations[index];
        let on_time = (0..placed.len())
            .all(|other| placed[other] || self.operations[other].ended.is_none_or(|ended| ended >= operation.began));
        let reads = operation.reads.iter().all(|read| store.get(read.key.as_str()).copied() == read.version.as_deref());
        let ascends = operation.writes.iter().all(|key| store.get(key.as_str()).copied() < operation.version);
        reads && (on_time || !self.strict) && (ascends || !self.ascending)
    }
}
