//! The real journal on the simulated disk: what was promised survives, whatever ends its lives.

use super::lies::Lie;
use super::{Errors, Life, caught, draw_trouble, end_life, moment};
use crate::crypto::Signature;
use crate::ports::Journal;
use crate::sim::Dice;
use crate::sim::disk::{FailedSync, Kind, SimDisk, Trouble, until_power_cut};
use crate::types::{Address, Height, JournalMessage, JournalRecord, Round, Source, Time, Vote, VoteKind};
use crate::wal::{self, Limits};
use std::num::NonZeroU64;
use std::path::Path;

pub(super) fn dir() -> &'static Path {
    Path::new("/node/data/cs.wal")
}

pub(super) fn time() -> Time {
    Time::new(1, 0).expect("in range")
}

/// Heads of a few records, growth by a page: rotation and growth happen all the time, in some journals removal too.
fn limits(dice: &mut Dice) -> Limits {
    let grow = *dice.pick(&[512, 4096, 8192]).expect("not empty");
    let head_bytes = dice.between(200, 6000);
    let total_bytes = if dice.chance(25) { head_bytes + dice.below(10_000) } else { 1 << 30 };
    Limits { head_bytes, grow_bytes: NonZeroU64::new(grow).expect("not zero"), total_bytes }
}

/// A record of height 1 that says its number, of up to 1500 bytes.
pub(super) fn record(number: usize, dice: &mut Dice) -> JournalRecord {
    let size = if dice.chance(30) { dice.below(1500) } else { 0 };
    let vote = Vote {
        kind: VoteKind::Precommit,
        height: Height::FIRST,
        round: Round::new(number as u32),
        block_id: None,
        timestamp: time(),
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

    /// Opens the journal, checks what it remembers, and goes on with it.
    fn live(&mut self, life: Life) -> Result<(), String> {
        let port = life.begin(&self.disk);
        until_power_cut(|| {
            let opened = wal::open(port, dir(), self.limits, time());
            let read = opened.and_then(|(wal, recovered)| Ok((wal, recovered.records_since(Height::FIRST)?)));
            let (mut wal, found) = match read {
                Ok(opened) => opened,
                Err(error) => return life.failed(error),
            };
            self.remembered(found)?;
            for _ in 0..self.dice.between(1, 12) {
                let next = record(self.written.len(), &mut self.dice);
                if let Err(error) = wal.append(time(), &next) {
                    return life.failed(error);
                }
                self.written.push(next);
                if self.dice.chance(50) {
                    if let Err(error) = wal.sync() {
                        return match (wal.append(time(), &record(0, &mut self.dice)), wal.sync()) {
                            (Err(_), Err(_)) => life.failed(error),
                            _ => Err(format!("it goes on after a sync that failed: {error}")),
                        };
                    }
                    self.promised = self.written.len();
                }
            }
            Ok(())
        })
        .unwrap_or(Ok(()))
    }

    /// What is there is a beginning of what was written, and holds all that was promised, but for what was removed as too
    /// old. From here on it is promised: whoever reads it acts on it.
    fn remembered(&mut self, found: Vec<JournalRecord>) -> Result<(), String> {
        let removes = self.limits.total_bytes < 1 << 30;
        let removed = found.first().and_then(|first| self.written.iter().position(|record| record == first));
        let removed = match removed {
            Some(removed) if removes => removed,
            None if removes => self.promised, // everything was too old
            _ => 0,
        };
        if !self.written[removed..].starts_with(&found) {
            return Err(format!("{} records that are not {} written", found.len(), self.written.len()));
        }
        let end = removed + found.len();
        if end < self.promised {
            return Err(format!("{end} records of {} promised", self.promised));
        }
        self.written.truncate(end);
        self.promised = end;
        Ok(())
    }

    fn end(&mut self) {
        end_life(&self.disk, &mut self.dice);
    }
}

/// A first life cut at an operation, two more cut somewhere, and one that ends well.
fn run(seed: u64, operations: u64, lie: Lie) -> Result<(), String> {
    let mut story = Story::new(seed);
    story.live(Life::cut_at(operations, moment(operations), lie))?;
    for life in 0..2 {
        story.end();
        let somewhere = story.dice.below(40);
        story.live(Life::cut_at(somewhere, moment(somewhere + life), lie))?;
    }
    story.end();
    story.live(Life { lie, ..Life::LONG })
}

fn operations_of_first_life(seed: u64) -> u64 {
    let mut dry = Story::new(seed);
    dry.live(Life::LONG).expect("nothing is wrong");
    dry.disk.operations()
}

const SEEDS: u64 = 200;

/// 200 journals; each loses its first life at every operation, then two more lives at some operation.
#[test]
fn whatever_operation_the_power_goes_at_the_journal_opens_and_remembers_what_it_promised() {
    let mut runs = 0;
    for seed in 0..SEEDS {
        for operations in 0..operations_of_first_life(seed) {
            run(seed, operations, Lie::None).unwrap_or_else(|why| panic!("seed {seed}, cut at {operations}: {why}"));
            runs += 1;
        }
    }
    assert!(runs > SEEDS * 15, "{runs} runs");
}

#[test]
fn a_journal_that_left_out_a_sync_is_noticed() {
    for lie in [Lie::NoDirectorySync, Lie::NoFileSync, Lie::FileSyncAfterRename] {
        let every_cut = |seed, lie| (0..operations_of_first_life(seed)).try_for_each(|cut| run(seed, cut, lie));
        println!("{lie:?}: {}", caught(lie, every_cut));
    }
}

/// 3000 journals on a disk that fails, fills up or reads and writes in pieces; each stops at the first error, and the one
/// opened when the disk is mended remembers what was promised.
#[test]
fn whatever_fails_the_journal_stops_with_the_name_of_the_file_and_remembers_what_it_promised() {
    let mut failures = 0;
    for seed in 0..3000 {
        let mut story = Story::new(seed);
        let mut lives = || -> Result<(), String> {
            for _ in 0..3 {
                for _ in 0..story.dice.between(1, 2) {
                    story.disk.add_trouble(draw_trouble(&mut story.dice));
                }
                story.live(Life { errors: Errors::Stop, ..Life::LONG })?;
                story.disk.mend();
                story.end();
            }
            story.live(Life::LONG)
        };
        lives().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        let kinds = [Kind::Read, Kind::Write, Kind::Sync, Kind::Names];
        failures += kinds.into_iter().map(|kind| story.disk.failures(kind)).sum::<u64>();
    }
    assert!(failures > 3000, "{failures} failures");
}

#[test]
fn a_journal_whose_sync_failed_promises_nothing_more() {
    let (disk, now, record) =
        (SimDisk::new(), Time::new(1, 0).expect("in range"), JournalRecord::EndHeight(Height::FIRST));
    let (port, _) = disk.boot();
    let (mut wal, _) = wal::open(port, dir(), Limits::default(), now).expect("an empty disk");
    wal.append(now, &record).expect("in memory");
    disk.add_trouble(Trouble::Fails { kind: Kind::Sync, skip: 0, times: 1, leaves: FailedSync::LeavesNothing });
    assert!(wal.sync().is_err());
    assert!(wal.append(now, &record).is_err() && wal.sync().is_err(), "what is on disk is unknown");
}
