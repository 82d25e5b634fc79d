//! Taking up a height: afresh, or where a crash left it.
//!
//! What must come back is what others may have counted on (figure 2, "persistent state"): the term and the vote, and the
//! entry of the open height. The entry counts as ours from the `RoundStep` record on that stands before its
//! acknowledgement is signed: whether the signature left the node, nobody knows. Leadership does not come back.

use super::height::OwnAck;
use super::{Raft, majority};
use crate::consensus::blocks::Verdict;
use crate::consensus::{Effects, Now};
use crate::types::{
    BlockId, JournalMessage, JournalRecord, Part, PartSetHeader, Round, Source, Standing, Step, Vote, VoteKind,
};
use std::collections::BTreeMap;

impl Raft {
    /// Takes the journal's records into the state.
    pub(super) fn replay(&mut self, now: Now, records: &[JournalRecord]) {
        let mut proposed: BTreeMap<Round, BlockId> = BTreeMap::new();
        for record in records {
            match record {
                JournalRecord::Standing(standing) => self.replay_standing(standing),
                JournalRecord::Message { source, message } => self.replay_message(*source, message, &mut proposed),
                JournalRecord::RoundStep { height, round, step: Step::Precommit } if *height == self.height() => {
                    if let Some(id) = proposed.get(round) {
                        self.replay_entry(*round, *id);
                    }
                }
                JournalRecord::RoundStep { .. } | JournalRecord::Timeout { .. } | JournalRecord::EndHeight(_) => {}
            }
        }
        self.current.prune_blocks();
        self.reset_election(now);
    }

    fn replay_standing(&mut self, standing: &Standing) {
        if standing.round < self.term && !mutant!("R95") {
            return;
        }
        if standing.round > self.term {
            self.replay_term(standing.round);
        }
        self.voted_for = standing.voted_for;
    }

    /// What stands in the journal proves that we were in its term.
    fn replay_term(&mut self, term: Round) {
        if term > self.term {
            self.term = term;
            self.voted_for = None;
            self.beat_heard = None;
            self.current.enter_term(term);
        }
    }

    fn replay_message(&mut self, source: Source, message: &JournalMessage, proposed: &mut BTreeMap<Round, BlockId>) {
        match message {
            JournalMessage::Proposal(proposal) if proposal.height == self.height() => {
                self.replay_term(proposal.round);
                self.current.blocks.want(proposal.block_id.parts);
                proposed.insert(proposal.round, proposal.block_id);
                if proposal.round == self.term {
                    self.current.proposal = Some(proposal.clone());
                }
            }
            JournalMessage::Part { height, part, .. } if *height == self.height() => self.replay_part(source, part),
            JournalMessage::Vote(vote) if vote.height == self.height() && source == Source::Own => {
                self.replay_own_ack(vote);
            }
            JournalMessage::Proposal(_) | JournalMessage::Part { .. } | JournalMessage::Vote(_) => {}
        }
    }

    /// Parts of a block we built stand in the journal before its proposal.
    fn replay_part(&mut self, source: Source, part: &Part) {
        if let (Source::Own, Ok(root), Ok(total)) = (source, part.proof.root(), u32::try_from(part.proof.total)) {
            self.current.blocks.want(PartSetHeader { total, hash: root });
        }
        self.current.blocks.add(part.clone());
    }

    /// The block of this term was accepted and appended.
    fn replay_entry(&mut self, term: Round, id: BlockId) {
        if self.current.entry.is_none_or(|(newest, _)| newest <= term) && !mutant!("R8") {
            self.current.entry = Some((term, id));
        }
        self.current.blocks.judge(&id, Verdict::Accepted);
    }

    fn replay_own_ack(&mut self, vote: &Vote) {
        if vote.kind != VoteKind::Precommit {
            return;
        }
        self.replay_term(vote.round);
        if let Some(id) = vote.block_id {
            self.replay_entry(vote.round, id);
        }
        if vote.round == self.term {
            self.current.acks.add(vote.clone());
            self.current.own_ack = OwnAck::Cast(vote.clone());
        }
    }

    /// Goes on from here: as a follower, whatever we were.
    pub(super) fn resume(&mut self, now: Now, out: &mut Effects<Raft>) {
        self.persist_standing(out);
        if self.stands_alone() {
            self.election_at = now.tick;
        }
        self.settle(now, out);
        self.arm(now, out);
    }

    /// True when our own vote is a majority: there is nobody to wait for.
    pub(super) fn stands_alone(&self) -> bool {
        let own = self.current.start.own;
        majority::reached(self.validators(), |address| (own == Some(*address)).then_some(0)).is_some()
    }
}
