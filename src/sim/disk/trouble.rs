//! What can go wrong while a node lives: operations that fail, a disk that fills up, and the fuse that ends the life.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

/// When the fuse ends a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The operation has no effect.
    Before,
    /// A write wrote its first half; anything else has no effect.
    Halfway,
    /// The operation has its effect; whoever asked for it never learns.
    After,
}

/// Ends the life that is on at one of its coming operations. Only operations that change or sync something count, those
/// of files and of the store alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fuse {
    /// Operations that still succeed.
    pub operations: u64,
    /// When in the one after them.
    pub moment: Moment,
}

/// What a sync that failed left on disk. What is read afterwards is the same in both cases, and a later sync succeeds
/// without mending anything: this is how Linux treats pages it could not write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailedSync {
    /// Nothing of what it was to bring there.
    LeavesNothing,
    /// All of it.
    LeavesEverything,
}

/// Operations that can fail, each kind counted by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Reading, looking something up, opening what is there; reads and scans of the store.
    Read,
    /// Writing and resizing; batches of the store.
    Write,
    /// Syncing a file; a batch of the store that is to be durable at once.
    Sync,
    /// Making, renaming and removing files and directories, and syncing a directory.
    Names,
}

/// Something wrong with the disk, from now until [`super::SimDisk::mend`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Operations of a kind fail with EIO: after `skip` more that work, `times` of them.
    Fails {
        /// Which.
        kind: Kind,
        /// How many work first.
        skip: u64,
        /// How many fail then.
        times: u64,
        /// What a sync leaves that fails.
        leaves: FailedSync,
    },
    /// So many bytes more can be written; then ENOSPC.
    Full {
        /// Bytes left.
        bytes: u64,
    },
    /// No write and no read handles more than so many bytes at once.
    Short {
        /// At most so many; at least one is.
        bytes: u64,
    },
    /// Operations of a kind take so long; see [`super::SimDisk::take_stall`].
    Slow {
        /// Which.
        kind: Kind,
        /// How long each.
        each: Duration,
    },
}

/// The troubles of a disk, and how far they are.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    current: Vec<Trouble>,
    stalled: Duration,
    /// How often each kind failed.
    failed: BTreeMap<Kind, u64>,
}

impl Troubles {
    pub(super) fn add(&mut self, trouble: Trouble) {
        self.current.push(trouble);
    }

    pub(super) fn clear(&mut self) {
        self.current.clear();
    }

    /// True while nothing fails; it may be slow.
    pub(super) fn is_over(&self) -> bool {
        self.current.iter().all(|trouble| matches!(trouble, Trouble::Slow { .. }))
    }

    pub(super) fn speed_up(&mut self) {
        self.current.retain(|trouble| !matches!(trouble, Trouble::Slow { .. }));
    }

    pub(super) fn take_stall(&mut self) -> Duration {
        std::mem::take(&mut self.stalled)
    }

    pub(super) fn failures(&self, kind: Kind) -> u64 {
        self.failed.get(&kind).copied().unwrap_or(0)
    }

    /// An operation begins. The error says what a sync leaves.
    pub(super) fn strike(&mut self, kind: Kind) -> Result<(), FailedSync> {
        let mut outcome = Ok(());
        for trouble in &mut self.current {
            match trouble {
                Trouble::Slow { kind: slow, each } if *slow == kind => self.stalled += *each,
                Trouble::Fails { kind: failing, skip, times, leaves } if *failing == kind => {
                    if *skip > 0 {
                        *skip -= 1;
                    } else if *times > 0 {
                        *times -= 1;
                        outcome = Err(*leaves);
                    }
                }
                _ => {}
            }
        }
        if outcome.is_err() {
            *self.failed.entry(kind).or_default() += 1;
        }
        outcome
    }

    /// How many of so many bytes are read or written at once.
    pub(super) fn shorten(&self, bytes: usize) -> usize {
        self.current.iter().fold(bytes, |bytes, trouble| match trouble {
            Trouble::Short { bytes: most } => bytes.min(usize::try_from(*most).unwrap_or(usize::MAX).max(1)),
            _ => bytes,
        })
    }

    /// How many of so many bytes still find room. Takes it.
    pub(super) fn take_room(&mut self, bytes: usize) -> io::Result<usize> {
        let mut fit = bytes as u64;
        for trouble in &self.current {
            if let Trouble::Full { bytes } = trouble {
                fit = fit.min(*bytes);
            }
        }
        if fit == 0 && bytes > 0 {
            *self.failed.entry(Kind::Write).or_default() += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        for trouble in &mut self.current {
            if let Trouble::Full { bytes } = trouble {
                *bytes -= fit;
            }
        }
        Ok(fit as usize)
    }
}
