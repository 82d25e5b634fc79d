//! Taking up a height: afresh, or where a crash left it.
//!
//! The journal holds every fact that counted, in order, but not the application's answers. Where those took effect is
//! seen from the `RoundStep` and `Timeout` records, which are journaled before any vote that depends on them; so the
//! machine comes back to the same round, lock and votes, asks the application again, and asks the signer only for
//! what it asked before. A vote that is in the journal is never asked for again.

use super::Message;
use super::Tendermint;
use super::height::{Outcome, OwnVote, Proposing};
use crate::consensus::blocks::{PartTaken, Verdict};
use crate::consensus::{Effect, Effects, Now};
use crate::crypto::Verified;
use crate::types::{
    BlockId, Height, JournalMessage, JournalRecord, Part, Proposal, Round, SignRequest, Source, Step, TimerId,
    UnsignedProposal, Vote, VoteKind,
};
use std::sync::Arc;

impl Tendermint {
    /// Takes one journal record into the state; `ordered_before` gets orders that were given before the crash.
    pub(super) fn replay(&mut self, now: Now, record: &JournalRecord, ordered_before: &mut Effects<Tendermint>) {
        match record {
            JournalRecord::Message { source: Source::Own, message } => {
                self.replay_own(now, message.clone(), ordered_before);
            }
            JournalRecord::Message { source, message } => {
                self.replay_message(now, *source, message.clone(), ordered_before);
            }
            JournalRecord::Timeout { timer, .. } => self.replay_timeout(now, *timer, ordered_before),
            JournalRecord::RoundStep { height, round, step } if *height == self.height() => {
                self.replay_step(now, *round, *step, ordered_before);
            }
            JournalRecord::RoundStep { .. } | JournalRecord::EndHeight(_) | JournalRecord::Standing(_) => {}
        }
    }

    fn replay_message(
        &mut self,
        now: Now,
        source: Source,
        message: JournalMessage,
        ordered_before: &mut Effects<Tendermint>,
    ) {
        match message {
            JournalMessage::Proposal(proposal) => {
                self.on_proposal(now, source, proposal, ordered_before);
            }
            JournalMessage::Part { height, round, part } => {
                self.on_part(now, source, (height, round), part, ordered_before);
            }
            // Its extension was accepted before it was journaled.
            JournalMessage::Vote(vote) if vote.height == self.height() => {
                self.count_vote(now, source, vote, ordered_before);
            }
            JournalMessage::Vote(_) => {}
        }
    }

    fn replay_own(&mut self, now: Now, message: JournalMessage, ordered_before: &mut Effects<Tendermint>) {
        match message {
            JournalMessage::Proposal(proposal) if proposal.height == self.height() => {
                self.reach(now, proposal.round, ordered_before);
                self.replay_own_proposal(now, proposal, ordered_before);
            }
            JournalMessage::Part { height, round, part } if height == self.height() => {
                self.reach(now, round, ordered_before);
                self.replay_own_part(now, round, part);
            }
            JournalMessage::Vote(vote) if vote.height == self.height() => {
                self.reach(now, vote.round, ordered_before);
                self.replay_own_vote(now, vote, ordered_before);
            }
            _ => {}
        }
    }

    /// Enters `round` unless we are past it: what we did in it proves that we were there.
    fn reach(&mut self, now: Now, round: Round, ordered_before: &mut Effects<Tendermint>) {
        if self.current.step == Step::NewHeight || round > self.current.round {
            self.start_round(now, round, ordered_before);
        }
    }

    fn replay_own_proposal(&mut self, now: Now, proposal: Proposal, ordered_before: &mut Effects<Tendermint>) {
        let state = &mut self.current;
        if proposal.round != state.round {
            return;
        }
        state.proposing = Proposing::No;
        state.blocks.want(proposal.block_id.parts);
        state.proposals.insert(proposal.round, proposal);
        self.settle(now, ordered_before);
    }

    /// Parts of a block we built stand in the journal before its proposal was signed: the same block is proposed.
    fn replay_own_part(&mut self, now: Now, round: Round, part: Part) {
        let state = &mut self.current;
        let (Ok(root), Ok(total)) = (part.proof.root(), u32::try_from(part.proof.total)) else { return };
        let header = crate::types::PartSetHeader { total, hash: root };
        state.blocks.want(header);
        if state.blocks.add(part) != PartTaken::Completed || round != state.round {
            return;
        }
        if let Some(block) = state.blocks.complete(&header) {
            let unsigned = UnsignedProposal {
                height: state.start.height,
                round,
                pol_round: None,
                block_id: block.id(),
                timestamp: now.wall,
            };
            state.proposing = Proposing::Signing { unsigned, block };
        }
    }

    /// Our vote says what we knew: a block we voted for was accepted, one we precommitted is locked.
    fn replay_own_vote(&mut self, now: Now, vote: Vote, ordered_before: &mut Effects<Tendermint>) {
        let state = &mut self.current;
        let (round, kind) = (vote.round, vote.kind);
        if let Some(block_id) = vote.block_id {
            state.blocks.judge(&block_id, Verdict::Accepted);
            if kind == VoteKind::Precommit && state.locked.is_none_or(|(locked, _)| locked <= round) {
                state.locked = (!mutant!("T10")).then_some((round, block_id));
            }
            if kind == VoteKind::Precommit && !mutant!("T41") && state.valid.is_none_or(|(valid, _)| valid <= round) {
                state.valid = Some((round, block_id));
            }
        }
        state.own.insert((round, kind), if mutant!("T39") { OwnVote::Undetermined } else { OwnVote::Cast });
        let step = match kind {
            VoteKind::Prevote => Step::Prevote,
            VoteKind::Precommit => Step::Precommit,
        };
        if round == state.round && state.step < step && !mutant!("T40") {
            state.step = step;
        }
        self.tally_vote(Source::Own, vote, ordered_before);
        self.settle(now, ordered_before);
    }

    /// A timeout in the journal counted.
    fn replay_timeout(&mut self, now: Now, timer: TimerId, ordered_before: &mut Effects<Tendermint>) {
        if timer.height != self.height() || self.current.outcome != Outcome::Open || mutant!("T42") {
            return;
        }
        if timer.step != Step::NewHeight {
            self.reach(now, timer.round, ordered_before);
        }
        let step = self.current.step;
        let counts = timer.round == self.current.round
            && match timer.step {
                Step::NewHeight => step == Step::NewHeight,
                Step::NewRound => step == Step::NewRound,
                Step::Propose => step <= Step::Propose,
                Step::PrevoteWait => step < Step::Precommit,
                Step::PrecommitWait => true,
                Step::Prevote | Step::Precommit | Step::Commit => false,
            };
        if counts {
            self.time_out(now, timer, ordered_before);
            self.settle(now, ordered_before);
        }
    }

    /// A step in the journal was entered; if the rules did not get us there, an answer of the application did.
    fn replay_step(&mut self, now: Now, round: Round, step: Step, ordered_before: &mut Effects<Tendermint>) {
        if step == Step::NewHeight || step == Step::Commit {
            return;
        }
        self.reach(now, round, ordered_before);
        if round != self.current.round || self.current.step >= step {
            return;
        }
        match step {
            Step::Propose => self.enter_propose(now, ordered_before),
            Step::Prevote => {
                self.current.step = Step::Prevote;
                self.current.own.entry((round, VoteKind::Prevote)).or_insert(OwnVote::Undetermined);
                self.current.prevoted_before = Some(round);
            }
            Step::Precommit => {
                if let Some(block_id) = self.current.polka() {
                    self.current.blocks.judge(&block_id, Verdict::Accepted);
                    self.lock(block_id, ordered_before);
                    self.precommit(now, Some(block_id), ordered_before);
                }
            }
            Step::NewHeight | Step::NewRound | Step::PrevoteWait | Step::PrecommitWait | Step::Commit => {}
        }
        self.settle(now, ordered_before);
    }

    /// Orders again whatever is open.
    pub(super) fn resume(&mut self, now: Now, out: &mut Effects<Tendermint>) {
        if self.current.step == Step::NewHeight && self.current.outcome == Outcome::Open {
            return self.resume_new_height(now, out);
        }
        if let (Outcome::Decided { round, block_id }, false) = (self.current.outcome, mutant!("T94")) {
            self.current.outcome = Outcome::Fetching { round, block_id };
            return self.settle(now, out);
        }
        self.resume_timers(now, out);
        self.resume_proposal(out);
        self.resume_votes(out);
        let (height, round) = (self.height(), self.round());
        for block in self.current.blocks.asked().into_iter().filter(|_| !mutant!("T43")) {
            out.push(Effect::CheckBlock { height, round, block });
        }
        self.settle(now, out);
    }

    fn resume_new_height(&mut self, now: Now, out: &mut Effects<Tendermint>) {
        let state = &self.current;
        if state.start.begin_at <= now.tick || self.may_begin_at_once() {
            self.start_round(now, Round::ZERO, out);
        } else {
            self.enter_step(Step::NewHeight, out);
            self.set_timer(now, Step::NewHeight, out);
        }
        self.settle(now, out);
    }

    fn resume_timers(&mut self, now: Now, out: &mut Effects<Tendermint>) {
        let state = &self.current;
        match state.step {
            Step::NewRound if matches!(state.start.timeouts.empty_blocks, crate::consensus::EmptyBlocks::After(_)) => {
                self.set_timer(now, Step::NewRound, out);
            }
            Step::Propose if mutant!("T93") => {}
            Step::Propose => self.set_timer(now, Step::Propose, out),
            Step::Prevote | Step::PrevoteWait if state.prevote_timer_set => {
                self.set_timer(now, Step::PrevoteWait, out);
            }
            _ => {}
        }
        if self.current.precommit_timer_set && !mutant!("T92") {
            self.set_timer(now, Step::PrecommitWait, out);
        }
    }

    fn resume_proposal(&mut self, out: &mut Effects<Tendermint>) {
        let state = &self.current;
        let in_time = state.step == Step::Propose;
        match &state.proposing {
            Proposing::Building if in_time => out.push(Effect::BuildBlock(self.build_order())),
            Proposing::Signing { unsigned, .. } if in_time => {
                out.push(Effect::Sign(SignRequest::Proposal(unsigned.clone())));
            }
            Proposing::No | Proposing::AwaitingCheck { .. } | Proposing::Building | Proposing::Signing { .. } => {}
        }
        // Our own proposal may not have left before the crash.
        let block = |id: &BlockId| state.blocks.block(id).map(Arc::clone);
        if let (true, Some(proposal)) = (state.is_proposer(), state.proposal().cloned())
            && let Some(block) = block(&proposal.block_id)
        {
            self.broadcast_proposal(proposal, &block, out);
        }
    }

    fn resume_votes(&mut self, out: &mut Effects<Tendermint>) {
        let state = &self.current;
        let (height, round): (Height, Round) = (state.start.height, state.round);
        let own = state.own_seat();
        for kind in [VoteKind::Prevote, VoteKind::Precommit] {
            match state.own.get(&(round, kind)) {
                Some(OwnVote::Requested(unsigned)) => {
                    out.push(Effect::Sign(SignRequest::Vote(unsigned.clone())));
                }
                Some(OwnVote::Extending(id)) => {
                    if let Some(block) = state.blocks.block(id).map(Arc::clone) {
                        out.push(Effect::ExtendVote { height, round, block });
                    }
                }
                // It may not have left before the crash.
                Some(OwnVote::Cast) => {
                    let cast = own.and_then(|(index, _)| state.tally.set(round, kind)?.by_index(index));
                    out.extend(cast.map(|vote| Effect::Broadcast(Message::Vote(Verified::trusted(vote.clone())))));
                }
                Some(OwnVote::Undetermined) | None => {}
            }
        }
    }
}
