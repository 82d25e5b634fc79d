//! One record on disk: u32 CRC-32C of the data, u32 length, data; both numbers big-endian (reference §6.6).

use crate::ports::{Disk, DiskFile, JournalError, OpenMode};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

/// Most bytes of data in one record: CometBFT's largest consensus message (1 MiB) and 24 bytes for the time around it.
/// Its decoder refuses more, so ours must never write more.
pub const RECORD_BYTES_MAX: usize = 1_048_600;
/// Checksum and length.
pub(super) const HEADER_BYTES: usize = 8;
/// Largest record with its header.
pub(super) const FRAME_BYTES_MAX: usize = HEADER_BYTES + RECORD_BYTES_MAX;
/// How much is read at once.
const READ_BYTES: usize = 64 << 10;

/// Appends the frame of `data` to `out`.
///
/// # Panics
/// When `data` is larger than [`RECORD_BYTES_MAX`]; the writer checks first.
pub(super) fn put(out: &mut Vec<u8>, data: &[u8]) {
    assert!(data.len() <= RECORD_BYTES_MAX, "a journal record of {} bytes cannot be read back", data.len());
    out.extend_from_slice(&crc32c::crc32c(data).to_be_bytes());
    out.extend_from_slice(&(data.len() as u32).to_be_bytes());
    out.extend_from_slice(data);
}

/// The data of a whole, undamaged frame at the start of `bytes`; says what is wrong otherwise. Allocates nothing.
pub(super) fn parse(bytes: &[u8]) -> Result<&[u8], String> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err(format!("a record's header has {HEADER_BYTES} bytes, only {} are there", bytes.len()));
    };
    let (crc, length) = split_header(header);
    let length = checked_length(length)?;
    let data = rest.get(..length).ok_or_else(|| format!("a record of {length} bytes is cut at {}", rest.len()))?;
    check_crc(crc, data)?;
    Ok(data)
}

fn split_header(header: &[u8; HEADER_BYTES]) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = *header;
    (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
}

fn checked_length(length: u32) -> Result<usize, String> {
    match length as usize {
        0 if !mutant!("W14") => Err("a record of no bytes".to_owned()),
        n if n > RECORD_BYTES_MAX && !mutant!("W15") => {
            Err(format!("a record of {n} bytes, at most {RECORD_BYTES_MAX} are possible"))
        }
        n => Ok(n),
    }
}

fn check_crc(expected: u32, data: &[u8]) -> Result<(), String> {
    let found = crc32c::crc32c(data);
    if found == expected || mutant!("W9") {
        return Ok(());
    }
    Err(format!("the checksum says {expected:08x}, the {} bytes make {found:08x}", data.len()))
}

/// What stands next in a file.
pub(super) enum Next {
    /// A good record.
    Record { offset: u64, data: Vec<u8> },
    /// The file ends where a record ends.
    End,
    /// Something else. Reading stops here.
    Bad { offset: u64, why: String },
}

/// Reads the records of one file, one at a time.
pub(super) struct FrameReader {
    path: PathBuf,
    input: BufReader<Cursor>,
    /// Where the next record begins.
    offset: u64,
    /// Length of the file when it was opened.
    size: u64,
}

impl FrameReader {
    pub(super) fn open(disk: &dyn Disk, path: &Path) -> Result<FrameReader, JournalError> {
        let failed = |error| read_failed(path, 0, &error);
        let file = disk.open(path, OpenMode::Read).map_err(failed)?;
        let size = file.length().map_err(failed)?;
        let input = BufReader::with_capacity(READ_BYTES, Cursor { file, at: 0 });
        Ok(FrameReader { path: path.to_owned(), input, offset: 0, size })
    }

    /// Where the last good record ended.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The length of the file.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The next record. Checks the length before setting memory aside, the checksum before giving anything away.
    pub(super) fn next(&mut self) -> Result<Next, JournalError> {
        let offset = self.offset;
        let left = self.size - offset;
        let bad = |why| Ok(Next::Bad { offset, why });
        if left == 0 {
            return Ok(Next::End);
        }
        if left < HEADER_BYTES as u64 {
            return bad(format!("a record's header has {HEADER_BYTES} bytes, only {left} are there"));
        }
        let mut header = [0; HEADER_BYTES];
        self.fill(&mut header)?;
        let (crc, length) = split_header(&header);
        let length = match checked_length(length) {
            Ok(length) => length,
            Err(why) => return bad(why),
        };
        if length as u64 > left - HEADER_BYTES as u64 {
            return bad(format!("a record of {length} bytes is cut at {}", left - HEADER_BYTES as u64));
        }
        let mut data = vec![0; length];
        self.fill(&mut data)?;
        if let Err(why) = check_crc(crc, &data) {
            return bad(why);
        }
        self.offset += (HEADER_BYTES + length) as u64;
        Ok(Next::Record { offset, data })
    }

    /// True when nothing but zeros stands behind the last good record. For use after [`Next::Bad`].
    pub(super) fn only_zeros_follow(&mut self) -> Result<bool, JournalError> {
        let file = &self.input.get_ref().file;
        let mut at = self.offset;
        let mut chunk = vec![0; READ_BYTES];
        loop {
            let count = file.read_at(&mut chunk, at).map_err(|error| read_failed(&self.path, at, &error))?;
            at += count as u64;
            if count == 0 {
                return Ok(true);
            }
            if chunk[..count].iter().any(|byte| *byte != 0) && !mutant!("W16") {
                return Ok(false);
            }
        }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), JournalError> {
        self.input.read_exact(buffer).map_err(|error| read_failed(&self.path, self.offset, &error))
    }
}

/// Reads a file from front to back.
struct Cursor {
    file: Box<dyn DiskFile>,
    at: u64,
}

impl Read for Cursor {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

fn read_failed(path: &Path, offset: u64, error: &io::Error) -> JournalError {
    JournalError(format!(
        "cannot read the journal {} at byte {offset}: {error}. Check the disk and that the file belongs to this user, \
         then start again",
        path.display()
    ))
}
