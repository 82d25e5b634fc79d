//! The guards of the machine one by one: what is of another term, of another election or of nobody changes nothing.

use super::scene::{ELECTION, Scene, ack, address, block, now_at, peer, position, set_of, start};
use crate::consensus::raft::height::{HeightState, Outcome, OwnAck};
use crate::consensus::raft::lead::PEERS_MAX;
use crate::consensus::tally::VoteSet;
use crate::consensus::{Direct, Input, Lead, RaftRole, Reaction, ReadMode, ReadTicket, Start};
use crate::crypto::Verified;
use crate::types::{
    Address, BlockId, CommitSig, Election, Height, JournalRecord, NodeId, Quorum, RaftStatement, Round, Source,
    Standing, Vote, VoteKind,
};
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

/// `begin`, with extensions from the first height on.
fn extending(mut begin: Start) -> Start {
    let mut params = (*begin.params).clone();
    params.abci.vote_extensions_enable_height = Some(Height::FIRST);
    begin.params = params.into();
    begin
}

/// The leader of three, whose block waits for one acknowledgement more.
fn leader_of_three(begin: Start) -> (Scene, BlockId) {
    let mut scene = Scene::begin(begin, &[]);
    scene.elect(&[1]);
    let id = scene.proposed().expect("proposed");
    (scene, id)
}

fn with_extension(vote: Vote) -> Vote {
    Vote { extension_signature: Some(vote.signature), ..vote }
}

fn told(vote: &Vote) -> Direct {
    Direct::Vote(Verified::trusted(vote.clone()))
}

#[test]
fn an_acknowledgement_has_its_extension_exactly_where_the_height_requires_one() {
    let set = set_of(&[0, 1, 2]);
    for (begin, required) in [(start(&set, 0, 1), false), (extending(start(&set, 0, 1)), true)] {
        let (mut scene, id) = leader_of_three(begin);
        let bare = ack(&set, 1, (1, 1), Some(id));
        let extended = with_extension(bare.clone());
        let (good, bad) = if required { (extended, bare) } else { (bare, extended) };
        assert!(matches!(scene.hear(1, told(&bad)), Reaction::PeerFault(_)), "required: {required}");
        assert_eq!(scene.decided, None);
        assert_eq!(scene.hear(1, told(&good)), Reaction::Accepted, "required: {required}");
    }
}

#[test]
fn whose_extension_the_application_rejects_is_counted_among_those_who_refuse() {
    let set = set_of(&[0, 1, 2]);
    let (mut scene, id) = leader_of_three(extending(start(&set, 0, 1)));
    let vote = with_extension(ack(&set, 1, (1, 1), Some(id)));
    scene.hear(1, told(&vote));
    let seat = vote.validator_index;
    scene.step(Input::ExtensionVerified { vote, source: Source::Peer(peer(1)), accepted: false });
    assert!(scene.machine.current.refusals.contains(&seat));
    assert_eq!(scene.decided, None);
}

#[test]
fn a_late_acknowledgement_joins_the_last_commit_only_with_the_extension_its_height_requires() {
    let (set, id) = (set_of(&[0, 1, 2, 3, 4]), block(1, "a").id());
    let quorum = Quorum::MoreThanHalf;
    let mut last = VoteSet::of_quorum(quorum, Height::FIRST, Round::new(1), VoteKind::Precommit, Arc::clone(&set));
    for node in 0..3 {
        last.add(with_extension(ack(&set, node, (1, 1), Some(id))));
    }
    let mut begin = extending(start(&set, 0, 2));
    (begin.last_commit, begin.last_validators) = (last.to_commit(), Some(Arc::clone(&set)));
    let mut scene = Scene::begin(begin, &[]);
    let late = ack(&set, 3, (1, 1), Some(id));
    assert!(matches!(scene.hear(3, told(&late)), Reaction::Ignored(why) if why.contains("extension")));
    assert_eq!(scene.hear(3, told(&with_extension(late))), Reaction::Accepted);
}

#[test]
fn a_second_acknowledgement_by_our_own_key_counts_for_nothing_and_accuses_nobody() {
    let mut scene = five();
    scene.elect(&[1, 2]);
    let other = block(1, "other").id();
    let second = ack(&scene.set, 0, (1, 1), Some(other));
    assert!(matches!(scene.hear(3, told(&second)), Reaction::Ignored(_)));
    assert!(!scene.effects.iter().any(|effect| effect.starts_with("Accuse")));
    // The same of another member is told.
    let id = scene.proposed().expect("proposed");
    for block_id in [id, other] {
        scene.hear(3, told(&ack(&scene.set, 3, (1, 1), Some(block_id))));
    }
    assert!(scene.effects.iter().any(|effect| effect.starts_with("Accuse")));
}

#[test]
fn a_peer_far_ahead_has_blocks_fetched_once_an_election_timeout() {
    let mut scene = five();
    let mut asked = |pause| {
        scene.tick = scene.tick.plus(pause);
        scene.effects.clear();
        let (term, height) = (Round::ZERO, Height::new(500));
        scene.state(1, RaftStatement::Following { term, height, entry: None, beat: 1 });
        scene.effects.iter().filter(|effect| effect.starts_with("RequestSync")).count()
    };
    assert_eq!([ELECTION / 10, ELECTION / 10, ELECTION, ELECTION / 10].map(&mut asked), [1, 0, 1, 0]);
}

#[test]
fn an_alarm_that_rang_too_early_is_set_again() {
    let mut scene = five();
    scene.effects.clear();
    scene.step(Input::Woken);
    assert!(scene.effects.iter().any(|effect| effect.starts_with("WakeAt")), "{:?}", scene.effects);
}

#[test]
fn a_thousand_and_twenty_four_peers_are_kept_track_of() {
    let mut scene = five();
    let taken = (0..2000_u64).filter(|number| {
        let mut id = [9; 20];
        id[..8].copy_from_slice(&number.to_be_bytes());
        scene.step(Input::PeerUp(NodeId::new(Address::new(id)))) == Reaction::Accepted
    });
    assert_eq!(taken.count(), PEERS_MAX - 8, "eight were there");
    assert_eq!(scene.machine.peers.len(), PEERS_MAX);
    assert_eq!(scene.step(Input::PeerUp(peer(1))), Reaction::Accepted, "who is known may come anew");
}

#[test]
fn who_lost_the_connection_to_its_leader_names_no_leader() {
    let mut scene = five();
    scene.beat(1, 3, 1);
    let leader = |scene: &Scene| match scene.machine.view().lead {
        Lead::Leader { leader, .. } => leader,
        other => panic!("Raft has a leader, not {other:?}"),
    };
    assert_eq!(leader(&scene), Some(address(1)));
    scene.step(Input::PeerDown(peer(2)));
    assert_eq!(leader(&scene), Some(address(1)));
    scene.step(Input::PeerDown(peer(1)));
    assert_eq!(leader(&scene), None);
}

/// Records are written in the order in which they came about; one that is of an earlier term proves nothing of the later.
#[test]
fn a_vote_of_an_earlier_term_in_the_journal_is_not_taken_for_one_of_the_newest() {
    let standing = |term, node| {
        let (height, voted_for) = (Height::FIRST, Some(address(node)));
        JournalRecord::Standing(Standing { height, round: Round::new(term), voted_for })
    };
    let journal = [standing(5, 1), standing(3, 2)];
    let mut scene = Scene::begin(start(&set_of(&[0, 1, 2, 3, 4]), 0, 1), &journal);
    assert!(!scene.asked_for_vote(2, 5, Election::Vote, position(1, None)));
    assert_eq!((scene.term(), scene.machine.voted_for), (5, Some(address(1))));
}
