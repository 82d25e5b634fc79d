//! What is known of a peer, transition by transition, as CometBFT's PeerState.

use super::made::{node_id, now_at};
use crate::consensus::Tick;
use crate::crypto::sha256;
use crate::gossip::had::Had;
use crate::gossip::peer::{Commit, Known, Peer};
use crate::types::{BitArray, BlockId, Height, NewRoundStep, PartSetHeader, Proposal, Round, Step, Time, VoteKind};

const WALL: Time = Time::UNIX_EPOCH;

fn h(height: u64) -> Height {
    Height::new(height)
}

fn r(round: u32) -> Round {
    Round::new(round)
}

fn step_to(known: &mut Known, height: u64, round: u32, step: Step, last_commit: Option<u32>) -> bool {
    let message = NewRoundStep {
        height: h(height),
        round: r(round),
        step: step as u32,
        seconds_since_start_time: 1,
        last_commit_round: last_commit.map(r),
    };
    known.apply_new_round_step(WALL, &message, step)
}

fn header(tag: u8, total: u32) -> PartSetHeader {
    PartSetHeader { total, hash: sha256(&[tag]) }
}

fn proposal(height: u64, round: u32, pol_round: Option<u32>) -> Proposal {
    Proposal {
        height: h(height),
        round: r(round),
        pol_round: pol_round.map(r),
        block_id: BlockId { hash: sha256(b"block"), parts: header(1, 4) },
        timestamp: WALL,
        signature: super::made::signature_over("proposal"),
    }
}

pub(super) fn proposal_for(block_id: BlockId) -> Proposal {
    Proposal { block_id, ..proposal(1, 0, None) }
}

fn bits(on: &[usize], len: usize) -> BitArray {
    let mut bits = BitArray::new(len);
    on.iter().for_each(|at| bits.set(*at));
    bits
}

fn has(known: &mut Known, height: u64, round: u32, kind: VoteKind) -> Option<Vec<usize>> {
    let had: &mut Had = known.votes(h(height), r(round), kind)?;
    Some((0..20).filter(|at| had.contains(*at)).collect())
}

#[test]
fn a_step_back_and_a_step_told_twice_change_nothing() {
    let mut known = Known::new();
    assert!(step_to(&mut known, 5, 1, Step::Prevote, Some(0)));
    for (height, round, step) in
        [(5, 1, Step::Prevote), (5, 1, Step::Propose), (5, 0, Step::Commit), (4, 9, Step::Commit)]
    {
        assert!(!step_to(&mut known, height, round, step, Some(0)), "{height}/{round}/{step:?}");
    }
    assert!(known.is_at(h(5), r(1)));
}

#[test]
fn a_new_round_forgets_proposal_and_votes_and_a_new_step_keeps_them() {
    let mut known = Known::new();
    step_to(&mut known, 5, 0, Step::Propose, Some(0));
    known.set_has_proposal(&proposal(5, 0, None));
    known.set_has_part(h(5), r(0), 2);
    known.set_has_vote(h(5), r(0), VoteKind::Prevote, 3);
    step_to(&mut known, 5, 0, Step::Precommit, Some(0));
    assert!(known.has_proposal && known.parts.as_ref().is_some_and(|parts| parts.had.contains(2)));
    assert_eq!(has(&mut known, 5, 0, VoteKind::Prevote), Some(vec![3]));
    step_to(&mut known, 5, 1, Step::Propose, Some(0));
    assert!(!known.has_proposal && known.parts.is_none());
    assert_eq!(has(&mut known, 5, 0, VoteKind::Prevote), None, "of no use any more");
    assert_eq!(has(&mut known, 5, 1, VoteKind::Prevote), Some(vec![]));
}

#[test]
fn precommits_of_the_round_that_decided_become_the_last_commit() {
    for (decided_in, kept) in [(0, vec![1, 4]), (1, vec![])] {
        let mut known = Known::new();
        step_to(&mut known, 5, 0, Step::Precommit, Some(0));
        known.set_has_vote(h(5), r(0), VoteKind::Precommit, 1);
        known.set_has_vote(h(5), r(0), VoteKind::Precommit, 4);
        step_to(&mut known, 6, 0, Step::NewHeight, Some(decided_in));
        assert_eq!(has(&mut known, 5, decided_in, VoteKind::Precommit), Some(kept));
        assert_eq!(has(&mut known, 5, decided_in, VoteKind::Prevote), None);
        known.set_has_vote(h(5), r(decided_in), VoteKind::Precommit, 7);
        assert!(has(&mut known, 5, decided_in, VoteKind::Precommit).is_some_and(|had| had.contains(&7)));
    }
}

#[test]
fn a_commit_of_another_round_is_kept_when_the_peer_gets_there() {
    let mut known = Known::new();
    step_to(&mut known, 5, 0, Step::Prevote, Some(0));
    known.expect_commit(h(5), r(2));
    known.set_has_vote(h(5), r(2), VoteKind::Precommit, 3);
    assert_eq!(has(&mut known, 5, 2, VoteKind::Precommit), Some(vec![3]));
    assert_eq!(has(&mut known, 5, 2, VoteKind::Prevote), None);
    step_to(&mut known, 5, 2, Step::Precommit, Some(0));
    assert_eq!(has(&mut known, 5, 2, VoteKind::Precommit), Some(vec![3]), "it has them in that round, too");
    step_to(&mut known, 6, 0, Step::NewHeight, Some(2));
    assert_eq!(has(&mut known, 5, 2, VoteKind::Precommit), Some(vec![3]));
}

#[test]
fn a_commit_of_its_round_is_kept_when_the_peer_leaves_the_round() {
    let mut known = Known::new();
    step_to(&mut known, 5, 0, Step::Precommit, Some(0));
    known.expect_commit(h(5), r(0));
    known.set_has_vote(h(5), r(0), VoteKind::Precommit, 2);
    step_to(&mut known, 5, 1, Step::Propose, Some(0));
    assert_eq!(has(&mut known, 5, 0, VoteKind::Precommit), Some(vec![2]));
    assert_eq!(has(&mut known, 5, 1, VoteKind::Precommit), Some(vec![]));
}

#[test]
fn prevotes_that_justify_a_proposal_are_followed_once_the_peer_has_it() {
    let mut known = Known::new();
    step_to(&mut known, 5, 3, Step::Propose, Some(0));
    known.apply_proposal_pol(h(5), r(1), &bits(&[1], 4));
    assert_eq!(has(&mut known, 5, 1, VoteKind::Prevote), None);
    known.set_has_proposal(&proposal(5, 3, Some(1)));
    known.set_has_vote(h(5), r(1), VoteKind::Prevote, 0);
    known.apply_proposal_pol(h(5), r(1), &bits(&[1], 4));
    known.apply_proposal_pol(h(5), r(2), &bits(&[3], 4));
    assert_eq!(has(&mut known, 5, 1, VoteKind::Prevote), Some(vec![0, 1]));
}

#[test]
fn a_peer_that_says_which_block_it_needs_is_believed_a_few_times() {
    let mut known = Known::new();
    step_to(&mut known, 5, 0, Step::Propose, Some(0));
    known.set_has_proposal(&proposal(5, 0, None));
    known.set_has_part(h(5), r(0), 0);
    let here = (h(5), r(0));
    assert!(!known.apply_new_valid_block((h(5), r(1)), header(1, 4), &bits(&[], 4), Commit::Open), "another round");
    assert!(known.apply_new_valid_block(here, header(1, 4), &bits(&[], 4), Commit::Open), "it ignored the part");
    known.set_has_part(h(5), r(0), 3);
    assert!(!known.apply_new_valid_block(here, header(1, 4), &bits(&[1], 4), Commit::Open), "3 is on its way");
    let parts = known.parts.as_ref().expect("said");
    assert_eq!(parts.had.to_bits(Some(4)).to_string(), "_x_x");
    let mut believed = 0;
    for tag in 2..100 {
        let other = (h(5), r(9));
        believed += u32::from(known.apply_new_valid_block(other, header(tag, 4), &bits(&[], 4), Commit::Decided));
    }
    assert_eq!(believed, 7, "one of eight was used up above");
}

#[test]
fn what_is_shown_of_a_peer_has_the_sizes_of_its_height() {
    let mut peer = Peer::new(now_at(Tick(0)));
    let unknown = peer.state(node_id(1), |_| Some(4));
    assert_eq!((unknown.height, unknown.round, unknown.prevotes), (None, None, None));
    step_to(&mut peer.known, 5, 0, Step::Prevote, Some(1));
    peer.known.set_has_vote(h(5), r(0), VoteKind::Prevote, 2);
    let state = peer.state(node_id(1), |height| (height == h(5)).then_some(4));
    assert_eq!(state.prevotes.map(|bits| bits.to_string()), Some("__x_".into()));
    assert_eq!(state.last_commit.map(|(round, bits)| (round, bits.to_string())), Some((r(1), String::new())));
    assert_eq!(state.step, Step::Prevote);
}

#[test]
fn a_start_time_no_clock_shows_is_survived() {
    for seconds in [i64::MIN, -1, 0, 1, i64::MAX] {
        let mut known = Known::new();
        let message = NewRoundStep {
            height: h(1),
            round: r(0),
            step: 1,
            seconds_since_start_time: seconds,
            last_commit_round: None,
        };
        assert!(known.apply_new_round_step(WALL, &message, Step::NewHeight));
    }
}
