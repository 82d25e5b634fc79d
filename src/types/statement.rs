//! What replicas of Raft and PBFT sign beside votes and proposals, and how they say it to each other.
//!
//! Entries of a Raft log and PRE-PREPAREs are canonical proposals; acknowledgements, PREPAREs and COMMITs are canonical
//! votes with the term or view as round. Everything else a replica says is a [`Statement`]: signed like a vote, bound to
//! the chain and the protocol.

use super::{Address, Algorithm, ExtendedCommit, Height, Part, PbftStatement, Proposal, RaftStatement, Round, Vote};
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
