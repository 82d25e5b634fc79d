//! A draft and what the application makes of it.

use super::world::{first_state, genesis};
use crate::pipeline::BuildJob;
use crate::pipeline::build::{Draft, tx_limits};
use crate::types::tests::{Signers, block_id, time};
use crate::types::*;
use bytes::Bytes;
use std::sync::Arc;

/// The draft of the first block, with this evidence.
fn draft(evidence: Vec<Evidence>) -> Draft {
    let state = first_state(&genesis(1));
    let (height, round) = (Height::FIRST, Round::ZERO);
    let job = BuildJob { height, round, last_commit: None, txs: Vec::new(), evidence, evidence_bytes: 0 };
    let proposer = state.validators.proposer().address;
    Draft::new(&state, &job, proposer, MedianRule::of(state.algorithm)).expect("the first block has no last commit")
}

#[test]
fn a_block_has_the_transactions_the_application_gives_and_not_others_as_long() {
    let offered = ["a=1", "b=2", "c=3"].map(Tx::new);
    let prepared = ["a=1", "x=9", "c=3"].map(Bytes::from);
    let (block, note) = draft(Vec::new()).finish(prepared.to_vec(), &offered);
    assert_eq!((block.txs, note), (prepared.map(Tx::new).to_vec(), None));
}

#[test]
fn transactions_that_fill_the_budget_to_the_last_byte_are_all_taken() {
    let draft = draft(Vec::new());
    let room = draft.request(&[]).max_tx_bytes;
    let wanted = |len: &u64| Tx::new(vec![7; *len as usize]).encoded_len() == room;
    let len = (room - 10..room).find(wanted).expect("a transaction has a few bytes around it");
    for (len, kept) in [(len, 1), (len + 1, 0)] {
        let (block, note) = draft.clone().finish(vec![vec![7; len as usize].into()], &[]);
        assert_eq!((block.txs.len(), note.is_none()), (kept, kept == 1), "{len} bytes");
    }
}

#[test]
fn a_header_has_the_hash_of_its_evidence() {
    let signers = Signers::new(1, &[10, 20]);
    let [one, other] = ["a", "b"].map(|word| signers.vote(1, VoteKind::Prevote, 7, 2, Some(block_id(word))));
    let pair = DuplicateVoteEvidence::new(one, other, time(77), &signers.set).expect("a contradiction");
    let (block, _) = draft(vec![Evidence::DuplicateVote(Box::new(pair))]).finish(Vec::new(), &[]);
    let (bare, _) = draft(Vec::new()).finish(Vec::new(), &[]);
    assert_eq!(block.header.evidence_hash, block.evidence_hash());
    assert_ne!(block.header.evidence_hash, bare.header.evidence_hash);
}

#[test]
fn a_transaction_may_want_as_much_gas_as_a_block_has() {
    let mut state = first_state(&genesis(1));
    for max_gas in [None, Some(5)] {
        let mut params = ConsensusParams::clone(&state.consensus_params);
        params.block.max_gas = max_gas;
        state.consensus_params = Arc::new(params);
        assert_eq!(tx_limits(&state).gas_max, max_gas);
    }
}
