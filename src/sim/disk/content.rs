//! The bytes of one file: what reads give, what is on the platter, and the changes between the two.

use super::Kindness;
use crate::sim::Dice;
use std::ops::Range;

/// What a disk writes whole or not at all, and what a system hands it at once.
const SECTOR_BYTES: usize = 512;
const PAGE_BYTES: usize = 4096;

/// A change that was not synced, and its place among all changes of the disk.
#[derive(Debug, Clone)]
struct Pending {
    nr: u64,
    change: Change,
}

#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Resize(usize),
}

/// One file's bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    /// What a power cut leaves for certain.
    durable: Vec<u8>,
    /// What reads give: the page cache.
    seen: Vec<u8>,
    pending: Vec<Pending>,
    /// A sync failed: some pages differ from the platter though nothing is pending. The next write to one takes all of it
    /// along.
    forgotten: bool,
}

impl Content {
    pub(super) fn length(&self) -> usize {
        self.seen.len()
    }

    pub(super) fn read(&self, buffer: &mut [u8], offset: usize) -> usize {
        let from = self.seen.get(offset..).unwrap_or_default();
        let count = from.len().min(buffer.len());
        buffer[..count].copy_from_slice(&from[..count]);
        count
    }

    pub(super) fn write(&mut self, nr: u64, bytes: &[u8], offset: usize) {
        put(&mut self.seen, offset, bytes);
        let end = offset + bytes.len();
        let taken_along = match self.forgotten {
            true => offset / PAGE_BYTES * PAGE_BYTES..end.next_multiple_of(PAGE_BYTES).min(self.seen.len()),
            false => offset..end,
        };
        let change = Change::Write { offset: taken_along.start, bytes: self.seen[taken_along].to_vec() };
        self.pending.push(Pending { nr, change });
    }

    pub(super) fn resize(&mut self, nr: u64, length: usize) {
        self.seen.resize(length, 0);
        self.pending.push(Pending { nr, change: Change::Resize(length) });
    }

    /// What reads give is durable, but for what a failed sync forgot.
    pub(super) fn sync(&mut self) {
        for pending in self.pending.drain(..) {
            pending.change.apply(&mut self.durable);
        }
    }

    /// A sync that failed and left the pages clean: reads still give them, but no later sync brings them to disk.
    pub(super) fn forget_pending(&mut self) {
        self.forgotten |= !self.pending.is_empty();
        self.pending.clear();
    }

    /// The numbers of the changes a power cut may take.
    pub(super) fn pending_numbers(&self) -> impl Iterator<Item = u64> {
        self.pending.iter().map(|pending| pending.nr)
    }

    /// The power goes.
    pub(super) fn cut(&mut self, dice: &mut Dice, kindness: &Loss, taken: &mut Taken) {
        let pending = std::mem::take(&mut self.pending);
        match kindness {
            Loss::Nothing => pending.iter().for_each(|pending| pending.change.apply(&mut self.durable)),
            Loss::Everything => {}
            Loss::From(first) => {
                for Pending { nr, change } in &pending {
                    match nr.cmp(first) {
                        std::cmp::Ordering::Less => change.apply(&mut self.durable),
                        std::cmp::Ordering::Equal => change.apply_torn(&mut self.durable, dice, taken),
                        std::cmp::Ordering::Greater => {}
                    }
                }
            }
            Loss::Any => self.keep_any(dice, pending, taken),
        }
        taken.lost |= self.seen != self.durable;
        self.seen.clone_from(&self.durable);
        self.forgotten = false;
    }

    /// Each sector as it was at some moment since the last sync, whatever the others are; the last page perhaps with what
    /// stood on the disk before.
    fn keep_any(&mut self, dice: &mut Dice, pending: Vec<Pending>, taken: &mut Taken) {
        let synced = self.durable.len();
        let longest = pending.iter().map(|pending| pending.change.end()).max().unwrap_or(0);
        let unit = if dice.chance(50) { SECTOR_BYTES } else { PAGE_BYTES };
        let moments = Moments::draw(dice, pending.len(), longest / unit + 1);
        let mut lacks_an_earlier = false;
        for (index, Pending { change, .. }) in pending.iter().enumerate() {
            match change {
                Change::Resize(_) if dice.chance(50) => change.apply(&mut self.durable),
                Change::Resize(_) => {}
                Change::Write { offset, bytes } => {
                    let (mut kept, mut gone) = (false, false);
                    for piece in pieces(*offset, bytes.len(), unit) {
                        let stays = moments.of(piece.start / unit) > index;
                        (kept, gone) = (kept || stays, gone || !stays);
                        if stays {
                            put(&mut self.durable, piece.start, &bytes[piece.start - offset..piece.end - offset]);
                        }
                    }
                    taken.torn |= kept && gone;
                    taken.mixed_up |= kept && lacks_an_earlier;
                    lacks_an_earlier |= gone;
                }
            }
        }
        if longest > self.durable.len() && dice.chance(20) {
            self.durable.resize(longest, 0); // the length came to disk before the data
        }
        if self.durable.len() > synced && dice.chance(20) {
            let last_page = (self.durable.len() - 1) / PAGE_BYTES * PAGE_BYTES;
            self.durable[last_page.max(synced)..].fill_with(|| dice.below(256) as u8);
        }
    }

    // ------------------------------------------------------------------------------------- damage to what was synced

    /// Changes bytes where they lie, without anybody having written.
    pub(super) fn damage(&mut self, how: impl Fn(&mut Vec<u8>)) {
        how(&mut self.durable);
        how(&mut self.seen);
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.seen
    }
}

/// What a power cut took of what was written and not synced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// Something.
    pub lost: bool,
    /// A part of one write.
    pub torn: bool,
    /// Something of a write, and nothing of a later one.
    pub mixed_up: bool,
}

/// What of the pending changes a power cut takes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Loss {
    Nothing,
    Everything,
    /// All from this number on; this one is torn.
    From(u64),
    Any,
}

impl Loss {
    /// Decides for a disk whose pending changes have these numbers.
    pub(super) fn decide(dice: &mut Dice, kindness: Kindness, mut numbers: Vec<u64>) -> Loss {
        match kindness {
            Kindness::LosesNothing => Loss::Nothing,
            Kindness::LosesAll => Loss::Everything,
            Kindness::KeepsOrder => {
                numbers.sort_unstable();
                dice.pick(&numbers).map_or(Loss::Nothing, |first| Loss::From(*first))
            }
            Kindness::KeepsAnything => Loss::Any,
        }
    }

    /// Whether a change that is done whole or not at all survives.
    pub(super) fn spares(&self, dice: &mut Dice, nr: u64) -> bool {
        match self {
            Loss::Nothing => true,
            Loss::Everything => false,
            Loss::From(first) => nr < *first,
            Loss::Any => dice.chance(50),
        }
    }
}

impl Change {
    /// Where a file ends that has this change.
    fn end(&self) -> usize {
        match self {
            Change::Write { offset, bytes } => offset + bytes.len(),
            Change::Resize(length) => *length,
        }
    }

    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Change::Write { offset, bytes } => put(to, *offset, bytes),
            Change::Resize(length) => to.resize(*length, 0),
        }
    }

    /// Its first pieces only.
    fn apply_torn(&self, to: &mut Vec<u8>, dice: &mut Dice, taken: &mut Taken) {
        let Change::Write { offset, bytes } = self else { return };
        let unit = if dice.chance(50) { SECTOR_BYTES } else { PAGE_BYTES };
        let pieces: Vec<Range<usize>> = pieces(*offset, bytes.len(), unit).collect();
        let kept = dice.below(pieces.len() as u64 + 1) as usize;
        taken.torn |= kept > 0 && kept < pieces.len();
        for piece in &pieces[..kept] {
            put(to, piece.start, &bytes[piece.start - offset..piece.end - offset]);
        }
    }
}

/// How many of the changes each sector has seen. Neighbours often share their fate.
struct Moments(Vec<usize>);

impl Moments {
    fn draw(dice: &mut Dice, changes: usize, sectors: usize) -> Moments {
        let mut moments = Vec::with_capacity(sectors);
        let mut moment = 0;
        for sector in 0..sectors {
            if sector == 0 || dice.chance(40) {
                moment = match dice.below(10) {
                    0..=3 => changes,
                    4..=6 => 0,
                    _ => dice.below(changes as u64 + 1) as usize,
                };
            }
            moments.push(moment);
        }
        Moments(moments)
    }

    fn of(&self, sector: usize) -> usize {
        self.0.get(sector).copied().unwrap_or(0)
    }
}

/// The pieces of a range that lie in one unit each.
fn pieces(offset: usize, length: usize, unit: usize) -> impl Iterator<Item = Range<usize>> {
    let end = offset + length;
    (offset / unit..end.div_ceil(unit)).map(move |piece| (piece * unit).max(offset)..((piece + 1) * unit).min(end))
}

fn put(to: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if to.len() < end {
        to.resize(end, 0);
    }
    to[offset..end].copy_from_slice(bytes);
}
