//! The write-ahead log of consensus, in CometBFT's file format (reference §6.6, `docs/formats/wal.md`).
//!
//! What a replica takes into account goes here before it acts on it. Three rules make the log trustworthy:
//! 1. Nothing is promised before [`crate::ports::Journal::sync`] returned; a failed sync ends the log for good, because
//!    after it nobody knows what is on disk.
//! 2. A torn end, what a crash during a write leaves, is cut off. Damage anywhere else means that something was lost
//!    which had been promised: the log is refused with a sentence that says where and what to do.
//! 3. Reading is bounded: one record at a time, its length checked before memory is set aside.
//!
//! Reading order: this file → `frame` → `segments` → `writer` → `repair`.

mod frame;
mod repair;
mod segments;
mod writer;

#[cfg(test)]
mod tests;

pub use frame::RECORD_BYTES_MAX;
pub use writer::Wal;

use crate::codec::journal;
use crate::ports::{Disk, JournalError};
use crate::types::{Height, JournalMessage, JournalRecord, Time};
use frame::{FrameReader, Next};
use segments::{Place, Segment, Segments};
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;

/// Steps in which the head grows.
const GROW_BYTES: NonZeroU64 = NonZeroU64::new(2 << 20).expect("not zero");

/// How much is kept, and in what steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The head is rotated once its records fill this many bytes.
    pub head_bytes: u64,
    /// The oldest segments are removed while all of them together hold more bytes.
    pub total_bytes: u64,
    /// The head grows by this many zero bytes at a time.
    pub grow_bytes: NonZeroU64,
}

impl Default for Limits {
    /// CometBFT's 10 MiB and 1 GiB, and steps of 2 MiB.
    fn default() -> Limits {
        Limits { head_bytes: 10 << 20, total_bytes: 1 << 30, grow_bytes: GROW_BYTES }
    }
}

/// What was cut off the end of the log when it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// Where the last good record ends.
    pub offset: u64,
    /// Bytes thrown away behind it. None of them had been promised to anybody.
    pub dropped_bytes: u64,
    /// What was wrong with the first bad record.
    pub why: String,
}

/// What an earlier run left.
#[derive(Debug)]
pub struct Recovered {
    segments: Segments,
    /// The repair, if one was needed.
    pub repaired: Option<Repaired>,
}

/// Opens the log in `dir` (files `wal`, `wal.000`, …), making it when there is none, and repairs a torn end.
///
/// A new log begins with `EndHeight(0)`, written at `now`. Errors name the file, the byte and the remedy.
pub fn open(disk: Arc<dyn Disk>, dir: &Path, limits: Limits, now: Time) -> Result<(Wal, Recovered), JournalError> {
    let segments = Segments::open(disk, dir)?;
    let (end, repaired) = repair::repair_head(&segments)?;
    let wal = Wal::start(segments.clone(), limits, end, now)?;
    if let Some(Repaired { offset, dropped_bytes, why }) = &repaired {
        tracing::warn!(
            file = %segments.head().display(), offset, dropped_bytes, why,
            "the journal ended in the middle of a record, as a crash leaves it; the torn end was cut off"
        );
    }
    Ok((wal, Recovered { segments, repaired }))
}

impl Recovered {
    /// Everything needed to take up `height` again, in the order written: the records of that height, and late votes
    /// of the height before that were counted after its end.
    ///
    /// Records say their height, so a missing end-of-height mark (after block sync, for one) changes nothing. Reads
    /// backwards from the newest segment and stops at the first that holds the end of an earlier height. Sees what was
    /// appended and synced since the log was opened: consensus may stop and begin again while the node runs.
    pub fn records_since(&self, height: Height) -> Result<Vec<JournalRecord>, JournalError> {
        gather(&self.segments, height, Depth::HeightOnly)
    }

    /// The same for a chain of Raft or PBFT. Its newest [`JournalRecord::Standing`] is always among them, first if it is
    /// older than all of them: terms and views go across heights, and what was promised in one must not be forgotten
    /// because the height ended. Reads on to the beginning of the log if it must.
    pub fn records_with_standing(&self, height: Height) -> Result<Vec<JournalRecord>, JournalError> {
        gather(&self.segments, height, Depth::ToNewestStanding)
    }
}

fn gather(segments: &Segments, height: Height, depth: Depth) -> Result<Vec<JournalRecord>, JournalError> {
    let mut newest_first = Vec::new();
    let (mut complete, mut has_standing) = (false, depth == Depth::HeightOnly);
    for segment in segments.listed_again()?.newest_first() {
        let mut found = Needed::read(segments.disk(), &segment?, height)?;
        if complete {
            // The height is gathered: of what is older only the standing counts.
            found.keep_newest_standing();
        }
        complete |= found.complete;
        has_standing |= found.records.iter().any(is_standing);
        newest_first.push(found.records);
        if complete && has_standing {
            break;
        }
    }
    Ok(newest_first.into_iter().rev().flatten().collect())
}

/// How far back to read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// Until an earlier height ended.
    HeightOnly,
    /// And until a standing was found.
    ToNewestStanding,
}

fn is_standing(record: &JournalRecord) -> bool {
    matches!(record, JournalRecord::Standing(_))
}

/// The records of one segment that a height needs.
struct Needed {
    records: Vec<JournalRecord>,
    /// True when an earlier height ended in this segment: older segments hold nothing of this one.
    complete: bool,
}

impl Needed {
    fn read(disk: &dyn Disk, segment: &Segment, height: Height) -> Result<Needed, JournalError> {
        let mut needed = Needed { records: Vec::new(), complete: false };
        let path = &segment.path;
        let mut reader = FrameReader::open(disk, path)?;
        if segment.place == Place::Rotated && reader.size() == 0 {
            return Err(repair::damaged(path, 0, "a full segment holds nothing"));
        }
        loop {
            let (offset, data) = match reader.next()? {
                Next::Record { offset, data } => (offset, data),
                Next::End => return Ok(needed),
                // Only the head may end in the zeros it was allocated with; opening it cut off everything else. From a full
                // segment they were cut before it was rotated.
                Next::Bad { offset, .. } if segment.place == Place::Head && reader.only_zeros_follow()? => {
                    tracing::trace!(offset, "end of the journal's records");
                    return Ok(needed);
                }
                Next::Bad { offset, why } => return Err(repair::damaged(path, offset, &why)),
            };
            let (_, record) =
                journal::decode(&data).map_err(|error| repair::damaged(path, offset, &error.to_string()))?;
            needed.take(record, height);
        }
    }

    fn take(&mut self, record: JournalRecord, height: Height) {
        let of = height_of(&record);
        let is_end = matches!(record, JournalRecord::EndHeight(_));
        if is_end && (of < height || (mutant!("W7") && of == height)) {
            // Whatever stands before this mark belongs to heights that are over, but for where we stand.
            self.keep_newest_standing();
            self.complete = true;
        } else if !is_end && (is_standing(&record) || of == height || Some(of) == height.previous()) {
            self.records.push(record);
        }
    }

    fn keep_newest_standing(&mut self) {
        let newest = self.records.iter().rposition(is_standing).map(|at| self.records.swap_remove(at));
        self.records.clear();
        self.records.extend(newest.filter(|_| !mutant!("W11")));
    }
}

/// The height a record speaks about.
fn height_of(record: &JournalRecord) -> Height {
    match record {
        JournalRecord::Message { message: JournalMessage::Proposal(proposal), .. } => proposal.height,
        JournalRecord::Message { message: JournalMessage::Part { height, .. }, .. } => *height,
        JournalRecord::Message { message: JournalMessage::Vote(vote), .. } => vote.height,
        JournalRecord::Timeout { timer, .. } => timer.height,
        JournalRecord::RoundStep { height, .. } | JournalRecord::EndHeight(height) => *height,
        JournalRecord::Standing(standing) => standing.height,
    }
}
