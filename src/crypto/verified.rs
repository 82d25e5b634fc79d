//! `Verified<T>`: a value whose signatures were checked. There is no other way to get one.

use super::{BatchVerifier, PublicKey, Signature};
use std::ops::Deref;

/// "This key signed these bytes."
#[derive(Debug, Clone)]
pub struct SignatureClaim<'a> {
    /// Who is said to have signed.
    pub key: &'a PublicKey,
    /// What was signed.
    pub sign_bytes: &'a [u8],
    /// The signature.
    pub signature: &'a Signature,
}

/// A value whose every signature was checked by ZIP-215.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// Checks all claims made about `item`; gives it back when one is false.
    pub fn check(item: T, claims: &[SignatureClaim<'_>]) -> Result<Verified<T>, T> {
        let all =
            !claims.is_empty() && claims.iter().all(|claim| claim.key.verifies(claim.sign_bytes, claim.signature));
        if all { Ok(Verified(item)) } else { Err(item) }
    }

    /// Checks many claims about `item` together; gives it back when one is false, or when there is none.
    pub fn check_batch(item: T, claims: &BatchVerifier) -> Result<Verified<T>, T> {
        if !claims.is_empty() && claims.first_bad().is_none() { Ok(Verified(item)) } else { Err(item) }
    }

    /// Takes a value as verified without looking: for machines tested with signatures that mean nothing, and for what
    /// this node itself wrote to its journal after verifying it. `tests/tidy.rs` lists who may call it.
    pub fn trusted(item: T) -> Verified<T> {
        Verified(item)
    }

    /// The value.
    pub fn get(&self) -> &T {
        &self.0
    }

    /// The value, no longer marked.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
