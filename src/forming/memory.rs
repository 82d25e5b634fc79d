//! What a home remembers of its forming: what it said of itself, and what it promised. Written before either is said.

use super::agree::Network;
use super::statement::{Statement, Written};
use crate::codec::json::genesis;
use crate::config::atomic::{self, Access};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Most bytes read of the file; with the largest network it has about 600,000.
const BYTES_MAX: u64 = 4 << 20;

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// It cannot be read or written.
    #[error("cannot {action} {}: {why}\n  next: ls -ld {}", path.display(), path.parent().unwrap_or(path).display())]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's words.
        why: io::Error,
    },
    /// It does not hold what was written.
    #[error(
        "{}: not what this node wrote when it formed its network: {why}\n  next: restore the file; or stop all nodes of the \
         network, remove all their homes, and start them again", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// The content of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory {
    /// What this node said of itself; `agreed` is not kept here.
    pub own: Statement,
    /// What it promised to begin with.
    pub promise: Option<Network>,
}

#[derive(Serialize, Deserialize)]
struct Document {
    own: Written,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    promise: Option<Promise>,
}

#[derive(Serialize, Deserialize)]
struct Promise {
    genesis: String,
    members: Vec<Written>,
}

impl Memory {
    /// Reads the file; none when there is none.
    pub fn load(path: &Path) -> Result<Option<Memory>, MemoryError> {
        let io = |why| MemoryError::Io { action: "read", path: path.to_owned(), why };
        let damaged = |why: String| MemoryError::Damaged { path: path.to_owned(), why };
        match fs::metadata(path) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(why) => return Err(io(why)),
            Ok(meta) if meta.len() > BYTES_MAX => return Err(damaged(format!("{} bytes are too many", meta.len()))),
            Ok(_) => {}
        }
        let document: Document =
            serde_json::from_slice(&fs::read(path).map_err(io)?).map_err(|why| damaged(why.to_string()))?;
        let statement = |written: Written| Statement::try_from(written).map_err(|why| damaged(why.to_string()));
        let promise = document.promise.map(|promise| {
            let genesis = genesis::parse(promise.genesis.as_bytes()).map_err(|why| damaged(why.to_string()))?;
            let members = promise.members.into_iter().map(statement).collect::<Result<Vec<_>, _>>()?;
            Ok(Network { genesis, json: promise.genesis.into_bytes(), members })
        });
        Ok(Some(Memory { own: statement(document.own)?, promise: promise.transpose()? }))
    }

    /// Writes the file durably.
    pub fn save(&self, path: &Path) -> Result<(), MemoryError> {
        let promise = self.promise.as_ref().map(|network| Promise {
            genesis: String::from_utf8(network.json.clone()).expect("a genesis document is text"),
            members: network.members.iter().map(Written::from).collect(),
        });
        let document = Document { own: Written::from(&self.own), promise };
        let json = serde_json::to_vec_pretty(&document).expect("texts and numbers always serialise");
        crash_point!("forming.memory.before");
        atomic::write(path, &json, Access::Everyone).map_err(|why| MemoryError::Io {
            action: "write",
            path: path.to_owned(),
            why,
        })?;
        crash_point!("forming.memory.after");
        Ok(())
    }
}
