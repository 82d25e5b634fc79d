//! Tests of the tally: thresholds against a recount from scratch, windows, equivocators.

use super::*;
use crate::crypto::{Hash, PublicKey, Signature};
use crate::types::{Address, PartSetHeader, Time, Validator};

fn set(powers: &[u64]) -> Arc<ValidatorSet> {
    let member = |(i, power): (usize, &u64)| Validator::new(PublicKey::new([i as u8 + 1; 32]), Power::new(*power));
    Arc::new(ValidatorSet::new(powers.iter().enumerate().map(member)).expect("a legal set"))
}

fn id(tag: u8) -> Option<BlockId> {
    Some(BlockId { hash: Hash::new([tag; 32]), parts: PartSetHeader { total: 1, hash: Hash::new([tag; 32]) } })
}

fn vote(set: &ValidatorSet, from: usize, kind: VoteKind, round: u32, block_id: Option<BlockId>) -> Vote {
    let mark = block_id.map_or(0, |id| id.hash.as_bytes()[0]);
    Vote {
        kind,
        height: Height::FIRST,
        round: Round::new(round),
        block_id,
        timestamp: Time::UNIX_EPOCH,
        validator_address: set.members()[from].address,
        validator_index: from as u32,
        signature: Signature::new([mark; 64]),
        extension: bytes::Bytes::new(),
        extension_signature: None,
    }
}

fn peer(number: u8) -> Source {
    Source::Peer(NodeId::new(Address::new([number; 20])))
}

/// What a set must say after these votes, each the first of its validator, counted anew.
fn recount(set: &ValidatorSet, votes: &[Vote]) -> (u64, Option<Option<BlockId>>) {
    let power = |vote: &Vote| set.members()[vote.validator_index as usize].power.get();
    let total: u64 = set.members().iter().map(|member| member.power.get()).sum();
    let sum_for = |wanted| votes.iter().filter(|vote| vote.block_id == wanted).map(power).sum::<u64>();
    let majority = votes.iter().map(|vote| vote.block_id).find(|wanted| sum_for(*wanted) * 3 > total * 2);
    (votes.iter().map(power).sum(), majority)
}

#[test]
fn sums_and_majorities_agree_with_a_recount_for_all_625_ways_to_vote() {
    let set = set(&[5, 3, 2, 2]);
    let choices = [None, Some(None), Some(id(1)), Some(id(2)), Some(id(3))];
    let mut ways = 0;
    for way in 0..choices.len().pow(4) {
        let mut votes = VoteSet::new(Height::FIRST, Round::ZERO, VoteKind::Prevote, Arc::clone(&set));
        let mut cast = Vec::new();
        for from in 0..4 {
            let Some(choice) = choices[way / choices.len().pow(from as u32) % choices.len()] else { continue };
            let vote = vote(&set, from, VoteKind::Prevote, 0, choice);
            assert_eq!(votes.add(vote.clone()), Counted::Added);
            assert_eq!(votes.add(vote.clone()), Counted::Ignored("vote seen before"));
            cast.push(vote);
        }
        let (sum, majority) = recount(&set, &cast);
        assert_eq!((votes.sum().get(), votes.majority()), (sum, majority), "way {way}");
        assert_eq!(votes.has_two_thirds_any(), sum * 3 > 12 * 2);
        assert_eq!(votes.has_all(), cast.len() == 4);
        let bits = votes.bits();
        assert!((0..4).all(|from| bits.get(from) == cast.iter().any(|vote| vote.validator_index as usize == from)));
        ways += 1;
    }
    assert_eq!(ways, 625);
}

#[test]
fn a_signature_that_changed_is_ignored_and_a_false_index_is_the_peers_fault() {
    let set = set(&[1, 1, 1, 1]);
    let mut votes = VoteSet::new(Height::FIRST, Round::ZERO, VoteKind::Prevote, Arc::clone(&set));
    let first = vote(&set, 0, VoteKind::Prevote, 0, id(1));
    votes.add(first.clone());
    let again = Vote { signature: Signature::new([9; 64]), ..first.clone() };
    assert_eq!(votes.add(again), Counted::Ignored("nondeterministic signature"));
    for index in [1, 4, u32::MAX] {
        let astray = Vote { validator_index: index, ..first.clone() };
        assert!(matches!(votes.add(astray), Counted::PeerFault(_)), "index {index}");
    }
    assert_eq!(votes.sum(), Power::new(1));
}

#[test]
fn a_second_vote_counts_only_beside_more_than_a_third_and_is_in_the_commit_then() {
    let set = set(&[1, 1, 1, 1]);
    let mut votes = VoteSet::new(Height::FIRST, Round::ZERO, VoteKind::Precommit, Arc::clone(&set));
    let precommit = |from, choice| vote(&set, from, VoteKind::Precommit, 0, choice);
    votes.add(precommit(3, id(2)));
    votes.add(precommit(0, id(1)));
    assert!(matches!(votes.add(precommit(3, id(1))), Counted::Conflict(_)), "one of four is not a third");
    votes.add(precommit(1, id(1)));
    assert_eq!(votes.majority(), None);
    assert!(matches!(votes.add(precommit(3, id(1))), Counted::AddedBeside(_)));
    assert!(matches!(votes.add(precommit(3, id(1))), Counted::Ignored(_)));
    assert_eq!(votes.majority(), Some(id(1)));
    assert_eq!(votes.sum(), Power::new(3), "everybody counts once");
    let commit = votes.to_commit().expect("decided");
    let signed = commit.signatures.iter().filter(|entry| matches!(entry.sig, CommitSig::Commit(_))).count();
    assert_eq!(signed, 3, "a commit that verifies needs the second vote");
    assert_eq!(VoteSet::from_commit(&commit, Arc::clone(&set)).majority(), Some(id(1)));
}

/// Of six of equal power, three are for block 1 and three for block 2.
fn split_in_halves() -> (Arc<ValidatorSet>, VoteSet) {
    let set = set(&[1; 6]);
    let mut votes = VoteSet::new(Height::FIRST, Round::ZERO, VoteKind::Prevote, Arc::clone(&set));
    for from in 0..6 {
        votes.add(vote(&set, from, VoteKind::Prevote, 0, id(if from < 3 { 1 } else { 2 })));
    }
    (set, votes)
}

#[test]
fn the_second_vote_of_an_equivocator_counts_once_however_often_it_comes() {
    let (set, mut votes) = split_in_halves();
    let second = vote(&set, 3, VoteKind::Prevote, 0, id(1));
    assert!(matches!(votes.add(second.clone()), Counted::AddedBeside(_)));
    for _ in 0..3 {
        assert_eq!(votes.add(second.clone()), Counted::Ignored("conflicting vote seen before"));
    }
    assert_eq!((votes.sum_for(id(1).as_ref()), votes.majority()), (Power::new(4), None));
}

#[test]
fn the_first_majority_stays_when_equivocators_make_a_second() {
    let (set, mut votes) = split_in_halves();
    let mut add = |from, tag| votes.add(vote(&set, from, VoteKind::Prevote, 0, id(tag)));
    let all = [add(3, 1), add(4, 1), add(0, 2), add(1, 2)];
    assert!(all.iter().all(|counted| matches!(counted, Counted::AddedBeside(_))), "{all:?}");
    assert_eq!((votes.sum_for(id(2).as_ref()), votes.majority()), (Power::new(5), Some(id(1))));
}

#[test]
fn a_commit_leaves_out_precommits_for_other_blocks_and_keeps_nil() {
    let set = set(&[3, 3, 3, 1, 1]);
    let mut votes = VoteSet::new(Height::FIRST, Round::ZERO, VoteKind::Precommit, Arc::clone(&set));
    for (from, choice) in [(0, id(1)), (1, id(1)), (2, id(1)), (3, id(2)), (4, None)] {
        votes.add(vote(&set, from, VoteKind::Precommit, 0, choice));
    }
    let commit = votes.to_commit().expect("nine of eleven");
    assert!(matches!(commit.signatures[3].sig, CommitSig::Absent));
    assert!(matches!(commit.signatures[4].sig, CommitSig::Nil(_)));
}

#[test]
fn a_peer_opens_two_rounds_beyond_the_next_and_all_peers_sixty_four() {
    let set = set(&[1, 1, 1, 1]);
    let mut tally = Tally::new(Height::FIRST, Arc::clone(&set));
    let prevote = |from, round| vote(&set, from, VoteKind::Prevote, round, None);
    assert_eq!(tally.add(prevote(0, 1), peer(1)), Counted::Added, "the next round is open");
    assert_eq!(tally.add(prevote(0, 10), peer(1)), Counted::Added);
    assert_eq!(tally.add(prevote(0, 11), peer(1)), Counted::Added);
    assert!(matches!(tally.add(prevote(0, 12), peer(1)), Counted::Ignored(_)), "a third");
    assert_eq!(tally.add(prevote(1, 10), peer(1)), Counted::Added, "an open round is open to all");
    assert!(matches!(tally.add(prevote(0, ROUNDS_AHEAD_MAX + 1), peer(2)), Counted::Ignored(_)), "too far");
    for number in 0..100_u8 {
        tally.add(prevote(0, 100 + u32::from(number)), peer(100 + number));
    }
    assert_eq!(tally.rounds().count(), 1 + CATCH_UP_ROUNDS_MAX);
    assert_eq!(tally.round_to_skip_to(), Some(Round::new(10)), "the round with power behind it was not evicted");
    tally.enter(Round::new(10));
    assert_eq!(tally.add(prevote(0, 300), peer(1)), Counted::Added, "rounds reached are no longer counted");
}

#[test]
fn a_validator_that_votes_twice_in_a_later_round_is_one_voter() {
    let set = set(&[1, 1, 1]);
    let mut tally = Tally::new(Height::FIRST, Arc::clone(&set));
    tally.add(vote(&set, 0, VoteKind::Prevote, 1, None), peer(1));
    tally.add(vote(&set, 0, VoteKind::Precommit, 1, None), peer(1));
    assert_eq!(tally.round_to_skip_to(), None, "a third is not more than a third");
    tally.add(vote(&set, 1, VoteKind::Precommit, 1, None), peer(1));
    assert_eq!(tally.round_to_skip_to(), Some(Round::new(1)));
}

#[test]
fn both_votes_of_an_equivocator_are_shown_and_cast_no_doubt_on_others() {
    let (set, mut votes) = split_in_halves();
    votes.add(vote(&set, 3, VoteKind::Prevote, 0, id(1)));
    let who = |tag| votes.bits_for(id(tag).as_ref());
    assert_eq!((0..6).filter(|from| who(1).get(*from)).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!((0..6).filter(|from| who(2).get(*from)).collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!((0..6).filter(|from| votes.voted_twice(*from)).collect::<Vec<_>>(), [3]);
}

#[test]
fn prevotes_make_no_commit() {
    let set = set(&[1; 4]);
    let mut votes = VoteSet::new(Height::FIRST, Round::ZERO, VoteKind::Prevote, Arc::clone(&set));
    for from in 0..4 {
        votes.add(vote(&set, from, VoteKind::Prevote, 0, id(1)));
    }
    assert_eq!((votes.majority(), votes.to_commit()), (Some(id(1)), None));
}

#[test]
fn rounds_that_were_reached_do_not_count_against_who_opened_them() {
    let set = set(&[1; 4]);
    let mut tally = Tally::new(Height::FIRST, Arc::clone(&set));
    for rounds in [[2, 3], [5, 6]] {
        for round in rounds {
            assert_eq!(tally.add(vote(&set, 0, VoteKind::Prevote, round, None), peer(1)), Counted::Added);
        }
        tally.enter(Round::new(rounds[1]));
    }
}

#[test]
fn a_round_that_became_the_next_does_not_count_against_who_opened_it() {
    let set = set(&[1; 4]);
    let mut tally = Tally::new(Height::FIRST, Arc::clone(&set));
    let prevote = |round| vote(&set, 0, VoteKind::Prevote, round, None);
    assert_eq!((tally.add(prevote(2), peer(1)), tally.add(prevote(3), peer(1))), (Counted::Added, Counted::Added));
    tally.enter(Round::new(1));
    assert_eq!(tally.add(prevote(4), peer(1)), Counted::Added, "only round 3 is beyond the next");
}
