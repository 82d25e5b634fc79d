//! The rules that fire on what is known, until none applies. Each firing takes an election, a block or an
//! acknowledgement one state further, answers a reader, or begins something that is begun once, so this ends.

use super::height::{Outcome, Proposing};
use super::{Raft, Role, majority};
use crate::consensus::blocks::Verdict;
use crate::consensus::{Decision, Direct, Effect, Effects, Now};
use crate::crypto::Verified;
use crate::types::Step;
use std::sync::Arc;

impl Raft {
    pub(super) fn settle(&mut self, now: Now, out: &mut Effects<Raft>) {
        while self.fire_one(now, out) {}
    }

    fn fire_one(&mut self, now: Now, out: &mut Effects<Raft>) -> bool {
        self.count_ballots(now, out)
            || self.decide(now, out)
            || self.deliver(out)
            || self.ask_application(out)
            || self.acknowledge(now, out)
            || self.give_up_block(now, out)
            || self.transfer(now, out)
            || self.propose(now, out)
            || self.serve_reads(now, out)
    }

    /// §5.3, §5.4.2: more than half of the power acknowledged the block of this term, in this term.
    fn decide(&mut self, now: Now, out: &mut Effects<Raft>) -> bool {
        let proposed = self.current.proposal.as_ref().map(|proposal| proposal.block_id);
        let acknowledged = self.current.acks.majority().flatten();
        if !self.is_open() || acknowledged.is_none() || acknowledged != proposed {
            return false;
        }
        let Some(commit) = self.current.acks.to_commit() else { return false };
        if let Role::Leader(leadership) = &mut self.role {
            leadership.settled = Some(commit.height);
            self.note_pace(now);
        }
        out.push(Effect::Broadcast(Direct::Commit(Verified::trusted(commit.clone()))));
        self.current.outcome = Outcome::Fetching(commit);
        self.enter_step(Step::Commit, out);
        true
    }

    /// The decided block is here. A majority stands for it, so our application is not asked whether it likes it.
    fn deliver(&mut self, out: &mut Effects<Raft>) -> bool {
        let Outcome::Fetching(commit) = &self.current.outcome else { return false };
        let Some(block) = self.current.blocks.block(&commit.block_id).map(Arc::clone) else { return false };
        let commit = commit.clone();
        self.current.outcome = Outcome::Decided;
        out.push(Effect::Decide(Decision { block, commit }));
        true
    }

    /// Has the application check the block we are to acknowledge, once.
    fn ask_application(&mut self, out: &mut Effects<Raft>) -> bool {
        if !self.is_open() || self.own_seat().is_none() {
            return false;
        }
        let state = &mut self.current;
        let signing = match &state.proposing {
            Proposing::Signing { block, .. } => Some(block.id()),
            Proposing::No | Proposing::Building => None,
        };
        let wanted = state.proposal.as_ref().map(|proposal| proposal.block_id).or(signing);
        let unasked = wanted.and_then(|id| state.blocks.with_verdict(&id, Verdict::Unasked));
        let Some(block) = unasked else { return false };
        state.blocks.judge(&block.id(), Verdict::Asked);
        out.push(Effect::CheckBlock { height: state.start.height, round: self.term, block });
        true
    }

    /// So many refuse our block that it cannot be decided: another leader may have a better one. Without this rule a
    /// leader whose block only it accepts would be heard, and followed, for ever.
    fn give_up_block(&mut self, now: Now, out: &mut Effects<Raft>) -> bool {
        if !matches!(self.role, Role::Leader(_)) || !self.is_open() {
            return false;
        }
        if !majority::is_blocked(self.refused_power(), self.validators().total_power()) || mutant!("R17") {
            return false;
        }
        self.make_way(now, "this leader's block was rejected: ask another node", out);
        true
    }
}
