//! Hashes, Merkle trees, keys and signatures. The only place that turns a claim into a [`Verified`] fact.
//!
//! Reading order: `hash` → `merkle` → `keys` → `verified` → `known`.
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

mod hash;
mod keys;
mod known;
pub mod merkle;
mod verified;

pub use hash::{Hash, HashLengthError, sha256, sha256_many};
pub use keys::{BatchVerifier, KeyError, PrivateKey, PublicKey, Signature};
pub use known::{Claim, KnownSignatures, SIGNATURES_KNOWN_MAX};
pub use verified::{SignatureClaim, Verified};
