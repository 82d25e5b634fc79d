//! Values of every type with a place on the wire, made from one seed.

use crate::crypto::{Hash, PublicKey, Signature, merkle::Proof, sha256};
use crate::types::abci::{
    AbciValidator, BlockFacts, BlockIdFlag, CommitInfo, Event, EventAttribute, ExecTxResult, ExtendedCommitInfo,
    ExtendedVoteInfo, FinalizeBlockResponse, Misbehavior, MisbehaviorKind, VoteInfo,
};
use crate::types::{
    Address, Block, BlockId, BlockParams, ChainId, ChainState, Commit, CommitSig, ConsensusParams,
    DuplicateVoteEvidence, Evidence, ExtendedCommit, ExtendedCommitSig, Header, Height, LightBlock,
    LightClientAttackEvidence, ParamsUpdate, Part, PartSetHeader, Power, Proposal, Round, SignedHeader, SignedPart,
    Time, Tx, Validator, ValidatorSet, ValidatorUpdate, Version, Vote, VoteKind,
};
use bytes::Bytes;
use std::sync::Arc;

/// SplitMix64: enough for making test values.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(super) fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    /// Small numbers, zero and the largest are the interesting ones.
    pub(super) fn number(&mut self) -> u64 {
        match self.below(5) {
            0 => 0,
            1 => i64::MAX as u64,
            2 => self.below(200),
            _ => self.next() >> 1 >> self.below(60),
        }
    }

    pub(super) fn signed(&mut self) -> i64 {
        if self.flag() { self.number() as i64 } else { -(self.number() as i64) }
    }

    pub(super) fn maybe<T>(&mut self, make: impl FnOnce(&mut Random) -> T) -> Option<T> {
        if self.flag() { Some(make(self)) } else { None }
    }

    pub(super) fn list<T>(&mut self, mut make: impl FnMut(&mut Random) -> T) -> Vec<T> {
        (0..self.below(4)).map(|_| make(self)).collect()
    }

    pub(super) fn bytes(&mut self) -> Bytes {
        let len = if self.below(8) == 0 { self.below(20_000) } else { self.below(40) };
        (0..len).map(|_| self.next() as u8).collect::<Vec<_>>().into()
    }

    pub(super) fn text(&mut self) -> String {
        (0..self.below(12)).map(|_| char::from(b'a' + self.below(26) as u8)).collect()
    }

    pub(super) fn hash(&mut self) -> Hash {
        sha256(&self.next().to_le_bytes())
    }

    pub(super) fn signature(&mut self) -> Signature {
        let (a, b) = (self.hash(), self.hash());
        Signature::try_from(&[a.as_ref(), b.as_ref()].concat()[..]).expect("64 bytes")
    }

    pub(super) fn public_key(&mut self) -> PublicKey {
        PublicKey::new(*self.hash().as_bytes())
    }

    pub(super) fn address(&mut self) -> Address {
        Address::from(&self.public_key())
    }

    pub(super) fn height(&mut self) -> Height {
        Height::new(self.number())
    }

    pub(super) fn round(&mut self) -> Round {
        Round::new(self.number() as u32 >> 1)
    }

    pub(super) fn time(&mut self) -> Time {
        match self.below(4) {
            0 => Time::ZERO,
            1 => Time::UNIX_EPOCH,
            _ => Time::new(self.below(4_000_000_000) as i64, self.below(1_000_000_000) as u32).expect("in range"),
        }
    }

    pub(super) fn chain_id(&mut self) -> ChainId {
        ChainId::try_from(format!("chain-{}", self.text()).as_str()).expect("a legal name")
    }

    pub(super) fn block_id(&mut self) -> BlockId {
        let parts = PartSetHeader { total: 1 + self.below(1601) as u32, hash: self.hash() };
        BlockId { hash: self.hash(), parts }
    }

    pub(super) fn version(&mut self) -> Version {
        Version { block: Version::BLOCK, app: self.number() }
    }

    pub(super) fn header(&mut self) -> Header {
        Header {
            version: self.version(),
            chain_id: self.chain_id(),
            height: self.height(),
            time: self.time(),
            last_block_id: self.maybe(Random::block_id),
            last_commit_hash: self.hash(),
            data_hash: self.hash(),
            validators_hash: self.hash(),
            next_validators_hash: self.hash(),
            consensus_hash: self.hash(),
            app_hash: self.bytes(),
            last_results_hash: self.hash(),
            evidence_hash: self.hash(),
            proposer_address: self.address(),
        }
    }

    pub(super) fn vote(&mut self) -> Vote {
        Vote {
            kind: if self.flag() { VoteKind::Prevote } else { VoteKind::Precommit },
            height: self.height(),
            round: self.round(),
            block_id: self.maybe(Random::block_id),
            timestamp: self.time(),
            validator_address: self.address(),
            validator_index: self.below(10_000) as u32,
            signature: self.signature(),
            extension: self.bytes(),
            extension_signature: self.maybe(Random::signature),
        }
    }

    pub(super) fn proposal(&mut self) -> Proposal {
        Proposal {
            height: self.height(),
            round: self.round(),
            pol_round: self.maybe(Random::round),
            block_id: self.block_id(),
            timestamp: self.time(),
            signature: self.signature(),
        }
    }

    fn commit_sig(&mut self) -> CommitSig {
        let part =
            SignedPart { validator_address: self.address(), timestamp: self.time(), signature: self.signature() };
        match self.below(3) {
            0 => CommitSig::Absent,
            1 => CommitSig::Commit(part),
            _ => CommitSig::Nil(part),
        }
    }

    pub(super) fn commit(&mut self) -> Commit {
        Commit {
            height: Height::new(1 + self.number() / 2),
            round: self.round(),
            block_id: self.block_id(),
            signatures: self.list(Random::commit_sig),
        }
    }

    pub(super) fn extended_commit(&mut self) -> ExtendedCommit {
        ExtendedCommit {
            height: self.height(),
            round: self.round(),
            block_id: self.block_id(),
            signatures: self.list(|r| ExtendedCommitSig {
                sig: r.commit_sig(),
                extension: r.bytes(),
                extension_signature: r.maybe(Random::signature),
            }),
        }
    }

    pub(super) fn part(&mut self) -> Part {
        let proof = Proof {
            total: self.number(),
            index: self.number(),
            leaf_hash: self.hash(),
            aunts: self.list(Random::hash),
        };
        Part { index: self.next() as u32, bytes: self.bytes(), proof }
    }

    pub(super) fn validator_set(&mut self) -> ValidatorSet {
        let members: Vec<Validator> = (0..1 + self.below(5))
            .map(|_| {
                let mut member = Validator::new(self.public_key(), Power::new(1 + self.below(1 << 40)));
                member.proposer_priority = self.signed();
                member
            })
            .collect();
        let proposer = members[self.below(members.len() as u64) as usize].address;
        ValidatorSet::from_stored(members, Some(proposer)).expect("a legal set")
    }

    pub(super) fn params(&mut self) -> ConsensusParams {
        let mut params = ConsensusParams {
            block: BlockParams { max_bytes: self.maybe(Random::number), max_gas: self.maybe(Random::number) },
            ..ConsensusParams::default()
        };
        params.evidence.max_age_num_blocks = self.number();
        params.evidence.max_age_duration = std::time::Duration::from_nanos(self.next() >> 8);
        params.version.app = self.number();
        params.abci.vote_extensions_enable_height = self.maybe(|r| Height::new(1 + r.below(100)));
        params
    }

    pub(super) fn params_update(&mut self) -> ParamsUpdate {
        let all = self.params();
        ParamsUpdate {
            block: self.maybe(|_| all.block),
            evidence: self.maybe(|_| all.evidence),
            validator: self.maybe(|_| all.validator.clone()),
            version: self.maybe(|_| all.version),
            abci: self.maybe(|_| all.abci),
        }
    }

    pub(super) fn light_block(&mut self) -> LightBlock {
        let signed_header = SignedHeader { header: self.header(), commit: self.commit() };
        LightBlock { signed_header, validators: self.validator_set() }
    }

    pub(super) fn evidence(&mut self) -> Evidence {
        if self.flag() {
            return Evidence::DuplicateVote(Box::new(DuplicateVoteEvidence {
                vote_a: self.vote(),
                vote_b: self.vote(),
                total_voting_power: Power::new(self.number()),
                validator_power: Power::new(self.number()),
                timestamp: self.time(),
            }));
        }
        Evidence::LightClientAttack(Box::new(LightClientAttackEvidence {
            conflicting_block: self.light_block(),
            common_height: self.height(),
            byzantine_validators: self.list(|r| Validator::new(r.public_key(), Power::new(r.number()))),
            total_voting_power: Power::new(self.number()),
            timestamp: self.time(),
        }))
    }

    pub(super) fn block(&mut self) -> Block {
        Block {
            header: self.header(),
            txs: self.list(|r| Tx::new(r.bytes())),
            evidence: self.list(Random::evidence),
            last_commit: self.maybe(Random::commit),
        }
    }

    pub(super) fn state(&mut self) -> ChainState {
        ChainState {
            algorithm: crate::types::Algorithm::Tendermint,
            version: self.version(),
            chain_id: self.chain_id(),
            initial_height: self.height(),
            last_block_height: self.height(),
            last_block_id: self.maybe(Random::block_id),
            last_block_time: self.time(),
            next_validators: Arc::new(self.validator_set()),
            validators: Arc::new(self.validator_set()),
            last_validators: self.maybe(|r| Arc::new(r.validator_set())),
            last_height_validators_changed: self.height(),
            consensus_params: Arc::new(self.params()),
            last_height_consensus_params_changed: self.height(),
            last_results_hash: self.hash(),
            app_hash: self.bytes(),
        }
    }

    fn event(&mut self) -> Event {
        let attribute = |r: &mut Random| EventAttribute { key: r.text(), value: r.text(), index: r.flag() };
        Event { kind: self.text(), attributes: self.list(attribute) }
    }

    pub(super) fn tx_result(&mut self) -> ExecTxResult {
        ExecTxResult {
            code: self.next() as u32,
            data: self.bytes(),
            log: self.text(),
            info: self.text(),
            gas_wanted: self.signed(),
            gas_used: self.signed(),
            events: self.list(Random::event),
            codespace: self.text(),
        }
    }

    pub(super) fn validator_update(&mut self) -> ValidatorUpdate {
        ValidatorUpdate { public_key: self.public_key(), power: Power::new(self.number()) }
    }

    pub(super) fn finalize_response(&mut self) -> FinalizeBlockResponse {
        FinalizeBlockResponse {
            events: self.list(Random::event),
            tx_results: self.list(Random::tx_result),
            validator_updates: self.list(Random::validator_update),
            consensus_param_updates: self.maybe(Random::params_update),
            app_hash: self.bytes(),
        }
    }

    fn abci_validator(&mut self) -> AbciValidator {
        AbciValidator { address: self.address(), power: Power::new(self.number()) }
    }

    fn block_id_flag(&mut self) -> BlockIdFlag {
        [BlockIdFlag::Absent, BlockIdFlag::Commit, BlockIdFlag::Nil][self.below(3) as usize]
    }

    pub(super) fn commit_info(&mut self) -> CommitInfo {
        let vote = |r: &mut Random| VoteInfo { validator: r.abci_validator(), flag: r.block_id_flag() };
        CommitInfo { round: self.round(), votes: self.list(vote) }
    }

    pub(super) fn extended_commit_info(&mut self) -> ExtendedCommitInfo {
        let vote = |r: &mut Random| ExtendedVoteInfo {
            validator: r.abci_validator(),
            vote_extension: r.bytes(),
            extension_signature: r.bytes(),
            flag: r.block_id_flag(),
        };
        ExtendedCommitInfo { round: self.round(), votes: self.list(vote) }
    }

    pub(super) fn block_facts(&mut self) -> BlockFacts {
        BlockFacts {
            misbehavior: self.list(|r| Misbehavior {
                kind: if r.flag() { MisbehaviorKind::DuplicateVote } else { MisbehaviorKind::LightClientAttack },
                validator: r.abci_validator(),
                height: r.height(),
                time: r.time(),
                total_voting_power: Power::new(r.number()),
            }),
            height: self.height(),
            time: self.time(),
            next_validators_hash: self.hash(),
            proposer_address: self.address(),
        }
    }
}
