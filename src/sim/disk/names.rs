//! The names in directories: what a look-up finds, what is on the platter, and the changes between the two.

use super::content::Loss;
use crate::ports::parent;
use crate::sim::Dice;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// A file, whatever its name.
pub(super) type Inode = u64;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Node {
    File(Inode),
    Dir,
}

#[derive(Debug, Clone)]
enum Change {
    Link { name: String, node: Node },
    Rename { from: String, to: String, node: Node },
    Unlink { name: String, node: Node },
}

#[derive(Debug, Clone, Default)]
struct Dir {
    durable: BTreeMap<String, Node>,
    seen: BTreeMap<String, Node>,
    pending: Vec<(u64, Change)>,
}

/// Directories that are always there.
const ROOTS: [&str; 2] = ["/", "."];

/// All directories by path.
#[derive(Debug, Clone)]
pub(super) struct Names(BTreeMap<PathBuf, Dir>);

impl Names {
    pub(super) fn new() -> Names {
        Names(ROOTS.into_iter().map(|root| (PathBuf::from(root), Dir::default())).collect())
    }

    /// What a path stands for.
    pub(super) fn find(&self, path: &Path) -> Option<Node> {
        if self.0.contains_key(path) {
            return Some(Node::Dir);
        }
        self.0.get(parent(path))?.seen.get(&name(path)).copied()
    }

    /// The file a path names.
    pub(super) fn file(&self, path: &Path) -> io::Result<Inode> {
        match self.find(path) {
            Some(Node::File(inode)) => Ok(inode),
            Some(Node::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        Ok(self.dir(dir)?.seen.keys().cloned().collect())
    }

    /// A new name for a new file.
    pub(super) fn link(&mut self, nr: u64, path: &Path, inode: Inode) -> io::Result<()> {
        self.change(nr, path, Change::Link { name: name(path), node: Node::File(inode) })
    }

    pub(super) fn make_dir(&mut self, nr: u64, path: &Path) -> io::Result<()> {
        match self.find(path) {
            Some(Node::Dir) => Ok(()),
            Some(Node::File(_)) => Err(io::ErrorKind::AlreadyExists.into()),
            None => {
                self.change(nr, path, Change::Link { name: name(path), node: Node::Dir })?;
                self.0.insert(path.to_owned(), Dir::default());
                Ok(())
            }
        }
    }

    pub(super) fn rename(&mut self, nr: u64, from: &Path, to: &Path) -> io::Result<()> {
        if parent(from) != parent(to) {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "the simulated disk renames within a directory only",
            ));
        }
        if self.0.contains_key(to) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let node = Node::File(self.file(from)?);
        self.change(nr, from, Change::Rename { from: name(from), to: name(to), node })
    }

    pub(super) fn unlink(&mut self, nr: u64, path: &Path) -> io::Result<()> {
        let node = Node::File(self.file(path)?);
        self.change(nr, path, Change::Unlink { name: name(path), node })
    }

    /// The names in a directory are durable.
    pub(super) fn sync(&mut self, dir: &Path) -> io::Result<()> {
        let dir = self.0.get_mut(dir).ok_or(io::ErrorKind::NotFound)?;
        for (_, change) in dir.pending.drain(..) {
            change.apply(&mut dir.durable);
        }
        Ok(())
    }

    /// The numbers of the changes a power cut may take.
    pub(super) fn pending_numbers(&self) -> impl Iterator<Item = u64> {
        self.0.values().flat_map(|dir| dir.pending.iter().map(|(nr, _)| *nr))
    }

    /// True when a power cut may take a name of a file in a directory; one that was removed may come back at any time.
    pub(super) fn may_lose_names_in(&self, dir: &Path) -> bool {
        let gives = |change: &Change| !matches!(change, Change::Unlink { .. });
        self.0.get(dir).is_some_and(|dir| dir.pending.iter().any(|(_, change)| gives(change)))
    }

    /// The power goes.
    pub(super) fn cut(&mut self, dice: &mut Dice, loss: &Loss) {
        for dir in self.0.values_mut() {
            for (nr, change) in std::mem::take(&mut dir.pending) {
                if loss.spares(dice, nr) {
                    change.apply(&mut dir.durable);
                }
            }
            dir.seen.clone_from(&dir.durable);
        }
        self.drop_unreachable();
    }

    /// A directory whose name is lost is lost with everything in it.
    fn drop_unreachable(&mut self) {
        // Parents sort before what is in them, so one pass finds what stands.
        let mut standing: BTreeSet<PathBuf> = ROOTS.into_iter().map(PathBuf::from).collect();
        for path in self.0.keys() {
            let above = parent(path);
            let named = || self.0.get(above).is_some_and(|dir| dir.seen.get(&name(path)) == Some(&Node::Dir));
            if standing.contains(above) && named() {
                standing.insert(path.clone());
            }
        }
        self.0.retain(|path, _| standing.contains(path));
    }

    /// All files that have a name or may get one back.
    pub(super) fn inodes(&self) -> BTreeSet<Inode> {
        let nodes = |dir: &Dir| {
            let pending = dir.pending.iter().map(|(_, change)| match change {
                Change::Link { node, .. } | Change::Rename { node, .. } | Change::Unlink { node, .. } => *node,
            });
            dir.durable.values().chain(dir.seen.values()).copied().chain(pending).collect::<Vec<Node>>()
        };
        self.0
            .values()
            .flat_map(nodes)
            .filter_map(|node| if let Node::File(inode) = node { Some(inode) } else { None })
            .collect()
    }

    fn dir(&self, path: &Path) -> io::Result<&Dir> {
        self.0.get(path).ok_or(io::ErrorKind::NotFound.into())
    }

    fn change(&mut self, nr: u64, path: &Path, change: Change) -> io::Result<()> {
        let dir = self.0.get_mut(parent(path)).ok_or(io::ErrorKind::NotFound)?;
        change.apply(&mut dir.seen);
        dir.pending.push((nr, change));
        Ok(())
    }
}

impl Change {
    fn apply(&self, to: &mut BTreeMap<String, Node>) {
        match self {
            Change::Link { name, node } => {
                to.insert(name.clone(), *node);
            }
            Change::Rename { from, to: new, node } => {
                // The new name stands whether or not the old one ever came to disk.
                if to.get(from) == Some(node) {
                    to.remove(from);
                }
                to.insert(new.clone(), *node);
            }
            Change::Unlink { name, node } => {
                if to.get(name) == Some(node) {
                    to.remove(name);
                }
            }
        }
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
