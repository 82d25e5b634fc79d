//! Our turn: what to propose, and how the proposal gets out (lines 11-19).

use super::height::Proposing;
use super::{Message, Tendermint};
use crate::consensus::blocks::Progress;
use crate::consensus::{BuildOrder, Effect, Effects, EmptyBlocks, Now, Reaction, RoundNote};
use crate::crypto::Verified;
use crate::types::{
    BlockId, CandidateBlock, Height, JournalMessage, JournalRecord, Proposal, Round, SignRequest, Source, Step,
    UnsignedProposal,
};
use std::sync::Arc;

impl Tendermint {
    /// Proposes at once, or first waits for a transaction where empty blocks are not wanted (reference §6.4).
    pub(super) fn wait_for_txs_or_propose(&mut self, now: Now, out: &mut Effects<Tendermint>) {
        let state = &self.current;
        let empty_blocks = state.start.timeouts.empty_blocks;
        let something_to_do = state.txs_available || (state.start.proof_block_needed && !mutant!("T99"));
        if empty_blocks == EmptyBlocks::Always || something_to_do || (state.round != Round::ZERO && !mutant!("T98")) {
            return self.enter_propose(now, out);
        }
        if let EmptyBlocks::After(_) = empty_blocks {
            self.set_timer(now, Step::NewRound, out);
        }
    }

    /// Lines 14-21: propose when it is our turn, wait for a proposal otherwise. The timer runs in both cases.
    pub(super) fn enter_propose(&mut self, now: Now, out: &mut Effects<Tendermint>) {
        self.enter_step(Step::Propose, out);
        self.set_timer(now, Step::Propose, out);
        if !self.current.is_proposer() || self.current.proposal().is_some() {
            return;
        }
        // Line 15: a valid value is proposed again. A block with the votes but without the application's word is
        // waited for; deciding by whichever comes first would let a restart propose something else.
        let state = &self.current;
        let complete = |id: &BlockId| state.blocks.block(id).is_some();
        let newest = state.tally.polkas().find(|(_, id)| complete(id) && !mutant!("T15"));
        match newest {
            Some((valid_round, block_id)) => {
                self.current.proposing = Proposing::AwaitingCheck { valid_round, block_id }
            }
            None => self.build(out),
        }
    }

    /// Line 18: getValue().
    pub(super) fn build(&mut self, out: &mut Effects<Tendermint>) {
        self.current.proposing = Proposing::Building;
        out.push(Effect::BuildBlock(self.build_order()));
    }

    pub(super) fn build_order(&self) -> BuildOrder {
        let state = &self.current;
        let grown = state.last_commit.as_ref().and_then(|set| set.to_commit()).filter(|_| !mutant!("T97"));
        let last_commit = grown.or_else(|| state.start.last_commit.clone());
        BuildOrder { height: state.start.height, round: state.round, last_commit }
    }

    /// Line 16: proposes the valid block again as soon as the application's answer is known.
    pub(super) fn propose_valid(&mut self, now: Now, out: &mut Effects<Tendermint>) -> bool {
        let Proposing::AwaitingCheck { valid_round, block_id } = self.current.proposing else { return false };
        if self.current.step != Step::Propose {
            return false;
        }
        match self.current.blocks.progress(&block_id) {
            Progress::Unknown => false,
            Progress::Incomplete | Progress::Rejected => {
                self.build(out);
                true
            }
            Progress::Accepted => {
                let block = self.current.blocks.block(&block_id).map(Arc::clone);
                let Some(block) = block else { return false };
                self.request_proposal(now, Some(valid_round), block, out);
                true
            }
        }
    }

    /// A block we ordered is ready.
    pub(super) fn on_block_built(
        &mut self,
        now: Now,
        height: Height,
        round: Round,
        block: Arc<CandidateBlock>,
        out: &mut Effects<Tendermint>,
    ) -> Reaction {
        let state = &mut self.current;
        let ordered = matches!(state.proposing, Proposing::Building) && state.step == Step::Propose;
        if (height, round) != (state.start.height, state.round) || !ordered {
            return Reaction::Ignored("block built too late");
        }
        state.blocks.insert(Arc::clone(&block));
        // The signature depends on the block: after a crash the same block must be proposed.
        for part in block.parts().parts() {
            let message = JournalMessage::Part { height, round, part: part.clone() };
            out.push(Effect::Persist(JournalRecord::Message { source: Source::Own, message }));
        }
        self.request_proposal(now, None, block, out);
        self.settle(now, out);
        Reaction::Accepted
    }

    pub(super) fn request_proposal(
        &mut self,
        now: Now,
        pol_round: Option<Round>,
        block: Arc<CandidateBlock>,
        out: &mut Effects<Tendermint>,
    ) {
        let state = &mut self.current;
        let (height, round) = (state.start.height, state.round);
        let unsigned = UnsignedProposal { height, round, pol_round, block_id: block.id(), timestamp: now.wall };
        state.proposing = Proposing::Signing { unsigned: unsigned.clone(), block };
        out.push(Effect::Sign(SignRequest::Proposal(unsigned)));
    }

    /// Our proposal is signed: journal it, tell everybody, and take it like anybody's.
    pub(super) fn on_own_proposal(&mut self, now: Now, proposal: Proposal, out: &mut Effects<Tendermint>) -> Reaction {
        let state = &mut self.current;
        let Proposing::Signing { unsigned, block } = &state.proposing else {
            return Reaction::Ignored("a proposal nobody waits for");
        };
        let asked = (unsigned.height, unsigned.round, unsigned.pol_round, unsigned.block_id);
        if (proposal.height, proposal.round, proposal.pol_round, proposal.block_id) != asked {
            return Reaction::Ignored("a proposal other than the one to sign");
        }
        let block = Arc::clone(block);
        state.proposing = Proposing::No;
        state.blocks.insert(Arc::clone(&block));
        state.proposals.insert(proposal.round, proposal.clone());
        let message = JournalMessage::Proposal(proposal.clone());
        out.push(Effect::Persist(JournalRecord::Message { source: Source::Own, message }));
        self.broadcast_proposal(proposal, &block, out);
        self.note_if_complete(&block.id(), out);
        self.settle(now, out);
        Reaction::Accepted
    }

    pub(super) fn broadcast_proposal(&self, proposal: Proposal, block: &CandidateBlock, out: &mut Effects<Tendermint>) {
        let (height, round) = (proposal.height, proposal.round);
        out.push(Effect::Broadcast(Message::Proposal(Verified::trusted(proposal))));
        for part in block.parts().parts() {
            out.push(Effect::Broadcast(Message::Part { height, round, part: part.clone() }));
        }
    }

    /// Says that the block proposed in this round is here.
    pub(super) fn note_if_complete(&self, block_id: &BlockId, out: &mut Effects<Tendermint>) {
        let state = &self.current;
        let proposed = state.proposal().is_some_and(|proposal| proposal.block_id == *block_id);
        if proposed && state.blocks.block(block_id).is_some() {
            let (height, round) = (state.start.height, state.round);
            out.push(Effect::Note(RoundNote::CompleteProposal { height, round, block_id: *block_id }));
        }
    }
}
