//! The leader's entry: what to propose, and when (§5.3, §5.4.2, §8).

use super::height::Proposing;
use super::lead::Transfer;
use super::{Leadership, Raft, Role, same_members};
use crate::consensus::{BuildOrder, Effect, Effects, EmptyBlocks, Now, Reaction, Tick};
use crate::types::{
    CandidateBlock, Height, JournalMessage, JournalRecord, Proposal, Round, SignRequest, Source, Step, UnsignedProposal,
};
use std::sync::Arc;

impl Raft {
    /// When this height may begin.
    pub(super) fn begins_at(&self) -> Tick {
        let state = &self.current;
        let all_voted = state.last_commit.as_ref().is_some_and(|set| set.has_all());
        if state.start.timeouts.skip_commit_when_all_voted && all_voted {
            return state.began_at;
        }
        state.start.begin_at.max(state.began_at)
    }

    /// The rule that makes a leader propose, once a term and height. An entry in our log is proposed again in our term:
    /// it may be decided already, and only an entry of our own term shows that it is (§5.4.2, figure 8).
    pub(super) fn propose(&mut self, now: Now, out: &mut Effects<Raft>) -> bool {
        let Role::Leader(leadership) = &self.role else { return false };
        let state = &self.current;
        let begun = state.proposal.is_some() || !matches!(state.proposing, Proposing::No);
        if begun || !self.is_open() || leadership.transfer != Transfer::No || now.tick < self.begins_at() {
            return false;
        }
        if !same_members(&leadership.mandate, self.validators()) {
            return false;
        }
        if let Some((_, id)) = state.entry.filter(|_| !mutant!("R6")) {
            let Some(block) = state.blocks.block(&id).map(Arc::clone) else { return false };
            self.current.begun_at = Some(now.tick);
            self.request_proposal(now, block, out);
            return true;
        }
        if !self.wants_block(now, leadership) {
            return false;
        }
        self.current.proposing = Proposing::Building;
        self.current.begun_at = Some(now.tick);
        self.enter_step(Step::Propose, out);
        let last_commit = self.current.grown_last_commit();
        out.push(Effect::BuildBlock(BuildOrder { height: self.height(), round: self.term, last_commit }));
        true
    }

    /// Empty blocks are made where they are wanted, where only a block can record the application's hash, and as the
    /// first of a term: it tells the leader what is decided (§8, the no-op).
    fn wants_block(&self, now: Now, leadership: &Leadership) -> bool {
        let state = &self.current;
        let first_of_term = leadership.settled.is_none() && !mutant!("R39");
        if first_of_term || state.txs_available || state.start.proof_block_needed {
            return true;
        }
        match state.start.timeouts.empty_blocks {
            EmptyBlocks::Always => true,
            EmptyBlocks::After(pause) => now.tick >= self.begins_at().plus(pause),
            EmptyBlocks::Never => false,
        }
    }

    /// A block we ordered is ready.
    pub(super) fn on_block_built(
        &mut self,
        now: Now,
        height: Height,
        round: Round,
        block: Arc<CandidateBlock>,
        out: &mut Effects<Raft>,
    ) -> Reaction {
        let ordered = matches!((&self.role, &self.current.proposing), (Role::Leader(_), Proposing::Building));
        if (height, round) != (self.height(), self.term) || !ordered || !self.is_open() {
            return Reaction::Ignored("block built too late");
        }
        // Our own acknowledgement needs them in the journal as any follower's does.
        for part in block.parts().parts() {
            let message = JournalMessage::Part { height, round, part: part.clone() };
            out.push(Effect::Persist(JournalRecord::Message { source: Source::Own, message }));
        }
        self.request_proposal(now, block, out);
        Reaction::Accepted
    }

    fn request_proposal(&mut self, now: Now, block: Arc<CandidateBlock>, out: &mut Effects<Raft>) {
        let (height, round) = (self.height(), self.term);
        self.current.blocks.insert(Arc::clone(&block));
        let unsigned = UnsignedProposal { height, round, pol_round: None, block_id: block.id(), timestamp: now.wall };
        self.current.proposing = Proposing::Signing { unsigned: unsigned.clone(), block };
        self.enter_step(Step::Propose, out);
        out.push(Effect::Sign(SignRequest::Proposal(unsigned)));
    }

    /// Our entry is signed: to the journal, and to everybody who is at this height. Our own acknowledgement overlaps the
    /// network.
    pub(super) fn on_own_proposal(&mut self, now: Now, proposal: Proposal, out: &mut Effects<Raft>) -> Reaction {
        let Proposing::Signing { unsigned, .. } = &self.current.proposing else {
            return Reaction::Ignored("a proposal nobody waits for");
        };
        let asked = (unsigned.height, unsigned.round, unsigned.block_id);
        if (proposal.height, proposal.round, proposal.block_id) != asked || !self.is_open() {
            return Reaction::Ignored("a proposal other than the one to sign");
        }
        self.current.proposing = Proposing::No;
        if !matches!(self.role, Role::Leader(_)) {
            return Reaction::Ignored("a proposal of one who leads no more");
        }
        self.current.proposal = Some(proposal.clone());
        let message = JournalMessage::Proposal(proposal);
        out.push(Effect::Persist(JournalRecord::Message { source: Source::Own, message }));
        self.note_if_complete(out);
        self.serve_all(now, out);
        Reaction::Accepted
    }

    /// The signer refused: it knows more than we do, or the key is gone. A leader that cannot propose makes way.
    pub(super) fn on_refused(&mut self, now: Now, height: Height, round: Round, out: &mut Effects<Raft>) -> Reaction {
        let proposal = matches!(self.current.proposing, Proposing::Signing { .. });
        if proposal && (height, round) == (self.height(), self.term) {
            self.current.proposing = Proposing::No;
            self.make_way(now, "the signer refused this leader's proposal: ask another node", out);
        }
        Reaction::Accepted
    }

    /// Stops leading and lets others try first, though their logs may lack the block of ours that came to nothing.
    pub(super) fn make_way(&mut self, now: Now, why: &'static str, out: &mut Effects<Raft>) {
        self.step_down(now, why, out);
        self.reset_election(now);
        self.election_at = self.election_at.plus(self.current.start.timeouts.election.saturating_mul(2));
        self.current.aside_until = Some(self.election_at);
    }
}
