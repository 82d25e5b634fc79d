//! Decided blocks kept for peers that lag behind: the latest, so that the usual lag of one block needs no load, and a
//! few older ones while somebody needs them.

use super::Decided;
use crate::types::{BitArray, CommitSig, ExtendedCommit, Height, Vote, VoteKind};
use std::collections::{BTreeMap, BTreeSet};

/// Decided blocks in memory.
pub const DECIDED_BLOCKS_MAX: usize = 4;
/// Decided blocks being read at once.
pub const LOADS_MAX: usize = 4;

/// A decided block and which precommits it has.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) decided: Decided,
    pub(super) voted: BitArray,
}

/// Decided blocks by height.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    kept: BTreeMap<Height, Kept>,
    loading: BTreeSet<Height>,
}

impl Shelf {
    pub(super) fn get(&self, height: Height) -> Option<&Kept> {
        self.kept.get(&height)
    }

    /// Keeps a block. Over the limit the lowest height nobody is at goes, or the lowest; never the latest.
    pub(super) fn keep(&mut self, decided: Decided, mut needed: impl FnMut(Height) -> bool) {
        let mut voted = BitArray::new(decided.commit.signatures.len());
        for (index, entry) in decided.commit.signatures.iter().enumerate() {
            if entry.sig.signed().is_some() {
                voted.set(index);
            }
        }
        let height = decided.commit.height;
        self.kept.insert(height, Kept { decided, voted });
        if self.kept.len() > DECIDED_BLOCKS_MAX {
            let latest = self.kept.keys().next_back().copied();
            let mut others = self.kept.keys().filter(|other| Some(**other) != latest && **other != height).copied();
            let lowest = others.clone().next();
            if let Some(height) = others.find(|height| !needed(*height)).or(lowest) {
                self.kept.remove(&height);
            }
        }
    }

    /// True when a block should be read now: it is not here, not on its way, and not too many are.
    pub(super) fn begin_load(&mut self, height: Height) -> bool {
        !self.kept.contains_key(&height)
            && (self.loading.len() < LOADS_MAX || mutant!("G16"))
            && self.loading.insert(height)
    }

    /// A read is over.
    pub(super) fn end_load(&mut self, height: Height) {
        self.loading.remove(&height);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }
}

/// The precommit in a commit at this position.
pub(super) fn vote_at(commit: &ExtendedCommit, index: u32) -> Option<Vote> {
    let entry = commit.signatures.get(index as usize)?;
    let (block_id, part) = match &entry.sig {
        CommitSig::Absent => return None,
        CommitSig::Commit(part) => (Some(commit.block_id), part),
        CommitSig::Nil(part) => (None, part),
    };
    Some(Vote {
        kind: VoteKind::Precommit,
        height: commit.height,
        round: commit.round,
        block_id,
        timestamp: part.timestamp,
        validator_address: part.validator_address,
        validator_index: index,
        signature: part.signature,
        extension: entry.extension.clone(),
        extension_signature: entry.extension_signature,
    })
}
