//! Taking up a height: afresh, or where a crash left it.
//!
//! The journal holds the standing (below which nothing is signed), and the proposals, parts and votes that counted. The
//! PREPAREs of a prepared certificate are in it before our COMMIT is signed, so a VIEW-CHANGE after the crash carries
//! them. A NEW-VIEW is not kept: who signed something in its view was in it; who did not waits for it again.

use super::height::{OwnVote, Proposing};
use super::{Pbft, Phase};
use crate::consensus::blocks::Verdict;
use crate::consensus::{Direct, Effect, Effects, Now, RoundNote};
use crate::crypto::Verified;
use crate::types::{
    BlockId, JournalMessage, JournalRecord, Part, PartSetHeader, Proposal, Round, SignRequest, Source,
    UnsignedProposal, Vote, VoteKind,
};

impl Pbft {
    /// Takes the journal into the state.
    pub(super) fn replay(&mut self, now: Now, records: &[JournalRecord]) {
        let standings = records.iter().filter_map(|record| match record {
            JournalRecord::Standing(standing) => Some(standing.round),
            _ => None,
        });
        if let Some(view) = standings.max().filter(|view| *view > self.view && !mutant!("P15")) {
            self.view = view;
            self.phase = Phase::Changing { new_view_asked: false };
        }
        self.current.tally.enter(self.view);
        for record in records {
            if let JournalRecord::Message { source, message } = record {
                self.replay_message(now, *source, message.clone());
            }
        }
    }

    fn replay_message(&mut self, now: Now, source: Source, message: JournalMessage) {
        match message {
            JournalMessage::Proposal(proposal) if proposal.height == self.height() => {
                if source == Source::Own {
                    self.was_active(proposal.round, proposal.block_id);
                    self.current.proposing = Proposing::No;
                }
                self.replay_proposal(proposal);
            }
            JournalMessage::Part { height, round, part } if height == self.height() => {
                self.replay_part(now, source, round, part);
            }
            JournalMessage::Vote(vote) if vote.height == self.height() => self.replay_vote(source, vote),
            JournalMessage::Vote(vote) if vote.kind == VoteKind::Precommit => {
                if let Some(last_commit) = &mut self.current.last_commit {
                    last_commit.add(vote);
                }
            }
            _ => {}
        }
    }

    fn replay_proposal(&mut self, proposal: Proposal) {
        let near = proposal.round.get().saturating_add(1) >= self.view.get();
        self.current.blocks.want(proposal.block_id.parts);
        if near {
            self.current.proposals.entry(proposal.round).or_insert(proposal);
        }
    }

    /// Parts that we journaled ourselves stand before the signature of our PRE-PREPARE: the same block is proposed.
    fn replay_part(&mut self, now: Now, source: Source, round: Round, part: Part) {
        let (Ok(root), Ok(total)) = (part.proof.root(), u32::try_from(part.proof.total)) else { return };
        let header = PartSetHeader { total, hash: root };
        self.current.blocks.want(header);
        self.current.blocks.add(part);
        let Some(block) = self.current.blocks.complete(&header) else { return };
        let open = round == self.view && !self.current.proposals.contains_key(&round);
        if source == Source::Own && open {
            self.was_active(round, block.id());
            let (height, block_id) = (self.height(), block.id());
            let unsigned = UnsignedProposal { height, round, pol_round: None, block_id, timestamp: now.wall };
            self.current.proposing = Proposing::Signing { unsigned, block };
        }
    }

    /// Our vote says what we knew: the view was at work, and its block was accepted.
    fn replay_vote(&mut self, source: Source, vote: Vote) {
        if let (Source::Own, Some(id)) = (source, vote.block_id) {
            self.was_active(vote.round, id);
            self.current.blocks.judge(&id, Verdict::Accepted);
        }
        if Some(vote.validator_address) == self.current.start.own {
            self.current.own.insert((vote.round, vote.kind), OwnVote::Cast);
        }
        self.current.tally.add(vote, Source::Own);
    }

    /// We signed something for this block in this view: its mandate was here, and it allows no other block now.
    fn was_active(&mut self, view: Round, id: BlockId) {
        if view == self.view {
            self.phase = Phase::Active { chosen: Some(id) };
        }
    }

    /// Orders whatever is open. The standing goes first, so that the newest is never far from the end of the journal.
    pub(super) fn resume(&mut self, out: &mut Effects<Pbft>) {
        self.persist_standing(out);
        let (height, round, step) = (self.height(), self.view, self.current.step);
        out.push(Effect::Note(RoundNote::Step { height, round, step }));
        self.ask_for_view(out);
        if let (Proposing::Signing { unsigned, .. }, true) = (&self.current.proposing, self.is_active()) {
            out.push(Effect::Sign(SignRequest::Proposal(unsigned.clone())));
        }
        // What we said last may not have left before the crash.
        if let (true, Some(proposal)) = (self.leads(), self.current.proposals.get(&self.view).cloned())
            && let Some(block) = self.current.blocks.block(&proposal.block_id).cloned()
        {
            self.tell_proposal(None, &proposal, &block, out);
        }
        let Some((index, _)) = self.current.own_seat() else { return };
        for kind in [VoteKind::Prevote, VoteKind::Precommit] {
            let vote = self.current.tally.set(self.view, kind).and_then(|set| set.by_index(index)).cloned();
            out.extend(vote.map(|vote| Effect::Broadcast(Direct::Vote(Verified::trusted(vote)))));
        }
    }
}
