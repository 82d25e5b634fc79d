//! Changes of the set: a term belongs to one validator set (docs/protocol/raft.md; compare thesis §4).

use super::scene::{ELECTION, Scene, address, position, set_of, start, weighted};
use super::world::World;
use crate::consensus::{Input, RaftRole};
use crate::types::{Election, Height, RaftStatement, Round};
use std::collections::BTreeMap;

fn decide_first(scene: &mut Scene, by: &[usize]) {
    let (id, term) = (scene.proposed().expect("proposed"), scene.term());
    for node in by {
        scene.acknowledged_by(*node, term, id);
    }
    assert_eq!(scene.decided, Some(id));
}

#[test]
fn at_the_first_height_of_another_set_the_leader_stands_anew_and_proposes_nothing_before_it_is_elected_there() {
    let mut scene = Scene::of(&set_of(&[0, 1, 2]), 0, 1);
    scene.elect(&[1]);
    decide_first(&mut scene, &[1]);
    let built = scene.built;
    scene.said.clear();
    scene.step(Input::BlockApplied(Box::new(start(&set_of(&[0, 3, 4]), 0, 2))));
    assert_eq!((scene.role(), scene.term(), scene.built), (RaftRole::Candidate, 2, built));
    let asked = scene.statements();
    assert!(asked.iter().any(|body| matches!(body, RaftStatement::RequestVote { election: Election::Handover, .. })));
    // The old set's members have no say.
    scene.grant(1, 2, Election::Handover);
    scene.grant(2, 2, Election::Handover);
    assert_eq!(scene.role(), RaftRole::Candidate);
    scene.grant(3, 2, Election::Handover);
    assert_eq!((scene.role(), scene.built), (RaftRole::Leader, built + 1));
}

#[test]
fn the_same_members_with_other_powers_are_another_set_and_the_same_set_needs_no_election() {
    for (next, role) in
        [(set_of(&[0, 1, 2]), RaftRole::Leader), (weighted(&[(0, 1), (1, 1), (2, 5)]), RaftRole::Candidate)]
    {
        let mut scene = Scene::of(&set_of(&[0, 1, 2]), 0, 1);
        scene.elect(&[1]);
        decide_first(&mut scene, &[1]);
        let mut rotated = (*next).clone();
        rotated.advance(1);
        scene.step(Input::BlockApplied(Box::new(start(&std::sync::Arc::new(rotated), 0, 2))));
        assert_eq!(scene.role(), role);
    }
}

#[test]
fn a_leader_that_is_no_member_any_more_tells_a_member_to_stand_once_one_is_there_and_proposes_nothing() {
    let mut scene = Scene::of(&set_of(&[0, 1, 2]), 0, 1);
    scene.elect(&[1]);
    decide_first(&mut scene, &[1]);
    let built = scene.built;
    scene.step(Input::BlockApplied(Box::new(start(&set_of(&[1, 2, 3]), 0, 2))));
    scene.said.clear();
    scene.follow(2, None, 1);
    let told = scene.statements();
    assert!(told.contains(&RaftStatement::TimeoutNow { term: Round::new(1), to: address(2) }), "{told:?}");
    scene.wait(ELECTION * 3);
    assert_eq!((scene.role(), scene.built), (RaftRole::Learner, built));
}

#[test]
fn learners_and_removed_members_never_stand_and_are_not_voted_for() {
    let set = set_of(&[1, 2, 3]);
    let mut learner = Scene::of(&set, 0, 1);
    learner.wait(ELECTION * 30);
    assert_eq!((learner.role(), learner.term()), (RaftRole::Learner, 0));
    learner.beat(1, 1, 1);
    let (term, to) = (Round::new(1), address(0));
    learner.state(1, RaftStatement::TimeoutNow { term, to });
    assert_eq!((learner.role(), learner.term()), (RaftRole::Learner, 1));
    let mut voter = Scene::of(&set, 1, 1);
    voter.tick = voter.tick.plus(ELECTION * 3);
    assert!(!voter.asked_for_vote(0, 1, Election::Vote, position(1, None)));
    assert!(voter.asked_for_vote(2, 1, Election::Vote, position(1, None)));
}

#[test]
fn who_is_no_member_votes_for_nobody_at_its_height_and_for_whom_knows_more_at_a_later_one() {
    let set = set_of(&[1, 2, 3]);
    let fresh = || {
        let mut learner = Scene::of(&set, 0, 1);
        learner.tick = learner.tick.plus(ELECTION * 3);
        learner
    };
    for election in [Election::PreVote, Election::Vote, Election::Handover] {
        assert!(!fresh().asked_for_vote(1, 1, election, position(1, None)), "{election:?}");
        assert!(!fresh().asked_for_vote(1, 1, election, position(1, Some(0))), "{election:?}");
        assert!(fresh().asked_for_vote(1, 1, election, position(2, None)), "{election:?}: it may be a member there");
    }
}

#[test]
fn a_learner_follows_the_chain_and_acknowledges_nothing() {
    let mut world = World::new(3, 5, 3);
    assert!(world.run_until(30, |world| world.lowest() >= Height::new(20)), "{}", world.standing());
    let learners = [address(3), address(4)];
    let signed = |world: &World| {
        let entries = world.decided.values().flat_map(|(_, commit)| commit.signatures.clone());
        entries.filter_map(|entry| entry.sig.signed().map(|part| part.validator_address)).collect::<Vec<_>>()
    };
    assert!(signed(&world).iter().all(|address| !learners.contains(address)));
}

#[test]
fn disjoint_sets_follow_each_other_in_20_networks() {
    for seed in 0..20 {
        let sets = (0..30_u64).map(|i| {
            let members = if i % 2 == 0 { [0, 1, 2] } else { [3, 4, 5] };
            (Height::new(1 + 3 * i), set_of(&members))
        });
        let mut world = World::with_sets(seed, 6, sets.collect());
        let done = world.run_until(200, |world| world.lowest() >= Height::new(30));
        assert!(done, "seed {seed}: {}", world.standing());
    }
}

/// Bug class 109 (Ongaro 2015): two leaders change the set from the same state; majorities of the two results are
/// disjoint. Here a change takes effect only when its block is decided, and only by the set before it.
#[test]
fn the_schedules_that_broke_single_server_changes_decide_one_chain() {
    let four = || set_of(&[0, 1, 2, 3]);
    let schedules: [BTreeMap<Height, _>; 3] = [
        BTreeMap::from([
            (Height::new(1), four()),
            (Height::new(4), set_of(&[0, 1, 2, 3, 4])),
            (Height::new(6), four()),
        ]),
        BTreeMap::from([(Height::new(1), four()), (Height::new(4), set_of(&[0, 1, 2])), (Height::new(6), four())]),
        BTreeMap::from([
            (Height::new(1), four()),
            (Height::new(4), set_of(&[0, 1, 2])),
            (Height::new(5), set_of(&[0, 1])),
            (Height::new(6), set_of(&[2, 3])),
        ]),
    ];
    for (number, sets) in schedules.into_iter().enumerate() {
        for seed in 0..30 {
            let mut world = World::with_sets(700 + seed, 5, sets.clone());
            world.weather = super::world::Weather { crashes: 3, ..super::world::Weather::STORM };
            for _ in 0..800 {
                world.turn(None);
                assert!(world.complaints.is_empty(), "schedule {number} seed {seed}: {:?}", world.complaints);
            }
            world.heal();
            let done = world.run_until(40, |world| world.lowest() >= Height::new(9));
            assert!(done, "schedule {number} seed {seed}: {}", world.standing());
        }
    }
}

#[test]
fn a_voter_at_the_height_before_votes_for_a_candidate_of_the_next_set() {
    let mut scene = Scene::of(&set_of(&[0, 1, 2]), 0, 4);
    scene.beat(1, 3, 1);
    // Node 5 is in the next set only; it is ahead, so we cannot tell.
    assert!(scene.asked_for_vote(5, 4, Election::Handover, position(5, None)));
}
