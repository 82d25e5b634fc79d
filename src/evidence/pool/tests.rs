//! The life of evidence: reported, waiting, proposed, proven, expired.

use super::*;
use crate::evidence::verify::tests::{
    HEIGHT, block_time, double_vote, facts_at, our_own_block_as_an_attack, signers, state_after,
};
use crate::types::tests::{Signers, block_id};
use crate::types::{ConsensusParams, VoteKind};
use std::time::Duration;

fn evidence(signers: &Signers, index: usize, height: u64) -> Evidence {
    Evidence::DuplicateVote(Box::new(double_vote(signers, index, height)))
}

fn facts_of<'a>(signers: &'a Signers) -> impl Fn(&Evidence) -> Option<Facts> + 'a {
    |evidence| Some(facts_at(evidence.height().get(), signers))
}

fn waiting(pool: &Pool) -> Vec<Evidence> {
    pool.iter().cloned().collect()
}

/// The two votes behind [`evidence`].
fn votes(signers: &Signers, index: usize, height: u64) -> (Vote, Vote) {
    let vote = |word| signers.vote(index, VoteKind::Prevote, height, 0, Some(block_id(word)));
    (vote("x"), vote("y"))
}

#[test]
fn evidence_waits_in_the_order_of_height_and_hash_and_is_proposed_within_the_bytes() {
    let (signers, state) = (signers(), state_after(8, &signers()));
    let mut pool = Pool::new(&state);
    let mut all: Vec<Evidence> =
        [(0, 6), (1, 5), (2, 5), (3, 4)].map(|(index, height)| evidence(&signers, index, height)).into();
    for one in &all {
        let facts = facts_at(one.height().get(), &signers);
        assert_eq!(pool.add(one.clone(), &facts, &state), Ok(one.hash()));
        assert_eq!(pool.add(one.clone(), &facts, &state), Ok(one.hash()), "a second time changes nothing");
    }
    all.sort_by_key(Evidence::key);
    assert_eq!(waiting(&pool), all);
    let size: u64 = all[..2].iter().map(Evidence::encoded_len).sum();
    assert_eq!(pool.pending(size), (all[..2].to_vec(), size));
    assert_eq!(pool.pending(size - 1), (all[..1].to_vec(), all[0].encoded_len()));
    assert_eq!(pool.pending(0), (vec![], 0));
    assert_eq!(pool.pending(u64::MAX).0, all);
}

#[test]
fn false_evidence_does_not_get_in() {
    let (signers, state) = (signers(), state_after(8, &signers()));
    let mut pool = Pool::new(&state);
    let wrong_time = facts_at(HEIGHT + 1, &signers);
    let result = pool.add(evidence(&signers, 0, HEIGHT), &wrong_time, &state);
    assert!(matches!(result, Err(InvalidEvidence::WrongTime { .. })), "{result:?}");
    assert_eq!(waiting(&pool), []);
}

/// Bug class 054: proven once is proven for ever, on the way in, in a block, and as a late contradiction.
#[test]
fn what_a_block_proved_is_not_proposed_or_accepted_again() {
    let signers = signers();
    let state = state_after(8, &signers);
    let mut pool = Pool::new(&state);
    let one = evidence(&signers, 0, 7);
    pool.add(one.clone(), &facts_at(7, &signers), &state).unwrap();
    let state = state_after(9, &signers);
    pool.update(&state, std::slice::from_ref(&one));
    assert_eq!(waiting(&pool), []);
    assert_eq!(pool.add(one.clone(), &facts_at(7, &signers), &state), Ok(one.hash()), "the sender is only behind");
    let list = [one.clone()];
    let result = pool.check_block_evidence(&list, &state, facts_of(&signers));
    assert_eq!(result, Err(InvalidEvidence::Committed));
    pool.update(&state_after(10, &signers), &[]);
    let (first, second) = votes(&signers, 0, 9);
    pool.mark_committed(&evidence(&signers, 0, 9));
    pool.report_conflict(first, second);
    pool.update(&state_after(11, &signers), &[]);
    assert_eq!(waiting(&pool), []);
    assert_eq!(pool.pending_bytes, 0);
}

#[test]
fn the_evidence_of_a_block_is_verified_once_and_must_not_stand_there_twice() {
    let signers = signers();
    let state = state_after(8, &signers);
    let mut pool = Pool::new(&state);
    let list = [evidence(&signers, 0, HEIGHT), evidence(&signers, 1, HEIGHT)];
    assert_eq!(pool.check_block_evidence(&list, &state, facts_of(&signers)), Ok(()));
    assert_eq!(waiting(&pool).len(), 2, "it is kept for the next time");
    let nothing_known = |_: &Evidence| None;
    assert_eq!(pool.check_block_evidence(&list, &state, nothing_known), Ok(()), "known evidence needs no facts");
    let twice = [list[0].clone(), list[1].clone(), list[0].clone()];
    assert_eq!(pool.check_block_evidence(&twice, &state, nothing_known), Err(InvalidEvidence::Duplicate));
    let unknown = [evidence(&signers, 2, HEIGHT)];
    let result = pool.check_block_evidence(&unknown, &state, nothing_known);
    assert_eq!(result, Err(InvalidEvidence::NoHeader(crate::types::Height::new(HEIGHT))));
}

#[test]
fn a_known_piece_does_not_shift_the_facts_of_those_after_it() {
    let signers = signers();
    let state = state_after(8, &signers);
    let mut pool = Pool::new(&state);
    let list = [evidence(&signers, 0, 4), evidence(&signers, 1, 5), evidence(&signers, 2, 6)];
    pool.add(list[0].clone(), &facts_at(4, &signers), &state).unwrap();
    let mut prepared = [4, 5, 6].map(|height| facts_at(height, &signers)).into_iter();
    assert_eq!(pool.check_block_evidence(&list, &state, |_| prepared.next()), Ok(()));
    assert_eq!(waiting(&pool), list);
}

#[test]
fn more_evidence_than_a_block_may_carry_is_refused_before_any_signature_is_verified() {
    let signers = signers();
    let mut state = state_after(8, &signers);
    let list = [evidence(&signers, 0, HEIGHT)];
    let (max, got) = (list[0].encoded_len() - 1, list[0].encoded_len());
    let mut params = ConsensusParams::default();
    params.evidence.max_bytes = max;
    state.consensus_params = Arc::new(params);
    let mut pool = Pool::new(&state);
    let not_asked = |_: &Evidence| panic!("no facts are needed");
    assert_eq!(pool.check_block_evidence(&list, &state, not_asked), Err(InvalidEvidence::TooMuch { max, got }));
}

/// Bug classes 049 and 053: time and powers come from the decided block, the same on every node, and not earlier.
#[test]
fn a_contradiction_becomes_evidence_when_its_height_is_decided() {
    let signers = signers();
    let mut pool = Pool::new(&state_after(8, &signers));
    let (first, second) = votes(&signers, 1, 9);
    pool.report_conflict(second, first);
    assert_eq!(pool.pending(u64::MAX).0, []);
    pool.update(&state_after(9, &signers), &[]);
    let expected = evidence(&signers, 1, 9);
    assert_eq!(waiting(&pool), std::slice::from_ref(&expected));
    assert_eq!(expected.time(), block_time(9));

    // A late precommit of the height before, while the next one is being decided.
    let (first, second) = votes(&signers, 2, 9);
    pool.report_conflict(first, second);
    pool.update(&state_after(10, &signers), &[]);
    assert_eq!(waiting(&pool).len(), 2);
}

#[test]
fn contradictions_above_the_decided_height_wait_and_those_long_past_are_dropped() {
    let signers = signers();
    let mut pool = Pool::new(&state_after(100, &signers));
    for height in [50, 102] {
        let (first, second) = votes(&signers, 0, height);
        pool.report_conflict(first, second);
    }
    pool.update(&state_after(101, &signers), &[]);
    assert_eq!(waiting(&pool), []);
    pool.update(&state_after(102, &signers), &[]);
    assert_eq!(waiting(&pool), [evidence(&signers, 0, 102)]);
}

#[test]
fn expired_evidence_leaves_the_pool() {
    let signers = signers();
    let mut state = state_after(8, &signers);
    let mut pool = Pool::new(&state);
    pool.add(evidence(&signers, 0, HEIGHT), &facts_at(HEIGHT, &signers), &state).unwrap();
    let mut params = ConsensusParams::default();
    params.evidence.max_age_num_blocks = 3;
    params.evidence.max_age_duration = Duration::from_secs(1);
    state = state_after(9, &signers);
    state.consensus_params = Arc::new(params);
    pool.update(&state, &[]);
    assert_eq!(waiting(&pool), []);
    assert_eq!(pool.pending_bytes, 0);
}

#[test]
fn the_pool_is_bounded() {
    let signers = signers();
    let state = state_after(8, &signers);
    let mut pool = Pool::new(&state);
    let (first, second) = votes(&signers, 0, 9);
    pool.report_conflict(first.clone(), second.clone());
    pool.report_conflict(first.clone(), second.clone());
    assert_eq!(pool.conflicts.len(), 1, "the same pair is kept once");
    for round in 0..2 * CONFLICTS_MAX as u32 {
        let second = Vote { round: crate::types::Round::new(round), ..second.clone() };
        pool.report_conflict(first.clone(), second);
    }
    assert_eq!(pool.conflicts.len(), CONFLICTS_MAX);
    pool.pending_bytes = PENDING_BYTES_MAX - 1;
    let one = evidence(&signers, 0, HEIGHT);
    let result = pool.add(one.clone(), &facts_at(HEIGHT, &signers), &state);
    assert_eq!(result, Err(InvalidEvidence::PoolFull { pieces: 0, bytes: PENDING_BYTES_MAX - 1 }));
    let list = [one.clone()];
    let result = pool.check_block_evidence(&list, &state, facts_of(&signers));
    assert_eq!(result, Ok(()), "a full pool does not make a block wrong");
    pool.pending_bytes = 0;
    for number in 0..PENDING_MAX as u32 {
        let hash = crate::crypto::sha256(&number.to_le_bytes());
        pool.pending.insert(EvidenceKey { height: Height::new(HEIGHT), hash }, one.clone());
    }
    let result = pool.add(one, &facts_at(HEIGHT, &signers), &state);
    assert_eq!(result, Err(InvalidEvidence::PoolFull { pieces: PENDING_MAX, bytes: 0 }));
}

/// What was stored is there after a restart, what was proven stays proven, and the stored pieces are always the waiting
/// ones.
#[test]
fn what_waits_survives_a_restart() {
    let signers = signers();
    let state = state_after(8, &signers);
    let mut pool = Pool::new(&state);
    let [one, two, three] = [0, 1, 2].map(|index| evidence(&signers, index, HEIGHT));
    for piece in [&one, &two, &three] {
        pool.add(piece.clone(), &facts_at(HEIGHT, &signers), &state).unwrap();
    }
    pool.update(&state_after(9, &signers), std::slice::from_ref(&one));
    let waits = |piece: &Evidence| EvidenceChange::Waits(piece.clone());
    assert_eq!(pool.take_changes(), [waits(&one), waits(&two), waits(&three), EvidenceChange::Gone(one.key())]);
    assert_eq!(pool.take_changes(), []);

    // The block that proved the second was saved, and the node died before anything else was.
    let proven = |piece: &Evidence| (piece.key(), Height::new(9));
    let stored =
        StoredEvidence { pending: vec![two.clone(), three.clone()], committed: vec![proven(&one), proven(&two)] };
    let mut pool = Pool::new(&state);
    pool.restore(stored, &state);
    assert_eq!(waiting(&pool), std::slice::from_ref(&three));
    assert_eq!(pool.take_changes(), [EvidenceChange::Gone(two.key()), waits(&three)]);
    let result = pool.check_block_evidence(&[one], &state, facts_of(&signers));
    assert_eq!(result, Err(InvalidEvidence::Committed));
}

/// A node that starts hears peers before it has read which evidence blocks proved.
#[test]
fn what_a_block_proved_is_not_proposed_again_because_a_peer_told_it_while_the_node_started() {
    let signers = signers();
    let state = state_after(8, &signers);
    let proven = evidence(&signers, 0, HEIGHT);
    let mut pool = Pool::new(&state);
    assert_eq!(pool.receive(proven.clone(), Some(&facts_at(HEIGHT, &signers)), &state), Receipt::New(proven.key()));
    let stored = StoredEvidence { pending: vec![proven.clone()], committed: vec![(proven.key(), Height::new(8))] };
    pool.take_changes();
    pool.restore(stored, &state);
    assert_eq!(waiting(&pool), [], "no honest validator would prevote a block with it");
    assert!(pool.take_changes().contains(&EvidenceChange::Gone(proven.key())), "nor does it come back");
}

#[test]
fn what_expired_while_the_node_was_down_leaves() {
    let signers = signers();
    let mut params = ConsensusParams::default();
    params.evidence.max_age_num_blocks = 3;
    params.evidence.max_age_duration = Duration::from_secs(1);
    let mut state = state_after(9, &signers);
    state.consensus_params = Arc::new(params);
    let old = evidence(&signers, 0, HEIGHT);
    let mut pool = Pool::new(&state);
    pool.restore(StoredEvidence { pending: vec![old.clone()], committed: vec![] }, &state);
    assert_eq!(waiting(&pool), []);
    assert_eq!(pool.take_changes(), [EvidenceChange::Gone(old.key())]);
}

#[test]
fn a_peer_is_blamed_for_what_is_false_everywhere_and_for_nothing_else() {
    let signers = signers();
    let state = state_after(8, &signers);
    let mut pool = Pool::new(&state);
    let true_one = evidence(&signers, 0, HEIGHT);
    let facts = facts_at(HEIGHT, &signers);
    let blamed = |receipt: &Receipt| match receipt {
        Receipt::PeerFault(_) => true,
        Receipt::Excused(_) => false,
        other => panic!("{other:?}"),
    };
    let receipt = pool.receive(true_one.clone(), None, &state);
    assert!(!blamed(&receipt), "we do not have that block: {receipt:?}");
    assert_eq!(pool.receive(true_one.clone(), Some(&facts), &state), Receipt::New(true_one.key()));
    assert_eq!(pool.receive(true_one.clone(), None, &state), Receipt::Known(true_one.key()));

    let mut forged = double_vote(&signers, 1, HEIGHT);
    forged.vote_a.signature = forged.vote_b.signature;
    let receipt = pool.receive(Evidence::DuplicateVote(Box::new(forged.clone())), Some(&facts), &state);
    assert!(blamed(&receipt), "{receipt:?}");
    std::mem::swap(&mut forged.vote_a, &mut forged.vote_b);
    let receipt = pool.receive(Evidence::DuplicateVote(Box::new(forged)), None, &state);
    assert!(blamed(&receipt), "wrong in itself, whatever blocks we have: {receipt:?}");

    let mut old = state_after(9, &signers);
    let mut params = ConsensusParams::default();
    params.evidence.max_age_num_blocks = 3;
    params.evidence.max_age_duration = Duration::from_secs(1);
    old.consensus_params = Arc::new(params);
    let receipt = pool.receive(evidence(&signers, 1, HEIGHT), Some(&facts), &old);
    assert!(!blamed(&receipt), "it expired here: {receipt:?}");
    pool.pending_bytes = PENDING_BYTES_MAX;
    let receipt = pool.receive(evidence(&signers, 2, HEIGHT), Some(&facts), &state);
    assert!(!blamed(&receipt), "there is no room: {receipt:?}");
}

#[test]
fn validator_sets_of_the_last_heights_are_kept_and_no_more() {
    let signers = signers();
    let mut pool = Pool::new(&state_after(8, &signers));
    for height in 9..30 {
        pool.update(&state_after(height, &signers), &[]);
    }
    let kept: Vec<u64> = pool.recent.keys().map(|height| height.get()).collect();
    assert_eq!(kept, (22..30).collect::<Vec<_>>());
}

#[test]
fn a_false_attack_is_excused_only_where_it_is_held_against_our_tip_for_lack_of_its_block() {
    let (attack, facts) = our_own_block_as_an_attack();
    let receipt = |height| {
        let state = state_after(height, &signers());
        Pool::new(&state).receive(attack.clone(), Some(&facts), &state)
    };
    assert!(
        matches!(receipt(HEIGHT - 1), Receipt::Excused(InvalidEvidence::SameHeader(_))),
        "{:?}",
        receipt(HEIGHT - 1)
    );
    assert!(matches!(receipt(HEIGHT), Receipt::PeerFault(InvalidEvidence::SameHeader(_))), "{:?}", receipt(HEIGHT));
}
