//! Test data with real signatures, for all modules: keys, sets, votes and commits.

use super::*;
use crate::crypto::{Hash, PrivateKey, Signature, sha256};
use bytes::Bytes;

/// The chain of all test data.
pub(crate) fn chain_id() -> ChainId {
    ChainId::try_from("test-chain").unwrap()
}

/// A block name made of one word.
pub(crate) fn block_id(word: &str) -> BlockId {
    BlockId { hash: sha256(word.as_bytes()), parts: PartSetHeader { total: 1, hash: Hash::EMPTY } }
}

pub(crate) fn time(seconds: i64) -> Time {
    Time::new(seconds, 0).unwrap()
}

/// A validator set and its private keys.
pub(crate) struct Signers {
    /// In set order.
    pub(crate) keys: Vec<PrivateKey>,
    pub(crate) set: ValidatorSet,
}

impl Signers {
    /// As many validators as powers; `seed` makes different sets of keys.
    pub(crate) fn new(seed: u8, powers: &[u64]) -> Signers {
        let keys = (0..powers.len()).map(|i| {
            let mut bytes = [seed; 32];
            bytes[0] = i as u8;
            PrivateKey::from_seed(&bytes)
        });
        let keyed: Vec<(PrivateKey, u64)> = keys.zip(powers.iter().copied()).collect();
        Signers::of(keyed)
    }

    /// A set of these keys with these powers.
    pub(crate) fn of(keyed: Vec<(PrivateKey, u64)>) -> Signers {
        let member = |(key, power): &(PrivateKey, u64)| Validator::new(key.public_key(), Power::new(*power));
        let set = ValidatorSet::new(keyed.iter().map(member)).unwrap();
        let mut keys: Vec<PrivateKey> = keyed.into_iter().map(|(key, _)| key).collect();
        keys.sort_by_key(|key| set.by_address(&Address::from(&key.public_key())).unwrap().0);
        Signers { keys, set }
    }

    /// The header of a block of this set at this height and second, proposed by the first member: nothing was before it,
    /// and nothing is in it.
    pub(crate) fn header(&self, height: u64) -> Header {
        Header {
            version: Version { block: Version::BLOCK, app: 0 },
            chain_id: chain_id(),
            height: Height::new(height),
            time: time(height as i64),
            last_block_id: None,
            last_commit_hash: Hash::EMPTY,
            data_hash: Hash::EMPTY,
            validators_hash: self.set.hash(),
            next_validators_hash: self.set.hash(),
            consensus_hash: Hash::EMPTY,
            app_hash: Bytes::new(),
            last_results_hash: Hash::EMPTY,
            evidence_hash: Hash::EMPTY,
            proposer_address: self.set.members()[0].address,
        }
    }

    /// A precommit of the validator at `index`, signed.
    pub(crate) fn vote(&self, index: usize, kind: VoteKind, height: u64, round: u32, block: Option<BlockId>) -> Vote {
        let mut vote = Vote {
            kind,
            height: Height::new(height),
            round: Round::new(round),
            block_id: block,
            timestamp: time(height as i64),
            validator_address: self.set.members()[index].address,
            validator_index: index as u32,
            signature: Signature::new([0; 64]),
            extension: Bytes::new(),
            extension_signature: None,
        };
        vote.signature = self.keys[index].sign(&vote.sign_bytes(&chain_id()));
        vote
    }

    /// A commit of round 0 in which everybody signed for the block; times are `seconds`, one later each.
    pub(crate) fn commit(&self, height: Height, block_id: BlockId, seconds: i64) -> Commit {
        let signatures = self.set.members().iter().enumerate().map(|(index, member)| {
            CommitSig::Commit(SignedPart {
                validator_address: member.address,
                timestamp: time(seconds + index as i64),
                signature: Signature::new([0; 64]),
            })
        });
        let mut commit = Commit { height, round: Round::ZERO, block_id, signatures: signatures.collect() };
        self.sign_again(&mut commit);
        commit
    }

    /// Puts good signatures on every entry that is not absent.
    pub(crate) fn sign_again(&self, commit: &mut Commit) {
        for index in 0..commit.signatures.len() {
            let Some(sign_bytes) = commit.sign_bytes_of(index, &chain_id()) else { continue };
            let signature = self.keys[index].sign(&sign_bytes);
            match &mut commit.signatures[index] {
                CommitSig::Absent => {}
                CommitSig::Commit(part) | CommitSig::Nil(part) => part.signature = signature,
            }
        }
    }

    /// A commit with extensions, every one signed.
    pub(crate) fn extended_commit(
        &self,
        height: Height,
        block_id: BlockId,
        extension: &'static [u8],
    ) -> ExtendedCommit {
        let mut commit = ExtendedCommit::from(self.commit(height, block_id, 0));
        for index in 0..commit.signatures.len() {
            commit.signatures[index].extension = Bytes::from_static(extension);
            let sign_bytes = commit.extended_vote(index).unwrap().extension_sign_bytes(&chain_id());
            commit.signatures[index].extension_signature = Some(self.keys[index].sign(&sign_bytes));
        }
        commit
    }
}

/// Every set of up to four members of power 1 to 4, under both quorums: 680 cases against trying every subset.
#[test]
fn as_many_failures_are_survived_as_trying_every_subset_finds() {
    let mut cases = 0;
    let sets =
        (1..=4_u32).flat_map(|len| (0..4_u64.pow(len)).map(move |n| (0..len).map(move |i| n / 4_u64.pow(i) % 4 + 1)));
    for powers in sets.map(Iterator::collect::<Vec<u64>>) {
        for quorum in [Quorum::MoreThanHalf, Quorum::MoreThanTwoThirds] {
            let total: u64 = powers.iter().sum();
            let decides = |gone: u32| {
                let left = powers.iter().enumerate().filter(|(i, _)| gone >> i & 1 == 0).map(|(_, power)| power).sum();
                quorum.is_reached(Power::new(left), Power::new(total))
            };
            let all_survive =
                |count: u32| (0..1 << powers.len()).filter(|gone: &u32| gone.count_ones() == count).all(decides);
            let dumb = (1..=powers.len() as u32).take_while(|count| all_survive(*count)).count();
            assert_eq!(quorum.failures(powers.iter().map(|power| Power::new(*power))), dumb, "{powers:?} {quorum:?}");
            cases += 1;
        }
    }
    assert_eq!(cases, 680);
}
