//! The simulated disk itself, and the real journal and guard on it.

mod damage;
mod guard;
mod journal;
mod lies;
mod model;

use crate::ports::Disk;
use crate::sim::Dice;
use crate::sim::disk::{Batches, FailedSync, Fuse, Kind, Kindness, Moment, SimDisk, Trouble};
use lies::{Lie, LyingDisk};
use std::sync::Arc;

/// What a story makes of a failing disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Errors {
    /// The disk works: an error is one of ours.
    Never,
    /// The node stops at the first.
    Stop,
}

/// One life of a journal or guard, and how it ends.
#[derive(Debug, Clone, Copy)]
struct Life {
    fuse: Option<Fuse>,
    errors: Errors,
    lie: Lie,
}

impl Life {
    const LONG: Life = Life { fuse: None, errors: Errors::Never, lie: Lie::None };

    fn cut_at(operations: u64, moment: Moment, lie: Lie) -> Life {
        Life { fuse: Some(Fuse { operations, moment }), errors: Errors::Never, lie }
    }

    fn begin(self, disk: &SimDisk) -> Arc<dyn Disk> {
        let (port, _) = disk.boot();
        disk.set_fuse(self.fuse);
        Arc::new(LyingDisk { inner: port, lie: self.lie })
    }

    /// An error of what runs on the disk.
    fn failed(self, error: impl std::fmt::Display) -> Result<(), String> {
        match self.errors {
            Errors::Never => Err(error.to_string()),
            Errors::Stop if error.to_string().contains("/node/") => Ok(()),
            Errors::Stop => Err(format!("an error that names no file: {error}")),
        }
    }
}

/// The moments in turn.
fn moment(number: u64) -> Moment {
    [Moment::Before, Moment::Halfway, Moment::After][(number % 3) as usize]
}

/// The process dies or the power goes.
fn end_life(disk: &SimDisk, dice: &mut Dice) {
    if dice.chance(30) {
        disk.kill(Batches::Kept);
    } else {
        let kindness = Kindness::draw(dice);
        disk.power_cut(dice, kindness);
    }
}

/// One thing that goes wrong soon.
fn draw_trouble(dice: &mut Dice) -> Trouble {
    let leaves = *dice.pick(&[FailedSync::LeavesNothing, FailedSync::LeavesEverything]).expect("not empty");
    let kinds = [Kind::Read, Kind::Write, Kind::Sync, Kind::Names];
    match dice.below(6) {
        0 => Trouble::Full { bytes: dice.below(20_000) },
        1 => Trouble::Short { bytes: dice.between(1, 300) },
        _ => {
            let kind = *dice.pick(&kinds).expect("not empty");
            Trouble::Fails { kind, skip: dice.below(12), times: dice.between(1, 3), leaves }
        }
    }
}

/// Runs seeds until one shows that the lie matters; says after how many.
fn caught(lie: Lie, run: impl Fn(u64, Lie) -> Result<(), String>) -> String {
    let shown = (0..500).find_map(|seed| run(seed, lie).err().map(|why| format!("seed {seed}: {why}")));
    shown.unwrap_or_else(|| panic!("500 seeds and nobody notices {lie:?}"))
}
