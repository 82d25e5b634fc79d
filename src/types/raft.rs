//! What Raft's replicas state to each other (Ongaro and Ousterhout, ATC '14; Ongaro's thesis for what is cited as such).

use super::{Address, Height, Round};

/// Where a candidate's log ends: the height it is to decide, and the term of the entry it acknowledged there, if any.
/// Ordered as logs are compared: heights are decided one at a time, so all below `height` is decided and the entry at
/// `height` is the only one open (docs/DIVERGENCES.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition {
    /// Height to decide.
    pub height: Height,
    /// Term in which its entry was last acknowledged.
    pub entry: Option<Round>,
}

/// Why votes are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Election {
    /// To see whether an election could be won: no terms are changed (thesis §9.6).
    PreVote,
    /// Because the leader fell silent (§5.2).
    Vote,
    /// At the leader's own wish: it hands over (thesis §3.10), or the validators changed and its mandate ended.
    Handover,
}

/// A statement of a Raft replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RaftStatement {
    /// Vote for me (§5.2, §5.4.1).
    RequestVote {
        /// The candidate's term; for a pre-vote the one it would have.
        term: Round,
        /// Why.
        election: Election,
        /// Where its log ends.
        last: LogPosition,
    },
    /// The answer to [`RaftStatement::RequestVote`].
    Ballot {
        /// The voter's term.
        term: Round,
        /// The term asked about.
        asked: Round,
        /// Which question is answered.
        election: Election,
        /// Who asked.
        candidate: Address,
        /// True when the candidate has the vote.
        granted: bool,
        /// Height the voter is to decide: a candidate below it learns that it is behind.
        height: Height,
    },
    /// I lead (§5.2); an AppendEntries without entries.
    Heartbeat {
        /// The leader's term.
        term: Round,
        /// Height it is to decide.
        height: Height,
        /// Counts up within a term; comes back in [`RaftStatement::Following`].
        beat: u64,
    },
    /// The answer to [`RaftStatement::Heartbeat`], from voters and learners.
    Following {
        /// The follower's term.
        term: Round,
        /// Height it is to decide.
        height: Height,
        /// The newest term in which it has that height's entry, complete: an acknowledgement is on its way or will
        /// not come.
        entry: Option<Round>,
        /// The heartbeat answered.
        beat: u64,
    },
    /// Stand for election at once (thesis §3.10).
    TimeoutNow {
        /// The leader's term.
        term: Round,
        /// Who is to stand.
        to: Address,
    },
    /// How far must I be for a linearizable read? (§8)
    ReadIndex {
        /// Comes back.
        ticket: u64,
    },
    /// The answer to [`RaftStatement::ReadIndex`].
    ReadAt {
        /// Which question.
        ticket: u64,
        /// Whose question.
        to: Address,
        /// Everything up to here must be applied.
        height: Height,
    },
}

impl RaftStatement {
    /// The height whoever states it is to decide, where it says so.
    pub fn height(&self) -> Option<Height> {
        match self {
            RaftStatement::RequestVote { last, .. } => Some(last.height),
            RaftStatement::Ballot { height, .. }
            | RaftStatement::Heartbeat { height, .. }
            | RaftStatement::Following { height, .. } => Some(*height),
            RaftStatement::TimeoutNow { .. } | RaftStatement::ReadIndex { .. } | RaftStatement::ReadAt { .. } => None,
        }
    }

    /// The term of whoever states it, where it says so; the term of a pre-vote is nobody's yet.
    pub fn term(&self) -> Option<Round> {
        match self {
            RaftStatement::RequestVote { election: Election::PreVote, .. }
            | RaftStatement::ReadIndex { .. }
            | RaftStatement::ReadAt { .. } => None,
            RaftStatement::RequestVote { term, .. }
            | RaftStatement::Ballot { term, .. }
            | RaftStatement::Heartbeat { term, .. }
            | RaftStatement::Following { term, .. }
            | RaftStatement::TimeoutNow { term, .. } => Some(*term),
        }
    }
}
