//! SHA-256, the only hash of the chain.

use sha2::{Digest, Sha256};
use std::fmt;

/// A SHA-256 digest. Printed in upper-case hex, as CometBFT does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; Hash::LEN]);

/// Bytes that should have been a hash were not 32 long.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a hash has 32 bytes, got {got}")]
pub struct HashLengthError {
    /// How many bytes there were.
    pub got: usize,
}

impl Hash {
    /// Bytes in a hash.
    pub const LEN: usize = 32;

    /// The hash of nothing, SHA-256(""): what CometBFT writes for every empty list (reference §4.4).
    pub const EMPTY: Hash = Hash([
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae,
        0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
    ]);

    /// Takes the digest as it is.
    pub const fn new(bytes: [u8; Hash::LEN]) -> Hash {
        Hash(bytes)
    }

    /// The digest.
    pub const fn as_bytes(&self) -> &[u8; Hash::LEN] {
        &self.0
    }
}

impl TryFrom<&[u8]> for Hash {
    type Error = HashLengthError;

    fn try_from(bytes: &[u8]) -> Result<Hash, HashLengthError> {
        bytes.try_into().map(Hash).map_err(|_| HashLengthError { got: bytes.len() })
    }
}

impl AsRef<[u8]> for Hash {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode_upper(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// SHA-256 of one byte string.
pub fn sha256(bytes: &[u8]) -> Hash {
    sha256_many([bytes])
}

/// SHA-256 of byte strings laid end to end, without copying them together.
pub fn sha256_many<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Hash {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    Hash(hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_hash_is_the_hash_of_nothing() {
        assert_eq!(sha256(b""), Hash::EMPTY);
    }

    #[test]
    fn parts_hash_like_the_whole() {
        assert_eq!(sha256_many([b"ab".as_slice(), b"", b"c"]), sha256(b"abc"));
    }
}
