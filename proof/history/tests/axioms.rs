//! The checkers against the definition: on small random histories, their verdict is that of trying every commit order with the
//! axioms of Biswas and Enea as they are written down.
#![allow(missing_docs, clippy::unwrap_used)]

mod made;

use std::collections::BTreeMap;

use aft_history::checker::{Because, Expect, Level, Promise, Sessions, Versions, check, check_serializable};
use aft_history::format::{Attempt, Outcome};
use fastrand::Rng;
use made::attempt;

const KEYS: [&str; 3] = ["a", "b", "c"];

/// The level whose axiom is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Axiom {
    ReadCommitted,
    ReadAtomic,
    Causal,
    Serializable,
}

/// Committed transactions, each with a moment for beginning and end, a version that nobody else has, and reads of any versions.
fn random(rng: &mut Rng) -> Vec<Attempt> {
    let count = rng.usize(2..=5);
    let mut versions: Vec<usize> = (0..count).collect();
    rng.shuffle(&mut versions);
    let writes: Vec<Vec<&str>> = (0..count).map(|_| KEYS.into_iter().filter(|_| rng.u8(..5) < 2).collect()).collect();
    (0..count)
        .map(|number| {
            let mut made = attempt(&format!("t{number}")).process(rng.u32(..3));
            let began = rng.u64(..8);
            made = made.at(began, began + rng.u64(1..4));
            let mut keys = KEYS;
            rng.shuffle(&mut keys);
            for key in keys {
                if rng.u8(..5) >= 3 {
                    continue;
                }
                let writers = (0..count).filter(|other| *other != number && writes[*other].contains(&key));
                // The beginning is one of those that can be read from, and half as likely.
                let sources: Vec<Option<usize>> =
                    writers.flat_map(|other| [Some(other), Some(other)]).chain([None]).collect();
                let version = rng.choice(sources).unwrap().map(|other| format!("v{}", versions[other]));
                made = made.read(key, version.as_deref().unwrap_or_default());
            }
            if !writes[number].is_empty() {
                made = made.wrote(&format!("v{}", versions[number]), &writes[number]);
            }
            made.done()
        })
        .collect()
}

/// A history as the paper has it.
struct Paper {
    count: usize,
    /// `so`, and real time if that counts.
    before: Vec<(usize, usize)>,
    /// Reader, key, writer; in the order of the program. `None` is the transaction that wrote what was there at the beginning.
    wr: Vec<(usize, usize, Option<usize>)>,
    writes: Vec<Vec<usize>>,
    /// Of each key: its writers in the order of their versions, if that counts.
    ww: Vec<(usize, usize)>,
}

impl Paper {
    fn of(history: &[Attempt], sessions: bool, strict: bool, ordered: bool) -> Self {
        let key = |text: &String| KEYS.iter().position(|key| key == text).unwrap();
        let versions: BTreeMap<&str, usize> = history
            .iter()
            .enumerate()
            .filter_map(|(number, attempt)| Some((attempt.version.as_deref()?, number)))
            .collect();
        let writes: Vec<Vec<usize>> = history.iter().map(|attempt| attempt.writes.iter().map(key).collect()).collect();
        let mut paper = Self { count: history.len(), before: Vec::new(), wr: Vec::new(), writes, ww: Vec::new() };
        for (number, attempt) in history.iter().enumerate() {
            for read in &attempt.reads {
                paper.wr.push((number, key(&read.key), read.version.as_deref().map(|version| versions[version])));
            }
            for (other, later) in history.iter().enumerate() {
                let counts = strict || (sessions && attempt.process == later.process);
                if counts && attempt.ended < later.began {
                    paper.before.push((number, other));
                }
                let common = paper.writes[number].iter().any(|key| paper.writes[other].contains(key));
                if ordered && common && attempt.version < later.version {
                    paper.ww.push((number, other));
                }
            }
        }
        paper
    }

    /// Whether there is a commit order.
    fn any_order(&self, axiom: Axiom) -> bool {
        let mut order: Vec<usize> = (0..self.count).collect();
        self.permuted(&mut order, 0, axiom)
    }

    fn permuted(&self, order: &mut Vec<usize>, from: usize, axiom: Axiom) -> bool {
        if from == order.len() {
            return self.is_commit_order(order, axiom);
        }
        (from..order.len()).any(|other| {
            order.swap(from, other);
            let found = self.permuted(order, from + 1, axiom);
            order.swap(from, other);
            found
        })
    }

    fn is_commit_order(&self, order: &[usize], axiom: Axiom) -> bool {
        let mut place = vec![0; self.count];
        for (position, transaction) in order.iter().enumerate() {
            place[*transaction] = position + 1;
        }
        // The beginning is before all.
        let place = |transaction: Option<usize>| transaction.map_or(0, |transaction| place[transaction]);
        let co = |one: Option<usize>, other: Option<usize>| place(one) < place(other);
        let extends = self.before.iter().chain(&self.ww).all(|(one, other)| co(Some(*one), Some(*other)))
            && self.wr.iter().all(|(reader, _, writer)| co(*writer, Some(*reader)));
        extends
            && self.wr.iter().enumerate().all(|(at, (t3, x, t1))| {
                (0..self.count).filter(|t2| Some(*t2) != *t1 && self.writes[*t2].contains(x)).all(|t2| {
                    let premise = match axiom {
                        Axiom::ReadCommitted => {
                            self.wr[..at].iter().any(|(reader, _, writer)| reader == t3 && *writer == Some(t2))
                        }
                        Axiom::ReadAtomic => self.directly(t2, *t3),
                        Axiom::Causal => self.through(t2, *t3, &mut Vec::new()),
                        Axiom::Serializable => co(Some(t2), Some(*t3)),
                    };
                    !premise || co(Some(t2), *t1)
                })
            })
    }

    /// `so ∪ wr`
    fn directly(&self, one: usize, other: usize) -> bool {
        self.before.contains(&(one, other))
            || self.wr.iter().any(|(reader, _, writer)| *reader == other && *writer == Some(one))
    }

    /// `(so ∪ wr)⁺`
    fn through(&self, one: usize, other: usize, seen: &mut Vec<usize>) -> bool {
        (0..self.count).any(|next| {
            self.directly(one, next) && !seen.contains(&next) && {
                seen.push(next);
                next == other || self.through(next, other, seen)
            }
        })
    }
}

/// How many were accepted and rejected: enough of both, or nothing was shown.
#[derive(Debug, Default)]
struct Counted([usize; 2]);

impl Counted {
    fn count(&mut self, accepted: bool) {
        self.0[usize::from(accepted)] += 1;
    }

    #[track_caller]
    fn is_enough(&self) {
        assert!(self.0.iter().all(|count| *count > 300), "{self:?}");
    }
}

const NAMES: Versions = Versions::Names { most_prefixes: 10_000 };

#[test]
fn below_serializable_the_verdict_is_that_of_every_commit_order() {
    let axioms = [
        (Axiom::ReadCommitted, Level::ReadCommitted),
        (Axiom::ReadAtomic, Level::ReadAtomic),
        (Axiom::Causal, Level::Causal),
    ];
    for (axiom, level) in axioms {
        for (sessions, versions) in [
            (Sessions::None, NAMES),
            (Sessions::Processes, NAMES),
            (Sessions::None, Versions::Ordered),
            (Sessions::Processes, Versions::Ordered),
        ] {
            // There are no sessions to look back to in read committed, but they are in the order.
            let mut counted = Counted::default();
            for seed in 0..2_000 {
                let mut history = random(&mut Rng::with_seed(seed));
                for attempt in &mut history {
                    attempt.isolation = aft_history::format::Isolation::ReadAtomic;
                }
                let paper = Paper::of(&history, sessions == Sessions::Processes, false, versions == Versions::Ordered);
                let expect = Expect { level, sessions, versions, ..Expect::default() };
                let verdict = check(&history, expect);
                let good = paper.any_order(axiom);
                assert_eq!(verdict.is_ok(), good, "{seed} {expect:?}: {verdict:?}\n{history:#?}");
                if let Err(breach) = verdict {
                    let expected =
                        [Promise::ReadCommitted, Promise::ReadAtomic, Promise::FracturedRead, Promise::Causal];
                    assert!(expected.contains(&breach.promise) || breach.promise == Promise::VersionOrder, "{breach}");
                }
                counted.count(good);
            }
            counted.is_enough();
        }
    }
}

#[test]
fn serializable_is_what_some_commit_order_explains() {
    for strict in [false, true] {
        for versions in [NAMES, Versions::Ordered] {
            let mut counted = Counted::default();
            for seed in 0..4_000 {
                let history = random(&mut Rng::with_seed(seed));
                let paper = Paper::of(&history, false, strict, versions == Versions::Ordered);
                let verdict = check_serializable(&history, versions, strict);
                let good = paper.any_order(Axiom::Serializable);
                assert_eq!(verdict, verdict.clone().map(|_| true), "{seed}: a search of five gave up");
                assert_eq!(verdict.is_ok(), good, "{seed} {strict} {versions:?}: {verdict:?}\n{history:#?}");
                if let Err(breach) = verdict {
                    let by_names = Paper::of(&history, false, strict, false).any_order(Axiom::Serializable);
                    let by_order = breach.promise == Promise::VersionOrder;
                    assert_eq!(by_order, by_names, "{seed}: {breach}");
                }
                counted.count(good);
            }
            counted.is_enough();
        }
    }
}

/// Each circle that is blamed is one: every link holds by the definition, and it comes round.
#[test]
fn a_circle_that_is_blamed_is_a_circle() {
    let mut circles = 0;
    for seed in 0..2_000 {
        let history = random(&mut Rng::with_seed(seed));
        for strict in [false, true] {
            let Err(breach) = check_serializable(&history, Versions::Ordered, strict) else { continue };
            let paper = Paper::of(&history, false, strict, true);
            let links = breach.cycle.iter().zip(breach.cycle.iter().cycle().skip(1));
            for (link, next) in links {
                assert_eq!(link.to, next.from, "{seed}: {breach}");
                let (from, to) = (link.from.unwrap(), link.to.unwrap());
                let key = link.key.as_ref().and_then(|key| KEYS.iter().position(|other| other == key));
                let holds = match link.because {
                    Because::Read => paper.wr.contains(&(to, key.unwrap(), Some(from))),
                    Because::Wrote => paper.ww.contains(&(from, to)) && paper.writes[to].contains(&key.unwrap()),
                    Because::Overwritten => {
                        let read =
                            paper.wr.iter().find(|(reader, read, _)| (*reader, Some(*read)) == (from, key)).unwrap();
                        paper.writes[to].contains(&key.unwrap())
                            && read.2.is_none_or(|writer| paper.ww.contains(&(writer, to)))
                    }
                    Because::Answered => paper.before.contains(&(from, to)),
                    other => panic!("{seed}: {other:?}"),
                };
                assert!(holds, "{seed}: {link:?} of {breach}");
            }
            circles += 1;
        }
    }
    assert!(circles > 500, "{circles}");
}

/// What was aborted is nothing to those that committed, whatever it read.
#[test]
fn an_aborted_attempt_changes_no_verdict_but_its_own() {
    let mut counted = Counted::default();
    for seed in 0..2_000 {
        let mut rng = Rng::with_seed(seed);
        let mut history = random(&mut rng);
        let without = check(&history, Expect::default()).is_ok();
        let mut gone = history[rng.usize(..history.len())].clone();
        gone.transaction = "gone".to_owned();
        gone.outcome = Outcome::Aborted;
        gone.version = None;
        history.push(gone);
        assert_eq!(check(&history, Expect::default()).is_ok(), without, "{seed}");
        counted.count(without);
    }
    counted.is_enough();
}
