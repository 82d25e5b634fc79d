//! One test for each claim of §5 (Extended Version), named for it. What the world checks after every event (election
//! safety, leader completeness, state machine safety) is shown here once, by hand.

use super::scene::{ELECTION, HEARTBEAT, Scene, address, block, position, said, set_of, start};
use super::world::{Weather, World};
use crate::consensus::{Direct, EmptyBlocks, Input, RaftRole, Tick};
use crate::crypto::Verified;
use crate::types::{Election, ExtendedCommit, Height, LogPosition, RaftStatement, Round};

fn five() -> std::sync::Arc<crate::types::ValidatorSet> {
    set_of(&[0, 1, 2, 3, 4])
}

#[test]
fn s5_1_a_leader_that_hears_of_a_later_term_steps_down() {
    let mut scene = Scene::of(&five(), 0, 1);
    scene.elect(&[1, 2]);
    assert_eq!((scene.role(), scene.term()), (RaftRole::Leader, 1));
    let later = RaftStatement::Following { term: Round::new(5), height: Height::FIRST, entry: None, beat: 1 };
    scene.state(3, later);
    assert_eq!((scene.role(), scene.term()), (RaftRole::Follower, 5));
}

#[test]
fn s5_1_a_leader_of_an_earlier_term_is_not_followed_and_told_the_later_one() {
    let mut scene = Scene::of(&five(), 0, 1);
    scene.beat(1, 7, 1);
    scene.said.clear();
    scene.beat(2, 6, 1);
    assert_eq!(scene.machine.view().lead, lead(1, RaftRole::Follower));
    let told = scene.statements();
    assert!(matches!(told.as_slice(), [RaftStatement::Following { term, .. }] if term.get() == 7), "{told:?}");
}

fn lead(node: usize, role: RaftRole) -> crate::consensus::Lead {
    crate::consensus::Lead::Leader { leader: Some(address(node)), role }
}

#[test]
fn s5_2_a_server_votes_once_a_term_first_come_first_served_and_remembers_it_after_a_crash() {
    let mut scene = Scene::of(&five(), 0, 1);
    scene.wait(ELECTION * 4);
    let ask = |scene: &mut Scene, node| scene.asked_for_vote(node, 9, Election::Vote, position(1, None));
    assert!(ask(&mut scene, 1) && !ask(&mut scene, 2) && ask(&mut scene, 1));
    let mut scene = scene.crash(start(&five(), 0, 1));
    scene.tick = scene.tick.plus(ELECTION);
    assert!(!ask(&mut scene, 2) && ask(&mut scene, 1));
}

#[test]
fn s5_2_a_candidate_that_hears_the_leader_of_its_term_follows_it() {
    let mut scene = Scene::of(&five(), 0, 1);
    scene.wait(ELECTION * 3);
    scene.grant(1, 1, Election::PreVote);
    scene.grant(2, 1, Election::PreVote);
    assert_eq!((scene.role(), scene.term()), (RaftRole::Candidate, 1));
    scene.beat(3, 1, 1);
    assert_eq!(scene.machine.view().lead, lead(3, RaftRole::Follower));
}

#[test]
fn s5_2_a_majority_makes_a_leader_and_less_does_not() {
    let mut scene = Scene::of(&five(), 0, 1);
    scene.elect(&[1]);
    assert_eq!((scene.role(), scene.term()), (RaftRole::PreCandidate, 0));
    // The same voter twice is one voter; nobody's voter counts for nothing.
    scene.grant(1, 1, Election::PreVote);
    scene.grant(7, 1, Election::PreVote);
    assert_eq!(scene.role(), RaftRole::PreCandidate);
    scene.grant(2, 1, Election::PreVote);
    scene.grant(1, 1, Election::Vote);
    assert_eq!((scene.role(), scene.term()), (RaftRole::Candidate, 1));
    scene.grant(4, 1, Election::Vote);
    assert_eq!(scene.role(), RaftRole::Leader);
}

#[test]
fn thesis_9_6_a_ballot_of_the_pre_vote_that_comes_late_counts_in_no_election() {
    let mut scene = Scene::of(&five(), 0, 1);
    scene.wait(ELECTION * 3);
    scene.grant(1, 1, Election::PreVote);
    scene.grant(2, 1, Election::PreVote);
    scene.grant(3, 1, Election::Vote);
    assert_eq!((scene.role(), scene.term()), (RaftRole::Candidate, 1), "two of five votes");
    // Said in term 0, when it was asked; and said anew in term 1, as a liar or a slow voter might.
    let ballot = RaftStatement::Ballot {
        term: Round::ZERO,
        asked: Round::new(1),
        election: Election::PreVote,
        candidate: address(0),
        granted: true,
        height: Height::new(1),
    };
    scene.state(4, ballot);
    scene.grant(4, 1, Election::PreVote);
    assert_eq!(scene.role(), RaftRole::Candidate);
    scene.grant(4, 1, Election::Vote);
    assert_eq!(scene.role(), RaftRole::Leader);
}

#[test]
fn s5_2_split_votes_are_rare_200_networks_elect_within_8_election_timeouts() {
    for seed in 0..200 {
        let mut world = World::new(seed, 5, 5);
        assert!(world.run_until(8, |world| world.leader().is_some()), "seed {seed}: {}", world.standing());
    }
}

#[test]
fn figure_3_election_safety_a_second_leader_of_a_term_is_not_followed() {
    let mut scene = Scene::of(&five(), 0, 1);
    scene.beat(1, 3, 1);
    let (one, other) = (block(1, "one"), block(1, "other"));
    scene.propose(2, 3, &other);
    assert_eq!(scene.proposed(), None);
    scene.propose(1, 3, &one);
    scene.beat(2, 3, 9);
    assert_eq!((scene.proposed(), scene.machine.view().lead), (Some(one.id()), lead(1, RaftRole::Follower)));
}

#[test]
fn figure_3_log_matching_one_height_and_term_have_one_entry() {
    let mut scene = Scene::of(&five(), 0, 1);
    let (one, other) = (block(1, "one"), block(1, "other"));
    scene.propose(1, 3, &one);
    assert_eq!(scene.acked().and_then(|vote| vote.block_id), Some(one.id()));
    scene.propose(1, 3, &other);
    assert_eq!(scene.acked(), None);
    assert_eq!(scene.proposed(), Some(one.id()));
}

#[test]
fn s5_3_an_entry_is_acknowledged_only_after_it_and_its_term_are_written_down() {
    let mut scene = Scene::of(&five(), 0, 1);
    scene.effects.clear();
    scene.propose(1, 3, &block(1, "one"));
    let at = |what: &str| scene.effects.iter().position(|effect| effect.contains(what)).expect("ordered");
    let signed = at("Sign(Vote");
    assert!(at("Persist(Standing") < signed && at("Persist(Message { source: Peer") < signed);
    assert!(at("step: Precommit }") < signed);
}

#[test]
fn s5_3_what_got_lost_is_sent_again_until_it_is_acknowledged() {
    let mut scene = Scene::of(&five(), 0, 1);
    scene.elect(&[1, 2]);
    let proposals = |scene: &mut Scene| {
        let kinds: Vec<_> = scene.said.drain(..).filter(|(to, _)| *to == Some(super::world::source(3))).collect();
        let count = |wanted: fn(&Direct) -> bool| kinds.iter().filter(|(_, message)| wanted(message)).count();
        (count(|m| matches!(m, Direct::Proposal { .. })), count(|m| matches!(m, Direct::Part { .. })))
    };
    scene.said.clear();
    scene.follow(3, None, 1);
    assert_eq!(proposals(&mut scene), (1, 1), "whole at first");
    scene.follow(3, None, 1);
    assert_eq!(proposals(&mut scene), (0, 0), "not again at once");
    scene.tick = scene.tick.plus(ELECTION);
    scene.follow(3, None, 1);
    assert_eq!(proposals(&mut scene), (1, 1), "whole, since it is not there");
    scene.tick = scene.tick.plus(ELECTION * 2);
    scene.follow(3, Some(1), 1);
    assert_eq!(proposals(&mut scene), (1, 0), "a reminder: only its acknowledgement is missing");
    let id = scene.proposed().expect("proposed");
    scene.acknowledged_by(3, 1, id);
    scene.tick = scene.tick.plus(ELECTION * 8);
    scene.follow(3, Some(1), 1);
    assert_eq!(proposals(&mut scene), (0, 0), "acknowledged");
}

#[test]
fn s5_3_who_answers_but_has_no_entry_is_sent_it_every_four_election_timeouts_at_least() {
    let mut scene = Scene::of(&five(), 0, 1);
    scene.elect(&[1, 2]);
    for turn in 0..8 {
        scene.said.clear();
        scene.follow(3, None, 1);
        let sent = scene.said.iter().filter(|(_, message)| matches!(message, Direct::Proposal { .. })).count();
        assert_eq!(sent, 1, "turn {turn}");
        scene.tick = scene.tick.plus(ELECTION * 4);
    }
}

#[test]
fn s5_3_a_reminded_follower_acknowledges_again() {
    let mut scene = Scene::of(&five(), 0, 1);
    let one = block(1, "one");
    scene.propose(1, 3, &one);
    let first = scene.acked().expect("acknowledged");
    scene.propose(1, 3, &one);
    assert_eq!(scene.acked(), Some(first));
}

#[test]
fn s5_4_1_a_vote_goes_only_to_a_log_at_least_as_far_all_36_pairs() {
    let logs = [(4, None), (5, None), (5, Some(2)), (5, Some(3)), (6, None), (6, Some(1))];
    // Our log cannot be made to end in an entry at a height without acknowledging one there.
    for (own_height, own_entry) in logs {
        for (height, entry) in logs {
            let mut scene = Scene::of(&five(), 0, own_height);
            if let Some(term) = own_entry {
                scene.propose(1, term, &block(own_height, "one"));
            }
            scene.tick = scene.tick.plus(ELECTION * 3);
            let further = height > own_height || (height == own_height && entry >= own_entry);
            let last: LogPosition = position(height, entry);
            assert_eq!(
                scene.asked_for_vote(2, 9, Election::Vote, last),
                further,
                "{last:?} of {own_height} {own_entry:?}"
            );
        }
    }
}

/// Figure 8, with S1 as the machine: (a) it leads term 2 and reaches only S2; (c) it leads again in term 4.
#[test]
fn s5_4_2_figure_8_an_entry_of_an_earlier_term_is_not_decided_by_counting() {
    let mut scene = Scene::of(&five(), 0, 1);
    scene.beat(4, 1, 1);
    scene.elect(&[1, 2]);
    assert_eq!(scene.term(), 2);
    let old = scene.proposed().expect("proposed at once");
    scene.acknowledged_by(1, 2, old);
    assert_eq!(scene.decided, None, "two of five");
    // (b) S5 leads term 3; (c) S1 comes back and leads term 4.
    scene.beat(4, 3, 1);
    scene.elect(&[1, 2]);
    assert_eq!((scene.role(), scene.term()), (RaftRole::Leader, 4));
    assert_eq!(scene.proposed(), Some(old), "the entry is proposed again, in the new term");
    // Acknowledgements of term 2, however many, decide nothing any more: in (d) S5 could still overwrite the entry.
    for node in [1, 2, 3, 4] {
        scene.acknowledged_by(node, 2, old);
    }
    assert_eq!(scene.decided, None);
    // (e) those of term 4 do.
    scene.acknowledged_by(1, 4, old);
    assert_eq!(scene.decided, None);
    scene.acknowledged_by(2, 4, old);
    assert_eq!(scene.decided, Some(old));
}

/// Figure 8 (d) and (e), with S2 as the machine: whether S5, whose entry is of term 3, gets its vote.
#[test]
fn s5_4_2_figure_8_who_acknowledged_in_term_4_refuses_the_leader_of_term_3() {
    for (acknowledged_in_4, granted) in [(false, true), (true, false)] {
        let mut scene = Scene::of(&five(), 1, 1);
        let old = block(1, "old");
        scene.propose(0, 2, &old);
        if acknowledged_in_4 {
            scene.propose(0, 4, &old);
        }
        scene.tick = scene.tick.plus(ELECTION * 3);
        assert_eq!(scene.asked_for_vote(4, 5, Election::Vote, position(1, Some(3))), granted);
    }
}

#[test]
fn s5_4_3_leader_completeness_a_new_leader_proposes_the_entry_it_acknowledged_even_after_a_crash() {
    for crash in [false, true] {
        let mut scene = Scene::of(&five(), 0, 1);
        let one = block(1, "one");
        scene.propose(1, 3, &one);
        if crash {
            scene = scene.crash(start(&five(), 0, 1));
        }
        scene.elect(&[2, 3]);
        assert_eq!((scene.role(), scene.term()), (RaftRole::Leader, 4));
        assert_eq!((scene.proposed(), scene.built), (Some(one.id()), 0));
    }
}

#[test]
fn s5_4_3_an_entry_whose_signature_was_asked_for_and_never_came_is_still_ours() {
    let mut scene = Scene::of(&five(), 0, 1);
    let one = block(1, "one");
    scene.propose(1, 3, &one);
    // The crash fell between the request and the journal's record of the signature.
    scene.journal.retain(|record| !format!("{record:?}").contains("Vote(Vote"));
    let mut scene = scene.crash(start(&five(), 0, 1));
    scene.tick = scene.tick.plus(ELECTION * 3);
    assert!(!scene.asked_for_vote(2, 5, Election::Vote, position(1, None)));
}

#[test]
fn s5_4_3_state_machine_safety_a_commit_decides_its_block_whatever_term_the_replica_is_in() {
    let mut scene = Scene::of(&five(), 0, 1);
    let (one, other) = (block(1, "one"), block(1, "other"));
    scene.propose(1, 3, &one);
    scene.propose(2, 5, &other);
    let commit =
        ExtendedCommit { height: Height::FIRST, round: Round::new(3), block_id: one.id(), signatures: Vec::new() };
    scene.hear(3, Direct::Commit(Verified::trusted(commit)));
    for part in one.parts().parts() {
        scene.hear(3, Direct::Part { height: Height::FIRST, round: Round::new(3), part: part.clone() });
    }
    assert_eq!(scene.decided, Some(one.id()));
}

#[test]
fn s5_5_crashed_servers_are_told_again_and_requests_can_be_repeated() {
    let mut world = World::new(77, 3, 3);
    assert!(world.run_until(20, |world| world.lowest() >= Height::new(5)));
    let follower = (0..3).find(|who| Some(*who) != world.leader()).expect("a follower");
    world.crash(follower, true);
    world.weather.doubled = 60;
    let goal = Height::new(world.highest().get() + 10);
    assert!(world.run_until(20, |world| world.lowest() >= goal && world.nodes[follower].up), "{}", world.standing());
}

#[test]
fn s5_6_heartbeats_keep_followers_from_standing_and_silence_makes_them() {
    let mut scene = Scene::of(&five(), 0, 1);
    for beat in 0..100 {
        scene.beat(1, 2, beat);
        scene.wait(HEARTBEAT);
        assert_eq!(scene.role(), RaftRole::Follower);
    }
    scene.wait(ELECTION * 2);
    assert_eq!(scene.role(), RaftRole::PreCandidate);
}

#[test]
fn s8_the_first_block_of_a_term_is_made_at_once_and_later_ones_when_there_is_something() {
    let set = set_of(&[0]);
    let mut begin = start(&set, 0, 1);
    begin.timeouts.empty_blocks = EmptyBlocks::Never;
    let mut scene = Scene::begin(begin.clone(), &[]);
    scene.wait(ELECTION);
    assert_eq!((scene.role(), scene.built), (RaftRole::Leader, 1));
    assert!(scene.decided.is_some());
    begin.height = Height::new(2);
    begin.begin_at = Tick(0);
    scene.step(Input::BlockApplied(Box::new(begin)));
    scene.wait(ELECTION);
    assert_eq!(scene.built, 1, "nothing waits");
    scene.step(Input::TxsAvailable);
    assert_eq!(scene.built, 2);
}

#[test]
fn figure_2_nothing_said_by_puppets_of_other_protocols_or_by_ourselves_counts() {
    let mut scene = Scene::of(&five(), 0, 1);
    let own = said(0, RaftStatement::Heartbeat { term: Round::new(3), height: Height::FIRST, beat: 1 });
    scene.hear(1, own);
    assert_eq!(scene.term(), 0);
}

#[test]
fn s9_3_a_leader_that_crashes_is_replaced_within_6_election_timeouts_over_100_seeds() {
    for seed in 0..100 {
        let mut world = World::new(seed, 5, 5);
        world.weather = Weather { delay: 10, ..Weather::CALM };
        assert!(world.run_until(10, |world| world.lowest() >= Height::new(3)));
        let old = world.leader().expect("a leader");
        let term = world.nodes[old].machine.round();
        world.crash(old, seed % 2 == 0);
        let replaced = |world: &World| world.leader().is_some_and(|new| world.nodes[new].machine.round() > term);
        assert!(world.run_until(6, replaced), "seed {seed}: {}", world.standing());
    }
}
