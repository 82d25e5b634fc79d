//! The guards of the machine one by one: what is of another term, of another election or of nobody changes nothing.

use super::scene::{ELECTION, Scene, ack, address, block, now_at, position, set_of, start};
use crate::consensus::raft::height::{HeightState, Outcome, OwnAck};
use crate::consensus::tally::VoteSet;
use crate::consensus::{Direct, Input, RaftRole, ReadMode, ReadTicket};
use crate::crypto::Verified;
use crate::types::{CommitSig, Election, Height, Quorum, RaftStatement, Round, VoteKind};
use std::sync::Arc;

fn five() -> Scene {
    Scene::of(&set_of(&[0, 1, 2, 3, 4]), 0, 1)
}

#[test]
fn somebody_elses_ballots_elect_nobody_here() {
    let mut scene = five();
    scene.wait(ELECTION * 3);
    let (term, asked, election) = (Round::ZERO, Round::new(1), Election::PreVote);
    for voter in [1, 2, 3] {
        let candidate = address(4);
        let height = Height::FIRST;
        scene.state(voter, RaftStatement::Ballot { term, asked, election, candidate, granted: true, height });
    }
    assert_eq!(scene.role(), RaftRole::PreCandidate);
}

#[test]
fn ballots_of_an_election_that_is_over_do_not_count_in_the_next() {
    let mut scene = five();
    for asked in [1, 2] {
        scene.wait(ELECTION * 3);
        scene.grant(1, asked, Election::PreVote);
        scene.grant(2, asked, Election::PreVote);
        assert_eq!((scene.role(), scene.term()), (RaftRole::Candidate, asked));
    }
    scene.grant(1, 1, Election::Vote);
    scene.grant(2, 1, Election::Vote);
    assert_eq!(scene.role(), RaftRole::Candidate);
    scene.grant(1, 2, Election::Vote);
    scene.grant(2, 2, Election::Vote);
    assert_eq!(scene.role(), RaftRole::Leader);
}

#[test]
fn who_gave_its_vote_leaves_the_candidate_an_election_timeout() {
    let mut scene = five();
    scene.wait(ELECTION * 2);
    assert!(scene.asked_for_vote(1, 9, Election::Vote, position(1, None)));
    for _ in 0..9 {
        scene.wait(ELECTION / 10);
    }
    assert_eq!((scene.role(), scene.term()), (RaftRole::Follower, 9));
}

#[test]
fn only_the_leader_hands_over() {
    let mut scene = five();
    scene.beat(1, 3, 1);
    let hand_over = RaftStatement::TimeoutNow { term: Round::new(3), to: address(0) };
    scene.state(2, hand_over.clone());
    assert_eq!((scene.role(), scene.term()), (RaftRole::Follower, 3));
    scene.state(1, hand_over);
    assert_eq!((scene.role(), scene.term()), (RaftRole::Candidate, 4));
}

#[test]
fn an_entry_of_nobody_in_the_set_is_not_taken() {
    let mut scene = five();
    scene.propose(7, 3, &block(1, "foreign"));
    assert_eq!(scene.proposed(), None);
}

#[test]
fn a_commit_that_overtakes_the_one_before_it_is_kept_for_its_height() {
    let mut scene = five();
    let (set, id) = (Arc::clone(&scene.set), block(2, "next").id());
    let quorum = Quorum::MoreThanHalf;
    let mut acks = VoteSet::of_quorum(quorum, Height::new(2), Round::new(1), VoteKind::Precommit, Arc::clone(&set));
    for node in [1, 2, 3] {
        acks.add(ack(&set, node, (2, 1), Some(id)));
    }
    let commit = acks.to_commit().expect("three of five");
    scene.hear(1, Direct::Commit(Verified::trusted(commit.clone())));
    scene.step(Input::BlockApplied(Box::new(start(&set, 0, 2))));
    assert!(matches!(&scene.machine.current.outcome, Outcome::Fetching(known) if *known == commit));
}

#[test]
fn thesis_6_4_1_a_lease_serves_no_read_before_a_block_of_its_term_is_decided() {
    let mut scene = Scene::of(&set_of(&[0, 1, 2]), 0, 1);
    scene.elect(&[1]);
    scene.follow(1, None, 1);
    scene.step(Input::Read { ticket: ReadTicket(1), mode: ReadMode::Leased });
    assert!(!scene.effects.iter().any(|effect| effect.starts_with("ReadAt")));
}

#[test]
fn refusals_and_our_own_answer_are_of_one_term() {
    let mut scene = five();
    scene.machine.current.refusals.insert(1);
    scene.machine.current.own_ack = OwnAck::Extending(block(1, "a").id());
    scene.machine.current.enter_term(Round::new(7));
    assert!(scene.machine.current.refusals.is_empty());
    assert!(matches!(scene.machine.current.own_ack, OwnAck::No));
}

#[test]
fn an_acknowledgement_that_came_late_joins_the_last_commit() {
    let mut scene = five();
    let (set, id) = (Arc::clone(&scene.set), block(1, "a").id());
    for (height, signers) in [(1, 4), (5, 3)] {
        let before = &mut scene.machine.current;
        before.enter_term(Round::new(1));
        let acks: Vec<_> = (0..4).map(|node| ack(&set, node, (1, 1), Some(id))).collect();
        acks.iter().for_each(|ack| drop(before.acks.add(ack.clone())));
        let mut last = VoteSet::of_quorum(
            Quorum::MoreThanHalf,
            Height::FIRST,
            Round::new(1),
            VoteKind::Precommit,
            Arc::clone(&set),
        );
        acks.iter().take(3).for_each(|ack| drop(last.add(ack.clone())));
        let mut next = start(&set, 0, height + 1);
        (next.last_commit, next.last_validators) = (last.to_commit(), Some(Arc::clone(&set)));
        let now = now_at(before.began_at);
        let mut next = HeightState::new(now, next, Round::new(1));
        next.carry_over(before);
        let grown = next.grown_last_commit().expect("three of five");
        let there = grown.signatures.iter().filter(|entry| matches!(entry.sig, CommitSig::Commit(_))).count();
        assert_eq!(there, signers, "followed by height {}", height + 1);
    }
}
