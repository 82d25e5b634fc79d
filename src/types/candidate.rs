//! A block with its name and its parts: computed once, shared by everyone who handles it.

use super::{Block, BlockId, PartSet};

/// A complete block on its way to being decided. Made by [`CandidateBlock::new`] (from a block we built) or
/// [`CandidateBlock::from_parts`] (from a gathered part set), both written in `codec`, so the three always agree.
#[derive(Debug, PartialEq, Eq)]
pub struct CandidateBlock {
    pub(crate) id: BlockId,
    pub(crate) block: Block,
    pub(crate) parts: PartSet,
}

impl CandidateBlock {
    /// Its full name.
    pub fn id(&self) -> BlockId {
        self.id
    }

    /// The block.
    pub fn block(&self) -> &Block {
        &self.block
    }

    /// The parts whose bytes are the encoded block.
    pub fn parts(&self) -> &PartSet {
        &self.parts
    }
}
