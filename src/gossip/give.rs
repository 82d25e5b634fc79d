//! What a peer lacks of what we have, given at once: the conditions of CometBFT's gossipDataRoutine and
//! gossipVotesRoutine, in their order of priority, without their sleeps.

use super::decided::{Shelf, vote_at};
use super::peer::{At, Help, Peer, VoteKey};
use super::plan::{Item, Plan};
use crate::consensus::tally::VoteSet;
use crate::consensus::tendermint::Tendermint;
use crate::types::{BitArray, BlockId, ConsensusMessage, Height, NodeId, PartSet, Round, Step, Vote, VoteKind, place};
use std::cmp::Ordering;

/// What we have.
#[derive(Clone, Copy)]
pub(super) struct Ours<'a> {
    pub(super) machine: &'a Tendermint,
    pub(super) shelf: &'a Shelf,
    /// The block this height decided, and in which round.
    pub(super) decision: Option<(Round, BlockId)>,
}

impl<'a> Ours<'a> {
    pub(super) fn new(machine: &'a Tendermint, shelf: &'a Shelf) -> Ours<'a> {
        Ours { machine, shelf, decision: machine.tally().decision() }
    }

    /// Gives a peer all it lacks, as far as its account allows. The answer is a decided block that must be read first.
    pub(super) fn give(&self, id: NodeId, peer: &mut Peer, plan: &mut Plan) -> Option<Height> {
        let at = peer.known.at?;
        match at.height.cmp(&self.machine.height()) {
            Ordering::Less => return self.help(id, peer, at, plan),
            Ordering::Equal => {
                self.give_votes(id, peer, at, plan);
                self.give_proposal(id, peer, at, plan);
                self.give_parts(id, peer, plan);
            }
            Ordering::Greater => self.give_late_precommits(id, peer, at, plan),
        }
        None
    }

    /// gossipVotesForHeight. CometBFT gives votes of rounds up to its own only, and no precommits to a peer that has
    /// decided; more is of use to both: the peer skips to the round sooner, and its commit is completed.
    fn give_votes(&self, id: NodeId, peer: &mut Peer, at: At, plan: &mut Plan) {
        let tally = self.machine.tally();
        let pol_round = peer.known.pol.as_ref().map(|(round, _)| *round);
        let pol = pol_round.and_then(|round| tally.set(round, VoteKind::Prevote));
        if at.step == Step::NewHeight {
            give_set(id, peer, self.machine.last_commit(), plan);
        }
        if at.step <= Step::Propose {
            give_set(id, peer, pol, plan);
        }
        give_set(id, peer, tally.set(at.round, VoteKind::Prevote), plan);
        give_set(id, peer, tally.set(at.round, VoteKind::Precommit), plan);
        give_set(id, peer, pol, plan);
        // CometBFT waits until it has executed the block itself; the peer may need it to do so at all.
        if let Some((round, _)) = self.decision.filter(|(round, _)| *round != at.round) {
            peer.known.expect_commit(at.height, round);
            give_set(id, peer, tally.set(round, VoteKind::Precommit), plan);
        }
    }

    /// The proposal of the peer's round, and which of the prevotes that justify it we have.
    fn give_proposal(&self, id: NodeId, peer: &mut Peer, at: At, plan: &mut Plan) {
        let Some(proposal) = self.machine.proposal_of(at.round).filter(|_| !peer.known.has_proposal) else { return };
        let item = Item::Proposal(proposal.height, proposal.round);
        if !plan.give(id, &mut peer.account, item, || ConsensusMessage::Proposal(proposal.clone())) {
            return;
        }
        peer.known.set_has_proposal(proposal);
        let Some(pol_round) = proposal.pol_round else { return };
        let pol = || ConsensusMessage::ProposalPol {
            height: proposal.height,
            pol_round,
            have: match self.machine.tally().set(pol_round, VoteKind::Prevote) {
                Some(prevotes) => prevotes.bits().clone(),
                None => BitArray::new(self.machine.validators().len()),
            },
        };
        // Without it the peer only sends us prevotes we have: when there is no room, it may stay unsaid.
        plan.give(id, &mut peer.account, Item::ProposalPol(proposal.height, pol_round), pol);
    }

    /// Parts of the block the peer gathers, whichever of this height's it is. Our own round goes along, as a part tells
    /// the peer that we have it.
    fn give_parts(&self, id: NodeId, peer: &mut Peer, plan: &mut Plan) {
        let Some(parts) = &peer.known.parts else { return };
        if let Some(set) = self.machine.parts(&parts.header) {
            give_part_set(id, peer, set, (self.machine.height(), self.machine.round()), plan);
        }
    }

    /// Precommits for a peer that waits for more of them before its next height begins. CometBFT sends these only once
    /// it is at that height itself.
    fn give_late_precommits(&self, id: NodeId, peer: &mut Peer, at: At, plan: &mut Plan) {
        let next = at.height.previous() == Some(self.machine.height());
        let round = peer.known.last_commit.as_ref().map(|(round, _)| *round);
        if let (true, Step::NewHeight, Some(round)) = (next, at.step, round) {
            give_set(id, peer, self.machine.tally().set(round, VoteKind::Precommit), plan);
        }
    }

    /// gossipDataForCatchup and the catch-up of gossipVotesRoutine: the precommits that decided the peer's height, then
    /// the block. CometBFT begins both at once; but a peer ignores parts until the precommits have told it which block
    /// it needs, and then says that it has none. So the block waits until it is in step Commit, unless it gathers it
    /// already. A block is read only for a peer that took all it was given: it must not be cheaper to ask than to read.
    fn help(&self, id: NodeId, peer: &mut Peer, at: At, plan: &mut Plan) -> Option<Height> {
        if peer.help != Help::Needed {
            return None;
        }
        let height = at.height;
        let follows = self.machine.height().previous() == Some(height);
        let voted = match (self.machine.last_commit(), self.shelf.get(height)) {
            (Some(set), _) if follows => {
                peer.known.expect_commit(height, set.round());
                give_set(id, peer, Some(set), plan)
            }
            (_, Some(kept)) => {
                let commit = &kept.decided.commit;
                peer.known.expect_commit(height, commit.round);
                let vote = |index| vote_at(commit, index);
                give_votes_of(id, peer, (height, commit.round, &kept.voted), vote, plan)
            }
            (_, None) => return (peer.account.is_idle() || mutant!("G15")).then_some(height),
        };
        let gathers_nothing = peer.known.parts.is_none() && at.step != Step::Commit;
        if !voted || gathers_nothing {
            return None;
        }
        let Some(kept) = self.shelf.get(height) else { return peer.account.is_idle().then_some(height) };
        let set = kept.decided.block.parts();
        // Another header is one the peer gives up when it sees the precommits, and says so (NewValidBlock).
        let right = peer.known.expect_parts(set.header()).header == set.header();
        if right && give_part_set(id, peer, set, (height, at.round), plan) {
            peer.help = if mutant!("G93") { Help::Needed } else { Help::Given };
        }
        None
    }
}

/// Gives what is missing of a set; true when nothing is any more.
fn give_set(id: NodeId, peer: &mut Peer, set: Option<&VoteSet>, plan: &mut Plan) -> bool {
    let Some(set) = set else { return true };
    let Some(had) = peer.known.votes(set.height(), set.round(), set.kind()) else { return true };
    let account = &mut peer.account;
    had.fill(set.bits(), 0, |index| {
        let Some(vote) = set.by_index(place(index)) else { return false };
        plan.give(id, account, Item::Vote(VoteKey::from(vote)), || ConsensusMessage::Vote(vote.clone()))
    })
}

/// Gives what is missing of precommits found elsewhere.
fn give_votes_of(
    id: NodeId,
    peer: &mut Peer,
    (height, round, voted): (Height, Round, &BitArray),
    vote: impl Fn(u32) -> Option<Vote>,
    plan: &mut Plan,
) -> bool {
    let Some(had) = peer.known.votes(height, round, VoteKind::Precommit) else { return true };
    let account = &mut peer.account;
    had.fill(voted, 0, |index| {
        let Some(vote) = vote(place(index)) else { return false };
        plan.give(id, account, Item::Vote(VoteKey::from(&vote)), || ConsensusMessage::Vote(vote))
    })
}

/// Gives what is missing of a block; true when nothing of it is any more.
fn give_part_set(
    id: NodeId,
    peer: &mut Peer,
    set: &PartSet,
    (height, round): (Height, Round),
    plan: &mut Plan,
) -> bool {
    let Some(parts) = peer.known.parts.as_mut().filter(|parts| parts.header == set.header()) else { return false };
    let account = &mut peer.account;
    parts.had.fill(set.bits(), peer.start, |index| {
        let Some(part) = set.part(place(index)) else { return false };
        let message = || ConsensusMessage::BlockPart { height, round, part: part.clone() };
        plan.give(id, account, Item::Part(set.header(), part.index, round), message)
    })
}
