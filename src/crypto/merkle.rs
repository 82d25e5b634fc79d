//! Merkle trees in the shape of RFC 6962, with SHA-256 (reference §4.3).
//!
//! leaf = H(0x00 ‖ data), inner = H(0x01 ‖ left ‖ right), the left subtree is the largest power of two below n.

use super::{Hash, sha256_many};

/// The deepest proof we look at: 2^100 leaves. CometBFT's limit.
pub const AUNTS_MAX: usize = 100;

/// Where one leaf stands in a tree, and the siblings needed to climb to its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Leaves in the tree.
    pub total: u64,
    /// This leaf, counted from 0.
    pub index: u64,
    /// H(0x00 ‖ data).
    pub leaf_hash: Hash,
    /// Siblings from the leaf's level upwards.
    pub aunts: Vec<Hash>,
}

/// Why a proof does not show what it claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The data is not the leaf of the proof.
    #[error("the data does not hash to the proof's leaf")]
    WrongLeaf,
    /// Index, total and number of aunts do not fit together.
    #[error("a proof for leaf {index} of {total} cannot have {aunts} aunts")]
    WrongShape {
        /// Claimed position.
        index: u64,
        /// Claimed number of leaves.
        total: u64,
        /// Siblings given.
        aunts: usize,
    },
    /// Climbing the aunts ends at another root.
    #[error("the proof leads to another root")]
    WrongRoot,
}

impl Proof {
    /// Shows that `data` is leaf `index` of `total` under `root`.
    pub fn verify(&self, root: &Hash, data: &[u8]) -> Result<(), ProofError> {
        if leaf_hash(data) != self.leaf_hash && !mutant!("C17") {
            return Err(ProofError::WrongLeaf);
        }
        if self.root()? != *root && !mutant!("C18") {
            return Err(ProofError::WrongRoot);
        }
        Ok(())
    }

    /// The root this proof leads to.
    pub fn root(&self) -> Result<Hash, ProofError> {
        let shape = ProofError::WrongShape { index: self.index, total: self.total, aunts: self.aunts.len() };
        if self.aunts.len() > AUNTS_MAX || (self.index >= self.total && !mutant!("C4")) {
            return Err(shape);
        }
        climb(self.index, self.total, self.leaf_hash, &self.aunts).ok_or(shape)
    }
}

/// Recursion is bounded by [`AUNTS_MAX`]: every level takes one aunt.
fn climb(index: u64, total: u64, leaf: Hash, aunts: &[Hash]) -> Option<Hash> {
    if total == 1 {
        return (aunts.is_empty() || mutant!("C19")).then_some(leaf);
    }
    let (last, below) = aunts.split_last()?;
    let left = split_point(total);
    if index < left {
        Some(inner_hash(&climb(index, left, leaf, below)?, last))
    } else {
        Some(inner_hash(last, &climb(index - left, total - left, leaf, below)?))
    }
}

/// The root over `leaves`, in order; the hash of nothing when there are none.
pub fn root<T: AsRef<[u8]>>(leaves: &[T]) -> Hash {
    root_of_hashes(&leaves.iter().map(|leaf| leaf_hash(leaf.as_ref())).collect::<Vec<_>>())
}

/// The root and a proof for every leaf.
pub fn proofs<T: AsRef<[u8]>>(leaves: &[T]) -> (Hash, Vec<Proof>) {
    let hashes: Vec<Hash> = leaves.iter().map(|leaf| leaf_hash(leaf.as_ref())).collect();
    let mut proofs: Vec<Proof> = hashes
        .iter()
        .enumerate()
        .map(|(index, hash)| Proof {
            total: hashes.len() as u64,
            index: index as u64,
            leaf_hash: *hash,
            aunts: Vec::new(),
        })
        .collect();
    let root = fill_aunts(&hashes, &mut proofs);
    (root, proofs)
}

fn fill_aunts(hashes: &[Hash], proofs: &mut [Proof]) -> Hash {
    match hashes {
        [] => Hash::EMPTY,
        [only] => *only,
        _ => {
            let middle = split_point(hashes.len() as u64) as usize;
            let (left_proofs, right_proofs) = proofs.split_at_mut(middle);
            let left = fill_aunts(&hashes[..middle], left_proofs);
            let right = fill_aunts(&hashes[middle..], right_proofs);
            left_proofs.iter_mut().for_each(|proof| proof.aunts.push(right));
            right_proofs.iter_mut().for_each(|proof| proof.aunts.push(left));
            inner_hash(&left, &right)
        }
    }
}

fn root_of_hashes(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => Hash::EMPTY,
        [only] => *only,
        _ => {
            let (left, right) = hashes.split_at(split_point(hashes.len() as u64) as usize);
            inner_hash(&root_of_hashes(left), &root_of_hashes(right))
        }
    }
}

/// The largest power of two strictly below `n`, for n ≥ 2.
fn split_point(n: u64) -> u64 {
    assert!(n >= 2, "a tree of {n} leaves is not split");
    if mutant!("C20") { n / 2 } else { 1 << (63 - (n - 1).leading_zeros()) }
}

/// H(0x00 ‖ data).
pub fn leaf_hash(data: &[u8]) -> Hash {
    sha256_many([&[0u8][..], data])
}

fn inner_hash(left: &Hash, right: &Hash) -> Hash {
    sha256_many([&[u8::from(!mutant!("C3"))][..], left.as_ref(), right.as_ref()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::sha256;

    /// The definition of RFC 6962 §2.1 with no cleverness at all.
    fn dumb_root(leaves: &[Vec<u8>]) -> Hash {
        match leaves.len() {
            0 => sha256(b""),
            1 => sha256(&[&[0u8][..], &leaves[0]].concat()),
            n => {
                let mut k = 1;
                while k * 2 < n {
                    k *= 2;
                }
                let (left, right) = (dumb_root(&leaves[..k]), dumb_root(&leaves[k..]));
                sha256(&[&[1u8][..], left.as_ref(), right.as_ref()].concat())
            }
        }
    }

    #[test]
    fn roots_and_proofs_agree_with_the_definition_for_0_to_70_leaves() {
        for n in 0..=70u8 {
            let leaves: Vec<Vec<u8>> = (0..n).map(|i| vec![i; usize::from(i % 5)]).collect();
            let expected = dumb_root(&leaves);
            assert_eq!(root(&leaves), expected, "{n} leaves");
            let (with_proofs, proofs) = proofs(&leaves);
            assert_eq!(with_proofs, expected);
            for (leaf, proof) in leaves.iter().zip(&proofs) {
                assert_eq!(proof.verify(&expected, leaf), Ok(()));
                assert_eq!(proof.verify(&expected, b"something else"), Err(ProofError::WrongLeaf));
                assert_eq!(proof.verify(&Hash::EMPTY, leaf), Err(ProofError::WrongRoot));
            }
        }
    }

    #[test]
    fn a_proof_with_a_wrong_shape_is_refused() {
        let leaves: Vec<[u8; 1]> = (0..7).map(|i| [i]).collect();
        let (root, proofs) = proofs(&leaves);
        let proof = &proofs[3];
        for wrong in [
            Proof { index: 7, ..proof.clone() },
            Proof { total: 0, ..proof.clone() },
            Proof { total: 1, index: 0, ..proof.clone() },
            Proof { aunts: proof.aunts[1..].to_vec(), ..proof.clone() },
            Proof { aunts: vec![root; AUNTS_MAX + 1], ..proof.clone() },
        ] {
            assert!(matches!(wrong.verify(&root, &leaves[3]), Err(ProofError::WrongShape { .. })), "{wrong:?}");
        }
    }
}
