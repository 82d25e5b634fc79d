//! `addrbook.json`, as CometBFT writes and reads it.

use super::{BUCKET_LEN_MAX, Book, Entry, Kind, NEW_BUCKETS, NEW_BUCKETS_PER_ADDRESS, OLD_BUCKETS};
use crate::p2p::address::NetAddress;
use crate::types::{NodeId, Time};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// Largest file read: every bucket full takes about a third of it.
const FILE_BYTES_MAX: u64 = 32 << 20;
/// Longest key kept; CometBFT writes 24 digits.
const KEY_LEN_MAX: usize = 128;

/// The file cannot be used. The node goes on with an empty book.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BookError {
    /// The system refuses.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Larger than any book.
    #[error("{path}: more than {FILE_BYTES_MAX} bytes are no address book", path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
}

#[derive(Serialize, Deserialize)]
struct Written {
    key: String,
    // Go writes an empty list as null.
    addrs: Option<Vec<WrittenEntry>>,
}

#[derive(Serialize, Deserialize)]
struct WrittenEntry {
    addr: NetAddress,
    src: NetAddress,
    buckets: Option<Vec<i64>>,
    attempts: i32,
    /// 1 for new, 2 for old.
    bucket_type: u8,
    last_attempt: String,
    last_success: String,
    last_ban_time: String,
}

impl Book {
    /// The file's text: JSON indented with tabs, as Go's MarshalIndent writes it.
    pub(in crate::p2p) fn to_json(&self) -> Vec<u8> {
        let written =
            Written { key: self.key.clone(), addrs: Some(self.entries.values().map(WrittenEntry::of).collect()) };
        let mut text = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
        written.serialize(&mut serializer).expect("strings and numbers always have a JSON form");
        text
    }

    /// Takes the entries of a file into this empty book, with its key. Entries that cannot be are left out: they cost
    /// an address, and the rest is still good. Answers how many were left out.
    pub(in crate::p2p) fn take_json(&mut self, text: &[u8]) -> Result<usize, String> {
        let written: Written = serde_json::from_slice(text).map_err(|why| why.to_string())?;
        if !written.key.is_empty() && written.key.len() <= KEY_LEN_MAX {
            self.key = written.key;
        }
        let addrs = written.addrs.unwrap_or_default();
        let all = addrs.len();
        let taken = addrs.into_iter().filter_map(WrittenEntry::entry).filter(|entry| self.take_entry(entry)).count();
        Ok(all - taken)
    }

    fn take_entry(&mut self, entry: &Entry) -> bool {
        let id: NodeId = entry.address.id;
        let ours = id == self.ours || self.private.contains(&id);
        if ours || self.entries.contains_key(&id) || entry.address.check(self.routability).is_err() {
            return false;
        }
        let mut entry = entry.clone();
        let buckets = if entry.kind == Kind::New { &mut self.new } else { &mut self.old };
        let room = |bucket: &u16| buckets.get(bucket).is_none_or(|inside| inside.len() < BUCKET_LEN_MAX);
        entry.buckets.retain(room);
        for bucket in &entry.buckets {
            buckets.entry(*bucket).or_default().insert(id);
        }
        let kept = !entry.buckets.is_empty();
        if kept {
            self.entries.insert(id, entry);
        }
        kept
    }
}

impl WrittenEntry {
    fn of(entry: &Entry) -> WrittenEntry {
        WrittenEntry {
            addr: entry.address,
            src: entry.teller,
            buckets: Some(entry.buckets.iter().map(|bucket| i64::from(*bucket)).collect()),
            attempts: i32::try_from(entry.attempts).unwrap_or(i32::MAX),
            bucket_type: if entry.kind == Kind::New { 1 } else { 2 },
            last_attempt: entry.last_attempt.to_string(),
            last_success: entry.last_success.to_string(),
            last_ban_time: entry.banned_until.to_string(),
        }
    }

    /// None when a number or a time makes no sense.
    fn entry(self) -> Option<Entry> {
        let (kind, buckets_len, in_buckets) = match self.bucket_type {
            1 => (Kind::New, NEW_BUCKETS, NEW_BUCKETS_PER_ADDRESS),
            2 => (Kind::Old, OLD_BUCKETS, 1),
            _ => return None,
        };
        let number = |bucket: i64| u16::try_from(bucket).ok().filter(|bucket| *bucket < buckets_len);
        let buckets: Option<BTreeSet<u16>> = self.buckets.unwrap_or_default().into_iter().map(number).collect();
        Some(Entry {
            address: self.addr,
            teller: self.src,
            kind,
            buckets: buckets.filter(|buckets| buckets.len() <= in_buckets)?,
            attempts: u32::try_from(self.attempts).ok()?,
            last_attempt: self.last_attempt.parse().ok()?,
            last_success: self.last_success.parse().ok()?,
            banned_until: self.last_ban_time.parse().unwrap_or(Time::ZERO),
        })
    }
}

/// The file's text; none when there is no file.
pub(in crate::p2p) fn read_file(path: &Path) -> Result<Option<Vec<u8>>, BookError> {
    let io = |source| BookError::Io { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(io(why)),
    };
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(io)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(BookError::TooLarge { path: path.to_owned() });
    }
    Ok(Some(text))
}

/// Replaces the file so that a crash leaves the old one or the new: temporary file, sync, rename, sync of the directory.
pub(in crate::p2p) fn write_file(path: &Path, text: &[u8]) -> Result<(), BookError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = path.with_extension(format!("json.{}.tmp", std::process::id()));
    let write = || -> io::Result<()> {
        crash_point!("book.write.before");
        let mut file = File::create(&temporary)?;
        file.write_all(text)?;
        crash_point!("book.sync.before");
        file.sync_all()?;
        crash_point!("book.rename.before");
        fs::rename(&temporary, path)?;
        crash_point!("book.rename.after");
        File::open(folder)?.sync_all()?;
        crash_point!("book.dirsync.after");
        Ok(())
    };
    write().map_err(|source| {
        // It may not even exist; the error worth telling is the first one.
        let _ = fs::remove_file(&temporary);
        BookError::Io { path: path.to_owned(), source }
    })
}
