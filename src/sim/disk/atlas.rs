//! The fault atlas: damage to bytes that were synced, and where the protocol promises an answer to it.
//!
//! A disk may lie about anything; a node can answer only for what it can notice. It promises to repair or to refuse where
//! a checksum stands guard: in a journal's records before the last one. A last record that is bad looks like a torn end
//! and is cut off, as it must be. So harm is drawn there only, and a node that neither repairs nor refuses has a bug.

use super::SimDisk;
use crate::sim::Dice;
use crate::storage::{Batch, Direction, Durability, KeyRange, Kv as _};
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};

/// Bytes before the data of a journal's record: checksum and length (reference §6.6).
const HEADER_BYTES: usize = 8;
/// What a misdirected write puts in the wrong place.
const SECTOR_BYTES: usize = 512;

/// A kind of damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// One bit is another.
    Flip {
        /// Of which byte.
        offset: u64,
        /// Which bit, 0 to 7.
        bit: u8,
    },
    /// A sector holds what was meant for another place.
    Misdirected {
        /// Where it came to lie.
        offset: u64,
        /// What.
        fill: u8,
    },
    /// A piece reads as zeros.
    Zeroed {
        /// From where.
        offset: u64,
        /// How many bytes.
        bytes: u64,
    },
    /// The file ends earlier.
    Cut {
        /// Its length now.
        length: u64,
    },
}

/// Damage that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Harm {
    /// To which file.
    pub file: PathBuf,
    /// What.
    pub damage: Damage,
}

impl SimDisk {
    /// Damages a file where it lies; does nothing when it is not there.
    pub fn damage(&self, file: &Path, damage: Damage) {
        let mut inner = self.lock();
        let Ok(inode) = inner.names.file(file) else { return };
        let Some(stored) = inner.files.get_mut(&inode) else { return };
        stored.content.damage(|bytes| damage.apply(bytes));
    }

    /// Removes a file's name for good, as by a hand that slipped.
    pub fn lose_file(&self, file: &Path) {
        let mut inner = self.lock();
        let nr = inner.operations;
        if inner.names.unlink(nr, file).is_ok() {
            inner.names.sync(crate::ports::parent(file)).unwrap_or_default();
        }
    }

    /// Flips a bit of a value of the store; false when there is none.
    pub fn harm_store(&self, dice: &mut Dice) -> bool {
        let mut all = Vec::new();
        let range = KeyRange { start: Vec::new(), end: vec![u8::MAX; 2] };
        let scanned = self.0.batches.scan(&range, Direction::Up, &mut |key, value| {
            all.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        });
        all.retain(|(_, value)| !value.is_empty());
        let (Ok(()), Some((key, mut value))) = (scanned, dice.pick(&all).cloned()) else { return false };
        let at = dice.below(value.len() as u64) as usize;
        value[at] ^= 1 << dice.below(8);
        let mut batch = Batch::default();
        batch.put(key, value.into());
        self.0.batches.write(batch, Durability::Now).is_ok()
    }

    /// Flips a bit of a file; false when there is none.
    pub fn harm_file(&self, dice: &mut Dice, file: &Path) -> bool {
        let length = self.bytes_of(file).map_or(0, |bytes| bytes.len() as u64);
        self.damage(file, Damage::Flip { offset: dice.below(length), bit: dice.below(8) as u8 });
        length > 0
    }

    /// Damages a journal in a place where its reader promises to notice; none when there is no such place.
    pub fn harm_journal(&self, dice: &mut Dice, dir: &Path) -> Option<Harm> {
        let mut files: Vec<String> = self.files_in(dir).into_keys().filter(|name| name.starts_with("wal")).collect();
        dice.shuffle(&mut files);
        for name in files {
            let file = dir.join(&name);
            let records = guarded_records(&self.bytes_of(&file)?);
            // In a segment that is full the last record is guarded too, but who knows which file is the head?
            let Some(record) = dice.pick(&records[..records.len().saturating_sub(1)]) else { continue };
            let offset = dice.between(record.start as u64, record.end as u64 - 1);
            let damage = Damage::Flip { offset, bit: dice.below(8) as u8 };
            self.damage(&file, damage);
            return Some(Harm { file, damage });
        }
        None
    }
}

impl Damage {
    fn apply(self, bytes: &mut Vec<u8>) {
        match self {
            Damage::Flip { offset, bit } => {
                if let Some(byte) = bytes.get_mut(offset as usize) {
                    *byte ^= 1 << (bit % 8);
                }
            }
            Damage::Misdirected { offset, fill } => fill_with(bytes, offset, SECTOR_BYTES, fill),
            Damage::Zeroed { offset, bytes: count } => fill_with(bytes, offset, count as usize, 0),
            Damage::Cut { length } => bytes.truncate(length as usize),
        }
    }
}

fn fill_with(bytes: &mut [u8], offset: u64, count: usize, fill: u8) {
    let from = (offset as usize).min(bytes.len());
    let to = from.saturating_add(count).min(bytes.len());
    bytes[from..to].fill(fill);
}

/// Where a journal's records lie. Walks by lengths alone, so that it shares nothing with the reader it tests.
fn guarded_records(bytes: &[u8]) -> Vec<Range<usize>> {
    let (mut records, mut at) = (Vec::new(), 0_usize);
    while let Some(length) = bytes.get(at + 4..at + HEADER_BYTES).and_then(|four| four.try_into().ok()) {
        let length = u32::from_be_bytes(length) as usize;
        let end = at.saturating_add(HEADER_BYTES).saturating_add(length);
        if length == 0 || end > bytes.len() {
            break;
        }
        records.push(at..end);
        at = end;
    }
    records
}
