//! Networks of real machines in any weather: they agree, and go on soon after it clears.

use super::scene::set_of;
use super::world::{Weather, World};
use crate::consensus::ReadMode;
use crate::types::Height;
use std::collections::BTreeMap;

const SEEDS: u64 = 150;
const STORM_TURNS: usize = 1200;
/// Election timeouts within which a healed network decides two more heights.
const HEALED_TIMEOUTS: u32 = 25;

fn storm(world: &mut World, seed: u64) {
    world.weather = Weather::STORM;
    for _ in 0..STORM_TURNS {
        if world.dice.chance(2) {
            let (who, leased) = (world.dice.below(world.nodes.len()), world.dice.chance(50));
            world.read(who, if leased { ReadMode::Leased } else { ReadMode::Confirmed });
        }
        world.turn(None);
        assert!(world.complaints.is_empty(), "seed {seed}: {:?}", world.complaints);
    }
}

fn heal(world: &mut World, seed: u64) {
    world.heal();
    let goal = Height::new(world.highest().get() + 2);
    let healed = world.run_until(HEALED_TIMEOUTS, |world| world.lowest() >= goal && world.nodes.iter().all(|n| n.up));
    assert!(healed, "seed {seed}: no progress to {goal} after healing: {}", world.standing());
}

#[test]
fn three_and_five_validators_agree_over_150_seeds_of_loss_partition_and_crashes() {
    let (mut heights, mut read) = (0, 0);
    for seed in 0..SEEDS {
        let nodes = if seed % 2 == 0 { 3 } else { 5 };
        let mut world = World::new(seed, nodes, nodes);
        storm(&mut world, seed);
        heights += world.decided.len();
        heal(&mut world, seed);
        read += world.reads_answered;
    }
    assert!(
        heights > 5 * SEEDS as usize && read > SEEDS,
        "{heights} heights, {read} reads: a storm that stops all tests nothing"
    );
}

#[test]
fn validators_and_two_learners_agree_with_extensions_over_40_seeds() {
    for seed in 1000..1040 {
        let sets = BTreeMap::from([(Height::FIRST, set_of(&[0, 1, 2]))]);
        let mut world = World::with(seed, 5, sets, |world| world.extensions = true);
        storm(&mut world, seed);
        heal(&mut world, seed);
    }
}

#[test]
fn sets_that_change_every_two_heights_even_wholly_agree_over_100_seeds() {
    let cycle: [&[usize]; 7] = [&[0, 1, 2], &[0, 1, 2, 3], &[1, 2, 3], &[3, 4, 5], &[0, 4, 5], &[2], &[1, 2, 4, 5]];
    for seed in 2000..2100 {
        let sets = (0..400_usize).map(|i| (Height::new(1 + 2 * i as u64), set_of(cycle[(i + seed as usize) % 7])));
        let mut world = World::with_sets(seed, 6, sets.collect());
        storm(&mut world, seed);
        heal(&mut world, seed);
    }
}
