//! A leader that is heard and gets nothing decided makes way; one that has nothing to propose is told what waits.

use super::scene::{ELECTION, HEARTBEAT, Scene, ack, block, position, set_of};
use super::world::World;
use crate::consensus::{Direct, Input, RaftRole, Tick};
use crate::crypto::Verified;
use crate::types::{Election, Height, RaftStatement};

/// Time goes by while node 1 answers heartbeats.
fn led_for(scene: &mut Scene, elections: u32) {
    let until = scene.tick.plus(ELECTION * elections);
    while scene.tick < until {
        scene.wait(HEARTBEAT);
        scene.follow(1, None, 1);
    }
}

/// Node `node` answers heartbeats, and is at `height`.
fn is_at(scene: &mut Scene, node: usize, height: u64) {
    let (term, height) = (scene.machine.round(), Height::new(height));
    scene.state(node, RaftStatement::Following { term, height, entry: None, beat: 1 });
}

/// One of three refuses, one is silent: no majority refuses, none ever accepts.
#[test]
fn a_leader_whose_block_one_refuses_and_one_ignores_makes_way_after_four_election_timeouts() {
    let set = set_of(&[0, 1, 2]);
    let mut scene = Scene::of(&set, 0, 1);
    scene.elect(&[1]);
    scene.hear(1, Direct::Vote(Verified::trusted(ack(&set, 1, (1, 1), None))));
    led_for(&mut scene, 3);
    assert_eq!(scene.role(), RaftRole::Leader);
    led_for(&mut scene, 1);
    assert_eq!(scene.role(), RaftRole::Follower);
}

/// Its log is ahead of theirs by the block they refused: by §5.4.1 it votes for neither, but it lets them elect each other.
#[test]
fn a_leader_whose_block_was_rejected_does_not_stand_as_soon_as_another_does() {
    let set = set_of(&[0, 1, 2]);
    let mut scene = Scene::of(&set, 0, 1);
    scene.elect(&[1]);
    for node in [1, 2] {
        scene.hear(node, Direct::Vote(Verified::trusted(ack(&set, node, (1, 1), None))));
    }
    assert_eq!(scene.role(), RaftRole::Follower);
    scene.wait(ELECTION);
    for (election, term) in [(Election::PreVote, 2), (Election::Vote, 2), (Election::PreVote, 3), (Election::Vote, 3)] {
        assert!(!scene.asked_for_vote(1, term, election, position(1, None)), "it lacks what we have");
        scene.wait(HEARTBEAT / 10);
        assert_eq!(scene.role(), RaftRole::Follower, "{election:?} {term}");
    }
    scene.wait(ELECTION * 3);
    assert_eq!(scene.role(), RaftRole::PreCandidate, "nobody leads: its turn again");
}

#[test]
fn a_leader_that_made_way_in_vain_waits_twice_as_long_the_next_time_and_less_long_after_a_quick_block() {
    let set = set_of(&[0, 1, 2]);
    let mut scene = Scene::of(&set, 0, 1);
    let lead = |scene: &mut Scene| {
        // Who made way stands aside for longer than others do.
        scene.wait(ELECTION);
        scene.elect(&[1]);
    };
    for patience in [4, 8, 16] {
        lead(&mut scene);
        led_for(&mut scene, patience - 1);
        assert_eq!(scene.role(), RaftRole::Leader, "patience for {patience} election timeouts");
        led_for(&mut scene, 1);
        assert_eq!(scene.role(), RaftRole::Follower, "patience for {patience} election timeouts");
    }
    lead(&mut scene);
    assert_eq!(scene.machine.stalls, 3);
    let id = scene.proposed().expect("proposed");
    scene.acknowledged_by(1, scene.term(), id);
    assert_eq!((scene.decided, scene.machine.stalls), (Some(id), 2));
}

/// The scene's application never says that a decided block is executed.
#[test]
fn a_leader_whose_application_hangs_makes_way_when_a_majority_went_on_and_not_where_all_are_as_slow() {
    let mut scene = Scene::of(&set_of(&[0, 1, 2]), 0, 1);
    scene.elect(&[1]);
    let id = scene.proposed().expect("proposed");
    scene.acknowledged_by(1, 1, id);
    assert_eq!(scene.decided, Some(id));
    led_for(&mut scene, 20);
    is_at(&mut scene, 2, 2);
    led_for(&mut scene, 1);
    assert_eq!(scene.role(), RaftRole::Leader, "one of three went on");
    is_at(&mut scene, 1, 2);
    scene.wait(HEARTBEAT);
    assert_eq!(scene.role(), RaftRole::Follower);
}

#[test]
fn a_leader_with_nothing_to_decide_leads_on() {
    let mut scene = Scene::of(&set_of(&[0, 1, 2]), 0, 1);
    scene.elect(&[1]);
    let id = scene.proposed().expect("proposed");
    scene.acknowledged_by(1, 1, id);
    let mut next = super::scene::start(&scene.set, 0, 2);
    next.timeouts.empty_blocks = crate::consensus::EmptyBlocks::Never;
    scene.step(Input::BlockApplied(Box::new(next)));
    led_for(&mut scene, 100);
    assert_eq!(scene.role(), RaftRole::Leader);
}

/// Node 1 leads term 1 of `scene` for so many election timeouts; after which of them what waits was offered again.
fn offered_while_led(scene: &mut Scene, elections: u64) -> Vec<u64> {
    let beats = u64::try_from(ELECTION.as_millis() / HEARTBEAT.as_millis()).expect("small");
    let mut offered = Vec::new();
    for beat in 1..=elections * beats {
        scene.effects.clear();
        scene.wait(HEARTBEAT);
        scene.beat(1, 1, beat);
        if scene.effects.iter().any(|effect| effect == "OfferTxs") {
            offered.push(beat.div_ceil(beats));
        }
    }
    offered
}

#[test]
fn a_follower_whose_transactions_the_leader_does_not_propose_offers_them_again_ever_more_seldom() {
    let mut scene = Scene::of(&set_of(&[0, 1, 2]), 0, 1);
    scene.beat(1, 1, 0);
    assert!(offered_while_led(&mut scene, 20).is_empty(), "nothing waits");
    let mut scene = Scene::of(&set_of(&[0, 1, 2]), 0, 1);
    scene.beat(1, 1, 0);
    scene.step(Input::TxsAvailable);
    // After 4, then after 8 more, then after 16 more.
    assert_eq!(offered_while_led(&mut scene, 40), [4, 12, 28]);
}

#[test]
fn while_a_leader_may_not_propose_yet_a_follower_offers_nothing_again() {
    let mut start = super::scene::start(&set_of(&[0, 1, 2]), 0, 1);
    start.begin_at = Tick(1_000_000_000).plus(ELECTION * 20);
    start.txs_available = true;
    let mut scene = Scene::begin(start, &[]);
    scene.beat(1, 1, 0);
    assert_eq!(offered_while_led(&mut scene, 30), [24], "20 for the pause between two blocks, and 4");
}

#[test]
fn a_follower_that_was_proposed_something_or_leads_offers_nothing_again() {
    let set = set_of(&[0, 1, 2]);
    let mut scene = Scene::of(&set, 0, 1);
    scene.beat(1, 1, 0);
    scene.step(Input::TxsAvailable);
    scene.propose(1, 1, &block(1, "waits for the others"));
    assert!(offered_while_led(&mut scene, 20).is_empty());
    let mut leader = Scene::of(&set, 0, 1);
    leader.elect(&[1]);
    leader.step(Input::TxsAvailable);
    led_for(&mut leader, 3);
    assert!(!leader.effects.iter().any(|effect| effect == "OfferTxs"));
}

#[test]
fn a_cluster_of_three_with_one_away_goes_on_though_the_first_leader_refuses_its_own_blocks() {
    const SEEDS: u64 = 20;
    for seed in 0..SEEDS {
        let mut world = World::new(seed, 3, 3);
        world.rejects.insert((0, 0));
        world.cut = [(0, 2), (1, 2), (2, 0), (2, 1)].into();
        let goal = |world: &World| world.decided.len() >= 8;
        assert!(world.run_until(60, goal), "seed {seed}: {}", world.standing());
    }
}
