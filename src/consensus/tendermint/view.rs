//! What the machine shows to clients and to gossip.

use super::Tendermint;
use crate::consensus::tally::{Tally, VoteSet};
use crate::consensus::{Lead, RoundVotes, Sizes, View};
use crate::types::{BlockId, CandidateBlock, Height, PartSet, PartSetHeader, Proposal, Round, Time, VoteKind};
use std::sync::Arc;

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
            lead: Lead::Proposer(state.rotation.proposer().address),
            last_commit: state.last_commit.as_ref().map(|set| set.votes().to_vec()).unwrap_or_default(),
        }
    }

    /// How much is kept of what others say.
    pub fn sizes(&self) -> Sizes {
        let state = &self.current;
        vec![
            ("rounds ahead", state.tally.rounds().filter(|round| *round > state.round.next()).count() as u64),
            ("proposals", state.proposals.len() as u64),
        ]
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
