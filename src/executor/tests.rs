//! The barrier: what depends on a record waits until the record is durable.

use super::*;
use crate::codec::json;
use crate::consensus::Tick;
use crate::crypto::PublicKey;
use crate::pipeline::recover;
use crate::ports::{SignError, SignMemory};
use crate::storage::tests::meddled::{Before, Meddled};
use crate::storage::{Backend, Indexing, KvStore, open};
use crate::types::abci::InitChainResponse;
use crate::types::tests::{Signers, time};
use crate::types::*;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

const GENESIS: &[u8] = br#"{"chain_id":"story","genesis_time":"2026-01-01T00:00:00Z"}"#;

/// A journal that says whether all of it is durable.
struct Flagged(Arc<AtomicBool>);

impl Journal for Flagged {
    fn append(&mut self, _: Time, _: &JournalRecord) -> Result<(), JournalError> {
        self.0.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        self.0.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn records_since(&self, _: Height) -> Result<Vec<JournalRecord>, JournalError> {
        Ok(Vec::new())
    }

    fn records_with_standing(&self, _: Height) -> Result<Vec<JournalRecord>, JournalError> {
        Ok(Vec::new())
    }
}

/// A signer that refuses everything and notes whether the journal was durable when it was asked.
struct Witness {
    durable: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<bool>>>,
}

impl Signer for Witness {
    fn public_key(&self) -> PublicKey {
        PublicKey::new([1; 32])
    }

    fn memory(&self) -> Option<SignMemory> {
        None
    }

    fn sign_vote(&mut self, _: &ChainId, _: UnsignedVote) -> Result<Vote, SignError> {
        self.seen.lock().unwrap().push(self.durable.load(Ordering::Relaxed));
        Err(SignError::Refused("a witness signs nothing".to_owned()))
    }

    fn sign_proposal(&mut self, _: &ChainId, _: UnsignedProposal) -> Result<Proposal, SignError> {
        Err(SignError::Refused("a witness signs nothing".to_owned()))
    }

    fn sign_statement(&mut self, _: &ChainId, _: UnsignedStatement) -> Result<Statement, SignerFailed> {
        Err(SignerFailed("a witness signs nothing".to_owned()))
    }
}

/// An executor, whether its journal is durable, and what its signer saw of that.
fn executor() -> (Executor, Arc<AtomicBool>, Arc<Mutex<Vec<bool>>>) {
    let (durable, seen) = (Arc::new(AtomicBool::new(true)), Arc::new(Mutex::new(Vec::new())));
    let genesis = Arc::new(json::genesis::parse(GENESIS).unwrap());
    let store = open(Backend::Memory, Path::new(""), Indexing::Off).unwrap();
    let signer = Witness { durable: Arc::clone(&durable), seen: Arc::clone(&seen) };
    let journal = Box::new(Flagged(Arc::clone(&durable)));
    (Executor::new((genesis, GENESIS.to_vec()), journal, Some(Box::new(signer)), store), durable, seen)
}

fn execute(executor: &mut Executor, effect: Effect) {
    let now = Now { tick: Tick(0), wall: time(0) };
    executor.execute(now, effect, &mut VecDeque::new()).unwrap();
}

fn record() -> Effect {
    Effect::Persist(JournalRecord::EndHeight(Height::FIRST))
}

#[test]
fn a_signature_waits_until_what_was_journaled_before_is_durable() {
    let (mut executor, _, seen) = executor();
    let vote = UnsignedVote {
        kind: VoteKind::Prevote,
        height: Height::FIRST,
        round: Round::ZERO,
        block_id: None,
        timestamp: time(0),
        validator_address: Address::new([1; 20]),
        validator_index: 0,
        extension: None,
    };
    execute(&mut executor, record());
    execute(&mut executor, Effect::Sign(SignRequest::Vote(vote)));
    assert_eq!(*seen.lock().unwrap(), [true]);
}

#[test]
fn the_store_of_another_chain_is_not_taken_up() {
    let (executor, ..) = executor();
    let mut state = first_state(&executor, &Signers::new(1, &[10]));
    executor.store.save_state(&state).unwrap();
    assert!(executor.standing().is_ok());
    state.chain_id = ChainId::try_from("another").unwrap();
    executor.store.save_state(&state).unwrap();
    let Err(refused) = executor.standing() else { panic!("a store of another chain is taken") };
    let why = refused.to_string();
    assert!(why.contains("holds chain another") && why.contains("--home"), "{why}");
}

fn block(signers: &Signers, height: Height) -> (Arc<CandidateBlock>, ExtendedCommit) {
    let header = Header { time: time(1), ..signers.header(height.get()) };
    let block = Block { header, txs: Vec::new(), evidence: Vec::new(), last_commit: None };
    let block = Arc::new(CandidateBlock::new(block));
    let commit = ExtendedCommit::from(signers.commit(height, block.id(), 1));
    (block, commit)
}

#[test]
fn a_block_is_saved_after_what_was_journaled_before_is_durable() {
    let (mut executor, durable, _) = executor();
    let (block, commit) = block(&Signers::new(1, &[10]), Height::FIRST);
    execute(&mut executor, record());
    execute(&mut executor, Effect::SaveBlock { block, commit });
    assert!(durable.load(Ordering::Relaxed));
}

#[test]
fn a_peer_that_lags_behind_asks_for_a_pruned_block_whose_header_is_kept_and_the_node_goes_on() {
    let (mut executor, ..) = executor();
    let signers = Signers::new(1, &[10]);
    let store = Arc::clone(&executor.store);
    for height in (1..=3).map(Height::new) {
        let (block, commit) = block(&signers, height);
        execute(&mut executor, Effect::SaveBlock { block, commit });
    }
    store.prune(Height::new(3), &first_state(&executor, &signers)).unwrap();
    assert!(store.block_meta(Height::FIRST).unwrap().is_some(), "misbehaviour there can still be punished");
    assert!(is_not_there(&mut executor, Height::FIRST));
}

#[test]
fn a_peer_asks_for_a_block_that_is_pruned_while_it_is_read_and_the_node_goes_on() {
    let (mut executor, ..) = executor();
    let (signers, kv) = (Signers::new(1, &[10]), Arc::new(Meddled::default()));
    let store = Arc::new(KvStore::new(Box::new(kv.clone()), Indexing::Off, None).unwrap());
    executor.store = store.clone();
    for height in (1..=3).map(Height::new) {
        let (block, commit) = block(&signers, height);
        execute(&mut executor, Effect::SaveBlock { block, commit });
    }
    let state = first_state(&executor, &signers);
    kv.meddle(Before::Read, move || assert_eq!(store.prune(Height::new(3), &state).unwrap(), 2));
    assert!(is_not_there(&mut executor, Height::FIRST));
}

fn first_state(executor: &Executor, signers: &Signers) -> ChainState {
    let members = signers.set.members().iter();
    let validators = members.map(|it| ValidatorUpdate { public_key: it.public_key, power: it.power }).collect();
    let answer = InitChainResponse { validators, ..InitChainResponse::default() };
    recover::first_state(executor.genesis(), &answer, 0).unwrap()
}

/// Whether a peer that asks for the block is told that it is not here.
fn is_not_there(executor: &mut Executor, height: Height) -> bool {
    let (now, mut answers) = (Now { tick: Tick(0), wall: time(0) }, VecDeque::new());
    executor.execute(now, Effect::LoadDecided(height), &mut answers).unwrap();
    matches!(answers.pop_front(), Some(Input::DecidedLoaded { decided: None, .. }))
}

/// `unsafe-reset-all` keeps a key that is there and forgets what it signed: on a chain that goes on, no sentence may
/// send a validator there with its key in place.
#[test]
fn no_remedy_has_a_validator_forget_what_it_signed_on_a_chain_that_goes_on() {
    use super::{Deed, ExecuteError, ForgottenPromises};
    let damaged = ExecuteError::Damaged { height: Height::FIRST, why: "a part is missing".into() }.to_string();
    assert!(damaged.contains("quorate reset-state") && !damaged.contains("unsafe-reset-all"), "{damaged}");
    let forgotten = ForgottenPromises { file: "data/state.json".into(), deed: Deed::Promised, round: "term" };
    let (sentence, first) = (forgotten.to_string(), "move config/priv_validator_key.json away");
    let place = |words: &str| sentence.find(words).expect(words);
    assert!(place(first) < place("quorate unsafe-reset-all"), "{sentence}");
}

#[test]
fn a_signature_of_ours_that_block_or_journal_shows_counts_when_it_is_later_than_the_last() {
    let (mut executor, _, _) = executor();
    let signers = Signers::new(1, &[10]);
    let own = signers.set.members()[0].address;
    let vote = signers.vote(0, VoteKind::Prevote, 1, 3, None);
    let of_vote = SignPosition::of_vote(&vote);
    let records = [JournalRecord::Message { source: Source::Own, message: JournalMessage::Vote(vote) }];
    let shown = |executor: &Executor, records: &[JournalRecord], own: &Address, last: SignPosition| {
        newest_shown(&*executor.store, records, own, last).unwrap()
    };
    let by_journal = Some(Shown { at: of_vote, by: ShownBy::Journal });
    assert_eq!(shown(&executor, &records, &own, SignPosition::START), by_journal);
    assert_eq!(shown(&executor, &records, &own, of_vote), None, "that is the last");
    assert_eq!(shown(&executor, &records, &Address::new([9; 20]), SignPosition::START), None, "another's vote");

    let (block, commit) = block(&signers, Height::FIRST);
    execute(&mut executor, Effect::SaveBlock { block, commit });
    let decided = SignPosition { height: Height::FIRST, round: Round::ZERO, step: SignStep::Precommit };
    let by_block = Some(Shown { at: decided, by: ShownBy::Block });
    assert_eq!(shown(&executor, &[], &own, SignPosition::START), by_block);
    assert_eq!(shown(&executor, &[], &own, decided), None);
    assert_eq!(shown(&executor, &records, &own, SignPosition::START), by_journal, "the newer of both");
}

/// Our precommit came when the block was decided: the commit we decided by lacks it, the one the next block carries has it.
#[test]
fn a_precommit_of_ours_that_only_the_next_block_carries_is_shown_too() {
    let (mut executor, ..) = executor();
    let signers = Signers::new(1, &[10, 10]);
    let own = signers.set.members()[0].address;
    let (first, whole) = block(&signers, Height::FIRST);
    let (second, _) = block(&signers, Height::new(2));
    let next = Block { last_commit: Some(whole.to_commit()), ..second.block().clone() };
    let next = Arc::new(CandidateBlock::new(next));
    let mut of_next = ExtendedCommit::from(signers.commit(Height::new(2), next.id(), 2));
    let mut seen = whole;
    (seen.signatures[0].sig, of_next.signatures[0].sig) = (CommitSig::Absent, CommitSig::Absent);
    for (block, commit) in [(first, seen), (next, of_next)] {
        execute(&mut executor, Effect::SaveBlock { block, commit });
    }
    let at = SignPosition { height: Height::FIRST, round: Round::ZERO, step: SignStep::Precommit };
    let shown = newest_shown(&*executor.store, &[], &own, SignPosition::START).unwrap();
    assert_eq!(shown, Some(Shown { at, by: ShownBy::Block }));
}

#[test]
fn the_first_state_of_a_chain_is_saved_with_its_genesis_file() {
    let (mut executor, _, _) = executor();
    let state = executor.standing().unwrap().state;
    execute(&mut executor, Effect::SaveState(state));
    assert_eq!(executor.store.genesis().unwrap().as_deref(), Some(GENESIS));
}
