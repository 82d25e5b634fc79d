//! tendermint-rs computes the hashes and sign bytes of values this project encoded; both must come to the same.

use bytes::Bytes;
use prost::Message as _;
use quorate::crypto::{Hash, PrivateKey, Signature, sha256};
use quorate::types::{
    Address, BlockId, ChainId, Header, Height, PartSetHeader, Power, Proposal, Round, Time, Validator, ValidatorSet,
    Version, Vote, VoteKind,
};
use tendermint_proto::v0_38::types as raw;

/// Values of each kind that are compared.
const CASES: u64 = 300;

/// SplitMix64: enough for making test values.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn hash(&mut self) -> Hash {
        sha256(&self.next().to_le_bytes())
    }

    fn height(&mut self) -> Height {
        Height::new(1 + (self.next() >> 2 >> (self.next() % 60)))
    }

    fn round(&mut self) -> Round {
        Round::new((self.next() % 5) as u32)
    }

    fn time(&mut self) -> Time {
        let nanos = [0, 1, 120_000_000, 999_999_999][(self.next() % 4) as usize];
        Time::new((self.next() % 4_000_000_000) as i64, nanos).expect("in range")
    }

    fn block_id(&mut self) -> BlockId {
        let parts = PartSetHeader { total: 1 + (self.next() % 1_600) as u32, hash: self.hash() };
        BlockId { hash: self.hash(), parts }
    }

    fn chain_id(&mut self) -> ChainId {
        ChainId::try_from(format!("chain-{}", self.next()).as_str()).expect("a legal name")
    }

    fn address(&mut self) -> Address {
        Address::try_from(&self.hash().as_ref()[..20]).expect("20 bytes")
    }

    fn signature(&mut self) -> Signature {
        let (a, b) = (self.hash(), self.hash());
        Signature::try_from(&[a.as_ref(), b.as_ref()].concat()[..]).expect("64 bytes")
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Random) -> T) -> Option<T> {
        if self.next() % 2 == 0 { Some(make(self)) } else { None }
    }

    fn header(&mut self) -> Header {
        Header {
            version: Version { block: Version::BLOCK, app: self.next() % 3 },
            chain_id: self.chain_id(),
            height: Height::new(2 + self.height().get() / 2),
            time: self.time(),
            last_block_id: Some(self.block_id()),
            last_commit_hash: self.hash(),
            data_hash: self.hash(),
            validators_hash: self.hash(),
            next_validators_hash: self.hash(),
            consensus_hash: self.hash(),
            app_hash: Bytes::copy_from_slice(&self.hash().as_ref()[..8]),
            last_results_hash: self.hash(),
            evidence_hash: self.hash(),
            proposer_address: self.address(),
        }
    }

    fn vote(&mut self) -> Vote {
        Vote {
            kind: if self.next() % 2 == 0 { VoteKind::Prevote } else { VoteKind::Precommit },
            height: self.height(),
            round: self.round(),
            block_id: self.maybe(Random::block_id),
            timestamp: self.time(),
            validator_address: self.address(),
            validator_index: (self.next() % 10_000) as u32,
            signature: self.signature(),
            extension: Bytes::new(),
            extension_signature: None,
        }
    }
}

fn oracle_chain(chain_id: &ChainId) -> tendermint::chain::Id {
    chain_id.as_str().parse().expect("a legal name")
}

#[test]
fn header_hashes_agree() {
    for seed in 0..CASES {
        let header = Random(seed).header();
        let theirs = raw::Header::decode(header.encode()).expect("reads");
        let theirs = tendermint::block::Header::try_from(theirs).expect("legal");
        assert_eq!(theirs.hash().as_bytes(), header.hash().as_ref(), "{header:?}");
    }
}

#[test]
fn validator_set_hashes_agree() {
    for seed in 0..CASES {
        let r = &mut Random(seed);
        let member = |i: u64, r: &mut Random| {
            let key = PrivateKey::from_seed(sha256(&(seed ^ i << 32).to_le_bytes()).as_bytes());
            Validator::new(key.public_key(), Power::new(1 + r.next() % 1_000))
        };
        let set = ValidatorSet::new((0..1 + seed % 20).map(|i| member(i, r))).expect("a legal set");
        let theirs = raw::ValidatorSet::decode(set.encode()).expect("reads");
        let theirs = tendermint::validator::Set::try_from(theirs).expect("legal");
        assert_eq!(theirs.hash().as_bytes(), set.hash().as_ref(), "{set:?}");
        assert_eq!(theirs.total_voting_power().value(), set.total_power().get());
    }
}

#[test]
fn vote_sign_bytes_agree() {
    for seed in 0..CASES {
        let r = &mut Random(seed);
        let (vote, chain_id) = (r.vote(), r.chain_id());
        let theirs = raw::Vote::decode(vote.encode()).expect("reads");
        let theirs = tendermint::Vote::try_from(theirs).expect("legal");
        assert_eq!(theirs.into_signable_vec(oracle_chain(&chain_id)), vote.sign_bytes(&chain_id), "{vote:?}");
    }
}

#[test]
fn proposal_sign_bytes_agree() {
    for seed in 0..CASES {
        let r = &mut Random(seed);
        let proposal = Proposal {
            height: r.height(),
            round: r.round(),
            pol_round: r.maybe(Random::round),
            block_id: r.block_id(),
            timestamp: r.time(),
            signature: r.signature(),
        };
        let chain_id = r.chain_id();
        let theirs = raw::Proposal::decode(proposal.encode()).expect("reads");
        let theirs = tendermint::Proposal::try_from(theirs).expect("legal");
        let theirs = theirs.into_signable_vec(oracle_chain(&chain_id));
        assert_eq!(theirs, proposal.sign_bytes(&chain_id), "{proposal:?}");
    }
}
