//! The rules of the normal case (§4.2), each a function that fires at most once for its cause and says whether it did.

use super::height::{Outcome, OwnVote};
use super::{Pbft, Phase};
use crate::consensus::blocks::{Progress, Verdict};
use crate::consensus::{Decision, Effect, Effects, Now, RoundNote, quorum};
use crate::types::{BlockId, Proposal, Step, VoteKind};
use std::sync::Arc;

impl Pbft {
    /// Fires rules until none applies. Each firing raises the view or the step, sets a once-per-view mark, or takes a
    /// block one state further, so this ends.
    pub(super) fn settle(&mut self, now: Now, out: &mut Effects<Pbft>) {
        while self.fire_one(now, out) {}
    }

    fn fire_one(&mut self, now: Now, out: &mut Effects<Pbft>) -> bool {
        match &self.current.outcome {
            Outcome::Decided { .. } => return false,
            Outcome::Fetching { .. } => return self.hand_over(out),
            Outcome::Open => {}
        }
        self.decide(out)
            || self.join_view_change(out)
            || self.make_new_view(out)
            || self.begin(now, out)
            || self.ask_application(out)
            || self.abandon_view(out)
            || self.propose(now, out)
            || self.prepare(now, out)
            || self.commit(now, out)
    }

    /// §4.2, *committed-local*: more than two thirds COMMITted one block, in whatever view. Whoever left that view
    /// decides, too; it only signs nothing there.
    fn decide(&mut self, out: &mut Effects<Pbft>) -> bool {
        let Some((view, _)) = self.current.tally.decision() else { return false };
        let Some(commit) = self.current.tally.set(view, VoteKind::Precommit).and_then(|set| set.to_commit()) else {
            return false;
        };
        self.decided_by(commit, out);
        true
    }

    /// The block is here. Two thirds stand for it, so our application is not asked again; whoever executes it checks it
    /// against the state, and a failure there stops the node.
    fn hand_over(&mut self, out: &mut Effects<Pbft>) -> bool {
        let state = &mut self.current;
        let Outcome::Fetching { commit } = &state.outcome else { return false };
        let Some(block) = state.blocks.block(&commit.block_id).map(Arc::clone) else { return false };
        let commit = commit.clone();
        state.outcome = Outcome::Decided { block: Arc::clone(&block), commit: commit.clone() };
        out.push(Effect::Decide(Decision { block, commit }));
        true
    }

    /// The height begins at its time, when all COMMITs of the last one are in, or when the others have begun.
    fn begin(&mut self, now: Now, out: &mut Effects<Pbft>) -> bool {
        let state = &self.current;
        if state.begun.is_some() {
            return false;
        }
        let all_voted = state.last_commit.as_ref().is_some_and(|set| set.has_all());
        let early = all_voted && state.start.timeouts.skip_commit_when_all_voted;
        let proposed = state.proposals.get(&self.view).is_some_and(|p| state.blocks.block(&p.block_id).is_some());
        if state.start.begin_at > now.tick && !early && !proposed {
            return false;
        }
        self.current.begun = Some(now.tick);
        self.enter_step(Step::NewRound, out);
        self.note_view(out);
        true
    }

    /// Says in which view we are and who leads it.
    pub(super) fn note_view(&self, out: &mut Effects<Pbft>) {
        let (height, round) = (self.height(), self.view);
        let address = self.primary(round).address;
        let index = self.validators().by_address(&address).map_or(0, |(index, _)| index);
        out.push(Effect::Note(RoundNote::NewRound { height, round, proposer: (index, address) }));
    }

    /// The PRE-PREPARE of this view, if the view is at work and the PRE-PREPARE is what its NEW-VIEW wants (§4.4).
    pub(super) fn pre_prepare(&self) -> Option<&Proposal> {
        let Phase::Active { chosen } = self.phase else { return None };
        let proposal = self.current.proposals.get(&self.view)?;
        chosen.is_none_or(|id| id == proposal.block_id || mutant!("P18")).then_some(proposal)
    }

    /// Has the application check the block of this view; once, if it says yes, else once in each view. Validity is ours to
    /// guard: §4.2 leaves it to the service.
    fn ask_application(&mut self, out: &mut Effects<Pbft>) -> bool {
        let Some(id) = self.pre_prepare().map(|proposal| proposal.block_id) else { return false };
        let Some(block) = self.current.blocks.with_verdict(&id, Verdict::Unasked) else { return false };
        self.current.blocks.judge(&id, Verdict::Asked);
        out.push(Effect::CheckBlock { height: self.height(), round: self.view, block });
        true
    }

    /// A primary that shows itself faulty is not waited for: two PRE-PREPAREs in one view, another block than its
    /// NEW-VIEW wants, or one that is invalid. Once between two decisions; after that the timers set the pace, or an
    /// application that rejects everything would have us change views as fast as the network can.
    fn abandon_view(&mut self, out: &mut Effects<Pbft>) -> bool {
        if !self.is_active() || self.leads() || self.failures > 0 || self.current.own_seat().is_none() {
            return false;
        }
        let state = &self.current;
        let faulty = state.conflicting.contains(&self.view)
            || state.proposals.get(&self.view).is_some_and(|proposal| {
                self.chosen().is_some_and(|id| id != proposal.block_id)
                    || state.blocks.progress(&proposal.block_id) == Progress::Rejected
            });
        faulty && self.fail_view(out)
    }

    /// §4.2, PREPARE: the PRE-PREPARE is of this view, it is the first one, and its block is valid.
    fn prepare(&mut self, now: Now, out: &mut Effects<Pbft>) -> bool {
        let Some(id) = self.pre_prepare().map(|proposal| proposal.block_id) else { return false };
        let accepted = self.current.blocks.progress(&id) == Progress::Accepted;
        if (!accepted && !mutant!("P16")) || self.current.own.contains_key(&(self.view, VoteKind::Prevote)) {
            return false;
        }
        self.enter_step(Step::Prevote, out);
        self.cast(now, VoteKind::Prevote, id, out)
    }

    /// §4.2, COMMIT: the block is *prepared*. The PREPAREs that prove it are in the journal by now, so that a VIEW-CHANGE
    /// after a crash still carries them; and so is our own PREPARE, from which recovery sees that this view was at work.
    fn commit(&mut self, now: Now, out: &mut Effects<Pbft>) -> bool {
        let Some(id) = self.prepared() else { return false };
        let prepared_by_us = matches!(self.current.own.get(&(self.view, VoteKind::Prevote)), Some(OwnVote::Cast));
        if (!prepared_by_us && !mutant!("P42")) || self.current.own.contains_key(&(self.view, VoteKind::Precommit)) {
            return false;
        }
        self.enter_step(Step::Precommit, out);
        self.cast(now, VoteKind::Precommit, id, out)
    }

    /// §4.2, the predicate *prepared*: the PRE-PREPARE of this view is here, its block is valid, and more than two thirds
    /// PREPAREd it.
    fn prepared(&self) -> Option<BlockId> {
        let id = self.pre_prepare()?.block_id;
        let majority = self.current.tally.majority(self.view, VoteKind::Prevote);
        let accepted = self.current.blocks.progress(&id) == Progress::Accepted;
        let few = || {
            mutant!("P2")
                && self
                    .current
                    .tally
                    .set(self.view, VoteKind::Prevote)
                    .is_some_and(|set| quorum::more_than_one_third(set.sum_for(Some(&id)), set.total_power()))
        };
        ((majority == Some(Some(id)) || few()) && accepted).then_some(id)
    }
}
