//! Blocks, votes and heights made for tests, with signatures that mean nothing.

use crate::consensus::{EmptyBlocks, Now, Signed, Start, Tick, Timeouts};
use crate::crypto::{PublicKey, Signature, sha256};
use crate::types::{
    Address, Block, CandidateBlock, ChainId, ConsensusParams, Header, Height, NodeId, Power, SignRequest, Time, Tx,
    Validator, ValidatorSet, Version,
};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// xorshift64*: small, and the same everywhere.
#[derive(Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `n`.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n.max(1)
    }
}

pub(super) fn node_id(node: usize) -> NodeId {
    NodeId::new(Address::new([node as u8 + 1; 20]))
}

pub(super) fn now_at(tick: Tick) -> Now {
    Now { tick, wall: Time::UNIX_EPOCH.plus(Duration::from_secs(2000)).plus(Duration::from_nanos(tick.0)) }
}

pub(super) fn chain_id() -> ChainId {
    ChainId::try_from("gossip").expect("short")
}

/// A set of members with power 1; member `i` of the result is at index `i`.
pub(super) fn validators(count: usize) -> Arc<ValidatorSet> {
    let member = |i: usize| Validator::new(PublicKey::new(*sha256(&i.to_le_bytes()).as_bytes()), Power::new(1));
    Arc::new(ValidatorSet::new((0..count).map(member)).expect("a legal set"))
}

/// A block that differs by its tag and encodes to a bit more than `bytes`.
pub(super) fn block(height: Height, tag: &str, bytes: usize) -> Arc<CandidateBlock> {
    let hash = sha256(tag.as_bytes());
    let header = Header {
        version: Version { block: Version::BLOCK, app: 0 },
        chain_id: chain_id(),
        height,
        time: Time::UNIX_EPOCH.plus(Duration::from_secs(1000 + height.get())),
        last_block_id: None,
        last_commit_hash: hash,
        data_hash: hash,
        validators_hash: hash,
        next_validators_hash: hash,
        consensus_hash: hash,
        app_hash: Bytes::copy_from_slice(tag.as_bytes()),
        last_results_hash: hash,
        evidence_hash: hash,
        proposer_address: Address::new([1; 20]),
    };
    let txs = vec![Tx::new(Bytes::from(vec![7; bytes]))];
    Arc::new(CandidateBlock::new(Block { header, txs, evidence: Vec::new(), last_commit: None }))
}

pub(super) fn start(set: &Arc<ValidatorSet>, own: Option<usize>, height: Height) -> Start {
    let (second, delta) = (Duration::from_secs(1), Duration::from_millis(500));
    Start {
        chain_id: chain_id(),
        height,
        initial_height: Height::FIRST,
        validators: Arc::clone(set),
        next_validators: Arc::clone(set),
        last_validators: None,
        last_commit: None,
        last_block_time: Time::UNIX_EPOCH,
        params: Arc::new(ConsensusParams::default()),
        own: own.map(|i| set.members()[i].address),
        last_block: None,
        timeouts: Timeouts {
            propose: 3 * second,
            propose_delta: delta,
            prevote: second,
            prevote_delta: delta,
            precommit: second,
            precommit_delta: delta,
            commit: second,
            skip_commit_when_all_voted: false,
            empty_blocks: EmptyBlocks::Always,
            election: Duration::from_millis(300),
            heartbeat: Duration::from_millis(50),
            view_change: Duration::from_millis(500),
        },
        begin_at: Tick(0),
        proof_block_needed: true,
        txs_available: false,
    }
}

/// A signature that means nothing but differs with what is signed.
pub(super) fn signature_over(words: &str) -> Signature {
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(sha256(words.as_bytes()).as_bytes());
    Signature::new(bytes)
}

/// Signs as the real signer does, but with a signature that means nothing.
pub(super) fn sign(request: SignRequest) -> Signed {
    let signature = signature_over(&format!("{request:?}"));
    match request {
        SignRequest::Statement(statement) => panic!("Tendermint signs no {statement:?}"),
        SignRequest::Vote(unsigned) => {
            let (timestamp, extended) = (unsigned.timestamp, unsigned.extension.is_some());
            Signed::Vote(unsigned.signed(timestamp, signature, extended.then_some(signature)))
        }
        SignRequest::Proposal(unsigned) => {
            let timestamp = unsigned.timestamp;
            Signed::Proposal(unsigned.signed(timestamp, signature))
        }
    }
}
