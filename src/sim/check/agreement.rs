//! Agreement: at each height all honest nodes have the same validators, decide the same block, byte by byte, and have the
//! same state after it. Nobody decides twice, and heights come one after the other.

use super::book::{PerHeight, PerNode};
use crate::sim::{Checker, Harm, NodeNr, Scene, Seen, What};
use crate::types::{BlockId, CandidateBlock, Height, ValidatorSet};
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;

/// What stands at each height, and who said so first.
#[derive(Debug, Default)]
pub struct Agreement {
    heights: PerHeight<Fixed>,
    nodes: PerNode<Progress>,
}

/// What must be the same everywhere.
#[derive(Debug, Default)]
struct Fixed {
    validators: Option<(Arc<ValidatorSet>, NodeNr)>,
    block_id: Option<(BlockId, NodeNr)>,
    block: Option<(Arc<CandidateBlock>, NodeNr)>,
    app_hash: Option<(Bytes, NodeNr)>,
    next_validators: Option<(Arc<ValidatorSet>, NodeNr)>,
}

#[derive(Debug, Default)]
struct Progress {
    /// The last height applied in this life.
    applied: Option<Height>,
    /// The highest one applied in any life.
    ever: Option<Height>,
    program: Program,
}

/// What a node's application computes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    /// The same as the others.
    #[default]
    Same,
    /// What it likes, until it begins anew. The node must stop, or stand still where too many do so, which the world sees
    /// to; blocks must be the same all the same.
    Another,
}

impl Program {
    /// Looks for a change.
    pub(super) fn see(&mut self, what: &What<'_>) {
        match what {
            What::Harmed { what: Harm::Program } => *self = Program::Another,
            What::Wiped => *self = Program::Same,
            _ => {}
        }
    }
}

impl Checker for Agreement {
    fn name(&self) -> &'static str {
        "agreement"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        self.nodes.of(seen.node).program.see(&seen.what);
        match seen.what {
            What::Decided { block, commit } if scene.is_honest(seen.node) => {
                let Some(fixed) = self.heights.of(scene, commit.height) else {
                    return Err(format!("height {} was decided out of nowhere", commit.height));
                };
                same(&mut fixed.block_id, seen.node, commit.height, &block.id(), "block")?;
                same(&mut fixed.block, seen.node, commit.height, block, "bytes of the block")
            }
            What::Applied { height, block_id, app_hash, next_validators } if scene.is_honest(seen.node) => {
                self.advance(scene, seen.node, height)?;
                let Some(fixed) = self.heights.of(scene, height) else {
                    return Err(format!("height {height} was applied out of nowhere"));
                };
                same(&mut fixed.block_id, seen.node, height, &block_id, "block")?;
                if self.nodes.of(seen.node).program == Program::Same {
                    same(&mut fixed.app_hash, seen.node, height, app_hash, "application's hash")?;
                }
                same(&mut fixed.next_validators, seen.node, height, next_validators, "next validators")
            }
            What::Began { height, validators } if scene.is_honest(seen.node) => {
                let Some(fixed) = self.heights.of(scene, height) else {
                    return Err(format!("height {height} was taken up out of nowhere"));
                };
                same(&mut fixed.validators, seen.node, height, validators, "validators")?;
                self.named_before(scene, height, validators)
            }
            What::Started { .. } => {
                self.nodes.of(seen.node).applied = None;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Agreement {
    /// One height after the other; after a restart from anywhere up to where it was.
    fn advance(&mut self, scene: &Scene, node: NodeNr, height: Height) -> Result<(), String> {
        let progress = self.nodes.of(node);
        let skips = |before: Height| height > before.next();
        match (progress.applied, progress.ever) {
            (Some(before), _) if before.next() != height => {
                return Err(format!("height {height} was applied after height {before}"));
            }
            (None, Some(before)) if skips(before) => {
                return Err(format!("height {height} was applied after a restart, but none above {before} before it"));
            }
            (None, None) if height != scene.initial_height => {
                return Err(format!("height {height} was applied first, and not {}", scene.initial_height));
            }
            _ => {}
        }
        progress.applied = Some(height);
        progress.ever = progress.ever.max(Some(height));
        Ok(())
    }

    /// Who decides a height was said two heights before.
    fn named_before(&self, scene: &Scene, height: Height, validators: &Arc<ValidatorSet>) -> Result<(), String> {
        let before = height.previous().and_then(Height::previous).and_then(|before| self.heights.get(scene, before));
        match before.and_then(|fixed| fixed.next_validators.as_ref()) {
            Some((named, who)) if named != validators => Err(format!(
                "height {height} was taken up with other validators than node {} had named two heights before",
                who.0
            )),
            _ => Ok(()),
        }
    }
}

/// The first one says what it is, the others must say the same.
fn same<T: Clone + PartialEq + fmt::Debug>(
    slot: &mut Option<(T, NodeNr)>,
    node: NodeNr,
    height: Height,
    value: &T,
    what: &str,
) -> Result<(), String> {
    match slot {
        None => {
            *slot = Some((value.clone(), node));
            Ok(())
        }
        Some((first, _)) if first == value => Ok(()),
        Some((first, who)) => Err(format!(
            "at height {height} the {what} of node {} is {first:?}, that of node {} is {value:?}",
            who.0, node.0
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::check::story::{Stage, block, commit};
    use crate::types::Algorithm;

    fn stage() -> Stage<Agreement> {
        Stage::of(Algorithm::Tendermint, 4, Agreement::default())
    }

    #[test]
    fn the_same_block_and_state_at_every_node_are_fine_also_after_a_restart() {
        let mut stage = stage();
        for height in 1..4 {
            let decided = block(height, "a");
            for node in 0..4 {
                stage.begin(node, height);
                let commit = commit(&stage.scene, height, 0, decided.id(), &[0, 1, 2]);
                stage.fine(node, What::Decided { block: &decided, commit: &commit });
                stage.apply(node, height, decided.id(), "state");
            }
        }
        stage.fine(1, What::Started { life: 1 });
        stage.apply(1, 3, block(3, "a").id(), "state");
    }

    #[test]
    fn two_blocks_at_one_height_are_caught() {
        let mut stage = stage();
        for (node, tag) in [(0, "a"), (1, "b")] {
            let decided = block(1, tag);
            let commit = commit(&stage.scene, 1, 0, decided.id(), &[0, 1, 2]);
            let told = stage.see(node, What::Decided { block: &decided, commit: &commit });
            assert_eq!(told.is_err(), node == 1, "{told:?}");
        }
    }

    #[test]
    fn a_block_applied_that_is_not_the_one_decided_is_caught() {
        let mut stage = stage();
        let decided = block(1, "a");
        let commit = commit(&stage.scene, 1, 0, decided.id(), &[0, 1, 2]);
        stage.fine(0, What::Decided { block: &decided, commit: &commit });
        assert!(stage.try_apply(2, 1, block(1, "b").id(), "state").is_err());
    }

    #[test]
    fn two_states_after_one_block_are_caught() {
        let mut stage = stage();
        stage.apply(0, 1, block(1, "a").id(), "state");
        let told = stage.try_apply(1, 1, block(1, "a").id(), "another");
        assert!(told.unwrap_err().contains("application's hash"));
    }

    /// That some fault of the plan may make it compute another is no excuse before it has, and none once it began anew.
    #[test]
    fn only_an_application_that_was_made_to_may_compute_another_hash_until_it_begins_anew() {
        let mut stage = stage();
        let decided = block(1, "a").id();
        stage.apply(0, 1, decided, "state");
        stage.fine(1, What::Harmed { what: Harm::Answer });
        assert!(stage.try_apply(1, 1, decided, "another").is_err());
        stage.fine(2, What::Harmed { what: Harm::Program });
        stage.apply(2, 1, decided, "another");
        stage.fine(2, What::Wiped);
        stage.fine(2, What::Started { life: 1 });
        assert!(stage.try_apply(2, 1, decided, "another").is_err());
        stage.fine(2, What::Started { life: 2 });
        stage.apply(2, 1, decided, "state");
    }

    #[test]
    fn other_validators_than_those_of_the_others_or_those_named_before_are_caught() {
        let mut stage = stage();
        let other = stage.other_set();
        stage.begin(0, 1);
        assert!(stage.wrong(1, What::Began { height: Height::new(1), validators: &other }).contains("validators"));
        stage.apply(0, 1, block(1, "a").id(), "state");
        assert!(stage.wrong(1, What::Began { height: Height::new(3), validators: &other }).contains("named"));
    }

    #[test]
    fn a_height_left_out_is_caught_also_across_a_restart() {
        let mut stage = stage();
        stage.apply(0, 1, block(1, "a").id(), "state");
        assert!(stage.try_apply(0, 3, block(3, "a").id(), "state").is_err());
        assert!(stage.try_apply(0, 1, block(1, "a").id(), "state").is_err(), "twice");
        stage.fine(0, What::Started { life: 1 });
        assert!(stage.try_apply(0, 3, block(3, "a").id(), "state").is_err());
        assert!(stage.try_apply(3, 2, block(2, "a").id(), "state").is_err(), "not from the beginning");
    }

    #[test]
    fn what_liars_decide_does_not_count() {
        let mut stage = stage().with_liar(3);
        stage.apply(0, 1, block(1, "a").id(), "state");
        assert_eq!(stage.try_apply(3, 1, block(1, "b").id(), "whatever"), Ok(()));
    }
}
