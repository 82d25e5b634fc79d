//! Linearizable reads (§8; thesis §6.4): what the leader must know before it answers, and when it must not.

use super::scene::{ELECTION, Scene, address, position, set_of, start};
use super::world::World;
use crate::consensus::{Input, RaftRole, ReadMode, ReadTicket};
use crate::types::{Election, Height, RaftStatement, Round};

fn read(scene: &mut Scene, ticket: u64, mode: ReadMode) {
    scene.step(Input::Read { ticket: ReadTicket(ticket), mode });
}

fn answers(scene: &Scene, what: &str) -> usize {
    scene.effects.iter().filter(|effect| effect.starts_with(what)).count()
}

/// A leader of term 1 that has decided height 1.
fn settled() -> Scene {
    let mut scene = Scene::of(&set_of(&[0, 1, 2]), 0, 1);
    scene.elect(&[1]);
    let id = scene.proposed().expect("proposed");
    scene.acknowledged_by(1, 1, id);
    assert_eq!(scene.decided, Some(id));
    scene
}

fn newest_beat(scene: &mut Scene) -> u64 {
    let beats = scene.statements().into_iter().filter_map(|body| match body {
        RaftStatement::Heartbeat { beat, .. } => Some(beat),
        _ => None,
    });
    beats.max().expect("a heartbeat")
}

#[test]
fn s8_a_new_leader_answers_no_read_before_a_block_of_its_term_is_decided() {
    let mut scene = Scene::of(&set_of(&[0, 1, 2]), 0, 1);
    scene.elect(&[1]);
    read(&mut scene, 1, ReadMode::Confirmed);
    read(&mut scene, 2, ReadMode::Leased);
    scene.follow(1, None, 1);
    scene.follow(1, None, 2);
    scene.follow(1, None, 3);
    assert_eq!(answers(&scene, "ReadAt"), 0);
    let id = scene.proposed().expect("proposed");
    scene.acknowledged_by(1, 1, id);
    assert_eq!(answers(&scene, "ReadAt"), 1, "the first came before the heartbeat that was answered");
    scene.follow(1, None, 3);
    assert_eq!(answers(&scene, "ReadAt"), 2);
    assert!(scene.effects.iter().any(|effect| effect == "ReadAt(ReadTicket(1), Height(1))"));
}

#[test]
fn thesis_6_4_a_read_waits_for_a_majority_to_answer_a_heartbeat_sent_after_it_came() {
    let mut scene = settled();
    scene.follow(1, Some(1), 1);
    scene.said.clear();
    read(&mut scene, 1, ReadMode::Confirmed);
    let beat = newest_beat(&mut scene);
    scene.follow(1, Some(1), beat - 1);
    assert_eq!(answers(&scene, "ReadAt"), 0, "an older heartbeat says nothing about now");
    scene.follow(1, Some(1), beat);
    assert_eq!(answers(&scene, "ReadAt"), 1);
}

#[test]
fn thesis_6_4_one_heartbeat_serves_all_reads_that_wait() {
    let mut scene = settled();
    scene.follow(1, Some(1), 1);
    read(&mut scene, 1, ReadMode::Confirmed);
    let first = newest_beat(&mut scene);
    for ticket in 2..1000 {
        read(&mut scene, ticket, ReadMode::Confirmed);
    }
    assert!(scene.statements().is_empty(), "one question at a time");
    scene.follow(1, Some(1), first);
    assert_eq!(answers(&scene, "ReadAt"), 1);
    let second = newest_beat(&mut scene);
    scene.follow(1, Some(1), second);
    assert_eq!((answers(&scene, "ReadAt"), second), (999, first + 1));
}

#[test]
fn answers_of_another_term_or_of_the_future_confirm_no_read() {
    let mut scene = settled();
    read(&mut scene, 1, ReadMode::Confirmed);
    let height = Height::FIRST;
    scene.state(1, RaftStatement::Following { term: Round::ZERO, height, entry: None, beat: 2 });
    scene.follow(1, None, u64::MAX);
    scene.follow(7, None, 2);
    assert_eq!(answers(&scene, "ReadAt"), 0);
}

#[test]
fn an_older_answer_that_comes_late_takes_no_newer_one_back() {
    let mut scene = Scene::of(&set_of(&[0, 1, 2, 3, 4]), 0, 1);
    scene.elect(&[1, 2]);
    let id = scene.proposed().expect("proposed");
    for node in [1, 2] {
        scene.acknowledged_by(node, 1, id);
    }
    scene.said.clear();
    read(&mut scene, 1, ReadMode::Confirmed);
    let beat = newest_beat(&mut scene);
    for answer in [beat, beat - 1] {
        scene.follow(1, Some(1), answer);
    }
    assert_eq!(answers(&scene, "ReadAt"), 0, "two of five");
    scene.follow(2, Some(1), beat);
    assert_eq!(answers(&scene, "ReadAt"), 1);
}

#[test]
fn a_leader_that_is_cut_off_refuses_its_readers_when_it_notices() {
    let mut scene = settled();
    read(&mut scene, 1, ReadMode::Confirmed);
    scene.wait(ELECTION * 2);
    assert_eq!((scene.role(), answers(&scene, "ReadAt"), answers(&scene, "ReadRefused")), (RaftRole::Follower, 0, 1));
}

#[test]
fn thesis_6_4_1_the_lease_lasts_nine_tenths_of_what_voters_promise_after_a_confirmed_heartbeat() {
    let mut scene = settled();
    scene.follow(1, Some(1), 1);
    scene.tick = scene.tick.plus(ELECTION / 20 * 8);
    read(&mut scene, 1, ReadMode::Leased);
    assert_eq!(answers(&scene, "ReadAt"), 1, "no message needed");
    scene.tick = scene.tick.plus(ELECTION / 20);
    read(&mut scene, 2, ReadMode::Leased);
    assert_eq!(answers(&scene, "ReadAt"), 1, "not any more: it waits for a heartbeat");
}

#[test]
fn thesis_6_4_1_there_is_no_lease_after_somebody_was_told_to_stand() {
    let set = set_of(&[0, 1, 2]);
    let mut scene = settled();
    let mut next = start(&set, 0, 2);
    next.timeouts.empty_blocks = crate::consensus::EmptyBlocks::Never;
    scene.step(Input::BlockApplied(Box::new(next)));
    scene.follow(1, None, 1);
    read(&mut scene, 1, ReadMode::Leased);
    assert_eq!(answers(&scene, "ReadAt"), 1);
    let mut out = Vec::new();
    let now = super::scene::now_at(scene.tick);
    scene.machine.hand_over(now, Some(address(1)), &mut out);
    assert!(out.iter().any(|effect| format!("{effect:?}").contains("TimeoutNow")), "{out:?}");
    read(&mut scene, 2, ReadMode::Leased);
    assert_eq!(answers(&scene, "ReadAt"), 1);
}

/// Those who answer our heartbeats need not know what the next set has decided meanwhile.
#[test]
fn a_leader_answers_no_read_once_the_next_height_belongs_to_another_set() {
    let mut begin = start(&set_of(&[0, 1, 2]), 0, 1);
    begin.next_validators = set_of(&[3, 4, 5]);
    let mut scene = Scene::begin(begin, &[]);
    scene.elect(&[1]);
    let id = scene.proposed().expect("proposed");
    scene.acknowledged_by(1, 1, id);
    assert_eq!(scene.decided, Some(id));
    let read_both = |scene: &mut Scene| {
        read(scene, 1, ReadMode::Leased);
        read(scene, 2, ReadMode::Confirmed);
        for beat in 1..9 {
            scene.follow(1, Some(1), beat);
        }
        answers(scene, "ReadAt")
    };
    assert_eq!(read_both(&mut scene), 0, "the block is decided and not applied");
    let next = start(&set_of(&[3, 4, 5]), 0, 2);
    scene.step(Input::BlockApplied(Box::new(next)));
    assert_eq!((scene.role(), read_both(&mut scene)), (RaftRole::Leader, 0), "it leads on until a member takes over");
    scene.wait(ELECTION * 3);
    assert_eq!((answers(&scene, "ReadAt"), answers(&scene, "ReadRefused")), (0, 4));
}

#[test]
fn a_voter_that_restarts_keeps_the_promise_it_made_to_a_leader_whose_lease_may_run() {
    let set = set_of(&[0, 1, 2]);
    let mut scene = Scene::of(&set, 0, 1);
    scene.beat(1, 3, 1);
    let mut scene = scene.crash(start(&set, 0, 1));
    scene.tick = scene.tick.plus(ELECTION / 10 * 9);
    assert!(!scene.asked_for_vote(2, 4, Election::Vote, position(1, None)));
    scene.tick = scene.tick.plus(ELECTION / 5);
    assert!(scene.asked_for_vote(2, 4, Election::Vote, position(1, None)));
}

#[test]
fn a_follower_asks_its_leader_once_for_all_its_readers_and_takes_only_the_answer_to_its_question() {
    let mut scene = Scene::of(&set_of(&[0, 1, 2]), 0, 1);
    read(&mut scene, 1, ReadMode::Confirmed);
    assert_eq!(answers(&scene, "ReadRefused"), 1, "nobody leads");
    scene.beat(1, 3, 1);
    scene.said.clear();
    for ticket in 2..50 {
        read(&mut scene, ticket, ReadMode::Confirmed);
    }
    let asked = scene.statements();
    let [RaftStatement::ReadIndex { ticket }] = asked[..] else { panic!("{asked:?}") };
    let (height, to) = (Height::new(4), address(0));
    scene.state(1, RaftStatement::ReadAt { ticket: ticket - 1, to, height });
    scene.state(2, RaftStatement::ReadAt { ticket, to, height });
    scene.state(1, RaftStatement::ReadAt { ticket, to: address(2), height });
    assert_eq!(answers(&scene, "ReadAt"), 0);
    scene.state(1, RaftStatement::ReadAt { ticket, to, height });
    assert_eq!(answers(&scene, "ReadAt"), 1, "the first, who did not wait for the others");
    let asked = scene.statements();
    let [RaftStatement::ReadIndex { ticket: second }] = asked[..] else { panic!("{asked:?}") };
    scene.state(1, RaftStatement::ReadAt { ticket, to, height });
    scene.state(1, RaftStatement::ReadAt { ticket: second, to, height });
    assert_eq!(answers(&scene, "ReadAt"), 48);
}

#[test]
fn a_question_nobody_answers_is_given_up_after_two_election_timeouts() {
    let mut scene = Scene::of(&set_of(&[0, 1, 2]), 0, 1);
    scene.beat(1, 3, 1);
    read(&mut scene, 1, ReadMode::Confirmed);
    for beat in 2..20 {
        scene.wait(ELECTION / 6);
        scene.beat(1, 3, beat);
    }
    assert_eq!(answers(&scene, "ReadRefused"), 1);
}

#[test]
fn reads_at_every_node_are_answered_while_leaders_change() {
    let (mut answered, mut refused) = (0, 0);
    for seed in 0..20 {
        let mut world = World::new(9000 + seed, 5, 5);
        for round in 0..40 {
            world.run_until(1, |_| false);
            for who in 0..5 {
                world.read(who, if who % 2 == 0 { ReadMode::Leased } else { ReadMode::Confirmed });
            }
            match (round % 8, world.leader()) {
                (3, Some(leader)) => world.isolate(leader),
                (6, _) => world.cut.clear(),
                _ => {}
            }
        }
        answered += world.reads_answered;
        refused += world.reads_refused;
    }
    assert!(answered > 1000 && refused > 50, "{answered} answered, {refused} refused");
}

#[test]
fn thesis_6_4_1_who_just_heard_a_leader_elects_nobody_else_in_a_term_it_was_merely_told_of() {
    let mut scene = Scene::of(&set_of(&[0, 1, 2, 3, 4]), 0, 1);
    scene.wait(ELECTION * 2);
    scene.beat(1, 1, 1);
    // A late word of term 2: it makes us leave term 1, but the leader of term 1 may still answer by its lease.
    scene.state(3, RaftStatement::Following { term: Round::new(2), height: Height::FIRST, entry: None, beat: 0 });
    assert_eq!(scene.term(), 2);
    let ask = |scene: &mut Scene| scene.asked_for_vote(2, 2, Election::Vote, position(1, None));
    assert!(!ask(&mut scene), "the lease was promised a moment ago");
    scene.tick = scene.tick.plus(ELECTION);
    assert!(ask(&mut scene));
}

#[test]
fn a_peer_has_four_questions_waiting_however_many_it_asks() {
    let mut scene = settled();
    scene.said.clear();
    for ticket in 1..=300 {
        scene.state(2, RaftStatement::ReadIndex { ticket });
    }
    // Whatever heartbeat they wait for is answered.
    for beat in 1..=6 {
        scene.follow(1, Some(1), beat);
    }
    let told = scene.statements();
    let tickets: Vec<u64> = told
        .iter()
        .filter_map(|body| match body {
            RaftStatement::ReadAt { ticket, .. } => Some(*ticket),
            _ => None,
        })
        .collect();
    assert_eq!(tickets, [1, 2, 3, 4]);
}
