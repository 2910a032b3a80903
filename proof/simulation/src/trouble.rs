//! What goes wrong, and where: every place at which something can is a [`Site`], and a [`Script`] says what happens at it.
//!
//! A script draws from the seed, by address; or it holds a list, to which a failing history has been made smaller. Either
//! way what happened is in its log.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::chance::Chance;

/// Who runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Process {
    /// The sandbox at this place: shim, extension and handler.
    Place(u32),
    /// The fault manager.
    FaultManager,
}

impl Process {
    fn address(self) -> u64 {
        match self {
            Self::Place(number) => u64::from(number),
            Self::FaultManager => u64::MAX,
        }
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Place(number) => write!(f, "sandbox {number}"),
            Self::FaultManager => f.write_str("the fault manager"),
        }
    }
}

/// A point in what a process does with one delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// It has sent its so-and-so-manieth request to the store.
    Call(u32),
    /// It waits for something, for the so-and-so-manieth time.
    Await(u32),
    /// Its handler has come to this step, counted through all attempts.
    Step(u32),
}

/// Where something may go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Site {
    /// Whose doing.
    pub process: Process,
    /// Its so-and-so-manieth delivery.
    pub delivery: u32,
    /// When in it.
    pub point: Point,
}

impl Site {
    fn chance(self, seed: u64) -> Chance {
        let (kind, number) = match self.point {
            Point::Call(number) => (1, number),
            Point::Await(number) => (2, number),
            Point::Step(number) => (3, number),
        };
        Chance::at(seed, &[self.process.address(), u64::from(self.delivery), kind, u64::from(number)])
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { process, delivery, point } = self;
        match point {
            Point::Call(number) => write!(f, "{process}, delivery {delivery}, request {number}"),
            Point::Await(number) => write!(f, "{process}, delivery {delivery}, wait {number}"),
            Point::Step(number) => write!(f, "{process}, delivery {delivery}, step {number} of the handler"),
        }
    }
}

/// On which side of its effect something happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// It has no effect.
    Before,
    /// It has its effect.
    After,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "before its effect",
            Self::After => "after its effect",
        })
    }
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The store refuses the request: throttled, unavailable, no connection. No effect.
    Refused,
    /// The connection breaks, or the answer is an internal error: the outcome is unknown.
    Lost(Side),
    /// It is never answered.
    Silent(Side),
    /// It is never answered, and arrives so many milliseconds later.
    Late(u64),
    /// A transaction is cancelled because of another that nobody knows of.
    Contended,
    /// An eventually consistent read is answered with what was there so many milliseconds ago.
    Stale(u64),
    /// Some of a batch comes back unprocessed.
    Partly(u64),
    /// The process dies.
    Dies(Side),
    /// The sandbox is frozen for so many milliseconds.
    Freezes(u64),
    /// The handler reports an error.
    HandlerFails,
    /// The handler's process dies.
    HandlerDies,
    /// The handler takes so many milliseconds longer.
    HandlerDawdles(u64),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("the store refuses it"),
            Self::Lost(side) => write!(f, "the connection breaks {side}"),
            Self::Silent(side) => write!(f, "it is lost {side}, and nobody says so"),
            Self::Late(ms) => write!(f, "it is given up, and arrives {ms} ms later"),
            Self::Contended => f.write_str("another transaction is at its items"),
            Self::Stale(ms) => write!(f, "it sees what was there {ms} ms ago"),
            Self::Partly(keys) => write!(f, "keys {keys:#b} of it come back unprocessed"),
            Self::Dies(side) => write!(f, "the process dies {side}"),
            Self::Freezes(ms) => write!(f, "the sandbox is frozen for {ms} ms"),
            Self::HandlerFails => f.write_str("the handler fails"),
            Self::HandlerDies => f.write_str("the handler's process dies"),
            Self::HandlerDawdles(ms) => write!(f, "the handler takes {ms} ms longer"),
        }
    }
}

/// What a request is for, as far as trouble is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Heads are read, one by one.
    Heads,
    /// Commit records are read.
    Records,
    /// A chunk is written.
    Chunk,
    /// A commit record is written.
    Record,
    /// A head is moved.
    Head,
    /// A claim is taken or given back.
    Claim,
    /// Record and heads in one step.
    Step,
    /// Heads are read or compared at one moment.
    AtOnce,
    /// Anything else.
    Other,
}

impl Call {
    /// Whether it is to change anything.
    #[must_use]
    pub fn writes(self) -> bool {
        matches!(self, Self::Chunk | Self::Record | Self::Head | Self::Claim | Self::Step)
    }

    /// What goes wrong with it, if anything does; `rough` times in a hundred of what is usual.
    fn trouble(self, chance: &Chance, rough: u64) -> Option<Trouble> {
        let side = if chance.one_in(2) { Side::Before } else { Side::After };
        Some(match chance.below(100_000 / rough) {
            0..=11 if self.writes() => Trouble::Dies(side),
            12..=49 => Trouble::Refused,
            50..=59 => Trouble::Lost(Side::Before),
            60..=94 => Trouble::Lost(Side::After),
            95..=97 => Trouble::Silent(side),
            98..=109 if matches!(self, Self::Record | Self::Step) => Trouble::Late(chance.below(30_000)),
            110..=139 if matches!(self, Self::Step | Self::AtOnce) => Trouble::Contended,
            140..=229 if self == Self::Heads => Trouble::Stale(chance.below(1_000)),
            230..=249 if matches!(self, Self::Heads | Self::Records) => Trouble::Partly(chance.below(8)),
            250..=252 => Trouble::Freezes(chance.below(20_000)),
            _ => return None,
        })
    }
}

/// What went wrong somewhere, and what was about to happen there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    /// Where.
    pub site: Site,
    /// What.
    pub trouble: Trouble,
    /// What was about to happen.
    pub what: String,
}

impl fmt::Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { site, trouble, what } = self;
        write!(f, "{site}: ")?;
        if !what.is_empty() {
            write!(f, "{what}: ")?;
        }
        write!(f, "{trouble}")
    }
}

/// Where a script's trouble is from.
#[derive(Debug, Clone)]
pub enum Source {
    /// From the seed: so much of it, where 100 is what is usual.
    Drawn {
        /// How much.
        rough: u64,
    },
    /// Only this.
    Only(BTreeMap<Site, Trouble>),
}

/// Says what goes wrong where, and keeps a log of it.
#[derive(Debug)]
pub struct Script {
    source: Source,
    seed: u64,
    log: Mutex<Vec<Happened>>,
    requests: AtomicU64,
    faulted: AtomicU64,
    /// Every site that a process has come to, if somebody wants to know.
    visited: Option<Mutex<Vec<Site>>>,
}

impl Script {
    /// A script for a seed's history. If it is traced, it remembers every site.
    #[must_use]
    pub fn new(seed: u64, source: Source, is_traced: bool) -> Self {
        let visited = is_traced.then(Mutex::default);
        Self { source, seed, log: Mutex::default(), requests: AtomicU64::new(0), faulted: AtomicU64::new(0), visited }
    }

    /// A request is sent.
    pub fn call(&self, site: Site, call: Call, what: impl FnOnce() -> String) -> Option<Trouble> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let trouble = self.trouble(site, |chance, rough| call.trouble(chance, rough), what);
        self.faulted.fetch_add(u64::from(trouble.is_some()), Ordering::Relaxed);
        trouble
    }

    /// A process waits.
    pub fn wait(&self, site: Site) -> Option<Trouble> {
        let drawn = |chance: &Chance, rough: u64| match chance.below(100_000 / rough) {
            0..=1 => Some(Trouble::Dies(Side::Before)),
            2 => Some(Trouble::Freezes(chance.below(20_000))),
            _ => None,
        };
        self.trouble(site, drawn, String::new)
    }

    /// A handler comes to its next step.
    pub fn step(&self, site: Site, what: impl FnOnce() -> String) -> Option<Trouble> {
        let drawn = |chance: &Chance, rough: u64| match chance.below(100_000 / rough) {
            0..=14 => Some(Trouble::HandlerFails),
            15..=27 => Some(Trouble::HandlerDies),
            28..=31 => Some(Trouble::HandlerDawdles(chance.below(12_000))),
            _ => None,
        };
        self.trouble(site, drawn, what)
    }

    fn trouble(
        &self,
        site: Site,
        drawn: impl FnOnce(&Chance, u64) -> Option<Trouble>,
        what: impl FnOnce() -> String,
    ) -> Option<Trouble> {
        if let Some(visited) = &self.visited {
            visited.lock().unwrap_or_else(PoisonError::into_inner).push(site);
        }
        let trouble = match &self.source {
            Source::Drawn { rough } => drawn(&site.chance(self.seed), *rough),
            Source::Only(list) => list.get(&site).copied(),
        }?;
        self.log().push(Happened { site, trouble, what: what() });
        Some(trouble)
    }

    /// What is no trouble, drawn at the same address: how long something takes.
    #[must_use]
    pub fn chance(&self, site: Site) -> Chance {
        site.chance(self.seed ^ 0x5eed)
    }

    /// Everything that has gone wrong so far.
    #[must_use]
    pub fn happened(&self) -> Vec<Happened> {
        self.log().clone()
    }

    /// Every site that a process has come to, if that was wanted.
    #[must_use]
    pub fn visited(&self) -> Vec<Site> {
        let visited =
            self.visited.as_ref().map(|visited| visited.lock().unwrap_or_else(PoisonError::into_inner).clone());
        visited.unwrap_or_default()
    }

    /// Requests so far, and those of them with which something went wrong.
    #[must_use]
    pub fn requests(&self) -> (u64, u64) {
        (self.requests.load(Ordering::Relaxed), self.faulted.load(Ordering::Relaxed))
    }

    fn log(&self) -> MutexGuard<'_, Vec<Happened>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
