//! The protocol's rules as switches, so that each can be taken away and the explorer asked whether anything depends on it.
//!
//! The switches are of the model only. With all of them on, the read rule and the move of a head are the product's own
//! functions, unchanged ([`crate::product`]); a read rule that is off is off in what those functions are given.

/// Which rules hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules([bool; Rule::COUNT]);

impl Rules {
    /// The protocol as it is.
    pub const ALL: Self = Self([true; Rule::COUNT]);

    /// The protocol without one of its rules.
    #[must_use]
    pub fn without(rule: Rule) -> Self {
        let mut rules = Self::ALL;
        rules.0[rule as usize] = false;
        rules
    }

    /// Whether this one holds.
    #[must_use]
    pub fn hold(&self, rule: Rule) -> bool {
        self.0[rule as usize]
    }
}

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)+) => {
        /// A rule that can be taken away.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Rule { $($(#[$doc])* #[doc = $text] $name,)+ }

        impl Rule {
            /// Every one.
            pub const EVERY: &[Self] = &[$(Self::$name,)+];
            const COUNT: usize = Self::EVERY.len();

            /// Its number in `docs/protocol.md`.
            #[must_use]
            pub fn number(self) -> &'static str {
                match self { $(Self::$name => $number,)+ }
            }

            /// What it says.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

rules! {
    RecordFirst = "R-COMMIT-1", "a head moves only after the record is durable";
    OneRecord = "R-COMMIT-2", "the record is written on the condition that there is none";
    LoserDiscards = "R-COMMIT-2", "who finds another attempt's record discards his own writes";
    LoserAnswersFromRecord = "R-COMMIT-2", "who finds another attempt's record answers with its response";
    LoserApplies = "R-COMMIT-2", "who finds another attempt's record answers when that is applied";
    ClockPassesReads = "R-COMMIT-3", "the timestamp is greater than every version that was read";
    ClockPassesWritten = "R-COMMIT-3", "the heads of keys that are written unread are looked up before the timestamp is taken";
    ClockPassesOwn = "R-COMMIT-3", "the timestamp is greater than all that the sandbox has read, written or seen before";
    UnknownIsNotFailed = "R-COMMIT-4", "a record write without an answer is unknown, never failed";
    Nonce = "R-COMMIT-4", "a nonce tells one's own record from another attempt's";
    ForwardOnly = "R-COMMIT-5", "a head moves if and only if the new version is greater";
    VisibleFirst = "R-COMMIT-6", "the response is released when every head is applied";
    NoTrace = "R-COMMIT-8", "an attempt that ended in a conflict writes nothing";
    LowerBound = "R-READ-1", "nothing older than what a version that was read came with is seen";
    CowrittenCheck = "R-READ-1", "a version does not fit if a key that came with it was read at an older version";
    AbsentCounts = "R-READ-1", "a key that was read as absent counts as read at version zero";
    Repeatable = "R-READ-2", "what was read is read again at the same version";
    OwnWrites = "R-READ-2", "a key that the attempt wrote is answered from its buffer";
    ConflictIsNotAbsence = "R-READ-3", "no version that fits is a conflict, and not an absent key";
    RecordOutlivesReaders = "R-READ-6", "no record expires under an attempt that began before it was applied";
    FaultManager = "R-FM-1", "the fault manager rolls forward what is not applied";
    Turns = "R-FM-2", "a sandbox commits its next transaction only after its previous one is applied";
    NewName = "R-FM-2", "after an unknown outcome the sandbox commits under another name";
    ReadersRollForward = "R-FM-3", "a reader that sees a record ahead of a head rolls it forward";
    Journal = "R-FM-4", "an extension that is started again finishes its own last transaction";
    Guards = "R-SER-1", "the step takes effect only if every key is at the version that was read";
    PassesHeads = "R-SER-2", "the step's version is greater than every head that it moves";
    Validated = "R-SER-3", "what only read is validated before its response is released";
    ConflictIsCertain = "R-SER-4", "a conflict is one only if no earlier try has taken effect";
}
