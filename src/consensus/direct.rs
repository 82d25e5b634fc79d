//! What replicas of Raft and PBFT say to each other, its signatures checked.

use crate::crypto::Verified;
use crate::types::{Address, DirectMessage, ExtendedCommit, Height, Part, Proposal, Round, Statement, Vote};

/// A message for a machine of Raft or PBFT. Signatures were checked before it gets here, by the keys of the current, the
/// last or the next validator set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Direct {
    /// Signed by whom it names; so is every statement, vote and commit within it.
    Statement(Verified<Statement>),
    /// What somebody says whose address is in none of the sets, so that nobody could check it. It counts for nothing but
    /// what that peer itself is sent: a learner says where it is.
    Outsider(Statement),
    /// A log entry or PRE-PREPARE, signed by `by`. Whether `by` may propose is for the machine to say.
    Proposal {
        /// Who signed it.
        by: Address,
        /// What is proposed.
        proposal: Verified<Proposal>,
    },
    /// A part of a proposed block; its proof is checked by the machine.
    Part {
        /// Height of the block.
        height: Height,
        /// Round it was proposed in.
        round: Round,
        /// The part.
        part: Part,
    },
    /// Signed by the member at its index of the set of its height.
    Vote(Verified<Vote>),
    /// A quorum of the set of its height signed it.
    Commit(Verified<ExtendedCommit>),
}

impl Direct {
    /// The height its sender is to decide, as far as it shows.
    pub fn sender_height(&self) -> Option<Height> {
        match self {
            Direct::Statement(statement) => statement.get().body.height(),
            Direct::Outsider(statement) => statement.body.height(),
            Direct::Proposal { proposal, .. } => Some(proposal.get().height),
            Direct::Vote(vote) => Some(vote.get().height),
            // Parts and commits are also given to those who are behind.
            Direct::Part { .. } | Direct::Commit(_) => None,
        }
    }

    /// The term or view its sender is in, as far as it shows.
    pub fn sender_round(&self) -> Option<Round> {
        match self {
            Direct::Statement(statement) => statement.get().body.round(),
            Direct::Outsider(statement) => statement.body.round(),
            Direct::Proposal { proposal, .. } => Some(proposal.get().round),
            Direct::Vote(vote) => Some(vote.get().round),
            Direct::Part { .. } | Direct::Commit(_) => None,
        }
    }
}

impl From<Direct> for DirectMessage {
    fn from(direct: Direct) -> DirectMessage {
        match direct {
            Direct::Statement(statement) => DirectMessage::Statement(statement.into_inner()),
            Direct::Outsider(statement) => DirectMessage::Statement(statement),
            Direct::Proposal { by, proposal } => DirectMessage::Proposal { by, proposal: proposal.into_inner() },
            Direct::Part { height, round, part } => DirectMessage::Part { height, round, part },
            Direct::Vote(vote) => DirectMessage::Vote(vote.into_inner()),
            Direct::Commit(commit) => DirectMessage::Commit(commit.into_inner()),
        }
    }
}
