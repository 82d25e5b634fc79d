//! A disk as bad as disks are: what was not synced may be lost, in any piece and any order, and operations fail.
//!
//! [`SimDisk`] is the world's handle and survives its node. [`SimDisk::boot`] begins a life: it gives the [`Disk`] the
//! real journal and guard run on, and the [`SimKv`] the real store runs on. A life ends by [`SimDisk::kill`] (the process
//! dies, everything written stays), by [`SimDisk::power_cut`] (what was not synced may be lost), or by a [`Fuse`], which
//! unwinds with [`PowerCut`] in the middle of an operation; then one of the two says what is left. The handles of a life
//! that is over fail, so that nothing dropped late can still write.
//!
//! The model: a file's content is durable after it was synced, a name after its directory was. Of a file
//! that was not synced, each sector of 512 or 4096 bytes is as it was at some moment since it was, whatever the others
//! are; a file that grew may end in a page of garbage. The store keeps what its engines promise: batches whole and in order, so
//! a power cut takes a suffix of those that were not durable.
//!
//! Reading order: `content` → `names` → `trouble` → `files` → `kv` → `atlas`.

mod atlas;
mod content;
mod files;
mod kv;
mod names;
mod trouble;

#[cfg(test)]
mod tests;

pub use atlas::{Damage, Harm};
pub use content::Taken;
pub use kv::SimKv;
pub use trouble::{FailedSync, Fuse, Kind, Moment, Trouble};

use super::Dice;
use crate::ports::Disk;
use crate::storage::MemoryKv;
use content::{Content, Loss};
use files::Mounted;
use names::{Inode, Names};
use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use trouble::Troubles;

/// What a [`Fuse`] unwinds with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PowerCut;

/// Runs a piece of a node's life: its result, or none when the fuse ended the life. Other panics go on.
pub fn until_power_cut<T>(run: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(value) => Some(value),
        Err(why) if why.is::<PowerCut>() => None,
        Err(why) => resume_unwind(why),
    }
}

/// What a power cut takes of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kindness {
    /// Nothing, as when only the process dies.
    LosesNothing,
    /// All of it.
    LosesAll,
    /// Everything from some moment on, all files and names alike, as a file system with an ordered journal.
    KeepsOrder,
    /// Any of it, in any order, in any pieces.
    KeepsAnything,
}

impl Kindness {
    /// Draws one, the worst most often.
    pub fn draw(dice: &mut Dice) -> Kindness {
        match dice.below(10) {
            0 => Kindness::LosesNothing,
            1..=2 => Kindness::LosesAll,
            3..=5 => Kindness::KeepsOrder,
            _ => Kindness::KeepsAnything,
        }
    }
}

/// What becomes of the store's batches that are not durable when only the process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batches {
    /// They stay, as with RocksDB, whose log is a file.
    Kept,
    /// They are gone, as with redb, which keeps them in memory.
    Lost,
}

/// One operation that changed or synced something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// Its number on this disk.
    pub nr: u64,
    /// In which life of the node, counted from 1.
    pub life: u64,
    /// What on; empty for the store.
    pub path: PathBuf,
    /// What.
    pub act: Act,
}

/// Kinds of operations in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// A file was made.
    Made,
    /// A directory was made.
    MadeDir,
    /// Bytes were written.
    Wrote {
        /// Where.
        offset: u64,
        /// How many.
        bytes: u64,
    },
    /// The length was set.
    Resized(u64),
    /// The content is durable, up to this length.
    Synced(u64),
    /// It has another name.
    Renamed(PathBuf),
    /// It is removed.
    Removed,
    /// The names in it are durable.
    SyncedDir,
    /// A batch that becomes durable later.
    BatchLater,
    /// A batch that is durable, with all before it.
    BatchNow,
}

/// The world's handle of a disk. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct SimDisk(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    inner: Mutex<Inner>,
    batches: MemoryKv,
}

#[derive(Debug)]
struct Inner {
    names: Names,
    files: BTreeMap<Inode, Stored>,
    next_inode: Inode,
    power: Power,
    /// Lives begun.
    life: u64,
    /// Operations so far.
    operations: u64,
    fuse: Option<Fuse>,
    troubles: Troubles,
    log: Option<Vec<Logged>>,
}

#[derive(Debug, PartialEq, Eq)]
enum Power {
    On,
    Off,
}

#[derive(Debug, Default)]
struct Stored {
    content: Content,
    /// Open handles of this life.
    handles: u64,
    locked: bool,
}

impl Default for Inner {
    fn default() -> Inner {
        Inner {
            names: Names::new(),
            files: BTreeMap::new(),
            next_inode: 1,
            power: Power::Off,
            life: 0,
            operations: 0,
            fuse: None,
            troubles: Troubles::default(),
            log: None,
        }
    }
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> SimDisk {
        SimDisk::default()
    }

    // ---------------------------------------------------------------------------------------------------- lives

    /// Begins a life. The handles of an earlier one fail from now on.
    pub fn boot(&self) -> (Arc<dyn Disk>, SimKv) {
        let mut inner = self.lock();
        inner.end_life();
        inner.life += 1;
        inner.power = Power::On;
        let life = inner.life;
        drop(inner);
        (Arc::new(Mounted { disk: self.clone(), life }), SimKv::new(self.clone(), life))
    }

    /// The process dies: everything it wrote to files stays. Fine when the life is over already.
    pub fn kill(&self, batches: Batches) {
        self.lock().end_life();
        if batches == Batches::Lost {
            self.0.batches.power_cut(0);
        }
    }

    /// The power goes: the life ends, and of what was not synced some is lost: of files what is said. Fine when the life is
    /// over already.
    pub fn power_cut(&self, dice: &mut Dice, kindness: Kindness) -> Taken {
        let mut inner = self.lock();
        inner.end_life();
        let files = inner.files.values().flat_map(|stored| stored.content.pending_numbers());
        let numbers: Vec<u64> = files.chain(inner.names.pending_numbers()).collect();
        let loss = Loss::decide(dice, kindness, numbers);
        let Inner { names, files, .. } = &mut *inner;
        names.cut(dice, &loss);
        let mut taken = Taken::default();
        files.values_mut().for_each(|stored| stored.content.cut(dice, &loss, &mut taken));
        let at_risk = self.0.batches.at_risk();
        self.0.batches.power_cut(match kindness {
            Kindness::LosesNothing => at_risk,
            Kindness::LosesAll => 0,
            Kindness::KeepsOrder | Kindness::KeepsAnything => dice.below(at_risk as u64 + 1) as usize,
        });
        inner.drop_nameless();
        taken
    }

    /// True while a life is on.
    pub fn is_on(&self) -> bool {
        self.lock().power == Power::On
    }

    /// Sets the fuse of the life that is on, or takes it out. Each life begins without.
    pub fn set_fuse(&self, fuse: Option<Fuse>) {
        self.lock().fuse = fuse;
    }

    /// Operations so far, in all lives: those a fuse counts.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    // ------------------------------------------------------------------------------------------------- troubles

    /// Something is wrong from now on, also in the lives to come.
    pub fn add_trouble(&self, trouble: Trouble) {
        self.lock().troubles.add(trouble);
    }

    /// All troubles are over. Damage stays.
    pub fn mend(&self) {
        self.lock().troubles.clear();
    }

    /// Nothing is slow any more; what fails still does.
    pub fn speed_up(&self) {
        self.lock().troubles.speed_up();
    }

    /// True while something fails.
    pub fn is_troubled(&self) -> bool {
        !self.lock().troubles.is_over()
    }

    /// How often operations of a kind failed so far.
    pub fn failures(&self, kind: Kind) -> u64 {
        self.lock().troubles.failures(kind)
    }

    /// How long operations stalled since this was asked last: virtual time the node stood still.
    pub fn take_stall(&self) -> Duration {
        self.lock().troubles.take_stall()
    }

    // ------------------------------------------------------------------------------------------------------ log

    /// Keeps a log of operations from now on; [`SimDisk::take_log`] empties it.
    pub fn keep_log(&self) {
        self.lock().log.get_or_insert_default();
    }

    /// The operations since the log was taken last.
    pub fn take_log(&self) -> Vec<Logged> {
        self.lock().log.as_mut().map(std::mem::take).unwrap_or_default()
    }

    // -------------------------------------------------------------------------------------- looking from outside

    /// The files in a directory with their lengths; none when there is no such directory.
    pub fn files_in(&self, dir: &Path) -> BTreeMap<String, u64> {
        let inner = self.lock();
        let lengths = inner.names.list(dir).unwrap_or_default().into_iter().filter_map(|name| {
            let inode = inner.names.file(&dir.join(&name)).ok()?;
            Some((name, inner.files.get(&inode)?.content.length() as u64))
        });
        lengths.collect()
    }

    /// True when a power cut may take something of the files in a directory, or their names.
    pub fn may_lose(&self, dir: &Path) -> bool {
        let inner = self.lock();
        let is_pending = |name: &String| {
            let stored = inner.names.file(&dir.join(name)).ok().and_then(|inode| inner.files.get(&inode));
            stored.is_some_and(|stored| stored.content.pending_numbers().next().is_some())
        };
        inner.names.may_lose_names_in(dir) || inner.names.list(dir).unwrap_or_default().iter().any(is_pending)
    }

    /// The bytes of a file, as reads would give them; none when there is no such file.
    pub fn bytes_of(&self, file: &Path) -> Option<Vec<u8>> {
        let inner = self.lock();
        let inode = inner.names.file(file).ok()?;
        Some(inner.files.get(&inode)?.content.bytes().to_vec())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A fuse unwinds after its guard is gone; whatever else panics, the books are whole between two statements.
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ----------------------------------------------------------------------------------------------- operations

    /// An operation that only looks.
    fn look<T>(&self, life: u64, look: impl FnOnce(&Inner) -> io::Result<T>) -> io::Result<T> {
        let mut inner = self.lock();
        inner.check(life)?;
        inner.troubles.strike(Kind::Read).map_err(|_| eio())?;
        look(&inner)
    }

    /// An operation that changes or syncs something. `act` is told what part of it takes place.
    fn act<T>(&self, life: u64, kind: Kind, act: impl FnOnce(&mut Inner, Step) -> io::Result<T>) -> io::Result<T> {
        let mut inner = self.lock();
        inner.check(life)?;
        inner.operations += 1;
        let nr = inner.operations;
        let ends = inner.fuse_burns();
        if ends != Some(Moment::Before) {
            let portion = match (ends, inner.troubles.strike(kind)) {
                (Some(Moment::Halfway), _) => Portion::Half,
                (_, Ok(())) => Portion::All,
                (_, Err(leaves)) => Portion::Fails(leaves),
            };
            let outcome = act(&mut inner, Step { nr, portion });
            if ends.is_none() {
                return outcome;
            }
        }
        inner.power = Power::Off;
        drop(inner);
        resume_unwind(Box::new(PowerCut))
    }
}

/// One operation as it takes place.
#[derive(Debug, Clone, Copy)]
struct Step {
    nr: u64,
    portion: Portion,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Portion {
    All,
    /// Half of a write, nothing of anything else.
    Half,
    /// Nothing, and an error; a sync may leave something.
    Fails(FailedSync),
}

impl Step {
    /// For what takes place or does not.
    fn whole(self) -> io::Result<u64> {
        match self.portion {
            Portion::All => Ok(self.nr),
            Portion::Half | Portion::Fails(_) => Err(eio()),
        }
    }
}

impl Inner {
    /// Handles of a life that is over fail.
    fn check(&self, life: u64) -> io::Result<()> {
        // While the stack unwinds nobody is at work any more: what is dropped must not write.
        let works = self.power == Power::On && self.life == life && !std::thread::panicking();
        if works { Ok(()) } else { Err(io::Error::other("the power is off")) }
    }

    fn end_life(&mut self) {
        self.power = Power::Off;
        self.fuse = None;
        for stored in self.files.values_mut() {
            (stored.handles, stored.locked) = (0, false);
        }
        self.drop_nameless();
    }

    /// Counts an operation; says when in it the life ends, if it does.
    fn fuse_burns(&mut self) -> Option<Moment> {
        let fuse = self.fuse.as_mut()?;
        match fuse.operations.checked_sub(1) {
            Some(left) => {
                fuse.operations = left;
                None
            }
            None => Some(fuse.moment),
        }
    }

    /// Forgets files that nobody has open and that have no name any more.
    fn drop_nameless(&mut self) {
        let named = self.names.inodes();
        self.files.retain(|inode, stored| stored.handles > 0 || named.contains(inode));
    }

    fn note(&mut self, nr: u64, path: &Path, act: Act) {
        let life = self.life;
        if let Some(log) = &mut self.log {
            log.push(Logged { nr, life, path: path.to_owned(), act });
        }
    }
}

fn eio() -> io::Error {
    io::Error::other("input/output error (simulated)")
}
