//! Peers that promise more than there is.

use super::chain::{Chain, Shape};
use super::world::Habit::{self, Honest, Promises};
use super::world::{World, ms, s};
use std::time::Duration;

/// One who always claims a thousand blocks more, and gives each as soon as there is one, beside honest peers; two such
/// beside one; and both under a chain that stands still.
#[test]
fn who_promises_blocks_that_are_not_made_yet_keeps_nobody_from_consensus() {
    let cases: [(Option<Duration>, &[Habit]); 5] = [
        (Some(ms(200)), &[Promises, Honest, Honest]),
        (Some(s(1)), &[Promises, Honest, Honest]),
        (Some(s(1)), &[Promises, Promises, Honest]),
        (None, &[Promises, Honest, Honest]),
        (None, &[Promises, Promises, Honest]),
    ];
    for (every, habits) in cases {
        let mut world = World::new(Chain::new(Shape::new(2_000)), None);
        (world.tip, world.grows_every) = (200, every);
        world.grow();
        for habit in habits {
            world.connect_with(*habit, ms(2), ms(1));
        }
        world.begin();
        world.run_until_joined(s(14));
        assert!(world.tip - world.height <= 4, "{every:?} {habits:?}: joined at {} of {}", world.height, world.tip);
        let honest = world.dropped.keys().filter(|id| world.peers[id].habit == Honest);
        assert_eq!(honest.count(), 0, "{every:?} {habits:?}: {:?}", world.dropped);
    }
}
