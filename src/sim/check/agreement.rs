//! Agreement: no two honest nodes decide differently, nobody decides twice, heights come one after the other.

use crate::sim::{Checker, NodeNr, Scene, Seen, What};
use crate::types::{BlockId, Height};
use std::collections::BTreeMap;

/// What was decided by whom.
#[derive(Debug, Default)]
pub struct Agreement {
    decided: BTreeMap<Height, (BlockId, NodeNr)>,
    /// By node: the last height it applied in this life.
    applied: BTreeMap<NodeNr, Height>,
}

impl Checker for Agreement {
    fn name(&self) -> &'static str {
        "agreement"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        if !scene.is_honest(seen.node) {
            return Ok(());
        }
        match seen.what {
            What::Decided { block, commit } => self.decide(seen.node, commit.height, block.id()),
            What::Applied { height, block_id, .. } => {
                self.decide(seen.node, height, block_id)?;
                let before = self.applied.insert(seen.node, height);
                match before {
                    Some(before) if before.next() != height => {
                        Err(format!("height {height} was applied after height {before}"))
                    }
                    _ => Ok(()),
                }
            }
            What::Started { .. } => {
                self.applied.remove(&seen.node);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Agreement {
    fn decide(&mut self, node: NodeNr, height: Height, block: BlockId) -> Result<(), String> {
        match self.decided.get(&height) {
            Some((other, who)) if *other != block => {
                Err(format!("at height {height} node {} decided {other:?}, node {} {block:?}", who.0, node.0))
            }
            Some(_) => Ok(()),
            None => {
                self.decided.insert(height, (block, node));
                Ok(())
            }
        }
    }
}
