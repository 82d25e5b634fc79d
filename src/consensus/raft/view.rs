//! What the machine shows to clients and to people.

use super::{Raft, Role};
use crate::consensus::{Lead, RaftRole, RoundVotes, Sizes, View};
use crate::types::Time;
use std::sync::Arc;

impl Raft {
    /// Where the machine stands. Copies the votes. A leader shows the acknowledgements of its term; anybody else only
    /// its own, since the others' go to the leader.
    pub fn view(&self) -> View {
        let state = &self.current;
        let acks = RoundVotes {
            round: self.term,
            prevotes: vec![None; self.validators().len()],
            precommits: state.acks.votes().to_vec(),
        };
        let block = state.proposal.as_ref().and_then(|proposal| state.blocks.block(&proposal.block_id));
        View {
            height: state.start.height,
            round: self.term,
            step: state.step,
            start_time: state.start_time,
            validators: Arc::clone(self.validators()),
            proposal: state.proposal.clone(),
            proposal_block: block.map(Arc::clone),
            locked: state.entry,
            valid: state.entry,
            votes: vec![acks],
            last_commit: state.last_commit.as_ref().map(|set| set.votes().to_vec()).unwrap_or_default(),
            lead: Lead::Leader { leader: self.leader.map(|leader| leader.address), role: self.role() },
        }
    }

    /// What this node is in its term.
    fn role(&self) -> RaftRole {
        match &self.role {
            Role::Leader(_) => RaftRole::Leader,
            Role::Candidate(_) => RaftRole::Candidate,
            Role::PreCandidate(_) => RaftRole::PreCandidate,
            Role::Follower if self.own_seat().is_none() => RaftRole::Learner,
            Role::Follower => RaftRole::Follower,
        }
    }

    /// How much is kept of what others say.
    pub fn sizes(&self) -> Sizes {
        let kept = [
            ("peers", self.peers.len()),
            ("reads waiting", self.asking.count()),
            ("words to sign", self.outbox.count()),
            ("ballots", self.votes.count()),
            ("refusals", self.current.refusals.len()),
        ];
        kept.map(|(name, count)| (name, count as u64)).into()
    }

    /// When this height began, or begins.
    pub fn start_time(&self) -> Time {
        self.current.start_time
    }
}
