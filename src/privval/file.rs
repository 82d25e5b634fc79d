//! The signer that keeps its key and its last signature in files.

use super::files::{self, KeyFileError};
use super::guard::{self, Answer, LastSigned, SignedBytes};
use crate::crypto::{PrivateKey, PublicKey, Signature};
use crate::ports::{Disk, DiskFile, SignError, SignMemory, Signer, SignerFailed};
use crate::types::{
    ChainId, Promises, Proposal, SignPosition, SignStep, Statement, Time, UnsignedProposal, UnsignedStatement,
    UnsignedVote, Vote, VoteKind,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A key in `priv_validator_key.json`; what it signed last, and whether it promised anything, in
/// `priv_validator_state.json`.
#[derive(Debug)]
pub struct FileSigner {
    disk: Arc<dyn Disk>,
    key: PrivateKey,
    state_file: PathBuf,
    last: LastSigned,
    health: Health,
    /// Keeps every other process from signing with this state.
    _lock: Box<dyn DiskFile>,
}

/// Whether the state file is known to hold what was signed last.
#[derive(Debug, PartialEq, Eq)]
enum Health {
    Good,
    /// Saving failed: the file may hold the old state or the new one, so nothing is signed any more.
    Broken,
}

impl FileSigner {
    /// Opens key and state. A missing state file is refused: without it nobody knows what was signed.
    pub fn open(disk: Arc<dyn Disk>, key_file: &Path, state_file: &Path) -> Result<FileSigner, KeyFileError> {
        let lock = files::lock_state(&*disk, state_file)?;
        // What a killed process wrote reads well before it is durable; what is answered from it must not be lost.
        files::make_durable(&*disk, key_file)?;
        files::make_durable(&*disk, state_file)?;
        let key = files::read_key(&*disk, key_file)?;
        let last = files::read_state(&*disk, state_file)?;
        files::check_state(state_file, &last, &key.public_key())?;
        Ok(FileSigner { disk, key, state_file: state_file.to_owned(), last, health: Health::Good, _lock: lock })
    }

    /// Opens key and state, making both when neither is there (as `init` and the first `start` do). A state without its
    /// key is refused: a lost key must not become another identity unasked. `init` makes one where nothing was signed.
    pub fn open_or_generate(
        disk: Arc<dyn Disk>,
        key_file: &Path,
        state_file: &Path,
    ) -> Result<FileSigner, KeyFileError> {
        if !files::exists(&*disk, key_file)? && !files::exists(&*disk, state_file)? {
            FileSigner::generate(&*disk, key_file, state_file)?;
        }
        FileSigner::open(disk, key_file, state_file)
    }

    /// Makes a new key and a state that never signed. Overwrites nothing.
    pub fn generate(disk: &dyn Disk, key_file: &Path, state_file: &Path) -> Result<PublicKey, KeyFileError> {
        let seed = zeroize::Zeroizing::new(rand::random::<[u8; 32]>());
        FileSigner::save_new(disk, &PrivateKey::from_seed(&seed), key_file, state_file)
    }

    /// Saves a given key with a state that never signed. Overwrites nothing but a state that never signed: a crash between
    /// writing the two leaves such a state alone.
    pub fn save_new(
        disk: &dyn Disk,
        key: &PrivateKey,
        key_file: &Path,
        state_file: &Path,
    ) -> Result<PublicKey, KeyFileError> {
        if files::exists(disk, key_file)? && !mutant!("K13") {
            return Err(KeyFileError::Exists { file: key_file.to_owned() });
        }
        if !never_signed(disk, state_file)? && !mutant!("K93") {
            return Err(KeyFileError::Exists { file: state_file.to_owned() });
        }
        let _lock = files::lock_state(disk, state_file)?;
        // The state first: a crash in between leaves a state without a key, which signs nothing.
        files::write_state(disk, state_file, &LastSigned::NOTHING)?;
        files::write_key(disk, key_file, key)?;
        Ok(key.public_key())
    }

    /// Forgets what was signed and promised: for a chain that starts anew, never for one that goes on. Gives whether
    /// promises were among it, as far as the old state can be read.
    pub fn reset(disk: &dyn Disk, state_file: &Path) -> Result<Promises, KeyFileError> {
        let _lock = files::lock_state(disk, state_file)?;
        let before = files::read_state(disk, state_file).map_or(Promises::NoneGiven, |before| before.promises);
        files::write_state(disk, state_file, &LastSigned::NOTHING)?;
        Ok(before)
    }

    /// Moves the state forward to `to`, or makes one that says so where there is none: whatever was signed at or below
    /// `to` is never signed again. Gives what the state said before, none when there was no state. Never goes back.
    pub fn advance(disk: &dyn Disk, state_file: &Path, to: SignPosition) -> Result<Option<SignPosition>, KeyFileError> {
        let _lock = files::lock_state(disk, state_file)?;
        let before = match files::exists(disk, state_file)? {
            true => Some(files::read_state(disk, state_file)?),
            false => None,
        };
        if before.as_ref().is_none_or(|before| before.at < to || mutant!("K12")) {
            // Nobody knows what was signed there, so nothing is signed there again.
            let promises =
                before.as_ref().filter(|_| !mutant!("K94")).map_or(Promises::NoneGiven, |before| before.promises);
            files::write_state(disk, state_file, &LastSigned { at: to, signed: None, promises })?;
        }
        Ok(before.map(|before| before.at))
    }

    /// The public key of a key file, without opening it for signing: a running node may hold it.
    pub fn public_key_of(disk: &dyn Disk, key_file: &Path) -> Result<PublicKey, KeyFileError> {
        Ok(files::read_key(disk, key_file)?.public_key())
    }

    /// Warns, in the log, when others can read a key file. Apart from [`FileSigner::open`], because keys are opened
    /// before there is a log.
    pub fn warn_if_readable(key_file: &Path) {
        files::warn_if_readable(key_file);
    }

    /// Where the last signature stands.
    pub fn last(&self) -> SignPosition {
        self.last.at
    }

    /// Signs at a position what `sign_bytes` says, or gives the earlier signature with its time.
    fn sign_at(&mut self, at: SignPosition, sign_bytes: Vec<u8>) -> Result<(Signature, Option<Time>), SignError> {
        self.refuse_after_a_failure()?;
        match guard::check(&self.last, at, &sign_bytes).map_err(|refusal| SignError::Refused(refusal.to_string()))? {
            Answer::Again(signature) => Ok((signature, None)),
            Answer::AgainAt(signature, time) => Ok((signature, Some(time))),
            Answer::Sign => {
                crash_point!("guard.sign.before");
                let signature = self.key.sign(&sign_bytes);
                let signed = Some(SignedBytes { sign_bytes, signature });
                self.remember(LastSigned { at, signed, promises: self.last.promises })?;
                crash_point!("guard.sign.after");
                Ok((signature, None))
            }
        }
    }

    /// A write that failed may or may not have reached the disk: what the file says is not known.
    fn refuse_after_a_failure(&self) -> Result<(), SignerFailed> {
        if self.health == Health::Good || mutant!("K8") {
            return Ok(());
        }
        Err(SignerFailed(format!(
            "an earlier write of {} failed; stop the node, check the disk and start again",
            self.state_file.display()
        )))
    }

    /// Writes down, once in the life of a state file, that this key gives promises. In Tendermint there are none, so its
    /// files stay as CometBFT writes them.
    fn remember_to_have_promised(&mut self) -> Result<(), SignerFailed> {
        self.refuse_after_a_failure()?;
        if self.last.promises == Promises::Given || mutant!("K31") {
            return Ok(());
        }
        crash_point!("guard.promise.before");
        self.remember(LastSigned { promises: Promises::Given, ..self.last.clone() })?;
        crash_point!("guard.promise.after");
        Ok(())
    }

    /// Signs a vote without asking the guard and without remembering it: for a validator that is to be caught.
    #[cfg(feature = "misbehave")]
    pub(super) fn sign_past_the_guard(&self, chain_id: &ChainId, vote: UnsignedVote) -> Vote {
        let signature = self.key.sign(&vote.sign_bytes(chain_id));
        let timestamp = vote.timestamp;
        vote.signed(timestamp, signature, None)
    }

    /// Puts the new state on disk. Only when it is there may the signature leave (reference §6.7).
    fn remember(&mut self, last: LastSigned) -> Result<(), SignerFailed> {
        self.last = last;
        if mutant!("K6") {
            return Ok(());
        }
        files::write_state(&*self.disk, &self.state_file, &self.last).map_err(|error| {
            self.health = Health::Broken;
            SignerFailed(error.to_string())
        })
    }

    /// Signs the extension of a vote that was granted; it has no guard of its own, because an extension alone decides
    /// nothing.
    fn sign_extension(&self, chain_id: &ChainId, vote: &UnsignedVote) -> Option<Signature> {
        vote.extension.as_ref().map(|_| self.key.sign(&vote.extension_sign_bytes(chain_id)))
    }
}

/// True when there is no state, or one that says that nothing was signed. One that cannot be read says nothing.
fn never_signed(disk: &dyn Disk, state_file: &Path) -> Result<bool, KeyFileError> {
    let signed = || files::read_state(disk, state_file).map_or(true, |last| last != LastSigned::NOTHING);
    Ok(!files::exists(disk, state_file)? || !signed())
}

impl Signer for FileSigner {
    fn public_key(&self) -> PublicKey {
        self.key.public_key()
    }

    fn memory(&self) -> Option<SignMemory> {
        Some(SignMemory { last: self.last.at, promises: self.last.promises, file: self.state_file.clone() })
    }

    fn sign_vote(&mut self, chain_id: &ChainId, vote: UnsignedVote) -> Result<Vote, SignError> {
        let extendable = vote.kind == VoteKind::Precommit && vote.block_id.is_some();
        if !extendable && vote.extension.is_some() && !mutant!("K5") {
            return Err(SignError::Refused(
                "unexpected vote extension - extensions are only allowed in non-nil precommits".to_owned(),
            ));
        }
        let step = match vote.kind {
            VoteKind::Prevote => SignStep::Prevote,
            VoteKind::Precommit => SignStep::Precommit,
        };
        let at = SignPosition { height: vote.height, round: vote.round, step };
        let (signature, earlier) = self.sign_at(at, vote.sign_bytes(chain_id))?;
        let extension_signature = self.sign_extension(chain_id, &vote);
        let timestamp = earlier.unwrap_or(vote.timestamp);
        Ok(vote.signed(timestamp, signature, extension_signature))
    }

    fn sign_proposal(&mut self, chain_id: &ChainId, proposal: UnsignedProposal) -> Result<Proposal, SignError> {
        let at = SignPosition { height: proposal.height, round: proposal.round, step: SignStep::Propose };
        let (signature, earlier) = self.sign_at(at, proposal.sign_bytes(chain_id))?;
        let timestamp = earlier.unwrap_or(proposal.timestamp);
        Ok(proposal.signed(timestamp, signature))
    }

    fn sign_statement(&mut self, chain_id: &ChainId, statement: UnsignedStatement) -> Result<Statement, SignerFailed> {
        if statement.body.is_promise() {
            self.remember_to_have_promised()?;
        }
        let signature = self.key.sign(&statement.sign_bytes(chain_id));
        Ok(statement.signed(signature))
    }
}

#[cfg(test)]
#[path = "tests/file.rs"]
mod tests;
