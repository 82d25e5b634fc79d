//! Our own votes: asked for, extended, signed, journaled, told, counted.

use super::height::OwnVote;
use super::{Message, Tendermint};
use crate::consensus::{Effect, Effects, Now, Reaction, Signed};
use crate::crypto::Verified;
use crate::types::{
    BlockId, Height, JournalMessage, JournalRecord, Round, SignRequest, Source, Step, Time, UnsignedVote, Vote,
    VoteKind,
};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

impl Tendermint {
    /// Enters the Prevote step and prevotes (lines 24, 26, 30, 32, 59).
    pub(super) fn prevote(&mut self, now: Now, block_id: Option<BlockId>, out: &mut Effects<Tendermint>) {
        self.enter_step(Step::Prevote, out);
        self.cast(now, VoteKind::Prevote, block_id, out);
    }

    /// Enters the Precommit step and precommits (lines 40, 45, 63).
    pub(super) fn precommit(&mut self, now: Now, block_id: Option<BlockId>, out: &mut Effects<Tendermint>) {
        self.enter_step(Step::Precommit, out);
        self.cast(now, VoteKind::Precommit, block_id, out);
    }

    /// Asks for our vote in this round, at most once.
    pub(super) fn cast(&mut self, now: Now, kind: VoteKind, block_id: Option<BlockId>, out: &mut Effects<Tendermint>) {
        let state = &mut self.current;
        let key = (state.round, kind);
        let undetermined = matches!(state.own.get(&key), None | Some(OwnVote::Undetermined));
        if state.own_seat().is_none() || (!undetermined && !mutant!("T36")) {
            return;
        }
        if let (VoteKind::Precommit, Some(id), true) = (kind, block_id, state.extensions_enabled()) {
            if let Some(block) = state.blocks.block(&id).map(Arc::clone) {
                state.own.insert(key, OwnVote::Extending(id));
                out.push(Effect::ExtendVote { height: state.start.height, round: state.round, block });
            }
            return;
        }
        self.request_vote(now, kind, block_id, None, out);
    }

    pub(super) fn request_vote(
        &mut self,
        now: Now,
        kind: VoteKind,
        block_id: Option<BlockId>,
        extension: Option<Bytes>,
        out: &mut Effects<Tendermint>,
    ) {
        let Some((validator_index, validator_address)) = self.current.own_seat() else { return };
        let timestamp = self.vote_time(now);
        let state = &mut self.current;
        let unsigned = UnsignedVote {
            kind,
            height: state.start.height,
            round: state.round,
            block_id,
            timestamp,
            validator_address,
            validator_index,
            extension,
        };
        state.own.insert((state.round, kind), OwnVote::Requested(unsigned.clone()));
        out.push(Effect::Sign(SignRequest::Vote(unsigned)));
    }

    /// Never before the block it is about, so that block time grows: max(now, time of the locked, else the proposed
    /// block + 1 ms) (reference §4.5).
    fn vote_time(&self, now: Now) -> Time {
        let state = &self.current;
        let about = state.locked.map(|(_, id)| id).or_else(|| Some(state.proposal()?.block_id));
        let block = about.and_then(|id| state.blocks.block(&id));
        block.map_or(now.wall, |block| {
            if mutant!("T18") {
                now.wall
            } else {
                now.wall.max(block.block().header.time.plus(Duration::from_millis(1)))
            }
        })
    }

    /// The application's extension for our precommit is here.
    pub(super) fn on_vote_extended(
        &mut self,
        now: Now,
        height: Height,
        round: Round,
        extension: Bytes,
        out: &mut Effects<Tendermint>,
    ) -> Reaction {
        let state = &self.current;
        if (height, round) != (state.start.height, state.round) && !mutant!("T38") {
            return Reaction::Ignored("extension of a vote that is past");
        }
        let Some(OwnVote::Extending(id)) = state.own.get(&(round, VoteKind::Precommit)) else {
            return Reaction::Ignored("extension nobody waits for");
        };
        self.request_vote(now, VoteKind::Precommit, Some(*id), Some(extension), out);
        Reaction::Accepted
    }

    /// The signer answered.
    pub(super) fn on_signed(&mut self, now: Now, signed: Signed, out: &mut Effects<Tendermint>) -> Reaction {
        match signed {
            Signed::Vote(vote) => self.on_own_vote(now, vote, out),
            Signed::Proposal(proposal) => self.on_own_proposal(now, proposal, out),
            Signed::Refused { height, round } => self.on_refused(now, (height, round), out),
            Signed::Statement(_) => Reaction::Ignored("a statement nobody asked for"),
        }
    }

    fn on_own_vote(&mut self, now: Now, vote: Vote, out: &mut Effects<Tendermint>) -> Reaction {
        let state = &mut self.current;
        if vote.height != state.start.height {
            return Reaction::Ignored("own vote of another height");
        }
        let key = (vote.round, vote.kind);
        match state.own.get(&key) {
            Some(OwnVote::Requested(unsigned)) if unsigned.block_id == vote.block_id || mutant!("T37") => {}
            _ => return Reaction::Ignored("a vote nobody asked for"),
        }
        state.own.insert(key, OwnVote::Cast);
        let message = JournalMessage::Vote(vote.clone());
        if !mutant!("T12") {
            out.push(Effect::Persist(JournalRecord::Message { source: Source::Own, message }));
        }
        out.push(Effect::Broadcast(Message::Vote(Verified::trusted(vote.clone()))));
        self.tally_vote(Source::Own, vote, out);
        self.settle(now, out);
        Reaction::Accepted
    }
}
