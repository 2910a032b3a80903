//! What a history broke: which promise, who had a part in it, which keys.

use std::fmt;

use crate::format::Attempt;

/// A promise that a history can break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Promise {
    /// An attempt's record does not contradict itself: what it is said to have read and written is what its steps say.
    Record,
    /// A version or a name of a value is one write's.
    UniqueNames,
    /// Who reads what it wrote gets what it wrote last.
    ReadYourWrites,
    /// Who reads a key again gets the same.
    RepeatableRead,
    /// A version comes with its own value.
    WrongValue,
    /// What is read was written by somebody, for this key.
    UnwrittenRead,
    /// Nobody reads from an attempt that is then aborted.
    DirtyRead,
    /// Nobody who began after an attempt was aborted reads from it.
    Phantom,
    /// Nobody reads what its writer overwrote before it committed.
    IntermediateRead,
    /// At most one attempt at a transaction has writes that took place.
    ExactlyOnce,
    /// What was acknowledged took place.
    Lost,
    /// A transaction's writes are seen together or not at all.
    FracturedRead,
    /// There is an order of all transactions in which whoever read from another comes after it, and that explains every read
    /// as far as this level asks for it.
    ReadAtomic,
    /// The same, of reads one after the other.
    ReadCommitted,
    /// The same, of everything that led to a read.
    Causal,
    /// The versions of a key are in an order in which their writers can have taken place.
    VersionOrder,
    /// Who began after a write was acknowledged reads it or something newer.
    RecentRead,
    /// Who began after a write was acknowledged overwrites it, and is not overwritten by it.
    RecentWrite,
    /// There is one order of all serializable transactions that explains every read.
    Serializable,
    /// There is one that also keeps the order of real time.
    StrictlySerializable,
}

impl Promise {
    /// What it is called in a table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::UniqueNames => "unique names",
            Self::ReadYourWrites => "read your writes",
            Self::RepeatableRead => "repeatable read",
            Self::WrongValue => "wrong value",
            Self::UnwrittenRead => "unwritten read",
            Self::DirtyRead => "dirty read",
            Self::Phantom => "phantom of an aborted attempt",
            Self::IntermediateRead => "intermediate read",
            Self::ExactlyOnce => "exactly once",
            Self::Lost => "lost acknowledgement",
            Self::FracturedRead => "fractured read",
            Self::ReadAtomic => "read atomic",
            Self::ReadCommitted => "read committed",
            Self::Causal => "causal",
            Self::VersionOrder => "version order",
            Self::RecentRead => "recent read",
            Self::RecentWrite => "recent write",
            Self::Serializable => "serializable",
            Self::StrictlySerializable => "strictly serializable",
        }
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why one attempt must come before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Because {
    /// It wrote what the other read.
    Read,
    /// It wrote an earlier version of a key.
    Wrote,
    /// It read a version that the other overwrote.
    Overwritten,
    /// A third, an index into the history, read the key from the other, and ought to have read this one's write if that were
    /// later: it saw this one.
    SeenBy(u32),
    /// It came before the other in the same session.
    Session,
    /// It was answered before the other began.
    Answered,
    /// It is what was there before the first write.
    Beginning,
}

/// One step of a cycle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Who comes first, as an index into the history; `None`: what was there before the first write.
    pub from: Option<usize>,
    /// Why.
    pub because: Because,
    /// Over which key, if it is over a key.
    pub key: Option<String>,
    /// Who comes after it.
    pub to: Option<usize>,
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// Which.
    pub promise: Promise,
    /// Who had a part in it, as indices into the history: first the one that was promised it, if that is clear.
    pub attempts: Vec<usize>,
    /// The same by name, `transaction#attempt@process`.
    pub transactions: Vec<String>,
    /// Over which keys.
    pub keys: Vec<String>,
    /// Who must come before whom, in a circle; empty if it is no circle that broke it.
    pub cycle: Vec<Link>,
    names: Vec<String>,
}

impl Breach {
    /// A breach without a circle.
    pub(crate) fn of(promise: Promise, history: &[Attempt], attempts: &[usize], keys: &[&str]) -> Box<Self> {
        let mut distinct: Vec<usize> = Vec::new();
        for attempt in attempts {
            if !distinct.contains(attempt) {
                distinct.push(*attempt);
            }
        }
        let transactions: Vec<String> = distinct.iter().map(|attempt| history[*attempt].name()).collect();
        let mut keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        keys.dedup();
        Box::new(Self {
            promise,
            attempts: distinct,
            names: transactions.clone(),
            transactions,
            keys,
            cycle: Vec::new(),
        })
    }

    /// A circle of those who must come before each other.
    pub(crate) fn circle(promise: Promise, history: &[Attempt], cycle: Vec<Link>) -> Box<Self> {
        let mut attempts = Vec::new();
        let mut keys: Vec<&str> = Vec::new();
        for link in &cycle {
            let third = if let Because::SeenBy(third) = link.because { Some(third as usize) } else { None };
            attempts.extend(third.into_iter().chain(link.from).chain(link.to));
            keys.extend(link.key.as_deref());
        }
        keys.sort_unstable();
        let breach = Self::of(promise, history, &attempts, &keys);
        Box::new(Self { cycle, ..*breach })
    }

    fn name(&self, attempt: Option<usize>) -> &str {
        let position = attempt.and_then(|attempt| self.attempts.iter().position(|other| *other == attempt));
        position.and_then(|position| self.names.get(position)).map_or("the beginning", String::as_str)
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.transactions.join(", "))?;
        if !self.keys.is_empty() {
            write!(f, "; keys {}", self.keys.join(", "))?;
        }
        for link in &self.cycle {
            let (from, to) = (self.name(link.from), self.name(link.to));
            let key = link.key.as_deref().unwrap_or_default();
            match link.because {
                Because::Read => write!(f, "; {from} wrote the {key:?} that was read by {to}")?,
                Because::Wrote => write!(f, "; {from} wrote {key:?} before {to}")?,
                Because::Overwritten => write!(f, "; {from} read the {key:?} that was overwritten by {to}")?,
                Because::SeenBy(third) => {
                    let third = self.name(Some(third as usize));
                    write!(f, "; {third}, which saw {from}, read {key:?} from {to}, so {from} wrote it before")?;
                }
                Because::Session => write!(f, "; {from} came before {to} in its session")?,
                Because::Answered => write!(f, "; {from} was answered before the beginning of {to}")?,
                Because::Beginning => write!(f, "; {from} was before {to}")?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for Breach {}
