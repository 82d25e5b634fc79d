//! Networks: they decide, nobody is told what it knows, and whoever falls behind comes along.

use super::made::{Dice, node_id};
use super::world::{Plan, World};
use crate::crypto::sha256;
use crate::gossip::{DECIDED_BLOCKS_MAX, GossipInput};
use crate::types::{
    BitArray, BlockId, ConsensusMessage, Height, NewRoundStep, PartSetHeader, Round, VoteKind, VotesFor,
};
use std::time::Duration;

/// Seeds of each story.
const SEEDS: u64 = 6;

#[test]
fn four_validators_decide_block_after_block() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed, Plan::mesh(4));
        assert!(world.run_until(60, |world| world.lowest() > 10), "seed {seed}: stopped at {}", world.lowest());
        world.check();
    }
}

/// How often a part or vote travels at most, for one of use: in a mesh of four each node may hear it from three.
const COPIES_MAX: usize = 3;

#[test]
fn blocks_of_many_parts_reach_everybody() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed, Plan { block_bytes: 1_500_000, ..Plan::mesh(4) });
        assert!(world.run_until(60, |world| world.lowest() > 5), "seed {seed}: stopped at {}", world.lowest());
        world.check();
        let blocks = usize::try_from(world.height(0)).expect("few");
        assert!(world.watch.parts <= COPIES_MAX * blocks * 23 * 3, "seed {seed}: {} parts", world.watch.parts);
        assert!(world.watch.votes <= COPIES_MAX * blocks * 8 * 3, "seed {seed}: {} votes", world.watch.votes);
    }
}

#[test]
fn a_star_decides_through_its_centre() {
    for seed in 0..SEEDS {
        let plan = Plan { listeners: 2, block_bytes: 150_000, joined: |a, b| a == 0 || b == 0, ..Plan::mesh(7) };
        let mut world = World::new(seed, plan);
        assert!(world.run_until(60, |world| world.lowest() > 6), "seed {seed}: stopped at {}", world.lowest());
        world.check();
    }
}

#[test]
fn a_line_decides_with_many_hops() {
    for seed in 0..SEEDS {
        let plan = Plan { joined: |a, b| b == a + 1, ..Plan::mesh(5) };
        let mut world = World::new(seed, plan);
        assert!(world.run_until(60, |world| world.lowest() > 6), "seed {seed}: stopped at {}", world.lowest());
        world.check();
    }
}

#[test]
fn a_node_that_starts_late_catches_up_and_stays() {
    for seed in 0..SEEDS {
        let plan = Plan { block_bytes: 300_000, awake: |node| node != 3, ..Plan::mesh(4) };
        let mut world = World::new(seed, plan);
        assert!(world.run_until(120, |world| world.height(0) > 6), "three of four decide");
        world.awaken(3);
        assert!(world.run_until(60, |world| world.height(3) >= world.height(0)), "seed {seed}: {}", world.height(3));
        let height = world.height(0);
        assert!(world.run_until(60, |world| world.lowest() > height + 3), "and goes on with the others");
        world.check();
    }
}

#[test]
fn a_divided_network_goes_on_when_it_is_joined_again() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed, Plan { delay: Duration::from_millis(100), ..Plan::mesh(4) });
        assert!(world.run_until(60, |world| world.lowest() > 3));
        world.divide(|node| node < 2);
        assert!(!world.run_until(60, |world| world.lowest() > 6), "two of four decide nothing");
        let (height, healed_at) = (world.lowest(), world.now);
        for (a, b) in [(0, 2), (0, 3), (1, 2), (1, 3)] {
            world.join(a, b);
        }
        assert!(world.run_until(60, |world| world.lowest() > height), "seed {seed}: nothing after healing");
        let took = world.now.since(healed_at);
        assert!(took < Duration::from_secs(8), "seed {seed}: first block {took:?} after healing");
        world.check();
    }
}

#[test]
fn slow_links_are_never_given_more_than_their_accounts_hold() {
    for seed in 0..SEEDS {
        let plan = Plan { block_bytes: 2_500_000, speed: 4_000_000, listeners: 1, ..Plan::mesh(4) };
        let mut world = World::new(seed, plan);
        assert!(world.run_until(120, |world| world.lowest() > 3), "seed {seed}: stopped at {}", world.lowest());
        world.check();
    }
}

#[test]
fn more_laggards_than_blocks_are_kept_all_catch_up() {
    for seed in 0..SEEDS {
        let plan = Plan { block_bytes: 100_000, listeners: 6, awake: |node| node < 4, ..Plan::mesh(4) };
        let mut world = World::new(seed, plan);
        assert!(world.run_until(120, |world| world.height(0) > 9), "the validators decide");
        for listener in 4..10 {
            let prefix = world.nodes[0].store.clone().into_iter().take(listener - 3).collect();
            world.nodes[listener].store = prefix;
            world.awaken(listener);
        }
        assert!(world.run_until(60, |world| world.lowest() >= world.height(0)), "seed {seed}: at {}", world.lowest());
        assert!(world.nodes.iter().all(|node| node.gossip.kept_blocks() <= DECIDED_BLOCKS_MAX));
        let loads = world.nodes.iter().map(|node| node.loads).max().expect("nodes");
        assert!(loads < 60, "seed {seed}: {loads} blocks read by one node for 6 peers that lack 6 blocks each");
        world.check();
    }
}

#[test]
fn a_node_that_fetched_blocks_says_where_it_stands_and_takes_part_again() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed, Plan::mesh(4));
        assert!(world.run_until(60, |world| world.lowest() > 3));
        world.pause(2);
        let height = world.height(0);
        assert!(world.run_until(60, |world| world.height(0) > height + 3), "three of four decide");
        world.nodes[2].store = world.nodes[0].store.clone();
        world.awaken(2);
        let height = world.height(0);
        assert!(world.run_until(60, |world| world.lowest() > height + 3), "seed {seed}: stopped at {}", world.lowest());
        world.check();
    }
}

/// Lies told in each run.
const LIES: u64 = 4_000;

#[test]
fn a_liar_costs_neither_progress_nor_memory() {
    for seed in 0..SEEDS {
        let plan = Plan { listeners: 1, block_bytes: 100_000, awake: |node| node != 4, ..Plan::mesh(4) };
        let mut world = World::new(seed, plan);
        world.watch.liar = Some(4);
        let mut dice = Dice::new(seed + 1000);
        for lie in 0..LIES {
            let message = lie_about(&mut dice, world.height(0));
            if crate::gossip::check::check(&message).is_ok() {
                world.gossip(0, GossipInput::Heard { peer: node_id(4), message });
            }
            // Who lies about the first height is dropped; it comes again.
            if let Some((peer, _)) = world.nodes[0].dropped.pop() {
                assert_eq!(peer, node_id(4));
                world.part(0, 4);
                world.join(0, 4);
            }
            if lie % 400 == 0 {
                let height = world.height(0);
                let three = |world: &World| (0..4).all(|node| world.height(node) > height);
                assert!(world.run_until(30, three), "seed {seed}: no block after {lie} lies");
            }
        }
        assert!(world.nodes[0].gossip.kept_blocks() <= DECIDED_BLOCKS_MAX);
        assert!(world.nodes[0].gossip.bytes_held_for(&node_id(4)) < 20_000, "what is known of a peer stays small");
        world.check();
    }
}

/// Something well-formed and most likely untrue.
fn lie_about(dice: &mut Dice, height: u64) -> ConsensusMessage {
    let height = match dice.below(8) {
        0 => Height::MAX,
        1 => Height::FIRST,
        _ => Height::new((height + dice.below(4)).saturating_sub(2).max(1)),
    };
    let round = Round::new(if dice.below(9) == 0 { i32::MAX as u32 } else { dice.below(3) as u32 });
    let kind = if dice.below(2) == 0 { VoteKind::Prevote } else { VoteKind::Precommit };
    let len = 1 + dice.below(9_999) as usize;
    let have = BitArray::from_words(len, vec![u64::MAX << dice.below(64); len.div_ceil(64)]).expect("as many words");
    let hash = sha256(&dice.below(5).to_le_bytes());
    let parts = PartSetHeader { total: len as u32, hash };
    let votes = VotesFor { height, round, kind, block_id: (dice.below(3) > 0).then_some(BlockId { hash, parts }) };
    match dice.below(6) {
        0 => ConsensusMessage::NewRoundStep(NewRoundStep {
            height,
            round,
            step: dice.below(9) as u32,
            seconds_since_start_time: if dice.below(2) == 0 { i64::MIN } else { i64::MAX },
            last_commit_round: (height > Height::FIRST || dice.below(50) == 0).then_some(round),
        }),
        1 => ConsensusMessage::NewValidBlock { height, round, parts, have, is_commit: dice.below(2) == 0 },
        2 => ConsensusMessage::ProposalPol { height, pol_round: round, have },
        3 => ConsensusMessage::HasVote { height, round, kind, index: dice.below(u64::from(u32::MAX)) as u32 },
        4 => ConsensusMessage::VoteSetMaj23(votes),
        _ => ConsensusMessage::VoteSetBits { votes, have },
    }
}
