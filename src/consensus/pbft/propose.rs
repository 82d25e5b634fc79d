//! Our turn: what to PRE-PREPARE, and how it gets out (§4.2).

use super::Pbft;
use super::height::Proposing;
use crate::consensus::{BuildOrder, Direct, Effect, Effects, EmptyBlocks, Now, Reaction, RoundNote};
use crate::crypto::Verified;
use crate::types::{
    BlockId, CandidateBlock, Height, JournalMessage, JournalRecord, NodeId, Proposal, Round, SignRequest, Source, Step,
    UnsignedProposal,
};
use std::sync::Arc;

impl Pbft {
    /// Proposes what the NEW-VIEW wants (§4.4), else a fresh block when there is something to put into it.
    pub(super) fn propose(&mut self, now: Now, out: &mut Effects<Pbft>) -> bool {
        let state = &self.current;
        let idle = matches!(state.proposing, Proposing::No) && !state.proposals.contains_key(&self.view);
        if !self.is_active() || !self.leads() || !idle || state.begun.is_none() {
            return false;
        }
        if let Some(chosen) = self.chosen().filter(|_| !mutant!("P46")) {
            return self.propose_chosen(now, chosen, out);
        }
        if !self.block_wanted(now) {
            return false;
        }
        self.current.proposing = Proposing::Building;
        self.enter_step(Step::Propose, out);
        out.push(Effect::BuildBlock(self.build_order()));
        true
    }

    /// True when a block should be made now: see [`EmptyBlocks`]. After a failed view one is made in any case: those who
    /// left it waited for something.
    pub(super) fn block_wanted(&self, now: Now) -> bool {
        let state = &self.current;
        let due = match (state.start.timeouts.empty_blocks, state.begun) {
            (EmptyBlocks::Always, _) => true,
            (EmptyBlocks::After(interval), Some(begun)) => begun.plus(interval) <= now.tick,
            (EmptyBlocks::After(_), None) | (EmptyBlocks::Never, _) => false,
        };
        due || state.txs_available || state.start.proof_block_needed || (self.failures > 0 && !mutant!("P50"))
    }

    /// The same block under a new number. Who prepared it has it; until it is here, status messages ask for it.
    fn propose_chosen(&mut self, now: Now, chosen: BlockId, out: &mut Effects<Pbft>) -> bool {
        let Some(block) = self.current.blocks.block(&chosen).map(Arc::clone) else {
            self.current.blocks.want(chosen.parts);
            return false;
        };
        self.enter_step(Step::Propose, out);
        self.request_proposal(now, block, out);
        true
    }

    fn build_order(&self) -> BuildOrder {
        let state = &self.current;
        let grown = state.last_commit.as_ref().and_then(|set| set.to_commit());
        let last_commit = grown.or_else(|| state.start.last_commit.clone());
        BuildOrder { height: state.start.height, round: self.view, last_commit }
    }

    /// A block we ordered is ready.
    pub(super) fn on_block_built(
        &mut self,
        now: Now,
        at: (Height, Round),
        block: Arc<CandidateBlock>,
        out: &mut Effects<Pbft>,
    ) -> Reaction {
        let ordered = matches!(self.current.proposing, Proposing::Building) && self.current.is_open();
        if at != (self.height(), self.view) || !ordered {
            return Reaction::Ignored("block built too late");
        }
        self.current.blocks.insert(Arc::clone(&block));
        self.request_proposal(now, block, out);
        Reaction::Accepted
    }

    /// The signature depends on the block: after a crash the same block must be proposed, so its parts go first.
    fn request_proposal(&mut self, now: Now, block: Arc<CandidateBlock>, out: &mut Effects<Pbft>) {
        let (height, round) = (self.height(), self.view);
        for part in block.parts().parts() {
            let message = JournalMessage::Part { height, round, part: part.clone() };
            out.push(Effect::Persist(JournalRecord::Message { source: Source::Own, message }));
        }
        let unsigned = UnsignedProposal { height, round, pol_round: None, block_id: block.id(), timestamp: now.wall };
        self.current.proposing = Proposing::Signing { unsigned: unsigned.clone(), block };
        out.push(Effect::Sign(SignRequest::Proposal(unsigned)));
    }

    /// Our PRE-PREPARE is signed: journal it, tell everybody, and take it like anybody's.
    pub(super) fn on_own_proposal(&mut self, proposal: Proposal, out: &mut Effects<Pbft>) -> Reaction {
        let Proposing::Signing { unsigned, block } = &self.current.proposing else {
            return Reaction::Ignored("a proposal nobody waits for");
        };
        let asked = (unsigned.height, unsigned.round, unsigned.block_id);
        if (proposal.height, proposal.round, proposal.block_id) != asked {
            return Reaction::Ignored("a proposal other than the one to sign");
        }
        let block = Arc::clone(block);
        self.current.proposing = Proposing::No;
        self.current.blocks.insert(Arc::clone(&block));
        self.current.proposals.insert(proposal.round, proposal.clone());
        let message = JournalMessage::Proposal(proposal.clone());
        if !mutant!("P47") {
            out.push(Effect::Persist(JournalRecord::Message { source: Source::Own, message }));
        }
        self.tell_proposal(None, &proposal, &block, out);
        self.note_if_complete(&proposal, out);
        Reaction::Accepted
    }

    /// Says a proposal and its block to one peer, or to all.
    pub(super) fn tell_proposal(
        &self,
        to: Option<NodeId>,
        proposal: &Proposal,
        block: &CandidateBlock,
        out: &mut Effects<Pbft>,
    ) {
        let (height, round) = (proposal.height, proposal.round);
        let by = self.primary(round).address;
        say(to, Direct::Proposal { by, proposal: Verified::trusted(proposal.clone()) }, out);
        tell_parts(to, (height, round), block, out);
    }

    /// Says that the block proposed in this view is here.
    pub(super) fn note_if_complete(&self, proposal: &Proposal, out: &mut Effects<Pbft>) {
        if proposal.round == self.view && self.current.blocks.block(&proposal.block_id).is_some() {
            let (height, round, block_id) = (proposal.height, proposal.round, proposal.block_id);
            out.push(Effect::Note(RoundNote::CompleteProposal { height, round, block_id }));
        }
    }
}

/// Says something to one peer, or to all.
pub(super) fn say(to: Option<NodeId>, message: Direct, out: &mut Effects<Pbft>) {
    out.push(match to {
        Some(peer) => Effect::Send(peer, message),
        None => Effect::Broadcast(message),
    });
}

/// Sends a block.
pub(super) fn tell_parts(to: Option<NodeId>, at: (Height, Round), block: &CandidateBlock, out: &mut Effects<Pbft>) {
    let (height, round) = at;
    for part in block.parts().parts() {
        say(to, Direct::Part { height, round, part: part.clone() }, out);
    }
}
