//! Signatures that were verified before: the same ones come again and again, because everybody proves the same things, and
//! because a liar may say one thing for ever.

use super::{BatchVerifier, Hash, PublicKey, Signature, Verified, sha256_many};
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Whose signature, over what. It holds or it does not, whenever and whoever asks.
pub type Claim = (PublicKey, Vec<u8>, Signature);

/// Signatures remembered. Half of them, which always stay, are more than a NEW-VIEW of the largest set CometBFT allows has:
/// 10,000 VIEW-CHANGEs, entries of a commit and votes of a certificate.
pub const SIGNATURES_KNOWN_MAX: usize = 1 << 16;

/// Signatures that hold, up to [`SIGNATURES_KNOWN_MAX`] of them, by a hash over key, signature and what is signed. Nothing
/// in it ever becomes wrong. Shared by whoever verifies; the lock is not held meanwhile.
#[derive(Debug, Default)]
pub struct KnownSignatures(Mutex<Generations>);

/// The older half goes when the younger one is full.
#[derive(Debug, Default)]
struct Generations {
    young: BTreeSet<Hash>,
    old: BTreeSet<Hash>,
    verified: u64,
}

impl KnownSignatures {
    /// Checks all claims made about `item`, each that is not known, and remembers them when all hold.
    ///
    /// # Errors
    /// Gives the item back when a claim is false, or when there is none.
    pub fn check<T>(&self, item: T, claims: impl IntoIterator<Item = Claim>) -> Result<Verified<T>, T> {
        let named: Vec<(Hash, Claim)> = claims.into_iter().map(|claim| (name(&claim), claim)).collect();
        if named.is_empty() {
            return Err(item);
        }
        let mut names = Vec::new();
        let mut batch = BatchVerifier::new();
        {
            let known = self.lock();
            for (name, (key, sign_bytes, signature)) in named {
                if !known.contains(&name) {
                    names.push(name);
                    batch.push(key, sign_bytes, signature);
                }
            }
        }
        let good = batch.is_empty() || batch.first_bad().is_none();
        let mut known = self.lock();
        known.verified = known.verified.saturating_add(names.len() as u64);
        if !good {
            return Err(item);
        }
        names.into_iter().for_each(|name| known.remember(name));
        Ok(Verified::trusted(item))
    }

    /// How many signatures were looked at, good or bad, because they were not known.
    pub fn verified(&self) -> u64 {
        self.lock().verified
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn contains(&self, name: &Hash) -> bool {
        self.young.contains(name) || self.old.contains(name)
    }

    fn remember(&mut self, name: Hash) {
        if self.young.len() >= SIGNATURES_KNOWN_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(name);
    }
}

/// Key and signature have one length each, so no two claims have the same bytes.
fn name((key, sign_bytes, signature): &Claim) -> Hash {
    sha256_many([&key.as_bytes()[..], &signature.as_bytes()[..], sign_bytes])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::PrivateKey;

    fn claim(number: u8, said: &str) -> Claim {
        let key = PrivateKey::from_seed(&[number; 32]);
        (key.public_key(), said.as_bytes().to_vec(), key.sign(said.as_bytes()))
    }

    #[test]
    fn what_holds_is_verified_once_and_what_does_not_every_time() {
        let known = KnownSignatures::default();
        let good = || [claim(1, "a"), claim(2, "b")];
        for _ in 0..5 {
            assert!(known.check((), good()).is_ok());
        }
        assert_eq!(known.verified(), 2);
        // One of three is false: none of the three is remembered.
        let (key, _, signature) = claim(3, "c");
        let bent = || (key, b"d".to_vec(), signature);
        for times in 1..=3 {
            assert!(known.check((), [claim(1, "a"), claim(4, "e"), bent()]).is_err());
            assert_eq!(known.verified(), 2 + 2 * times);
        }
        assert!(known.check((), [bent()]).is_err() && known.check((), []).is_err());
    }

    #[test]
    fn another_key_another_signature_or_other_bytes_are_another_claim() {
        let known = KnownSignatures::default();
        let (key, said, signature) = claim(1, "a");
        assert!(known.check((), [(key, said.clone(), signature)]).is_ok());
        let (other_key, _, other_signature) = claim(2, "a");
        assert!(known.check((), [(other_key, said.clone(), signature)]).is_err());
        assert!(known.check((), [(key, said, other_signature)]).is_err());
        assert!(known.check((), [(key, b"ab".to_vec(), signature)]).is_err());
    }

    #[test]
    fn no_more_than_the_limit_is_remembered_and_the_newest_half_stays() {
        let mut known = Generations::default();
        let number = |number: usize| crate::crypto::sha256(&number.to_be_bytes());
        let count = 3 * SIGNATURES_KNOWN_MAX;
        for one in 0..count {
            known.remember(number(one));
            assert!(known.young.len() + known.old.len() <= SIGNATURES_KNOWN_MAX);
        }
        let half = SIGNATURES_KNOWN_MAX / 2;
        assert!((count - half..count).all(|one| known.contains(&number(one))));
        assert!(!known.contains(&number(0)));
    }
}
