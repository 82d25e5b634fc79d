//! The last blocks decided, for peers a few heights behind: what proves the newest is not in block sync yet, and a chain
//! that decides a block every few milliseconds is not caught by asking for one now and then.

use crate::types::{CandidateBlock, ExtendedCommit, Height};
use std::collections::VecDeque;
use std::sync::Arc;

/// Blocks kept at most: more than a second of small ones, so that whoever comes from fetching finds the next one here.
/// Whoever is further behind fetches.
pub const RECENT_BLOCKS_MAX: usize = 128;
/// Bytes kept at most, in all blocks but the newest, which is kept whatever it has.
pub const RECENT_BYTES_MAX: u64 = 32 << 20;

/// Decided blocks of consecutive heights, with their commits.
#[derive(Debug, Clone, Default)]
pub struct Recent {
    /// Oldest first.
    blocks: VecDeque<(Arc<CandidateBlock>, ExtendedCommit)>,
    bytes: u64,
}

impl Recent {
    /// Adds the newest block. What does not stand right before it is forgotten.
    pub fn push(&mut self, block: Arc<CandidateBlock>, commit: ExtendedCommit) {
        let follows = self.newest().is_some_and(|newest| Some(newest) == commit.height.previous());
        if !follows && !mutant!("R90") {
            self.blocks.clear();
            self.bytes = 0;
        }
        self.bytes += block.parts().byte_size();
        self.blocks.push_back((block, commit));
        while self.blocks.len() > RECENT_BLOCKS_MAX || (self.blocks.len() > 1 && self.bytes > RECENT_BYTES_MAX) {
            let Some((oldest, _)) = self.blocks.pop_front() else { break };
            self.bytes -= if mutant!("R91") { 0 } else { oldest.parts().byte_size() };
        }
    }

    /// The block of this height and its commit.
    pub fn get(&self, height: Height) -> Option<(&Arc<CandidateBlock>, &ExtendedCommit)> {
        let oldest = self.blocks.front()?.1.height;
        let place = usize::try_from(height.get().checked_sub(oldest.get())?).ok()?;
        self.blocks.get(place).map(|(block, commit)| (block, commit))
    }

    /// Height of the newest block.
    pub fn newest(&self) -> Option<Height> {
        self.blocks.back().map(|(_, commit)| commit.height)
    }
}
