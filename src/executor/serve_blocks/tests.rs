//! What a peer that fetches blocks is told, from a store in memory.

use super::*;
use crate::crypto::{Hash, Signature};
use crate::storage::{Backend, Indexing, open};
use crate::types::tests::{Signers, chain_id, time};
use crate::types::*;
use std::path::Path;
use std::sync::Arc;

const BLOCKS: u64 = 6;

fn block(height: u64, last: Option<BlockId>) -> CandidateBlock {
    let signers = Signers::new(1, &[10]);
    let header = Header { last_block_id: last, ..signers.header(height) };
    let txs = vec![Tx::new(vec![height as u8; if height == 4 { 200_000 } else { 10 }])];
    let last_commit = last.map(|id| signers.commit(Height::new(height - 1), id, 1));
    CandidateBlock::new(Block { header, txs, evidence: Vec::new(), last_commit })
}

/// Blocks 1 to 6, with extensions from `extensions_from` on, and their names.
fn store(extensions_from: Option<u64>) -> (Arc<dyn Store>, ChainState, Vec<CandidateBlock>) {
    let store = open(Backend::Memory, Path::new(""), Indexing::Off).expect("memory is there");
    let signers = Signers::new(1, &[10]);
    let params = ConsensusParams {
        abci: AbciParams { vote_extensions_enable_height: extensions_from.map(Height::new) },
        ..ConsensusParams::default()
    };
    let set = Arc::new(signers.set.clone());
    let mut state = ChainState {
        algorithm: crate::types::Algorithm::Tendermint,
        version: Version { block: Version::BLOCK, app: 0 },
        chain_id: chain_id(),
        initial_height: Height::FIRST,
        last_block_height: Height::ZERO,
        last_block_id: None,
        last_block_time: time(0),
        next_validators: Arc::clone(&set),
        validators: Arc::clone(&set),
        last_validators: None,
        last_height_validators_changed: Height::FIRST,
        consensus_params: Arc::new(params),
        last_height_consensus_params_changed: Height::FIRST,
        last_results_hash: Hash::EMPTY,
        app_hash: Bytes::new(),
    };
    store.save_genesis(b"{}", &state).expect("saved");
    let mut blocks: Vec<CandidateBlock> = Vec::new();
    for height in 1..=BLOCKS {
        let block = block(height, state.last_block_id);
        let commit = match extensions_from {
            Some(from) if height >= from => signers.extended_commit(Height::new(height), block.id(), b"ext"),
            _ => signers.commit(Height::new(height), block.id(), 1).into(),
        };
        store.save_block(&block, &commit).expect("saved");
        state.last_block_height = Height::new(height);
        state.last_block_id = Some(block.id());
        state.last_validators = Some(Arc::clone(&set));
        store.save_state(&state).expect("saved");
        blocks.push(block);
    }
    (store, state, blocks)
}

fn ask(store: &dyn Store, height: u64) -> BlocksyncMessage {
    let asked = BlocksyncMessage::BlockRequest(Height::new(height));
    answer(store, &asked).expect("the store works").expect("a request has an answer")
}

#[test]
fn a_block_comes_as_it_was_stored_and_reads_as_the_same_block() {
    let (store, _, blocks) = store(None);
    for height in 1..=BLOCKS {
        let BlocksyncMessage::BlockResponse { block, extended_commit } = ask(&*store, height) else {
            panic!("block {height} is there");
        };
        let expected = &blocks[height as usize - 1];
        assert_eq!(block, expected.parts().assemble().expect("complete"), "block {height}");
        assert_eq!(CandidateBlock::from_encoded(&block).expect("reads"), *expected);
        assert_eq!(extended_commit, None);
    }
}

#[test]
fn outside_of_what_is_stored_there_is_no_block() {
    let (store, mut state, _) = store(None);
    state.consensus_params = Arc::new(ConsensusParams {
        evidence: EvidenceParams { max_age_num_blocks: 1, ..EvidenceParams::default() },
        ..ConsensusParams::default()
    });
    store.prune(Height::new(3), &state).expect("pruned");
    for height in [0, 1, 2, BLOCKS + 1, 1 << 62, Height::MAX.get()] {
        assert_eq!(ask(&*store, height), BlocksyncMessage::NoBlockResponse(Height::new(height)));
    }
    assert!(matches!(ask(&*store, 3), BlocksyncMessage::BlockResponse { .. }));
    let said = answer(&*store, &BlocksyncMessage::StatusRequest).expect("the store works");
    assert_eq!(said, Some(BlocksyncMessage::StatusResponse { base: Height::new(3), height: Height::new(BLOCKS) }));
}

#[test]
fn extended_commits_come_from_the_height_on_at_which_extensions_are_enabled() {
    let (store, ..) = store(Some(4));
    for height in 1..=BLOCKS {
        let BlocksyncMessage::BlockResponse { extended_commit, .. } = ask(&*store, height) else {
            panic!("block {height} is there");
        };
        assert_eq!(extended_commit.is_some(), height >= 4, "height {height}");
        if let Some(commit) = extended_commit {
            assert_eq!(commit.height.get(), height);
            assert_ne!(commit.signatures[0].extension_signature, Some(Signature::new([0; 64])));
        }
    }
}

#[test]
fn an_empty_store_says_zero_and_answers_are_not_answered() {
    let store = open(Backend::Memory, Path::new(""), Indexing::Off).expect("memory is there");
    let status = BlocksyncMessage::StatusResponse { base: Height::ZERO, height: Height::ZERO };
    assert_eq!(answer(&*store, &BlocksyncMessage::StatusRequest).expect("works"), Some(status.clone()));
    let block = BlocksyncMessage::BlockResponse { block: Bytes::new(), extended_commit: None };
    for message in [status, block, BlocksyncMessage::NoBlockResponse(Height::FIRST)] {
        assert_eq!(answer(&*store, &message).expect("works"), None);
    }
}

#[test]
fn a_block_whose_extensions_are_required_and_not_there_is_not_given() {
    let (store, state, _) = store(Some(BLOCKS + 1));
    let (next, signers) = (Height::new(BLOCKS + 1), Signers::new(1, &[10]));
    let block = block(next.get(), state.last_block_id);
    store.save_block(&block, &signers.commit(next, block.id(), 1).into()).expect("saved");
    assert_eq!(ask(&*store, next.get()), BlocksyncMessage::NoBlockResponse(next));
}
