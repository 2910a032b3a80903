//! Situations: what must be met while a scenario is explored, so that it is known that the model gets there, and how often.

use std::sync::atomic::{AtomicUsize, Ordering};

/// What a step is worth a mention for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Situation {
    /// A read met a conflict.
    ReadConflict,
    /// A version behind the head's current one was accepted.
    PreviousAccepted,
    /// "Absent" was accepted of a key that has a head.
    AbsentAccepted,
    /// A version was accepted that the head has not reached.
    AheadAccepted,
    /// A duplicate was answered from the record of another attempt.
    DuplicateAnswered,
    /// A try that was repeated has found its own record.
    OwnRecordFound,
    /// A record write has arrived after its attempt was over.
    LateRecord,
    /// A reader has rolled forward what it did not commit.
    RolledForward,
    /// An extension that was started again has.
    JournalFinished,
    /// The fault manager has.
    FaultManagerMoved,
    /// A version was committed below one that was there: clocks differ.
    CommittedBelow,
    /// A step was refused because something that was read has changed.
    StepRefused,
    /// A step took a greater version, because a head was further than was known.
    Overtaken,
}

impl Situation {
    /// Every one, in words.
    pub const EVERY: &[(Self, &'static str)] = &[
        (Self::ReadConflict, "read conflict"),
        (Self::PreviousAccepted, "read of a version behind the head's"),
        (Self::AbsentAccepted, "read as absent, of a key with a head"),
        (Self::AheadAccepted, "read ahead of the head"),
        (Self::DuplicateAnswered, "duplicate answered from the record"),
        (Self::OwnRecordFound, "repeated try finds its own record"),
        (Self::LateRecord, "record arrives after its attempt"),
        (Self::RolledForward, "reader rolls forward"),
        (Self::JournalFinished, "journal finishes"),
        (Self::FaultManagerMoved, "fault manager rolls forward"),
        (Self::CommittedBelow, "committed below another"),
        (Self::StepRefused, "step refused"),
        (Self::Overtaken, "step takes a greater version"),
    ];
}

/// How many steps of each were taken.
#[derive(Debug, Default)]
pub struct Met([AtomicUsize; Situation::EVERY.len()]);

impl Met {
    pub(crate) fn count(&self, situation: Situation) {
        self.0[situation as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many steps of this kind were taken.
    #[must_use]
    pub fn times(&self, situation: Situation) -> usize {
        self.0[situation as usize].load(Ordering::Relaxed)
    }
}
