//! The real journal on the simulated disk: what was promised survives, whatever ends its lives.

use crate::crypto::Signature;
use crate::ports::{Journal, JournalError};
use crate::sim::Dice;
use crate::sim::disk::{Batches, Fuse, Kindness, Moment, SimDisk, until_power_cut};
use crate::types::{Address, Height, JournalMessage, JournalRecord, Round, Source, Time, Vote, VoteKind};
use crate::wal::{self, Limits, Recovered, Wal};
use std::num::NonZeroU64;
use std::path::Path;

fn dir() -> &'static Path {
    Path::new("/node/data/cs.wal")
}

/// Heads of a few records, growth by a page: rotation and growth happen all the time.
fn limits(dice: &mut Dice) -> Limits {
    let grow = *dice.pick(&[512, 4096, 8192]).expect("not empty");
    Limits {
        head_bytes: dice.between(200, 6000),
        grow_bytes: NonZeroU64::new(grow).expect("not zero"),
        ..Limits::default()
    }
}

/// A record of height 1 that says its number, of up to 1500 bytes.
fn record(number: usize, dice: &mut Dice) -> JournalRecord {
    let size = if dice.chance(30) { dice.below(1500) } else { 0 };
    let vote = Vote {
        kind: VoteKind::Precommit,
        height: Height::FIRST,
        round: Round::new(number as u32),
        block_id: None,
        timestamp: Time::new(1, 0).expect("in range"),
        validator_address: Address::new([4; 20]),
        validator_index: 1,
        signature: Signature::new([9; 64]),
        extension: (0..size).map(|_| dice.below(256) as u8).collect::<Vec<u8>>().into(),
        extension_signature: (size > 0).then_some(Signature::new([8; 64])),
    };
    JournalRecord::Message { source: Source::Own, message: JournalMessage::Vote(vote) }
}

/// One journal through several lives, and what it has to remember.
struct Story {
    disk: SimDisk,
    dice: Dice,
    limits: Limits,
    written: Vec<JournalRecord>,
    /// How many of them must be there: they were synced, or read back and acted on.
    promised: usize,
}

impl Story {
    fn new(seed: u64) -> Story {
        let mut dice = Dice::new(seed);
        let limits = limits(&mut dice);
        Story { disk: SimDisk::new(), dice, limits, written: Vec::new(), promised: 0 }
    }

    fn open(&self) -> Result<(Wal, Recovered), JournalError> {
        let (port, _) = self.disk.boot();
        wal::open(port, dir(), self.limits, Time::new(1, 0).expect("in range"))
    }

    /// Opens the journal, checks what it remembers, and goes on with it.
    fn live(&mut self, fuse: Option<Fuse>, what: &str) -> Option<()> {
        let (port, _) = self.disk.boot();
        self.disk.set_fuse(fuse);
        until_power_cut(|| {
            let opened = wal::open(port, dir(), self.limits, Time::new(1, 0).expect("in range"));
            let (mut wal, recovered) = opened.unwrap_or_else(|error| panic!("{what}: {error}"));
            self.remembered(&recovered, what);
            for _ in 0..self.dice.between(1, 12) {
                let next = record(self.written.len(), &mut self.dice);
                wal.append(Time::new(2, 0).expect("in range"), &next).expect("appended");
                self.written.push(next);
                if self.dice.chance(50) {
                    wal.sync().expect("synced");
                    self.promised = self.written.len();
                }
            }
        })
    }

    /// What is there is a beginning of what was written, and holds all that was promised. From here on it is promised:
    /// whoever reads it acts on it.
    fn remembered(&mut self, recovered: &Recovered, what: &str) {
        let found = recovered.records_since(Height::FIRST).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(self.written.starts_with(&found), "{what}: something else than was written");
        assert!(found.len() >= self.promised, "{what}: {} records of {} promised", found.len(), self.promised);
        self.written.truncate(found.len());
        self.promised = found.len();
    }

    /// The life is over, by an end of the process or of the power.
    fn end(&mut self) {
        if self.dice.chance(30) {
            self.disk.kill(Batches::Kept);
        } else {
            let kindness = Kindness::draw(&mut self.dice);
            self.disk.power_cut(&mut self.dice, kindness);
        }
    }

    fn draw_fuse(&mut self, most: u64) -> Fuse {
        let moment = *self.dice.pick(&[Moment::Before, Moment::Halfway, Moment::After]).expect("not empty");
        Fuse { operations: self.dice.below(most), moment }
    }
}

const SEEDS: u64 = 200;

/// 200 journals; each loses its first life at every operation, then two more lives at some operation.
#[test]
fn whatever_operation_the_power_goes_at_the_journal_opens_and_remembers_what_it_promised() {
    let mut lives = 0;
    for seed in 0..SEEDS {
        let mut dry = Story::new(seed);
        dry.live(None, "no fuse");
        for operations in 0..dry.disk.operations() {
            let mut story = Story::new(seed);
            let moment = [Moment::Before, Moment::Halfway, Moment::After][(operations % 3) as usize];
            story.live(Some(Fuse { operations, moment }), &format!("seed {seed} cut {operations}, first life"));
            for life in 2..4 {
                story.end();
                let fuse = story.draw_fuse(40);
                story.live(Some(fuse), &format!("seed {seed}, cut {operations}, life {life}"));
            }
            story.end();
            let (_wal, recovered) = story.open().expect("opens");
            story.remembered(&recovered, &format!("seed {seed}, cut {operations}, the end"));
            lives += 4;
        }
    }
    assert!(lives > SEEDS * 40, "{lives} lives");
}
