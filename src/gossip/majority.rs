//! Claims of a majority and their answers (queryMaj23Routine): how two nodes find out that they miss different votes.
//!
//! Usually what is known of a peer is exact and nobody needs this. It matters where a validator signed two votes: a peer
//! that has the other one is thought to have it. A claim makes a CometBFT peer count the second vote, and the answer
//! shows who lacks it. So it is made at once where such votes are known or a round failed, and otherwise to a peer that
//! has not moved for [`REPEAT_AFTER`], again and again until it does.

use super::give::Ours;
use super::peer::{Help, Peer, VoteKey};
use super::plan::{Item, Plan};
use crate::types::{BitArray, ConsensusMessage, Height, NodeId, Round, VoteKind, VotesFor, place};
use std::cmp::Ordering;
use std::time::Duration;

/// PeerQueryMaj23SleepDuration of CometBFT.
pub const REPEAT_AFTER: Duration = Duration::from_secs(2);

impl Ours<'_> {
    /// The majorities that are news for a peer: those of its round, of its proposal's justification and of the round
    /// its height was decided in.
    pub(super) fn claims(&self, peer: &Peer) -> Vec<VotesFor> {
        let Some(at) = peer.known.at else { return Vec::new() };
        match at.height.cmp(&self.machine.height()) {
            Ordering::Greater => Vec::new(),
            Ordering::Less => self.decided_claim(at.height).into_iter().collect(),
            Ordering::Equal => {
                let pol_round = peer.known.pol.as_ref().map(|(round, _)| *round);
                let decided = self.decision.map(|(round, _)| round).filter(|round| *round != at.round);
                let sets = [
                    Some((at.round, VoteKind::Prevote)),
                    Some((at.round, VoteKind::Precommit)),
                    pol_round.filter(|round| *round != at.round).map(|round| (round, VoteKind::Prevote)),
                    decided.map(|round| (round, VoteKind::Precommit)),
                ];
                sets.into_iter().flatten().filter_map(|(round, kind)| self.claim(round, kind)).collect()
            }
        }
    }

    /// What more than two thirds voted for, as a claim.
    pub(super) fn claim(&self, round: Round, kind: VoteKind) -> Option<VotesFor> {
        let block_id = self.machine.tally().majority(round, kind)?;
        Some(VotesFor { height: self.machine.height(), round, kind, block_id })
    }

    /// The same for an earlier height, as far as it is at hand.
    fn decided_claim(&self, height: Height) -> Option<VotesFor> {
        let commit = &self.shelf.get(height)?.decided.commit;
        let (round, block_id) = (commit.round, Some(commit.block_id));
        Some(VotesFor { height, round, kind: VoteKind::Precommit, block_id })
    }

    /// A decided block that must be read before anything can be claimed to a peer that was given all of it.
    pub(super) fn needed_for_claim(&self, peer: &Peer) -> Option<Height> {
        let height = peer.known.at?.height;
        let waits = height < self.machine.height() && peer.help == Help::Given && self.shelf.get(height).is_none();
        waits.then_some(height)
    }

    /// The answer to a peer's claim: which of those votes we have. None when it is about another height.
    pub(super) fn answer(&self, votes: VotesFor) -> Option<ConsensusMessage> {
        if votes.height != self.machine.height() && !mutant!("G14") {
            return None;
        }
        let have = match self.machine.tally().set(votes.round, votes.kind) {
            Some(set) => set.bits_for(votes.block_id.as_ref()),
            None => BitArray::new(self.machine.validators().len()),
        };
        Some(ConsensusMessage::VoteSetBits { votes, have })
    }

    /// ApplyVoteSetBitsMessage: the peer answered a claim of ours. Votes for that very block go at once, because the one
    /// shown for an equivocator may be its other.
    pub(super) fn corrected(&self, id: NodeId, peer: &mut Peer, votes: VotesFor, have: &BitArray, plan: &mut Plan) {
        let VotesFor { height, round, kind, block_id } = votes;
        let Some(had) = peer.known.votes(height, round, kind) else { return };
        if height != self.machine.height() {
            match self.shelf.get(height).filter(|kept| kept.decided.commit.round == round) {
                Some(kept) => had.correct(&kept.voted, have),
                None => had.replace(have),
            }
            return;
        }
        let Some(set) = self.machine.tally().set(round, kind) else { return };
        let asked = set.bits_for(block_id.as_ref());
        had.correct(&asked, have);
        let account = &mut peer.account;
        had.fill(&asked, 0, |index| {
            let Some(vote) = set.vote_for(place(index), block_id.as_ref()) else { return false };
            plan.give(id, account, Item::Vote(VoteKey::from(vote)), || ConsensusMessage::Vote(vote.clone()))
        });
    }
}
