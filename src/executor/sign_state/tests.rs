//! Which keys may take part: what their signers remember, held against journal and blocks.

use super::*;
use crate::codec::json;
use crate::crypto::PublicKey;
use crate::pipeline::recover;
use crate::ports::{Journal, JournalError, SignError, SignerFailed};
use crate::storage::{Backend, Indexing, open};
use crate::types::abci::InitChainResponse;
use crate::types::tests::Signers;
use crate::types::{
    Block, CandidateBlock, ChainId, ChainState, JournalMessage, Proposal, Round, Source, Standing, Statement, Time,
    UnsignedProposal, UnsignedStatement, UnsignedVote, ValidatorUpdate, Vote, VoteKind,
};
use std::path::Path;
use std::sync::Arc;

const GENESIS: &[u8] = br#"{"chain_id":"story","genesis_time":"2026-01-01T00:00:00Z"}"#;

/// A journal that holds these records.
struct Holding(Vec<JournalRecord>);

impl Journal for Holding {
    fn append(&mut self, _: Time, _: &JournalRecord) -> Result<(), JournalError> {
        Ok(())
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        Ok(())
    }

    fn records_since(&self, _: Height) -> Result<Vec<JournalRecord>, JournalError> {
        Ok(self.0.clone())
    }

    fn records_with_standing(&self, _: Height) -> Result<Vec<JournalRecord>, JournalError> {
        Ok(self.0.clone())
    }
}

/// A signer that remembers this and signs nothing.
struct Remembering(PublicKey, SignMemory);

impl Signer for Remembering {
    fn public_key(&self) -> PublicKey {
        self.0
    }

    fn memory(&self) -> Option<SignMemory> {
        Some(self.1.clone())
    }

    fn sign_vote(&mut self, _: &ChainId, _: UnsignedVote) -> Result<Vote, SignError> {
        Err(SignError::Refused("it only remembers".to_owned()))
    }

    fn sign_proposal(&mut self, _: &ChainId, _: UnsignedProposal) -> Result<Proposal, SignError> {
        Err(SignError::Refused("it only remembers".to_owned()))
    }

    fn sign_statement(&mut self, _: &ChainId, _: UnsignedStatement) -> Result<Statement, SignerFailed> {
        Err(SignerFailed("it only remembers".to_owned()))
    }
}

fn memory(last: SignPosition, promises: Promises) -> SignMemory {
    SignMemory { last, promises, file: "data/priv_validator_state.json".into() }
}

/// The first validator's node, whose signer remembers `memory` and whose journal holds `records`, before block 1.
fn node(algorithm: Algorithm, memory: SignMemory, records: Vec<JournalRecord>) -> (Executor, ChainState) {
    let member = Signers::new(1, &[10]).set.members()[0].clone();
    let mut genesis = json::genesis::parse(GENESIS).expect("well formed");
    genesis.algorithm = algorithm;
    let validators = vec![ValidatorUpdate { public_key: member.public_key, power: member.power }];
    let answer = InitChainResponse { validators, ..InitChainResponse::default() };
    let state = recover::first_state(&genesis, &answer, 0).expect("a state");
    let store = open(Backend::Memory, Path::new(""), Indexing::Off).expect("memory is there");
    let signer = Box::new(Remembering(member.public_key, memory));
    let executor =
        Executor::new((Arc::new(genesis), GENESIS.to_vec()), Box::new(Holding(records)), Some(signer), store);
    (executor, state)
}

/// What the node says when consensus is to take up the chain.
fn refusal(algorithm: Algorithm, memory: SignMemory, records: Vec<JournalRecord>) -> Option<ExecuteError> {
    let (mut executor, state) = node(algorithm, memory, records);
    executor.read_for_height_after(&state).err()
}

fn voted() -> SignPosition {
    SignPosition { height: Height::FIRST, round: Round::new(1), step: crate::types::SignStep::Precommit }
}

/// 3 protocols × journal with and without a standing × key that is free, that promised, that signed, that did both.
#[test]
fn a_key_that_signed_or_promised_takes_part_in_raft_and_pbft_only_with_a_standing_in_the_journal() {
    let standing = JournalRecord::Standing(Standing { height: Height::FIRST, round: Round::new(1), voted_for: None });
    let keys = [
        (memory(SignPosition::START, Promises::NoneGiven), None),
        (memory(SignPosition::START, Promises::Given), Some(Deed::Promised)),
        (memory(voted(), Promises::NoneGiven), Some(Deed::Signed(voted()))),
        (memory(voted(), Promises::Given), Some(Deed::Signed(voted()))),
    ];
    for (algorithm, round) in
        [(Algorithm::Tendermint, None), (Algorithm::Raft, Some("term")), (Algorithm::Pbft, Some("view"))]
    {
        for (memory, deed) in &keys {
            let remembered = refusal(algorithm, memory.clone(), vec![standing.clone()]);
            assert!(remembered.is_none(), "{algorithm}, {memory:?}: {remembered:?}");
            let said = match refusal(algorithm, memory.clone(), Vec::new()) {
                None => None,
                Some(ExecuteError::ForgottenPromises(forgotten)) => Some((forgotten.deed, forgotten.round)),
                Some(other) => panic!("{algorithm}, {memory:?}: {other}"),
            };
            assert_eq!(said, deed.zip(round), "{algorithm}, {memory:?}");
        }
    }
}

/// What it acknowledged at height 7 is in the journal, and would not be read at the height where its blocks end.
#[test]
fn blocks_from_an_older_copy_than_the_journal_are_refused_under_raft_and_pbft_and_those_as_new_are_not() {
    let at = |height| JournalRecord::Standing(Standing { height, round: Round::new(1), voted_for: None });
    for algorithm in [Algorithm::Tendermint, Algorithm::Raft, Algorithm::Pbft] {
        let key = memory(voted(), Promises::Given);
        let free = memory(SignPosition::START, Promises::NoneGiven);
        let records = vec![at(Height::FIRST), at(Height::new(7))];
        assert!(refusal(algorithm, free, records.clone()).is_none(), "{algorithm}");
        let said = refusal(algorithm, key, records).map(|error| error.to_string());
        assert_eq!(said.is_some(), algorithm != Algorithm::Tendermint, "{algorithm}");
        for word in ["at height 7", "below height 1", "put back the newest data/", "a new key"] {
            assert!(said.as_ref().is_none_or(|said| said.contains(word)), "{word}: {said:?}");
        }
    }
}

#[test]
fn the_refusal_names_the_file_what_the_key_did_and_what_to_do() {
    for (memory, deed) in [
        (memory(SignPosition::START, Promises::Given), "voted for a leader or left a view"),
        (memory(voted(), Promises::Given), "signed a precommit at height 1 round 1"),
    ] {
        let said = refusal(Algorithm::Raft, memory, Vec::new()).expect("refused").to_string();
        for words in ["data/priv_validator_state.json", deed, "in which term", "come back with a new key"] {
            assert!(said.contains(words), "{said}");
        }
    }
}

#[test]
fn a_sign_state_older_than_a_vote_in_the_journal_is_refused_under_every_protocol_and_one_as_new_is_not() {
    let signers = Signers::new(1, &[10]);
    let vote = signers.vote(0, VoteKind::Precommit, 1, 1, None);
    let standing = JournalRecord::Standing(Standing { height: Height::FIRST, round: Round::new(1), voted_for: None });
    let records = vec![standing, JournalRecord::Message { source: Source::Own, message: JournalMessage::Vote(vote) }];
    for algorithm in Algorithm::ALL {
        let old = refusal(algorithm, memory(SignPosition::START, Promises::Given), records.clone());
        let Some(ExecuteError::StaleSignState(stale)) = old else { panic!("{algorithm}: {old:?}") };
        assert_eq!((stale.last, stale.shown.at), (SignPosition::START, voted()));
        assert!(refusal(algorithm, memory(voted(), Promises::Given), records.clone()).is_none(), "{algorithm}");
    }
}

#[test]
fn a_validator_with_blocks_listens_for_its_key_though_it_signed_nothing_yet() {
    let store = open(Backend::Memory, Path::new(""), Indexing::Off).expect("memory is there");
    let signers = Signers::new(1, &[10]);
    let signer = Remembering(signers.set.members()[0].public_key, memory(SignPosition::START, Promises::NoneGiven));
    let check = || key_check(Some(&signer), &*store, Duration::ZERO, DoppelgangerCheck::OnRejoin, Hearing::Others);
    assert!(matches!(check(), KeyCheck::WhileSigning(_)));
    let header = signers.header(1);
    let block = CandidateBlock::new(Block { header, txs: Vec::new(), evidence: Vec::new(), last_commit: None });
    store.save_block(&block, &signers.commit(Height::FIRST, block.id(), 1).into()).expect("saved");
    assert!(matches!(check(), KeyCheck::BeforeSigning(_)));
}
