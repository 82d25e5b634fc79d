//! Crashes after every prefix of every list of effects.

use super::world::{Cut, World};

const SEEDS: u64 = 3;
const TURNS: usize = 140;
/// How long each branch is followed after its crash.
const TURNS_AFTER: usize = 25;

#[test]
fn no_prefix_of_any_list_of_effects_lets_a_crash_contradict_what_was_signed() {
    let mut crashes = 0_u64;
    for seed in 0..SEEDS {
        let mut world = World::new(1000 + seed, 4, (seed % 2) as usize);
        // On to where views change.
        (0..seed * 200).for_each(|_| {
            world.turn(None);
        });
        for turn in 0..TURNS {
            let before = world.clone();
            let effects = world.turn(None);
            for after in 0..=effects {
                for unsynced_lost in [false, true] {
                    let mut branch = before.clone();
                    branch.turn(Some(Cut { after, unsynced_lost }));
                    for _ in 0..TURNS_AFTER {
                        branch.turn(None);
                    }
                    let complaints = &branch.complaints;
                    assert!(complaints.is_empty(), "seed {seed} turn {turn} after {after} effects: {complaints:?}");
                    crashes += 1;
                }
            }
        }
    }
    assert!(crashes > 1_000, "only {crashes} crashes tried");
}
