//! Crashes after every prefix of every list of effects.

use super::world::{Cut, Weather, World};

const SEEDS: u64 = 3;
const TURNS: usize = 220;
/// How long each branch is followed after its crash.
const TURNS_AFTER: usize = 40;

#[test]
fn no_prefix_of_any_list_of_effects_lets_a_crash_contradict_what_was_promised() {
    let mut crashes = 0_u64;
    for seed in 0..SEEDS {
        let mut world = World::new(5000 + seed, 3, 3);
        world.weather = Weather { lost: 5, doubled: 5, delay: 40, crashes: 0, cuts: 2 };
        for turn in 0..TURNS {
            let before = world.clone();
            let effects = world.turn(None).expect("something to do");
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
