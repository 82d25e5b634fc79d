//! PBFT's rules, judged once more (Castro and Liskov, OSDI '99; how it is done here: docs/protocol/pbft.md): PREPARE only
//! what the primary of an active view proposed and its NEW-VIEW allows, COMMIT only what is prepared, and never hide in a
//! VIEW-CHANGE what one may have helped to commit.
//!
//! Never a false alarm: a replica's knowledge is never more than what it heard and signed in all its lives. Where that
//! leaves several mandates for a view, any of them will do. A NEW-VIEW counts only if it follows from its VIEW-CHANGEs,
//! computed here anew: a backup that takes one on trust has no mandate.

use super::book::{Knowledge, PerHeight, PerNode, Sets, same_people};
use super::patience::Patience;
use super::proofs::{Proofs, new_view, view_change};
use crate::sim::{Checker, NodeNr, Scene, Seen, What, Word};
use crate::types::{BlockId, ExtendedCommit, Height, Proposal, Round, Statement, ValidatorSet, Vote, VoteKind};

/// What each replica was told, and which views were shown to be at work.
#[derive(Debug, Default)]
pub struct RulesPbft {
    sets: Sets,
    knowledge: Knowledge,
    nodes: PerNode<State>,
    /// The views in which a height was committed, as far as anybody honest saw a commit of it.
    committed: PerHeight<Vec<Round>>,
    patience: Patience,
}

#[derive(Debug, Default)]
struct State {
    height: Height,
    /// NEW-VIEWs of this height and its neighbours.
    new_views: Vec<Mandate>,
    /// The newest block it COMMITted at this height.
    commit: Option<(Round, BlockId)>,
}

/// A NEW-VIEW that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mandate {
    height: Height,
    view: Round,
    chosen: Option<BlockId>,
}

impl Checker for RulesPbft {
    fn name(&self) -> &'static str {
        "rules_pbft"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        if !scene.is_honest(seen.node) {
            return Ok(());
        }
        match seen.what {
            What::Began { height, .. } => {
                self.sets.see(scene, seen);
                self.begin(seen.node, height);
            }
            What::Decided { commit, .. } => self.note_commit(scene, commit),
            What::Heard { word: Word::Commit(commit), .. } => self.note_commit(scene, commit),
            What::Heard { word: Word::Statement(statement), .. } => self.note_statement(scene, seen.node, statement),
            What::Signed(Word::Statement(statement)) => {
                self.leave(seen.node, statement)?;
                self.note_statement(scene, seen.node, statement);
            }
            What::Signed(Word::Vote(vote)) => self.vote(scene, seen.node, vote)?,
            What::Signed(Word::Proposal { proposal, .. }) => self.pre_prepare(scene, seen.node, proposal)?,
            _ => {}
        }
        self.knowledge.see(scene, seen);
        self.patience.see(scene, &self.sets, seen)
    }
}

impl RulesPbft {
    fn begin(&mut self, node: NodeNr, height: Height) {
        let state = self.nodes.of(node);
        if state.height != height {
            state.new_views.retain(|made| made.height.next() >= height);
            state.commit = None;
            state.height = height;
        }
    }

    fn note_commit(&mut self, scene: &Scene, commit: &ExtendedCommit) {
        if let Some(views) = self.committed.of(scene, commit.height)
            && !views.contains(&commit.round)
        {
            views.push(commit.round);
        }
    }

    /// Commits travel in VIEW-CHANGEs, and those in NEW-VIEWs, too.
    fn note_statement(&mut self, scene: &Scene, node: NodeNr, statement: &Statement) {
        if let Some(commit) = view_change(statement).and_then(|change| change.checkpoint) {
            self.note_commit(scene, commit);
        }
        let Some(made) = new_view(statement) else { return };
        for commit in made.changes.iter().filter_map(view_change).filter_map(|change| change.checkpoint) {
            self.note_commit(scene, commit);
        }
        let proofs = Proofs { scene, sets: &self.sets, signed: None };
        let by_primary = self.sets.at(scene, made.height).is_none_or(|set| primary(set, made.view) == statement.by);
        let mandate = Mandate { height: made.height, view: made.view, chosen: made.chosen };
        let state = self.nodes.of(node);
        let near = made.height.next() >= state.height && made.height <= state.height.next();
        if near && by_primary && !state.new_views.contains(&mandate) && proofs.new_view(&made).is_ok() {
            state.new_views.push(mandate);
        }
    }

    /// §4.4: a VIEW-CHANGE shows what may have been committed with its author's help.
    fn leave(&mut self, node: NodeNr, statement: &Statement) -> Result<(), String> {
        let Some(change) = view_change(statement) else { return Ok(()) };
        let state = self.nodes.of(node);
        let Some((view, block)) = state.commit.filter(|_| change.height == state.height) else { return Ok(()) };
        let shown = change
            .prepared
            .is_some_and(|prepared| prepared.view > view || (prepared.view == view && prepared.block_id == block));
        if shown {
            return Ok(());
        }
        Err(format!("§4.4: it COMMITted {block:?} in view {view}, and leaves with {:?}", change.prepared))
    }

    fn vote(&mut self, scene: &Scene, node: NodeNr, vote: &Vote) -> Result<(), String> {
        let (height, view) = (vote.height, vote.round);
        let Some(set) = self.sets.at(scene, height) else { return Ok(()) };
        let Some(block) = vote.block_id else { return Err(format!("a vote for nothing: {vote:?}")) };
        let by = primary(set, view);
        let known = self.knowledge.of(node, height);
        let proposed = known.is_some_and(|known| {
            known.proposals.iter().any(|told| (told.round, told.block, told.by) == (view, block, Some(by)))
        });
        if !proposed {
            return Err(format!("§4.2: it votes for what the primary of view {view} did not propose to it: {vote:?}"));
        }
        match vote.kind {
            VoteKind::Prevote => {
                if !known.is_some_and(|known| known.accepted.contains(&block)) {
                    return Err(format!("§4.2: it PREPAREs what its application did not accept: {vote:?}"));
                }
                self.mandate(scene, node, (height, view), block)
            }
            VoteKind::Precommit => {
                let prepare = (view, VoteKind::Prevote);
                let prepared = known.is_some_and(|known| known.votes.agree(set, prepare, Some(block)));
                let own = known.is_some_and(|known| known.votes.voted(prepare, vote.validator_index, Some(block)));
                if !prepared || !own {
                    return Err(format!("§4.2: it COMMITs what is not prepared with its help: {vote:?}"));
                }
                self.nodes.of(node).commit = Some((view, block));
                Ok(())
            }
        }
    }

    fn pre_prepare(&mut self, scene: &Scene, node: NodeNr, proposal: &Proposal) -> Result<(), String> {
        if proposal.pol_round.is_some() {
            return Err(format!("a PRE-PREPARE with a proof of lock: {proposal:?}"));
        }
        self.mandate(scene, node, (proposal.height, proposal.round), proposal.block_id)
    }

    /// What makes a view active, and what it allows (docs/protocol/pbft.md, "What makes a view active").
    fn mandate(
        &self,
        scene: &Scene,
        node: NodeNr,
        (height, view): (Height, Round),
        block: BlockId,
    ) -> Result<(), String> {
        if view == Round::ZERO && height == scene.initial_height {
            return Ok(());
        }
        let before = height.previous();
        let sets = |at: Height| self.sets.at(scene, at);
        let same = before.and_then(sets).zip(sets(height)).is_some_and(|(one, other)| same_people(one, other));
        let committed = before.and_then(|before| self.committed.get(scene, before));
        if same && committed.is_some_and(|views| views.contains(&view)) {
            return Ok(());
        }
        let made = self.nodes.get(node).map_or(&[][..], |state| &state.new_views);
        let allows = |made: &Mandate| {
            let here = made.height == height && made.chosen.is_none_or(|chosen| chosen == block);
            made.view == view && (here || (same && Some(made.height) == before))
        };
        if made.iter().any(allows) {
            return Ok(());
        }
        Err(format!("§4.4: at height {height} view {view} is not at work for {block:?}; its NEW-VIEWs are {made:?}"))
    }
}

/// p = v mod n (§4.1).
fn primary(set: &ValidatorSet, view: Round) -> crate::types::Address {
    let members = set.members();
    members[view.get() as usize % members.len()].address
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::check::story::{Stage, block, commit, pbft, precommit, prevote, proposal};
    use crate::types::{Algorithm, CandidateBlock, PbftStatement, PreparedCertificate};
    use std::sync::Arc;

    /// Node 0 is watched.
    fn stage() -> Stage<RulesPbft> {
        let mut stage = Stage::of(Algorithm::Pbft, 4, RulesPbft::default());
        stage.begin(0, 1);
        stage
    }

    fn told(stage: &mut Stage<RulesPbft>, view: u32, block: &Arc<CandidateBlock>) {
        let (height, primary) = (block.block().header.height.get(), stage.primary(view));
        let told = proposal(primary, height, view, block.id(), None);
        let by = Some(stage.scene.addresses[usize::from(primary)]);
        stage.fine(0, What::Heard { from: NodeNr(primary), word: Word::Proposal { by, proposal: &told } });
        stage.accepts(0, block);
    }

    fn prepares(stage: &mut Stage<RulesPbft>, view: u32, block: &Arc<CandidateBlock>) -> Result<(), String> {
        let height = block.block().header.height.get();
        let vote = prevote(&stage.scene, 0, (height, view), Some(block.id()));
        stage.see(0, What::Signed(Word::Vote(&vote)))
    }

    fn commits(stage: &mut Stage<RulesPbft>, view: u32, block: &Arc<CandidateBlock>) -> Result<(), String> {
        let vote = precommit(&stage.scene, 0, (1, view), Some(block.id()));
        stage.see(0, What::Signed(Word::Vote(&vote)))
    }

    fn hears_prepares(stage: &mut Stage<RulesPbft>, view: u32, block: &Arc<CandidateBlock>, nodes: &[u8]) {
        let scene = stage.scene.clone();
        nodes.iter().for_each(|node| {
            stage.hears_vote(0, *node, &prevote(&scene, *node, (1, view), Some(block.id())));
        });
    }

    fn change(scene: &Scene, node: u8, view: u32, prepared: Option<PreparedCertificate>) -> Statement {
        let (view, height) = (Round::new(view), Height::new(1));
        pbft(scene, node, PbftStatement::ViewChange { view, height, checkpoint: None, prepared })
    }

    fn certificate(scene: &Scene, view: u32, block: &Arc<CandidateBlock>) -> PreparedCertificate {
        let block_id = block.id();
        let prepares = (0..3).map(|node| prevote(scene, node, (1, view), Some(block_id))).collect();
        PreparedCertificate { height: Height::new(1), view: Round::new(view), block_id, prepares }
    }

    fn new_view(scene: &Scene, by: u8, view_changes: Vec<Statement>, chosen: Option<BlockId>) -> Statement {
        let (view, height) = (Round::new(1), Height::new(1));
        pbft(scene, by, PbftStatement::NewView { view, height, view_changes, chosen })
    }

    #[test]
    fn prepare_and_commit_in_the_first_view_and_prepare_at_the_next_height_are_fine() {
        let mut stage = stage();
        let a = block(1, "a");
        told(&mut stage, 0, &a);
        assert_eq!(prepares(&mut stage, 0, &a), Ok(()));
        hears_prepares(&mut stage, 0, &a, &[1, 2]);
        assert_eq!(commits(&mut stage, 0, &a), Ok(()));
        let commit = commit(&stage.scene, 1, 0, a.id(), &[0, 1, 2]);
        stage.fine(0, What::Decided { block: &a, commit: &commit });
        stage.begin(0, 2);
        let b = block(2, "b");
        told(&mut stage, 0, &b);
        assert_eq!(prepares(&mut stage, 0, &b), Ok(()));
    }

    #[test]
    fn s4_2_a_prepare_for_what_the_primary_did_not_propose_or_the_application_refused_is_caught() {
        let mut stage = stage();
        let (a, b) = (block(1, "a"), block(1, "b"));
        told(&mut stage, 0, &a);
        stage.accepts(0, &b);
        assert!(prepares(&mut stage, 0, &b).unwrap_err().contains("did not propose"));
        let liar = (stage.primary(0) + 1) % 4;
        let by = Some(stage.scene.addresses[usize::from(liar)]);
        let told = proposal(liar, 1, 0, b.id(), None);
        stage.fine(0, What::Heard { from: NodeNr(liar), word: Word::Proposal { by, proposal: &told } });
        assert!(prepares(&mut stage, 0, &b).unwrap_err().contains("did not propose"));
        let (c, primary) = (block(1, "c"), stage.primary(0));
        stage.hears_proposal(0, primary, &proposal(primary, 1, 0, c.id(), None));
        assert!(prepares(&mut stage, 0, &c).unwrap_err().contains("accept"));
    }

    #[test]
    fn s4_2_a_commit_of_what_is_not_prepared_is_caught() {
        let mut stage = stage();
        let a = block(1, "a");
        told(&mut stage, 0, &a);
        assert_eq!(prepares(&mut stage, 0, &a), Ok(()));
        hears_prepares(&mut stage, 0, &a, &[1]);
        assert!(commits(&mut stage, 0, &a).unwrap_err().contains("not prepared"));
    }

    #[test]
    fn s4_2_a_commit_without_an_own_prepare_and_a_vote_for_nothing_are_caught() {
        let mut stage = stage();
        let a = block(1, "a");
        told(&mut stage, 0, &a);
        hears_prepares(&mut stage, 0, &a, &[1, 2, 3]);
        assert!(commits(&mut stage, 0, &a).unwrap_err().contains("not prepared"));
        let nothing = prevote(&stage.scene, 0, (1, 0), None);
        stage.wrong(0, What::Signed(Word::Vote(&nothing)));
    }

    #[test]
    fn s4_4_a_prepare_in_a_view_without_a_mandate_is_caught() {
        let mut stage = stage();
        let a = block(1, "a");
        told(&mut stage, 1, &a);
        assert!(prepares(&mut stage, 1, &a).unwrap_err().contains("not at work"));
        let scene = stage.scene.clone();
        let primary = stage.primary(1);
        let changes: Vec<Statement> = (0..3).map(|node| change(&scene, node, 1, None)).collect();
        // Of one who is not the primary; of too few; and then as it should be.
        let wrong = new_view(&scene, (primary + 1) % 4, changes.clone(), None);
        let few = new_view(&scene, primary, changes[..2].to_vec(), None);
        for bad in [wrong, few] {
            stage.fine(0, What::Heard { from: NodeNr(1), word: Word::Statement(&bad) });
            assert!(prepares(&mut stage, 1, &a).unwrap_err().contains("not at work"));
        }
        let good = new_view(&scene, primary, changes, None);
        stage.fine(0, What::Heard { from: NodeNr(primary), word: Word::Statement(&good) });
        assert_eq!(prepares(&mut stage, 1, &a), Ok(()));
    }

    #[test]
    fn s4_4_another_block_than_the_new_view_chose_is_caught_at_the_backup_and_at_the_primary() {
        let mut stage = stage();
        let (a, b) = (block(1, "a"), block(1, "b"));
        let scene = stage.scene.clone();
        let primary = stage.primary(1);
        let mut changes: Vec<Statement> = (0..2).map(|node| change(&scene, node, 1, None)).collect();
        changes.push(change(&scene, 2, 1, Some(certificate(&scene, 0, &a))));
        let lie = new_view(&scene, primary, changes.clone(), None);
        let made = new_view(&scene, primary, changes, Some(a.id()));
        for node in [0, primary] {
            stage.fine(node, What::Heard { from: NodeNr(primary), word: Word::Statement(&lie) });
            stage.fine(node, What::Heard { from: NodeNr(primary), word: Word::Statement(&made) });
        }
        told(&mut stage, 1, &b);
        assert!(prepares(&mut stage, 1, &b).unwrap_err().contains("not at work"));
        let free = proposal(primary, 1, 1, b.id(), None);
        stage.wrong(primary, What::Signed(Word::Proposal { by: None, proposal: &free }));
        told(&mut stage, 1, &a);
        assert_eq!(prepares(&mut stage, 1, &a), Ok(()));
    }

    #[test]
    fn s4_4_a_view_change_that_hides_what_was_committed_is_caught_also_after_a_crash() {
        let mut stage = stage();
        let (a, b) = (block(1, "a"), block(1, "b"));
        told(&mut stage, 0, &a);
        assert_eq!(prepares(&mut stage, 0, &a), Ok(()));
        hears_prepares(&mut stage, 0, &a, &[1, 2]);
        assert_eq!(commits(&mut stage, 0, &a), Ok(()));
        stage.fine(0, What::Started { life: 1 });
        stage.begin(0, 1);
        let scene = stage.scene.clone();
        for hides in [None, Some(certificate(&scene, 0, &b))] {
            let leaves = change(&scene, 0, 1, hides);
            assert!(stage.wrong(0, What::Signed(Word::Statement(&leaves))).contains("leaves with"));
        }
        let shows = change(&scene, 0, 1, Some(certificate(&scene, 0, &a)));
        stage.fine(0, What::Signed(Word::Statement(&shows)));
    }

    #[test]
    fn a_view_of_another_set_is_no_mandate() {
        let mut stage = stage();
        let a = block(1, "a");
        let commit = commit(&stage.scene, 1, 0, a.id(), &[0, 1, 2]);
        stage.fine(0, What::Decided { block: &a, commit: &commit });
        let other = stage.other_set();
        stage.fine(0, What::Began { height: Height::new(2), validators: &other });
        let b = block(2, "b");
        let by = Some(other.members()[0].address);
        let told = proposal(0, 2, 0, b.id(), None);
        stage.fine(0, What::Heard { from: NodeNr(1), word: Word::Proposal { by, proposal: &told } });
        stage.accepts(0, &b);
        assert!(prepares(&mut stage, 0, &b).unwrap_err().contains("not at work"));
    }
}
