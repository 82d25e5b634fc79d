//! Our own PREPAREs and COMMITs: asked for, extended, signed, journaled, told, counted (§4.2).

use super::Pbft;
use super::height::OwnVote;
use crate::consensus::{Direct, Effect, Effects, Now, Reaction, Signed};
use crate::crypto::Verified;
use crate::types::{
    BlockId, Height, JournalMessage, JournalRecord, Round, SignRequest, Source, Time, UnsignedVote, Vote, VoteKind,
};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

impl Pbft {
    /// Asks for our vote in this view; true when that was new. The caller has seen that it was not asked for yet.
    pub(super) fn cast(&mut self, now: Now, kind: VoteKind, id: BlockId, out: &mut Effects<Pbft>) -> bool {
        let (height, round) = (self.height(), self.view);
        let state = &mut self.current;
        if state.own_seat().is_none() {
            return false;
        }
        if kind == VoteKind::Precommit && state.extensions_enabled() {
            let Some(block) = state.blocks.block(&id).map(Arc::clone) else { return false };
            state.own.insert((round, kind), OwnVote::Extending(id));
            out.push(Effect::ExtendVote { height, round, block });
            return true;
        }
        self.request_vote(now, kind, id, None, out);
        true
    }

    fn request_vote(
        &mut self,
        now: Now,
        kind: VoteKind,
        id: BlockId,
        extension: Option<Bytes>,
        out: &mut Effects<Pbft>,
    ) {
        let Some((validator_index, validator_address)) = self.current.own_seat() else { return };
        let unsigned = UnsignedVote {
            kind,
            height: self.height(),
            round: self.view,
            block_id: Some(id),
            timestamp: self.vote_time(now, &id),
            validator_address,
            validator_index,
            extension,
        };
        self.current.own.insert((self.view, kind), OwnVote::Requested(unsigned.clone()));
        out.push(Effect::Sign(SignRequest::Vote(unsigned)));
    }

    /// Never before the block it is about, so that block time grows: max(now, time of the block + 1 ms)
    /// (reference §4.5).
    fn vote_time(&self, now: Now, id: &BlockId) -> Time {
        let block = self.current.blocks.block(id);
        block.map_or(now.wall, |block| now.wall.max(block.block().header.time.plus(Duration::from_millis(1))))
    }

    /// The application's extension for our COMMIT is here.
    pub(super) fn on_vote_extended(
        &mut self,
        now: Now,
        at: (Height, Round),
        extension: Bytes,
        out: &mut Effects<Pbft>,
    ) -> Reaction {
        if at != (self.height(), self.view) || !self.is_active() {
            return Reaction::Ignored("extension of a vote that is past");
        }
        let Some(OwnVote::Extending(id)) = self.current.own.get(&(self.view, VoteKind::Precommit)) else {
            return Reaction::Ignored("extension nobody waits for");
        };
        self.request_vote(now, VoteKind::Precommit, *id, Some(extension), out);
        Reaction::Accepted
    }

    /// The signer answered.
    pub(super) fn on_signed(&mut self, signed: Signed, out: &mut Effects<Pbft>) -> Reaction {
        match signed {
            Signed::Vote(vote) => self.on_own_vote(vote, out),
            Signed::Proposal(proposal) if proposal.round < self.view || !self.is_active() => {
                Reaction::Ignored("a proposal of a view we left")
            }
            Signed::Proposal(proposal) => self.on_own_proposal(proposal, out),
            Signed::Statement(statement) => self.on_own_statement(*statement, out),
            // The guard knows more than we do, or the key is not at work. If the others cannot decide without this signature,
            // the view timer ends the view, and the next one asks for its own.
            Signed::Refused { .. } => Reaction::Accepted,
        }
    }

    fn on_own_vote(&mut self, vote: Vote, out: &mut Effects<Pbft>) -> Reaction {
        // §4.4: after the VIEW-CHANGE we take no part in the views it leaves.
        let left = vote.round < self.view || !self.is_active();
        if vote.height != self.height() || (left && !mutant!("P4")) {
            return Reaction::Ignored("own vote of a height or view that is past");
        }
        let key = (vote.round, vote.kind);
        match self.current.own.get(&key) {
            Some(OwnVote::Requested(unsigned)) if unsigned.block_id == vote.block_id => {}
            _ => return Reaction::Ignored("a vote nobody asked for"),
        }
        self.current.own.insert(key, OwnVote::Cast);
        let message = JournalMessage::Vote(vote.clone());
        out.push(Effect::Persist(JournalRecord::Message { source: Source::Own, message }));
        out.push(Effect::Broadcast(Direct::Vote(Verified::trusted(vote.clone()))));
        self.tally_vote(Source::Own, vote, out);
        Reaction::Accepted
    }
}
