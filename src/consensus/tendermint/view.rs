//! What the machine shows to clients and to gossip.

use super::Tendermint;
use crate::consensus::tally::{Tally, VoteSet};
use crate::types::{
    BlockId, CandidateBlock, Height, PartSet, PartSetHeader, Proposal, Round, Step, Time, ValidatorSet, Vote, VoteKind,
};
use std::sync::Arc;

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

impl Tendermint {
    /// Where the machine stands. Copies the votes.
    pub fn view(&self) -> View {
        let state = &self.current;
        let votes = |round, kind| state.tally.set(round, kind).map(|set| set.votes().to_vec()).unwrap_or_default();
        let round_votes = |round| RoundVotes {
            round,
            prevotes: votes(round, VoteKind::Prevote),
            precommits: votes(round, VoteKind::Precommit),
        };
        let proposal = state.proposal().cloned();
        View {
            height: state.start.height,
            round: state.round,
            step: state.step,
            start_time: state.start_time,
            validators: Arc::clone(&state.rotation),
            proposal_block: proposal.as_ref().and_then(|p| state.blocks.block(&p.block_id)).map(Arc::clone),
            proposal,
            locked: state.locked,
            valid: state.valid,
            votes: state.tally.rounds().map(round_votes).collect(),
            last_commit: state.last_commit.as_ref().map(|set| set.votes().to_vec()).unwrap_or_default(),
        }
    }

    /// The votes of this height, for gossip.
    pub fn tally(&self) -> &Tally {
        &self.current.tally
    }

    /// The parts of the block proposed in this round, as far as they are here.
    pub fn proposal_parts(&self) -> Option<&PartSet> {
        self.current.blocks.gathering(&self.current.proposal()?.block_id.parts)
    }

    /// The parts with this root, of a block proposed, locked, valid or decided at this height, as far as they are here.
    pub fn parts(&self, header: &PartSetHeader) -> Option<&PartSet> {
        self.current.blocks.gathering(header)
    }

    /// The block of this name, once complete.
    pub fn block(&self, id: &BlockId) -> Option<&Arc<CandidateBlock>> {
        self.current.blocks.block(id)
    }

    /// The proposal of a round; kept for the current round and the next.
    pub fn proposal_of(&self, round: Round) -> Option<&Proposal> {
        self.current.proposals.get(&round)
    }

    /// The precommits of the height before, with late ones; none at the initial height.
    pub fn last_commit(&self) -> Option<&VoteSet> {
        self.current.last_commit.as_ref()
    }

    /// The first height of the chain.
    pub fn initial_height(&self) -> Height {
        self.current.start.initial_height
    }

    /// When this height began, or begins.
    pub fn start_time(&self) -> Time {
        self.current.start_time
    }
}
