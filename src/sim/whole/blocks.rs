//! Every block that was proposed, gathered from the parts nodes wrote to their journals and those they heard: an answer of
//! an application names a block by its hash only.

use crate::crypto::Hash;
use crate::sim::Word;
use crate::types::{BlockId, CandidateBlock, JournalMessage, JournalRecord, Part, PartSet, PartSetHeader};
use std::collections::VecDeque;
use std::sync::Arc;

/// Blocks and unfinished ones that are kept.
const KEPT_MAX: usize = 64;
/// Parts that are kept until their proposal comes: a proposer writes the parts first.
const LOOSE_MAX: usize = 512;
/// The newest whole blocks, of which more parts may come.
const KNOWN_LOOKED_AT: usize = 8;

/// Blocks by hash.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    whole: VecDeque<Arc<CandidateBlock>>,
    unfinished: VecDeque<PartSet>,
    loose: VecDeque<Part>,
}

impl Blocks {
    /// A node hears something.
    pub(super) fn hear(&mut self, word: &Word<'_>) {
        match word {
            Word::Proposal { proposal, .. } => self.expect(proposal.block_id.parts),
            Word::Part { part, .. } => self.keep(part),
            Word::Vote(_) | Word::Statement(_) | Word::Commit(_) => {}
        }
    }

    /// A node writes a record.
    pub(super) fn note(&mut self, record: &JournalRecord) {
        match record {
            JournalRecord::Message { message: JournalMessage::Proposal(proposal), .. } => {
                self.expect(proposal.block_id.parts);
            }
            JournalRecord::Message { message: JournalMessage::Part { part, .. }, .. } => self.keep(part),
            _ => {}
        }
    }

    /// The block with this hash. A liar may put something else behind the same header: that is another block.
    pub(super) fn find(&self, hash: &Hash) -> Option<&Arc<CandidateBlock>> {
        let mut alike = self.whole.iter().rev().filter(|block| block.id().hash == *hash);
        let first = alike.next()?;
        let whole = |block: &&Arc<CandidateBlock>| block.block().data_hash() == block.block().header.data_hash;
        Some(alike.find(whole).filter(|_| !whole(&first)).unwrap_or(first))
    }

    /// The block with this name.
    pub(super) fn named(&self, id: &BlockId) -> Option<&Arc<CandidateBlock>> {
        self.whole.iter().rev().find(|block| block.id() == *id)
    }

    fn keep(&mut self, part: &Part) {
        if !self.known(part) && !self.take(part) && !self.loose.contains(part) {
            push(&mut self.loose, part.clone(), LOOSE_MAX);
        }
    }

    /// True when the part is of a block that is whole.
    fn known(&self, part: &Part) -> bool {
        let has = |block: &Arc<CandidateBlock>| block.parts().parts().any(|known| known == part);
        self.whole.iter().rev().take(KNOWN_LOOKED_AT).any(has)
    }

    fn expect(&mut self, parts: PartSetHeader) {
        let whole = self.whole.iter().any(|block| block.id().parts == parts);
        if whole || self.unfinished.iter().any(|set| set.header() == parts) {
            return;
        }
        if let Some(set) = PartSet::gather(parts) {
            push(&mut self.unfinished, set, KEPT_MAX);
            for part in std::mem::take(&mut self.loose) {
                if !self.take(&part) {
                    self.loose.push_back(part);
                }
            }
        }
    }

    /// A part proves which of the unfinished it belongs to. False when it is none of them.
    fn take(&mut self, part: &Part) -> bool {
        let taken = |set: &mut PartSet| set.add(part.clone()).is_ok_and(|new| new);
        let Some(at) = self.unfinished.iter_mut().position(taken) else { return false };
        if self.unfinished[at].is_complete()
            && let Some(set) = self.unfinished.remove(at)
            && let Ok(block) = CandidateBlock::from_parts(set)
        {
            push(&mut self.whole, Arc::new(block), KEPT_MAX);
        }
        true
    }
}

fn push<T>(into: &mut VecDeque<T>, item: T, most: usize) {
    into.push_back(item);
    if into.len() > most {
        into.pop_front();
    }
}
