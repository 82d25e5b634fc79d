//! Every block that was proposed, gathered from the parts nodes wrote to their journals: an answer of an application
//! names a block by its hash only.

use crate::crypto::Hash;
use crate::types::{CandidateBlock, JournalMessage, JournalRecord, Part, PartSet, PartSetHeader};
use std::collections::VecDeque;
use std::sync::Arc;

/// Blocks and unfinished ones that are kept.
const KEPT_MAX: usize = 64;
/// Parts that are kept until their proposal comes: a proposer writes the parts first.
const LOOSE_MAX: usize = 512;

/// Blocks by hash.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    whole: VecDeque<Arc<CandidateBlock>>,
    unfinished: VecDeque<PartSet>,
    loose: VecDeque<Part>,
}

impl Blocks {
    /// A node writes a record.
    pub(super) fn note(&mut self, record: &JournalRecord) {
        match record {
            JournalRecord::Message { message: JournalMessage::Proposal(proposal), .. } => {
                self.expect(proposal.block_id.parts);
            }
            JournalRecord::Message { message: JournalMessage::Part { part, .. }, .. }
                if !self.take(part) && !self.loose.contains(part) =>
            {
                push(&mut self.loose, part.clone(), LOOSE_MAX);
            }
            _ => {}
        }
    }

    /// The block with this hash.
    pub(super) fn find(&self, hash: &Hash) -> Option<&Arc<CandidateBlock>> {
        self.whole.iter().rev().find(|block| block.id().hash == *hash)
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
