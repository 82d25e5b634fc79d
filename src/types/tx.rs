//! A transaction: bytes only the application understands, and their hash.

use crate::crypto::{Hash, sha256};
use bytes::Bytes;

/// One transaction. The hash is computed once, at first sight, and travels with the bytes; clones share both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tx {
    bytes: Bytes,
    hash: Hash,
}

impl Tx {
    /// Hashes and keeps the bytes.
    pub fn new(bytes: impl Into<Bytes>) -> Tx {
        let bytes = bytes.into();
        Tx { hash: sha256(&bytes), bytes }
    }

    /// What the application reads.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// SHA-256 of the bytes: the transaction's name everywhere.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// Bytes this transaction takes inside a block: field tag, length, bytes (reference §3.8).
    pub fn encoded_len(&self) -> u64 {
        let len = self.bytes.len() as u64;
        1 + u64::from((64 - (len | 1).leading_zeros()).div_ceil(7)) + len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoded_length_counts_the_varint() {
        for (len, expected) in [(0, 2), (1, 3), (127, 129), (128, 131), (16_383, 16_386), (16_384, 16_388)] {
            assert_eq!(Tx::new(vec![7; len]).encoded_len(), expected, "{len} bytes");
        }
    }
}
