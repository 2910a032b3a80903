//! The instants of an invocation at which something can happen: the rows of the matrix.

use crate::store_proxy::{Point, StoreRequest};

/// Where an invocation is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Instant {
    /// The runtime starts.
    Init,
    /// No invocation is under way, and there was one before.
    Idle,
    /// The handler has the event.
    BeforeFirstWrite,
    /// It has written one key.
    BetweenWrites,
    /// It has written all, and not answered.
    AfterLastWrite,
    /// It has answered, and the record is not on its way yet.
    BeforeRecord,
    /// The record is on its way.
    RecordSent,
    /// The record is there, and nobody knows.
    RecordDurable,
    /// The record is known to be there.
    BeforeFirstHead,
    /// One head has moved.
    BetweenHeads,
    /// Both heads have moved, and nobody knows of the second.
    AfterLastHead,
    /// Lambda has the response.
    AfterResponse,
}

/// By what an invocation is stopped.
#[derive(Debug, Clone, Copy)]
pub enum Stop {
    /// By the handler, at this gate.
    Gate(&'static str),
    /// By a request to the store.
    Store(fn(&StoreRequest) -> bool, Point),
    /// It is not under way.
    Nothing,
}

impl Instant {
    /// Every instant, in order.
    pub const ALL: [Self; 12] = [
        Self::Init,
        Self::Idle,
        Self::BeforeFirstWrite,
        Self::BetweenWrites,
        Self::AfterLastWrite,
        Self::BeforeRecord,
        Self::RecordSent,
        Self::RecordDurable,
        Self::BeforeFirstHead,
        Self::BetweenHeads,
        Self::AfterLastHead,
        Self::AfterResponse,
    ];

    /// For people.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Init => "Init: the runtime starts and has not asked for an event",
            Self::Idle => "Idle, between two invocations",
            Self::BeforeFirstWrite => "Before the first write",
            Self::BetweenWrites => "Between the writes",
            Self::AfterLastWrite => "After the last write, before the response",
            Self::BeforeRecord => "The response is posted; of the commit, only a chunk is on its way to the store",
            Self::RecordSent => "The record is on its way to the store",
            Self::RecordDurable => "The record is durable; the reply is on its way back",
            Self::BeforeFirstHead => "The record is known to be durable; no head has moved",
            Self::BetweenHeads => "One head has moved, the other not",
            Self::AfterLastHead => "Every head has moved; the response has not reached Lambda",
            Self::AfterResponse => "Lambda has the response; the runtime has not asked for the next event",
        }
    }

    /// What stops an invocation here. `by_store`: the cause is the store's, so it is to be a request to the store.
    #[must_use]
    pub fn stop(self, by_store: bool) -> Stop {
        use Point::{Answered, Arrived};
        match self {
            Self::Init => Stop::Gate("init"),
            Self::Idle => Stop::Nothing,
            Self::BeforeFirstWrite if by_store => Stop::Store(|request| is_key(request, "a"), Arrived),
            Self::BeforeFirstWrite => Stop::Gate("first-write"),
            Self::BetweenWrites => Stop::Gate("between-writes"),
            Self::AfterLastWrite => Stop::Gate("last-write"),
            Self::BeforeRecord => Stop::Store(|request| *request == StoreRequest::Chunk, Arrived),
            Self::RecordSent => Stop::Store(|request| *request == StoreRequest::Record, Arrived),
            Self::RecordDurable => Stop::Store(|request| *request == StoreRequest::Record, Answered),
            Self::BeforeFirstHead => Stop::Store(|request| matches!(request, StoreRequest::Head(_)), Arrived),
            Self::BetweenHeads => Stop::Store(|request| is_head(request, "b"), Arrived),
            Self::AfterLastHead => Stop::Store(|request| is_head(request, "b"), Answered),
            Self::AfterResponse => Stop::Gate("responded"),
        }
    }

    /// Whether the extension is committing.
    #[must_use]
    pub const fn is_commit(self) -> bool {
        match self {
            Self::BeforeRecord
            | Self::RecordSent
            | Self::RecordDurable
            | Self::BeforeFirstHead
            | Self::BetweenHeads
            | Self::AfterLastHead => true,
            Self::Init
            | Self::Idle
            | Self::BeforeFirstWrite
            | Self::BetweenWrites
            | Self::AfterLastWrite
            | Self::AfterResponse => false,
        }
    }

    /// Whether an attempt is open and the handler is at work.
    #[must_use]
    pub const fn is_handling(self) -> bool {
        matches!(self, Self::BeforeFirstWrite | Self::BetweenWrites | Self::AfterLastWrite)
    }
}

fn is_key(request: &StoreRequest, key: &str) -> bool {
    matches!(request, StoreRequest::Read(read) if read == key)
}

fn is_head(request: &StoreRequest, key: &str) -> bool {
    matches!(request, StoreRequest::Head(moved) if moved == key)
}
