//! Any order of delivery, losses, copies, partitions, crashes and liars: replicas agree, and go on once the network heals.

use super::puppets::VIEW_TIMEOUT;
use super::world::{Cut, World};
use crate::consensus::Tick;
use crate::types::Height;

const SEEDS: u64 = 60;
const STORM_TURNS: usize = 600;
const HEALED_TURNS: usize = 60_000;
/// How long healing may take: the worst view timer of the storm (it doubled with every failed view) and a few more.
const HEALED_WITHIN: u32 = 600;

/// What a storm is made of.
#[derive(Clone, Copy)]
struct Storm {
    people: usize,
    liars: usize,
    /// Crashes in a hundred turns.
    crashes: usize,
    partitions: bool,
}

fn weather(world: &mut World, storm: Storm, seed: u64) {
    for turn in 0..STORM_TURNS {
        if storm.partitions && turn % 150 == 0 {
            world.shuffle_partition();
        }
        let crash = world.dice.chance(storm.crashes);
        let cut = crash.then(|| Cut { after: world.dice.below(7), unsynced_lost: world.dice.chance(50) });
        world.turn(cut);
        assert!(world.complaints.is_empty(), "seed {seed}: {:?}", world.complaints);
    }
}

/// After healing everybody decides two more heights, within bounded time.
pub(super) fn heal_and_progress(world: &mut World, seed: u64) {
    world.heal();
    let (goal, healed_at) = (Height::new(world.highest().get() + 2), world.tick);
    for _ in 0..HEALED_TURNS {
        if world.lowest() >= goal {
            break;
        }
        world.turn(None);
        assert!(world.complaints.is_empty(), "seed {seed}: {:?}", world.complaints);
    }
    assert!(world.lowest() >= goal, "seed {seed}: no progress after healing: {:?}", world.standing());
    let limit: Tick = healed_at.plus(VIEW_TIMEOUT * HEALED_WITHIN);
    assert!(world.tick <= limit, "seed {seed}: {:?} after healing", world.tick.since(healed_at));
}

fn storm_and_heal(seed: u64, storm: Storm) {
    let mut world = World::new(seed, storm.people, storm.liars);
    weather(&mut world, storm, seed);
    heal_and_progress(&mut world, seed);
}

#[test]
fn four_honest_replicas_agree_over_60_seeds_of_loss_copies_and_reordering() {
    (0..SEEDS).for_each(|seed| {
        storm_and_heal(seed, Storm { people: 4, liars: 0, crashes: 0, partitions: false });
    });
}

#[test]
fn four_replicas_that_crash_and_are_cut_off_all_the_time_agree_over_60_seeds() {
    (0..SEEDS).for_each(|seed| {
        storm_and_heal(seed, Storm { people: 4, liars: 0, crashes: 5, partitions: true });
    });
}

#[test]
fn three_honest_replicas_agree_beside_a_liar_over_60_seeds() {
    (0..SEEDS).for_each(|seed| {
        storm_and_heal(seed, Storm { people: 4, liars: 1, crashes: 3, partitions: true });
    });
}

#[test]
fn five_honest_replicas_agree_beside_two_liars_over_30_seeds() {
    (0..SEEDS / 2).for_each(|seed| {
        storm_and_heal(seed, Storm { people: 7, liars: 2, crashes: 2, partitions: true });
    });
}

#[test]
fn one_two_and_three_replicas_tolerate_no_liar_but_agree_and_go_on_after_crashes() {
    for people in 1..=3 {
        (0..SEEDS / 3).for_each(|seed| {
            storm_and_heal(seed, Storm { people, liars: 0, crashes: 4, partitions: true });
        });
    }
}
