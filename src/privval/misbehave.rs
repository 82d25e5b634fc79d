//! A validator that signs two different prevotes in one round, to show that the others find and punish it. Only in
//! builds with the feature `misbehave`, which says so in `quorate version` and whenever it starts.
//!
//! Consensus gets the honest vote and knows of no other; the second one goes past the guard and past the machine, from
//! the driver straight to the peers.

use super::FileSigner;
use crate::crypto::{Hash, PublicKey};
use crate::ports::{SignError, SignMemory, Signer, SignerFailed};
use crate::types::{
    BlockId, ChainId, Height, PartSetHeader, Proposal, Statement, UnsignedProposal, UnsignedStatement, UnsignedVote,
    Vote, VoteKind,
};
use std::collections::BTreeSet;

/// The variable that names the heights at which to sign twice: `MISBEHAVE_AT=5,9`. Without it everything is honest.
pub const HEIGHTS_VARIABLE: &str = "MISBEHAVE_AT";

/// Signs as a [`FileSigner`] does, and at some heights a second prevote for something else.
#[derive(Debug)]
pub struct TwoFaced {
    inner: FileSigner,
    heights: BTreeSet<Height>,
    second: Option<Vote>,
}

impl TwoFaced {
    /// Misbehaves at the heights a text names, separated by commas.
    pub fn new(inner: FileSigner, heights: &str) -> Result<TwoFaced, SignerFailed> {
        let words = heights.split(',').map(str::trim).filter(|word| !word.is_empty());
        let height = |word: &str| {
            let number = word.parse::<i64>().ok().and_then(|number| Height::try_from(number).ok());
            number.ok_or_else(|| {
                SignerFailed(format!("{HEIGHTS_VARIABLE} names heights, separated by commas, got {word:?}"))
            })
        };
        Ok(TwoFaced { inner, heights: words.map(height).collect::<Result<_, _>>()?, second: None })
    }
}

/// What is voted for besides: nil instead of a block, a block nobody knows instead of nil.
fn something_else(block_id: Option<BlockId>) -> Option<BlockId> {
    let unknown = Hash::new([0xee; 32]);
    match block_id {
        Some(_) => None,
        None => Some(BlockId { hash: unknown, parts: PartSetHeader { total: 1, hash: unknown } }),
    }
}

impl Signer for TwoFaced {
    fn public_key(&self) -> PublicKey {
        self.inner.public_key()
    }

    fn memory(&self) -> Option<SignMemory> {
        self.inner.memory()
    }

    fn sign_vote(&mut self, chain_id: &ChainId, vote: UnsignedVote) -> Result<Vote, SignError> {
        let honest = self.inner.sign_vote(chain_id, vote.clone())?;
        if vote.kind == VoteKind::Prevote && self.heights.contains(&vote.height) {
            let other = UnsignedVote { block_id: something_else(vote.block_id), ..vote };
            self.second = Some(self.inner.sign_past_the_guard(chain_id, other));
        }
        Ok(honest)
    }

    fn sign_proposal(&mut self, chain_id: &ChainId, proposal: UnsignedProposal) -> Result<Proposal, SignError> {
        self.inner.sign_proposal(chain_id, proposal)
    }

    fn sign_statement(&mut self, chain_id: &ChainId, statement: UnsignedStatement) -> Result<Statement, SignerFailed> {
        self.inner.sign_statement(chain_id, statement)
    }

    fn second_vote(&mut self) -> Option<Vote> {
        self.second.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::OsDisk;
    use crate::types::{Address, Round, Time};
    use std::sync::Arc;

    #[test]
    fn it_signs_two_prevotes_that_both_verify_at_the_heights_named_and_nowhere_else() {
        let home = tempfile::tempdir().unwrap();
        let (key, state) = (home.path().join("key.json"), home.path().join("state.json"));
        let signer = FileSigner::open_or_generate(Arc::new(OsDisk), &key, &state).unwrap();
        let public = signer.public_key();
        drop(signer);
        let open = || FileSigner::open(Arc::new(OsDisk), &key, &state).unwrap();
        assert!(TwoFaced::new(open(), "5, x").unwrap_err().to_string().contains("\"x\""));
        let mut signer = TwoFaced::new(open(), "5,9").unwrap();
        let chain = ChainId::try_from("two-faces").unwrap();
        for height in 4..=9 {
            for kind in [VoteKind::Prevote, VoteKind::Precommit] {
                let vote = UnsignedVote {
                    kind,
                    height: Height::new(height),
                    round: Round::ZERO,
                    block_id: something_else(None),
                    timestamp: Time::new(1_700_000_000, 0).unwrap(),
                    validator_address: Address::from(&public),
                    validator_index: 0,
                    extension: None,
                };
                let honest = signer.sign_vote(&chain, vote.clone()).unwrap();
                assert_eq!(honest.block_id, vote.block_id);
                let second = signer.second_vote();
                assert_eq!(second.is_some(), kind == VoteKind::Prevote && (height == 5 || height == 9));
                if let Some(second) = second {
                    assert_eq!((second.height, second.round, second.block_id), (honest.height, honest.round, None));
                    assert!(public.verifies(&second.sign_bytes(&chain), &second.signature));
                }
            }
        }
    }
}
