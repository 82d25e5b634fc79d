//! Certificates: every commit is of distinct members of the set of its height with enough power, each for that block, and
//! the honest ones among them really signed that. The same for PBFT's prepared certificates and NEW-VIEWs, whose choice
//! is computed anew.

use super::book::{PerNode, Sets, Signatures, printed};
use super::proofs::{Proofs, new_view, view_change};
use crate::sim::{Checker, Level, Scene, Seen, What, Word};
use crate::types::{CommitSig, ExtendedCommit, ExtendedCommitSig, Statement};

/// Who decides which height, and what each honest key signed.
#[derive(Debug, Default)]
pub struct Certificates {
    sets: Sets,
    signed: PerNode<Signatures>,
    /// The commit that was found good last: the same one is said to everybody.
    good: Option<ExtendedCommit>,
}

impl Checker for Certificates {
    fn name(&self) -> &'static str {
        "certificates"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        if !scene.is_honest(seen.node) {
            return Ok(());
        }
        match seen.what {
            What::Began { .. } => self.sets.see(scene, seen),
            What::Signed(Word::Statement(statement)) => return self.statement(scene, statement),
            What::Signed(word) => {
                if let Some((place, print)) = printed(&word) {
                    self.signed.of(seen.node).push(place, print);
                }
            }
            What::Decided { block, commit } => {
                if commit.block_id != block.id() {
                    return Err(format!("a block was decided by the commit of another one, {:?}", commit.block_id));
                }
                extended(scene, commit)?;
                return self.commit(scene, commit);
            }
            What::Said { word: Word::Commit(commit), .. } | What::Heard { word: Word::Commit(commit), .. } => {
                return self.commit(scene, commit);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Where a height requires extensions, every precommit that decides it has one, and elsewhere none has. Whole nodes may
/// fetch a block of the past without them.
fn extended(scene: &Scene, commit: &ExtendedCommit) -> Result<(), String> {
    let required = scene.extends(commit.height);
    let wrong = |entry: &ExtendedCommitSig| {
        matches!(entry.sig, CommitSig::Commit(_)) && entry.extension_signature.is_some() != required
    };
    match commit.signatures.iter().position(wrong) {
        Some(place) if scene.plan.level == Level::Bare => Err(format!(
            "height {} is decided with a precommit at place {place} whose extension {}",
            commit.height,
            if required { "is missing" } else { "does not belong there" }
        )),
        _ => Ok(()),
    }
}

impl Certificates {
    fn proofs<'a>(&'a self, scene: &'a Scene) -> Proofs<'a> {
        Proofs { scene, sets: &self.sets, signed: Some(&self.signed) }
    }

    fn commit(&mut self, scene: &Scene, commit: &ExtendedCommit) -> Result<(), String> {
        if self.good.as_ref().is_some_and(|good| good.height == commit.height && good == commit) {
            return Ok(());
        }
        self.proofs(scene).commit(commit)?;
        self.good = Some(commit.clone());
        Ok(())
    }

    /// What an honest replica of PBFT states with proofs in it.
    fn statement(&self, scene: &Scene, statement: &Statement) -> Result<(), String> {
        let proofs = self.proofs(scene);
        match (view_change(statement), new_view(statement)) {
            (Some(change), _) => proofs.change(&change, change.height),
            (None, Some(made)) => proofs.new_view(&made),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::NodeNr;
    use crate::sim::check::story::{Stage, block, commit, pbft, precommit, prevote};
    use crate::types::{Algorithm, Height, PbftStatement, PreparedCertificate, Round};

    fn stage(algorithm: Algorithm) -> Stage<Certificates> {
        let mut stage = Stage::of(algorithm, 4, Certificates::default());
        stage.begin(0, 1);
        stage
    }

    /// These nodes precommit block `a` at height 1 in round 0.
    fn committed(algorithm: Algorithm, nodes: &[u8]) -> (Stage<Certificates>, ExtendedCommit) {
        let mut stage = stage(algorithm);
        let scene = stage.scene.clone();
        let id = block(1, "a").id();
        nodes.iter().for_each(|node| stage.signs(*node, &precommit(&scene, *node, (1, 0), Some(id))));
        let commit = commit(&scene, 1, 0, id, nodes);
        (stage, commit)
    }

    fn heard(commit: &ExtendedCommit) -> What<'_> {
        What::Heard { from: NodeNr(1), word: Word::Commit(commit) }
    }

    #[test]
    fn a_height_decided_without_the_extensions_it_requires_is_caught() {
        let (mut stage, commit) = committed(Algorithm::Tendermint, &[0, 1, 2]);
        (stage.scene.plan.level, stage.scene.extensions_from) = (Level::Bare, Some(Height::FIRST));
        assert!(stage.wrong(0, What::Decided { block: &block(1, "a"), commit: &commit }).contains("is missing"));
    }

    #[test]
    fn three_of_four_are_a_commit_in_all_protocols_and_two_in_none() {
        for algorithm in Algorithm::ALL {
            let (mut stage, commit) = committed(algorithm, &[0, 1, 2]);
            stage.fine(0, What::Decided { block: &block(1, "a"), commit: &commit });
            let (mut stage, commit) = committed(algorithm, &[0, 1]);
            assert!(stage.wrong(0, heard(&commit)).contains("2 of 4"));
        }
    }

    #[test]
    fn half_of_the_power_and_one_are_enough_for_raft_alone() {
        for algorithm in Algorithm::ALL {
            let mut stage = Stage::of(algorithm, 5, Certificates::default());
            stage.begin(0, 1);
            let (scene, id) = (stage.scene.clone(), block(1, "a").id());
            [0, 1, 2].iter().for_each(|node| stage.signs(*node, &precommit(&scene, *node, (1, 0), Some(id))));
            let commit = commit(&scene, 1, 0, id, &[0, 1, 2]);
            assert_eq!(stage.see(0, heard(&commit)).is_ok(), algorithm == Algorithm::Raft);
        }
    }

    #[test]
    fn a_commit_with_a_vote_nobody_gave_is_caught() {
        let (mut stage, _) = committed(Algorithm::Tendermint, &[0, 1]);
        let commit = commit(&stage.scene, 1, 0, block(1, "a").id(), &[0, 1, 2]);
        assert!(stage.wrong(0, heard(&commit)).contains("node 2 signed"));
    }

    #[test]
    fn votes_for_another_block_and_for_another_round_do_not_count() {
        let (mut stage, _) = committed(Algorithm::Tendermint, &[0, 1, 2]);
        let other = commit(&stage.scene, 1, 0, block(1, "b").id(), &[0, 1, 2]);
        stage.wrong(0, heard(&other));
        let later = commit(&stage.scene, 1, 1, block(1, "a").id(), &[0, 1, 2]);
        stage.wrong(0, heard(&later));
    }

    #[test]
    fn nil_votes_do_not_count_and_members_stand_in_their_places() {
        let (mut stage, mut commit) = committed(Algorithm::Tendermint, &[0, 1, 2]);
        let signed = commit.signatures.iter_mut().find(|entry| entry.sig.signed().is_some()).expect("one");
        let part = signed.sig.signed().expect("it is").clone();
        signed.sig = CommitSig::Nil(part);
        stage.wrong(0, heard(&commit));
        let (mut stage, mut commit) = committed(Algorithm::Tendermint, &[0, 1, 2]);
        commit.signatures.swap(0, 1);
        commit.signatures.swap(2, 3);
        stage.wrong(0, heard(&commit));
        commit.signatures.pop();
        assert!(stage.wrong(0, heard(&commit)).contains("entries"));
    }

    #[test]
    fn a_block_decided_by_the_commit_of_another_is_caught() {
        let (mut stage, commit) = committed(Algorithm::Tendermint, &[0, 1, 2]);
        stage.wrong(0, What::Decided { block: &block(1, "b"), commit: &commit });
    }

    fn prepared(scene: &Scene, view: u32, tag: &str, nodes: &[u8]) -> PreparedCertificate {
        let block_id = block(1, tag).id();
        let prepares = nodes.iter().map(|node| prevote(scene, *node, (1, view), Some(block_id))).collect();
        PreparedCertificate { height: Height::new(1), view: Round::new(view), block_id, prepares }
    }

    fn change(scene: &Scene, node: u8, view: u32, prepared: Option<PreparedCertificate>) -> Statement {
        let (view, height) = (Round::new(view), Height::new(1));
        pbft(scene, node, PbftStatement::ViewChange { view, height, checkpoint: None, prepared })
    }

    /// Nodes 0 to 2 prepared block `a` in view 0, and 0 to 2 block `b` in view 1.
    fn pbft_stage() -> Stage<Certificates> {
        let mut stage = stage(Algorithm::Pbft);
        let scene = stage.scene.clone();
        for (view, tag) in [(0, "a"), (1, "b")] {
            let id = block(1, tag).id();
            (0..3).for_each(|node| stage.signs(node, &prevote(&scene, node, (1, view), Some(id))));
        }
        stage
    }

    #[test]
    fn a_view_change_with_a_certificate_is_fine_and_broken_certificates_are_caught() {
        let mut stage = pbft_stage();
        let scene = stage.scene.clone();
        let good = prepared(&scene, 0, "a", &[0, 1, 2]);
        stage.fine(0, What::Signed(Word::Statement(&change(&scene, 0, 1, Some(good.clone())))));
        let few = prepared(&scene, 0, "a", &[0, 1]);
        let twice = prepared(&scene, 0, "a", &[0, 1, 1]);
        let forged = prepared(&scene, 0, "a", &[0, 1, 3]);
        let mut mixed = good.clone();
        mixed.prepares[1].round = Round::new(1);
        for bad in [few, twice, forged, mixed] {
            stage.wrong(0, What::Signed(Word::Statement(&change(&scene, 0, 1, Some(bad)))));
        }
        let not_below = change(&scene, 0, 0, Some(good));
        stage.wrong(0, What::Signed(Word::Statement(&not_below)));
    }

    fn new_view(scene: &Scene, view_changes: Vec<Statement>, chosen: Option<&str>) -> Statement {
        let chosen = chosen.map(|tag| block(1, tag).id());
        let (view, height) = (Round::new(2), Height::new(1));
        pbft(scene, 2, PbftStatement::NewView { view, height, view_changes, chosen })
    }

    #[test]
    fn a_new_view_chooses_what_was_prepared_in_the_highest_view() {
        let mut stage = pbft_stage();
        let scene = stage.scene.clone();
        let older = change(&scene, 0, 2, Some(prepared(&scene, 0, "a", &[0, 1, 2])));
        let newer = change(&scene, 1, 2, Some(prepared(&scene, 1, "b", &[0, 1, 2])));
        let nothing = change(&scene, 3, 2, None);
        let all = vec![newer, older, nothing.clone()];
        stage.fine(2, What::Signed(Word::Statement(&new_view(&scene, all.clone(), Some("b")))));
        for chosen in [Some("a"), None] {
            let why = stage.wrong(2, What::Signed(Word::Statement(&new_view(&scene, all.clone(), chosen))));
            assert!(why.contains("chooses"), "{why}");
        }
        let few = all[..2].to_vec();
        assert!(stage.wrong(2, What::Signed(Word::Statement(&new_view(&scene, few, Some("b"))))).contains("2 of 4"));
        let twice = vec![nothing.clone(), nothing.clone(), nothing];
        assert!(stage.wrong(2, What::Signed(Word::Statement(&new_view(&scene, twice, None)))).contains("twice"));
    }

    #[test]
    fn a_view_change_above_the_first_height_needs_the_commit_below_it() {
        let mut stage = pbft_stage();
        let scene = stage.scene.clone();
        let leaves = |checkpoint| {
            let (view, height) = (Round::new(2), Height::new(2));
            pbft(&scene, 0, PbftStatement::ViewChange { view, height, checkpoint, prepared: None })
        };
        let id = block(1, "b").id();
        (0..3).for_each(|node| stage.signs(node, &precommit(&scene, node, (1, 1), Some(id))));
        stage.fine(0, What::Signed(Word::Statement(&leaves(Some(commit(&scene, 1, 1, id, &[0, 1, 2]))))));
        stage.wrong(0, What::Signed(Word::Statement(&leaves(None))));
        stage.wrong(0, What::Signed(Word::Statement(&leaves(Some(commit(&scene, 1, 1, id, &[0, 1]))))));
    }
}
