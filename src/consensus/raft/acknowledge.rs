//! Acknowledgements: ours and those of others. A precommit for the block says yes; one for nil says that the block was
//! rejected, so that its leader does not wait in vain.

use super::height::{Outcome, OwnAck};
use super::{Leader, Raft};
use crate::consensus::blocks::Progress;
use crate::consensus::tally::Counted;
use crate::consensus::{Accusation, Direct, Effect, Effects, Now, Reaction, RoundNote};
use crate::crypto::Verified;
use crate::types::{
    BlockId, Height, JournalMessage, JournalRecord, NodeId, Power, Round, SignRequest, Source, Step, Time,
    UnsignedVote, VOTE_EXTENSION_SENT_MAX, Vote, VoteKind,
};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

impl Raft {
    /// §5.3: the rule that appends the leader's entry to our log, and says so. Once a term and height.
    pub(super) fn acknowledge(&mut self, now: Now, out: &mut Effects<Raft>) -> bool {
        let state = &self.current;
        let Some(id) = state.proposal.as_ref().map(|proposal| proposal.block_id) else { return false };
        if !self.is_open() || !matches!(state.own_ack, OwnAck::No) || self.own_seat().is_none() {
            return false;
        }
        match state.blocks.progress(&id) {
            Progress::Incomplete | Progress::Unknown => return false,
            Progress::Rejected => self.request_ack(now, None, None, out),
            Progress::Accepted if state.extensions_enabled() => {
                let Some(block) = state.blocks.block(&id).map(Arc::clone) else { return false };
                self.current.own_ack = OwnAck::Extending(id);
                out.push(Effect::ExtendVote { height: self.height(), round: self.term, block });
            }
            Progress::Accepted => self.request_ack(now, Some(id), None, out),
        }
        true
    }

    /// The entry is ours from here on: the record of it is durable before the signature is asked for, so no crash makes
    /// us forget what a leader may have counted (§5.4.1 rests on it).
    fn request_ack(&mut self, now: Now, block_id: Option<BlockId>, extension: Option<Bytes>, out: &mut Effects<Raft>) {
        let Some((validator_index, validator_address)) = self.own_seat() else { return };
        let (height, round) = (self.height(), self.term);
        if let Some(id) = block_id {
            if !mutant!("R48") {
                self.current.entry = Some((round, id));
            }
            out.push(Effect::Persist(JournalRecord::RoundStep { height, round, step: Step::Precommit }));
        }
        self.enter_step(Step::Precommit, out);
        let unsigned = UnsignedVote {
            kind: VoteKind::Precommit,
            height,
            round,
            block_id,
            timestamp: self.ack_time(now),
            validator_address,
            validator_index,
            extension,
        };
        self.current.own_ack = OwnAck::Requested(unsigned.clone());
        out.push(Effect::Sign(SignRequest::Vote(unsigned)));
    }

    /// Never before the block it is about, so that block time grows (reference §4.5).
    fn ack_time(&self, now: Now) -> Time {
        let proposal = self.current.proposal.as_ref();
        let block = proposal.and_then(|proposal| self.current.blocks.block(&proposal.block_id));
        block
            .filter(|_| !mutant!("R50"))
            .map_or(now.wall, |block| now.wall.max(block.block().header.time.plus(Duration::from_millis(1))))
    }

    /// The application's extension for our acknowledgement is here.
    pub(super) fn on_vote_extended(
        &mut self,
        now: Now,
        height: Height,
        round: Round,
        extension: Bytes,
        out: &mut Effects<Raft>,
    ) -> Reaction {
        let OwnAck::Extending(id) = self.current.own_ack else {
            return Reaction::Ignored("extension nobody waits for");
        };
        if (height, round) != (self.height(), self.term) {
            return Reaction::Ignored("extension of an acknowledgement that is past");
        }
        self.request_ack(now, Some(id), Some(extension), out);
        Reaction::Accepted
    }

    /// Our acknowledgement is signed.
    pub(super) fn on_own_vote(&mut self, vote: Vote, out: &mut Effects<Raft>) -> Reaction {
        if vote.height.get().checked_add(1) == Some(self.height().get()) {
            // The others were quicker; it still belongs into the commit.
            self.send_ack(vote, out);
            return Reaction::Accepted;
        }
        match &self.current.own_ack {
            OwnAck::Requested(asked)
                if (asked.height, asked.round, asked.block_id) == (vote.height, vote.round, vote.block_id) => {}
            _ => return Reaction::Ignored("a vote nobody asked for"),
        }
        self.current.own_ack = OwnAck::Cast(vote.clone());
        let message = JournalMessage::Vote(vote.clone());
        if !mutant!("R49") {
            out.push(Effect::Persist(JournalRecord::Message { source: Source::Own, message }));
        }
        self.send_ack(vote.clone(), out);
        self.count(vote, out);
        Reaction::Accepted
    }

    /// Acknowledgements go to the leader alone, who tells the outcome: n messages a block, not n².
    fn send_ack(&self, vote: Vote, out: &mut Effects<Raft>) {
        if let Some(Leader { peer: Some(peer), .. }) = self.leader {
            out.push(Effect::Send(peer, Direct::Vote(Verified::trusted(vote))));
        }
    }

    /// The leader asks again for what we signed.
    pub(super) fn repeat_ack(&self, out: &mut Effects<Raft>) {
        if let OwnAck::Cast(vote) = &self.current.own_ack {
            self.send_ack(vote.clone(), out);
        }
    }

    /// Somebody's acknowledgement; its signatures are those of the member at its index.
    pub(super) fn on_vote(&mut self, peer: NodeId, vote: Vote, out: &mut Effects<Raft>) -> Reaction {
        if vote.kind != VoteKind::Precommit {
            return Reaction::Ignored("Raft has no prevotes");
        }
        if vote.height.get().checked_add(1) == Some(self.height().get()) {
            return self.on_late_ack(vote, out);
        }
        // §5.4.2: acknowledgements of another term decide nothing.
        if (vote.height, vote.round) != (self.height(), self.term) {
            return Reaction::Ignored("acknowledgement of another height or term");
        }
        if let Err(why) = self.check_extension(&vote) {
            return Reaction::PeerFault(why);
        }
        match self.current.acks.judge(&vote) {
            Counted::Added => {}
            Counted::Ignored(why) => return Reaction::Ignored(why),
            Counted::PeerFault(why) => return Reaction::PeerFault(why),
            Counted::Conflict(accusation) | Counted::AddedBeside(accusation) => {
                self.accuse(*accusation, out);
                return Reaction::Ignored("conflicting acknowledgement; the first one stays");
            }
        }
        if self.is_for_the_application(&vote) {
            if self.current.verifying.contains_key(&vote.validator_index) {
                return Reaction::Ignored("this validator's extension is being looked at");
            }
            self.current.verifying.insert(vote.validator_index, vote.clone());
            out.push(Effect::VerifyExtension { vote, source: Source::Peer(peer) });
            return Reaction::Accepted;
        }
        self.count(vote, out);
        Reaction::Accepted
    }

    /// True when the application is asked whether it accepts the extension. Not once the block is handed over: no question
    /// about a height may follow its FinalizeBlock, and the acknowledgement decides nothing any more.
    fn is_for_the_application(&self, vote: &Vote) -> bool {
        let state = &self.current;
        let others = state.start.own != Some(vote.validator_address);
        let extended = vote.block_id.is_some() && state.extensions_enabled();
        others && extended && !matches!(state.outcome, Outcome::Decided)
    }

    /// Reports an equivocator; a second key of ours somewhere is nothing to report against ourselves.
    fn accuse(&self, accusation: Accusation, out: &mut Effects<Raft>) {
        if Some(accusation.first.validator_address) != self.current.start.own || mutant!("R57") {
            out.push(Effect::Accuse(accusation));
        }
    }

    /// Extensions are there exactly where they belong (reference §6.5).
    fn check_extension(&self, vote: &Vote) -> Result<(), &'static str> {
        if vote.extension.len() > VOTE_EXTENSION_SENT_MAX {
            return Err("acknowledgement with an extension longer than a message can carry");
        }
        let belongs = vote.block_id.is_some() && self.current.extensions_enabled();
        let signed = vote.extension_signature.is_some() || (belongs && mutant!("R51"));
        match (belongs, signed, vote.extension.is_empty()) {
            (true, false, _) => Err("acknowledgement without the extension this height requires"),
            (false, true, _) | (false, _, false) => Err("acknowledgement with an extension that does not belong there"),
            (true, true, _) | (false, false, true) => Ok(()),
        }
    }

    /// Counts an acknowledgement of this term; the one door to the tally.
    fn count(&mut self, vote: Vote, out: &mut Effects<Raft>) {
        if !matches!(self.current.acks.add(vote.clone()), Counted::Added) {
            return;
        }
        if vote.block_id.is_none() {
            self.current.refusals.insert(vote.validator_index);
        }
        out.push(Effect::Note(RoundNote::Vote(vote)));
    }

    /// The application looked at an extension, and accepts it.
    pub(super) fn on_extension_accepted(&mut self, vote: Vote, out: &mut Effects<Raft>) -> Reaction {
        if !self.end_verifying(&vote) {
            return Reaction::Ignored("an extension nobody asks about");
        }
        self.count(vote, out);
        Reaction::Accepted
    }

    /// The application looked at an extension, and does not accept it.
    pub(super) fn on_extension_rejected(&mut self, vote: &Vote) -> Reaction {
        if !self.end_verifying(vote) {
            return Reaction::Ignored("an extension nobody asks about");
        }
        if !mutant!("R52") {
            self.current.refusals.insert(vote.validator_index);
        }
        Reaction::Ignored("the application rejects the vote's extension")
    }

    /// False when nobody asks about this vote.
    fn end_verifying(&mut self, vote: &Vote) -> bool {
        let asked = self.current.verifying.get(&vote.validator_index) == Some(vote);
        if asked {
            self.current.verifying.remove(&vote.validator_index);
        }
        asked
    }

    /// An acknowledgement of the height before still gets into its commit, until the next block is begun.
    fn on_late_ack(&mut self, vote: Vote, out: &mut Effects<Raft>) -> Reaction {
        let state = &mut self.current;
        let Some(last_commit) = state.last_commit.as_mut().filter(|_| state.proposal.is_none()) else {
            return Reaction::Ignored("acknowledgement of a height that is closed");
        };
        let extended = state.start.height.previous().is_some_and(|h| state.start.params.abci.extensions_enabled(h));
        if (extended && vote.block_id.is_some()) != vote.extension_signature.is_some() && !mutant!("R56") {
            return Reaction::Ignored("late acknowledgement whose extension does not belong there or is missing");
        }
        match last_commit.add(vote.clone()) {
            Counted::Added => {}
            Counted::Ignored(why) => return Reaction::Ignored(why),
            Counted::PeerFault(why) => return Reaction::PeerFault(why),
            Counted::Conflict(accusation) | Counted::AddedBeside(accusation) => {
                self.accuse(*accusation, out);
                return Reaction::Ignored("conflicting acknowledgement of the height before");
            }
        }
        out.push(Effect::Note(RoundNote::Vote(vote)));
        Reaction::Accepted
    }

    /// Power of the members that refuse this term's block.
    pub(super) fn refused_power(&self) -> Power {
        let power = |index: &u32| self.validators().by_index(*index).map(|validator| validator.power);
        self.current.refusals.iter().filter_map(power).sum()
    }
}
