//! The blocks of one height on their way here: parts being gathered, blocks complete, and what the application said.
//!
//! A part belongs to the set its proof leads to, whatever round its message names: the root is what makes it genuine.
//! Sets are opened only for a header that a proposer signed or more than two thirds voted for, and forgotten as soon
//! as no rule can need them.

use super::BlockVerdict;
use crate::types::{BlockId, CandidateBlock, ConsensusParams, Part, PartSet, PartSetHeader, Round};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is known about a block that is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nobody asked yet.
    Unasked,
    /// The question is on its way.
    Asked,
    /// Valid, and the application accepts it.
    Accepted,
    /// Invalid, or the application rejects it.
    Rejected,
}

/// One block, by the header of its parts.
#[derive(Debug, Clone)]
enum Entry {
    /// Some parts are missing.
    Gathering(PartSet),
    /// All parts are here and decode.
    Complete(Arc<CandidateBlock>, Verdict),
    /// All parts are here, and they are no block or too large a one.
    Unusable,
}

/// How far a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Not all parts are here.
    Incomplete,
    /// Complete; the application has not answered yet.
    Unknown,
    /// Valid.
    Accepted,
    /// Not a block, another block than its name says, invalid, or rejected.
    Rejected,
}

/// What became of a part.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PartTaken {
    /// It is in; more are missing.
    Added,
    /// It was the last one.
    Completed,
    /// Nothing changed.
    Ignored(&'static str),
    /// No honest peer sends this.
    PeerFault(&'static str),
}

/// The blocks of one height.
#[derive(Debug, Clone)]
pub(crate) struct Blocks {
    entries: BTreeMap<PartSetHeader, Entry>,
    bytes_max: u64,
}

impl Blocks {
    pub(crate) fn new(params: &ConsensusParams) -> Blocks {
        let bytes_max = params.block.max_bytes.unwrap_or(PartSet::BLOCK_BYTES_MAX).min(PartSet::BLOCK_BYTES_MAX);
        Blocks { entries: BTreeMap::new(), bytes_max }
    }

    /// Most parts a block of this height may have (reference §4.10, proposal checks).
    pub(crate) fn parts_max(&self) -> u64 {
        self.bytes_max.saturating_sub(1) / PartSet::PART_BYTES as u64 + 1
    }

    /// Opens a set for these parts, if none is open. The number of parts must have been checked.
    pub(crate) fn want(&mut self, header: PartSetHeader) {
        if let (false, Some(set)) = (self.entries.contains_key(&header), PartSet::gather(header)) {
            self.entries.insert(header, Entry::Gathering(set));
        }
    }

    /// Takes a block we built, or that stands complete in the journal.
    pub(crate) fn insert(&mut self, block: Arc<CandidateBlock>) {
        let known = matches!(self.entries.get(&block.id().parts), Some(Entry::Complete(..)));
        if !known {
            self.entries.insert(block.id().parts, Entry::Complete(block, Verdict::Unasked));
        }
    }

    /// Puts a part where its proof says it belongs.
    pub(crate) fn add(&mut self, part: Part) -> PartTaken {
        let total = part.proof.total;
        let wanted = |(header, entry): (&PartSetHeader, &Entry)| {
            u64::from(header.total) == total && matches!(entry, Entry::Gathering(_))
        };
        if !self.entries.iter().any(wanted) {
            return PartTaken::Ignored("part of a block that is complete or that nobody asked for");
        }
        let Ok(root) = part.proof.root() else { return PartTaken::PeerFault("part whose proof leads nowhere") };
        let found = self.entries.iter_mut().find(|(header, _)| header.hash == root && u64::from(header.total) == total);
        let Some((_, Entry::Gathering(set))) = found else {
            return PartTaken::Ignored("part of another block");
        };
        match set.add(part) {
            Ok(false) => return PartTaken::Ignored("part seen before"),
            Err(_) => return PartTaken::PeerFault("part that contradicts its own proof"),
            Ok(true) if !set.is_complete() => return PartTaken::Added,
            Ok(true) => {}
        }
        let (header, set) = (set.header(), set.clone());
        self.entries.insert(header, self.finish(set));
        PartTaken::Completed
    }

    fn finish(&self, set: PartSet) -> Entry {
        if set.byte_size() > self.bytes_max {
            return Entry::Unusable;
        }
        match CandidateBlock::from_parts(set) {
            Ok(block) => Entry::Complete(Arc::new(block), Verdict::Unasked),
            Err(_) => Entry::Unusable,
        }
    }

    /// The block of this name, once complete.
    pub(crate) fn block(&self, id: &BlockId) -> Option<&Arc<CandidateBlock>> {
        match self.entries.get(&id.parts)? {
            Entry::Complete(block, _) if block.id() == *id => Some(block),
            Entry::Gathering(_) | Entry::Complete(..) | Entry::Unusable => None,
        }
    }

    /// How far the block of this name is.
    pub(crate) fn progress(&self, id: &BlockId) -> Progress {
        match self.entries.get(&id.parts) {
            None | Some(Entry::Gathering(_)) => Progress::Incomplete,
            Some(Entry::Unusable) => Progress::Rejected,
            // The parts are a block, but not the one the proposer named.
            Some(Entry::Complete(block, _)) if block.id() != *id => Progress::Rejected,
            Some(Entry::Complete(_, Verdict::Accepted)) => Progress::Accepted,
            Some(Entry::Complete(_, Verdict::Rejected)) => Progress::Rejected,
            Some(Entry::Complete(_, Verdict::Unasked | Verdict::Asked)) => Progress::Unknown,
        }
    }

    /// Notes a question or its answer.
    pub(crate) fn judge(&mut self, id: &BlockId, verdict: Verdict) {
        if let Some(Entry::Complete(block, known)) = self.entries.get_mut(&id.parts)
            && block.id() == *id
        {
            *known = verdict;
        }
    }

    /// The application's answer to the question of round `asked_in`; false when nobody waits for it. A no counts in its own
    /// round only: one that was on its way when the next round began is asked for again there.
    pub(crate) fn answered(&mut self, id: &BlockId, verdict: &BlockVerdict, asked_in: Round, round: Round) -> bool {
        if self.with_verdict(id, Verdict::Asked).is_none() {
            return false;
        }
        let verdict = match verdict {
            BlockVerdict::Accept => Verdict::Accepted,
            BlockVerdict::Reject(_) if asked_in < round => Verdict::Unasked,
            BlockVerdict::Reject(_) => Verdict::Rejected,
        };
        self.judge(id, verdict);
        true
    }

    /// Forgets every no when a round begins, so that the block is asked about again if it is proposed again. A no binds
    /// nobody, and what one node refused, for a clock that was slow, say, others may have locked or prepared: every later
    /// round must propose it, and without us it might never be decided.
    pub(crate) fn forget_refusals(&mut self) {
        for entry in self.entries.values_mut() {
            if let Entry::Complete(_, verdict @ Verdict::Rejected) = entry {
                *verdict = Verdict::Unasked;
            }
        }
    }

    /// The block of this name if it is complete and its verdict is this one.
    pub(crate) fn with_verdict(&self, id: &BlockId, wanted: Verdict) -> Option<Arc<CandidateBlock>> {
        match self.entries.get(&id.parts)? {
            Entry::Complete(block, verdict) if *verdict == wanted && block.id() == *id => Some(Arc::clone(block)),
            Entry::Gathering(_) | Entry::Complete(..) | Entry::Unusable => None,
        }
    }

    /// The block these parts make, once complete.
    pub(crate) fn complete(&self, header: &PartSetHeader) -> Option<Arc<CandidateBlock>> {
        match self.entries.get(header)? {
            Entry::Complete(block, _) => Some(Arc::clone(block)),
            Entry::Gathering(_) | Entry::Unusable => None,
        }
    }

    /// Every block whose check was ordered and not answered.
    pub(crate) fn asked(&self) -> Vec<Arc<CandidateBlock>> {
        let asked = self.entries.values().filter_map(|entry| match entry {
            Entry::Complete(block, Verdict::Asked) => Some(Arc::clone(block)),
            Entry::Gathering(_) | Entry::Complete(..) | Entry::Unusable => None,
        });
        asked.collect()
    }

    /// The parts of a set, while some are missing.
    pub(crate) fn gathering(&self, header: &PartSetHeader) -> Option<&PartSet> {
        match self.entries.get(header)? {
            Entry::Gathering(set) => Some(set),
            Entry::Complete(block, _) => Some(block.parts()),
            Entry::Unusable => None,
        }
    }

    /// Forgets every block but these.
    pub(crate) fn retain(&mut self, needed: &[PartSetHeader]) {
        self.entries.retain(|header, _| needed.contains(header));
    }
}
