//! What the machine shows to clients and to people.

use super::{Pbft, Phase};
use crate::consensus::{Lead, RoundVotes, View, ViewPhase};
use crate::types::VoteKind;
use std::sync::Arc;

impl Pbft {
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
