//! `config/genesis.json`: what the chain starts from.

use super::ConfigError;
use super::atomic::{self, Access};
use crate::codec::json::genesis;
use crate::crypto::{Hash, sha256};
use crate::types::GenesisDoc;
use std::fs;
use std::path::Path;

/// Most bytes of a genesis file: the application's state is inside.
const BYTES_MAX: u64 = 1 << 30;

/// The document and the bytes it was read from: the bytes are what is stored and hashed.
#[derive(Debug, Clone)]
pub struct Genesis {
    /// Checked.
    pub doc: GenesisDoc,
    /// As in the file.
    pub json: Vec<u8>,
}

/// Reads and checks the file; `hash` is what the operator named, if anything.
pub fn load_genesis(path: &Path, hash: Option<&Hash>) -> Result<Genesis, ConfigError> {
    let json = read_genesis(path, hash)?;
    match genesis::parse(&json) {
        Ok(doc) => Ok(Genesis { doc, json }),
        Err(error) => Err(ConfigError::BadFile {
            path: path.to_owned(),
            why: format!("not a genesis document: {}", error.problem),
            expected: "the genesis document all nodes of the chain share, unchanged",
            next: format!("copy it from another node of the chain to {}, then start again", path.display()),
        }),
    }
}

/// Writes a new genesis file.
pub fn write_genesis(path: &Path, document: &GenesisDoc) -> Result<(), ConfigError> {
    let json = genesis::render(document);
    atomic::write(path, &json, Access::Everyone).map_err(|why| ConfigError::io("write", path, why))
}

/// Reads the file and compares it with the hash the operator named, if any.
pub fn read_genesis(path: &Path, hash: Option<&Hash>) -> Result<Vec<u8>, ConfigError> {
    let io = |why| ConfigError::io("read", path, why);
    let meta = fs::metadata(path).map_err(io)?;
    if meta.len() > BYTES_MAX {
        return Err(bad_genesis(path, format!("{} bytes are too many", meta.len())));
    }
    let bytes = fs::read(path).map_err(io)?;
    let found = sha256(&bytes);
    match hash {
        Some(hash) if *hash != found && !mutant!("F97") => {
            Err(bad_genesis(path, format!("its SHA-256 is {found}, but genesis_hash says {hash}")))
        }
        _ => Ok(bytes),
    }
}

fn bad_genesis(path: &Path, why: String) -> ConfigError {
    ConfigError::BadFile {
        path: path.to_owned(),
        why: format!("not this chain's genesis: {why}"),
        expected: "the genesis document all nodes of the chain share, unchanged, at most 1 GiB",
        next: format!("copy it from another node of the chain to {}, then start again", path.display()),
    }
}
