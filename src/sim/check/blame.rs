//! Blame: no honest node calls an honest peer faulty, whatever the network did to what it said. Unless the peer's home or
//! disk was harmed: it may promise blocks that it cannot read.

use crate::sim::{Checker, Harm, NodeNr, Scene, Seen, What};
use std::collections::BTreeSet;

/// Whose home or disk was ever harmed.
#[derive(Debug, Default)]
pub struct Blame {
    harmed: BTreeSet<NodeNr>,
}

impl Checker for Blame {
    fn name(&self) -> &'static str {
        "blame"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        match seen.what {
            What::Harmed { what: Harm::Home | Harm::Disk } => {
                self.harmed.insert(seen.node);
                Ok(())
            }
            What::Blamed { peer, .. } if self.harmed.contains(&peer) => Ok(()),
            What::Blamed { peer, why } if scene.is_honest(seen.node) && scene.is_honest(peer) => {
                Err(format!("node {}, which behaves, is called faulty: {why}", peer.0))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::check::story::Stage;
    use crate::types::Algorithm;

    #[test]
    fn a_liar_may_be_blamed_and_may_blame_but_the_honest_may_not_blame_each_other() {
        let mut stage = Stage::of(Algorithm::Pbft, 4, Blame::default()).with_liar(3);
        stage.fine(0, What::Blamed { peer: NodeNr(3), why: "it lies" });
        stage.fine(3, What::Blamed { peer: NodeNr(0), why: "it does not" });
        let why = stage.wrong(0, What::Blamed { peer: NodeNr(1), why: "a vote of the past" });
        assert!(why.contains("node 1") && why.contains("a vote of the past"), "{why}");
    }

    #[test]
    fn who_promises_a_block_that_rotted_may_be_blamed() {
        let why = "it left out block 1 twice when it was asked for it";
        for (harm, excused) in [(Harm::Home, true), (Harm::Disk, true), (Harm::Signer, false), (Harm::Program, false)] {
            let mut stage = Stage::of(Algorithm::Raft, 4, Blame::default());
            stage.fine(1, What::Harmed { what: harm });
            stage.wrong(0, What::Blamed { peer: NodeNr(2), why });
            let blamed = stage.see(0, What::Blamed { peer: NodeNr(1), why });
            assert_eq!(blamed.is_ok(), excused, "{harm:?}");
        }
    }
}
