//! Blame: no honest node calls an honest peer faulty, whatever the network did to what it said.

use crate::sim::{Checker, Scene, Seen, What};

/// Keeps nothing.
#[derive(Debug, Default)]
pub struct Blame;

impl Checker for Blame {
    fn name(&self) -> &'static str {
        "blame"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        match seen.what {
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
    use crate::sim::NodeNr;
    use crate::sim::check::story::Stage;
    use crate::types::Algorithm;

    #[test]
    fn a_liar_may_be_blamed_and_may_blame_but_the_honest_may_not_blame_each_other() {
        let mut stage = Stage::of(Algorithm::Pbft, 4, Blame).with_liar(3);
        stage.fine(0, What::Blamed { peer: NodeNr(3), why: "it lies" });
        stage.fine(3, What::Blamed { peer: NodeNr(0), why: "it does not" });
        let why = stage.wrong(0, What::Blamed { peer: NodeNr(1), why: "a vote of the past" });
        assert!(why.contains("node 1") && why.contains("a vote of the past"), "{why}");
    }
}
