//! What a machine shows to clients and to people.

use crate::types::{Address, BlockId, CandidateBlock, Height, Proposal, Round, Step, Time, ValidatorSet, Vote};
use std::sync::Arc;

/// How much a machine keeps of what others say, each under a name: for whoever watches that it stays little.
pub type Sizes = Vec<(&'static str, u64)>;

/// Where the machine stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Height being decided.
    pub height: Height,
    /// Round.
    pub round: Round,
    /// Step.
    pub step: Step,
    /// When this height began, or begins.
    pub start_time: Time,
    /// The set of this height with the rotation of this round.
    pub validators: Arc<ValidatorSet>,
    /// Proposal of the round.
    pub proposal: Option<Proposal>,
    /// The proposed block, if complete.
    pub proposal_block: Option<Arc<CandidateBlock>>,
    /// The locked block and the round of the lock.
    pub locked: Option<(Round, BlockId)>,
    /// The valid block and its round.
    pub valid: Option<(Round, BlockId)>,
    /// Votes by round, each list in set order; rounds without votes are left out.
    pub votes: Vec<RoundVotes>,
    /// Precommits of the height before, in set order.
    pub last_commit: Vec<Option<Vote>>,
    /// Who is to propose, in the protocol's own words.
    pub lead: Lead,
}

/// Who is to propose, in the protocol's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lead {
    /// Tendermint: the proposer of the round.
    Proposer(Address),
    /// PBFT: the primary of the view.
    Primary {
        /// Who.
        primary: Address,
        /// Whether the view is at work.
        phase: ViewPhase,
    },
    /// Raft.
    Leader {
        /// The leader of the term, as far as known.
        leader: Option<Address>,
        /// What this node is.
        role: RaftRole,
    },
}

/// Whether a view of PBFT is at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ViewPhase {
    /// Blocks are decided in it.
    Active,
    /// Replicas are on their way into it: its NEW-VIEW is missing.
    Changing,
}

/// What a Raft node is in its term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RaftRole {
    /// It is not in the validator set: it follows, and does not count.
    Learner,
    /// It follows.
    Follower,
    /// It asks whether it could win an election.
    PreCandidate,
    /// It asks for votes.
    Candidate,
    /// It leads.
    Leader,
}

/// The votes of one round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoundVotes {
    /// Round.
    pub round: Round,
    /// In set order.
    pub prevotes: Vec<Option<Vote>>,
    /// In set order.
    pub precommits: Vec<Option<Vote>>,
}
