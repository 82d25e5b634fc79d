//! Whatever peers do, in whatever order: only proven blocks are applied, in order, and honest peers bring us to the tip.
//! The world asserts the first at every order; here is the second.

use super::chain::{Chain, Shape};
use super::world::{Habit, World, ms, s};

/// Worlds tried.
const SEEDS: u64 = 200;

/// SplitMix64: the same world for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn habit(&mut self, blocks: u64) -> Habit {
        let height = 1 + self.roll(blocks);
        match self.roll(20) {
            0 => Habit::Honest,
            1 => Habit::Silent,
            2 => Habit::Stingy,
            3 => Habit::FakesBlocks(height),
            4 => Habit::FakesCommits(height),
            5 => Habit::FakesExtensions(height),
            6 => Habit::TogglesExtensions(height),
            7 => Habit::WrongHeight,
            8 => Habit::Boasts,
            9 => Habit::BoastsAndFakes,
            10 => Habit::HighBase,
            11 => Habit::Impossible,
            12 => Habit::Denies,
            13 => Habit::LeavesOut,
            14 => Habit::Vanishes(height),
            15 => Habit::Twice,
            16 => Habit::Pruned(height),
            17 => Habit::Retracts,
            18 => Habit::Promises,
            _ => Habit::Behind(height),
        }
    }
}

fn try_seed(seed: u64) {
    let mut dice = Dice(seed);
    let blocks = 2 + dice.roll(120);
    let shape = Shape {
        initial_height: 1 + dice.roll(3) * 7,
        set_changes_every: (dice.roll(2) == 0).then(|| 1 + dice.roll(20)),
        extensions_from: (dice.roll(3) == 0).then(|| 1 + dice.roll(blocks)),
        tx_bytes: dice.roll(2_000) as usize,
        ..Shape::new(blocks)
    };
    let mut world = World::new(Chain::new(shape), None);
    world.sync.room = 1_000 + dice.roll(100_000);
    world.execution = ms(dice.roll(30));
    world.checking = ms(dice.roll(30));
    world.comes_back_after = (dice.roll(2) == 0).then(|| s(dice.roll(100)));
    let honest = dice.roll(4);
    let mut connect = |world: &mut World, habit: Habit| {
        world.connect_with(habit, ms(dice.roll(400)), ms(dice.roll(50)));
    };
    connect(&mut world, if honest == 0 { Habit::Honest } else { Habit::Pruned(1) });
    for _ in 0..seed % 6 {
        let habit = Dice(seed + world.peers.len() as u64 * 1_000).habit(blocks);
        connect(&mut world, habit);
    }
    world.begin();
    world.run_until_joined(s(600));
    let honest_drops: Vec<_> =
        world.dropped.iter().filter(|(id, _)| world.peers[id].habit.is_honest()).map(|(_, why)| why).collect();
    assert!(honest_drops.is_empty(), "honest peers dropped: {honest_drops:?}");
    // Whoever joined early heard of no higher block; told so, it comes the rest of the way.
    for _ in 0..20 {
        if world.height + 1 < world.chain.last() && world.deciding {
            world.tell(crate::sync::SyncInput::Behind(crate::types::Height::new(world.chain.last())));
        }
        world.run(s(40));
    }
    assert!(world.height + 1 >= world.chain.last(), "ended at {} of {}", world.height, world.chain.last());
    assert!(world.deciding);
}

#[test]
fn honest_peers_bring_us_to_the_tip_whatever_the_others_do() {
    for seed in 0..SEEDS {
        let outcome = std::panic::catch_unwind(|| try_seed(seed));
        assert!(outcome.is_ok(), "seed {seed} failed");
    }
}
