//! The formats of others: each text is what it was, byte for byte, and a reader of the format finds the same history in it.
#![allow(missing_docs, clippy::unwrap_used)]

mod made;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use aft_history::convert::{Lanes, Question, Target, convert};
use aft_history::format::{Attempt, Malformed, Outcome, Step, read};
use serde_json::Value;

/// The `n`th write of a line, from 0.
type Write = (usize, usize);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event<'h> {
    /// Whose write it found; `None`: nothing. `own`: what it had itself written last.
    Read {
        key: &'h str,
        found: Option<Write>,
        own: bool,
    },
    Wrote {
        key: &'h str,
        write: Write,
    },
}

/// A transaction, in the history's own terms.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Meant<'h> {
    line: usize,
    committed: bool,
    events: Vec<Event<'h>>,
}

/// What a history says, found in the simplest way.
fn meant(history: &[Attempt]) -> Vec<Meant<'_>> {
    let writes = |attempt: &Attempt| -> Vec<String> {
        let written = attempt.steps.iter().filter_map(|step| match step {
            Step::Write { value, .. } => Some(value.clone()),
            Step::Read { .. } => None,
        });
        written.collect()
    };
    let found = |name: &str| {
        let mut lines = history.iter().enumerate();
        lines.find_map(|(line, attempt)| Some((line + 1, writes(attempt).iter().position(|value| value == name)?)))
    };
    let was_read = |attempt: &Attempt| {
        let others = history.iter().filter(|other| !std::ptr::eq(*other, attempt));
        others.flat_map(|other| &other.reads).any(|read| read.version.is_some() && read.version == attempt.version)
    };
    let mut all = Vec::new();
    for (place, attempt) in history.iter().enumerate() {
        let mut last: BTreeMap<&str, Write> = BTreeMap::new();
        let mut count = 0;
        let event = |step: &'_ Step| match step {
            Step::Read { read, value } => {
                let found = value.as_deref().and_then(found);
                let key = &history[place].steps.iter().find_map(|other| key_of(other, read)).unwrap();
                Event::Read { key, found, own: found.is_some() && last.get(read.as_str()).copied() == found }
            }
            Step::Write { write, .. } => {
                let key = history[place].steps.iter().find_map(|other| key_of(other, write)).unwrap();
                let write = (place + 1, count);
                count += 1;
                last.insert(key, write);
                Event::Wrote { key, write }
            }
        };
        let events: Vec<Event<'_>> = attempt.steps.iter().map(event).collect();
        let committed =
            attempt.outcome == Outcome::Committed || (attempt.outcome == Outcome::Unknown && was_read(attempt));
        if !events.is_empty() {
            all.push(Meant { line: place + 1, committed, events });
        }
    }
    all.sort();
    all
}

fn key_of<'s>(step: &'s Step, key: &str) -> Option<&'s str> {
    let (Step::Read { read: own, .. } | Step::Write { write: own, .. }) = step;
    (own == key).then_some(own)
}

/// Keys by their numbers, and writes by theirs, as the document says.
struct Numbers<'h> {
    keys: Vec<&'h str>,
    writes: Vec<Write>,
}

impl<'h> Numbers<'h> {
    fn of(history: &'h [Attempt]) -> Self {
        let keys: BTreeSet<&str> = history
            .iter()
            .flat_map(|attempt| {
                attempt.reads.iter().map(|read| read.key.as_str()).chain(attempt.writes.iter().map(String::as_str))
            })
            .collect();
        let mut writes = Vec::new();
        for (place, attempt) in history.iter().enumerate() {
            let count = attempt.steps.iter().filter(|step| matches!(step, Step::Write { .. })).count();
            writes.extend((0..count).map(|number| (place + 1, number)));
        }
        Self { keys: keys.into_iter().collect(), writes }
    }

    fn read(&self, key: usize, value: usize, last: &BTreeMap<usize, usize>) -> Event<'h> {
        let found = value.checked_sub(1).map(|value| self.writes[value]);
        Event::Read { key: self.keys[key], found, own: value > 0 && last.get(&key) == Some(&value) }
    }
}

/// By session, the only one there for each attempt: its transaction, and what was aborted of it.
fn from_plume<'h>(text: &str, numbers: &Numbers<'h>) -> Vec<Meant<'h>> {
    let mut sessions: BTreeMap<usize, (Meant<'h>, BTreeMap<usize, usize>)> = BTreeMap::new();
    for line in text.lines() {
        let (kind, rest) = line.split_at(1);
        let rest = rest.strip_prefix('(').unwrap().strip_suffix(')').unwrap();
        let [key, value, session, transaction] = rest.split(',').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let [key, value, session]: [usize; 3] = [key, value, session].map(|number| number.parse().unwrap());
        let transaction: i64 = transaction.parse().unwrap();
        let new = || (Meant { line: 0, committed: true, events: Vec::new() }, BTreeMap::new());
        let (meant, last) = sessions.entry(session).or_insert_with(new);
        if transaction == -1 {
            meant.committed = false;
        } else {
            let number = usize::try_from(transaction).unwrap();
            assert!(meant.line == 0 || meant.line == number, "{line}");
            meant.line = number;
        }
        meant.events.push(match kind {
            "r" => numbers.read(key, value, last),
            "w" => {
                last.insert(key, value);
                meant.line = numbers.writes[value - 1].0;
                Event::Wrote { key: numbers.keys[key], write: numbers.writes[value - 1] }
            }
            other => panic!("{other}"),
        });
    }
    let mut all: Vec<Meant<'h>> = sessions.into_values().map(|(meant, _)| meant).collect();
    all.sort();
    all
}

fn from_dbcop<'h>(text: &str, numbers: &Numbers<'h>) -> Vec<(bool, Vec<Event<'h>>)> {
    let document: Value = serde_json::from_str(text).unwrap();
    let names: Vec<&String> = document.as_object().unwrap().keys().collect();
    assert_eq!(names, ["data", "end", "info", "params", "start"]);
    let sessions = document["data"].as_array().unwrap();
    assert_eq!(document["params"]["n_node"], sessions.len());
    let number = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
    let mut all = Vec::new();
    for transaction in sessions.iter().flat_map(|session| session.as_array().unwrap()) {
        let mut last = BTreeMap::new();
        let event = |event: &Value| match event.as_object().unwrap().iter().next().unwrap() {
            (kind, of) if kind == "Read" => {
                let value = if of["version"].is_null() { 0 } else { number(&of["version"]) };
                numbers.read(number(&of["variable"]), value, &last)
            }
            (_, of) => {
                let [key, value] = ["variable", "version"].map(|name| number(&of[name]));
                last.insert(key, value);
                Event::Wrote { key: numbers.keys[key], write: numbers.writes[value - 1] }
            }
        };
        let events = transaction["events"].as_array().unwrap().iter().map(event).collect();
        all.push((transaction["committed"].as_bool().unwrap(), events));
    }
    all.sort();
    all
}

/// The micro-operations of a line of Elle's: kind, key, and a value or a list.
fn micro_operations(line: &str) -> Vec<(String, usize, Vec<usize>)> {
    let value = line.split(":value [").nth(1).unwrap().split("], :process").next().unwrap();
    let mut all = Vec::new();
    for part in value.split("[:").filter(|part| !part.is_empty()) {
        let mut words = part.split([' ', '[', ']']).filter(|word| !word.is_empty());
        let (kind, key) = (words.next().unwrap().to_owned(), words.next().unwrap().parse().unwrap());
        all.push((kind, key, words.filter(|word| *word != "nil").map(|word| word.parse().unwrap()).collect()));
    }
    all
}

fn field<'l>(line: &'l str, name: &str) -> &'l str {
    line.split(&format!(":{name} ")).nth(1).unwrap().split([',', '}']).next().unwrap()
}

fn from_elle<'h>(text: &str, numbers: &Numbers<'h>) -> Vec<(bool, Vec<Event<'h>>)> {
    let (mut open, mut moment, mut all) = (BTreeMap::new(), 0, Vec::new());
    for (index, line) in text.lines().enumerate() {
        assert!(line.starts_with("{:type :") && line.ends_with('}') && field(line, "f") == ":txn", "{line}");
        assert_eq!(field(line, "index"), index.to_string());
        let (kind, process, time) = (field(line, "type"), field(line, "process"), field(line, "time"));
        let time: u64 = time.parse().unwrap();
        assert!(time >= moment, "{line}");
        moment = time;
        if kind == ":invoke" {
            assert!(
                open.insert(process, micro_operations(line)).is_none(),
                "a process does one thing at a time: {line}"
            );
            continue;
        }
        let (began, ended) = (open.remove(process).unwrap(), micro_operations(line));
        let asked = |all: &[(String, usize, Vec<usize>)]| {
            all.iter()
                .map(|(kind, key, values)| (kind.clone(), *key, (kind == "append").then(|| values.clone())))
                .collect::<Vec<_>>()
        };
        assert_eq!(asked(&began), asked(&ended), "{line}");
        let event = |(kind, key, values): &(String, usize, Vec<usize>)| match kind.as_str() {
            "r" => numbers.read(*key, values.last().copied().unwrap_or_default(), &BTreeMap::new()),
            "append" => Event::Wrote { key: numbers.keys[*key], write: numbers.writes[values[0] - 1] },
            other => panic!("{other}"),
        };
        all.push((kind == ":ok", ended.iter().map(event).collect()));
    }
    assert!(open.is_empty());
    all.sort();
    all
}

fn histories() -> impl Iterator<Item = Vec<Attempt>> {
    (0..500).map(made::run)
}

fn text(history: &[Attempt], target: Target) -> String {
    convert(history, target, Lanes::Attempts, Question::Attempts)
}

#[test]
fn plumes_lines_hold_the_same_history() {
    for history in histories() {
        let mut expected = meant(&history);
        for meant in expected.iter_mut().filter(|meant| !meant.committed) {
            meant.events.retain(|event| !matches!(event, Event::Read { own: true, .. }));
        }
        let mut found = from_plume(&text(&history, Target::Plume), &Numbers::of(&history));
        // Of what only read, nothing says that it was aborted: it is as good as committed.
        for (meant, other) in expected.iter_mut().zip(&mut found) {
            meant.committed |= !meant.events.iter().any(|event| matches!(event, Event::Wrote { .. }));
            assert_eq!(meant, other);
        }
        assert_eq!(expected.len(), found.len());
    }
}

#[test]
fn dbcops_json_holds_the_same_history() {
    for history in histories() {
        let mut expected = Vec::new();
        for Meant { committed, events, .. } in meant(&history) {
            let mut kept: Vec<Event<'_>> = Vec::new();
            for event in events {
                let says_nothing = matches!(event, Event::Read { own: true, .. })
                    || matches!(event, Event::Read { .. }) && kept.contains(&event);
                if !says_nothing {
                    kept.push(event);
                }
            }
            expected.push((committed, kept));
        }
        expected.sort();
        assert_eq!(from_dbcop(&text(&history, Target::Dbcop), &Numbers::of(&history)), expected);
    }
}

#[test]
fn elles_lists_hold_the_same_history() {
    for history in histories() {
        let mut expected = Vec::new();
        for Meant { committed, mut events, .. } in meant(&history) {
            events.retain(|event| !matches!(event, Event::Read { own: true, .. }));
            for event in events.iter_mut().filter(|_| !committed) {
                if let Event::Read { found, .. } = event {
                    *found = None;
                }
            }
            expected.push((committed, events));
        }
        expected.sort();
        let text = text(&history, Target::Elle);
        assert_eq!(from_elle(&text, &Numbers::of(&history)), expected);
        // All lists of a key are beginnings of one.
        let mut lists: BTreeMap<usize, Vec<Vec<usize>>> = BTreeMap::new();
        for (kind, key, list) in text.lines().flat_map(micro_operations) {
            if kind == "r" {
                lists.entry(key).or_default().push(list);
            }
        }
        for lists in lists.values_mut() {
            lists.sort_by_key(Vec::len);
            assert!(lists.windows(2).all(|pair| pair[1].starts_with(&pair[0])), "{lists:?}");
        }
    }
}

/// Sessions of processes: no two of a session overlap, and they come in their order.
#[test]
fn attempts_that_overlap_are_in_different_sessions() {
    let mut shared = 0;
    for history in histories() {
        let text = convert(&history, Target::Plume, Lanes::Processes, Question::Attempts);
        let mut sessions: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for line in text.lines() {
            let parts: Vec<&str> = line.trim_end_matches(')').split(',').collect();
            if let Ok(number) = parts[3].parse::<usize>() {
                let lines = sessions.entry(parts[2]).or_default();
                if lines.last() != Some(&number) {
                    lines.push(number);
                }
            }
        }
        for lines in sessions.values() {
            for pair in lines.windows(2) {
                let [first, second] = [pair[0], pair[1]].map(|line| &history[line - 1]);
                assert!(first.process == second.process && first.ended < second.began);
                shared += 1;
            }
        }
    }
    assert!(shared > 100, "{shared}");
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

#[test]
fn the_texts_are_what_they_were() {
    let history = read(&golden("bank.jsonl")).unwrap();
    for (target, lanes, question, name) in [
        (Target::Plume, Lanes::Attempts, Question::Attempts, "bank.txt"),
        (Target::Plume, Lanes::Processes, Question::Serializable, "bank-serializable.txt"),
        (Target::Dbcop, Lanes::Attempts, Question::Attempts, "bank.json"),
        (Target::Elle, Lanes::Attempts, Question::Attempts, "bank.edn"),
    ] {
        let expected = std::fs::read_to_string(golden(name)).unwrap();
        assert_eq!(convert(&history, target, lanes, question), expected, "{name}");
    }
}

#[test]
fn what_nobody_wrote_has_a_value_that_nobody_wrote() {
    let history = made::history([
        made::attempt("writer").wrote("v1", &["a"]),
        made::attempt("audit").read("a", "v9").read("b", "v1"),
        made::attempt("again").read("a", "v9"),
    ]);
    assert_eq!(text(&history, Target::Plume), "w(0,1,0,1)\nr(0,2,1,2)\nr(1,3,1,2)\nr(0,2,2,3)\n");
    assert!(text(&history, Target::Elle).contains("[:r 0 [2]] [:r 1 [3]]"));
}

#[test]
fn a_read_atomic_attempt_is_a_transaction_for_each_key_that_was_read() {
    let history = made::history([
        made::attempt("loose").wrote("v1", &["a", "b", "c"]).read_atomic(),
        made::attempt("unseen").read("c", "v1").wrote("v2", &["c"]).read_atomic(),
        made::attempt("gone").read("c", "v1").wrote("", &["c"]).aborted(),
        made::attempt("audit").read("a", "v1").read("b", "v1"),
    ]);
    let serializable = |target| convert(&history, target, Lanes::Attempts, Question::Serializable);
    assert_eq!(serializable(Target::Plume), "w(0,1,0,1)\nw(2,5,1,-1)\nr(0,1,2,4)\nr(1,2,2,4)\nw(1,2,3,5)\n");
    let last: Vec<String> = serializable(Target::Elle).lines().rev().take(2).map(str::to_owned).collect();
    assert!(last[0].contains(":ok, :f :txn, :value [[:append 1 2]]"), "it may have taken place at any time: {last:?}");
    assert!(last[1].contains(":ok, :f :txn, :value [[:append 0 1]]"), "{last:?}");
}

#[test]
fn a_line_that_breaks_a_rule_is_named() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("refused.jsonl");
    let refused = |spoil: &dyn Fn(&mut Vec<Attempt>)| {
        let mut history = read(&golden("bank.jsonl")).unwrap();
        spoil(&mut history);
        aft_history::format::write(&file, &history).unwrap();
        read(&file).unwrap_err()
    };
    let late = refused(&|history| history[2].ended = 1);
    assert_eq!(late.to_string(), "line 3: pay#2@2 ended before it began");
    let twice = refused(&|history| history[2].steps[2] = history[0].steps[1].clone());
    assert!(matches!(twice, Malformed::ValueTwice(3, ..)), "{twice}");
    let other = refused(&|history| history[4].steps.truncate(2));
    assert!(matches!(other, Malformed::Steps(5, _)), "{other}");
    std::fs::write(&file, "{}\n").unwrap();
    assert!(read(&file).unwrap_err().to_string().starts_with("line 1 is no attempt: missing field"));
}
