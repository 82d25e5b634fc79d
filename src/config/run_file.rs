//! `data/node.json`: a running node says where it can be asked, so that `quorate status` needs no argument.

use super::atomic::{self, Access};
use super::{ConfigError, Home};
use serde::{Deserialize, Serialize};
use std::fs;

/// Most bytes read of the file; a real one has about two hundred.
const BYTES_MAX: u64 = 16 << 10;

/// What a running node says about itself. Left behind by a crash, so its reader asks whether the process still lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFile {
    /// Its process.
    pub pid: u32,
    /// Where RPC is served, as `tcp://host:port` or `unix://path`; the real port when the configured one was 0.
    pub rpc: String,
    /// Where metrics are served, as `host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<String>,
    /// Program version.
    pub version: String,
    /// When it started, RFC 3339.
    pub started: String,
}

impl RunFile {
    /// Writes the file.
    pub fn write(&self, home: &Home) -> Result<(), ConfigError> {
        let path = home.run_file();
        let json = serde_json::to_vec_pretty(self).expect("strings and numbers always serialise");
        atomic::write(&path, &json, Access::Everyone).map_err(|why| ConfigError::io("write", &path, why))
    }

    /// Reads the file; none when there is none or it is not one.
    pub fn read(home: &Home) -> Option<RunFile> {
        let path = home.run_file();
        if fs::metadata(&path).ok()?.len() > BYTES_MAX {
            return None;
        }
        serde_json::from_slice(&fs::read(&path).ok()?).ok()
    }

    /// Removes the file; fine when it is gone.
    pub fn remove(home: &Home) {
        // A leftover only costs `status` one failed connection.
        let _ = fs::remove_file(home.run_file());
    }
}
