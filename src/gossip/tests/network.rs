//! Networks: they decide, nobody is told what it knows, and whoever falls behind comes along.

use super::world::{Plan, World};
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

#[test]
fn blocks_of_many_parts_reach_everybody() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed, Plan { block_bytes: 1_500_000, ..Plan::mesh(4) });
        assert!(world.run_until(60, |world| world.lowest() > 5), "seed {seed}: stopped at {}", world.lowest());
        world.check();
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
