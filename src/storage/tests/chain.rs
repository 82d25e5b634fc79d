//! A small chain to store: nothing in it is validated, everything in it is different.

use crate::crypto::{Hash, PrivateKey, Signature, sha256};
use crate::types::abci::{Event, EventAttribute, ExecTxResult, FinalizeBlockResponse, TxResult};
use crate::types::{
    Address, AppliedBlock, Block, BlockId, CandidateBlock, ChainId, ChainState, Commit, CommitSig, ConsensusParams,
    ExtendedCommit, Header, Height, Power, Round, SignedPart, Time, Tx, Validator, ValidatorSet, Version,
};
use bytes::Bytes;
use std::sync::Arc;

/// Seconds between blocks.
pub(super) const BLOCK_SECONDS: i64 = 10;

pub(super) fn h(height: u64) -> Height {
    Height::new(height)
}

pub(super) fn time_of(height: u64) -> Time {
    Time::new(1_700_000_000 + BLOCK_SECONDS * height as i64, 0).expect("in range")
}

pub(super) fn event(kind: &str, attributes: &[(&str, &str, bool)]) -> Event {
    let attributes = attributes.iter().map(|(key, value, index)| EventAttribute {
        key: (*key).to_owned(),
        value: (*value).to_owned(),
        index: *index,
    });
    Event { kind: kind.to_owned(), attributes: attributes.collect() }
}

/// A transaction and what the application answers.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) tx: Tx,
    pub(super) result: ExecTxResult,
}

pub(super) fn sent(text: &str, code: u32, events: Vec<Event>) -> Sent {
    let result = ExecTxResult { code, data: Bytes::from_static(b"d"), events, ..ExecTxResult::default() };
    Sent { tx: Tx::new(text.to_owned().into_bytes()), result }
}

fn commit(height: u64, block_id: BlockId) -> Commit {
    let part = |byte| SignedPart {
        validator_address: Address::new([byte; 20]),
        timestamp: time_of(height),
        signature: Signature::new([byte; 64]),
    };
    let signatures = vec![CommitSig::Commit(part(1)), CommitSig::Absent, CommitSig::Nil(part(3))];
    Commit { height: h(height), round: Round::new(1), block_id, signatures }
}

/// The commit as it was seen here; heights divisible by 3 have vote extensions.
pub(super) fn seen(block: &CandidateBlock) -> ExtendedCommit {
    let height = block.block().header.height.get();
    let mut commit = ExtendedCommit::from(commit(height, block.id()));
    if height.is_multiple_of(3) {
        commit.signatures[0].extension = Bytes::from_static(b"extension");
        commit.signatures[0].extension_signature = Some(Signature::new([7; 64]));
    }
    commit
}

pub(super) fn block(height: u64, before: Option<BlockId>, txs: Vec<Tx>) -> Arc<CandidateBlock> {
    let hash = |what: &str| sha256(format!("{what} {height}").as_bytes());
    let header = Header {
        version: Version { block: Version::BLOCK, app: 1 },
        chain_id: chain_id(),
        height: h(height),
        time: time_of(height),
        last_block_id: before,
        last_commit_hash: hash("commit"),
        data_hash: hash("data"),
        validators_hash: hash("validators"),
        next_validators_hash: hash("next"),
        consensus_hash: hash("consensus"),
        app_hash: Bytes::from(vec![height as u8; 3]),
        last_results_hash: hash("results"),
        evidence_hash: Hash::EMPTY,
        proposer_address: Address::new([1; 20]),
    };
    let last_commit = before.map(|id| commit(height - 1, id));
    Arc::new(CandidateBlock::new(Block { header, txs, evidence: Vec::new(), last_commit }))
}

pub(super) fn applied(block: Arc<CandidateBlock>, sent: &[Sent], events: Vec<Event>) -> AppliedBlock {
    let height = block.block().header.height;
    let tx = |(index, sent): (u32, &Sent)| {
        let (tx, result) = (sent.tx.bytes().clone(), sent.result.clone());
        (sent.tx.hash(), TxResult { height, index, tx, result })
    };
    let results = FinalizeBlockResponse {
        events,
        tx_results: sent.iter().map(|sent| sent.result.clone()).collect(),
        app_hash: Bytes::from(vec![height.get() as u8]),
        ..FinalizeBlockResponse::default()
    };
    AppliedBlock { block, results, txs: (0..).zip(sent).map(tx).collect() }
}

fn chain_id() -> ChainId {
    ChainId::try_from("store-chain").expect("a legal name")
}

pub(super) fn validator(seed: u8, power: u64) -> Validator {
    Validator::new(PrivateKey::from_seed(&[seed; 32]).public_key(), Power::new(power))
}

pub(super) fn genesis_state() -> ChainState {
    let validators = ValidatorSet::new([validator(1, 10), validator(2, 7), validator(3, 3)]).expect("a legal set");
    ChainState {
        algorithm: crate::types::Algorithm::Tendermint,
        version: Version { block: Version::BLOCK, app: 1 },
        chain_id: chain_id(),
        initial_height: Height::FIRST,
        last_block_height: Height::ZERO,
        last_block_id: None,
        last_block_time: time_of(0),
        next_validators: Arc::new(validators.advanced(1)),
        validators: Arc::new(validators),
        last_validators: None,
        last_height_validators_changed: Height::FIRST,
        consensus_params: Arc::new(ConsensusParams::default()),
        last_height_consensus_params_changed: Height::FIRST,
        last_results_hash: Hash::EMPTY,
        app_hash: Bytes::new(),
    }
}

/// The state after one more block, as CometBFT makes it (reference §4.8); nothing changes but what must.
pub(super) fn after(state: &ChainState, block: &CandidateBlock) -> ChainState {
    ChainState {
        last_block_height: block.block().header.height,
        last_block_id: Some(block.id()),
        last_block_time: block.block().header.time,
        last_validators: Some(state.validators.clone()),
        validators: state.next_validators.clone(),
        next_validators: Arc::new(state.next_validators.advanced(1)),
        app_hash: Bytes::from(vec![block.block().header.height.get() as u8]),
        ..state.clone()
    }
}
