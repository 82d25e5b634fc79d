//! Blocks travel in parts of 64 KiB, each with a Merkle proof, so that they can be gathered from many peers
//! (reference §4.4).

use super::PartSetHeader;
use crate::crypto::merkle::{self, Proof};
use bytes::{Bytes, BytesMut};

/// One part of an encoded block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its position.
    pub index: u32,
    /// Its bytes: 65,536, or fewer in the last part.
    pub bytes: Bytes,
    /// That it belongs to the set.
    pub proof: Proof,
}

/// Why a part was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PartSetError {
    /// No such position in this set.
    #[error("part {index} of a set of {total}")]
    OutOfRange {
        /// Claimed position.
        index: u32,
        /// Parts in the set.
        total: u32,
    },
    /// The proof is about another part or another set.
    #[error("part {index} does not belong to this set: {why}")]
    BadProof {
        /// Claimed position.
        index: u32,
        /// What is wrong.
        why: &'static str,
    },
    /// Only the last part may be short, and none empty.
    #[error("part {index} has {got} bytes; all but the last have 65536, the last 1 to 65536")]
    BadSize {
        /// Claimed position.
        index: u32,
        /// Bytes in it.
        got: usize,
    },
}

/// The parts of one block, complete or being gathered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartSet {
    header: PartSetHeader,
    parts: Vec<Option<Part>>,
    /// Which of `parts` are there.
    have: BitArray,
    count: u32,
    byte_size: u64,
}

impl PartSet {
    /// Bytes in every part but the last.
    pub const PART_BYTES: usize = 65_536;
    /// Largest encoded block: 100 MiB.
    pub const BLOCK_BYTES_MAX: u64 = 104_857_600;
    /// Most parts any block can have.
    pub const PARTS_MAX: u32 = 1_601;

    /// Cuts an encoded block.
    ///
    /// # Panics
    /// When there is nothing to cut or more than [`PartSet::BLOCK_BYTES_MAX`]: builders check the size first.
    pub fn cut(encoded: &Bytes) -> PartSet {
        let len = encoded.len();
        assert!(len > 0 && len as u64 <= PartSet::BLOCK_BYTES_MAX, "a block of {len} bytes cannot be cut into parts");
        let chunks: Vec<Bytes> = (0..len)
            .step_by(PartSet::PART_BYTES)
            .map(|start| encoded.slice(start..len.min(start + PartSet::PART_BYTES)))
            .collect();
        let (hash, proofs) = merkle::proofs(&chunks);
        let total = chunks.len() as u32;
        let mut have = BitArray::new(chunks.len());
        (0..chunks.len()).for_each(|index| have.set(index));
        let parts = chunks
            .into_iter()
            .zip(proofs)
            .enumerate()
            .map(|(index, (bytes, proof))| Some(Part { index: index as u32, bytes, proof }))
            .collect();
        PartSet { header: PartSetHeader { total, hash }, parts, have, count: total, byte_size: len as u64 }
    }

    /// An empty set to gather into; `None` when no legal block has that many parts.
    pub fn gather(header: PartSetHeader) -> Option<PartSet> {
        if !(1..=PartSet::PARTS_MAX).contains(&header.total) {
            return None;
        }
        let total = header.total as usize;
        Some(PartSet { header, parts: vec![None; total], have: BitArray::new(total), count: 0, byte_size: 0 })
    }

    /// Adds a part after checking its proof. `Ok(false)` when it was there already.
    pub fn add(&mut self, part: Part) -> Result<bool, PartSetError> {
        let PartSetHeader { total, hash } = self.header;
        let index = part.index;
        if index >= total {
            return Err(PartSetError::OutOfRange { index, total });
        }
        if self.parts[index as usize].is_some() {
            return Ok(false);
        }
        let got = part.bytes.len();
        let last = index + 1 == total;
        if (got == 0 && !mutant!("D90")) || got > PartSet::PART_BYTES || (!last && got != PartSet::PART_BYTES) {
            return Err(PartSetError::BadSize { index, got });
        }
        if (part.proof.index != u64::from(index) && !mutant!("N1"))
            || (part.proof.total != u64::from(total) && !mutant!("D91"))
        {
            return Err(PartSetError::BadProof { index, why: "its proof is for another position" });
        }
        if part.proof.verify(&hash, &part.bytes).is_err() && !mutant!("N2") {
            return Err(PartSetError::BadProof { index, why: "its proof leads to another root" });
        }
        self.count += 1;
        self.byte_size += got as u64;
        self.parts[index as usize] = Some(part);
        self.have.set(index as usize);
        Ok(true)
    }

    /// Number of parts and root.
    pub fn header(&self) -> PartSetHeader {
        self.header
    }

    /// True when nothing is missing.
    pub fn is_complete(&self) -> bool {
        self.count == self.header.total
    }

    /// Parts gathered so far.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Bytes gathered so far.
    pub fn byte_size(&self) -> u64 {
        self.byte_size
    }

    /// One part, if gathered.
    pub fn part(&self, index: u32) -> Option<&Part> {
        self.parts.get(index as usize)?.as_ref()
    }

    /// The parts gathered, in order.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().flatten()
    }

    /// Which parts are here.
    pub fn bits(&self) -> &BitArray {
        &self.have
    }

    /// The encoded block, once complete. One copy, none for a block of one part.
    pub fn assemble(&self) -> Option<Bytes> {
        if !self.is_complete() {
            return None;
        }
        if let [Some(only)] = self.parts.as_slice() {
            return Some(only.bytes.clone());
        }
        let mut whole = BytesMut::with_capacity(self.byte_size as usize);
        self.parts().for_each(|part| whole.extend_from_slice(&part.bytes));
        Some(whole.freeze())
    }
}

/// A row of bits, printed `x` and `_` as CometBFT does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BitArray {
    len: usize,
    words: Vec<u64>,
}

impl BitArray {
    /// All bits off.
    pub fn new(len: usize) -> BitArray {
        BitArray { len, words: vec![0; len.div_ceil(64)] }
    }

    /// From 64-bit words, lowest bit first; `None` when there are not just as many words as bits need.
    pub fn from_words(len: usize, words: Vec<u64>) -> Option<BitArray> {
        (words.len() == len.div_ceil(64)).then_some(BitArray { len, words })
    }

    /// Number of bits.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True for an array of no bits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The words, lowest bit first.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Switches a bit on; out of range does nothing.
    pub fn set(&mut self, index: usize) {
        if index < self.len {
            self.words[index / 64] |= 1 << (index % 64);
        }
    }

    /// True when the bit is on; out of range is off.
    pub fn get(&self, index: usize) -> bool {
        index < self.len && self.words[index / 64] >> (index % 64) & 1 == 1
    }
}

impl std::fmt::Display for BitArray {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (0..self.len).try_for_each(|index| f.write_str(if self.get(index) { "x" } else { "_" }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(len: usize) -> Bytes {
        (0..len).map(|i| (i % 251) as u8).collect::<Vec<u8>>().into()
    }

    #[test]
    fn a_block_is_cut_and_gathered_in_any_order() {
        for len in [1, 65_535, 65_536, 65_537, 65_536 * 3, 300_000] {
            let cut = PartSet::cut(&block(len));
            let mut gathered = PartSet::gather(cut.header()).expect("a legal number of parts");
            for part in cut.parts().collect::<Vec<_>>().into_iter().rev() {
                assert!(!gathered.is_complete() && gathered.assemble().is_none());
                assert_eq!(gathered.add(part.clone()), Ok(true));
                assert_eq!(gathered.add(part.clone()), Ok(false), "a second time");
            }
            assert_eq!(gathered.assemble(), Some(block(len)), "{len} bytes");
            assert_eq!(gathered, cut);
        }
    }

    #[test]
    fn a_foreign_part_is_refused() {
        let cut = PartSet::cut(&block(200_000));
        let mut gathered = PartSet::gather(cut.header()).expect("a legal number of parts");
        let good = cut.part(1).expect("there").clone();
        let mut bent = good.clone();
        bent.bytes = block(PartSet::PART_BYTES);
        let mut moved = good.clone();
        moved.index = 2;
        let mut short = good.clone();
        short.bytes = short.bytes.slice(..10);
        let mut beyond = good;
        beyond.index = 4;
        assert!(matches!(gathered.add(bent), Err(PartSetError::BadProof { .. })));
        assert!(matches!(gathered.add(moved), Err(PartSetError::BadProof { .. })));
        assert!(matches!(gathered.add(short), Err(PartSetError::BadSize { .. })));
        assert!(matches!(gathered.add(beyond), Err(PartSetError::OutOfRange { index: 4, total: 4 })));
        assert_eq!(gathered.count(), 0);
        assert!(PartSet::gather(PartSetHeader { total: 0, ..cut.header() }).is_none());
        assert!(PartSet::gather(PartSetHeader { total: 1602, ..cut.header() }).is_none());
    }

    /// Part 0 of 5 has three hashes beside its way up, as part 0 of 8 has: the root alone does not tell them apart, and
    /// whoever is handed the part with such a proof would refuse it.
    #[test]
    fn a_part_with_a_proof_of_a_larger_set_is_refused() {
        let cut = PartSet::cut(&block(5 * PartSet::PART_BYTES));
        let mut gathered = PartSet::gather(cut.header()).expect("a legal number of parts");
        let mut bent = cut.part(0).expect("there").clone();
        bent.proof.total = 8;
        assert!(bent.proof.verify(&cut.header().hash, &bent.bytes).is_ok(), "else this shows nothing");
        assert!(matches!(gathered.add(bent), Err(PartSetError::BadProof { .. })));
    }

    #[test]
    fn a_part_without_bytes_is_refused_though_its_proof_is_good() {
        let (hash, proofs) = merkle::proofs(&[block(PartSet::PART_BYTES), Bytes::new()]);
        let mut gathered = PartSet::gather(PartSetHeader { total: 2, hash }).expect("a legal number of parts");
        let empty = Part { index: 1, bytes: Bytes::new(), proof: proofs[1].clone() };
        assert_eq!(gathered.add(empty), Err(PartSetError::BadSize { index: 1, got: 0 }));
    }
}
