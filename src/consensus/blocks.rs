//! The blocks of one height on their way here: parts being gathered, blocks complete, and what the application said.
//!
//! A part belongs to the set its proof leads to, whatever round its message names: the root is what makes it genuine.
//! Sets are opened only for a header that a proposer signed or more than two thirds voted for, and forgotten as soon
//! as no rule can need them.

use super::{BlockVerdict, Reaction};
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
        self.bytes_max.saturating_sub(1) / PartSet::PART_BYTES as u64 + 1 + u64::from(mutant!("B5"))
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
        if !known || mutant!("B90") {
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
        if set.byte_size() > self.bytes_max && !mutant!("B1") {
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
            Some(Entry::Complete(block, _)) if block.id() != *id && !mutant!("B2") => Progress::Rejected,
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

    /// The application's answer to the question of round `asked_in`. A no counts in its own round only: one that was on its
    /// way when the next round began is asked for again there.
    pub(crate) fn answered(&mut self, id: &BlockId, verdict: &BlockVerdict, asked_in: Round, round: Round) -> Reaction {
        if self.with_verdict(id, Verdict::Asked).is_none() && !mutant!("B91") {
            return Reaction::Ignored("an answer nobody waits for");
        }
        let verdict = match verdict {
            BlockVerdict::Accept => Verdict::Accepted,
            BlockVerdict::Reject(_) if asked_in < round && !mutant!("T81") => Verdict::Unasked,
            BlockVerdict::Reject(_) => Verdict::Rejected,
        };
        self.judge(id, verdict);
        Reaction::Accepted
    }

    /// Forgets every no when a round begins, so that the block is asked about again if it is proposed again. A no binds
    /// nobody, and what one node refused, for a clock that was slow, say, others may have locked or prepared: every later
    /// round must propose it, and without us it might never be decided.
    pub(crate) fn forget_refusals(&mut self) {
        for entry in self.entries.values_mut() {
            if let (Entry::Complete(_, verdict @ Verdict::Rejected), false) = (entry, mutant!("B4")) {
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
        self.entries.retain(|header, _| needed.contains(header) || mutant!("B3"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Hash;
    use crate::types::{Address, Block, ChainId, Header, Height, Time, Tx, Version};
    use bytes::Bytes;

    /// A block with one transaction of so many bytes.
    fn block(tx_bytes: usize) -> CandidateBlock {
        let hash = crate::crypto::sha256(b"whatever");
        let header = Header {
            version: Version { block: Version::BLOCK, app: 0 },
            chain_id: ChainId::try_from("blocks").expect("short"),
            height: Height::FIRST,
            time: Time::UNIX_EPOCH,
            last_block_id: None,
            last_commit_hash: hash,
            data_hash: hash,
            validators_hash: hash,
            next_validators_hash: hash,
            consensus_hash: hash,
            app_hash: Bytes::new(),
            last_results_hash: hash,
            evidence_hash: hash,
            proposer_address: Address::new([1; 20]),
        };
        let txs = vec![Tx::new(Bytes::from(vec![7; tx_bytes]))];
        CandidateBlock::new(Block { header, txs, evidence: Vec::new(), last_commit: None })
    }

    fn limited_to(bytes: u64) -> Blocks {
        let mut params = ConsensusParams::default();
        params.block.max_bytes = Some(bytes);
        Blocks::new(&params)
    }

    /// Its parts come one after the other.
    fn gathered(mut blocks: Blocks, block: &CandidateBlock) -> Blocks {
        blocks.want(block.id().parts);
        block.parts().parts().for_each(|part| {
            let _ = blocks.add(part.clone());
        });
        blocks
    }

    #[test]
    fn a_block_larger_than_the_chain_allows_is_as_good_as_refused() {
        let block = block(1000);
        let size = block.parts().byte_size();
        for (most, progress) in [(size, Progress::Unknown), (size - 1, Progress::Rejected)] {
            assert_eq!(gathered(limited_to(most), &block).progress(&block.id()), progress);
        }
    }

    #[test]
    fn a_block_has_as_many_parts_as_its_bytes_need() {
        let part = PartSet::PART_BYTES as u64;
        for (bytes, parts) in [(1, 1), (part, 1), (part + 1, 2), (3 * part, 3)] {
            assert_eq!(limited_to(bytes).parts_max(), parts, "{bytes} bytes");
        }
    }

    #[test]
    fn parts_that_are_another_block_than_the_one_named_are_refused() {
        let block = block(10);
        let named = BlockId { hash: Hash::new([9; 32]), parts: block.id().parts };
        let blocks = gathered(limited_to(10_000), &block);
        assert_eq!(blocks.progress(&named), Progress::Rejected);
        assert_eq!(blocks.block(&named), None);
    }

    #[test]
    fn a_no_may_be_taken_back_and_a_yes_stays() {
        for (verdict, before, after) in [
            (Verdict::Rejected, Progress::Rejected, Progress::Unknown),
            (Verdict::Accepted, Progress::Accepted, Progress::Accepted),
        ] {
            let block = block(10);
            let mut blocks = gathered(limited_to(10_000), &block);
            blocks.judge(&block.id(), verdict);
            assert_eq!(blocks.progress(&block.id()), before);
            blocks.forget_refusals();
            assert_eq!(blocks.progress(&block.id()), after);
        }
    }

    #[test]
    fn what_the_application_said_of_a_block_stays_when_the_block_or_an_unasked_answer_comes() {
        let (block, round) = (Arc::new(block(10)), Round::ZERO);
        let mut blocks = gathered(limited_to(10_000), &block);
        blocks.judge(&block.id(), Verdict::Asked);
        assert_eq!(blocks.answered(&block.id(), &BlockVerdict::Accept, round, round), Reaction::Accepted);
        blocks.insert(Arc::clone(&block));
        let again = blocks.answered(&block.id(), &BlockVerdict::Reject("too late".to_owned()), round, round);
        assert!(matches!(again, Reaction::Ignored(_)), "{again:?}");
        assert_eq!(blocks.progress(&block.id()), Progress::Accepted);
    }

    #[test]
    fn only_blocks_that_are_needed_stay() {
        let (one, other) = (block(10), block(20));
        let mut blocks = gathered(gathered(limited_to(10_000), &one), &other);
        blocks.retain(&[other.id().parts]);
        assert_eq!((blocks.block(&one.id()), blocks.block(&other.id()).is_some()), (None, true));
    }
}
