//! What the machine shows to clients and to people.

use super::{Pbft, Phase};
use crate::consensus::{Lead, RoundVotes, Sizes, View, ViewPhase};
use crate::types::VoteKind;
use std::sync::Arc;

impl Pbft {
    /// How much is kept of what others say.
    pub fn sizes(&self) -> Sizes {
        let (proposals, votes, new_views) = self.later.sizes();
        let ahead = self.current.tally.rounds().filter(|round| *round > self.view.next()).count();
        let kept = [
            ("rounds ahead", ahead),
            ("proposals", self.current.proposals.len()),
            ("view changes", self.view_changes.len()),
            ("heights of members", self.heights.len()),
            ("peers", self.peers.len()),
            ("proposals for the next height", proposals),
            ("votes for the next height", votes),
            ("NEW-VIEWs for the next height", new_views),
        ];
        kept.map(|(name, count)| (name, count as u64)).into()
    }

    /// Where the machine stands. Copies the votes.
    pub fn view(&self) -> View {
        let state = &self.current;
        let votes = |round, kind| state.tally.set(round, kind).map(|set| set.votes().to_vec()).unwrap_or_default();
        let round_votes = |round| RoundVotes {
            round,
            prevotes: votes(round, VoteKind::Prevote),
            precommits: votes(round, VoteKind::Precommit),
        };
        let proposal = state.proposals.get(&self.view).cloned();
        let prepared = self.highest_prepared(super::next_view(self.view));
        let phase = match self.phase {
            Phase::Active { .. } => ViewPhase::Active,
            Phase::Changing { .. } => ViewPhase::Changing,
        };
        View {
            height: self.height(),
            round: self.view,
            step: state.step,
            start_time: state.start_time,
            validators: Arc::clone(&state.start.validators),
            proposal_block: proposal.as_ref().and_then(|p| state.blocks.block(&p.block_id)).map(Arc::clone),
            proposal,
            locked: prepared,
            valid: prepared,
            votes: state.tally.rounds().map(round_votes).collect(),
            last_commit: state.last_commit.as_ref().map(|set| set.votes().to_vec()).unwrap_or_default(),
            lead: Lead::Primary { primary: self.primary(self.view).address, phase },
        }
    }
}
