//! Ed25519 keys. Signing is RFC 8032 (ed25519-dalek); every verification follows ZIP-215 (ed25519-zebra), because
//! CometBFT does and a signature accepted by some replicas only would split the chain (reference §4.6).

use super::{Hash, sha256};
use ed25519_dalek::Signer as _;
use rand::SeedableRng as _;
use std::fmt;
use zeroize::Zeroizing;

/// A public key of a validator or a node.
///
/// The bytes are kept as received: an encoding that is not canonical is still the same key to everybody.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; PublicKey::LEN]);

/// An Ed25519 signature: 64 bytes, R ‖ s.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signature([u8; Signature::LEN]);

/// A private key. Wiped from memory when dropped; never printed.
pub struct PrivateKey(ed25519_dalek::SigningKey);

/// Bytes that are not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Wrong number of bytes.
    #[error("an ed25519 {what} has {expected} bytes, got {got}")]
    Length {
        /// Which thing.
        what: &'static str,
        /// How many it has.
        expected: usize,
        /// How many there were.
        got: usize,
    },
    /// The second half of a private key is not its public key.
    #[error("the private key's second half is not the public key of its first half")]
    Mismatch,
}

impl PublicKey {
    /// Bytes in a key.
    pub const LEN: usize = 32;
    /// The key type's name in consensus parameters and JSON.
    pub const TYPE: &'static str = "ed25519";

    /// Takes the bytes as they are.
    pub const fn new(bytes: [u8; PublicKey::LEN]) -> PublicKey {
        PublicKey(bytes)
    }

    /// The bytes as received.
    pub const fn as_bytes(&self) -> &[u8; PublicKey::LEN] {
        &self.0
    }

    /// SHA-256 of the key; its first 20 bytes are the validator's address.
    pub fn hash(&self) -> Hash {
        sha256(&self.0)
    }

    /// True for a key of small order: by ZIP-215 one signature under it is valid for every message, so it names nobody.
    pub fn is_weak(&self) -> bool {
        ed25519_dalek::VerifyingKey::from_bytes(&self.0).is_ok_and(|key| key.is_weak())
    }

    /// True when `signature` over `message` is valid by ZIP-215, which every replica decides alike.
    pub fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        let Ok(key) = ed25519_zebra::VerificationKey::try_from(self.0) else { return false };
        key.verify(&ed25519_zebra::Signature::from(signature.0), message).is_ok()
    }
}

impl TryFrom<&[u8]> for PublicKey {
    type Error = KeyError;

    fn try_from(bytes: &[u8]) -> Result<PublicKey, KeyError> {
        let got = bytes.len();
        bytes.try_into().map(PublicKey).map_err(|_| KeyError::Length { what: "public key", expected: Self::LEN, got })
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PubKeyEd25519{{{}}}", hex::encode_upper(self.0))
    }
}

impl Signature {
    /// Bytes in a signature.
    pub const LEN: usize = 64;

    /// Takes the bytes as they are.
    pub const fn new(bytes: [u8; Signature::LEN]) -> Signature {
        Signature(bytes)
    }

    /// R ‖ s.
    pub const fn as_bytes(&self) -> &[u8; Signature::LEN] {
        &self.0
    }
}

impl TryFrom<&[u8]> for Signature {
    type Error = KeyError;

    fn try_from(bytes: &[u8]) -> Result<Signature, KeyError> {
        let got = bytes.len();
        bytes.try_into().map(Signature).map_err(|_| KeyError::Length { what: "signature", expected: Self::LEN, got })
    }
}

impl AsRef<[u8]> for Signature {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({}…)", hex::encode_upper(&self.0[..6]))
    }
}

impl PrivateKey {
    /// Bytes of a private key in files: seed ‖ public key.
    pub const LEN: usize = 64;

    /// The key made from 32 random bytes.
    pub fn from_seed(seed: &[u8; 32]) -> PrivateKey {
        PrivateKey(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// Reads seed ‖ public key, as key files hold it.
    pub fn from_bytes(bytes: &[u8]) -> Result<PrivateKey, KeyError> {
        let whole: Zeroizing<[u8; Self::LEN]> = Zeroizing::new(bytes.try_into().map_err(|_| KeyError::Length {
            what: "private key",
            expected: Self::LEN,
            got: bytes.len(),
        })?);
        ed25519_dalek::SigningKey::from_keypair_bytes(&whole).map(PrivateKey).map_err(|_| KeyError::Mismatch)
    }

    /// seed ‖ public key, for the key file only.
    pub fn to_bytes(&self) -> Zeroizing<[u8; Self::LEN]> {
        Zeroizing::new(self.0.to_keypair_bytes())
    }

    /// The key others verify with.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs. Only `privval` calls this for anything consensus sees: it remembers what was signed before.
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }

    /// Proves to the other end of a connection that it talks to the holder of this key. Only 32 bytes that both ends
    /// computed together are ever signed so: no peer can slip in a vote, whose sign bytes are longer.
    pub fn prove(&self, challenge: &[u8; 32]) -> Signature {
        self.sign(challenge)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey(of {:?})", self.public_key())
    }
}

/// Verifies many signatures at once, about twice as fast as one by one when there are more than a hundred.
#[derive(Debug, Default)]
pub struct BatchVerifier {
    items: Vec<(PublicKey, Signature, Vec<u8>)>,
}

impl BatchVerifier {
    /// Below this many signatures one by one is as fast, and names the bad one.
    pub const WORTHWHILE: usize = 64;

    /// An empty batch.
    pub fn new() -> BatchVerifier {
        BatchVerifier::default()
    }

    /// Adds one claim.
    pub fn push(&mut self, key: PublicKey, message: Vec<u8>, signature: Signature) {
        self.items.push((key, signature, message));
    }

    /// True when nothing was claimed.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The position of the first bad signature, if any. Decides exactly as verifying one by one does.
    pub fn first_bad(&self) -> Option<usize> {
        if self.items.len() >= Self::WORTHWHILE && self.all_good_together() {
            return None;
        }
        self.items.iter().position(|(key, signature, message)| !key.verifies(message, signature))
    }

    fn all_good_together(&self) -> bool {
        let mut batch = ed25519_zebra::batch::Verifier::new();
        for (key, signature, message) in &self.items {
            let key = ed25519_zebra::VerificationKeyBytes::from(key.0);
            batch.queue((key, ed25519_zebra::Signature::from(signature.0), message));
        }
        // The weights must not be known before the signatures are: they come from a hash over all of them, so that the
        // outcome is the same in every run. A wrong yes would take 2^128 tries.
        let parts = self.items.iter().flat_map(|(key, signature, message)| [&key.0[..], &signature.0[..], message]);
        let seed = *crate::crypto::sha256_many(parts).as_bytes();
        batch.verify(rand::rngs::StdRng::from_seed(seed)).is_ok()
    }
}
