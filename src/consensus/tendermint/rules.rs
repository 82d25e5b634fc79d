//! The "upon" clauses of Algorithm 1, each a function that fires at most once for its cause and says whether it did.

use super::Tendermint;
use super::height::{Outcome, OwnVote, Proposing};
use crate::consensus::blocks::{Progress, Verdict};
use crate::consensus::{Decision, Effect, Effects, Now, RoundNote};
use crate::types::{BlockId, Round, Step, TimerId, VoteKind};
use std::sync::Arc;

impl Tendermint {
    /// Fires rules until none applies. Each firing raises the round or the step, sets a once-per-round mark, or takes
    /// a block one state further, so this ends.
    pub(super) fn settle(&mut self, now: Now, out: &mut Effects<Tendermint>) {
        while self.fire_one(now, out) {}
    }

    fn fire_one(&mut self, now: Now, out: &mut Effects<Tendermint>) -> bool {
        match self.current.outcome {
            Outcome::Decided { .. } => return false,
            Outcome::Fetching { round, block_id } => return self.hand_over(round, block_id, out),
            Outcome::Open => {}
        }
        self.decide(out)
            || self.skip_round(now, out)
            || self.begin_early(now, out)
            || self.fetch_polka()
            || self.ask_application(out)
            || self.settle_old_prevote(now, out)
            || self.propose_valid(now, out)
            || self.prevote_on_proposal(now, out)
            || self.schedule_prevote_timeout(now, out)
            || self.lock_and_precommit(now, out)
            || self.update_valid(out)
            || self.precommit_nil(now, out)
            || self.schedule_precommit_timeout(now, out)
            || self.release_held_timeout(now, out)
    }

    /// Line 49, first half: 2f + 1 precommits for one block, in whatever round and with or without its proposal.
    fn decide(&mut self, out: &mut Effects<Tendermint>) -> bool {
        let Some((round, block_id)) = self.current.tally.decision() else { return false };
        self.current.outcome = Outcome::Fetching { round, block_id };
        self.current.blocks.want(block_id.parts);
        self.enter_step(Step::Commit, out);
        true
    }

    /// Line 49, second half: the block is here. Two thirds stand for it, so our application is not asked again; that
    /// it is well-formed and fits the state is checked by whoever executes it, and a failure there stops the node.
    fn hand_over(&mut self, round: Round, block_id: BlockId, out: &mut Effects<Tendermint>) -> bool {
        let state = &mut self.current;
        let precommits = state.tally.set(round, VoteKind::Precommit);
        let commit = precommits.and_then(|set| set.to_commit());
        let (Some(block), Some(commit)) = (state.blocks.block(&block_id).map(Arc::clone), commit) else {
            return false;
        };
        state.outcome = Outcome::Decided { round, block_id };
        out.push(Effect::Decide(Decision { block, commit }));
        true
    }

    /// Line 55: f + 1 validators are in a later round, so an honest one is.
    fn skip_round(&mut self, now: Now, out: &mut Effects<Tendermint>) -> bool {
        let Some(round) = self.current.tally.round_to_skip_to() else { return false };
        self.start_round(now, round, out);
        true
    }

    /// A complete proposal for round 0 ends the wait of NewHeight: the others have begun. The paper knows no such
    /// wait.
    fn begin_early(&mut self, now: Now, out: &mut Effects<Tendermint>) -> bool {
        let state = &self.current;
        let complete = |id: &BlockId| state.blocks.block(id).is_some();
        if state.step != Step::NewHeight || !state.proposal().is_some_and(|proposal| complete(&proposal.block_id)) {
            return false;
        }
        self.start_round(now, Round::ZERO, out);
        true
    }

    /// A block more than two thirds prevoted is worth having, whoever proposed it and whatever else was proposed to
    /// us: without it an equivocating proposer could keep us from locking with the others.
    fn fetch_polka(&mut self) -> bool {
        let Some(block_id) = self.current.polka() else { return false };
        if self.current.blocks.progress(&block_id) == Progress::Incomplete && !mutant!("T17") {
            self.current.blocks.want(block_id.parts);
        }
        false
    }

    /// Has the application check every block a rule now depends on, once.
    fn ask_application(&mut self, out: &mut Effects<Tendermint>) -> bool {
        let state = &mut self.current;
        if state.step == Step::NewHeight {
            return false;
        }
        let proposed = state.proposal().filter(|proposal| state.pol_is_here(proposal) && state.lock_permits(proposal));
        let awaited = match &state.proposing {
            Proposing::AwaitingCheck { block_id, .. } => Some(*block_id),
            _ => None,
        };
        let newest_polka = state.tally.polkas().next().map(|(_, id)| id);
        let wanted = [proposed.map(|proposal| proposal.block_id), awaited, state.polka(), newest_polka];
        let mut asked = false;
        for id in wanted.into_iter().flatten() {
            let Some(block) = state.blocks.with_verdict(&id, Verdict::Unasked) else { continue };
            state.blocks.judge(&id, Verdict::Asked);
            out.push(Effect::CheckBlock { height: state.start.height, round: state.round, block });
            asked = true;
        }
        asked
    }

    /// Lines 22-33: prevote for the proposal when it is valid and our lock permits, nil otherwise.
    fn prevote_on_proposal(&mut self, now: Now, out: &mut Effects<Tendermint>) -> bool {
        if !matches!(self.current.step, Step::NewRound | Step::Propose) {
            return false;
        }
        let Some(vote) = self.choice() else { return false };
        self.prevote(now, vote, out);
        true
    }

    /// What to prevote on this round's proposal; `None` while something is missing.
    fn choice(&self) -> Option<Option<BlockId>> {
        let state = &self.current;
        let proposal = state.proposal()?;
        let progress = state.blocks.progress(&proposal.block_id);
        if progress == Progress::Incomplete || !state.pol_is_here(proposal) {
            return None;
        }
        // Lines 23 and 29. CometBFT v0.38 prevotes the locked block here, whatever is proposed.
        if !state.lock_permits(proposal) {
            return Some(None);
        }
        match progress {
            Progress::Accepted => Some(Some(proposal.block_id)),
            Progress::Rejected => Some(None),
            Progress::Incomplete | Progress::Unknown => None,
        }
    }

    /// After a restart: our prevote was on its way to the signer before the crash; the answer it rests on is here.
    fn settle_old_prevote(&mut self, now: Now, out: &mut Effects<Tendermint>) -> bool {
        let state = &mut self.current;
        let key = (state.round, VoteKind::Prevote);
        // The journal of one who is no validator, or signs no more, has steps too; there is no vote to ask for.
        if state.own_seat().is_none() || !matches!(state.own.get(&key), Some(OwnVote::Undetermined)) {
            return false;
        }
        let precommitted = state.own.contains_key(&(state.round, VoteKind::Precommit));
        match self.choice() {
            _ if precommitted => {
                // The signer would refuse: a precommit of this round was asked for already.
                self.current.own.insert(key, OwnVote::Cast);
            }
            None => return false,
            Some(vote) => self.cast(now, VoteKind::Prevote, vote, out),
        }
        true
    }

    /// Line 34: 2f + 1 prevotes for whatever, for the first time.
    fn schedule_prevote_timeout(&mut self, now: Now, out: &mut Effects<Tendermint>) -> bool {
        let state = &mut self.current;
        let enough = state.tally.has_two_thirds_any(state.round, VoteKind::Prevote);
        if state.step != Step::Prevote || state.prevote_timer_set || !enough {
            return false;
        }
        // A majority that lets us precommit at once needs no timer.
        let nil = state.tally.majority(state.round, VoteKind::Prevote) == Some(None);
        let accepted = state.polka().is_some_and(|id| state.blocks.progress(&id) == Progress::Accepted);
        if (nil || accepted) && !mutant!("T34") {
            return false;
        }
        state.prevote_timer_set = true;
        self.enter_step(Step::PrevoteWait, out);
        self.set_timer(now, Step::PrevoteWait, out);
        true
    }

    /// Lines 36-41: 2f + 1 prevotes for a block that is here and valid: lock it and precommit.
    fn lock_and_precommit(&mut self, now: Now, out: &mut Effects<Tendermint>) -> bool {
        if !matches!(self.current.step, Step::Prevote | Step::PrevoteWait) {
            return false;
        }
        let Some(block_id) = self.current.polka() else { return false };
        if self.current.blocks.progress(&block_id) != Progress::Accepted && !mutant!("T20") {
            return false;
        }
        self.lock(block_id, out);
        self.precommit(now, Some(block_id), out);
        true
    }

    /// Lines 38-39 and 42-43: a lock moves only here, to a block with a quorum of prevotes in a later round.
    pub(super) fn lock(&mut self, block_id: BlockId, out: &mut Effects<Tendermint>) {
        let state = &mut self.current;
        let (height, round) = (state.start.height, state.round);
        match state.locked {
            Some((_, id)) if id == block_id => out.push(Effect::Note(RoundNote::Relock { height, round })),
            Some(_) => {
                out.push(Effect::Note(RoundNote::Unlock { height, round }));
                out.push(Effect::Note(RoundNote::Lock { height, round }));
            }
            None => out.push(Effect::Note(RoundNote::Lock { height, round })),
        }
        state.locked = (!mutant!("T3")).then_some((round, block_id));
        self.set_valid(round, block_id, out);
    }

    fn set_valid(&mut self, round: Round, block_id: BlockId, out: &mut Effects<Tendermint>) {
        let state = &mut self.current;
        if state.valid.is_none_or(|(valid_round, _)| valid_round < round) {
            state.valid = Some((round, block_id));
            out.push(Effect::Note(RoundNote::ValidBlock { height: state.start.height, round }));
        }
    }

    /// Lines 36 and 42-43 after we precommitted, and for a round we have left: late prevotes are as good a reason to
    /// propose the block again.
    fn update_valid(&mut self, out: &mut Effects<Tendermint>) -> bool {
        let state = &self.current;
        let in_time = |round: Round| round < state.round || state.step >= Step::Prevote || mutant!("T90");
        let newer = |round: Round| state.valid.is_none_or(|(valid_round, _)| valid_round < round);
        let found = state
            .tally
            .polkas()
            .find(|(round, id)| in_time(*round) && newer(*round) && state.blocks.progress(id) == Progress::Accepted);
        let Some((round, block_id)) = found else { return false };
        self.set_valid(round, block_id, out);
        true
    }

    /// Lines 44-46: 2f + 1 prevotes for nil. Our lock stays (CometBFT v0.38 gives it up here).
    fn precommit_nil(&mut self, now: Now, out: &mut Effects<Tendermint>) -> bool {
        let state = &self.current;
        let nil = state.tally.majority(state.round, VoteKind::Prevote) == Some(None);
        if !nil || !matches!(state.step, Step::Prevote | Step::PrevoteWait) {
            return false;
        }
        self.precommit(now, None, out);
        true
    }

    /// Line 47: 2f + 1 precommits for whatever, for the first time.
    fn schedule_precommit_timeout(&mut self, now: Now, out: &mut Effects<Tendermint>) -> bool {
        let state = &mut self.current;
        let enough = state.tally.has_two_thirds_any(state.round, VoteKind::Precommit);
        if (state.step == Step::NewHeight && !mutant!("T35")) || state.precommit_timer_set || !enough || mutant!("T14")
        {
            return false;
        }
        state.precommit_timer_set = true;
        self.set_timer(now, Step::PrecommitWait, out);
        true
    }

    /// A timeout that waited for the application counts once it has answered and nothing else came of it.
    fn release_held_timeout(&mut self, now: Now, out: &mut Effects<Tendermint>) -> bool {
        let state = &self.current;
        let Some(step) = state.held else { return false };
        let timer = TimerId { height: state.start.height, round: state.round, step };
        let still_waiting = match step {
            Step::Propose => state.step == Step::Propose && self.proposal_being_checked(),
            _ => matches!(state.step, Step::Prevote | Step::PrevoteWait) && self.polka_being_checked(),
        };
        if still_waiting {
            return false;
        }
        self.current.held = None;
        let counts = match step {
            Step::Propose => self.current.step == Step::Propose,
            _ => matches!(self.current.step, Step::Prevote | Step::PrevoteWait),
        };
        if counts && !mutant!("T102") {
            self.time_out(now, timer, out);
        }
        true
    }

    /// The proposal is complete, our lock permits it, and the application has yet to answer.
    pub(super) fn proposal_being_checked(&self) -> bool {
        let state = &self.current;
        state.proposal().is_some_and(|proposal| {
            state.blocks.progress(&proposal.block_id) == Progress::Unknown
                && state.pol_is_here(proposal)
                && state.lock_permits(proposal)
        })
    }

    /// More than two thirds prevoted a block that is here, and the application has yet to answer.
    pub(super) fn polka_being_checked(&self) -> bool {
        self.current.polka().is_some_and(|id| self.current.blocks.progress(&id) == Progress::Unknown)
    }
}
