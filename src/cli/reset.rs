//! `reset-state`, `unsafe-reset-all` and `unsafe-reset-priv-validator`.

use super::CliError;
use super::args::{Common, ResetArgs};
use super::output::Output;
use crate::config::{Config, ConfigError, Home, HomeLock, load_genesis};
use crate::disk::OsDisk;
use crate::ports::{SignMemory, Signer as _};
use crate::privval::FileSigner;
use crate::types::{Algorithm, Promises, SignPosition};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Said when more was forgotten than Tendermint's validators ever owe.
const FORGOTTEN_PROMISES: &str = "warning: this key voted for a leader of Raft or left a view of PBFT, and that is \
     forgotten now. If the chain it did so in goes on, the key must not come back\n  next: only if that chain goes on: move \
     config/priv_validator_key.json away, then quorate unsafe-reset-all, which makes a new key";

pub(super) fn all(common: &Common, args: &ResetArgs, out: &Output) -> Result<(), CliError> {
    let (config, _lock) = take(common)?;
    let data = &config.storage.dir;
    refuse_to_delete_too_much(&config.home, data)?;
    let mut removed = empty(data, &[])?;
    let addr_book = &config.files.addr_book;
    if (!args.keep_addr_book || mutant!("F98")) && addr_book.exists() {
        fs::remove_file(addr_book).map_err(|why| ConfigError::io("remove", addr_book, why))?;
        removed.push(addr_book.clone());
    }
    config.home.create()?;
    let signer = reset_signer(&config)?;
    let mut text: String = removed.iter().map(|path| format!("removed {}\n", path.display())).collect();
    text += &format!("{signer:<7} {}\n", config.files.priv_validator_state.display());
    text += &format!("next    quorate start --home {}", config.home.path().display());
    out.give(&text, &json!({ "removed": removed, "validator": signer }));
    Ok(())
}

/// Forgets blocks, states and journal, but not what the validator signed: the node fetches the chain anew and cannot
/// sign twice. Under Raft and PBFT a key that signed cannot go on without them: there it is refused.
pub(super) fn state(common: &Common, out: &Output) -> Result<(), CliError> {
    let (config, _lock) = take(common)?;
    let data = &config.storage.dir;
    refuse_to_delete_too_much(&config.home, data)?;
    refuse_to_forget_promises(&config)?;
    let signed = &config.files.priv_validator_state;
    let mut signed_lock = signed.clone().into_os_string();
    signed_lock.push(".lock");
    let removed = empty(data, &[signed, Path::new(&signed_lock)])?;
    let mut text: String = removed.iter().map(|path| format!("removed {}\n", path.display())).collect();
    text += &format!("kept    {}\n", signed.display());
    text += &format!("next    quorate start --home {}", config.home.path().display());
    out.give(&text, &json!({ "removed": removed, "kept": [signed] }));
    Ok(())
}

pub(super) fn priv_validator(common: &Common, out: &Output) -> Result<(), CliError> {
    let (config, _lock) = take(common)?;
    let signer = reset_signer(&config)?;
    let state = &config.files.priv_validator_state;
    out.give(&format!("{signer:<7} {}", state.display()), &json!({ "file": state, "validator": signer }));
    Ok(())
}

/// The configuration, and the home to itself: resetting under a running validator makes it sign twice.
fn take(common: &Common) -> Result<(Config, HomeLock), CliError> {
    let home = common.home()?;
    home.create()?;
    let lock = HomeLock::take(&home)?;
    Ok((Config::load(&home, &common.overrides())?.0, lock))
}

/// Back to height 0, or a new key when there is none, as CometBFT does.
fn reset_signer(config: &Config) -> Result<&'static str, CliError> {
    let (key, state) = (&config.files.priv_validator_key, &config.files.priv_validator_state);
    if key.exists() {
        if FileSigner::reset(&OsDisk, state)? == Promises::Given {
            Output::note(FORGOTTEN_PROMISES);
        }
        return Ok("reset");
    }
    if state.exists() {
        fs::remove_file(state).map_err(|why| ConfigError::io("remove", state, why))?;
    }
    FileSigner::generate(&OsDisk, key, state)?;
    Ok("made")
}

/// Under Raft and PBFT a key that signed takes part only with the journal of its home, which says what it promised, and
/// with the blocks below: from lower down it would vote for a leader that lacks the entry it acknowledged. Without
/// them it is lost, so nothing is removed that somebody could still put right.
fn refuse_to_forget_promises(config: &Config) -> Result<(), CliError> {
    let files = &config.files;
    if [&files.genesis, &files.priv_validator_key, &files.priv_validator_state].iter().any(|file| !file.exists()) {
        return Ok(());
    }
    let algorithm = load_genesis(&files.genesis, config.genesis_hash.as_ref())?.doc.algorithm;
    if algorithm == Algorithm::Tendermint {
        return Ok(());
    }
    let signer = FileSigner::open(Arc::new(OsDisk), &files.priv_validator_key, &files.priv_validator_state)?;
    let owes = |memory: &SignMemory| memory.last != SignPosition::START || memory.promises == Promises::Given;
    if !signer.memory().as_ref().is_some_and(owes) || mutant!("K81") {
        return Ok(());
    }
    let what = format!(
        "refused: under {algorithm} this key may take part only with the blocks and the journal of this home, which say \
         what it promised. Nothing was removed"
    );
    let remedy = "if they cannot be put right, this validator has to come back with a new key: move \
                  config/priv_validator_key.json away, then quorate unsafe-reset-all, which makes a new one where none \
                  is; then have the application replace the old one";
    Err(CliError::failed(what, remedy))
}

/// A `db_dir` that holds the home itself would take keys and configuration along.
fn refuse_to_delete_too_much(home: &Home, data: &Path) -> Result<(), CliError> {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if real(&home.path().join("config")).starts_with(real(data)) && !mutant!("F99") {
        let what = format!("refused: db_dir is {}, which holds the home's own config/", data.display());
        return Err(CliError::failed(what, "set db_dir = \"data\" in config.toml"));
    }
    Ok(())
}

/// Removes everything in the directory but our lock and what is to be kept; gives what was removed.
fn empty(data: &Path, keep: &[&Path]) -> Result<Vec<PathBuf>, CliError> {
    let Ok(entries) = fs::read_dir(data) else { return Ok(Vec::new()) };
    let mut removed = Vec::new();
    for entry in entries {
        let path = entry.map_err(|why| ConfigError::io("read", data, why))?.path();
        if path.file_name().is_some_and(|name| name == HomeLock::NAME) || keep.contains(&path.as_path()) {
            continue;
        }
        let is_folder = path.symlink_metadata().is_ok_and(|meta| meta.is_dir());
        let result = if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        result.map_err(|why| ConfigError::io("remove", &path, why))?;
        removed.push(path);
    }
    removed.sort();
    Ok(removed)
}
