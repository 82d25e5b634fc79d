//! Appending: a buffer, then one write and one fdatasync for everything gathered (group commit).
//!
//! The head is grown in zero-filled steps, so that between two steps a sync has no file length to bring to disk, only
//! data (measured: p90 of 0.085 ms instead of 3.9 ms). A CometBFT reader would take those zeros for damage, so they are
//! cut off before a segment is rotated and when the log is closed.

use super::frame::{self, FRAME_BYTES_MAX, RECORD_BYTES_MAX};
use super::segments::{Segments, failed};
use super::{Depth, Limits, gather, journal};
use crate::ports::{DiskFile, Journal, JournalError, OpenMode};
use crate::types::{Height, JournalRecord, Time};
use std::io;

/// Most bytes gathered before they are written and synced without being asked: what one crash can tear.
pub(super) const GROUP_BYTES_MAX: usize = 2 << 20;
const _: () = assert!(FRAME_BYTES_MAX <= GROUP_BYTES_MAX, "any legal record fits a group");

/// The open log. Closing it (dropping) syncs what is buffered.
#[derive(Debug)]
pub struct Wal {
    segments: Segments,
    limits: Limits,
    head: Box<dyn DiskFile>,
    /// Where the head's records end.
    end: u64,
    /// The head's length: zeros stand from `end` to here.
    allocated: u64,
    /// Frames not yet written.
    buffer: Vec<u8>,
    health: Health,
}

/// Whether what the log promised can still be relied on.
#[derive(Debug, PartialEq, Eq)]
enum Health {
    Good,
    /// A write or sync failed. A later sync may claim success though data is lost, so none is tried.
    Broken,
}

impl Wal {
    /// Takes up a log whose head holds good records up to `end` and zeros behind.
    pub(super) fn start(segments: Segments, limits: Limits, end: u64, now: Time) -> Result<Wal, JournalError> {
        let made = !segments.has_head()?;
        if made {
            crash_point!("wal.create.before");
        }
        let (head, allocated) = open_head(&segments)?;
        if made && !mutant!("W20") {
            segments.sync()?;
            crash_point!("wal.create.after");
        }
        // A crash may have fallen between making the first head and filling it.
        let begins = end == 0 && segments.is_first();
        let mut wal = Wal { segments, limits, head, end, allocated, buffer: Vec::new(), health: Health::Good };
        wal.renew_last_group().map_err(|error| {
            failed(&format!("cannot make the journal {} durable", wal.segments.head().display()), &error)
        })?;
        if begins {
            wal.append(now, &JournalRecord::EndHeight(Height::ZERO))?;
            wal.sync()?;
        }
        Ok(wal)
    }

    /// Writes the last group again and syncs it. An earlier life may have been killed between writing and syncing, or
    /// have stopped because a sync failed, after which the system takes the pages for written. Either way the records
    /// read well and are not on disk; whoever reads them acts on them, so they must be.
    fn renew_last_group(&self) -> io::Result<()> {
        if self.end == 0 || mutant!("W10") {
            return Ok(());
        }
        let from = self.end.saturating_sub(GROUP_BYTES_MAX as u64);
        let mut group = vec![0; (self.end - from) as usize];
        self.head.read_exact_at(&mut group, from)?;
        crash_point!("wal.renew.before");
        self.head.write_all_at(&group, from)?;
        self.head.sync_data()?;
        crash_point!("wal.renew.after");
        Ok(())
    }

    fn check_health(&self) -> Result<(), JournalError> {
        match self.health {
            Health::Good => Ok(()),
            Health::Broken => Err(JournalError(format!(
                "the journal {} is closed since a write to it failed; stop the node, check the disk and start again",
                self.segments.head().display()
            ))),
        }
    }

    /// Writes and syncs the buffer, then rotates when the head is full.
    fn write_out(&mut self) -> io::Result<()> {
        let end = self.end + self.buffer.len() as u64;
        crash_point!("wal.write.before");
        self.head.write_all_at(&self.buffer, self.end)?;
        if end > self.allocated {
            let allocated = end.next_multiple_of(self.limits.grow_bytes.get());
            crash_point!("wal.grow.before");
            write_zeros(&*self.head, end, allocated)?;
            self.allocated = allocated;
            crash_point!("wal.grow.after");
        }
        crash_point!("wal.sync.before");
        if !mutant!("W2") {
            self.head.sync_data()?;
        }
        crash_point!("wal.sync.after");
        self.end = if mutant!("W22") { self.end } else { end };
        self.buffer.clear();
        Ok(())
    }

    fn rotate(&mut self) -> Result<(), JournalError> {
        crash_point!("wal.rotate.before");
        self.cut_zeros().map_err(|error| {
            failed(&format!("cannot close the journal's full segment {}", self.segments.head().display()), &error)
        })?;
        self.segments.rotate()?;
        crash_point!("wal.rotate.head.before");
        (self.head, self.allocated) = open_head(&self.segments)?;
        self.end = 0;
        crash_point!("wal.rotate.head.after");
        if !mutant!("W96") {
            self.segments.sync()?;
        }
        crash_point!("wal.rotate.after");
        self.segments.remove_oldest(self.limits.total_bytes.saturating_sub(self.limits.head_bytes))
    }

    /// Leaves a file that ends where its last record ends.
    fn cut_zeros(&mut self) -> io::Result<()> {
        self.head.set_len(if mutant!("W24") { self.allocated } else { self.end })?;
        self.allocated = self.end;
        self.head.sync_all()
    }
}

impl Journal for Wal {
    fn append(&mut self, at: Time, record: &JournalRecord) -> Result<(), JournalError> {
        self.check_health()?;
        let data = journal::encode(at, record);
        if data.len() > RECORD_BYTES_MAX && !mutant!("W21") {
            return Err(JournalError(format!(
                "a journal record of {} bytes cannot be written: at most {RECORD_BYTES_MAX} are allowed. A vote \
                 extension this large must be made smaller by the application",
                data.len()
            )));
        }
        if self.buffer.len() + data.len() + if mutant!("W94") { 0 } else { frame::HEADER_BYTES } > GROUP_BYTES_MAX {
            self.sync()?;
        }
        crash_point!("wal.append.before");
        frame::put(&mut self.buffer, &data);
        crash_point!("wal.append.after");
        Ok(())
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        self.check_health()?;
        if self.buffer.is_empty() {
            return Ok(()); // everything appended was synced: append itself never leaves written data unsynced
        }
        self.health = if mutant!("W8") { Health::Good } else { Health::Broken }; // until all of it worked
        self.write_out()
            .map_err(|error| failed(&format!("cannot write the journal {}", self.segments.head().display()), &error))?;
        if self.end >= self.limits.head_bytes && !mutant!("W23") {
            self.rotate()?;
        }
        self.health = Health::Good;
        Ok(())
    }

    fn records_since(&self, height: Height) -> Result<Vec<JournalRecord>, JournalError> {
        gather(&self.segments, height, Depth::HeightOnly)
    }

    fn records_with_standing(&self, height: Height) -> Result<Vec<JournalRecord>, JournalError> {
        gather(&self.segments, height, Depth::ToNewestStanding)
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        if self.health == Health::Broken {
            return;
        }
        crash_point!("wal.close.before");
        let closed =
            self.sync().and_then(|()| self.cut_zeros().map_err(|error| failed("cannot close the journal", &error)));
        if let Err(error) = closed {
            let file = self.segments.head();
            tracing::error!(%error, file = %file.display(), "the journal was not closed cleanly");
        }
        crash_point!("wal.close.after");
    }
}

fn open_head(segments: &Segments) -> Result<(Box<dyn DiskFile>, u64), JournalError> {
    let path = segments.head();
    let opened = segments.disk().open(&path, OpenMode::ReadWrite);
    opened
        .and_then(|file| file.length().map(|length| (file, length)))
        .map_err(|error| failed(&format!("cannot open the journal {}", path.display()), &error))
}

fn write_zeros(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    static CHUNK: [u8; 64 << 10] = [0; 64 << 10];
    let mut at = from;
    while at < to {
        let count = (to - at).min(CHUNK.len() as u64);
        file.write_all_at(&CHUNK[..count as usize], at)?;
        at += count;
    }
    Ok(())
}
