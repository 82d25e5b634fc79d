//! Telling a torn end, which is cut off, from damage, which is refused.
//!
//! A crash can tear only what was not yet synced: one group of at most [`GROUP_BYTES_MAX`] bytes at the end of the head.
//! Within it the disk may have kept any sectors and lost any others; a lost one reads as the zeros the head was
//! allocated with. So a bad record is a torn end when
//! - nothing readable follows it, or
//! - everything behind it fits one group and zeros stand where sectors were lost.
//!
//! Everything else, a flipped bit for one, hit a record that had been synced: votes may have left on its strength.

use super::Repaired;
use super::frame::{self, FrameReader, HEADER_BYTES, Next};
use super::segments::{Segments, failed, remedy};
use super::writer::GROUP_BYTES_MAX;
use crate::ports::{Disk, DiskFile, JournalError, OpenMode};
use std::path::Path;

/// The unit a disk writes whole or not at all.
const SECTOR_BYTES: u64 = 512;
/// Bytes behind a bad record that are looked through. CometBFT rotates every few seconds only, so its heads can be
/// larger than ours.
const TAIL_BYTES_MAX: u64 = 256 << 20;
/// Every record's data begins with the tag of its time (field 1, a message).
const FIRST_DATA_BYTE: u8 = 0x0a;

/// Finds where the head's good records end and cuts off a torn end.
pub(super) fn repair_head(segments: &Segments) -> Result<(u64, Option<Repaired>), JournalError> {
    let (disk, path) = (segments.disk(), segments.head());
    if !segments.has_head()? {
        return Ok((0, None)); // new, or a crash fell between renaming the old head and making this one
    }
    let mut reader = FrameReader::open(disk, &path)?;
    let (offset, why) = loop {
        match reader.next()? {
            Next::Record { .. } => {}
            Next::End => return Ok((reader.offset(), None)),
            Next::Bad { offset, why } => break (offset, why),
        }
    };
    if reader.only_zeros_follow()? {
        return Ok((offset, None));
    }
    let tail = read_tail(disk, &path, offset, reader.size())?;
    if !is_torn(&tail, offset) || mutant!("W6") {
        return Err(damaged(&path, offset, &why));
    }
    cut(disk, &path, offset)?;
    Ok((offset, Some(Repaired { offset, dropped_bytes: tail.len() as u64, why })))
}

/// The error for damage that must not be repaired silently.
pub(super) fn damaged(path: &Path, offset: u64, why: &str) -> JournalError {
    JournalError(format!(
        "the journal {} is damaged at byte {offset}: {why}. This is not what a crash leaves behind; records this node \
         relied on are lost. {}",
        path.display(),
        remedy(path)
    ))
}

/// The bytes from `offset` to the last that is not zero.
fn read_tail(disk: &dyn Disk, path: &Path, offset: u64, size: u64) -> Result<Vec<u8>, JournalError> {
    let length = size - offset;
    if length > TAIL_BYTES_MAX {
        return Err(damaged(path, offset, &format!("{length} bytes of unknown content follow")));
    }
    let mut tail = vec![0; length as usize];
    disk.open(path, OpenMode::Read)
        .and_then(|file| file.read_exact_at(&mut tail, offset))
        .map_err(|error| failed(&format!("cannot read the journal {}", path.display()), &error))?;
    let used = tail.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    tail.truncate(used);
    Ok(tail)
}

/// Decides about the bytes behind the last good record, which begin at `offset` with a bad one.
fn is_torn(tail: &[u8], offset: u64) -> bool {
    let Some(next_good) = (1..tail.len()).find(|at| holds_record(&tail[*at..])) else { return true };
    mutant!("W5") || tail.len() <= GROUP_BYTES_MAX && lost_sector(&tail[..next_good], offset)
}

fn holds_record(bytes: &[u8]) -> bool {
    bytes.get(HEADER_BYTES) == Some(&FIRST_DATA_BYTE) && frame::parse(bytes).is_ok()
}

/// True when some sector holds only zeros, as far as it lies within `bytes`, which begin at `offset` of the file.
fn lost_sector(bytes: &[u8], offset: u64) -> bool {
    let first = (SECTOR_BYTES - offset % SECTOR_BYTES) as usize;
    let Some((head, rest)) = bytes.split_at_checked(first) else { return false };
    let zeros = |sector: &[u8]| sector.iter().all(|byte| *byte == 0);
    (zeros(head) && !mutant!("W19")) || rest.chunks_exact(SECTOR_BYTES as usize).any(zeros)
}

fn cut(disk: &dyn Disk, path: &Path, offset: u64) -> Result<(), JournalError> {
    crash_point!("wal.repair.before");
    let cut = |file: Box<dyn DiskFile>| {
        file.set_len(offset)?;
        crash_point!("wal.repair.sync.before");
        if !mutant!("W18") {
            file.sync_all()?;
        }
        crash_point!("wal.repair.after");
        Ok(())
    };
    disk.open(path, OpenMode::ReadWrite)
        .and_then(cut)
        .map_err(|error| failed(&format!("cannot cut the torn end off the journal {}", path.display()), &error))
}
