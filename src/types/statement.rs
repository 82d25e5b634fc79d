//! What replicas of Raft and PBFT sign beside votes and proposals, and how they say it to each other.
//!
//! Entries of a Raft log and PRE-PREPAREs are canonical proposals; acknowledgements, PREPAREs and COMMITs are canonical
//! votes with the term or view as round. Everything else a replica says is a [`Statement`]: signed like a vote, bound to
//! the chain and the protocol.

use super::{
    Address, Algorithm, Election, ExtendedCommit, Height, Part, PbftStatement, Proposal, RaftStatement, Round, Vote,
};
use crate::crypto::Signature;

/// What can be stated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatementBody {
    /// In a Raft chain.
    Raft(RaftStatement),
    /// In a PBFT chain.
    Pbft(Box<PbftStatement>),
}

impl StatementBody {
    /// The height whoever states it is to decide, where it says so.
    pub fn height(&self) -> Option<Height> {
        match self {
            StatementBody::Raft(statement) => statement.height(),
            StatementBody::Pbft(statement) => Some(statement.height()),
        }
    }

    /// The term or view of whoever states it, where it says so.
    pub fn round(&self) -> Option<Round> {
        match self {
            StatementBody::Raft(statement) => statement.term(),
            StatementBody::Pbft(statement) => Some(statement.view()),
        }
    }

    /// The protocol it belongs to, which its sign bytes name.
    pub fn algorithm(&self) -> Algorithm {
        match self {
            StatementBody::Raft(_) => Algorithm::Raft,
            StatementBody::Pbft(_) => Algorithm::Pbft,
        }
    }

    /// True when others build on it that its author will not contradict it, so that whoever forgets it must be silent.
    ///
    /// - Raft: a vote, for oneself or another (§5.2: one a term, or two leaders share it). A pre-vote binds nobody (thesis
    ///   §9.6). A leader's words rest on the vote it gave itself before. Everything else tells how far a replica is: nothing
    ///   is counted by it but acknowledgements, which are guarded votes, and the lease, which a restart keeps by itself
    ///   (docs/protocol/raft.md). Who forgets a later term that it never voted in is as one that did not hear of it yet.
    /// - PBFT: a VIEW-CHANGE (§4.4: its author takes no part in earlier views, and what prepared there is in it), and the
    ///   NEW-VIEW that follows from several. A status is for help only.
    pub fn is_promise(&self) -> bool {
        match self {
            StatementBody::Raft(RaftStatement::RequestVote { election, .. }) => *election != Election::PreVote,
            StatementBody::Raft(RaftStatement::Ballot { election, granted, .. }) => {
                *granted && (*election != Election::PreVote || mutant!("K33"))
            }
            StatementBody::Raft(
                RaftStatement::Heartbeat { .. }
                | RaftStatement::Following { .. }
                | RaftStatement::TimeoutNow { .. }
                | RaftStatement::ReadIndex { .. }
                | RaftStatement::ReadAt { .. },
            ) => false,
            StatementBody::Pbft(body) => match **body {
                PbftStatement::ViewChange { .. } | PbftStatement::NewView { .. } => true,
                PbftStatement::Status { .. } => false,
            },
        }
    }
}

/// A statement as one validator (or, in Raft, a learner) signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Who.
    pub by: Address,
    /// What.
    pub body: StatementBody,
    /// Over [`Statement::sign_bytes`].
    pub signature: Signature,
}

/// A statement that waits for its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsignedStatement {
    /// We.
    pub by: Address,
    /// What.
    pub body: StatementBody,
}

impl UnsignedStatement {
    /// The statement with its signature.
    pub fn signed(self, signature: Signature) -> Statement {
        Statement { by: self.by, body: self.body, signature }
    }
}

/// Where a replica of Raft or PBFT stands beyond the height it decides. Journaled before anything rests on it, and again
/// at the beginning of every height, so that the newest one is always near the end of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Height being decided when it was written.
    pub height: Height,
    /// Term or view: nothing below it is signed any more.
    pub round: Round,
    /// Raft: who has our vote in this term.
    pub voted_for: Option<Address>,
}

/// What replicas of Raft and PBFT say to each other directly, as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DirectMessage {
    /// A statement.
    Statement(Statement),
    /// An entry of the log, or a PRE-PREPARE.
    Proposal {
        /// Leader or primary.
        by: Address,
        /// Its choice.
        proposal: Proposal,
    },
    /// A part of a proposed block.
    Part {
        /// Height of the block.
        height: Height,
        /// Round it was proposed in.
        round: Round,
        /// The part.
        part: Part,
    },
    /// An acknowledgement, a PREPARE or a COMMIT.
    Vote(Vote),
    /// A quorum decided this.
    Commit(ExtendedCommit),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::LogPosition;

    /// All statements there are, and whether they bind: 17.
    #[test]
    fn votes_and_what_leaves_a_view_are_promises_and_nothing_else_is() {
        let (term, height, to) = (Round::new(1), Height::FIRST, Address::new([2; 20]));
        let last = LogPosition { height, entry: None };
        let ask = |election| StatementBody::Raft(RaftStatement::RequestVote { term, election, last });
        let ballot = |election, granted| {
            StatementBody::Raft(RaftStatement::Ballot { term, asked: term, election, candidate: to, granted, height })
        };
        let pbft = |statement| StatementBody::Pbft(Box::new(statement));
        let promises = [
            ask(Election::Vote),
            ask(Election::Handover),
            ballot(Election::Vote, true),
            ballot(Election::Handover, true),
            pbft(PbftStatement::ViewChange { view: term, height, checkpoint: None, prepared: None }),
            pbft(PbftStatement::NewView { view: term, height, view_changes: Vec::new(), chosen: None }),
        ];
        let others = [
            ask(Election::PreVote),
            ballot(Election::PreVote, true),
            ballot(Election::PreVote, false),
            ballot(Election::Vote, false),
            ballot(Election::Handover, false),
            StatementBody::Raft(RaftStatement::Heartbeat { term, height, beat: 1 }),
            StatementBody::Raft(RaftStatement::Following { term, height, entry: Some(term), beat: 1 }),
            StatementBody::Raft(RaftStatement::TimeoutNow { term, to }),
            StatementBody::Raft(RaftStatement::ReadIndex { ticket: 1 }),
            StatementBody::Raft(RaftStatement::ReadAt { ticket: 1, to, height }),
            pbft(PbftStatement::Status { view: term, height, active: true, proposal: None }),
        ];
        assert!(promises.iter().all(StatementBody::is_promise));
        assert!(!others.iter().any(StatementBody::is_promise));
    }
}
