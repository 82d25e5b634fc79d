//! Four validators, any order of delivery, losses, crashes and a liar: they agree, and go on once the network heals.

use super::world::{Cut, World};
use crate::types::Height;

const SEEDS: u64 = 40;
const STORM_TURNS: usize = 500;
const HEALED_TURNS: usize = 12_000;

fn storm_and_heal(seed: u64, byzantine: bool, crashes: usize) -> World {
    let mut world = World::new(seed, byzantine);
    for _ in 0..STORM_TURNS {
        let cut = world
            .dice
            .chance(crashes)
            .then(|| Cut { after: world.dice.below(6), unsynced_lost: world.dice.chance(50) });
        world.turn(cut);
        assert!(world.complaints.is_empty(), "seed {seed}: {:?}", world.complaints);
    }
    world.heal();
    let goal = Height::new(world.nodes.iter().map(|node| node.machine.height().get()).max().expect("nodes") + 2);
    for _ in 0..HEALED_TURNS {
        if world.lowest() >= goal {
            break;
        }
        world.turn(None);
        assert!(world.complaints.is_empty(), "seed {seed}: {:?}", world.complaints);
    }
    assert!(world.lowest() >= goal, "seed {seed}: no progress after healing: {:?}", world.standing());
    world
}

#[test]
fn four_honest_validators_agree_over_40_seeds_of_loss_and_reordering() {
    for seed in 0..SEEDS {
        storm_and_heal(seed, false, 0);
    }
}

#[test]
fn four_validators_that_crash_all_the_time_agree_over_40_seeds() {
    for seed in 0..SEEDS {
        storm_and_heal(seed, false, 5);
    }
}

#[test]
fn three_honest_validators_agree_beside_a_liar_over_40_seeds() {
    for seed in 0..SEEDS {
        storm_and_heal(seed, true, 3);
    }
}
