//! Validator sets that change: a view belongs to one set.

use super::network::heal_and_progress;
use super::puppets::{set_of, weighted};
use super::world::{Cut, Membership, World};

const SEEDS: u64 = 30;
const STORM_TURNS: usize = 800;

fn storm(world: &mut World, seed: u64) {
    for turn in 0..STORM_TURNS {
        if turn % 200 == 100 {
            world.shuffle_partition();
        }
        let cut = world.dice.chance(2).then(|| Cut { after: world.dice.below(7), unsynced_lost: true });
        world.turn(cut);
        assert!(world.complaints.is_empty(), "seed {seed}: {:?}", world.complaints);
    }
    heal_and_progress(world, seed);
}

#[test]
fn sets_that_share_one_member_only_hand_over_every_second_height_over_30_seeds() {
    for seed in 0..SEEDS {
        let sets = vec![set_of(&[0, 1, 2, 3]), set_of(&[3, 4, 5, 6])];
        let liars: &[usize] = if seed % 2 == 0 { &[] } else { &[3] };
        let mut world = World::of(seed, 7, Membership::Turns(2, sets), liars);
        storm(&mut world, seed);
    }
}

#[test]
fn powers_that_change_are_another_set_over_30_seeds() {
    for seed in 0..SEEDS {
        let sets = vec![weighted(&[5, 1, 1, 1, 1]), weighted(&[1, 1, 1, 5, 1])];
        let mut world = World::of(seed, 5, Membership::Turns(3, sets), &[]);
        storm(&mut world, seed);
    }
}

#[test]
fn unequal_powers_beside_a_liar_of_less_than_a_third_agree_over_30_seeds() {
    for seed in 0..SEEDS {
        let mut world = World::of(seed, 5, Membership::Fixed(weighted(&[10, 7, 4, 3, 9])), &[4]);
        storm(&mut world, seed);
    }
}
