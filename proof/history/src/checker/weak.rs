//! The levels below serializable, as Biswas and Enea define them (*On the Complexity of Checking Transactional Consistency*,
//! OOPSLA 2019): there is a commit order `co` of all transactions that extends session order and write-read, `so ∪ wr`, and for
//! each read of a key `x` by `t3` from `t1`, and each other writer `t2` of `x`:
//!
//! | level | if | then |
//! |---|---|---|
//! | read committed | `t3` had read from `t2` before | `t2` comes before `t1` in `co` |
//! | read atomic | `(t2, t3) ∈ so ∪ wr` | the same |
//! | causal | `(t2, t3) ∈ (so ∪ wr)⁺` | the same |
//!
//! None of the premises speaks of `co`. So these conclusions are all that is asked of it: if they, `so` and `wr` make no
//! circle, any order along them will do. If versions are in the order of their writers, that is `co` for each key, and a
//! conclusion against it is a breach by itself.
//!
//! Whoever reads has a part in it, whatever became of it; what an aborted attempt wrote has none.

use super::breach::{Because, Breach, Link, Promise};
use super::graph::{Edge, Graph, NO_KEY};
use super::index::{Index, Writers, place};
use super::{Expect, Level, Sessions, Versions};
use crate::format::Outcome;

pub(crate) fn check(index: &Index<'_>, expect: &Expect) -> Result<(), Box<Breach>> {
    let writers = index.writers();
    let mut check = Check {
        index,
        ordered: expect.versions == Versions::Ordered,
        graph: Graph::new(place(index.history.len()), index.size()),
        level: expect.level,
        sessions: Predecessors::of(index, expect.sessions),
    };
    check.add_reads_and_writes(&writers);
    check.add_sessions(expect.sessions);
    match expect.level {
        Level::ReadCommitted | Level::ReadAtomic => check.conclude_from_neighbours()?,
        Level::Causal => check.conclude_from_all_before(&writers)?,
    }
    check.graph.order().map(drop).map_err(|circle| check.circle(&circle))
}

struct Check<'i, 'h> {
    index: &'i Index<'h>,
    /// Whether a key's versions say who wrote it after whom.
    ordered: bool,
    level: Level,
    graph: Graph,
    sessions: Predecessors,
}

impl Check<'_, '_> {
    fn add_reads_and_writes(&mut self, writers: &Writers) {
        for reader in 0..self.index.history.len() {
            for read in self.index.reads(reader) {
                if let Some(writer) = read.writer {
                    self.graph.add(writer, place(reader), Because::Read, read.key);
                }
            }
        }
        if self.ordered {
            for key in 0..place(self.index.keys.len()) {
                for pair in writers.of_key(key).windows(2) {
                    self.graph.add(pair[0].1, pair[1].1, Because::Wrote, key);
                }
            }
        }
    }

    fn add_sessions(&mut self, sessions: Sessions) {
        if sessions == Sessions::Processes {
            for session in &self.sessions.members {
                let interval = |attempt: &u32| {
                    let attempted = &self.index.history[*attempt as usize];
                    (*attempt, attempted.began, Some(attempted.ended))
                };
                self.graph.add_intervals(&session.iter().map(interval).collect::<Vec<_>>(), Because::Session);
            }
        }
    }

    /// Read committed and read atomic: who is read from, or is of the same session.
    fn conclude_from_neighbours(&mut self) -> Result<(), Box<Breach>> {
        // By key: the reader that read it last, and which of its reads that was.
        let mut read_by = vec![(u32::MAX, 0); self.index.keys.len()];
        for reader in 0..self.index.history.len() {
            let reads = self.index.reads(reader);
            for (position, read) in reads.iter().enumerate() {
                read_by[read.key as usize] = (place(reader), position);
            }
            for (earlier, writer) in reads.iter().enumerate().filter_map(|(at, read)| Some((at, read.writer?))) {
                for key in self.index.writes(writer as usize) {
                    let (by, position) = read_by[*key as usize];
                    let counts = self.level != Level::ReadCommitted || earlier < position;
                    if by == place(reader) && counts {
                        self.conclude(reader, *key, reads[position].writer, writer)?;
                    }
                }
            }
            if self.level != Level::ReadCommitted {
                for number in 0..self.sessions.before(self.index, reader).len() {
                    let other = self.sessions.before(self.index, reader)[number];
                    for key in self.index.writes(other as usize) {
                        let (by, position) = read_by[*key as usize];
                        if by == place(reader) && self.index.visible[other as usize] {
                            self.conclude(reader, *key, reads[position].writer, other)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Causal: whoever comes before the reader in `so ∪ wr`.
    fn conclude_from_all_before(&mut self, writers: &Writers) -> Result<(), Box<Breach>> {
        let order = self.graph.order().map_err(|circle| self.circle(&circle))?;
        let width = self.index.history.len().div_ceil(64);
        let mut before = vec![0_u64; width * self.index.history.len()];
        for reader in order {
            let reader = reader as usize;
            let direct = self.index.reads(reader).iter().filter_map(|read| read.writer);
            let direct: Vec<u32> = direct.chain(self.sessions.before(self.index, reader).iter().copied()).collect();
            for other in direct {
                let other = other as usize;
                for word in 0..width {
                    before[reader * width + word] |= before[other * width + word];
                }
                before[reader * width + other / 64] |= 1 << (other % 64);
            }
        }
        for reader in 0..self.index.history.len() {
            for read in self.index.reads(reader) {
                for (_, other) in writers.of_key(read.key) {
                    let number = *other as usize;
                    if number != reader && before[reader * width + number / 64] >> (number % 64) & 1 == 1 {
                        self.conclude(reader, read.key, read.writer, *other)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The other one, too, wrote what the reader read from this writer, and must have come before it.
    fn conclude(&mut self, reader: usize, key: u32, writer: Option<u32>, other: u32) -> Result<(), Box<Breach>> {
        if writer == Some(other) || other == place(reader) {
            return Ok(());
        }
        let against = writer
            .is_none_or(|writer| self.ordered && self.index.ranks[writer as usize] < self.index.ranks[other as usize]);
        if !against {
            if let (Some(writer), false) = (writer, self.ordered) {
                self.graph.add(other, writer, Because::SeenBy(place(reader)), key);
            }
            return Ok(());
        }
        let key = Some(self.index.key(key).to_owned());
        let (writer, other) = (writer.map(|writer| writer as usize), Some(other as usize));
        let is_first = if writer.is_some() { Because::Wrote } else { Because::Beginning };
        let cycle = vec![
            Link { from: other, because: Because::SeenBy(place(reader)), key: key.clone(), to: writer },
            Link { from: writer, because: is_first, key, to: other },
        ];
        let promise = match self.level {
            Level::ReadCommitted => Promise::ReadCommitted,
            Level::ReadAtomic => Promise::FracturedRead,
            Level::Causal => Promise::Causal,
        };
        Err(Breach::circle(promise, self.index.history, cycle))
    }

    fn circle(&self, circle: &[Edge]) -> Box<Breach> {
        let promise = match self.level {
            _ if circle.iter().any(|edge| edge.because == Because::Wrote) => Promise::VersionOrder,
            Level::ReadCommitted => Promise::ReadCommitted,
            Level::ReadAtomic => Promise::ReadAtomic,
            Level::Causal => Promise::Causal,
        };
        Breach::circle(promise, self.index.history, links(self.index, circle, |node| node as usize))
    }
}

/// A circle of edges in terms of the history.
pub(crate) fn links(index: &Index<'_>, circle: &[Edge], attempt: impl Fn(u32) -> usize) -> Vec<Link> {
    let link = |edge: &Edge| Link {
        from: Some(attempt(edge.from)),
        because: edge.because,
        key: (edge.key != NO_KEY).then(|| index.key(edge.key).to_owned()),
        to: Some(attempt(edge.to)),
    };
    circle.iter().map(link).collect()
}

/// Who came before whom in its session: of those that committed, and did not overlap.
struct Predecessors {
    /// Of each session, by their end.
    members: Vec<Vec<u32>>,
    /// Of each attempt.
    session: Vec<usize>,
}

impl Predecessors {
    fn of(index: &Index<'_>, sessions: Sessions) -> Self {
        if sessions == Sessions::None {
            return Self { members: Vec::new(), session: Vec::new() };
        }
        let mut processes: Vec<u32> = index.history.iter().map(|attempt| attempt.process).collect();
        processes.sort_unstable();
        processes.dedup();
        let session = |process| processes.binary_search(&process).unwrap_or_default();
        let mut members = vec![Vec::new(); processes.len()];
        let of_attempt: Vec<usize> = index.history.iter().map(|attempt| session(attempt.process)).collect();
        for (number, attempt) in index.history.iter().enumerate() {
            if attempt.outcome == Outcome::Committed {
                members[of_attempt[number]].push(place(number));
            }
        }
        for session in &mut members {
            session.sort_by_key(|attempt| index.history[*attempt as usize].ended);
        }
        Self { members, session: of_attempt }
    }

    fn before(&self, index: &Index<'_>, attempt: usize) -> &[u32] {
        let attempted = &index.history[attempt];
        let Some(members) = self.session.get(attempt).and_then(|session| self.members.get(*session)) else {
            return &[];
        };
        if attempted.outcome != Outcome::Committed {
            return &[];
        }
        let end = members.partition_point(|other| index.history[*other as usize].ended < attempted.began);
        &members[..end]
    }
}
