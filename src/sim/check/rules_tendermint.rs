//! Tendermint's rules, judged once more: each prevote, precommit and proposal of an honest node has a reason in what it
//! was told (arXiv 1807.04938, Algorithm 1, whose lines are cited).
//!
//! Never a false alarm: a node's knowledge is never more than what it heard and signed in all its lives ([`Knowledge`]),
//! so a reason that does not exist in the latter does not exist in the former. What it may have forgotten in a crash makes
//! it more careful, and being careful (a vote for nil after a timeout) is always allowed. An equivocator's votes count here
//! for everything it voted for, which again only adds reasons. Its lock may be newer than the last precommit it signed
//! (the crash fell between); then the block it is locked on had a polka, and that is enough here.

use super::book::{Knowledge, Known, PerNode, Sets};
use crate::sim::{Checker, Harm, NodeNr, Scene, Seen, What, Word};
use crate::types::{BlockId, Height, JournalRecord, Proposal, Round, Step, TimerId, ValidatorSet, Vote, VoteKind};
use std::time::Duration;

/// What each node was told, what it is locked on, and what it waited for in vain.
#[derive(Debug, Default)]
pub struct RulesTendermint {
    sets: Sets,
    knowledge: Knowledge,
    nodes: PerNode<State>,
}

#[derive(Debug, Default)]
struct State {
    height: Height,
    /// Lines 38 and 39: the newest block it precommitted at this height.
    lock: Option<(Round, BlockId)>,
    /// The last rounds it prevoted and precommitted in at this height.
    prevoted: Option<Round>,
    precommitted: Option<Round>,
    /// Timeouts that counted at this height; they are journaled first.
    timeouts: Vec<(Round, Step)>,
    /// Rounds of this height in which it came to prevote: in this life, and in those before it.
    came_to_prevote: Vec<Round>,
    prevoted_before: Vec<Round>,
}

impl Checker for RulesTendermint {
    fn name(&self) -> &'static str {
        "rules_tendermint"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        if !scene.is_honest(seen.node) {
            return Ok(());
        }
        match seen.what {
            What::Began { height, .. } => {
                self.sets.see(scene, seen);
                let state = self.nodes.of(seen.node);
                if state.height != height {
                    *state = State { height, ..State::default() };
                }
            }
            // It forgets, or its journal may rot, in which steps it was; its locks are the chain's safety, and held against
            // it still.
            What::Wiped => {
                let state = self.nodes.of(seen.node);
                (state.prevoted, state.precommitted) = (None, None);
                state.timeouts.clear();
            }
            // What it waited for in vain it may remember all the same.
            What::Harmed { what: Harm::Home } => {
                let state = self.nodes.of(seen.node);
                (state.prevoted, state.precommitted) = (None, None);
            }
            What::Started { .. } => {
                let state = self.nodes.of(seen.node);
                state.prevoted_before.append(&mut state.came_to_prevote);
            }
            What::Persisted(JournalRecord::RoundStep { height, round, step: Step::Prevote }) => {
                let state = self.nodes.of(seen.node);
                if state.height == *height {
                    state.came_to_prevote.push(*round);
                }
            }
            What::Persisted(JournalRecord::Timeout { timer, duration }) => {
                self.time_out(scene, seen.node, *timer, *duration)?;
            }
            What::Persisted(JournalRecord::RoundStep { height, round, step: Step::NewRound }) => {
                self.enter(scene, seen.node, (*height, *round))?;
            }
            What::Signed(Word::Vote(vote)) => self.vote(scene, seen.node, vote)?,
            What::Signed(Word::Proposal { proposal, .. }) => self.proposal(scene, seen.node, proposal)?,
            _ => {}
        }
        self.knowledge.see(scene, seen);
        Ok(())
    }
}

impl RulesTendermint {
    /// Lines 57, 61 and 65: a timeout counts in its step, after enough votes, and grows with the round.
    fn time_out(&mut self, scene: &Scene, node: NodeNr, timer: TimerId, duration: Duration) -> Result<(), String> {
        let TimerId { height, round, step } = timer;
        let state = self.nodes.of(node);
        let (Some(set), true) = (self.sets.at(scene, height), state.height == height) else { return Ok(()) };
        let wrong = |why: &str| Err(format!("the timeout of {step:?} in round {round} counts, and {why}"));
        let known = self.knowledge.of(node, height);
        let came = |kind| known.is_some_and(|known| known.votes.came_in(set, (round, kind)));
        let times = &scene.plan.timeouts;
        let (base, delta) = match step {
            Step::Propose => (times.propose, times.propose_delta),
            Step::PrevoteWait => (times.prevote, times.prevote_delta),
            Step::PrecommitWait => (times.precommit, times.precommit_delta),
            _ => return Ok(()),
        };
        if duration != base + delta * round.get() {
            return wrong("it does not grow with the round");
        }
        match step {
            Step::Propose if state.prevoted >= Some(round) => return wrong("line 57: it had prevoted"),
            Step::PrevoteWait if state.precommitted >= Some(round) => return wrong("line 61: it had precommitted"),
            Step::PrevoteWait if !came(VoteKind::Prevote) => return wrong("line 34: too few prevoted"),
            Step::PrecommitWait if !came(VoteKind::Precommit) => return wrong("line 47: too few precommitted"),
            _ => {}
        }
        state.timeouts.push((round, step));
        Ok(())
    }

    /// Lines 55 and 65: a later round begins when time was up in the one before, or more than a third is there.
    fn enter(&mut self, scene: &Scene, node: NodeNr, (height, round): (Height, Round)) -> Result<(), String> {
        let state = self.nodes.of(node);
        let (Some(set), true) = (self.sets.at(scene, height), state.height == height) else { return Ok(()) };
        let Some(before) = round.get().checked_sub(1).map(Round::new) else { return Ok(()) };
        let known = self.knowledge.of(node, height);
        let skips = known.is_some_and(|known| known.votes.are_there(set, round));
        if skips || state.timeouts.contains(&(before, Step::PrecommitWait)) {
            return Ok(());
        }
        Err(format!("lines 55 and 65: it enters round {round}, where no third is, and did not wait in round {before}"))
    }

    fn vote(&mut self, scene: &Scene, node: NodeNr, vote: &Vote) -> Result<(), String> {
        let state = self.nodes.of(node);
        let (Some(set), true) = (self.sets.at(scene, vote.height), state.height == vote.height) else { return Ok(()) };
        let nothing = Known::default();
        let case = Case {
            set,
            known: self.knowledge.of(node, vote.height).unwrap_or(&nothing),
            lock: state.lock,
            timeouts: &state.timeouts,
            may_have_prevoted: state.prevoted_before.contains(&vote.round),
            round: vote.round,
        };
        match (vote.kind, vote.block_id) {
            (VoteKind::Prevote, Some(id)) => case.prevote(id)?,
            (VoteKind::Prevote, None) => case.prevote_nil()?,
            (VoteKind::Precommit, Some(id)) => {
                case.precommit(id)?;
                state.lock = Some((vote.round, id));
            }
            (VoteKind::Precommit, None) => case.precommit_nil()?,
        }
        let last = match vote.kind {
            VoteKind::Prevote => &mut state.prevoted,
            VoteKind::Precommit => &mut state.precommitted,
        };
        *last = (*last).max(Some(vote.round));
        Ok(())
    }

    /// Lines 15 to 19: a block it is locked on, or one that had a later polka, is proposed again, with the round of its
    /// polka.
    fn proposal(&mut self, scene: &Scene, node: NodeNr, proposal: &Proposal) -> Result<(), String> {
        let Proposal { height, round, pol_round, block_id, .. } = *proposal;
        let state = self.nodes.of(node);
        let lock = state.lock.filter(|(locked, _)| state.height == height && *locked < round);
        if let Some((locked, _)) = lock
            && pol_round.is_none_or(|pol_round| pol_round < locked)
        {
            return Err(format!("line 15: it proposes {block_id:?} of {pol_round:?}, and is locked on {lock:?}"));
        }
        let (Some(set), Some(pol_round)) = (self.sets.at(scene, height), pol_round) else { return Ok(()) };
        let known = self.knowledge.of(node, height);
        let at = (pol_round, VoteKind::Prevote);
        let polka = known.is_some_and(|known| known.votes.agree(set, at, Some(block_id)));
        if pol_round >= round || !polka {
            return Err(format!("line 16: it proposes again what had no polka in round {pol_round}: {proposal:?}"));
        }
        Ok(())
    }
}

/// One vote, and all that may speak for it.
struct Case<'a> {
    set: &'a ValidatorSet,
    known: &'a Known,
    lock: Option<(Round, BlockId)>,
    timeouts: &'a [(Round, Step)],
    /// It came to prevote in this round in an earlier life: nobody but its key knows whether it did, and what.
    may_have_prevoted: bool,
    round: Round,
}

impl Case<'_> {
    fn polka(&self, round: Round, block: Option<BlockId>) -> bool {
        self.known.votes.agree(self.set, (round, VoteKind::Prevote), block)
    }

    fn timed_out(&self, step: Step) -> bool {
        self.timeouts.contains(&(self.round, step))
    }

    /// Lines 22 and 23, 28 and 29.
    fn prevote(&self, id: BlockId) -> Result<(), String> {
        let round = self.round;
        if !self.known.accepted.contains(&id) {
            return Err(format!("line 23: in round {round} it prevotes {id:?}, which its application did not accept"));
        }
        let mut proposed = false;
        for told in self.known.proposals.iter().filter(|told| (told.round, told.block) == (round, id)) {
            proposed = true;
            let lets = match told.pol_round {
                None => self.is_free_for(id),
                Some(pol_round) => {
                    let justified = pol_round < round && self.polka(pol_round, Some(id));
                    justified && (self.is_free_for(id) || self.lock.is_some_and(|(locked, _)| locked <= pol_round))
                }
            };
            if lets {
                return Ok(());
            }
        }
        if !proposed {
            return Err(format!("line 22: in round {round} it prevotes {id:?}, which nobody proposed to it"));
        }
        Err(format!("line 23 or 29: in round {round} it prevotes {id:?}, and is locked on {:?}", self.lock))
    }

    /// Not locked, locked on this block, or possibly locked on it again by a polka after the lock we know of.
    fn is_free_for(&self, id: BlockId) -> bool {
        let Some((locked, block)) = self.lock else { return true };
        block == id
            || self
                .known
                .votes
                .prevoted()
                .any(|round| locked < round && round < self.round && self.polka(round, Some(id)))
    }

    /// Lines 26, 32 and 59: the proposal did not come, is not valid, or is not what the lock allows. Or the node died when
    /// it came to prevote, and its signer refused the other prevote since (docs/protocol/tendermint.md).
    fn prevote_nil(&self) -> Result<(), String> {
        let told = || self.known.proposals.iter().filter(|told| told.round == self.round);
        let refused = told().any(|told| self.known.rejected.contains(&told.block));
        // A lock, or a polka that may have become one, is on another block.
        let other_lock = |block: BlockId| {
            let polkas = || self.known.votes.prevoted().filter(|round| *round < self.round);
            let locked = self.lock.is_some_and(|(_, locked)| locked != block);
            locked || self.known.accepted.iter().any(|id| *id != block && polkas().any(|at| self.polka(at, Some(*id))))
        };
        if self.timed_out(Step::Propose)
            || self.may_have_prevoted
            || refused
            || told().any(|told| other_lock(told.block))
        {
            return Ok(());
        }
        Err(format!("in round {} it prevotes nil, and neither waited in vain nor had anything to refuse", self.round))
    }

    /// Line 36: more than two thirds prevoted a valid block.
    fn precommit(&self, id: BlockId) -> Result<(), String> {
        let round = self.round;
        if !self.polka(round, Some(id)) {
            return Err(format!("line 36: in round {round} it precommits {id:?} without its polka"));
        }
        if !self.known.accepted.contains(&id) {
            return Err(format!(
                "line 36: in round {round} it precommits {id:?}, which its application did not accept"
            ));
        }
        Ok(())
    }

    /// Lines 44 and 61: more than two thirds prevoted nil, or whatever, and time was up.
    fn precommit_nil(&self) -> Result<(), String> {
        let waited =
            self.timed_out(Step::PrevoteWait) && self.known.votes.came_in(self.set, (self.round, VoteKind::Prevote));
        if waited || self.polka(self.round, None) {
            return Ok(());
        }
        Err(format!("lines 44 and 61: in round {} it precommits nil without a reason", self.round))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::check::story::{Stage, block, precommit, prevote, proposal};
    use crate::types::{Algorithm, CandidateBlock};
    use std::sync::Arc;

    /// Node 0 is watched; it and the others sit where they sit.
    fn stage() -> Stage<RulesTendermint> {
        let mut stage = Stage::of(Algorithm::Tendermint, 4, RulesTendermint::default());
        stage.begin(0, 1);
        stage
    }

    fn propose(stage: &mut Stage<RulesTendermint>, round: u32, block: &Arc<CandidateBlock>, pol_round: Option<u32>) {
        stage.hears_proposal(0, 1, &proposal(1, 1, round, block.id(), pol_round));
        stage.accepts(0, block);
    }

    fn polka(stage: &mut Stage<RulesTendermint>, round: u32, block: Option<&Arc<CandidateBlock>>) {
        let scene = stage.scene.clone();
        for node in 1..4 {
            stage.hears_vote(0, node, &prevote(&scene, node, (1, round), block.map(|block| block.id())));
        }
    }

    fn time_out(stage: &mut Stage<RulesTendermint>, round: u32, step: Step) {
        assert_eq!(try_time_out(stage, round, step, 0), Ok(()));
    }

    fn try_time_out(stage: &mut Stage<RulesTendermint>, round: u32, step: Step, more: u64) -> Result<(), String> {
        let timer = TimerId { height: Height::new(1), round: Round::new(round), step };
        let base = if step == Step::Propose { 1000 } else { 300 };
        let duration = Duration::from_millis(base + 200 * u64::from(round) + more);
        stage.see(0, What::Persisted(&JournalRecord::Timeout { timer, duration }))
    }

    fn enters(stage: &mut Stage<RulesTendermint>, round: u32) -> Result<(), String> {
        let (height, round) = (Height::new(1), Round::new(round));
        stage.see(0, What::Persisted(&JournalRecord::RoundStep { height, round, step: Step::NewRound }))
    }

    fn votes(
        stage: &mut Stage<RulesTendermint>,
        kind: VoteKind,
        round: u32,
        block: Option<&Arc<CandidateBlock>>,
    ) -> Result<(), String> {
        let scene = stage.scene.clone();
        let id = block.map(|block| block.id());
        let vote = match kind {
            VoteKind::Prevote => prevote(&scene, 0, (1, round), id),
            VoteKind::Precommit => precommit(&scene, 0, (1, round), id),
        };
        stage.see(0, What::Signed(Word::Vote(&vote)))
    }

    use VoteKind::{Precommit, Prevote};

    /// Proposed, prevoted by all, precommitted: node 0 is locked on it.
    fn lock(stage: &mut Stage<RulesTendermint>, round: u32, block: &Arc<CandidateBlock>) {
        propose(stage, round, block, None);
        assert_eq!(votes(stage, Prevote, round, Some(block)), Ok(()));
        polka(stage, round, Some(block));
        assert_eq!(votes(stage, Precommit, round, Some(block)), Ok(()));
    }

    #[test]
    fn a_round_that_works_and_one_that_times_out_are_fine() {
        let mut stage = stage();
        time_out(&mut stage, 0, Step::Propose);
        assert_eq!(votes(&mut stage, Prevote, 0, None), Ok(()));
        polka(&mut stage, 0, None);
        assert_eq!(votes(&mut stage, Precommit, 0, None), Ok(()));
        lock(&mut stage, 1, &block(1, "a"));
    }

    #[test]
    fn line_22_a_prevote_for_what_was_not_proposed_in_the_round_is_caught() {
        let mut stage = stage();
        let (a, b) = (block(1, "a"), block(1, "b"));
        propose(&mut stage, 0, &a, None);
        stage.accepts(0, &b);
        assert!(votes(&mut stage, Prevote, 0, Some(&b)).unwrap_err().starts_with("line 22"));
        assert!(votes(&mut stage, Prevote, 1, Some(&a)).unwrap_err().starts_with("line 22"));
    }

    #[test]
    fn line_23_a_prevote_for_what_the_application_did_not_accept_is_caught() {
        let mut stage = stage();
        let a = block(1, "a");
        stage.hears_proposal(0, 1, &proposal(1, 1, 0, a.id(), None));
        assert!(votes(&mut stage, Prevote, 0, Some(&a)).is_err());
        stage.fine(0, What::Checked { block: &a, accepted: false });
        assert!(votes(&mut stage, Prevote, 0, Some(&a)).is_err());
        assert_eq!(votes(&mut stage, Prevote, 0, None), Ok(()));
    }

    #[test]
    fn line_23_a_prevote_against_the_lock_is_caught_also_after_a_crash() {
        let mut stage = stage();
        lock(&mut stage, 0, &block(1, "a"));
        let b = block(1, "b");
        propose(&mut stage, 1, &b, None);
        assert!(votes(&mut stage, Prevote, 1, Some(&b)).unwrap_err().contains("locked"));
        stage.fine(0, What::Started { life: 1 });
        stage.begin(0, 1);
        assert!(votes(&mut stage, Prevote, 1, Some(&b)).unwrap_err().contains("locked"));
        assert_eq!(votes(&mut stage, Prevote, 1, None), Ok(()));
        propose(&mut stage, 2, &block(1, "a"), None);
        assert_eq!(votes(&mut stage, Prevote, 2, Some(&block(1, "a"))), Ok(()));
    }

    #[test]
    fn line_29_a_later_polka_frees_from_the_lock_and_an_earlier_one_does_not() {
        let mut stage = stage();
        let (a, b) = (block(1, "a"), block(1, "b"));
        polka(&mut stage, 0, Some(&b));
        lock(&mut stage, 1, &a);
        propose(&mut stage, 3, &b, Some(0));
        assert!(votes(&mut stage, Prevote, 3, Some(&b)).unwrap_err().contains("locked"));
        polka(&mut stage, 2, Some(&b));
        propose(&mut stage, 4, &b, Some(2));
        assert_eq!(votes(&mut stage, Prevote, 4, Some(&b)), Ok(()));
    }

    #[test]
    fn line_28_a_proof_of_lock_that_does_not_exist_or_is_not_earlier_is_caught() {
        let mut stage = stage();
        let a = block(1, "a");
        propose(&mut stage, 1, &a, Some(0));
        assert!(votes(&mut stage, Prevote, 1, Some(&a)).is_err());
        polka(&mut stage, 0, Some(&a));
        assert_eq!(votes(&mut stage, Prevote, 1, Some(&a)), Ok(()));
        propose(&mut stage, 2, &a, Some(2));
        polka(&mut stage, 2, Some(&a));
        assert!(votes(&mut stage, Prevote, 2, Some(&a)).is_err());
    }

    #[test]
    fn line_36_a_precommit_without_a_polka_or_without_a_valid_block_is_caught() {
        let mut stage = stage();
        let a = block(1, "a");
        propose(&mut stage, 0, &a, None);
        let scene = stage.scene.clone();
        for node in 1..3 {
            stage.hears_vote(0, node, &prevote(&scene, node, (1, 0), Some(a.id())));
        }
        assert!(votes(&mut stage, Precommit, 0, Some(&a)).unwrap_err().contains("polka"));
        let b = block(1, "b");
        polka(&mut stage, 1, Some(&b));
        assert!(votes(&mut stage, Precommit, 1, Some(&b)).unwrap_err().contains("application"));
    }

    #[test]
    fn one_member_counted_twice_is_no_polka() {
        let mut stage = stage();
        let a = block(1, "a");
        propose(&mut stage, 0, &a, None);
        let scene = stage.scene.clone();
        for node in [1, 1, 1, 2, 2] {
            stage.hears_vote(0, node, &prevote(&scene, node, (1, 0), Some(a.id())));
        }
        assert!(votes(&mut stage, Precommit, 0, Some(&a)).is_err());
    }

    #[test]
    fn nil_without_a_reason_is_caught() {
        let mut stage = stage();
        propose(&mut stage, 0, &block(1, "a"), None);
        assert!(votes(&mut stage, Prevote, 0, None).is_err());
        assert!(votes(&mut stage, Precommit, 0, None).is_err());
        assert!(try_time_out(&mut stage, 0, Step::PrevoteWait, 0).unwrap_err().contains("too few"));
        polka(&mut stage, 0, Some(&block(1, "a")));
        assert!(votes(&mut stage, Precommit, 0, None).is_err());
        time_out(&mut stage, 0, Step::PrevoteWait);
        assert_eq!(votes(&mut stage, Precommit, 0, None), Ok(()));
    }

    #[test]
    fn line_16_an_old_block_proposed_without_its_polka_is_caught() {
        let mut stage = stage();
        let a = block(1, "a");
        let again = proposal(0, 1, 2, a.id(), Some(1));
        assert!(stage.wrong(0, What::Signed(Word::Proposal { by: None, proposal: &again })).starts_with("line 16"));
        polka(&mut stage, 1, Some(&a));
        stage.proposes(0, &again);
    }

    #[test]
    fn line_15_a_proposer_that_ignores_its_lock_is_caught_also_after_a_crash() {
        let mut stage = stage();
        let (a, b) = (block(1, "a"), block(1, "b"));
        lock(&mut stage, 0, &a);
        stage.fine(0, What::Started { life: 1 });
        stage.begin(0, 1);
        let fresh = proposal(0, 1, 1, b.id(), None);
        assert!(stage.wrong(0, What::Signed(Word::Proposal { by: None, proposal: &fresh })).starts_with("line 15"));
        stage.proposes(0, &proposal(0, 1, 1, a.id(), Some(0)));
    }

    #[test]
    fn a_timeout_that_is_late_or_too_short_or_comes_without_the_votes_is_caught() {
        let mut stage = stage();
        assert!(try_time_out(&mut stage, 2, Step::Propose, 1).unwrap_err().contains("grow"));
        let a = block(1, "a");
        lock(&mut stage, 0, &a);
        assert!(try_time_out(&mut stage, 0, Step::Propose, 0).unwrap_err().contains("line 57"));
        assert!(try_time_out(&mut stage, 0, Step::PrevoteWait, 0).unwrap_err().contains("line 61"));
        assert!(try_time_out(&mut stage, 0, Step::PrecommitWait, 0).unwrap_err().contains("line 47"));
    }

    #[test]
    fn lines_55_and_65_a_round_entered_too_early_is_caught() {
        let mut stage = stage();
        assert_eq!(enters(&mut stage, 0), Ok(()));
        assert!(enters(&mut stage, 1).unwrap_err().starts_with("lines 55 and 65"));
        let scene = stage.scene.clone();
        // One member of four, twice.
        stage.hears_vote(0, 1, &prevote(&scene, 1, (1, 1), None));
        stage.hears_vote(0, 1, &precommit(&scene, 1, (1, 1), None));
        assert!(enters(&mut stage, 1).is_err());
        stage.hears_vote(0, 2, &precommit(&scene, 2, (1, 1), None));
        assert_eq!(enters(&mut stage, 1), Ok(()));
        (1..4).for_each(|node| stage.hears_vote(0, node, &precommit(&scene, node, (1, 1), None)));
        time_out(&mut stage, 1, Step::PrecommitWait);
        assert_eq!(enters(&mut stage, 2), Ok(()));
    }

    /// Seed 73000237 of level 2: it had prevoted nil, lost everything, and waited for the proposal again.
    #[test]
    fn who_lost_its_disk_may_wait_again_for_what_it_waited_for_before() {
        let mut stage = stage();
        time_out(&mut stage, 0, Step::Propose);
        assert_eq!(votes(&mut stage, Prevote, 0, None), Ok(()));
        assert!(try_time_out(&mut stage, 0, Step::Propose, 0).is_err());
        stage.fine(0, What::Wiped);
        time_out(&mut stage, 0, Step::Propose);
    }

    /// Seed 91000488 of level 2: its store rotted, its journal told it of the timeout, and it signed nil once more.
    #[test]
    fn whose_store_rotted_remembers_what_it_waited_for_and_whose_disk_is_gone_does_not() {
        for (lost, remembers) in [(What::Harmed { what: Harm::Home }, true), (What::Wiped, false)] {
            let mut stage = stage();
            time_out(&mut stage, 0, Step::Propose);
            stage.fine(0, lost);
            stage.fine(0, What::Started { life: 1 });
            stage.begin(0, 1);
            assert_eq!(votes(&mut stage, Prevote, 0, None).is_ok(), remembers);
        }
    }

    #[test]
    fn who_died_when_it_came_to_prevote_may_fall_back_on_nil_and_who_did_not_may_not() {
        let mut stage = stage();
        let (height, round) = (Height::new(1), Round::ZERO);
        stage.fine(0, What::Persisted(&JournalRecord::RoundStep { height, round, step: Step::Prevote }));
        assert!(votes(&mut stage, Prevote, 0, None).is_err());
        stage.fine(0, What::Started { life: 1 });
        stage.begin(0, 1);
        assert_eq!(votes(&mut stage, Prevote, 0, None), Ok(()));
        assert!(votes(&mut stage, Prevote, 1, None).is_err(), "another round");
    }
}
