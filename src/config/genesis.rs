//! Reading `config/genesis.json`.

use super::ConfigError;
use crate::crypto::{Hash, sha256};
use std::fs;
use std::path::Path;

/// Most bytes of a genesis file: the application's state is inside.
const BYTES_MAX: u64 = 1 << 30;

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
        Some(hash) if *hash != found => {
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
