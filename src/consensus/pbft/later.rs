//! What came for the next height: one height ahead is our high watermark (§4.3). Bounded: two proposals of whoever leads
//! by our set, their parts, one vote of each kind for each member, one NEW-VIEW of each replica. What is dropped is sent
//! again when we say where we stand.

use super::Pbft;
use crate::consensus::blocks::{Blocks, PartTaken};
use crate::consensus::{Effects, Reaction};
use crate::types::{Address, ConsensusParams, Part, Proposal, Round, Source, Statement, ValidatorSet, Vote, VoteKind};
use std::collections::BTreeMap;

/// Proposals kept: of our view and of the next.
const PROPOSALS_MAX: usize = 2;
/// Votes kept; the caller checked that they are of members of the next set.
const VOTES_MAX: usize = 2 * crate::types::Commit::SIGNATURES_MAX;
/// NEW-VIEWs kept of members of the next set that are not in ours.
const NEW_VIEWS_OF_STRANGERS_MAX: usize = 16;

/// Messages of the next height.
#[derive(Debug, Clone)]
pub(super) struct Later {
    proposals: BTreeMap<Round, (Source, Address, Proposal)>,
    blocks: Blocks,
    votes: BTreeMap<(u32, VoteKind), (Source, Vote)>,
    /// The newest of each replica. Who leads which view of the next set is not known here, so that one replica must not
    /// take the place of another; the caller saw that each is by the primary of its view, on a quorum's VIEW-CHANGEs.
    new_views: BTreeMap<Address, (Source, Round, Statement)>,
}

impl Later {
    pub(super) fn new(params: &ConsensusParams) -> Later {
        let (proposals, votes, new_views) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Later { proposals, blocks: Blocks::new(params), votes, new_views }
    }

    /// Proposals, votes and NEW-VIEWs kept.
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        (self.proposals.len(), self.votes.len(), self.new_views.len())
    }

    /// Keeps the first proposal of a view. `by` and who leads that view by our set; by another set there is a view change
    /// first.
    pub(super) fn keep_proposal(&mut self, source: Source, by: (Address, Address), proposal: Proposal) -> Reaction {
        let (by, primary) = by;
        if by != primary && !mutant!("P93") {
            return Reaction::Ignored("proposal for the next height, of one who does not lead by this set");
        }
        if self.proposals.contains_key(&proposal.round) {
            return Reaction::Ignored("a proposal of this view is kept for the next height");
        }
        while self.proposals.len() >= PROPOSALS_MAX && !mutant!("P11") {
            self.proposals.pop_first();
        }
        self.blocks.want(proposal.block_id.parts);
        self.proposals.insert(proposal.round, (source, by, proposal));
        let needed: Vec<_> = self.proposals.values().map(|(_, _, proposal)| proposal.block_id.parts).collect();
        self.blocks.retain(&needed);
        Reaction::Accepted
    }

    pub(super) fn keep_part(&mut self, part: Part) -> Reaction {
        match self.blocks.add(part) {
            PartTaken::Added | PartTaken::Completed => Reaction::Accepted,
            PartTaken::Ignored(why) => Reaction::Ignored(why),
            PartTaken::PeerFault(why) => Reaction::PeerFault(why),
        }
    }

    /// Keeps the vote of the highest view.
    pub(super) fn keep_vote(&mut self, source: Source, vote: Vote) -> Reaction {
        let key = (vote.validator_index, vote.kind);
        let known = self.votes.get(&key).map(|(_, known)| known.round);
        if known.is_some_and(|known| known >= vote.round) || (known.is_none() && self.votes.len() >= VOTES_MAX) {
            return Reaction::Ignored("a vote of this member is kept for the next height");
        }
        self.votes.insert(key, (source, vote));
        Reaction::Accepted
    }

    /// Keeps the NEW-VIEW of the highest view that its replica made. `ours`: members of this height's set have a place each.
    pub(super) fn keep_new_view(
        &mut self,
        source: Source,
        view: Round,
        statement: Statement,
        ours: &ValidatorSet,
    ) -> Reaction {
        let by = statement.by;
        match self.new_views.get(&by) {
            Some((_, kept, _)) if *kept >= view => {
                return Reaction::Ignored("a NEW-VIEW of it is kept for the next height");
            }
            Some(_) => {}
            None => {
                let stranger = |by: &Address| ours.by_address(by).is_none();
                let strangers = self.new_views.keys().filter(|kept| stranger(kept)).count();
                if stranger(&by) && !mutant!("P92") && strangers >= NEW_VIEWS_OF_STRANGERS_MAX {
                    return Reaction::Ignored("NEW-VIEWs of enough replicas of the next set are kept");
                }
            }
        }
        self.new_views.insert(by, (source, view, statement));
        Reaction::Accepted
    }
}

impl Pbft {
    /// We are there: hear now what came too early.
    pub(super) fn take_later(&mut self, later: Later, out: &mut Effects<Pbft>) {
        // The highest view first: those below it are past then.
        let mut new_views: Vec<_> = later.new_views.into_values().collect();
        new_views.sort_by_key(|(_, view, _)| std::cmp::Reverse(*view));
        for (source, _, statement) in new_views {
            self.on_new_view(source, statement, out);
        }
        let height = self.height();
        // A part's proof leads to its proposal, whoever brought it.
        for (round, (source, by, proposal)) in later.proposals {
            let header = proposal.block_id.parts;
            self.on_proposal(source, by, proposal, out);
            let parts = later.blocks.gathering(&header).into_iter().flat_map(|set| set.parts());
            for part in parts {
                self.on_part(source, (height, round), part.clone(), out);
            }
        }
        for (source, vote) in later.votes.into_values() {
            self.on_vote(source, vote, out);
        }
    }
}
