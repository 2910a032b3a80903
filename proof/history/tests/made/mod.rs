//! Histories by hand, in few words.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use aft_history::format::{Attempt, Isolation, Outcome, Read, Step};

/// A committed serializable attempt that overlaps with all others, until more is said of it.
pub fn attempt(name: &str) -> Made {
    Made(Attempt {
        process: 0,
        transaction: name.to_owned(),
        attempt: 1,
        outcome: Outcome::Committed,
        isolation: Isolation::Serializable,
        began: 1,
        ended: 9,
        reads: Vec::new(),
        writes: Vec::new(),
        version: None,
        steps: Vec::new(),
    })
}

pub struct Made(Attempt);

impl Made {
    /// `""` is nothing.
    pub fn read(mut self, key: &str, version: &str) -> Self {
        let version = (!version.is_empty()).then(|| version.to_owned());
        self.0.reads.push(Read { key: key.to_owned(), version });
        self
    }

    pub fn wrote(mut self, version: &str, keys: &[&str]) -> Self {
        self.0.version = (!version.is_empty()).then(|| version.to_owned());
        self.0.writes = keys.iter().map(|key| (*key).to_owned()).collect();
        self
    }

    /// `r a x`: read `x`, the name of a value, of the key `a`; `r a`: nothing was there. `w a x`: wrote it.
    pub fn steps(mut self, steps: &[&str]) -> Self {
        for step in steps {
            let words: Vec<String> = step.split(' ').map(str::to_owned).collect();
            self.0.steps.push(match words[0].as_str() {
                "r" => Step::Read { read: words[1].clone(), value: words.get(2).cloned() },
                "w" => Step::Write { write: words[1].clone(), value: words[2].clone() },
                other => panic!("{other} is no step"),
            });
        }
        self
    }

    pub fn at(mut self, began: u64, ended: u64) -> Self {
        (self.0.began, self.0.ended) = (began, ended);
        self
    }

    pub fn number(mut self, attempt: u32) -> Self {
        self.0.attempt = attempt;
        self
    }

    pub fn process(mut self, process: u32) -> Self {
        self.0.process = process;
        self
    }

    pub fn read_atomic(mut self) -> Self {
        self.0.isolation = Isolation::ReadAtomic;
        self
    }

    pub fn aborted(mut self) -> Self {
        self.0.outcome = Outcome::Aborted;
        self
    }

    pub fn unknown(mut self) -> Self {
        self.0.outcome = Outcome::Unknown;
        self
    }

    pub fn done(self) -> Attempt {
        self.0
    }
}

pub fn history(attempts: impl IntoIterator<Item = Made>) -> Vec<Attempt> {
    attempts.into_iter().map(Made::done).collect()
}

/// A run of this seed, one transaction after the other, whose attempts overlap: with steps for most, every outcome, both
/// isolations, keys that are written twice and read again.
pub fn run(seed: u64) -> Vec<Attempt> {
    const KEYS: usize = 4;
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut store: Vec<Option<(String, String)>> = vec![None; KEYS];
    let mut history = Vec::new();
    for number in 0..rng.u64(1..12) {
        let mut made = attempt(&format!("t{number}")).process(rng.u32(..3)).at(number * 3, number * 3 + rng.u64(1..9));
        if rng.bool() {
            made = made.read_atomic();
        }
        let fate = rng.u8(..6);
        let (mut writes, mut written) = (Vec::new(), Vec::new());
        for key in rng.choose_multiple(0..KEYS, 3) {
            let name = format!("key {}", (b'a' + u8::try_from(KEYS - key).unwrap()) as char);
            let at = store[key].clone();
            let value = |at: &Option<(String, String)>| at.as_ref().map(|(_, value)| value.clone());
            if rng.u8(..4) > 0 {
                made = made.read(&name, at.as_ref().map(|(version, _)| version.as_str()).unwrap_or_default());
                let read = Step::Read { read: name.clone(), value: value(&at) };
                made.0.steps.extend(std::iter::repeat_n(read, rng.usize(1..3)));
            }
            for again in 0..rng.usize(..3) {
                let value = format!("{number}.{key}.{again}");
                made.0.steps.push(Step::Write { write: name.clone(), value: value.clone() });
                if rng.bool() {
                    made.0.steps.push(Step::Read { read: name.clone(), value: Some(value.clone()) });
                }
                writes.retain(|other| *other != name);
                writes.push(name.clone());
                written.retain(|(other, _)| *other != key);
                written.push((key, value));
            }
        }
        made.0.writes = writes;
        made.0.version = (!written.is_empty() && fate != 0).then(|| format!("v{number:03}"));
        made.0.outcome = [Outcome::Aborted, Outcome::Unknown, Outcome::Committed][usize::from(fate.min(2))];
        let version = made.0.version.clone().filter(|_| fate > 1 || rng.bool());
        if let Some(version) = version {
            for (key, value) in written {
                store[key] = Some((version.clone(), value));
            }
        }
        history.push(made.0);
    }
    history
}
