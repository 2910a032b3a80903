//! What can happen to an invocation: the columns of the matrix, and where they make no sense.

use super::instant::Instant;

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The handler reports an error, in its first run.
    HandlerError,
    /// The handler reports an error, in every run.
    HandlerErrorAlways,
    /// The runtime's process ends with code 0.
    Exit0,
    /// It ends with code 1.
    Exit1,
    /// It is killed.
    Killed,
    /// It reads where nothing is.
    SegmentationFault,
    /// It is killed in every run.
    KilledAlways,
    /// The handler does not go on, and attempts have a time limit.
    HangsToAttemptLimit,
    /// The handler does not go on.
    HangsToDeadline,
    /// The shim is killed.
    ShimKilled,
    /// The extension is killed.
    ExtensionKilled,
    /// All processes of the sandbox are killed.
    SandboxKilled,
    /// The connection breaks before the store has the request.
    StoreDropsRequest,
    /// The connection breaks after the store has done what it was asked for.
    StoreLosesReply,
    /// The store answers with an error of its own.
    StoreFails,
    /// The store throttles, twice.
    StoreThrottles,
    /// The store is away from here until the deadline.
    StoreAway,
    /// The same request is delivered to another sandbox.
    Duplicate,
}

impl Cause {
    /// Every cause, in order.
    pub const ALL: [Self; 18] = [
        Self::HandlerError,
        Self::HandlerErrorAlways,
        Self::Exit0,
        Self::Exit1,
        Self::Killed,
        Self::SegmentationFault,
        Self::KilledAlways,
        Self::HangsToAttemptLimit,
        Self::HangsToDeadline,
        Self::ShimKilled,
        Self::ExtensionKilled,
        Self::SandboxKilled,
        Self::StoreDropsRequest,
        Self::StoreLosesReply,
        Self::StoreFails,
        Self::StoreThrottles,
        Self::StoreAway,
        Self::Duplicate,
    ];

    /// For people.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::HandlerError => "handler error, once",
            Self::HandlerErrorAlways => "handler error, every time",
            Self::Exit0 => "runtime exits 0",
            Self::Exit1 => "runtime exits 1",
            Self::Killed => "SIGKILL of the runtime, once",
            Self::SegmentationFault => "SIGSEGV of the runtime",
            Self::KilledAlways => "SIGKILL of the runtime, every time",
            Self::HangsToAttemptLimit => "hang until the attempt's limit",
            Self::HangsToDeadline => "hang until the deadline",
            Self::ShimKilled => "shim killed",
            Self::ExtensionKilled => "extension killed",
            Self::SandboxKilled => "whole sandbox killed",
            Self::StoreDropsRequest => "store: the request is lost",
            Self::StoreLosesReply => "store: the reply is lost",
            Self::StoreFails => "store: answers 500",
            Self::StoreThrottles => "store: throttles twice",
            Self::StoreAway => "store: away until the deadline",
            Self::Duplicate => "duplicate in another sandbox",
        }
    }

    /// Whether the store does it.
    #[must_use]
    pub const fn is_stores(self) -> bool {
        matches!(
            self,
            Self::StoreDropsRequest | Self::StoreLosesReply | Self::StoreFails | Self::StoreThrottles | Self::StoreAway
        )
    }

    /// Whether it takes the first host's deadline to pass.
    #[must_use]
    pub const fn needs_the_deadline(self) -> bool {
        matches!(self, Self::HangsToDeadline | Self::StoreAway)
    }

    /// Why this cannot happen at that instant; `None` if it can.
    #[must_use]
    pub fn impossible(self, at: Instant) -> Option<&'static str> {
        const ANSWERED: &str = "the handler has answered";
        const NO_ATTEMPT: &str = "no attempt is open";
        const LIKE_ONCE: &str = "no other attempt follows, so it happens once";
        const NO_REQUEST: &str = "nothing is on its way to the store";
        let past_the_handler = at.is_commit() || at == Instant::AfterResponse;
        match self {
            Self::HandlerError | Self::HandlerErrorAlways if at == Instant::Idle => Some("the handler does not run"),
            Self::HandlerError => past_the_handler.then_some(ANSWERED),
            Self::HandlerErrorAlways | Self::KilledAlways if at.is_handling() => None,
            Self::HandlerErrorAlways if past_the_handler => Some(ANSWERED),
            Self::HandlerErrorAlways | Self::KilledAlways => Some(LIKE_ONCE),
            Self::Exit0 | Self::Exit1 | Self::Killed | Self::SegmentationFault => None,
            Self::HangsToAttemptLimit if at.is_commit() => Some(ANSWERED),
            Self::HangsToAttemptLimit => (!at.is_handling()).then_some(NO_ATTEMPT),
            Self::HangsToDeadline if at == Instant::Idle => Some("the sandbox is frozen"),
            Self::HangsToDeadline => at.is_commit().then_some(ANSWERED),
            Self::ShimKilled | Self::ExtensionKilled | Self::SandboxKilled => None,
            Self::StoreDropsRequest | Self::StoreThrottles => Self::before_the_effect(at),
            Self::StoreLosesReply => Self::after_the_effect(at),
            Self::StoreFails => match at {
                Instant::RecordDurable | Instant::AfterLastHead => None,
                _ => Self::before_the_effect(at),
            },
            Self::StoreAway => match at {
                Instant::Init | Instant::Idle | Instant::AfterResponse => Some(NO_REQUEST),
                _ => None,
            },
            Self::Duplicate => (at == Instant::Idle).then_some("there is nothing to be a duplicate of"),
        }
    }

    fn before_the_effect(at: Instant) -> Option<&'static str> {
        match at {
            Instant::BeforeFirstWrite
            | Instant::BeforeRecord
            | Instant::RecordSent
            | Instant::BeforeFirstHead
            | Instant::BetweenHeads => None,
            Instant::RecordDurable | Instant::AfterLastHead => Some("the store has done what it was asked for"),
            Instant::Init
            | Instant::Idle
            | Instant::BetweenWrites
            | Instant::AfterLastWrite
            | Instant::AfterResponse => Some("nothing is on its way to the store"),
        }
    }

    fn after_the_effect(at: Instant) -> Option<&'static str> {
        match at {
            Instant::RecordDurable | Instant::AfterLastHead => None,
            Instant::BeforeFirstWrite
            | Instant::BeforeRecord
            | Instant::RecordSent
            | Instant::BeforeFirstHead
            | Instant::BetweenHeads => Some("no reply is on its way"),
            Instant::Init
            | Instant::Idle
            | Instant::BetweenWrites
            | Instant::AfterLastWrite
            | Instant::AfterResponse => Some("nothing is on its way to the store"),
        }
    }
}
