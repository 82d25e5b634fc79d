//! Hashes, Merkle trees, keys and signatures. The only place that turns a claim into a [`Verified`] fact.
//!
//! Reading order: `hash` → `merkle` → `keys` → `verified`.
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

mod hash;
mod keys;
pub mod merkle;
mod verified;

pub use hash::{Hash, HashLengthError, sha256, sha256_many};
pub use keys::{BatchVerifier, KeyError, PrivateKey, PublicKey, Signature};
pub use verified::{SignatureClaim, Verified};
