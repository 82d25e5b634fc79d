//! What applications do beside executing blocks: they extend votes, and refuse blocks they do not like.

use crate::sim::{Dice, Plan};
use crate::types::{Algorithm, BlockId, Height};
use bytes::Bytes;

/// What a seed draws for the applications beside its plan.
#[derive(Debug)]
pub(super) struct Habits {
    /// From which height on precommits have extensions.
    pub(super) extensions_from: Option<Height>,
    /// Blocks of a hundred that applications refuse.
    refused: u64,
    dice: Dice,
    /// Those they refuse: all of them, whenever they are asked, as ABCI wants it (requirement 5).
    unwanted: Vec<BlockId>,
}

impl Habits {
    /// From dice of their own: what seeds drew before applications had habits stays what it was.
    pub(super) fn draw(plan: &Plan) -> Habits {
        let mut dice = Dice::new(plan.seed).fork("applications");
        let extended = plan.algorithm != Algorithm::Raft && dice.chance(30);
        let extensions_from = extended.then(|| Height::new(dice.between(1, 3)));
        let refused = if dice.chance(20) { *dice.pick(&[5, 20, 50]).unwrap_or(&5) } else { 0 };
        Habits { extensions_from, refused, dice, unwanted: Vec::new() }
    }

    /// A block was built, which nobody may want.
    pub(super) fn taste(&mut self, block: BlockId) {
        if self.refused > 0 && self.dice.chance(self.refused) {
            self.unwanted.push(block);
        }
    }

    /// True when no application wants it.
    pub(super) fn refuse(&self, block: &BlockId) -> bool {
        self.unwanted.contains(block)
    }
}

/// What the application adds to precommits of a height.
pub(super) fn extension(height: Height) -> Bytes {
    Bytes::copy_from_slice(&height.get().to_be_bytes())
}
