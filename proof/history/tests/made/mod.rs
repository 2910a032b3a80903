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
