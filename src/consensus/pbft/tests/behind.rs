//! Who is behind gets level while the others go on, and what is decided travels once.

use super::puppets::{address, block, commit_of, statement_of};
use super::story::{Story, at};
use super::world::World;
use crate::consensus::{Direct, Input};
use crate::crypto::Verified;
use crate::types::{Height, NodeId, PbftStatement, Round};
use std::sync::Arc;
use std::time::Duration;

const SEEDS: u64 = 20;
const TURNS_MAX: usize = 60_000;
const BLOCKS: u64 = 50;
/// Most parts on their way beside the first copies, in all of `BLOCKS`.
const PARTS_SPARE: usize = 6;
/// From the first word after the cut until level, while the others decide a block every 20 ms.
const LEVEL_WITHIN: Duration = Duration::from_millis(200);

fn fair(seed: u64) -> World {
    let mut world = World::new(seed, 4, 0);
    world.heal();
    world.in_order = true;
    world
}

fn run_until(world: &mut World, seed: u64, done: impl Fn(&World) -> bool) {
    for _ in 0..TURNS_MAX {
        if done(world) {
            return;
        }
        world.turn(None);
        assert!(world.complaints.is_empty(), "seed {seed}: {:?}", world.complaints);
    }
    panic!("seed {seed}: never done: {:?}", world.standing());
}

#[test]
fn fifty_blocks_travel_once_to_each_replica_over_20_seeds() {
    for seed in 0..SEEDS {
        let mut world = fair(seed);
        run_until(&mut world, seed, |world| world.lowest() > Height::new(BLOCKS));
        // One part each, and each to three replicas.
        let first_copies = 3 * world.blocks.len();
        let limit = first_copies + PARTS_SPARE;
        assert!(world.parts_said <= limit, "seed {seed}: {} parts, {first_copies} needed", world.parts_said);
    }
}

#[test]
fn a_replica_cut_off_for_ten_heights_is_level_soon_and_fetches_nothing_over_20_seeds() {
    for seed in 0..SEEDS {
        let mut world = fair(seed);
        // In view 0 the first member leads.
        let who = (0..4).find(|who| address(*who) != world.membership.at(Height::FIRST).members()[0].address);
        let who = who.expect("four members");
        run_until(&mut world, seed, |world| world.lowest() > Height::new(3));
        world.cut_off(who);
        let cut_at = world.highest().get();
        run_until(&mut world, seed, |world| world.highest() >= Height::new(cut_at + 10));
        world.heal();
        let (parts, healed_at) = (world.parts_said, world.tick);
        let syncs = world.syncs;
        for other in (0..4).filter(|other| *other != who) {
            world.meet(who, other);
        }
        run_until(&mut world, seed, |world| world.nodes[who].machine.height() >= world.highest());
        let took = world.tick.since(healed_at);
        assert!(took <= LEVEL_WITHIN, "seed {seed}: {took:?}");
        assert_eq!(world.syncs, syncs, "seed {seed}");
        let blocks = world.highest().get() - cut_at;
        let said = world.parts_said - parts;
        assert!(said as u64 <= 2 * blocks, "seed {seed}: {said} parts of {blocks} blocks");
    }
}

fn asks(story: &mut Story, who: usize, height: u64) -> Vec<String> {
    story.everything();
    let body = PbftStatement::Status { view: Round::ZERO, height: at(height), active: true, proposal: None };
    story.state(statement_of(who, body));
    story.everything()
}

#[test]
fn a_peer_several_heights_behind_gets_each_height_once_as_it_asks() {
    let mut story = Story::of_four(1);
    let set = Arc::clone(&story.set);
    for height in 1..=3 {
        let block = block(height, "A");
        story.accepted(0, &block);
        story.next_height(0, &block, &set);
    }
    let who = story.others()[0];
    assert_eq!(asks(&mut story, who, 1), ["send the commit of 1", "send part"]);
    assert!(asks(&mut story, who, 1).is_empty());
    assert_eq!(asks(&mut story, who, 2), ["send the commit of 2", "send part"]);
    assert_eq!(asks(&mut story, who, 3), ["send the commit of 3", "send part"]);
    // Nobody honest goes back: a liar would have the same blocks for ever.
    assert!(asks(&mut story, who, 1).is_empty());
    story.wait(Duration::from_millis(100));
    assert_eq!(asks(&mut story, who, 1), ["send the commit of 1"]);
}

#[test]
fn who_was_helped_says_at_once_where_it_stands_and_to_its_helper_alone() {
    let mut story = Story::of_four(1);
    let set = Arc::clone(&story.set);
    let others = story.others();
    story.step(Input::PeerUp(NodeId::new(address(others[0]))));
    story.signed();
    let a = block(1, "A");
    let commit = commit_of(&set, &others, (1, 0), a.id());
    story.hear(others[0], Direct::Commit(Verified::trusted(commit)));
    story.parts(0, &a);
    story.everything();
    story.next_height(0, &a, &set);
    story.signed();
    let said = story.everything();
    assert!(said.contains(&"send status".to_owned()) && !said.contains(&"tell status".to_owned()), "{said:?}");
}
