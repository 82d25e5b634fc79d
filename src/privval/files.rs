//! `priv_validator_key.json` and `priv_validator_state.json`, byte for byte as CometBFT writes them (reference §2.5).

use super::guard::{LastSigned, SignedBytes};
use super::sign_bytes::position;
use crate::crash_points::{Point, Replacing, reach};
use crate::crypto::{PrivateKey, PublicKey, Signature};
use crate::ports::{Disk, DiskFile, OpenMode, parent};
use crate::types::{Address, Height, Promises, Round, SignPosition, SignStep};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use std::fs::{self, TryLockError};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Largest key or state file read; both are below 2 KiB.
const FILE_BYTES_MAX: u64 = 64 << 10;
const PUBLIC_KEY_TYPE: &str = "tendermint/PubKeyEd25519";
const PRIVATE_KEY_TYPE: &str = "tendermint/PrivKeyEd25519";

/// A key or state file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The system refused.
    #[error("cannot {action} {}: {error}. {remedy}", file.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        file: PathBuf,
        /// What the system said.
        error: io::Error,
        /// What to do.
        remedy: &'static str,
    },
    /// The content is not what it should be.
    #[error("{}: {field} must be {expected}, got {got}. {remedy}", file.display())]
    Content {
        /// Which file.
        file: PathBuf,
        /// Which field.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
        /// What it is; never a secret.
        got: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Another process signs with this state.
    #[error(
        "another process is using {}: two signers with one key would double-sign. Stop the other node \
         (ps aux | grep quorate), then start again", file.display()
    )]
    InUse {
        /// The state file.
        file: PathBuf,
    },
    /// A file is there already and would be lost.
    #[error("{} exists already and is not overwritten. Move it away first if you really want a new one", file.display())]
    Exists {
        /// Which.
        file: PathBuf,
    },
}

const RESTORE_KEY: &str = "Restore the key file from your backup; without it this validator cannot sign";
const RESTORE_STATE: &str = "Do not delete it while the validator is bonded: signing without it can double-sign. \
                             Restore it; if it is lost, stop every other node with this key, then run \
                             'quorate advance-sign-state'";
const CHECK_DISK: &str = "Check free space and permissions (df -h, ls -l)";

const REPLACING_STATE: Replacing = Replacing {
    write_before: Point::named("guard.write.before"),
    sync_before: Point::named("guard.sync.before"),
    rename_before: Point::named("guard.rename.before"),
    rename_after: Point::named("guard.rename.after"),
    dirsync_after: Point::named("guard.dirsync.after"),
};

const REPLACING_KEY: Replacing = Replacing {
    write_before: Point::named("key.write.before"),
    sync_before: Point::named("key.sync.before"),
    rename_before: Point::named("key.rename.before"),
    rename_after: Point::named("key.rename.after"),
    dirsync_after: Point::named("key.dirsync.after"),
};

#[derive(Deserialize)]
struct KeyJson {
    address: Option<String>,
    pub_key: Option<TypedJson>,
    priv_key: TypedJson,
}

#[derive(Deserialize)]
struct TypedJson {
    #[serde(rename = "type")]
    kind: String,
    value: String,
}

/// The state as CometBFT has it, and `promised`, which it does not know and passes over. A field that nobody knows is
/// refused: a flipped bit in a name would otherwise be a memory lost.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateJson {
    height: String,
    round: i32,
    step: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signbytes: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    promised: Option<bool>,
}

/// Names a file in errors about its content.
struct Field<'a> {
    file: &'a Path,
    remedy: &'static str,
}

impl Field<'_> {
    fn wrong(&self, field: &'static str, expected: &'static str, got: impl ToString) -> KeyFileError {
        let got = got.to_string();
        KeyFileError::Content { file: self.file.to_owned(), field, expected, got, remedy: self.remedy }
    }
}

/// Reads the private key. Address and public key beside it are for people; a wrong one means that files were mixed up.
pub(super) fn read_key(disk: &dyn Disk, file: &Path) -> Result<PrivateKey, KeyFileError> {
    let about = Field { file, remedy: RESTORE_KEY };
    let text = read_small(disk, file, RESTORE_KEY)?;
    let json: KeyJson = serde_json::from_slice(&text)
        .map_err(|error| about.wrong("the file", "JSON with address, pub_key and priv_key", place_of(&error)))?;
    if json.priv_key.kind != PRIVATE_KEY_TYPE {
        return Err(about.wrong("priv_key.type", "tendermint/PrivKeyEd25519", json.priv_key.kind));
    }
    let encoded = Zeroizing::new(json.priv_key.value);
    let bytes = Zeroizing::new(
        BASE64.decode(encoded.as_bytes()).map_err(|_| about.wrong("priv_key.value", "base64", "something else"))?,
    );
    let key = PrivateKey::from_bytes(&bytes)
        .map_err(|error| about.wrong("priv_key.value", "64 bytes, seed and public key", error))?;
    let address = Address::from(&key.public_key()).to_string();
    match json.address {
        Some(named) if !named.eq_ignore_ascii_case(&address) && !named.is_empty() => {
            Err(about.wrong("address", "that of priv_key", format!("{named} instead of {address}")))
        }
        _ => check_public_key(&about, json.pub_key, &key.public_key()).map(|()| key),
    }
}

fn check_public_key(about: &Field<'_>, named: Option<TypedJson>, key: &PublicKey) -> Result<(), KeyFileError> {
    let Some(named) = named else { return Ok(()) };
    let own = BASE64.encode(key.as_bytes());
    if named.kind == PUBLIC_KEY_TYPE && named.value == own {
        return Ok(());
    }
    Err(about.wrong("pub_key", "that of priv_key", format!("{} {} instead of {own}", named.kind, named.value)))
}

/// Writes a new key file, readable by its owner only.
pub(super) fn write_key(disk: &dyn Disk, file: &Path, key: &PrivateKey) -> Result<(), KeyFileError> {
    let public = key.public_key();
    let private = Zeroizing::new(BASE64.encode(key.to_bytes().as_slice()));
    let text = Zeroizing::new(format!(
        "{{\n  \"address\": \"{address}\",\n  \"pub_key\": {{\n    \"type\": \"{PUBLIC_KEY_TYPE}\",\n    \"value\": \
         \"{public}\"\n  }},\n  \"priv_key\": {{\n    \"type\": \"{PRIVATE_KEY_TYPE}\",\n    \"value\": \
         \"{private}\"\n  }}\n}}",
        address = Address::from(&public),
        public = BASE64.encode(public.as_bytes()),
        private = private.as_str(),
    ));
    make_parent(disk, file)?;
    write_atomic(disk, file, text.as_bytes(), &REPLACING_KEY)
}

/// Reads what was signed last.
pub(super) fn read_state(disk: &dyn Disk, file: &Path) -> Result<LastSigned, KeyFileError> {
    let about = Field { file, remedy: RESTORE_STATE };
    let text = read_small(disk, file, RESTORE_STATE)?;
    let json: StateJson = serde_json::from_slice(&text)
        .map_err(|error| about.wrong("the file", "JSON with height, round and step", place_of(&error)))?;
    let height = json.height.parse::<i64>().ok().and_then(|height| Height::try_from(height).ok());
    let height = height.ok_or_else(|| about.wrong("height", "a decimal string of 0 or more", &json.height))?;
    let round = Round::try_from(json.round).map_err(|_| about.wrong("round", "0 or more", json.round))?;
    let step = SignStep::from_number(json.step).ok_or_else(|| about.wrong("step", "0, 1, 2 or 3", json.step))?;
    let signed = match (json.signbytes, json.signature) {
        (None, _) => None, // refused later, at this position only, as CometBFT does
        (Some(_), None) => return Err(about.wrong("signature", "present when signbytes are", "nothing")),
        (Some(bytes), Some(signature)) => Some(read_signed(&about, &bytes, &signature)?),
    };
    let promises = match json.promised {
        Some(true) => Promises::Given,
        Some(false) | None => Promises::NoneGiven,
    };
    Ok(LastSigned { at: SignPosition { height, round, step }, signed, promises })
}

fn read_signed(about: &Field<'_>, sign_bytes: &str, signature: &str) -> Result<SignedBytes, KeyFileError> {
    let sign_bytes = hex::decode(sign_bytes).map_err(|error| about.wrong("signbytes", "hex digits", error))?;
    let signature = BASE64.decode(signature).map_err(|error| about.wrong("signature", "base64", error))?;
    let signature = Signature::try_from(signature.as_slice())
        .map_err(|error| about.wrong("signature", "64 bytes in base64", error))?;
    Ok(SignedBytes { sign_bytes, signature })
}

/// Refuses a state that contradicts itself or the key: a bad disk changed it, or files of two validators were mixed up.
/// Signing on would be signing without a memory.
pub(super) fn check_state(file: &Path, last: &LastSigned, key: &PublicKey) -> Result<(), KeyFileError> {
    let about = Field { file, remedy: RESTORE_STATE };
    let Some(signed) = &last.signed else { return Ok(()) };
    let position = position(&signed.sign_bytes);
    if position != Some(last.at) && !mutant!("K90") {
        let got = position.map_or("something else".to_owned(), |at| at.to_string());
        return Err(about.wrong("signbytes", "what was signed at this height, round and step", got));
    }
    if !key.verifies(&signed.sign_bytes, &signed.signature) && !mutant!("K91") {
        return Err(about.wrong("signature", "that of signbytes by the key in the key file", "another"));
    }
    Ok(())
}

/// Replaces the state; when this returns, the new one survives a power cut. Its directory is there: whoever writes holds
/// the lock beside it.
pub(super) fn write_state(disk: &dyn Disk, file: &Path, last: &LastSigned) -> Result<(), KeyFileError> {
    let json = StateJson {
        height: last.at.height.to_string(),
        round: last.at.round.as_i32(),
        step: last.at.step as i64,
        signature: last.signed.as_ref().map(|signed| BASE64.encode(signed.signature.as_bytes())),
        signbytes: last.signed.as_ref().map(|signed| hex::encode_upper(&signed.sign_bytes)),
        promised: (last.promises == Promises::Given).then_some(true),
    };
    let text = serde_json::to_string_pretty(&json).expect("strings and numbers always make JSON");
    write_atomic(disk, file, text.as_bytes(), &REPLACING_STATE)
}

/// Takes the lock that lets one process use this state. Held as long as the file is open.
pub(super) fn lock_state(disk: &dyn Disk, state: &Path) -> Result<Box<dyn DiskFile>, KeyFileError> {
    let mut name = state.as_os_str().to_owned();
    name.push(".lock");
    let file = PathBuf::from(name);
    let io = |action| {
        let file = file.clone();
        move |error| KeyFileError::Io { action, file, error, remedy: CHECK_DISK }
    };
    make_parent(disk, state)?;
    let handle = disk.open(&file, OpenMode::ReadWrite).map_err(io("open the lock"))?;
    match handle.try_lock() {
        Ok(()) => Ok(handle),
        Err(TryLockError::WouldBlock) if mutant!("K95") => Ok(handle),
        Err(TryLockError::WouldBlock) => Err(KeyFileError::InUse { file: state.to_owned() }),
        Err(TryLockError::Error(error)) => Err(io("lock")(error)),
    }
}

/// Warns when others can read a secret.
pub(super) fn warn_if_readable(file: &Path) {
    let Ok(facts) = fs::metadata(file) else { return };
    let mode = facts.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        tracing::warn!(
            file = %file.display(), mode = format!("{mode:o}"),
            "other users can read the validator's private key: chmod 600 this file"
        );
    }
}

/// Temporary file in the same directory, fsync, rename, fsync of the directory: after a crash at any point the file is
/// the old one or the new one, and after the return it is the new one. (CometBFT leaves out the last step.)
///
/// One process at a time writes a file, the one that holds the lock, so the temporary file's name is always the same: a
/// crash leaves at most one behind, and the next write removes it.
fn write_atomic(disk: &dyn Disk, file: &Path, content: &[u8], points: &Replacing) -> Result<(), KeyFileError> {
    let dir = parent(file);
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let temporary = dir.join(format!("write-file-atomic-{name}"));
    let io = |action, file: &Path| {
        let file = file.to_owned();
        move |error| KeyFileError::Io { action, file, error, remedy: CHECK_DISK }
    };
    reach(points.write_before);
    let written = write_new(disk, &temporary, content, points)
        .map_err(io("write", &temporary))
        .and_then(|()| disk.rename(&temporary, file).map_err(io("replace", file)));
    if let Err(error) = written {
        if let Err(error) = disk.remove(&temporary) {
            tracing::debug!(%error, file = %temporary.display(), "a temporary file stays behind");
        }
        return Err(error);
    }
    reach(points.rename_after);
    if !mutant!("K7") {
        disk.sync_dir(dir).map_err(io("make durable the directory of", file))?;
    }
    reach(points.dirsync_after);
    Ok(())
}

fn write_new(disk: &dyn Disk, file: &Path, content: &[u8], points: &Replacing) -> io::Result<()> {
    let made = match disk.open(file, OpenMode::CreateNew) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.remove(file)?;
            disk.open(file, OpenMode::CreateNew)
        }
        made => made,
    }?;
    made.write_all_at(content, 0)?;
    reach(points.sync_before);
    made.sync_all()?;
    reach(points.rename_before);
    Ok(())
}

fn make_parent(disk: &dyn Disk, file: &Path) -> Result<(), KeyFileError> {
    let dir = parent(file);
    disk.create_dirs(dir).map_err(|error| KeyFileError::Io {
        action: "make the directory",
        file: dir.to_owned(),
        error,
        remedy: CHECK_DISK,
    })
}

/// Makes sure that a file survives a power cut as it is; does nothing when it is not there.
pub(super) fn make_durable(disk: &dyn Disk, file: &Path) -> Result<(), KeyFileError> {
    let io = |error| KeyFileError::Io { action: "make durable", file: file.to_owned(), error, remedy: CHECK_DISK };
    if !exists(disk, file)? {
        return Ok(());
    }
    disk.open(file, OpenMode::Read).and_then(|handle| handle.sync_all()).map_err(io)?;
    match disk.sync_dir(parent(file)) {
        // A directory we may not open is not one we made names in.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced.map_err(io),
    }
}

/// Whether a file is there. A disk that cannot say is an error: a key taken for missing would be written over.
pub(super) fn exists(disk: &dyn Disk, file: &Path) -> Result<bool, KeyFileError> {
    let io = |error| KeyFileError::Io { action: "look for", file: file.to_owned(), error, remedy: CHECK_DISK };
    disk.exists(file).map_err(io)
}

fn read_small(disk: &dyn Disk, file: &Path, remedy: &'static str) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let io = |error| KeyFileError::Io { action: "read", file: file.to_owned(), error, remedy };
    let handle = disk.open(file, OpenMode::Read).map_err(io)?;
    let length = handle.length().map_err(io)?.min(FILE_BYTES_MAX);
    let mut text = Zeroizing::new(vec![0; length as usize]);
    handle.read_exact_at(&mut text, 0).map_err(io)?;
    Ok(text)
}

/// Where JSON went wrong, without the text itself, which may be a secret.
fn place_of(error: &serde_json::Error) -> String {
    format!("{:?} error at line {} column {}", error.classify(), error.line(), error.column())
}
