//! Evidence survives restarts and pruning.

use super::chain::{block, h, seen, time_of};
use super::stores::{grow, grow_once};
use crate::ports::Store;
use crate::storage::{Backend, Indexing, KvStore, MemoryKv, open};
use crate::types::tests::{Signers, block_id};
use crate::types::{
    CandidateBlock, ConsensusParams, DuplicateVoteEvidence, Evidence, EvidenceChange, EvidenceParams, StoredEvidence,
    VoteKind,
};
use std::sync::Arc;
use std::time::Duration;

fn evidence(height: u64) -> Evidence {
    let signers = Signers::new(1, &[10, 10]);
    let vote = |word| signers.vote(0, VoteKind::Prevote, height, 0, Some(block_id(word)));
    let votes = DuplicateVoteEvidence::new(vote("x"), vote("y"), time_of(height), &signers.set).expect("two votes");
    Evidence::DuplicateVote(Box::new(votes))
}

/// Saves block `height` on top of another, with one piece of evidence.
fn prove(store: &dyn Store, height: u64, evidence: &Evidence) {
    let before = store.block_meta(h(height - 1)).expect("read").expect("stored").block_id;
    let mut proving = block(height, Some(before), vec![]).block().clone();
    proving.evidence = vec![evidence.clone()];
    let proving = CandidateBlock::new(proving);
    store.save_block(&proving, &seen(&proving)).expect("saved");
}

/// Bug class 054: a mark is durable with the block that proves the offence, and outlives it.
#[test]
fn pending_evidence_and_marks_of_proven_evidence_are_there_after_a_restart_and_after_pruning() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let opened = || open(Backend::Redb, dir.path(), Indexing::On).expect("opens");
    let store = opened();
    let mut state = grow(&*store, 10);
    assert_eq!(store.evidence().expect("read"), StoredEvidence::default());
    let [one, two, three] = [5, 300, 2].map(evidence);
    let waits = |evidence: &Evidence| EvidenceChange::Waits(evidence.clone());
    store.save_evidence(&[waits(&one), waits(&two), waits(&three)]).expect("saved");
    store.save_evidence(&[EvidenceChange::Gone(three.key())]).expect("saved");
    prove(&*store, 11, &three);
    drop(store);

    let store = opened();
    let expected = StoredEvidence { pending: vec![one, two], committed: vec![(three.key(), h(11))] };
    assert_eq!(store.evidence().expect("read"), expected);
    // Everything but the newest blocks goes, and the offence is too old to be judged.
    state.last_block_id = Some(store.block_meta(h(11)).expect("read").expect("stored").block_id);
    state.last_block_height = h(11);
    for height in 12..=20 {
        state = grow_once(&*store, &state, height);
    }
    let evidence =
        EvidenceParams { max_age_num_blocks: 1, max_age_duration: Duration::from_secs(1), ..EvidenceParams::default() };
    state.consensus_params = Arc::new(ConsensusParams { evidence, ..ConsensusParams::default() });
    store.prune(h(19), &state).expect("pruned");
    assert_eq!(store.block_meta(h(11)).expect("read"), None);
    assert_eq!(store.evidence().expect("read"), expected);
}

/// Seed 1795477500005662 of Tendermint, level 2: the power of all went before the next block, and with it the proof.
#[test]
fn the_first_pieces_after_a_block_survive_a_power_cut_and_no_offender_makes_us_sync_for_ever() {
    let kv = Arc::new(MemoryKv::new());
    let opened = || KvStore::new(Box::new(kv.clone()), Indexing::Off, None).expect("opens");
    let store = opened();
    let state = grow(&store, 3);
    let pieces: Vec<Evidence> = (5..45).map(evidence).collect();
    let save = |store: &dyn Store, piece: &Evidence| store.save_evidence(&[EvidenceChange::Waits(piece.clone())]);
    pieces[..20].iter().for_each(|piece| save(&store, piece).expect("saved"));
    kv.power_cut(0);
    let store = opened();
    assert_eq!(store.evidence().expect("read").pending, pieces[..16]);
    grow_once(&store, &state, 4);
    pieces[20..40].iter().for_each(|piece| save(&store, piece).expect("saved"));
    kv.power_cut(0);
    assert_eq!(opened().evidence().expect("read").pending.len(), 32, "after each block there may be as many again");
}
